"""A failover that may lose too much is an operator's to decide; until then nothing is granted or released."""

from __future__ import annotations

from typing import Any

import pytest
from primacy_coordinator.core import events
from primacy_coordinator.core.model import (
    ApprovalAction,
    Failback,
    FailoverRecord,
    FailoverState,
    Limits,
    RegionSettings,
)
from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Lag

from tests.unit.core.lab import DOWN, UP, Lab
from tests.unit.core.moving import newest, pause, restart, resume, rules, settled

AWAITING = FailoverState.AWAITING_APPROVAL


def dear(**policy: Any) -> Lab:
    lab = settled(max_loss=Limits(entries=10), max_lag=Limits(), **policy)
    for name in ("eu", "us"):
        lab.of(name)[0].lag = Lag(entries=100)
    lab.run(2)
    return lab


def awaiting(**policy: Any) -> Lab:
    """`ap` says that its service is dead, and still holds the lease."""
    lab = dear(**policy)
    lab.of("ap")[0].health = DOWN
    lab.run(5)
    assert newest(lab).state is AWAITING
    return lab


def approve(lab: Lab) -> str:
    """The rule that refused it, or nothing."""
    refusal = lab.ask(events.ApproveFailover(lab.request(), newest(lab).id, "ops")).refusal
    return refusal.rule if refusal is not None else ""


def cancel(lab: Lab) -> str:
    refusal = lab.ask(events.CancelFailover(lab.request(), newest(lab).id, "ops", "wait for the dump")).refusal
    return refusal.rule if refusal is not None else ""


def calls(lab: Lab) -> list[str]:
    return [entry.message for entry in lab.journal if entry.kind == "approval-needed"]


def test_a_failover_that_loses_too_much_waits_for_approval() -> None:
    lab = dear()
    lab.of("ap")[0].health = DOWN
    lab.run(20)
    record = newest(lab)
    assert record.state is AWAITING and lab.known() == ("ap", 1)
    assert [phase.name for phase in record.phases] == ["down", "approval"]
    (call,) = calls(lab)
    assert f"primacy failover --approve {record.id}" in call and "100 entries" in call
    restart(lab)
    lab.run(8)
    assert newest(lab).id == record.id and newest(lab).state is AWAITING, "a restart forgets nothing"
    assert approve(lab) == ""
    lab.run(3)
    assert lab.known() == ("eu", 2) and newest(lab).approved_by == "ops"
    assert approve(lab) == "FAILOVER_ENDED"


def test_a_failover_that_nobody_lost_data_over_needs_no_approval() -> None:
    lab = settled(max_loss=Limits(entries=10), max_lag=Limits())
    for name in ("eu", "us"):
        lab.of(name)[0].lag = Lag(entries=10)
    lab.run(2)
    lab.of("ap")[0].health = DOWN
    lab.run(4)
    assert lab.known() == ("eu", 2) and not calls(lab)


def test_a_move_by_hand_needs_no_approval() -> None:
    lab = dear()
    lab.moved("eu")
    lab.run(2)
    price = newest(lab).price
    assert lab.known() == ("eu", 2) and price is not None and price.entries == 100


def test_approving_twice_is_approving_once() -> None:
    lab = awaiting()
    lab.of("ap")[0].deaf = True  # Its release takes until it ran out.
    assert approve(lab) == "" and newest(lab).state is FailoverState.RELEASING
    reply = lab.ask(events.ApproveFailover(lab.request(), newest(lab).id, "somebody else"))
    assert isinstance(reply.value, FailoverRecord) and reply.value.approved_by == "ops"


def test_an_approval_releases_nothing_when_nobody_is_left_to_take_over() -> None:
    """[I8] A region that is down and holds the lease is better than none."""
    lab = awaiting()
    for name in ("eu", "us"):
        lab.of(name)[0].health = DOWN
    lab.run(2)
    assert approve(lab) == "NO_TARGET"
    assert newest(lab).state is AWAITING and lab.known() == ("ap", 1)
    assert "lease-release-ordered" not in lab.kinds()


def test_a_policy_that_moves_in_the_end_does_not_when_nobody_is_left() -> None:
    lab = awaiting(approval_timeout_ns=10 * SECOND_NS, approval_action=ApprovalAction.MOVE)
    for name in ("eu", "us"):
        lab.of(name)[0].health = DOWN
    lab.run(20)
    assert lab.known() == ("ap", 1) and newest(lab).state is AWAITING
    lab.of("us")[0].health = UP
    lab.run(3)
    assert lab.known() == ("us", 2)


def test_a_holder_that_is_there_again_needs_no_approval() -> None:
    lab = dear()
    lab.of("ap")[0].cut = True
    lab.run(12)
    assert newest(lab).state is AWAITING and lab.active() == set()
    lab.of("ap")[0].cut = False
    lab.run(4)
    assert lab.known() == ("ap", 1) and newest(lab).state is FailoverState.ABORTED


def test_a_holder_that_nobody_has_heard_since_a_restart_is_not_there_again() -> None:
    lab = dear()
    for name in ("eu", "us"):
        lab.of(name)[0].sees = {"ap": True}  # So that it is suspect, and never down.
    lab.of("ap")[0].cut = True
    lab.run(12)
    waiting = newest(lab)
    assert waiting.state is AWAITING
    restart(lab)
    lab.run(12)
    assert newest(lab) == waiting, "its lease counts in full again, and that alone says nothing"


def test_a_price_that_falls_needs_no_approval_any_more() -> None:
    lab = awaiting()
    lab.of("us")[0].lag = Lag(entries=3)
    lab.run(3)
    assert newest(lab).state is AWAITING, "eu is still the one that would take over"
    lab.of("eu")[0].lag = Lag(entries=3)
    lab.run(3)
    assert lab.known() == ("eu", 2) and newest(lab).approved_by == ""
    assert "approval-not-needed" in lab.kinds()


def test_a_figure_that_goes_missing_is_no_approval() -> None:
    lab = awaiting()
    for name in ("eu", "us"):
        lab.of(name)[0].lag = Lag()
    lab.run(20)
    assert newest(lab).state is AWAITING and lab.known() == ("ap", 1)


def test_a_new_first_choice_is_said_with_its_price() -> None:
    lab = awaiting()
    lab.of("eu")[0].health = DOWN
    lab.run(3)
    assert len(calls(lab)) == 2 and "us may lose 100 entries" in calls(lab)[1]
    assert newest(lab).to_region == "us"
    assert approve(lab) == ""
    lab.run(3)
    assert lab.known() == ("us", 2)


def test_a_price_that_grows_is_said_again_at_each_doubling() -> None:
    lab = awaiting()
    for entries in range(100, 1_000, 20):
        lab.of("eu")[0].lag = Lag(entries=entries)
        lab.run(1)
    assert [next(word for word in call.split() if word.isdigit()) for call in calls(lab)] == [
        "100",
        "220",
        "460",
        "940",
    ]
    price = newest(lab).price
    assert price is not None and price.entries == 940


def test_an_approval_that_never_comes() -> None:
    lab = dear(approval_timeout_ns=10 * SECOND_NS)
    lab.of("ap")[0].health = DOWN
    lab.run(35)
    assert newest(lab).state is AWAITING
    assert len(calls(lab)) == 4, "at its begin, and after each of three timeouts"
    assert [phase.name for phase in newest(lab).phases] == ["down", "approval"]
    lab = dear(approval_timeout_ns=10 * SECOND_NS, approval_action=ApprovalAction.MOVE)
    lab.of("ap")[0].health = DOWN
    lab.run(9)
    assert lab.known() == ("ap", 1)
    lab.run(7)
    assert lab.known() == ("eu", 2)


def test_a_move_that_the_policy_makes_at_the_end_waits_for_the_brake_and_for_pauses() -> None:
    lab = awaiting(approval_timeout_ns=10 * SECOND_NS, approval_action=ApprovalAction.MOVE)
    pause(lab)
    lab.run(20)
    assert newest(lab).state is AWAITING
    lab.brake_held = True
    resume(lab)
    lab.run(3)
    assert newest(lab).state is AWAITING and lab.brake_said == ["asked"]
    assert lab.group is not None
    lab._perform(lab.group.handle(lab.now, events.BrakeReleased()))
    lab.run(3)
    assert lab.known() == ("eu", 2) and lab.brake_said == ["asked", "returned"]


def test_an_operator_approves_also_while_elections_are_paused() -> None:
    lab = dear()
    lab.of("ap")[0].cut = True
    lab.run(12)
    pause(lab)
    lab.run(5)
    assert newest(lab).state is AWAITING
    assert approve(lab) == ""
    lab.run(3)
    assert lab.known() == ("eu", 2)


# ---- cancelling


def test_a_cancelled_failover_does_not_begin_anew_at_once_nor_after_a_restart() -> None:
    lab = dear(approval_timeout_ns=30 * SECOND_NS)
    lab.of("ap")[0].health = DOWN
    lab.run(5)
    record = newest(lab)
    assert cancel(lab) == ""
    assert newest(lab).state is FailoverState.ABORTED and lab.known() == ("ap", 1)
    lab.run(10)
    restart(lab)
    lab.run(15)
    assert newest(lab).id == record.id
    lab.run(8)
    assert newest(lab).id != record.id and newest(lab).state is AWAITING


def test_another_fault_is_another_failover_whatever_was_cancelled() -> None:
    lab = dear(approval_timeout_ns=600 * SECOND_NS)
    lab.of("ap")[0].health = DOWN
    lab.run(5)
    assert cancel(lab) == ""
    cancelled = newest(lab).id
    lab.of("ap")[0].health = UP
    lab.run(5)
    lab.of("ap")[0].health = DOWN
    lab.run(5)
    assert newest(lab).id != cancelled and newest(lab).state is AWAITING


def test_what_costs_less_than_what_was_cancelled_goes_on() -> None:
    lab = dear(approval_timeout_ns=600 * SECOND_NS)
    lab.of("ap")[0].health = DOWN
    lab.run(5)
    assert cancel(lab) == ""
    for name in ("eu", "us"):
        lab.of(name)[0].lag = Lag(entries=0)
    lab.run(3)
    assert lab.known() == ("eu", 2)


def test_a_freeze_is_cancelled_without_trace() -> None:
    lab = settled({"ap": 1, "eu": 1})
    lab.of("ap")[0].deaf = True
    lab.moved("eu")
    lab.run(0.5)
    assert newest(lab).state is FailoverState.FREEZING
    assert cancel(lab) == ""
    lab.of("ap")[0].deaf = False
    lab.run(1)
    assert lab.known() == ("ap", 1) and newest(lab).state is FailoverState.ABORTED
    assert not lab.of("ap")[0].holder.active(lab.now).frozen
    lab.of("ap")[0].health = DOWN
    lab.run(3)
    assert lab.known() == ("eu", 2), "giving up a move by hand puts no failover off"


def test_a_cancelled_failback_is_put_off() -> None:
    lab = settled(
        failback=Failback.AUTO,
        failback_after_ns=2 * SECOND_NS,
        hold_down_ns=0,
        cool_down_ns=0,
        approval_timeout_ns=40 * SECOND_NS,
    )
    lab.ask(events.UpdateRegion(lab.request(), "ap", RegionSettings(priority=200), ("priority",)))
    lab.of("ap")[0].health = DOWN
    lab.run(4)
    lab.of("eu")[0].deaf = True  # So that its freeze takes a while.
    lab.of("ap")[0].health = UP
    for _ in range(100):
        lab.run(0.1)
        if newest(lab).state is FailoverState.FREEZING:
            break
    assert cancel(lab) == ""
    lab.of("eu")[0].deaf = False
    cancelled = newest(lab).id
    lab.run(30)
    assert newest(lab).id == cancelled and lab.known() == ("eu", 2)
    lab.run(15)
    assert lab.known() == ("ap", 3)


@pytest.mark.parametrize("how", ["approve", "cancel"])
def test_words_about_moves_that_do_not_wait_are_refused(how: str) -> None:
    lab = settled()

    def say(failover_id: str) -> str:
        number = lab.request()
        command = (
            events.ApproveFailover(number, failover_id)
            if how == "approve"
            else events.CancelFailover(number, failover_id)
        )
        before = dict(lab.records)
        refusal = lab.ask(command).refusal
        assert refusal is not None and lab.records == before
        return refusal.rule

    assert say("fo-99") == "FAILOVER_NOT_FOUND"
    assert say("fo-1") == "FAILOVER_ENDED"
    lab.of("ap")[0].cut = True
    lab.moved("eu", forced=True)
    lab.run(1)
    assert say(newest(lab).id) == ("NOT_AWAITING_APPROVAL" if how == "approve" else "PAST_RETURN")


def test_a_forced_failover_takes_the_place_of_one_that_awaits_approval() -> None:
    lab = awaiting()
    waiting = newest(lab).id
    lab.moved("us", forced=True, owner="ops")
    lab.run(8)
    assert lab.known() == ("us", 2) and rules(lab)["us"] == "ACTIVE"
    assert lab.group is not None
    record = lab.group.failover(waiting)
    assert record is not None and record.state is FailoverState.ABORTED

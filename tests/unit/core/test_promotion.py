"""From acceptance to ACTIVE: the service of the new region is promoted first; what becomes of a move if it is not."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from primacy_coordinator.core import events
from primacy_coordinator.core.model import FailoverState
from primacy_coordinator.core.steps import HOOKS_KEPT_MAX
from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import HookRan

from tests.unit.core.lab import DOWN, UP, Lab, Node
from tests.unit.core.moving import newest, restart, rules, settled

FAILED = "on_promote failed with exit code 3: no such database"


def promoting(regions: dict[str, int] | None = None, *names: str, **policy: Any) -> Lab:
    """The lease has just moved from `ap`, whose service died; those of `names` take time to be promoted."""
    lab = settled(regions, **policy)
    for name in names or ("eu", "us"):
        for node in lab.of(name):
            node.promoting = True
    lab.of("ap")[0].health = DOWN
    lab.run(3)
    return lab


def ran(
    lab: Lab, node: Node, epoch: int, hook: str = "on_promote", outcome: str = "succeeded", output: str = ""
) -> None:
    assert lab.group is not None and node.session is not None
    exit_code = 0 if outcome == "succeeded" else 3
    message = HookRan(node.holder.incarnation, epoch, hook, exit_code, outcome, output, SECOND_NS)
    lab._perform(lab.group.handle(lab.now, events.Heard(node.session, message)))


def test_a_move_ends_when_the_service_is_promoted() -> None:
    lab = promoting()
    record = newest(lab)
    assert record.state is FailoverState.PROMOTING and record.phases[-1].name == "promote"
    lab.run(20)
    assert lab.known() == ("eu", 2) and newest(lab).state is FailoverState.PROMOTING, "the lease is renewed meanwhile"
    lab.of("eu")[0].promoting = False
    lab.run(2)
    assert newest(lab).state is FailoverState.SUCCEEDED and lab.known() == ("eu", 2)
    assert [phase.name for phase in newest(lab).phases] == ["down", "release", "offer", "promote"]


def test_a_service_without_a_hook_is_active_at_once() -> None:
    lab = promoting(None, "us")
    assert newest(lab).state is FailoverState.SUCCEEDED
    assert [phase.name for phase in newest(lab).phases] == ["down", "release", "offer"]


def test_one_agent_whose_service_is_promoted_is_enough() -> None:
    lab = promoting({"ap": 1, "eu": 2})
    assert newest(lab).state is FailoverState.PROMOTING
    lab.of("eu")[1].promoting = False
    lab.run(2)
    assert newest(lab).state is FailoverState.SUCCEEDED


def test_a_promotion_that_failed_bars_the_region_with_its_reason_and_another_one_is_next() -> None:
    lab = promoting(hold_down_ns=60 * SECOND_NS)
    lab.give_up(lab.of("eu")[0], FAILED)
    lab.run(1)
    assert lab.known() == ("us", 3) and newest(lab).state is FailoverState.PROMOTING
    lab.of("us")[0].promoting = False
    lab.run(2)
    assert newest(lab).state is FailoverState.SUCCEEDED and newest(lab).from_region == "ap"
    assert lab.group is not None
    (barred,) = [c for c in lab.group.explain(lab.now).candidates if c.region == "eu"]
    assert barred.rule == "HOLD_DOWN" and barred.detail.startswith(FAILED)
    (told,) = [entry for entry in lab.journal if entry.kind == "promotion-failed"]
    assert told.region == "eu" and told.epoch == 2 and told.failover_id == newest(lab).id


def test_the_failure_of_one_agent_is_that_agents_alone() -> None:
    lab = promoting({"ap": 1, "eu": 2, "us": 1})
    first, second = lab.of("eu")
    lab.give_up(first, FAILED)
    lab.run(2)
    assert lab.known() == ("eu", 2) and newest(lab).state is FailoverState.PROMOTING
    second.promoting = False
    lab.run(2)
    assert newest(lab).state is FailoverState.SUCCEEDED and "promotion-failed" not in lab.kinds()
    assert lab.known() == ("eu", 2)


def test_a_region_that_is_lost_while_it_is_promoted_is_passed_by() -> None:
    """[I1] Only when its lease has run out."""
    lab = promoting(hold_down_ns=60 * SECOND_NS)
    lab.of("eu")[0].cut = True
    for _ in range(80):
        lab.run(0.1)
        assert len(lab.active()) <= 1
    assert lab.known() == ("us", 3)
    lab.of("eu")[0].cut = False
    lab.of("us")[0].promoting = False
    lab.run(8)
    assert rules(lab)["eu"] == "HOLD_DOWN"


def test_the_only_region_is_tried_again_at_a_growing_distance_whatever_bars_it() -> None:
    """[I8] Hold-down is soft; and epochs are not spun through. [I2]"""
    lab = promoting({"ap": 1, "eu": 1}, hold_down_ns=900 * SECOND_NS)
    granted: list[int] = []
    for _ in range(600):
        lab.run(0.1)
        epoch = lab.known()[1]
        if not granted or epoch != granted[-1]:
            granted.append(epoch)
        if lab.active() == {"eu"}:
            lab.give_up(lab.of("eu")[0], FAILED)
    assert granted == list(range(granted[0], granted[0] + len(granted))), "no epoch is passed over"
    assert 8 <= len(granted) <= 16, "at most one in a TTL, after the first"
    lab.of("eu")[0].promoting = False
    lab.run(12)
    assert lab.active() == {"eu"} and newest(lab).state is FailoverState.SUCCEEDED


def test_an_agent_that_is_heard_again_before_the_next_epoch_goes_on_with_its_own() -> None:
    """[I2] Until another epoch is decided, a holder gets its own back, and the move ends with it."""
    lab = promoting({"ap": 1, "eu": 2})
    first, second = lab.of("eu")
    second.cut = True
    lab.run(1)
    lab.give_up(first, FAILED)
    for _ in range(100):
        lab.run(0.1)
        if newest(lab).state is FailoverState.WAITING:
            break
    assert newest(lab).state is FailoverState.WAITING and lab.active() == set()
    second.cut = False
    lab.run(1.5)
    assert newest(lab).state is FailoverState.PROMOTING and lab.known() == ("eu", 2)
    second.promoting = False
    lab.run(2)
    assert newest(lab).state is FailoverState.SUCCEEDED and lab.known() == ("eu", 2)


def test_a_restart_goes_on_with_a_promotion() -> None:
    """[I7]"""
    lab = promoting()
    restart(lab)
    lab.run(2)
    assert newest(lab).state is FailoverState.PROMOTING and lab.known() == ("eu", 2)
    lab.of("eu")[0].promoting = False
    lab.run(2)
    assert newest(lab).state is FailoverState.SUCCEEDED and lab.known() == ("eu", 2)


def test_a_restart_in_a_promotion_that_fails_meanwhile_moves_on() -> None:
    lab = promoting(hold_down_ns=60 * SECOND_NS)
    lab.stop()
    lab.give_up(lab.of("eu")[0], FAILED)
    lab.run(1)
    lab.start()
    lab.run(10)
    assert lab.known() == ("us", 3)
    lab.of("us")[0].promoting = False
    lab.run(2)
    assert rules(lab)["eu"] == "HOLD_DOWN"


def test_a_lease_that_lapsed_is_no_sign_of_a_promotion_that_ended_well() -> None:
    """A coordinator that was away for longer than the TTL hears STANDBY of the epoch, and knows nothing by it."""
    lab = promoting()
    lab.stop()
    lab.run(8)
    assert lab.active() == set()
    lab.start()
    lab.run(3)
    assert newest(lab).state is FailoverState.PROMOTING
    lab.run(5)
    assert lab.known() == ("eu", 2) and newest(lab).state is FailoverState.PROMOTING
    lab.of("eu")[0].promoting = False
    lab.run(2)
    assert newest(lab).state is FailoverState.SUCCEEDED


def test_a_promotion_that_fails_later_bars_the_region_too() -> None:
    """After the move: a new life of its agent promotes the service again, and that fails."""
    lab = promoting(None, "nobody", hold_down_ns=60 * SECOND_NS)
    assert lab.known() == ("eu", 2) and newest(lab).state is FailoverState.SUCCEEDED
    again = lab.restart("eu/a1")
    again.promoting = True
    lab.run(2)
    assert lab.known() == ("eu", 2)
    lab.give_up(again, FAILED)
    lab.run(4)
    assert lab.known() == ("us", 3), "its own epoch is over, and it is not the first to be asked again"
    assert rules(lab)["eu"] == "HOLD_DOWN"


# ---- what hooks did


def test_what_a_hook_printed_is_kept_with_its_move_over_a_restart() -> None:
    lab = promoting()
    ran(lab, lab.of("eu")[0], 2, output="promoted at LSN 0/3000060")
    ran(lab, lab.of("us")[0], 99)
    restart(lab)
    lab.run(2)
    (run,) = newest(lab).hooks
    assert (run.agent, run.hook, run.outcome, run.output) == (
        "eu/a1",
        "on_promote",
        "succeeded",
        "promoted at LSN 0/3000060",
    )
    assert lab.kinds().count("hook-ran") == 2, "what belongs to no move is in the journal alone"


def test_a_demotion_belongs_to_the_move_away() -> None:
    lab = settled()
    lab.of("ap")[0].deaf = True
    lab.moved("eu", forced=True)
    ran(lab, lab.of("ap")[0], 1, "on_demote", "failed", "still open")
    (run,) = newest(lab).hooks
    assert run.hook == "on_demote" and run.output == "still open"
    lab.run(8)
    assert lab.known() == ("eu", 2) and newest(lab).hooks == (run,), "later steps of the move keep it"


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3 * HOOKS_KEPT_MAX))
def test_the_newest_runs_are_kept(count: int) -> None:
    lab = promoting()
    for number in range(count):
        ran(lab, lab.of("eu")[0], 2, output=str(number))
    kept = [run.output for run in newest(lab).hooks]
    assert kept == [str(number) for number in range(count)][-HOOKS_KEPT_MAX:]


def test_what_passed_an_epoch_by_is_not_held_against_it_in_the_next_move() -> None:
    lab = promoting(hold_down_ns=0, cool_down_ns=0)
    for node in lab.of("eu"):
        lab.give_up(node, FAILED)
        node.promoting = False
    lab.of("us")[0].promoting = False
    lab.of("ap")[0].health = UP
    lab.run(20)
    assert lab.known()[0] == "us" and newest(lab).state is FailoverState.SUCCEEDED, "eu passed an epoch by"
    lab.of("ap")[0].health = DOWN
    lab.run(2)
    lab.of("us")[0].health = DOWN
    lab.run(8)
    assert lab.known()[0] == "eu"

"""When to move and when not: damping, hold-down, cool-down, the brake, approval, self-doubt, and the way back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_coordinator.core import damping, events
from primacy_coordinator.core.model import (
    ApprovalAction,
    DampingRecord,
    Failback,
    FailoverKind,
    FailoverRecord,
    FailoverState,
    Limits,
    Policy,
    RegionSettings,
)
from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Lag, Load

from tests.unit.core.lab import DOWN, UP, Lab

BASE = {
    "lease_ttl_ns": 5 * SECOND_NS,
    "grace_ns": SECOND_NS,
    "first_wait_ns": SECOND_NS,
    "stable_for_ns": 3 * SECOND_NS,
}


def settled(regions: dict[str, int] | None = None, **policy: object) -> Lab:
    lab = Lab(regions or {"ap": 1, "eu": 1, "us": 1}, Policy(**{**BASE, **policy}))  # type: ignore[arg-type]
    lab.run(6)
    assert lab.known() == ("ap", 1)
    return lab


def newest(lab: Lab) -> FailoverRecord:
    assert lab.group is not None
    return lab.group.view(lab.now).failovers[0]


def rules(lab: Lab, serving_down: str = "") -> dict[str, str]:
    assert lab.group is not None
    return {c.region: c.rule for c in lab.group.explain(lab.now, serving_down).candidates}


# ---- rules of the past


def test_a_region_that_lost_the_lease_by_failure_is_held_down_and_moves_cool_down() -> None:
    lab = settled(hold_down_ns=30 * SECOND_NS, cool_down_ns=20 * SECOND_NS)
    lab.of("ap")[0].health = DOWN
    lab.run(3)
    lab.of("ap")[0].health = UP
    lab.run(8)
    assert lab.known() == ("eu", 2)
    assert rules(lab) == {"eu": "ACTIVE", "ap": "HOLD_DOWN", "us": "COOL_DOWN"}
    refusal = lab.move("ap").refusal
    assert refusal is not None and refusal.rule == "HOLD_DOWN"
    refusal = lab.move("ap", override_rules=("HOLD_DOWN",)).refusal
    assert refusal is not None and refusal.rule == "COOL_DOWN", "each rule is passed by its own name"
    lab.moved("ap", override_rules=("HOLD_DOWN", "COOL_DOWN"))
    lab.run(3)
    assert lab.known() == ("ap", 3)


def test_soft_rules_never_keep_a_group_without_an_active_region() -> None:
    """[I8] The only region left was just held down, damped, and moves cool down."""
    lab = settled(hold_down_ns=600 * SECOND_NS, cool_down_ns=600 * SECOND_NS, flap_limit=1.5)
    for _ in range(2):
        lab.of("ap")[0].health = DOWN
        lab.run(4)
        lab.of("ap")[0].health = UP
        lab.run(8)
    active, epoch = lab.known()
    assert active == "eu"
    for name in ("eu", "us"):
        lab.of(name)[0].cut = True
    lab.run(25)  # Losing two of three at once is doubted first.
    assert lab.known() == ("ap", epoch + 1)
    assert newest(lab).explanation.startswith("ap is the only candidate")


def test_flapping_is_damped_until_half_of_the_limit_and_survives_a_restart() -> None:
    lab = settled(flap_limit=2.5, flap_half_life_ns=60 * SECOND_NS, hold_down_ns=0, cool_down_ns=0)
    for _ in range(3):
        lab.of("us")[0].health = DOWN
        lab.run(3)
        lab.of("us")[0].health = UP
        lab.run(6)
    assert rules(lab)["us"] == "DAMPED" and "region-damped" in lab.kinds()
    lab.stop()
    lab.start()
    lab.run(8)
    assert rules(lab)["us"] == "DAMPED"
    lab.run(90)
    assert rules(lab)["us"] == "" and "region-undamped" in lab.kinds()


@given(st.floats(0, 100), st.integers(0, 10**12), st.integers(0, 10**12))
def test_a_penalty_only_ever_decays(count: float, one_ns: int, more_ns: int) -> None:
    past = DampingRecord("r", count, 0)
    policy = Policy()
    assert 0 <= damping.penalty(past, one_ns + more_ns, policy) <= damping.penalty(past, one_ns, policy) <= count


def test_a_region_that_lags_too_far_is_not_elected_and_a_lesser_lag_decides() -> None:
    lab = settled()
    lab.of("eu")[0].lag = Lag(age_ns=30 * SECOND_NS)
    lab.of("us")[0].lag = Lag(age_ns=SECOND_NS)
    lab.of("ap")[0].lag = Lag(age_ns=0)
    lab.run(2)
    assert rules(lab)["eu"] == "LAG"
    lab.of("ap")[0].health = DOWN
    lab.run(4)
    assert lab.known() == ("us", 2)
    price = newest(lab).price
    assert price is not None and price.age_ns == SECOND_NS


def test_a_region_that_cannot_carry_the_load_is_refused_while_another_serves() -> None:
    lab = settled()
    lab.ask(events.UpdateRegion(lab.request(), "eu", RegionSettings(capacity=50.0), ("capacity",)))
    lab.of("ap")[0].load = Load(request_rate=80.0)
    lab.run(2)
    assert rules(lab)["eu"] == "CAPACITY"
    refusal = lab.move("eu").refusal
    assert refusal is not None and refusal.rule == "CAPACITY" and "30" in refusal.message


# ---- the brake


def test_a_failover_waits_for_the_brake_and_gives_it_back() -> None:
    lab = settled()
    lab.brake_held = True
    lab.of("ap")[0].health = DOWN
    lab.run(10)
    assert lab.known() == ("ap", 1) and lab.brake_asked and lab.kinds().count("failover-braked") == 1
    assert lab.group is not None
    lab._perform(lab.group.handle(lab.now, events.BrakeReleased()))
    lab.run(2)
    assert lab.known() == ("eu", 2) and not lab.brake_asked


def test_a_failover_that_is_not_wanted_any_more_leaves_the_line() -> None:
    lab = settled()
    lab.brake_held = True
    lab.of("ap")[0].health = DOWN
    lab.run(5)
    lab.of("ap")[0].health = UP
    lab.run(5)
    assert lab.known() == ("ap", 1) and not lab.brake_asked


def test_what_the_peers_confirm_is_not_braked() -> None:
    lab = settled()
    lab.brake_held = True
    for name in ("eu", "us"):
        lab.of(name)[0].sees = {"ap": False}
    lab.of("ap")[0].cut = True
    lab.run(12)
    assert lab.known()[0] == "eu" and not lab.brake_asked


# ---- approval


def dear(**policy: object) -> Lab:
    lab = settled(max_loss=Limits(entries=10), max_lag=Limits(), **policy)
    for name in ("eu", "us"):
        lab.of(name)[0].lag = Lag(entries=100)
    lab.run(2)
    return lab


def test_a_failover_that_loses_too_much_waits_for_approval() -> None:
    lab = dear()
    lab.of("ap")[0].health = DOWN
    lab.run(20)
    record = newest(lab)
    assert record.state is FailoverState.AWAITING_APPROVAL and lab.known() == ("ap", 1)
    (call,) = [entry for entry in lab.journal if entry.kind == "approval-needed"]
    assert f"primacy failover --approve {record.id}" in call.message and "100 entries" in call.message
    lab.stop()
    lab.start()
    lab.run(8)
    assert newest(lab).state is FailoverState.AWAITING_APPROVAL, "a restart forgets nothing"
    reply = lab.ask(events.ApproveFailover(lab.request(), record.id, "ops"))
    assert reply.refusal is None
    lab.run(3)
    assert lab.known() == ("eu", 2) and newest(lab).approved_by == "ops"
    refusal = lab.ask(events.ApproveFailover(lab.request(), record.id, "ops")).refusal
    assert refusal is not None and refusal.rule == "FAILOVER_ENDED"


def test_a_holder_that_is_there_again_needs_no_approval() -> None:
    lab = dear()
    lab.of("ap")[0].cut = True
    lab.run(12)
    assert newest(lab).state is FailoverState.AWAITING_APPROVAL
    lab.of("ap")[0].cut = False
    lab.run(4)
    assert lab.known() == ("ap", 1) and newest(lab).state is FailoverState.ABORTED


def test_an_approval_that_never_comes() -> None:
    lab = dear(approval_timeout_ns=10 * SECOND_NS)
    lab.of("ap")[0].health = DOWN
    lab.run(35)
    assert newest(lab).state is FailoverState.AWAITING_APPROVAL
    assert lab.kinds().count("approval-needed") >= 3
    lab = dear(approval_timeout_ns=10 * SECOND_NS, approval_action=ApprovalAction.MOVE)
    lab.of("ap")[0].health = DOWN
    lab.run(16)
    assert lab.known() == ("eu", 2)


def test_a_cancelled_failover_does_not_begin_anew_at_once() -> None:
    lab = dear(approval_timeout_ns=30 * SECOND_NS)
    lab.of("ap")[0].health = DOWN
    lab.run(5)
    record = newest(lab)
    assert lab.ask(events.CancelFailover(lab.request(), record.id, "ops", "wait for the dump")).refusal is None
    lab.run(15)
    assert newest(lab).id == record.id and newest(lab).state is FailoverState.ABORTED
    lab.run(20)
    assert newest(lab).id != record.id


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
        refusal = lab.ask(command).refusal
        assert refusal is not None
        return refusal.rule

    assert say("fo-99") == "FAILOVER_NOT_FOUND"
    assert say("fo-1") == "FAILOVER_ENDED"
    lab.of("ap")[0].cut = True
    lab.moved("eu", forced=True)
    lab.run(1)
    assert say(newest(lab).id) == ("NOT_AWAITING_APPROVAL" if how == "approve" else "PAST_RETURN")


# ---- self-doubt


def test_losing_most_sessions_at_once_is_doubted_first() -> None:
    lab = settled({"ap": 2, "eu": 2, "us": 1}, doubt_max_ns=15 * SECOND_NS)
    for name in ("ap", "eu"):
        for node in lab.of(name):
            node.cut = True
    lab.run(10)
    assert lab.known()[0] != "us" and "self-doubt-began" in lab.kinds()
    lab.run(14)
    assert lab.known()[0] == "us" and "self-doubt-ended" in lab.kinds(), "it doubts no longer than the policy says"
    assert lab.kinds().count("self-doubt-began") == 1


def test_the_doubt_ends_when_those_who_remain_do_not_reach_the_lost_either() -> None:
    lab = settled({"ap": 2, "eu": 2, "us": 1}, doubt_max_ns=60 * SECOND_NS)
    for name in ("ap", "eu"):
        for node in lab.of(name):
            node.cut = True
    lab.of("us")[0].sees = {"ap": False, "eu": False}
    lab.run(12)
    assert lab.known()[0] == "us"


def test_the_doubt_ends_when_half_are_back() -> None:
    lab = settled({"ap": 2, "eu": 2, "us": 1}, doubt_max_ns=60 * SECOND_NS)
    lost = [*lab.of("ap"), *lab.of("eu")]
    for node in lost:
        node.cut = True
    lab.run(3)
    for node in lost:
        node.cut = False
    lab.run(4)
    assert lab.known() == ("ap", 1) and "self-doubt-ended" in lab.kinds()
    assert not [e for e in lab.journal if e.kind == "region-status" and "-> DOWN" in e.message]


def test_one_lost_region_of_three_is_not_doubted() -> None:
    lab = settled()
    lab.of("ap")[0].cut = True
    lab.run(12)
    assert "self-doubt-began" not in lab.kinds() and lab.known()[0] == "eu"


# ---- the way back


def preferred(failback: Failback) -> Lab:
    lab = settled(failback=failback, failback_after_ns=5 * SECOND_NS, hold_down_ns=SECOND_NS, cool_down_ns=SECOND_NS)
    lab.ask(events.UpdateRegion(lab.request(), "ap", RegionSettings(priority=200), ("priority",)))
    lab.of("ap")[0].health = DOWN
    lab.run(4)
    assert lab.known() == ("eu", 2)
    lab.of("ap")[0].health = UP
    lab.run(25)
    return lab


def test_failback_by_itself_is_a_planned_move() -> None:
    lab = preferred(Failback.AUTO)
    assert lab.known() == ("ap", 3)
    record = newest(lab)
    assert record.move is FailoverKind.FAILBACK and record.phases[0].name == "failback-hold"
    assert "freeze" in [phase.name for phase in record.phases]


def test_failback_by_hand_is_said_once() -> None:
    lab = preferred(Failback.MANUAL)
    assert lab.known() == ("eu", 2)
    (told,) = [entry for entry in lab.journal if entry.kind == "failback-possible"]
    assert "primacy failover --to ap" in told.message


def test_no_failback_says_nothing() -> None:
    lab = preferred(Failback.NEVER)
    assert lab.known() == ("eu", 2) and "failback-possible" not in lab.kinds()

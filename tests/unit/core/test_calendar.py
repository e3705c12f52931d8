"""Steps of the wall clock: what was to last so long still does, before and after a restart."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from primacy_coordinator.core import events
from primacy_coordinator.core.model import FailoverState, Limits, Policy
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS, Now
from primacy_wire.messages import Lag

from tests.unit.core.lab import DOWN, UP, Lab

HOUR_NS = 3600 * SECOND_NS
POLICY = Policy(
    lease_ttl_ns=5 * SECOND_NS,
    grace_ns=SECOND_NS,
    first_wait_ns=SECOND_NS,
    stable_for_ns=3 * SECOND_NS,
    hold_down_ns=60 * SECOND_NS,
    cool_down_ns=60 * SECOND_NS,
)


def settled(**policy: object) -> Lab:
    lab = Lab({"ap": 1, "eu": 1, "us": 1}, replace(POLICY, **policy))  # type: ignore[arg-type]
    lab.run(6)
    assert lab.known() == ("ap", 1)
    return lab


def step(lab: Lab, length_ns: int) -> None:
    lab.now = Now(lab.now.mono_ns, lab.now.wall_ns + length_ns)


def rules(lab: Lab) -> dict[str, str]:
    assert lab.group is not None
    return {candidate.region: candidate.rule for candidate in lab.group.explain(lab.now).candidates}


BIG = st.integers(2, 40 * 3600) | st.integers(-40 * 3600, -2)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(1, 30), BIG | st.just(0), st.booleans()), min_size=1, max_size=6))
def test_what_is_left_of_an_override_is_what_the_machine_counted(steps: list[tuple[int, int, bool]]) -> None:
    """Over steps in either direction, and over restarts once a step was noticed."""
    lab = settled()
    lab.ask(events.PauseElection(lab.request(), "migration", "ops", lab.now.wall_ns + HOUR_NS))
    began_ns = lab.now.mono_ns
    for tenths, step_s, restart in steps:
        step(lab, step_s * SECOND_NS)
        lab.run(1.1 + tenths / 10)
        if restart:
            lab.stop()
            lab.start()
        assert lab.group is not None
        (view,) = lab.group.view(lab.now).overrides
        assert abs(view.remaining_ns - (HOUR_NS - (lab.now.mono_ns - began_ns))) <= SECOND_NS
        assert abs(view.record.expire_wall_ns - lab.now.wall_ns - view.remaining_ns) <= SECOND_NS
    assert lab.kinds().count("clock-stepped") == sum(1 for _, step_s, _ in steps if step_s)


def test_a_clock_that_is_kept_in_time_has_not_stepped() -> None:
    lab = settled()
    lab.ask(events.PauseElection(lab.request(), "migration", "ops", lab.now.wall_ns + 33 * SECOND_NS))
    for _ in range(320):
        step(lab, 10 * MILLISECOND_NS)
        lab.run(0.1)
    assert lab.group is not None and lab.group.view(lab.now).overrides, "overrides end by the machine's clock"
    lab.run(1.2)
    assert not lab.group.view(lab.now).overrides
    assert "clock-stepped" not in lab.kinds()


def test_hold_down_and_cool_down_last_as_long_as_they_were_to() -> None:
    for step_ns in (5 * HOUR_NS, -5 * HOUR_NS):
        lab = settled()
        lab.of("ap")[0].health = DOWN
        lab.run(3)
        assert lab.known() == ("eu", 2)
        lab.of("ap")[0].health = UP
        lab.run(6)
        step(lab, step_ns)
        lab.run(40)
        assert rules(lab)["ap"] == "HOLD_DOWN" and rules(lab)["us"] == "COOL_DOWN"
        lab.run(15)
        assert rules(lab)["ap"] == rules(lab)["us"] == ""


def test_a_restart_after_a_step_finds_the_same_time_left() -> None:
    lab = settled()
    lab.of("ap")[0].health = DOWN
    lab.run(3)
    lab.of("ap")[0].health = UP
    lab.run(6)
    step(lab, -5 * HOUR_NS)
    lab.run(1.5)
    lab.stop()
    lab.start()
    lab.run(30)
    assert rules(lab)["ap"] == "HOLD_DOWN" and rules(lab)["us"] == "COOL_DOWN"
    lab.run(25)
    assert rules(lab)["ap"] == rules(lab)["us"] == ""


def test_a_wait_for_approval_ends_when_it_was_to_end() -> None:
    lab = settled(max_loss=Limits(entries=10), approval_timeout_ns=60 * SECOND_NS, max_lag=Limits(), cool_down_ns=0)
    for name in ("eu", "us"):
        lab.of(name)[0].lag = Lag(entries=50)
    lab.run(1.5)
    lab.of("ap")[0].health = DOWN
    lab.run(3)
    assert lab.group is not None
    move = lab.group.view(lab.now).failover
    assert move is not None and move.state is FailoverState.AWAITING_APPROVAL
    step(lab, 5 * HOUR_NS)
    lab.run(5)
    lab.stop()
    lab.start()
    lab.run(35)
    assert lab.kinds().count("approval-needed") == 1
    lab.run(25)
    assert lab.kinds().count("approval-needed") == 2


def test_a_clock_set_back_while_no_machine_ran_makes_nothing_last_longer() -> None:
    lab = settled()
    lab.of("ap")[0].health = DOWN
    lab.run(3)
    assert lab.known() == ("eu", 2)
    lab.of("ap")[0].health = UP
    lab.run(6)
    lab.ask(events.PauseElection(lab.request(), "migration", "ops", lab.now.wall_ns + HOUR_NS))
    lab.stop()
    step(lab, -5 * HOUR_NS)
    lab.start()
    assert lab.group is not None
    (view,) = lab.group.view(lab.now).overrides
    assert view.remaining_ns == HOUR_NS
    lab.run(61)
    assert rules(lab)["ap"] == rules(lab)["us"] == ""


def test_what_was_cut_to_its_length_at_one_start_is_not_cut_anew_at_the_next() -> None:
    lab = settled()
    lab.ask(events.PauseElection(lab.request(), "migration", "ops", lab.now.wall_ns + HOUR_NS))
    lab.stop()
    step(lab, -5 * HOUR_NS)
    for _ in range(3):
        lab.start()
        lab.run(10)
        lab.stop()
    lab.start()
    assert lab.group is not None
    (view,) = lab.group.view(lab.now).overrides
    assert view.remaining_ns == HOUR_NS - 30 * SECOND_NS

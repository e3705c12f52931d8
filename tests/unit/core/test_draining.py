"""Drains step by step: what they wait for, what takes them back, and what a region gets when one ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_coordinator.core import events, ramps
from primacy_coordinator.core.model import DrainState, FailoverState, Policy, RoutingStrategy
from primacy_coordinator.core.views import DrainPlan, RegionView
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.messages import Load

from tests.unit.core.lab import DOWN, Lab

POLICY = Policy(
    lease_ttl_ns=5 * SECOND_NS,
    grace_ns=SECOND_NS,
    first_wait_ns=SECOND_NS,
    stable_for_ns=3 * SECOND_NS,
    read_strategy=RoutingStrategy.ROUND_ROBIN,
    drain_time_ns=4 * SECOND_NS,
    slow_start_ns=10 * SECOND_NS,
    switchover_timeout_ns=2 * SECOND_NS,
    doubt_max_ns=0,
    weight_slew=1.0,
)


def settled(regions: dict[str, int] | None = None, **policy: object) -> Lab:
    lab = Lab(regions or {"ap": 1, "eu": 1, "us": 1}, replace(POLICY, **policy))  # type: ignore[arg-type]
    lab.run(8)
    assert lab.known() == ("ap", 1)
    return lab


def region(lab: Lab, name: str) -> RegionView:
    assert lab.group is not None
    view = lab.group.region_view(lab.now, name)
    assert view is not None
    return view


def drain(lab: Lab, name: str, **how: object) -> DrainPlan:
    reply = lab.ask(events.DrainRegion(lab.request(), name, "maintenance", "ops", **how))  # type: ignore[arg-type]
    assert reply.refusal is None, reply.refusal
    assert isinstance(reply.value, DrainPlan)
    return reply.value


def reads(lab: Lab, name: str) -> float:
    assert lab.group is not None
    return dict(dict(lab.group.weights_view().read)["us"])[name]


def test_a_region_is_drained_only_when_what_is_in_flight_is_done() -> None:
    lab = settled()
    lab.of("eu")[0].load = Load(in_flight=3)
    drain(lab, "eu")
    lab.run(6)
    assert reads(lab, "eu") == 0 and region(lab, "eu").drain_state is DrainState.DRAINING
    lab.of("eu")[0].load = Load(in_flight=0)
    lab.run(1.2)
    assert region(lab, "eu").drain_state is DrainState.DRAINED


def test_work_that_never_ends_is_waited_for_as_long_again_and_no_longer() -> None:
    lab = settled()
    lab.of("eu")[0].load = Load(in_flight=3)
    drain(lab, "eu")
    lab.run(7.8)
    assert region(lab, "eu").drain_state is DrainState.DRAINING
    lab.run(1)
    assert region(lab, "eu").drain_state is DrainState.DRAINED
    assert next(entry for entry in lab.journal if entry.kind == "drained").message.endswith(
        "3 requests are still in flight"
    )


def test_what_was_reported_before_the_last_read_is_no_proof_that_nothing_is_left() -> None:
    lab = settled()
    node = lab.of("eu")[0]
    node.load = Load(in_flight=0)
    drain(lab, "eu")
    lab.run(3.5)
    node.load = Load(in_flight=2)
    node.due_ns = lab.now.mono_ns + int(1.5 * SECOND_NS)
    lab.run(1)
    assert reads(lab, "eu") == 0 and region(lab, "eu").drain_state is DrainState.DRAINING
    lab.run(1)
    assert region(lab, "eu").drain_state is DrainState.DRAINING


def test_a_switchover_that_is_given_up_takes_its_drain_back() -> None:
    lab = settled()
    lab.of("ap")[0].deaf = True  # it cannot be frozen
    plan = drain(lab, "ap")
    assert plan.failover is not None and region(lab, "ap").drain_state is DrainState.DRAINING
    lab.run(2.5)
    lab.of("ap")[0].deaf = False
    lab.run(2)
    assert lab.group is not None
    move = lab.group.failover(plan.failover.id)
    assert move is not None and move.state is FailoverState.ABORTED
    assert "drain-abandoned" in lab.kinds() and region(lab, "ap").drain_state is DrainState.NONE
    assert lab.known() == ("ap", 1)


def test_a_drain_gives_way_where_its_target_dies_past_the_point_of_return() -> None:
    """[I8] The lease was released; the region that is drained is the only one that can take it."""
    lab = settled({"ap": 1, "eu": 1})
    lab.of("eu")[0].deaf = True  # it never hears the offer
    drain(lab, "ap")
    lab.run(1)
    assert lab.known()[0] == ""
    lab.of("eu")[0].cut = True
    lab.run(20)
    assert lab.known()[0] == "ap" and lab.active() == {"ap"}
    assert "drain-abandoned" in lab.kinds() and region(lab, "ap").drain_state is DrainState.NONE


def test_a_drain_waits_for_a_failover_that_moves_the_lease_away_already() -> None:
    lab = settled()
    node = lab.of("ap")[0]
    node.health, node.deaf = DOWN, True
    lab.run(1.5)
    assert lab.group is not None
    move = lab.group.view(lab.now).failover
    assert move is not None and move.state is FailoverState.RELEASING
    plan = drain(lab, "ap")
    assert plan.failover is not None and plan.failover.id == move.id
    lab.run(12)
    assert lab.known() == ("eu", 2) and region(lab, "ap").drain_state is DrainState.DRAINED


def test_a_drain_during_a_planned_move_goes_with_that_move() -> None:
    lab = settled()
    lab.of("ap")[0].deaf = True  # it cannot be frozen
    move = lab.moved("eu").failover
    plan = drain(lab, "ap")
    assert plan.failover is not None and plan.failover.id == move.id
    lab.run(2.5)
    lab.of("ap")[0].deaf = False
    lab.run(2)
    assert "drain-abandoned" in lab.kinds() and region(lab, "ap").drain_state is DrainState.NONE
    assert lab.known() == ("ap", 1)


def test_a_region_that_is_just_being_granted_the_lease_cannot_be_drained() -> None:
    lab = settled()
    lab.of("eu")[0].deaf = True
    lab.moved("eu")
    lab.run(0.5)
    before = dict(lab.records)
    refusal = lab.ask(events.DrainRegion(lab.request(), "eu", "maintenance")).refusal
    assert refusal is not None and refusal.rule == "MOVE_IN_PROGRESS" and lab.records == before


def test_a_region_that_gives_only_its_traffic_away_keeps_writes_and_counts_as_drained_once_it_lost_the_lease() -> None:
    lab = settled()
    for name in ("eu", "us"):
        lab.of(name)[0].health = DOWN
    lab.run(2)
    drain(lab, "ap", override_rules=("NO_TARGET",))
    lab.run(8)
    assert lab.group is not None
    assert dict(dict(lab.group.weights_view().write)["us"]) == {"ap": 1.0, "eu": 0.0, "us": 0.0}
    for name in ("eu", "us"):
        lab.of(name)[0].load = Load()
        lab.of(name)[0].health = lab.of("ap")[0].health
    lab.run(6)
    lab.moved("us")
    lab.run(2)
    assert lab.known() == ("us", 2)
    refusal = lab.move("ap").refusal
    assert refusal is not None and refusal.rule == "DRAINED"


def test_undraining_half_way_does_not_throw_a_region_back() -> None:
    lab = settled()
    drain(lab, "eu")
    lab.run(1.5)
    before = reads(lab, "eu")
    assert 0.1 < before < 1 / 3
    lab.ask(events.UndrainRegion(lab.request(), "eu"))
    lab.run(0.5)
    assert reads(lab, "eu") == pytest.approx(before, abs=0.08)
    lab.run(12)
    assert reads(lab, "eu") == pytest.approx(1 / 3, abs=0.01)


def test_deregistering_leaves_no_fewer_regions_than_the_policy_asks_for() -> None:
    lab = settled(undrained_regions_min=3)
    lab.of("us")[0].cut = True
    lab.run(1)
    refusal = lab.ask(events.DeregisterRegion(lab.request(), "us")).refusal
    assert refusal is not None and refusal.rule == "MIN_UNDRAINED"
    reply = lab.ask(events.DeregisterRegion(lab.request(), "us", override_rules=("MIN_UNDRAINED",)))
    assert reply.refusal is None


def test_pins_and_drains_of_a_region_go_with_it() -> None:
    lab = settled()
    lab.ask(events.PinWeights(lab.request(), "", (("eu", 0.5), ("us", 0.5)), "experiment", "ops"))
    drain(lab, "us")
    lab.of("us")[0].cut = True
    lab.run(1)
    assert lab.ask(events.DeregisterRegion(lab.request(), "us")).refusal is None
    assert lab.group is not None and lab.group.view(lab.now).overrides == ()


LENGTHS = st.integers(1, 600_000).map(lambda ms: ms * MILLISECOND_NS)


@given(LENGTHS, LENGTHS, st.lists(st.integers(0, 700_000), min_size=2, max_size=20))
def test_a_drain_only_takes_and_ends_in_time(length_ns: int, step_ns: int, instants_ms: list[int]) -> None:
    began_ns = 5 * SECOND_NS
    parts = [
        ramps.drain_part(began_ns, length_ns, step_ns, began_ns + at_ms * MILLISECOND_NS)
        for at_ms in sorted(instants_ms)
    ]
    assert parts == sorted(parts, reverse=True) and all(0 <= part < 1 for part in parts)
    assert ramps.drain_part(began_ns, length_ns, step_ns, began_ns + length_ns) == 0


@given(LENGTHS, st.floats(0, 1))
def test_a_slow_start_goes_on_from_where_a_drain_ended(length_ns: int, part: float) -> None:
    since_ns = ramps.slow_start_since(part, length_ns, 0)
    begins_at = 1.0 if since_ns is None else ramps.slow_start_part(since_ns, length_ns, 0)
    assert begins_at == pytest.approx(max(part, ramps.SLOW_START_FIRST), abs=1e-5)
    assert since_ns is None or ramps.slow_start_part(since_ns, length_ns, length_ns) == 1

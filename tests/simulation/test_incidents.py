"""Incidents in the simulated world: what operators meet beside the loss of one region, and what must come of it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from primacy_coordinator.core import events
from primacy_coordinator.core.model import ApprovalAction, FailoverState, Limits, OverrideKind
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.messages import Lag

from tests.simulation.world.coordinator import NAME
from tests.simulation.world.faults import cut_links, set_healthy, set_probes
from tests.simulation.world.fleet import Fleet
from tests.simulation.world.options import HookPlan, Options
from tests.simulation.world.world import World

THREE = {"ap": 1, "eu": 1, "us": 1}
HOUR_NS = 3600 * SECOND_NS
ALL_JOIN = {"first_wait_ns": 3 * SECOND_NS}
"""The first election waits until every region has joined, in each of many worlds."""
DEAR = {"max_loss": Limits(age_ns=2 * SECOND_NS)}


def settled(
    settings: Mapping[str, object] | None = None, hooks: HookPlan | None = None, regions: dict[str, int] | None = None
) -> World:
    """`ap` is active; nothing fails by itself."""
    world = World(1, Options(regions or THREE, slow_disk=0.0, settings=settings or {}, hooks=hooks))
    world.begin()
    world.run_for(12 * SECOND_NS)
    assert world.active() == {world.known()} == {"ap"}
    return world


def epoch(world: World) -> int:
    return world.coordinator.disk.lease.epoch


def wait_for(world: World, region: str, seconds: float) -> None:
    end_ns = world.time_ns + int(seconds * SECOND_NS)
    while world.active() != {region}:
        assert world.time_ns < end_ns, f"{world.active()} active, {region} expected"
        world.run_for(100 * MILLISECOND_NS)


def newest(world: World) -> FailoverState:
    assert world.coordinator.group is not None
    return world.coordinator.group.view(world.coordinator.now()).failovers[0].state


def links(world: World, *regions: str) -> set[tuple[str, str]]:
    """Of these regions with the coordinator, both ways."""
    keys = [machine.key for region in regions for machine in world.machines_of(region)]
    return {link for key in keys for link in ((key, NAME), (NAME, key))}


# ---- when not to move


def test_a_service_that_flaps_is_left_once_and_not_gone_back_to() -> None:
    world = settled({"flap_half_life_ns": 300 * SECOND_NS, "hold_down_ns": 30 * SECOND_NS})
    before, without = epoch(world), 0
    for second in range(300):
        set_healthy(world, "ap", second % 6 >= 3)
        world.run_for(SECOND_NS)
        without += not world.active()
    assert epoch(world) - before == 1, "it moves once, and stays"
    assert world.counts["region-damped"] == 1
    assert without <= 5
    set_healthy(world, "ap", True)
    world.run_for(60 * SECOND_NS)
    assert epoch(world) - before == 1 and len(world.active()) == 1


def test_when_every_region_flaps_somebody_serves_all_the_same() -> None:
    """Damping is soft (I8): it never leaves a group alone, and no region is left more often than it falls."""
    world = settled({"flap_half_life_ns": 60 * SECOND_NS, "flap_limit": 2.0})
    before, without = epoch(world), 0
    for second in range(300):
        for offset, region in enumerate(world.regions):
            set_healthy(world, region, (second + 2 * offset) % 6 >= 2)
        world.run_for(SECOND_NS)
        without += not world.active()
    assert world.counts["region-damped"] >= 3
    assert epoch(world) - before <= 150, "each falls 50 times"
    assert without <= 100, "each failover begins after the grace of a second"
    for region in world.regions:
        set_healthy(world, region, True)
    world.run_for(90 * SECOND_NS)
    assert len(world.active()) == 1


def test_when_two_regions_are_lost_the_third_serves_whatever_soft_rules_say() -> None:
    world = settled({"hold_down_ns": 300 * SECOND_NS})
    set_healthy(world, "ap", False)
    wait_for(world, "eu", 10)
    set_healthy(world, "ap", True)
    world.run_for(8 * SECOND_NS)
    set_healthy(world, "eu", False)
    set_healthy(world, "us", False)
    wait_for(world, "ap", 10)
    assert newest(world) is FailoverState.SUCCEEDED, "held down, and the only one there is (I8)"


def test_the_loss_of_most_sessions_is_the_coordinators_own_until_proved_otherwise() -> None:
    # Agents come back within their longest pause; so long the holder has to be waited for.
    world = settled({"doubt_max_ns": 20 * SECOND_NS, "grace_ns": 4 * SECOND_NS})
    before = epoch(world)
    cut_links(world, links(world, "ap", "eu"), 4 * SECOND_NS)
    world.run_for(15 * SECOND_NS)
    assert world.counts["self-doubt-began"] == world.counts["self-doubt-ended"] == 1
    assert epoch(world) == before and world.active() == {"ap"}


def test_a_region_that_dies_while_the_coordinator_doubts_itself_is_replaced_when_the_doubt_ends() -> None:
    world = settled()
    cut_links(world, links(world, "ap", "eu"), 300 * SECOND_NS)
    set_healthy(world, "ap", False)
    world.run_for(2 * SECOND_NS)
    assert world.known() == "ap"
    wait_for(world, "us", 6 + 6 + 10)


@pytest.mark.parametrize("dead", [False, True])
def test_fifty_groups_at_once_fail_over_three_by_three_unless_their_peers_confirm_it(dead: bool) -> None:
    options = Options(THREE, slow_disk=0.0, groups=50, failovers_max=3, brake_ns_max=600 * SECOND_NS, settings=ALL_JOIN)
    fleet = Fleet(1, options)
    fleet.begin()
    fleet.run_for(12 * SECOND_NS)
    assert all(world.active() == {"ap"} for world in fleet.worlds)
    for world in fleet.worlds:
        if dead:
            set_healthy(world, "ap", False)
        else:
            set_probes(world, "ap", False)
    for _ in range(600):
        fleet.run_for(100 * MILLISECOND_NS)
        if all(world.active() == {"eu"} for world in fleet.worlds):
            break
    assert all(world.active() == {"eu"} for world in fleet.worlds)
    assert fleet.most_at_once == (0 if dead else 3)
    assert sum(world.counts["brake asked"] for world in fleet.worlds) == (0 if dead else 50)


def test_a_pause_that_ends_in_the_middle_of_an_incident_is_no_pause_any_more() -> None:
    world = settled()
    end_ns = world.coordinator.now().wall_ns + 20 * SECOND_NS
    world.coordinator.ask(events.PauseElection(0, "maintenance", "ops", end_ns))
    set_healthy(world, "ap", False)
    world.run_for(15 * SECOND_NS)
    assert not world.active() & {"eu", "us"}, "nobody takes over by itself"
    wait_for(world, "eu", 15)
    assert world.counts["override-expired"] == 1


# ---- overrides in the middle of moves


def test_the_next_region_is_drained_while_it_is_about_to_take_over() -> None:
    world = settled()
    world.coordinator.ask(events.MoveActive(0, "eu"))
    world.coordinator.ask(events.DrainRegion(0, "eu", "maintenance", "ops"))
    world.run_for(20 * SECOND_NS)
    assert len(world.active()) == 1 and world.active() != {"eu"}
    assert newest(world) in (FailoverState.SUCCEEDED, FailoverState.ABORTED), "nothing is left half done"


def test_a_wall_clock_that_steps_makes_nothing_last_longer_or_shorter() -> None:
    world = settled({"hold_down_ns": 40 * SECOND_NS})
    set_healthy(world, "ap", False)
    wait_for(world, "eu", 10)
    set_healthy(world, "ap", True)
    world.coordinator.ask(
        events.CordonRegion(0, "us", "maintenance", "ops", world.coordinator.now().wall_ns + 60 * SECOND_NS)
    )
    for step_ns in (HOUR_NS, -2 * HOUR_NS):
        world.coordinator.watch.ends.clock_stepped(True)
        world.coordinator.clock.wall_ns += step_ns
        world.run_for(5 * SECOND_NS)
    group = world.coordinator.group
    assert group is not None
    now = world.coordinator.now()
    (cordon,) = [o for o in group.view(now).overrides if o.record.what is OverrideKind.CORDON]
    assert 45 * SECOND_NS < cordon.remaining_ns < 55 * SECOND_NS
    found = {c.region: c.rule for c in group.explain(now).candidates}
    assert found["ap"] == "HOLD_DOWN" and found["us"] == "CORDONED"
    world.run_for(65 * SECOND_NS)
    assert {c.rule for c in group.explain(world.coordinator.now()).candidates if c.region != "eu"} == {""}


# ---- a price, and hooks


@pytest.mark.parametrize("action", list(ApprovalAction))
def test_approval_that_never_comes(action: ApprovalAction) -> None:
    world = settled({**DEAR, "approval_action": action, "approval_timeout_ns": 20 * SECOND_NS})
    for region in ("eu", "us"):
        for machine in world.machines_of(region):
            machine.lag = Lag(5 * SECOND_NS, 50, 5_000)
    world.run_for(2 * SECOND_NS)
    set_healthy(world, "ap", False)
    world.run_for(15 * SECOND_NS)
    assert newest(world) is FailoverState.AWAITING_APPROVAL and not world.active() & {"eu", "us"}
    world.run_for(40 * SECOND_NS)
    if action is ApprovalAction.MOVE:
        assert world.active() == {"eu"}
    else:
        assert newest(world) is FailoverState.AWAITING_APPROVAL and world.counts["approval-needed"] >= 2
        set_healthy(world, "ap", True)
        world.run_for(15 * SECOND_NS)
        assert world.active() == {"ap"}
        assert newest(world) is FailoverState.ABORTED, "nothing was lost, so nobody need lose anything"


@pytest.mark.parametrize("plan", [HookPlan(demote=False, fails=1.0), HookPlan(demote=False, hangs=1.0)])
def test_a_service_that_cannot_be_promoted_is_passed_by(plan: HookPlan) -> None:
    world = settled(hooks=HookPlan(demote=False))
    before = epoch(world)
    world.hooks = plan
    set_healthy(world, "ap", False)
    (eu,) = world.machines_of("eu")
    while not eu.is_touched:
        assert world.time_ns < 60 * SECOND_NS
        world.run_for(MILLISECOND_NS)
    world.hooks = HookPlan(demote=False)
    wait_for(world, "us", 20)
    assert epoch(world) >= before + 2
    group = world.coordinator.group
    assert group is not None
    (passed,) = [c for c in group.explain(world.coordinator.now()).candidates if c.region == "eu"]
    assert passed.rule == "HOLD_DOWN" and "on_promote" in passed.detail

"""Stories of moves in the simulated world: one fault each, at its worst moment, and what users see come of it."""

from __future__ import annotations

import pytest
from primacy_coordinator.core import events
from primacy_coordinator.core.effects import Reply
from primacy_coordinator.core.model import (
    ApprovalAction,
    DampingRecord,
    DrainState,
    Failback,
    FailoverState,
    OverrideKind,
    Policy,
)
from primacy_coordinator.core.views import GroupView, RegionView
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.messages import Lag

from tests.simulation.test_incidents import ALL_JOIN, DEAR, HOUR_NS, THREE, epoch, links, newest, settled, wait_for
from tests.simulation.test_stories import cut
from tests.simulation.world.faults import cut_links, set_healthy, set_probes
from tests.simulation.world.fleet import Fleet
from tests.simulation.world.options import HookPlan, Options
from tests.simulation.world.world import World

PRODUCT = Policy()
AS_SHIPPED = {
    "drift_ppm": PRODUCT.drift_ppm,
    "grace_ns": PRODUCT.grace_ns,
    "stable_for_ns": PRODUCT.stable_for_ns,
    "hold_down_ns": PRODUCT.hold_down_ns,
    "cool_down_ns": PRODUCT.cool_down_ns,
    "flap_half_life_ns": PRODUCT.flap_half_life_ns,
    "flap_limit": PRODUCT.flap_limit,
    "failback_after_ns": PRODUCT.failback_after_ns,
}
NEAR_NS = 50 * MILLISECOND_NS
ELSEWHERE = ("one", "another", "a third group")
"""Groups of the same coordinator that hold every permit of its brake."""


def seen(world: World) -> GroupView:
    assert world.coordinator.group is not None
    return world.coordinator.group.view(world.coordinator.now())


def region(world: World, name: str) -> RegionView:
    (found,) = [view for view in seen(world).regions if view.record.name == name]
    return found


def rules(world: World) -> dict[str, str]:
    """region -> the rule that an explanation names against it."""
    assert world.coordinator.group is not None
    return {c.region: c.rule for c in world.coordinator.group.explain(world.coordinator.now()).candidates}


def reply(world: World, command: object) -> Reply:
    """Of a command that is answered as soon as what it decided is durable."""
    number = world.coordinator.ask(command)
    world.run_for(50 * MILLISECOND_NS)
    return world.coordinator.replies[number]


def refusal(world: World, command: object) -> str:
    """The rule that refuses a command; empty: it is carried out."""
    found = reply(world, command).refusal
    return found.rule if found is not None else ""


def run_until_moving(world: World) -> None:
    end_ns = world.time_ns + 10 * SECOND_NS
    while seen(world).failover is None:
        assert world.time_ns < end_ns, "no move begins"
        world.run_for(MILLISECOND_NS)


def lag_behind(world: World, *regions: str) -> None:
    for name in regions:
        for machine in world.machines_of(name):
            machine.lag = Lag(5 * SECOND_NS, 50, 5_000)
    world.run_for(2 * SECOND_NS)


# ---- flapping


@pytest.mark.parametrize("what", ["service", "probes", "link"])
def test_what_flaps_for_minutes_costs_one_move_and_is_not_gone_back_to(what: str) -> None:
    """With the damping that is shipped, and a failback that would take the better region back."""
    settings = {**AS_SHIPPED, "failback": Failback.AUTO}
    world = World(1, Options(THREE, slow_disk=0.0, settings=settings, priorities={"ap": 120}))
    world.begin()
    world.run_for(15 * SECOND_NS)
    assert world.active() == {"ap"}
    before, without = epoch(world), 0
    for second in range(300):
        works = second % 6 >= 3
        if what == "link":
            world.network.cuts = set() if works else links(world, "ap")
        elif what == "service":
            set_healthy(world, "ap", works)
        else:
            set_probes(world, "ap", works)
        world.run_for(SECOND_NS)
        without += not world.active()
    moves = epoch(world) - before
    # Its service is left at the first fall; a lease outlives a link that breaks for no longer than this.
    assert moves == (0 if what == "link" else 1)
    assert without <= 3
    world.run_for(120 * SECOND_NS)
    assert epoch(world) - before == moves and len(world.active()) == 1 and seen(world).failover is None
    if what != "link":
        assert rules(world)["ap"] == "DAMPED" and world.counts["region-damped"] == 1


# ---- losses


def test_two_regions_are_cut_off_at_once_and_the_third_serves_whatever_its_past() -> None:
    """Most sessions are lost as if by the coordinator's own fault, until the third region says that it is not."""
    long_ns = 300 * SECOND_NS
    settings = {
        "hold_down_ns": long_ns,
        "flap_half_life_ns": long_ns,
        "flap_limit": 1.5,
        "doubt_max_ns": 60 * SECOND_NS,
    }
    world = settled(settings)
    world.coordinator.ask(events.MoveActive(0, "us"))
    wait_for(world, "us", 5)
    set_healthy(world, "us", False)
    wait_for(world, "ap", 10)
    for works in (True, False, True):
        set_healthy(world, "us", works)
        world.run_for(8 * SECOND_NS)
    assert rules(world)["us"] == "HOLD_DOWN" and world.counts["region-damped"] == 1
    cut(world, "ap", peers=True)
    cut(world, "eu", peers=True)
    wait_for(world, "us", 20)
    assert world.counts["self-doubt-began"] == world.counts["self-doubt-ended"] == 1
    last = seen(world).failovers[0]
    assert last.to_region == "us" and "HOLD_DOWN" in last.explanation, "it says what it passed over (I9)"


def test_most_sessions_are_lost_for_longer_than_a_lease_and_nothing_moves() -> None:
    world = settled({"doubt_max_ns": 30 * SECOND_NS}, regions={"ap": 2, "eu": 1, "us": 1})
    before, moves = epoch(world), len(seen(world).failovers)
    cut_links(world, links(world, "ap", "eu"), 12 * SECOND_NS)
    names = set()
    for _ in range(110):
        world.run_for(100 * MILLISECOND_NS)
        doubt = seen(world).self_doubt
        if doubt is not None:
            names.add(doubt.name)
            assert "3 of 4 agents" in doubt.reason
        assert not world.active() & {"eu", "us"}
    assert names == {"SESSIONS_LOST"} and not world.active(), "the lease has run out, and nobody was elected"
    wait_for(world, "ap", 8)
    assert epoch(world) == before and len(seen(world).failovers) == moves, "it got its own epoch back"
    world.run_for(3 * SECOND_NS)
    assert seen(world).self_doubt is None
    assert world.counts["self-doubt-began"] == world.counts["self-doubt-ended"] == 1


def test_the_active_region_dies_in_a_self_doubt_and_is_replaced_as_soon_as_that_ends() -> None:
    world = settled({"doubt_max_ns": 12 * SECOND_NS})
    before = epoch(world)
    cut_links(world, links(world, "ap", "eu"), 300 * SECOND_NS)
    while seen(world).self_doubt is None:
        world.run_for(100 * MILLISECOND_NS)
        assert world.time_ns < 30 * SECOND_NS
    began_ns = world.time_ns
    cut(world, "ap", peers=True)
    while seen(world).self_doubt is not None:
        assert epoch(world) == before and seen(world).failover is None
        world.run_for(100 * MILLISECOND_NS)
    doubted_ns = world.time_ns - began_ns
    # `eu` is lost and reached by `us` all the time: it may be us, for as long as the policy lets us think so.
    assert 0.8 * world.policy.doubt_max_ns < doubted_ns < 1.2 * world.policy.doubt_max_ns + SECOND_NS
    wait_for(world, "us", 4)
    assert epoch(world) == before + 1


# ---- the brake


def test_fifty_blind_groups_wait_for_the_brake_and_one_that_is_really_down_does_not() -> None:
    fleet = Fleet(2, Options(THREE, slow_disk=0.0, groups=50, failovers_max=3, settings=ALL_JOIN))
    fleet.begin()
    fleet.run_for(8 * SECOND_NS)
    assert all(world.active() == {"ap"} for world in fleet.worlds)
    dead, blind = fleet.worlds[0], fleet.worlds[1:]
    for name in ELSEWHERE:
        fleet.brake.ask(name, lambda: None)
    for world in blind:
        set_probes(world, "ap", False)
    set_healthy(dead, "ap", False)
    fleet.run_for(4 * SECOND_NS)
    assert dead.active() == {"eu"} and dead.counts["failover-braked"] == 0
    assert all(world.active() == {"ap"} for world in blind), "who waits goes on as it is"
    assert fleet.brake.waiting == len(blind) and all(world.counts["failover-braked"] == 1 for world in blind)
    for name in ELSEWHERE:
        fleet.brake.give_back(name)
    fleet.run_for(3 * SECOND_NS)
    assert all(world.active() == {"eu"} for world in fleet.worlds)
    assert fleet.most_at_once == 3
    assert fleet.brake.moving == fleet.brake.waiting == 0


def test_the_coordinator_dies_while_fifty_groups_wait_for_the_brake() -> None:
    fleet = Fleet(3, Options(THREE, slow_disk=0.0, groups=50, failovers_max=3, settings=ALL_JOIN))
    fleet.begin()
    fleet.run_for(8 * SECOND_NS)
    for name in ELSEWHERE:
        fleet.brake.ask(name, lambda: None)
    for world in fleet.worlds:
        set_probes(world, "ap", False)
    fleet.run_for(3 * SECOND_NS)
    assert fleet.brake.waiting == 50
    for name in ELSEWHERE:
        fleet.brake.give_back(name)
    fleet.run_for(100 * MILLISECOND_NS)
    moved = [world for world in fleet.worlds if world.active() == {"eu"}]
    assert moved and fleet.brake.waiting and fleet.moving() == 3
    fleet.crash()
    assert fleet.brake.moving == fleet.brake.waiting == 0, "permits die with who holds them"
    fleet.run_for(SECOND_NS)
    fleet.restart()
    fleet.run_for(8 * SECOND_NS)
    assert all(world.active() == {world.known()} == {"eu"} for world in fleet.worlds)
    assert all(world.coordinator.disk.lease.epoch == 2 for world in moved), "who has moved does not move again"
    assert fleet.most_at_once == 3
    assert fleet.brake.moving == fleet.brake.waiting == 0


# ---- a pause


@pytest.mark.parametrize("by_hand", [False, True])
def test_the_active_region_dies_in_a_pause_and_is_replaced_when_that_ends_or_by_hand(by_hand: bool) -> None:
    world = settled()
    before = epoch(world)
    end_ns = world.coordinator.now().wall_ns + 25 * SECOND_NS
    assert not refusal(world, events.PauseElection(0, "maintenance", "ops", end_ns))
    cut(world, "ap", peers=True)
    world.run_for(15 * SECOND_NS)
    assert not world.active() and epoch(world) == before and seen(world).failover is None
    assert world.counts["paused-without-active"] == 1, "somebody must hear of it, once"
    if by_hand:
        assert not refusal(world, events.MoveActive(0, "us"))
        wait_for(world, "us", 2)
        assert [o.record.what for o in seen(world).overrides] == [OverrideKind.PAUSE]
        return
    while world.coordinator.now().wall_ns < end_ns - NEAR_NS:
        assert not world.active()
        world.run_for(10 * MILLISECOND_NS)
    wait_for(world, "eu", 3)
    assert world.counts["override-expired"] == 1 and epoch(world) == before + 1
    assert world.counts["paused-without-active"] == 1


# ---- drains in the middle of moves


def test_the_active_region_is_drained_while_it_is_failed_over_from() -> None:
    world = settled()
    before = epoch(world)
    set_probes(world, "ap", False)
    run_until_moving(world)
    assert not refusal(world, events.DrainRegion(0, "ap", "it fails", "ops"))
    wait_for(world, "eu", 5)
    world.run_for(15 * SECOND_NS)
    assert newest(world) is FailoverState.SUCCEEDED and epoch(world) == before + 1, "one move does for both"
    assert region(world, "ap").drain_state is DrainState.DRAINED
    assert all(dict(row)["ap"] == 0 for _, row in seen(world).weights.read)


def test_the_only_region_that_can_take_over_is_drained_at_any_moment_of_a_switchover() -> None:
    """Either the drain is refused, or the region is left and drained; nothing is half done."""
    met = set()
    for after_ms in range(0, 200, 20):
        world = settled()
        assert not refusal(world, events.CordonRegion(0, "us", "maintenance", "ops"))
        world.coordinator.ask(events.MoveActive(0, ""))
        world.run_for(after_ms * MILLISECOND_NS)
        state = newest(world)
        rule = refusal(world, events.DrainRegion(0, "eu", "maintenance", "ops"))
        world.run_for(20 * SECOND_NS)
        assert world.active() == {world.known()} == ({"eu"} if rule else {"ap"})
        assert region(world, "eu").drain_state is (DrainState.NONE if rule else DrainState.DRAINED)
        ends = {FailoverState.ABORTED} if state is FailoverState.FREEZING else {FailoverState.SUCCEEDED}
        assert seen(world).failover is None and newest(world) in ends
        met.add((state, rule))
    assert met == {
        (FailoverState.FREEZING, ""),
        (FailoverState.RELEASING, ""),
        (FailoverState.OFFERING, "MOVE_IN_PROGRESS"),
        (FailoverState.SUCCEEDED, ""),
    }


def test_a_drain_whose_switchover_cannot_be_made_is_given_up() -> None:
    world = settled(regions={"ap": 2, "eu": 1, "us": 1})
    before = epoch(world)
    # An agent that stands still cannot say that it stopped writes, so the switchover waits for it.
    still = next(life for life in world.lives if life.machine.region == "ap")
    still.paused_until = world.time_ns + 3 * SECOND_NS
    assert not refusal(world, events.DrainRegion(0, "ap", "maintenance", "ops"))
    assert newest(world) is FailoverState.FREEZING
    for name in ("eu", "us"):
        set_healthy(world, name, False)
    world.run_for(20 * SECOND_NS)
    assert newest(world) is FailoverState.ABORTED and world.counts["drain-abandoned"] == 1
    assert region(world, "ap").drain_state is DrainState.NONE and not seen(world).overrides
    assert world.active() == {world.known()} == {"ap"} and epoch(world) == before


def test_a_drain_of_the_active_region_without_anywhere_to_go_changes_nothing() -> None:
    world = settled()
    for name in ("eu", "us"):
        assert not refusal(world, events.CordonRegion(0, name, "maintenance", "ops"))
    assert refusal(world, events.DrainRegion(0, "ap", "maintenance", "ops")) == "NO_TARGET"
    world.run_for(10 * SECOND_NS)
    assert region(world, "ap").drain_state is DrainState.NONE and world.active() == {"ap"}
    assert not refusal(world, events.DrainRegion(0, "ap", "maintenance", "ops", override_rules=("NO_TARGET",)))
    world.run_for(15 * SECOND_NS)
    assert world.counts["drained-while-active"] == 1 and region(world, "ap").drain_state is DrainState.DRAINED
    assert world.active() == {world.known()} == {"ap"}, "insisted on: its reads go, authority stays"


# ---- approval


def test_nobody_approves_and_the_group_waits_for_as_long_as_it_takes() -> None:
    world = settled({**DEAR, "approval_timeout_ns": 10 * SECOND_NS})
    lag_behind(world, "eu", "us")
    before, moves = epoch(world), len(seen(world).failovers)
    cut(world, "ap", peers=True)
    world.run_for(70 * SECOND_NS)
    assert not world.active() and epoch(world) == before
    assert newest(world) is FailoverState.AWAITING_APPROVAL and len(seen(world).failovers) == moves + 1
    assert 5 <= world.counts["approval-needed"] <= 8, "it calls once in every timeout"
    world.network.cuts.clear()
    wait_for(world, "ap", 10)
    world.run_for(2 * SECOND_NS)
    assert epoch(world) == before and newest(world) is FailoverState.ABORTED


@pytest.mark.parametrize("how", ["policy", "operator", "caught up"])
def test_a_dear_failover_goes_on_by_policy_by_an_operator_or_when_nothing_is_lost_any_more(how: str) -> None:
    action = ApprovalAction.MOVE if how == "policy" else ApprovalAction.WAIT
    world = settled({**DEAR, "approval_action": action, "approval_timeout_ns": 20 * SECOND_NS})
    lag_behind(world, "eu", "us")
    before = epoch(world)
    cut(world, "ap", peers=True)
    run_until_moving(world)
    began_ns = world.time_ns
    asked = seen(world).failovers[0]
    assert asked.state is FailoverState.AWAITING_APPROVAL and asked.price is not None
    assert asked.price.age_ns == 5 * SECOND_NS
    world.run_for(8 * SECOND_NS)
    assert not world.active() and epoch(world) == before
    if how == "operator":
        assert not refusal(world, events.ApproveFailover(0, asked.id, "ops"))
        wait_for(world, "eu", 2)
    elif how == "caught up":
        for name in ("eu", "us"):
            world.machines_of(name)[0].lag = Lag(0, 0, 0)
        wait_for(world, "eu", 3)
    else:
        wait_for(world, "eu", 20)
        assert world.time_ns - began_ns > 0.8 * 20 * SECOND_NS
    world.run_for(SECOND_NS)
    ended = seen(world).failovers[0]
    assert ended.id == asked.id and ended.state is FailoverState.SUCCEEDED and epoch(world) == before + 1
    assert ended.approved_by.split(",")[0] == {"policy": "the policy", "operator": "ops", "caught up": ""}[how]


# ---- hooks


@pytest.mark.parametrize("plan", [HookPlan(demote=False, fails=1.0), HookPlan(demote=False, hangs=1.0)])
def test_while_no_service_can_be_promoted_every_region_is_tried_and_none_is_stuck_with(plan: HookPlan) -> None:
    world = settled({"hold_down_ns": 60 * SECOND_NS}, hooks=HookPlan(demote=False))
    before = epoch(world)
    world.hooks = plan
    set_healthy(world, "ap", False)
    world.run_for(40 * SECOND_NS)
    assert not world.active()
    assert 2 <= epoch(world) - before <= 40, "it goes on, and does not spin through epochs"
    (move,) = [f for f in seen(world).failovers if f.from_region == "ap"]
    assert {run.agent for run in move.hooks} >= {"eu/a1", "us/a1"}
    assert not [run for run in move.hooks if run.outcome == "succeeded"]
    assert rules(world)["eu"] == rules(world)["us"] == "HOLD_DOWN"
    last = epoch(world)
    world.hooks = plan.mended()
    world.run_for(20 * SECOND_NS)
    assert len(world.active()) == 1 and world.active() == {world.known()} and epoch(world) > last
    assert newest(world) is FailoverState.SUCCEEDED


# ---- clocks


@pytest.mark.parametrize("step_ns", [HOUR_NS, -HOUR_NS])
def test_a_step_of_the_wall_clock_changes_no_remaining_time_and_a_restart_after_it_neither(step_ns: int) -> None:
    world = settled({"hold_down_ns": 60 * SECOND_NS})
    set_healthy(world, "ap", False)
    wait_for(world, "eu", 10)
    set_healthy(world, "ap", True)
    end_ns = world.coordinator.now().wall_ns + 60 * SECOND_NS
    assert not refusal(world, events.CordonRegion(0, "us", "maintenance", "ops", end_ns))

    def ends_ns() -> tuple[int, int]:
        """When the cordon and the hold-down end, by the one clock that never steps."""
        now = world.coordinator.now()
        (cordon,) = [o for o in seen(world).overrides if o.record.what is OverrideKind.CORDON]
        past = world.coordinator.disk.records["damping", "ap"]
        assert isinstance(past, DampingRecord)
        return now.mono_ns + cordon.remaining_ns, now.mono_ns + past.hold_until_wall_ns - now.wall_ns

    before = ends_ns()
    world.coordinator.watch.ends.clock_stepped(True)
    world.coordinator.clock.wall_ns += step_ns
    world.run_for(3 * SECOND_NS)
    stepped = ends_ns()
    world.coordinator.crash()
    world.run_for(SECOND_NS)
    world.coordinator.start()
    world.run_for(8 * SECOND_NS)
    for after in (stepped, ends_ns()):
        assert all(abs(x - y) < NEAR_NS for x, y in zip(before, after, strict=True))
    assert rules(world) == {"ap": "HOLD_DOWN", "us": "CORDONED", "eu": "ACTIVE"}
    assert world.counts["clock-stepped"] == 1
    left_ns = max(before) - world.coordinator.now().mono_ns
    world.run_for(int(left_ns * 1.2) + 2 * SECOND_NS)
    assert rules(world) == {"ap": "", "us": "", "eu": "ACTIVE"} and world.counts["override-expired"] == 1

"""Stories in the simulated world: one fault each, and what must come of it."""

from __future__ import annotations

from primacy_coordinator.core import events
from primacy_coordinator.core.model import RegionStatus, margin_up
from primacy_wire.instant import SECOND_NS

from tests.simulation.world.coordinator import NAME
from tests.simulation.world.options import Options
from tests.simulation.world.world import World

THREE = {"ap": 1, "eu": 1, "us": 1}


def settled(regions: dict[str, int] | None = None) -> World:
    world = World(1, Options(regions or THREE, slow_disk=0.0))
    world.begin()
    world.run_for(10 * SECOND_NS)
    assert world.active() == {world.known()} == {"ap"}
    return world


def cut(world: World, region: str, peers: bool = False) -> None:
    for machine in world.machines_of(region):
        world.network.cuts |= {(machine.key, NAME), (NAME, machine.key)}
        if peers:
            world.network.cuts |= {(machine.key, other.key) for other in world.machines if other.region != region}
            world.network.cuts |= {(other.key, machine.key) for other in world.machines if other.region != region}


def status(world: World, region: str) -> RegionStatus:
    assert world.coordinator.group is not None
    view = world.coordinator.group.region_view(world.coordinator.now(), region)
    assert view is not None
    return view.verdict.status


def test_a_silent_region_is_replaced_only_after_its_lease_has_lapsed() -> None:
    world = settled()
    cut(world, "ap", peers=True)
    dark_ns = world.time_ns
    while world.known() != "eu":
        assert world.time_ns < dark_ns + 20 * SECOND_NS
        world.run_for(SECOND_NS // 10)
        # `World` itself looks after every step whether two are active.
    lease_ns = margin_up(world.policy.lease_ttl_ns, world.policy.drift_ppm)
    assert world.time_ns - dark_ns <= 1.2 * (lease_ns + world.policy.grace_ns) + SECOND_NS
    world.network.cuts.clear()
    world.run_for(20 * SECOND_NS)
    assert world.active() == {"eu"}
    assert status(world, "ap") is RegionStatus.HEALTHY


def test_only_the_coordinator_link_of_the_active_region_is_cut_while_its_peers_see_it() -> None:
    world = settled()
    cut(world, "ap")
    world.run_for(15 * SECOND_NS)
    assert status(world, "ap") is RegionStatus.SUSPECT, "a broken link alone is not a down region"
    assert world.active() == {world.known()} == {"eu"}


def test_a_dead_service_moves_the_lease_without_waiting_for_it_to_run_out() -> None:
    world = settled()
    for machine in world.machines_of("ap"):
        machine.healthy = False
    world.run_for(int(2.5 * SECOND_NS))
    assert world.active() == {world.known()} == {"eu"}


def test_a_restart_of_the_coordinator_moves_nothing() -> None:
    world = settled()
    epoch = world.coordinator.disk.lease.epoch
    for _ in range(3):
        world.coordinator.crash()
        world.run_for(SECOND_NS)
        world.coordinator.start()
        world.run_for(12 * SECOND_NS)
        assert world.active() == {world.known()} == {"ap"}
    assert world.coordinator.disk.lease.epoch == epoch


def test_a_coordinator_and_the_active_region_die_together() -> None:
    world = settled()
    cut(world, "ap", peers=True)
    world.coordinator.crash()
    world.run_for(2 * SECOND_NS)
    world.coordinator.start()
    world.run_for(20 * SECOND_NS)
    assert world.active() == {world.known()} == {"eu"}


def test_restarting_every_agent_of_the_active_region_at_once_moves_nothing() -> None:
    world = settled({"ap": 2, "eu": 1})
    epoch = world.coordinator.disk.lease.epoch
    for life in [life for life in world.lives if life.machine.region == "ap"]:
        world.kill(life)
        world.boot(life.machine)
    world.run_for(12 * SECOND_NS)
    assert world.active() == {world.known()} == {"ap"}
    assert world.coordinator.disk.lease.epoch == epoch


def test_an_agent_frozen_beyond_the_ttl_wakes_up_knowing_that_it_is_not_active() -> None:
    world = settled()
    (life,) = [life for life in world.lives if life.machine.region == "ap"]
    life.paused_until = world.time_ns + 12 * SECOND_NS
    world.run_for(12 * SECOND_NS)
    assert not life.holder.active(life.now()).active, "the first ask after waking comes before any message"
    world.run_for(10 * SECOND_NS)
    assert len(world.active()) == 1


def test_a_planned_switchover_takes_a_few_round_trips() -> None:
    world = settled()
    world.coordinator.ask(events.MoveActive(0, "us"))
    world.run_for(SECOND_NS)
    assert world.active() == {world.known()} == {"us"}


def test_a_lost_store_stands_still_until_the_operator_recovers_it() -> None:
    world = settled()
    epoch = world.coordinator.disk.lease.epoch
    world.coordinator.crash()
    world.coordinator.disk = type(world.coordinator.disk)("another-store")
    world.coordinator.start()
    world.run_for(120 * SECOND_NS)
    assert not world.active(), "nothing is granted on the word of an empty store"
    world.coordinator.ask(events.Recover(0, confirm=True, owner="ops"))
    world.run_for(15 * SECOND_NS)
    assert len(world.active()) == 1
    assert world.coordinator.disk.lease.epoch > epoch

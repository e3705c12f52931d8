"""What is learned of a region that falls silent, and what of it is held against whom."""

from __future__ import annotations

from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Lag

from tests.simulation.test_incidents import DEAR, epoch, links, settled, wait_for
from tests.simulation.test_stories import cut
from tests.simulation.world.faults import cut_links


def test_of_two_candidates_the_one_with_all_the_data_takes_over_from_a_region_that_fell_silent() -> None:
    world = settled()
    for name, age_ns in (("ap", 0), ("eu", 5 * SECOND_NS), ("us", 0)):
        world.machines_of(name)[0].lag = Lag(age_ns, 0, 0)
    world.run_for(2 * SECOND_NS)
    assert world.coordinator.group is not None
    foretold = world.coordinator.group.explain(world.coordinator.now(), "ap").winner
    assert foretold == "us"
    cut(world, "ap", peers=True)
    wait_for(world, foretold, 15)


def test_nobody_approves_what_another_region_could_take_over_without_a_loss() -> None:
    world = settled(DEAR)
    for name, age_ns in (("ap", 0), ("eu", 5 * SECOND_NS), ("us", 0)):
        world.machines_of(name)[0].lag = Lag(age_ns, 0, 0)
    world.run_for(2 * SECOND_NS)
    cut(world, "ap", peers=True)
    wait_for(world, "us", 15)


def test_one_loss_is_doubted_once() -> None:
    world = settled({"doubt_max_ns": 60 * SECOND_NS})
    cut(world, "ap", peers=True)
    cut(world, "eu", peers=True)
    wait_for(world, "us", 20)
    assert world.counts["self-doubt-began"] == world.counts["self-doubt-ended"] == 1


def test_the_holder_has_its_grace_when_half_of_the_lost_are_back() -> None:
    world = settled({"doubt_max_ns": 30 * SECOND_NS})
    before = epoch(world)
    cut_links(world, links(world, "ap", "eu"), 12 * SECOND_NS)
    world.run_for(20 * SECOND_NS)
    assert epoch(world) == before and world.active() == {"ap"}


def test_a_region_that_falls_silent_is_not_said_to_be_heard() -> None:
    world = settled()
    cut(world, "ap", peers=True)
    world.run_for(20 * SECOND_NS)
    assert world.counts["recovery-step"] == 0

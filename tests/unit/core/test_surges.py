"""A surge: what OPTIMAL makes of demand that rises in a moment, and of regions that get more than they can serve."""

from __future__ import annotations

from dataclasses import replace

import pytest
from primacy_coordinator.core.model import RegionStatus, RoutingStrategy
from primacy_coordinator.core.routing import Matrix, WeightsInput
from primacy_coordinator.core.shaping import relieves
from primacy_coordinator.core.steady import LEAP_WEIGHT, STEP, begun, follow_rate, weight_of
from primacy_wire.instant import SECOND_NS

from tests.unit.core.test_optimal import RTTS, abc, changed
from tests.unit.core.test_optimal_loop import World


def test_a_rate_that_leaps_is_followed_at_once_and_one_that_falls_is_not() -> None:
    old = begun(1000.0)
    assert follow_rate(old, 3000.0, SECOND_NS, 0.0).followed == pytest.approx(1000 + LEAP_WEIGHT * 2000)
    assert follow_rate(old, 1290.0, SECOND_NS, 0.0).mean == pytest.approx(1000 + weight_of(SECOND_NS) * 290)
    assert follow_rate(old, 0.0, SECOND_NS, 0.0).mean == pytest.approx(1000 * (1 - weight_of(SECOND_NS)))


def test_what_chance_does_to_a_few_requests_is_no_leap_nor_what_is_little_beside_the_others() -> None:
    """Of 4 a second 12 in a second are nothing rare; counted over a minute, they are."""
    few = begun(4.0)
    assert follow_rate(few, 11.0, SECOND_NS, 0.0).mean < 4 + 7 * LEAP_WEIGHT / 2
    assert follow_rate(few, 11.0, 60 * SECOND_NS, 0.0).mean > 4 + 7 * LEAP_WEIGHT * 0.99
    assert follow_rate(begun(100.0), 300.0, SECOND_NS, 1000.0).mean == pytest.approx(100 + weight_of(SECOND_NS) * 200)
    assert follow_rate(begun(1000.0), 5000.0, 0, 0.0).followed == pytest.approx(1000 + LEAP_WEIGHT * 4000), "no time"


def test_a_smaller_step_follows_sooner() -> None:
    old = begun(1000.0)
    assert follow_rate(old, 1250.0, SECOND_NS, 0.0, STEP).followed == 1000
    assert follow_rate(old, 1250.0, SECOND_NS, 0.0, 0.05).followed == pytest.approx(1000 + weight_of(SECOND_NS) * 250)


def rows(**reads: dict[str, float]) -> Matrix:
    return tuple((client, tuple((name, reads[client].get(name, 0.0)) for name in "abc")) for client in sorted(reads))


HOME = rows(a={"a": 1.0}, b={"b": 1.0}, c={"c": 1.0})
SPILLED = rows(a={"a": 0.5, "b": 0.5}, b={"b": 1.0}, c={"c": 1.0})


def given(*values: tuple[float, float]) -> WeightsInput:
    return WeightsInput(RoutingStrategy.OPTIMAL, abc(*values), "a", (), RTTS, 0.5, 1.4)


def test_only_what_takes_reads_off_a_region_that_is_over_its_capacity_relieves() -> None:
    over = given((100, 120), (100, 10), (100, 10))
    assert relieves(over, HOME, SPILLED)
    assert not relieves(over, SPILLED, HOME), "nobody is over it now"
    assert not relieves(over, HOME, HOME)
    assert not relieves(given((100, 99), (100, 10), (100, 10)), HOME, SPILLED)
    assert not relieves(given((0, 120), (100, 10), (100, 10)), HOME, SPILLED), "nobody knows what it can serve"
    assert not relieves(given((100, -1), (100, -1), (100, -1)), HOME, SPILLED), "nor what is asked"
    half = replace(over, regions=changed(abc((100, 60), (100, 10), (100, 10)), "a", healthy_share=0.5))
    assert not relieves(half, HOME, SPILLED)
    degraded = replace(half, regions=changed(half.regions, "a", status=RegionStatus.DEGRADED))
    assert relieves(degraded, HOME, SPILLED), "half of its instances can serve 50"


@pytest.mark.parametrize("routed", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_a_surge_is_off_its_region_before_the_slew_would_let_it(seed: int, routed: bool) -> None:
    """Two seconds are the lag of the world; half of the reads would take another five by the slew of a tenth."""
    world = World({"ap": 60.0, "eu": 60.0, "us": 10.0}, noise=0.05, routed=routed, seed=seed)
    world.run(30)
    world.overload_s = world.changes = 0
    world.demand["eu"] = 170.0
    world.run(60)
    assert world.overload_s <= 6
    assert world.row("eu")["eu"] < 0.6
    assert world.changes <= 8, "and there it stays"


@pytest.mark.parametrize("seed", range(3))
def test_where_little_room_is_left_demand_is_followed_more_closely(seed: int) -> None:
    """All are planned to be nine tenths full: what is a tenth more than is known of would fill a region to the brim."""
    world = World({"ap": 180.0, "eu": 90.0, "us": 90.0}, noise=0.02, routed=True, seed=seed)
    world.run(40)
    world.demand |= {"eu": 105.0, "ap": 165.0}
    world.run(30)
    assert world.loads["eu"] == pytest.approx(90, abs=4)
    world.overload_s = 0
    world.run(60)
    assert world.overload_s == 0

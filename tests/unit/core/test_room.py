"""Where reads may go that agents move by themselves: by the room that is left. [I6]"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from primacy_agent.core.shunning import shifted
from primacy_coordinator.core import events
from primacy_coordinator.core.model import RegionStatus, RoutingStrategy
from primacy_coordinator.core.room import room_of
from primacy_coordinator.core.routing import WeightsInput, usable_of, weigh
from primacy_wire.messages import Load, ServiceHealth, ServiceState, WeightsUpdate

from tests.unit.core.lab import DOWN, Lab
from tests.unit.core.test_optimal import RTTS, abc
from tests.unit.core.test_optimal_loop import POLICY, World
from tests.unit.core.test_routing import INPUTS


def asked(*sizes: tuple[float, float], **values: object) -> WeightsInput:
    plain = WeightsInput(RoutingStrategy.OPTIMAL, abc(*sizes), "a", (), RTTS, 0.5, 1.4)
    return replace(plain, **values)  # type: ignore[arg-type]


def room(given_: WeightsInput) -> dict[str, float]:
    return dict(room_of(given_, weigh(given_).read))


def test_room_is_capacity_less_what_is_sent_there() -> None:
    assert room(asked((100, 40), (100, 70), (200, 90))) == {"a": 0.3, "b": 0.15, "c": 0.55}


def test_health_slow_start_and_drains_count() -> None:
    given_ = asked((100, 10), (100, 10), (100, 10))
    a, b, c = given_.regions
    half = replace(a, status=RegionStatus.DEGRADED, healthy_share=0.3), replace(b, ramp=0.3), replace(c, drain=0.5)
    at_home = tuple((name, ((name, 1.0),)) for name in "abc")
    assert room_of(replace(given_, regions=half), at_home) == (("a", 0.5), ("b", 0.5))
    dead = replace(given_, regions=(replace(a, status=RegionStatus.DOWN), b, c))
    assert "a" not in room(dead)


def test_where_there_is_no_room_it_is_by_capacity() -> None:
    assert room(asked((100, 200), (300, 400), (100, 200))) == {"a": 0.2, "b": 0.6, "c": 0.2}


def test_nothing_is_said_where_capacity_is_not_known_or_does_not_count() -> None:
    assert room(asked((0, 40), (0, 70), (0, 90))) == {}
    assert room(asked((100, 40), (100, 70), (100, 90), strategy=RoutingStrategy.GEOGRAPHIC)) == {}


@given(INPUTS)
def test_room_is_shares_of_regions_that_may_get_reads(given_: WeightsInput) -> None:
    given_ = replace(given_, strategy=RoutingStrategy.OPTIMAL)
    found = room(given_)
    assert not found or sum(found.values()) == pytest.approx(1, abs=0.01)
    assert found.keys() <= {region.name for region in usable_of(given_)}
    assert all(0 <= part <= 1 for part in found.values())


def test_what_all_agents_move_of_a_dead_region_drowns_nobody() -> None:
    """Each by itself, from what it was told last."""
    sizes = {"a": (100, 70), "b": (120, 80), "c": (300, 90)}
    given_ = asked(*sizes.values())
    told = room_of(given_, weigh(given_).read)
    got = dict.fromkeys(sizes, 0.0)
    for client, row in weigh(given_).read:
        for name, share in shifted(row, {"b"}, ("a", "c"), (), 1.0, told).row:
            got[name] += share * sizes[client][1]
    assert got["b"] == 0 and all(got[name] <= capacity for name, (capacity, _) in sizes.items())


def test_agents_hear_of_the_room_and_of_another_one_but_not_of_each_figure() -> None:
    world = World({"ap": 60.0, "eu": 60.0, "us": 10.0}, noise=0.05)
    world.run(30)

    def told() -> WeightsUpdate:
        update = world.lab.of("us")[0].weights
        assert update is not None
        return update

    first = told()
    assert dict(first.room) == pytest.approx({"ap": 0.52, "eu": 0.15, "us": 0.33}, abs=0.05)
    world.run(60)
    assert told().version - first.version <= 2, "while demand wanders nothing is told"
    world.demand["us"] = 75.0
    world.run(30)
    later = told()
    assert later.read == first.read and dict(later.room)["us"] < 0.2
    lab = world.lab
    lab.ask(events.PinWeights(lab.request(), "us", (("us", 0.5), ("eu", 0.5)), "a test", "ops"))
    lab.run(1)
    assert told().room == (), "an operator said where they go"
    other = lab.of("eu")[0].weights
    assert other is not None and other.room, "of the others' reads nobody did"


def test_a_region_that_lost_an_agent_has_what_the_others_can_serve() -> None:
    """Its instances are gone once: neither is its capacity left out and then scaled by its health as well."""
    lab = Lab({"ap": 1, "eu": 2, "us": 1}, POLICY)
    lab.run(1)
    for region in ("ap", "eu", "us"):
        for node in lab.of(region):
            node.load = Load(request_rate=90.0 if region == "eu" else 20.0, capacity=300.0)
    lab.run(10)
    alive, dead = lab.of("eu")
    dead.health = DOWN
    alive.load = Load(request_rate=180.0, capacity=300.0)
    lab.run(20)
    assert lab.group is not None
    row = dict(dict(lab.group.weights_view().read)["eu"])
    assert row["eu"] == 1, "180 requests fit into four fifths of 300"
    alive.health = ServiceHealth(ServiceState.UP, 1, 2)
    lab.run(20)
    row = dict(dict(lab.group.weights_view().read)["eu"])
    assert row["eu"] < 1

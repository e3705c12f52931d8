"""OPTIMAL in a closed loop: what regions serve follows from the weights, and the weights from what regions serve."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from primacy_coordinator.core import events
from primacy_coordinator.core.model import Policy, RegionSettings, RoutingStrategy
from primacy_coordinator.core.planning import FILL
from primacy_coordinator.core.routing import Matrix
from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Load, RouteCount

from tests.unit.core.lab import DOWN, UP, Lab

PLACES = {"ap": (19.1, 72.9), "eu": (53.3, -6.3), "us": (38.9, -77.4)}
CAPACITY = {"ap": 200.0, "eu": 100.0, "us": 100.0}
POLICY = Policy(
    lease_ttl_ns=5 * SECOND_NS,
    grace_ns=SECOND_NS,
    first_wait_ns=SECOND_NS,
    stable_for_ns=3 * SECOND_NS,
    read_strategy=RoutingStrategy.OPTIMAL,
    slow_start_ns=10 * SECOND_NS,
    drain_time_ns=4 * SECOND_NS,
)


@dataclass
class World:
    """A lab whose regions serve what clients are sent there, as it was `lag` seconds ago."""

    demand: dict[str, float]
    noise: float = 0.0
    lag: int = 2
    routed: bool = False
    """Agents route, and count by client region; else nobody counts, and regions say what they serve."""
    seed: int = 1
    policy: Policy = POLICY
    capacity: dict[str, float] = field(default_factory=lambda: dict(CAPACITY))
    changes: int = 0
    overload_s: int = 0
    """Seconds in which some region was over its capacity."""

    def __post_init__(self) -> None:
        self.draw = Random(self.seed)
        self.lab = Lab(dict.fromkeys(PLACES, 1), self.policy)
        self.lab.run(1)
        for name, (latitude, longitude) in PLACES.items():
            settings = RegionSettings(latitude, longitude, capacity=self.capacity.get(name))
            paths = ("location", "capacity") if name in self.capacity else ("location",)
            self.lab.ask(events.UpdateRegion(self.lab.request(), name, settings, paths))
        self.rows: deque[Matrix] = deque(maxlen=self.lag + 1)
        self.counts = dict.fromkeys(PLACES, 0)
        self.loads: dict[str, float] = {}

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            before = self.read()
            self.rows.append(before)
            now = {name: rate * self.draw.uniform(1 - self.noise, 1 + self.noise) for name, rate in self.demand.items()}
            sent = {client: dict(row) for client, row in self.rows[0]}
            self.loads = {to: sum(now[client] * sent[client][to] for client in sent) for to in PLACES}
            self.overload_s += any(load > self.capacity.get(name, 1e9) for name, load in self.loads.items())
            for name in PLACES:
                (node,) = self.lab.of(name)
                self.counts[name] += round(now[name])
                node.load = Load(request_rate=self.loads[name] if node.health is UP else -1.0)
                if self.routed:
                    count = RouteCount(name, name, 1, int(RoutingStrategy.OPTIMAL), "ok", self.counts[name])
                    node.routed = (count,)
            self.lab.run(1)
            self.changes += self.read() != before

    def read(self) -> Matrix:
        assert self.lab.group is not None
        return self.lab.group.weights_view().read

    def row(self, client: str) -> dict[str, float]:
        return dict(dict(self.read())[client])


@pytest.mark.parametrize("routed", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_demand_that_wanders_changes_nothing(seed: int, routed: bool) -> None:
    """Noise of a tenth around a demand that spills, with signals that are late."""
    world = World({"ap": 60.0, "eu": 130.0, "us": 10.0}, noise=0.1, routed=routed, seed=seed)
    world.run(40)
    spilled = world.row("eu")
    assert spilled["us"] > 0.2 and spilled["ap"] == 0
    world.changes = world.overload_s = 0
    world.run(300)
    assert world.changes <= 3, "at most one step, which takes up to three seconds"
    assert world.overload_s == 0
    assert world.row("eu")["us"] == pytest.approx(1 - FILL * 100 / 130, abs=0.13)


@pytest.mark.parametrize("routed", [True, False])
def test_a_surge_spills_in_seconds_and_comes_home_when_it_is_over(routed: bool) -> None:
    world = World({"ap": 60.0, "eu": 60.0, "us": 10.0}, noise=0.05, routed=routed)
    world.run(30)
    assert world.row("eu")["eu"] == 1
    world.overload_s = world.changes = 0
    world.demand["eu"] = 130.0
    world.run(15)
    spilled = world.row("eu")["us"]
    # Two of the seconds are the lag of the world itself, before anything can be seen.
    assert 0.25 < spilled < 0.55 and world.overload_s <= 10
    assert world.changes <= 12
    world.run(60)
    assert world.changes <= 14, "and there it stays"
    world.demand["eu"] = 60.0
    world.run(60)
    assert world.row("eu")["eu"] == 1


@pytest.mark.parametrize("routed", [True, False])
def test_reads_of_a_region_that_dies_spread_over_all_with_room_and_return_in_steps(routed: bool) -> None:
    """[I8] us has room for 50 more: the rest of what eu leaves goes on to ap, and none of them is overfull."""
    world = World({"ap": 50.0, "eu": 75.0, "us": 30.0}, noise=0.05, routed=routed)
    world.run(30)
    (node,) = world.lab.of("eu")
    node.health = DOWN
    world.run(3)
    row = world.row("eu")
    assert row["eu"] == 0 and row["us"] > 0.5 and row["ap"] > 0.1
    world.run(3)
    world.overload_s = world.changes = 0
    world.run(30)
    assert world.overload_s == 0 and world.changes <= 6
    node.health = UP
    seen = []
    for _ in range(40):
        world.run(1)
        seen.append(world.row("eu")["eu"])
    assert seen[-1] == 1 and world.overload_s == 0
    assert len([share for share in seen if 0 < share < 1]) >= 5, "it grows"
    assert world.row("us")["us"] == world.row("ap")["ap"] == 1


def test_a_drain_fades_out_in_steps_also_where_the_region_has_room_for_much_more() -> None:
    world = World({"ap": 10.0, "eu": 10.0, "us": 10.0}, capacity=dict.fromkeys(PLACES, 1000.0))
    world.run(20)
    reply = world.lab.ask(events.DrainRegion(world.lab.request(), "us", "maintenance", "ops"))
    assert reply.refusal is None
    seen = [world.row("us")["us"]]
    for _ in range(8):
        world.run(1)
        seen.append(world.row("us")["us"])
    assert seen == sorted(seen, reverse=True) and seen[-1] == 0
    assert len({share for share in seen if 0 < share < 1}) >= 3


def test_overload_is_told_once_and_shared_alike() -> None:
    world = World({"ap": 100.0, "eu": 60.0, "us": 60.0}, routed=True)
    world.run(30)
    assert "overload-on" not in world.lab.kinds()
    world.demand = {"ap": 200.0, "eu": 250.0, "us": 150.0}
    world.run(60)
    # 600 requests for 400 places: everybody is at one and a half, as near as the steps of the demand tell.
    assert {name: world.loads[name] / CAPACITY[name] for name in PLACES} == pytest.approx(
        dict.fromkeys(PLACES, 1.5), rel=0.15
    )
    assert world.lab.kinds().count("overload-on") == 1
    world.demand = {"ap": 100.0, "eu": 60.0, "us": 60.0}
    world.run(60)
    assert world.lab.kinds().count("overload-off") == 1


def test_without_capacities_reads_go_to_the_nearest_and_stay_there() -> None:
    world = World({"ap": 60.0, "eu": 500.0, "us": 10.0}, noise=0.2, capacity={})
    world.run(20)
    world.changes = 0
    world.run(60)
    assert world.changes == 0
    assert [world.row(name)[name] for name in PLACES] == [1, 1, 1]


def test_the_policy_says_where_clients_are() -> None:
    policy = replace(POLICY, client_traffic=(("eu", 1.0),))
    world = World({"ap": 70.0, "eu": 70.0, "us": 60.0}, policy=policy)
    world.run(30)
    # All 200 requests are taken to be eu's: 80 stay, 80 go to us, 40 go far.
    assert world.row("eu") == pytest.approx({"ap": 0.2, "eu": 0.4, "us": 0.4}, abs=0.03)


def test_what_is_not_news_is_computed_and_told_once() -> None:
    world = World({"ap": 60.0, "eu": 60.0, "us": 10.0}, noise=0.1, routed=True)
    world.run(30)
    state = world.lab.group._state  # type: ignore[union-attr]
    version, wanted = state.weights.version, state.weights.wanted
    world.run(20)
    assert state.weights.version == version and state.weights.wanted is wanted

"""Every share is a sum of causes, and each has a name that the contract knows. [I9]"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_coordinator.core.causes import CAUSES, explain
from primacy_coordinator.core.model import RegionStatus, RoutingStrategy
from primacy_coordinator.core.routing import Matrix, WeightsInput, weigh
from primacy_wire.instant import MILLISECOND_NS
from primacy_wire.messages import Load

from tests.unit.core.test_routing import INPUTS, region, three

PARTS = st.floats(0, 1) | st.just(1.0)


def causes_of(given_: WeightsInput, client: str, to: str, in_force: Matrix | None = None) -> dict[str, float]:
    read = weigh(given_).read if in_force is None else in_force
    return dict(dict(dict(explain(given_, read))[client])[to])


def plain(strategy: RoutingStrategy, *regions: object, **values: object) -> WeightsInput:
    given_ = WeightsInput(strategy, regions, "us-east", (), (), 0.0)  # type: ignore[arg-type]
    return replace(given_, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("strategy", RoutingStrategy)
@given(
    INPUTS, st.lists(st.tuples(PARTS, PARTS), min_size=6, max_size=6), st.sampled_from(["", "a", "b"]), st.booleans()
)
def test_causes_add_up_to_the_share(
    strategy: RoutingStrategy, given_: WeightsInput, factors: list[tuple[float, float]], pinned: str, moving: bool
) -> None:
    regions = tuple(
        replace(r, drain=drain, ramp=ramp) for r, (drain, ramp) in zip(given_.regions, factors, strict=False)
    )
    pins = ((pinned, (("a", 0.5), ("b", 0.5))),) if pinned else ()
    found = replace(given_, strategy=strategy, regions=regions, pins=pins)
    wanted = weigh(found).read
    read = tuple((client, wanted[0][1]) for client, _ in wanted) if moving else wanted
    causes = {(client, name): parts for client, row in explain(found, read) for name, parts in row}
    for client, row in read:
        for name, share in row:
            parts = causes[client, name]
            assert abs(sum(part for _, part in parts) - share) < 1e-9
            order = [CAUSES.index(cause) for cause, _ in parts]
            assert order == sorted(set(order)), "each once, in the order in which they count"
            assert ("slew" not in dict(parts)) or moving


def test_the_contract_lists_exactly_the_causes_that_there_are() -> None:
    proto = (Path(__file__).parents[3] / "proto" / "primacy" / "v1" / "routing.proto").read_text()
    comment = re.search(r"message Cause \{(.*?)string name = 1;", proto, re.DOTALL)
    assert comment is not None and tuple(re.findall(r"`(\w+)`", comment[1])) == CAUSES


def test_every_cause_has_its_name() -> None:
    given_ = plain(
        RoutingStrategy.ROUND_ROBIN,
        region("ap-south", RegionStatus.DEGRADED, healthy_share=0.25),
        region("eu-west", ramp=0.5),
        region("us-east", drain=0.5),
        region("us-west", RegionStatus.DOWN),
    )
    assert list(causes_of(given_, "eu-west", "ap-south")) == ["policy", "status", "health", "slow_start", "drain"]
    assert list(causes_of(given_, "eu-west", "us-west")) == ["policy", "status"]
    pinned = replace(given_, pins=(("eu-west", (("us-east", 1.0),)),))
    assert list(causes_of(pinned, "eu-west", "us-east"))[-1] == "pin"
    panic = replace(given_, panic_threshold=0.9)
    assert causes_of(panic, "eu-west", "ap-south")["panic"] > 0
    held = tuple((name, tuple((to, 0.25) for to, _ in row)) for name, row in weigh(given_).read)
    assert causes_of(given_, "eu-west", "us-west", held)["slew"] == 0.25


def test_health_takes_by_errors_and_the_policy_gives_by_weights() -> None:
    failing = plain(RoutingStrategy.HEALTH, region("ap-south", load=Load(error_rate=0.5)), region("us-east"))
    assert causes_of(failing, "us-east", "ap-south") == pytest.approx({"policy": 0.5, "health": -0.167})
    weighted = plain(RoutingStrategy.WEIGHTED, region("ap-south", weight=3.0), region("us-east"))
    assert causes_of(weighted, "us-east", "ap-south") == {"policy": 0.75}
    active = plain(RoutingStrategy.ACTIVE_ONLY, region("ap-south"), region("us-east"))
    assert causes_of(active, "ap-south", "us-east") == {"policy": 1.0}


@pytest.mark.parametrize("strategy", [RoutingStrategy.LATENCY, RoutingStrategy.GEOGRAPHIC])
def test_strategies_that_look_at_places_begin_with_all_alike(strategy: RoutingStrategy) -> None:
    near = causes_of(plain(strategy, *three()), "us-east", "us-east")
    assert near["policy"] == pytest.approx(1 / 3, abs=0.001) and near["latency"] > 0.3
    assert list(near) == ["policy", "latency"]


def test_optimal_is_near_first_then_where_there_is_room_then_what_all_obey() -> None:
    rtts = tuple(
        (one, other, far * MILLISECOND_NS)
        for one, other, far in (("a", "b", 20), ("a", "c", 90), ("b", "a", 20), ("b", "c", 80), ("c", "a", 90))
    )
    regions = tuple(
        region(name, location=None, capacity=100.0, demand=demand)
        for name, demand in zip("abc", (160.0, 20.0, 20.0), strict=True)
    )
    given_ = plain(RoutingStrategy.OPTIMAL, *regions, rtts=rtts)
    assert causes_of(given_, "a", "a") == pytest.approx({"policy": 0.334, "latency": 0.666, "capacity": -0.5})
    assert causes_of(given_, "a", "b") == pytest.approx({"policy": 0.333, "latency": -0.333, "capacity": 0.375})
    dead = replace(given_, regions=(*regions[:1], replace(regions[1], status=RegionStatus.DOWN), regions[2]))
    assert causes_of(dead, "a", "b") == pytest.approx(
        {"policy": 0.333, "latency": -0.333, "capacity": 0.375, "status": -0.375}
    )
    assert list(causes_of(replace(dead, pins=(("", (("c", 1.0),)),)), "a", "c"))[-1] == "pin"

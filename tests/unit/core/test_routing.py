"""Weights: what every row obeys whatever the strategy, and what each strategy is for. [I8]"""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from primacy_coordinator.core.model import RegionStatus, RoutingStrategy
from primacy_coordinator.core.routing import SERVES, RegionInput, WeightsInput, weigh
from primacy_wire.messages import Load

PLACES = {"ap-south": (19.1, 72.9), "eu-west": (53.3, -6.3), "us-east": (38.9, -77.4), "us-west": (45.6, -121.2)}


def region(name: str, status: RegionStatus = RegionStatus.HEALTHY, **values: object) -> RegionInput:
    plain = RegionInput(name, status, PLACES.get(name), 100.0, 1.0, 1.0, Load())
    return replace(plain, **values)  # type: ignore[arg-type]


def three(**statuses: RegionStatus) -> tuple[RegionInput, ...]:
    return tuple(
        region(name, statuses.get(name.replace("-", "_"), RegionStatus.HEALTHY))
        for name in ("ap-south", "eu-west", "us-east")
    )


def reads(strategy: RoutingStrategy, regions: tuple[RegionInput, ...], **values: object) -> dict[str, dict[str, float]]:
    plain = WeightsInput(strategy, regions, "us-east", ("eu-west", "ap-south"), (), 0.5)
    result = weigh(replace(plain, **values))  # type: ignore[arg-type]
    return {client: dict(row) for client, row in result.read}


REGIONS = st.lists(
    st.builds(
        RegionInput,
        name=st.sampled_from(["a", "b", "c", "d", "e", "f"]),
        status=st.sampled_from(RegionStatus),
        location=st.none() | st.tuples(st.floats(-90, 90), st.floats(-180, 180)),
        capacity=st.floats(0, 1e6),
        weight=st.floats(0, 100),
        healthy_share=st.floats(0, 1),
        load=st.builds(Load, error_rate=st.floats(-1, 1)),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda r: r.name,
)
NAMES = st.sampled_from(["", "a", "b", "c", "zz"])
INPUTS = st.builds(
    WeightsInput,
    strategy=st.sampled_from(RoutingStrategy),
    regions=REGIONS.map(tuple),
    active_region=NAMES,
    fallback=st.lists(NAMES, max_size=3).map(tuple),
    rtts=st.lists(st.tuples(NAMES, NAMES, st.integers(0, 10**9)), max_size=5).map(tuple),
    panic_threshold=st.floats(0, 1),
)


@given(INPUTS)
def test_every_row_has_every_region_and_sums_to_one(given_: WeightsInput) -> None:
    names = sorted(r.name for r in given_.regions)
    result = weigh(given_)
    assert [client for client, _ in result.read] == names
    for _, row in result.read:
        assert [name for name, _ in row] == names
        assert math.isclose(sum(share for _, share in row), 1.0, abs_tol=1e-9)
        assert all(0 <= share <= 1 for _, share in row)
    for _, row in result.write:
        assert dict(row) == {name: float(name == given_.active_region) for name in names}


@given(INPUTS)
def test_a_region_that_is_down_gets_nothing_while_another_is_not(given_: WeightsInput) -> None:
    if all(r.status is RegionStatus.DOWN for r in given_.regions):
        return
    serving = any(r.status in SERVES for r in given_.regions)
    for _, row in weigh(given_).read:
        for r in given_.regions:
            if r.status is RegionStatus.DOWN or (serving and r.status not in SERVES):
                assert dict(row)[r.name] == 0


@given(INPUTS, st.randoms())
def test_the_order_of_the_input_does_not_matter(given_: WeightsInput, random: object) -> None:
    shuffled = list(given_.regions)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert weigh(given_) == weigh(replace(given_, regions=tuple(shuffled)))


def test_active_only_follows_the_active_region_and_leaves_it_at_once_when_it_is_dead() -> None:
    assert reads(RoutingStrategy.ACTIVE_ONLY, three())["ap-south"] == {"ap-south": 0, "eu-west": 0, "us-east": 1}
    dead = reads(RoutingStrategy.ACTIVE_ONLY, three(us_east=RegionStatus.DOWN))
    assert dead["ap-south"] == {"ap-south": 0, "eu-west": 1, "us-east": 0}


def test_a_suspect_region_keeps_its_share() -> None:
    assert reads(RoutingStrategy.ACTIVE_ONLY, three(us_east=RegionStatus.SUSPECT))["eu-west"]["us-east"] == 1


def test_weighted_follows_the_policy() -> None:
    regions = (region("ap-south", weight=1.0), region("eu-west", weight=3.0), region("us-east", weight=0.0))
    assert reads(RoutingStrategy.WEIGHTED, regions)["us-east"] == {"ap-south": 0.25, "eu-west": 0.75, "us-east": 0}


def test_health_gives_less_to_errors_and_to_missing_instances() -> None:
    regions = (
        region("ap-south"),
        region("eu-west", load=Load(error_rate=0.5)),
        region("us-east", RegionStatus.DEGRADED, healthy_share=0.5),
    )
    row = reads(RoutingStrategy.HEALTH, regions)["us-east"]
    assert row == {"ap-south": 0.5, "eu-west": 0.25, "us-east": 0.25}


def test_latency_prefers_the_near() -> None:
    rtts = (("us-east", "eu-west", 80_000_000), ("us-east", "ap-south", 160_000_000))
    row = reads(RoutingStrategy.LATENCY, three(), rtts=rtts)["us-east"]
    assert row["us-east"] > row["eu-west"] > row["ap-south"] > 0


def test_geographic_stays_at_home_and_spills_to_the_nearest() -> None:
    regions = (*three(), region("us-west"))
    assert reads(RoutingStrategy.GEOGRAPHIC, regions)["eu-west"]["eu-west"] == 1
    dead = tuple(replace(r, status=RegionStatus.DOWN) if r.name == "us-east" else r for r in regions)
    assert reads(RoutingStrategy.GEOGRAPHIC, dead)["us-east"]["us-west"] == 1
    half = tuple(
        replace(r, status=RegionStatus.DEGRADED, healthy_share=0.25) if r.name == "us-east" else r for r in regions
    )
    row = reads(RoutingStrategy.GEOGRAPHIC, half)["us-east"]
    assert row["us-east"] == 0.25 and row["us-west"] == 0.75


def test_panic_is_flagged_and_ignores_how_healthy_the_rest_is() -> None:
    regions = (
        region("ap-south", RegionStatus.DEGRADED, healthy_share=0.1),
        region("eu-west", RegionStatus.DOWN),
        region("us-east", RegionStatus.DOWN),
    )
    result = weigh(WeightsInput(RoutingStrategy.HEALTH, regions, "", (), (), 0.5))
    assert result.panic
    assert dict(result.read[0][1]) == {"ap-south": 1, "eu-west": 0, "us-east": 0}


def test_when_all_are_down_reads_still_go_somewhere() -> None:
    regions = tuple(replace(r, status=RegionStatus.DOWN) for r in three())
    assert reads(RoutingStrategy.ROUND_ROBIN, regions)["eu-west"]["us-east"] > 0

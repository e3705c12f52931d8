"""Weights: what every row obeys whatever the strategy, and what each strategy is for. [I8]"""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from primacy_coordinator.core.model import RegionStatus, RoutingStrategy
from primacy_coordinator.core.routing import QUANTA, SERVES, RegionInput, WeightsInput, WeightsResult, weigh
from primacy_wire.instant import MILLISECOND_NS
from primacy_wire.messages import Load

WEIGHT_MAX = 1.7976931348623157e308
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


def result_of(regions: tuple[RegionInput, ...], strategy: RoutingStrategy, **values: object) -> WeightsResult:
    plain = WeightsInput(strategy, regions, "", (), (), 0.5)
    return weigh(replace(plain, **values))  # type: ignore[arg-type]


REGIONS = st.lists(
    st.builds(
        RegionInput,
        name=st.sampled_from(["a", "b", "c", "d", "e", "f"]),
        status=st.sampled_from(RegionStatus),
        location=st.none() | st.tuples(st.floats(-90, 90), st.floats(-180, 180)),
        capacity=st.floats(0, 1e6) | st.sampled_from([0.0, 5e-324, WEIGHT_MAX]),
        weight=st.floats(0, WEIGHT_MAX),
        healthy_share=st.floats(0, 1),
        load=st.builds(Load, error_rate=st.floats(-1, 1)),
        ramp=st.just(1.0) | st.floats(0, 1),
        demand=st.just(-1.0) | st.floats(0, 1e6) | st.sampled_from([0.0, 5e-324, WEIGHT_MAX]),
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
    rtts=st.lists(st.tuples(NAMES, NAMES, st.integers(-1, 10**9)), max_size=5, unique_by=lambda rtt: rtt[:2]).map(
        tuple
    ),
    panic_threshold=st.floats(0, 1),
    overprovisioning=st.sampled_from([1.0, 1.4]),
)


def barely_well(strategy: RoutingStrategy) -> WeightsInput:
    """A region whose figures are so small that a product of two of them is nothing."""
    return WeightsInput(strategy, (region("a", RegionStatus.DEGRADED, healthy_share=5e-324),), "", (), (), 0.5)


def heavy(*weights: float) -> WeightsInput:
    regions = tuple(region(name, weight=weight) for name, weight in zip("abc", weights, strict=False))
    return WeightsInput(RoutingStrategy.WEIGHTED, regions, "", (), (), 0.5)


@given(INPUTS)
@example(barely_well(RoutingStrategy.LATENCY))
@example(barely_well(RoutingStrategy.GEOGRAPHIC))
@example(heavy(WEIGHT_MAX, 1.0))
@example(heavy(WEIGHT_MAX, WEIGHT_MAX, WEIGHT_MAX))
@example(heavy(5e-324, 5e-324, 5e-324))
def test_every_row_has_every_region_and_sums_to_one(given_: WeightsInput) -> None:
    names = sorted(r.name for r in given_.regions)
    result = weigh(given_)
    assert [client for client, _ in result.read] == names
    assert [client for client, _ in result.write] == names
    assert [name for name, _ in result.reasons] == names
    for _, row in result.read:
        assert [name for name, _ in row] == names
        assert math.isclose(sum(share for _, share in row), 1.0, abs_tol=1e-9)
        assert all(0 <= share <= 1 and share == round(share * QUANTA) / QUANTA for _, share in row)
    for _, row in result.write:
        assert row == tuple((name, float(name == given_.active_region)) for name in names)


@given(INPUTS)
def test_a_region_that_is_down_gets_nothing_while_another_is_not(given_: WeightsInput) -> None:
    down = {r.name for r in given_.regions if r.status is RegionStatus.DOWN}
    serving = {r.name for r in given_.regions if r.status in SERVES}
    names = {r.name for r in given_.regions}
    allowed = serving or names - down or names
    for _, row in weigh(given_).read:
        assert {name for name, share in row if share} <= allowed


@given(INPUTS, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(given_: WeightsInput, random: Random) -> None:
    regions, rtts = list(given_.regions), list(given_.rtts)
    random.shuffle(regions)
    random.shuffle(rtts)
    assert weigh(given_) == weigh(replace(given_, regions=tuple(regions), rtts=tuple(rtts)))


@given(INPUTS)
def test_active_only_gives_everything_to_one_region_and_to_the_active_one_while_it_serves(given_: WeightsInput) -> None:
    result = weigh(replace(given_, strategy=RoutingStrategy.ACTIVE_ONLY))
    rows = {row for _, row in result.read}
    assert len(rows) == 1
    (followed,) = (name for name, share in rows.pop() if share == 1)
    serving = {r.name for r in given_.regions if r.status in SERVES}
    if given_.active_region in serving:
        assert followed == given_.active_region
    elif serving:
        assert followed == next((name for name in given_.fallback if name in serving), followed)


def test_no_region_no_row() -> None:
    assert weigh(WeightsInput(RoutingStrategy.ACTIVE_ONLY, (), "", (), (), 0.5)) == WeightsResult((), (), False, ())


def test_writes_stay_with_the_active_region_when_it_is_down_and_go_nowhere_before_there_was_one() -> None:
    regions = three(us_east=RegionStatus.DOWN)
    lapsed = result_of(regions, RoutingStrategy.ACTIVE_ONLY, active_region="us-east")
    assert {row for _, row in lapsed.write} == {(("ap-south", 0.0), ("eu-west", 0.0), ("us-east", 1.0))}
    never = result_of(regions, RoutingStrategy.ACTIVE_ONLY)
    assert {share for _, row in never.write for _, share in row} == {0.0}


def test_active_only_follows_the_active_region_and_leaves_it_at_once_when_it_is_dead() -> None:
    assert reads(RoutingStrategy.ACTIVE_ONLY, three())["ap-south"] == {"ap-south": 0, "eu-west": 0, "us-east": 1}
    dead = reads(RoutingStrategy.ACTIVE_ONLY, three(us_east=RegionStatus.DOWN))
    assert dead["ap-south"] == {"ap-south": 0, "eu-west": 1, "us-east": 0}


def test_before_any_region_was_active_reads_go_to_the_best() -> None:
    best = result_of(three(), RoutingStrategy.ACTIVE_ONLY, fallback=("us-east", "ap-south"))
    assert dict(best.read[0][1])["us-east"] == 1
    assert dict(best.reasons)["us-east"] == "HEALTHY: takes all reads until a region is active"


def test_reads_follow_a_region_that_no_election_would_take_rather_than_a_dead_one() -> None:
    regions = three(ap_south=RegionStatus.SUSPECT, us_east=RegionStatus.DOWN)
    result = result_of(regions, RoutingStrategy.ACTIVE_ONLY, active_region="us-east", fallback=())
    assert dict(result.read[0][1])["eu-west"] == 1


@pytest.mark.parametrize("strategy", RoutingStrategy)
def test_a_suspect_region_keeps_its_share(strategy: RoutingStrategy) -> None:
    before = reads(strategy, three())
    # Its agents lost their link, so none of its instances is known to be well.
    suspect = tuple(
        replace(r, status=RegionStatus.SUSPECT, healthy_share=0.0) if r.name == "us-east" else r for r in three()
    )
    assert reads(strategy, suspect) == before


def test_a_region_that_comes_back_counts_by_the_instances_it_has() -> None:
    regions = (region("ap-south"), region("eu-west", RegionStatus.RECOVERING, healthy_share=0.25))
    assert reads(RoutingStrategy.ROUND_ROBIN, regions)["ap-south"] == {"ap-south": 0.8, "eu-west": 0.2}
    assert reads(RoutingStrategy.WEIGHTED, regions)["ap-south"] == {"ap-south": 0.8, "eu-west": 0.2}


def test_round_robin_gives_alike_to_the_well() -> None:
    row = reads(RoutingStrategy.ROUND_ROBIN, three())["ap-south"]
    assert row == {"ap-south": 0.334, "eu-west": 0.333, "us-east": 0.333}


def test_weights_of_nothing_leave_it_to_health() -> None:
    regions = (
        region("ap-south", weight=0.0),
        region("eu-west", RegionStatus.DEGRADED, weight=0.0, healthy_share=0.25),
        region("us-east", RegionStatus.DOWN),
    )
    row = reads(RoutingStrategy.WEIGHTED, regions)["us-east"]
    assert row == {"ap-south": 0.8, "eu-west": 0.2, "us-east": 0}


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


def test_latency_gives_in_inverse_proportion_to_the_round_trip() -> None:
    rtts = (("us-east", "eu-west", 20 * MILLISECOND_NS), ("us-east", "ap-south", 20 * MILLISECOND_NS))
    row = reads(RoutingStrategy.LATENCY, three(), rtts=rtts)["us-east"]
    # The own region counts as 5 ms: it draws four times what one at 20 ms does, not everything.
    assert row == {"ap-south": 0.167, "eu-west": 0.167, "us-east": 0.666}


def test_latency_gives_less_to_missing_instances() -> None:
    regions = (region("a"), region("b"), region("c", RegionStatus.DEGRADED, healthy_share=0.5))
    rtts = (("a", "b", 20 * MILLISECOND_NS), ("a", "c", 20 * MILLISECOND_NS))
    row = reads(RoutingStrategy.LATENCY, regions, rtts=rtts)["a"]
    assert row["b"] == pytest.approx(2 * row["c"], abs=0.001)


def test_latency_estimates_by_distance_what_nobody_measured() -> None:
    row = reads(RoutingStrategy.LATENCY, three())["us-east"]
    assert row["us-east"] > row["eu-west"] > row["ap-south"] > 0


@pytest.mark.parametrize("never_reached", [(), (("a", "d", -1),)])
def test_a_region_at_an_unknown_distance_counts_as_middling_not_as_near(never_reached: tuple[object, ...]) -> None:
    regions = tuple(region(name) for name in "abcd")
    rtts = (("a", "b", 10 * MILLISECOND_NS), ("a", "c", 40 * MILLISECOND_NS), *never_reached)
    row = reads(RoutingStrategy.LATENCY, regions, rtts=rtts)["a"]
    assert row["d"] == row["b"] > row["c"]
    placed = (region("us-east"), region("eu-west"), region("nowhere"))
    row = reads(RoutingStrategy.LATENCY, placed)["us-east"]
    assert row["nowhere"] == pytest.approx(row["eu-west"], abs=0.001) and row["nowhere"] < row["us-east"] / 5


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


def test_geographic_prefers_the_own_region_to_another_in_the_same_city() -> None:
    regions = (region("aws", location=(53.3, -6.3)), region("gcp", location=(53.3, -6.3)), region("us-east"))
    rows = reads(RoutingStrategy.GEOGRAPHIC, regions)
    assert rows["gcp"]["gcp"] == rows["aws"]["aws"] == 1
    assert rows["us-east"]["us-east"] == 1
    # A quarter of its own instances still serve: only what they cannot take leaves for the neighbour.
    quarter = (replace(regions[0], status=RegionStatus.DEGRADED, healthy_share=0.25), *regions[1:])
    assert reads(RoutingStrategy.GEOGRAPHIC, quarter)["aws"] == {"aws": 0.25, "gcp": 0.75, "us-east": 0}
    # Once its own is dead, equally near ones share.
    dead = (*regions[:2], replace(regions[2], status=RegionStatus.DOWN))
    assert reads(RoutingStrategy.GEOGRAPHIC, dead)["us-east"] == {"aws": 0.5, "gcp": 0.5, "us-east": 0}


def test_geographic_turns_to_regions_without_a_place_last() -> None:
    regions = (region("ap-south"), region("nowhere"), region("us-east", RegionStatus.DOWN))
    rows = reads(RoutingStrategy.GEOGRAPHIC, regions)
    assert rows["us-east"]["ap-south"] == 1
    assert rows["nowhere"]["nowhere"] == 1


def test_panic_begins_below_the_threshold_not_at_it() -> None:
    def panics(serving: int, of: int, threshold: float) -> bool:
        regions = tuple(
            region(f"r{n:03}", RegionStatus.HEALTHY if n < serving else RegionStatus.DOWN) for n in range(of)
        )
        return result_of(regions, RoutingStrategy.ROUND_ROBIN, panic_threshold=threshold).panic

    assert not panics(1, 2, 0.5)
    assert panics(1, 3, 0.5)
    # 0.07 * 100 is a little more than 7 in binary.
    assert not panics(7, 100, 0.07)
    assert panics(6, 100, 0.07)
    assert not panics(0, 3, 0.0)


def test_in_panic_no_figure_of_health_tells_serving_regions_apart() -> None:
    regions = (
        region("ap-south", RegionStatus.DEGRADED, healthy_share=0.1),
        region("eu-west", load=Load(error_rate=0.5)),
        region("us-east", RegionStatus.DOWN),
        region("us-west", RegionStatus.JOINING),
    )
    for strategy in (RoutingStrategy.HEALTH, RoutingStrategy.WEIGHTED, RoutingStrategy.ROUND_ROBIN):
        row = {"ap-south": 0.5, "eu-west": 0.5, "us-east": 0, "us-west": 0}
        assert reads(strategy, regions, panic_threshold=0.6)["us-east"] == row
    calm = reads(RoutingStrategy.HEALTH, regions)["us-east"]
    assert calm["ap-south"] == 0.167 and calm["eu-west"] == 0.833


def test_when_none_serves_those_not_known_to_be_dead_are_tried_before_the_dead() -> None:
    regions = three(ap_south=RegionStatus.DOWN, eu_west=RegionStatus.UNKNOWN, us_east=RegionStatus.DOWN)
    assert reads(RoutingStrategy.ROUND_ROBIN, regions)["us-east"]["eu-west"] == 1
    # Even the active region has no claim to reads that another may answer.
    assert reads(RoutingStrategy.ACTIVE_ONLY, regions)["us-east"]["eu-west"] == 1


def test_when_all_are_down_reads_still_go_somewhere() -> None:
    regions = tuple(replace(r, status=RegionStatus.DOWN) for r in three())
    assert all(reads(RoutingStrategy.ROUND_ROBIN, regions)["eu-west"].values())
    assert reads(RoutingStrategy.ACTIVE_ONLY, regions)["eu-west"]["us-east"] == 1
    assert result_of(regions, RoutingStrategy.ROUND_ROBIN).panic


@given(INPUTS)
def test_reasons_agree_with_the_shares(given_: WeightsInput) -> None:
    result = weigh(given_)
    for name, reason in result.reasons:
        if reason.startswith("no reads"):
            assert all(dict(row)[name] == 0 for _, row in result.read)
        if "all reads" in reason:
            assert all(dict(row)[name] == 1 for _, row in result.read)

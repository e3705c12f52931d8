"""The sketch against exact quantiles, and against the package whose maths it shares."""

from __future__ import annotations

import math
import random

import pytest
from ddsketch import DDSketch
from hypothesis import given
from hypothesis import strategies as st
from primacy_wire.codec_log import metrics_to_proto
from primacy_wire.log_messages import MetricsSnapshot, SeriesSketch
from primacy_wire.sketch import (
    BUCKETS_MAX,
    LARGEST,
    RELATIVE_ERROR,
    SERIES_MAX,
    SMALLEST,
    SNAPSHOT_BYTES_MAX,
    Merging,
    Sketch,
    fitting,
    has_place,
    merged,
    series_bytes,
)

QUANTILES = (0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0)
positive = st.floats(1e-8, 1e12)


def of(values: list[float]) -> Sketch:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    return sketch


def exact(values: list[float], q: float) -> float:
    """The lower of the two values between which the quantile lies: the one whose bucket is meant."""
    return sorted(values)[math.floor(q * (len(values) - 1))]


@given(st.lists(positive, min_size=1, max_size=300), st.floats(0, 1))
def test_every_quantile_is_within_the_bound(values: list[float], q: float) -> None:
    truth = exact(values, q)
    assert abs(of(values).quantile(q) - truth) <= RELATIVE_ERROR * truth * (1 + 1e-9)


def test_heavy_tails_of_several_regions_are_merged_within_the_bound_as_the_package_does() -> None:
    draw = random.Random(7)
    everything: list[float] = []
    together, package = Sketch(), DDSketch(RELATIVE_ERROR)
    for region in range(8):
        values = [draw.lognormvariate(region / 4, 2.0) for _ in range(5_000)]
        everything += values
        together.merge(of(values))
        for value in values:
            package.add(value)
    for q in QUANTILES:
        truth = exact(everything, q)
        assert together.quantile(q) == pytest.approx(truth, rel=RELATIVE_ERROR)
        assert together.quantile(q) == pytest.approx(package.get_quantile_value(q), rel=2 * RELATIVE_ERROR)
    assert together.count == len(everything) and together.sum == pytest.approx(sum(everything))


@given(st.lists(st.lists(st.floats(-1e6, 1e6), max_size=30), max_size=6), st.randoms())
def test_the_order_of_merging_does_not_matter(parts: list[list[float]], draw: random.Random) -> None:
    def together(order: list[list[float]]) -> Sketch:
        found = Sketch()
        for part in order:
            found.merge(of(part))
        return found

    one = together(parts)
    shuffled = list(parts)
    draw.shuffle(shuffled)
    other = together(shuffled)
    assert (one.buckets, one.zeros, one.count) == (other.buckets, other.zeros, other.count)
    assert (one.min, one.max) == (other.min, other.max)


@given(st.lists(st.floats(-1e6, 1e9), max_size=100))
def test_a_sketch_comes_out_of_its_series_as_it_went_in(values: list[float]) -> None:
    sketch = of(values)
    again = Sketch.from_series(sketch.to_series("latency"))
    assert again.to_series("latency") == sketch.to_series("latency")
    for q in QUANTILES:
        assert again.quantile(q) == sketch.quantile(q) or (not values and math.isnan(again.quantile(q)))


def test_what_is_not_above_zero_is_counted_and_the_smallest_known() -> None:
    sketch = of([0.0, -3.0, 0.0, 5.0])
    assert (sketch.zeros, sketch.count, sketch.min) == (3, 4, -3.0)
    assert sketch.quantile(1.0) == pytest.approx(5.0, rel=RELATIVE_ERROR) and sketch.quantile(0.0) == -3.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.1 * LARGEST, -1.1 * LARGEST])
def test_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="cannot be measured"):
        Sketch().add(value)


def test_the_lowest_buckets_are_added_up_beyond_the_most() -> None:
    sketch = Sketch()
    for exponent in range(-9, 40):
        for step in range(1, 100):
            sketch.add(step * 10.0**exponent)
    assert len(sketch.buckets) <= BUCKETS_MAX and sum(sketch.buckets.values()) + sketch.zeros == sketch.count
    assert sketch.quantile(0.99) > 1e38


@pytest.mark.parametrize(
    "series",
    [
        SeriesSketch("a", -1, 0, 0, 0, 0),
        SeriesSketch("a", 2, 1, 0, 1, 1, 0, 0, (1,)),
        SeriesSketch("a", 1, 1, 0, 1, 1, 2, 0, (-1,)),
        SeriesSketch("a", 1, math.nan, 0, 1, 1, 1),
        SeriesSketch("a", 1, 1, 0, 1, 1, 1, 0, (0,) * (5 * BUCKETS_MAX)),
        SeriesSketch("a", 1, 1, 0, 1, 1, 0, 2**31 - 1, (1,)),
        SeriesSketch("a", 1, 1, 0, 1, 1, 0, -(2**31), (1,)),
    ],
)
def test_series_that_no_sketch_can_be_are_refused(series: SeriesSketch) -> None:
    with pytest.raises(ValueError, match="series 'a'"):
        Sketch.from_series(series)


def test_series_of_one_name_add_up() -> None:
    one, other = of([1.0, 2.0]).to_series("b"), of([4.0]).to_series("b")
    first, second = merged([one, of([9.0]).to_series("a"), other])
    assert (first.name, second.name, second.count, second.sum) == ("a", "b", 3, 7.0)


def test_whatever_is_measured_comes_out_as_a_series_that_is_taken() -> None:
    widest = of([SMALLEST, LARGEST, -LARGEST, 0.0]).to_series("a")
    assert has_place(widest.first_bucket, len(widest.buckets)) and math.isfinite(widest.sum)
    assert Sketch.from_series(widest).to_series("a") == widest


def test_merging_in_steps_is_merging_at_once() -> None:
    parts = [[of([float(10 * part + number)]).to_series(f"s{number}") for number in range(4)] for part in range(5)]
    merging = Merging()
    for part in parts:
        merging.add(part)
    assert merging.series() == merged(series for part in parts for series in part)
    assert [series.count for series in merging.series()] == [5, 5, 5, 5]


def test_what_does_not_fit_a_snapshot_is_left_out() -> None:
    many = [of([1.0]).to_series(f"s{number:03}") for number in range(SERIES_MAX + 3)]
    assert fitting(many) == tuple(many[:SERIES_MAX]) == merged(many)
    long = of([SMALLEST, LARGEST] * 64).to_series("long")
    assert len(long.buckets) > BUCKETS_MAX and series_bytes(long) < SNAPSHOT_BYTES_MAX < 5 * series_bytes(long)
    assert fitting([long, *many[:2], long, long, long, long]) == (long, *many[:2], long, long, long)
    assert fitting([long], series_bytes(long) - 1) == ()


def test_no_series_takes_more_than_is_said() -> None:
    draw = random.Random(3)
    for name in ("a", "ä" * 100, "𝕏" * 50):
        values = [draw.lognormvariate(0, 9) for _ in range(draw.randint(1, 4_000))]
        series = of(values).to_series(name)
        proto = metrics_to_proto(MetricsSnapshot("eu", "eu/a", "life", 1, 1, 1, (series,)))
        assert proto.series[0].ByteSize() <= series_bytes(series)

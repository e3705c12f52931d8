"""Packed sketches: nothing is lost on the way, and quantiles of merged regions are those of all values together."""

from __future__ import annotations

import math
import random

import pytest
from ddsketch import DDSketch
from hypothesis import given
from hypothesis import strategies as st
from primacy_coordinator.core.monitor.packing import PackedRow, Unpacked, merge_packed, pack
from primacy_wire.sketch import RELATIVE_ERROR, Sketch

QUANTILES = (0.01, 0.5, 0.9, 0.99, 0.999)
values = st.lists(st.floats(1e-9, 1e12) | st.just(0.0) | st.floats(-1e3, 0), min_size=1, max_size=200)


def sketch_of(found: list[float]) -> Sketch:
    sketch = Sketch()
    for value in found:
        sketch.add(value)
    return sketch


def opened(packed: bytes) -> Sketch:
    return Sketch.from_series(_series(Unpacked(packed)))


def _series(one: Unpacked):  # type: ignore[no-untyped-def]
    made = Sketch()
    made.sum, made.min, made.max, made.last, made.zeros = one.sum, one.min, one.max, one.last, one.zeros
    made.buckets = dict(zip(one.indexes, one.counts, strict=True))
    made.count = one.count
    return made.to_series("x")


@given(values)
def test_a_sketch_is_the_same_when_it_is_opened_again(found: list[float]) -> None:
    sketch = sketch_of(found)
    again = opened(pack(sketch))
    assert (again.count, again.zeros, again.buckets) == (sketch.count, sketch.zeros, sketch.buckets)
    assert (again.sum, again.min, again.max, again.last) == (sketch.sum, sketch.min, sketch.max, sketch.last)


@given(st.lists(values, min_size=1, max_size=6))
def test_merged_is_what_one_sketch_of_everything_would_be(parts: list[list[float]]) -> None:
    merged = opened(merge_packed(pack(sketch_of(part)) for part in parts))
    whole = sketch_of([value for part in parts for value in part])
    assert (merged.count, merged.zeros, merged.buckets) == (whole.count, whole.zeros, whole.buckets)
    assert (merged.min, merged.max, merged.last) == (whole.min, whole.max, whole.last)


@pytest.mark.parametrize("count", [1, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**48])
def test_counts_take_as_many_bytes_as_they_need(count: int) -> None:
    sketch = Sketch()
    sketch.add(1.0, count)
    assert Unpacked(pack(sketch)).count == count


@pytest.mark.parametrize("junk", [b"", b"\1", b"x" * 34, b"\1\5\0" + b"\0" * 32, b"\7\0\0" + b"\0" * 40])
def test_what_is_no_sketch_is_refused(junk: bytes) -> None:
    with pytest.raises(ValueError, match="not a sketch"):
        Unpacked(junk)


def test_quantiles_of_heavy_tails_over_regions_are_exact_within_the_bound() -> None:
    """Ten regions that have nothing in common, minute by minute, beside exact quantiles and the authors' own sketch."""
    draw = random.Random(7)
    everything: list[float] = []
    oracle = DDSketch(RELATIVE_ERROR)
    packed: list[bytes] = []
    for region in range(10):
        for _ in range(6):
            part = [draw.paretovariate(1.1) / 1000 * (region + 1) for _ in range(300)]
            part += [draw.lognormvariate(-6 + region / 2, 1.5) for _ in range(300)]
            everything += part
            packed.append(pack(sketch_of(part)))
            for value in part:
                oracle.add(value)
    # First over time, then over regions: the order is nobody's.
    merged = opened(merge_packed(merge_packed(packed[at::7]) for at in range(7)))
    everything.sort()
    for q in QUANTILES:
        exact = everything[math.floor(q * (len(everything) - 1))]
        assert merged.quantile(q) == pytest.approx(exact, rel=RELATIVE_ERROR * 1.0001)
        assert merged.quantile(q) == pytest.approx(oracle.get_quantile_value(q), rel=1e-9)


@given(values, st.floats(1e-6, 1e12))
def test_how_many_values_are_below_a_bound_is_known_within_the_error(found: list[float], bound: float) -> None:
    count = Unpacked(pack(sketch_of(found))).at_most(bound)
    assert sum(value <= bound / 1.021 for value in found) <= count <= sum(value <= bound * 1.021 for value in found)


@given(st.dictionaries(st.integers(0, 1000), values, max_size=20))
def test_a_row_gives_back_each_sketch(given: dict[int, list[float]]) -> None:
    packed = {slot: pack(sketch_of(found)) for slot, found in given.items()}
    row = PackedRow(0, 10, packed.items())
    assert {slot: row.get(slot) for slot in packed} == packed
    assert row.get(2000) is None
    assert row.get(-1) is None


def test_absurd_counts_end_somewhere() -> None:
    """An agent that says that it measured more than there is must not keep hours from being made."""
    sketch = Sketch()
    sketch.add(1.0, 2**62)
    whole = Unpacked(merge_packed([pack(sketch)] * 10))
    assert list(whole.counts) == [2**63]

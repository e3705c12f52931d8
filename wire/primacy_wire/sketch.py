"""A quantile sketch with a bound on its relative error: logarithmic buckets, counts that add up.

The maths are those of DDSketch (Masson, Rim, Lee: DDSketch, VLDB 2019): a value x lies in bucket ceil(log(x) / log(γ))
with γ = (1+α)/(1-α), and whatever is said of a bucket is off by at most α of the value. Merging adds counts, so it is
associative and commutative, but not idempotent: whoever merges keeps windows apart and replaces, then adds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from primacy_wire.log_messages import SeriesSketch

RELATIVE_ERROR = 0.01
GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
LOG_GAMMA = math.log(GAMMA)
SMALLEST = 1e-9
"""Values below count as zeros: a nanosecond where seconds are measured."""
LARGEST = 1e60
"""Nothing larger is measured, so that sums stay finite and a sketch has a length that can be sent."""
BUCKETS_MAX = 2048
"""More than any span of measured values needs (a factor of 10^17); the lowest are added up beyond that."""
INDEX_MIN = math.floor(math.log(SMALLEST) / LOG_GAMMA)
INDEX_MAX = math.ceil(math.log(LARGEST) / LOG_GAMMA)
"""A value lies in a bucket between these two."""
COUNT_MAX = 2**48
"""Values of one series of one agent: what thousands of agents measured together still fits 63 bits."""
SERIES_MAX = 200
"""Series of a snapshot: what is shared with every agent must stay small."""
SNAPSHOT_BYTES_MAX = 64 * 1024
"""Of what one agent, or one region, shares (see `series_bytes`)."""


class Sketch:
    """Values of one series in one window."""

    __slots__ = ("buckets", "count", "last", "max", "min", "sum", "zeros")

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0.0
        self.min = math.inf
        self.max = -math.inf
        self.last = 0.0
        self.zeros = 0
        """Values that are not above 0."""
        self.buckets: dict[int, int] = {}

    def add(self, value: float, count: int = 1) -> None:
        """Raises ValueError for what is no number or beyond `LARGEST`. Negative values are told by `min` alone."""
        if not can_measure(value):
            raise ValueError(f"{value} cannot be measured")
        self.count += count
        self.sum += value * count
        self.min = min(self.min, value)
        self.max = max(self.max, value)
        self.last = value
        if value < SMALLEST:
            self.zeros += count
            return
        index = math.ceil(math.log(value) / LOG_GAMMA)
        self.buckets[index] = self.buckets.get(index, 0) + count
        if len(self.buckets) > BUCKETS_MAX:
            self._collapse()

    def merge(self, other: Sketch) -> None:
        """Take in what another has seen. `last` becomes the other's, if it has seen anything."""
        self._add_up(other, other.buckets.items())

    def merge_series(self, series: SeriesSketch) -> None:
        """The same for a series that was checked when it came (`from_series` checks one)."""
        self._add_up(series, [one for one in enumerate(series.buckets, series.first_bucket) if one[1]])

    def _add_up(self, other: Sketch | SeriesSketch, buckets: Iterable[tuple[int, int]]) -> None:
        if not other.count:
            return
        self.count += other.count
        self.sum += other.sum
        self.min = min(self.min, other.min)
        self.max = max(self.max, other.max)
        self.last = other.last
        self.zeros += other.zeros
        for index, count in buckets:
            self.buckets[index] = self.buckets.get(index, 0) + count
        if len(self.buckets) > BUCKETS_MAX:
            self._collapse()

    def quantile(self, q: float) -> float:
        """The value below which the share `q` of all lies, within `RELATIVE_ERROR` of it. NaN: nothing was seen."""
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile must be between 0 and 1, not {q}")
        if not self.count:
            return math.nan
        rank = q * (self.count - 1)
        seen = self.zeros
        if rank < seen:
            return min(self.min, 0.0)
        for index in sorted(self.buckets):
            seen += self.buckets[index]
            if rank < seen:
                return min(max(2 * GAMMA**index / (GAMMA + 1), self.min), self.max)
        return self.max

    @property
    def mean(self) -> float:
        return self.sum / self.count if self.count else math.nan

    def _collapse(self) -> None:
        """Add the lowest buckets up: high quantiles keep their bound."""
        indexes = sorted(self.buckets)
        kept = indexes[len(indexes) - BUCKETS_MAX]
        for index in indexes[: len(indexes) - BUCKETS_MAX]:
            self.buckets[kept] += self.buckets.pop(index)

    # ---- on its way

    def to_series(self, name: str) -> SeriesSketch:
        first = min(self.buckets, default=0)
        last = max(self.buckets, default=-1)
        return SeriesSketch(
            name,
            self.count,
            self.sum,
            self.min if self.count else 0.0,
            self.max if self.count else 0.0,
            self.last,
            self.zeros,
            first if self.buckets else 0,
            tuple(self.buckets.get(index, 0) for index in range(first, last + 1)) if self.buckets else (),
        )

    @classmethod
    def from_series(cls, series: SeriesSketch) -> Sketch:
        """Raises ValueError for what no sketch can be."""
        found = cls()
        if series.count < 0 or series.zeros < 0 or any(count < 0 for count in series.buckets):
            raise ValueError(f"series {series.name!r} counts below zero")
        if series.zeros + sum(series.buckets) != series.count:
            raise ValueError(f"series {series.name!r} has {series.count} values, its buckets do not")
        if not has_place(series.first_bucket, len(series.buckets)):
            raise ValueError(f"series {series.name!r} has buckets that no value lies in")
        if not all(map(math.isfinite, (series.sum, series.min, series.max, series.last))):
            raise ValueError(f"series {series.name!r} has figures that are no numbers")
        found.merge_series(series)
        return found


class Merging:
    """Series of the same name added up, bit by bit: to merge what a thousand agents measured takes a while."""

    def __init__(self) -> None:
        self._sketches: dict[str, Sketch] = {}

    def add(self, series: Iterable[SeriesSketch]) -> None:
        """Take in series that were checked when they came. Names beyond `SERIES_MAX` are left out."""
        for one in series:
            sketch = self._sketches.get(one.name)
            if sketch is None:
                if len(self._sketches) >= SERIES_MAX:
                    continue
                sketch = self._sketches[one.name] = Sketch()
            sketch.merge_series(one)

    def series(self, bytes_max: int = SNAPSHOT_BYTES_MAX) -> tuple[SeriesSketch, ...]:
        """What fits, the first names first."""
        return fitting((sketch.to_series(name) for name, sketch in sorted(self._sketches.items())), bytes_max)


def merged(series: Iterable[SeriesSketch]) -> tuple[SeriesSketch, ...]:
    """Series of the same name added up, sorted by name."""
    merging = Merging()
    merging.add(series)
    return merging.series()


def can_measure(value: float) -> bool:
    return abs(value) <= LARGEST  # Nothing is less than NaN.


def has_place(first_bucket: int, length: int) -> bool:
    """Whether there can be values in all of so many buckets."""
    return not length or (first_bucket >= INDEX_MIN and first_bucket + length - 1 <= INDEX_MAX)


def series_bytes(series: SeriesSketch) -> int:
    """About what it takes on the wire, rather too much: every bucket is counted as long as the whole."""
    return 64 + 4 * len(series.name) + len(series.buckets) * (1 + series.count.bit_length() // 7)


def fitting(series: Iterable[SeriesSketch], bytes_max: int = SNAPSHOT_BYTES_MAX) -> tuple[SeriesSketch, ...]:
    """As many of them as a snapshot may have, left out where they do not fit."""
    found: list[SeriesSketch] = []
    for one in series:
        size = series_bytes(one)
        if size <= bytes_max and len(found) < SERIES_MAX:
            bytes_max -= size
            found.append(one)
    return tuple(found)

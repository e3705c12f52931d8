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
BUCKETS_MAX = 2048
"""More than any span of measured values needs (a factor of 10^17); the lowest are added up beyond that."""


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
        """`value` must be finite; raises ValueError. Negative values are told from others by `min` alone."""
        if not math.isfinite(value):
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
        if not other.count:
            return
        self.count += other.count
        self.sum += other.sum
        self.min = min(self.min, other.min)
        self.max = max(self.max, other.max)
        self.last = other.last
        self.zeros += other.zeros
        for index, count in other.buckets.items():
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
        if len(series.buckets) > 4 * BUCKETS_MAX:
            raise ValueError(f"series {series.name!r} has {len(series.buckets)} buckets")
        if not all(map(math.isfinite, (series.sum, series.min, series.max, series.last))):
            raise ValueError(f"series {series.name!r} has figures that are no numbers")
        if series.count:
            found.count, found.sum, found.zeros = series.count, series.sum, series.zeros
            found.min, found.max, found.last = series.min, series.max, series.last
            found.buckets = {
                series.first_bucket + offset: count for offset, count in enumerate(series.buckets) if count
            }
        return found


def merged(series: Iterable[SeriesSketch]) -> tuple[SeriesSketch, ...]:
    """Series of the same name added up, sorted by name."""
    found: dict[str, Sketch] = {}
    for one in series:
        found.setdefault(one.name, Sketch()).merge(Sketch.from_series(one))
    return tuple(sketch.to_series(name) for name, sketch in sorted(found.items()))

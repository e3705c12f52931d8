"""The gauges of one step, all series side by side, and what collects them until the step is over."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

LARGEST = 3e38
"""A figure beyond it does not fit where figures are kept."""
NAN = float("nan")
SAMPLES_MAX = 65_535
Columns = tuple[Sequence[float], Sequence[float], Sequence[float], Sequence[float], Sequence[int]]
"""Means, smallest, largest and newest values, and numbers of samples."""


class Stat(NamedTuple):
    """One gauge in one step."""

    mean: float
    low: float
    high: float
    last: float
    samples: int
    """Of which it was made: about the seconds in which it was measured."""


class FineRow:
    """What was sampled in one second, by slot; NaN: nothing was."""

    __slots__ = ("end", "start", "values")

    def __init__(self, start: int, values: array[float]) -> None:
        self.start = start
        self.end = start + 1
        self.values = values

    def stat(self, slot: int) -> Stat | None:
        if slot >= len(self.values):
            return None
        value = self.values[slot]
        return Stat(value, value, value, value, 1) if value == value else None  # noqa: PLR0124 - not NaN

    def stats(self) -> Iterator[tuple[int, Stat]]:
        """Of all slots that have values."""
        return ((slot, stat) for slot in range(len(self.values)) if (stat := self.stat(slot)) is not None)

    @property
    def bytes(self) -> int:
        return 4 * len(self.values) + 200


class Row:
    """The gauges of a longer step."""

    __slots__ = ("counts", "end", "high", "last", "low", "means", "slots", "start")

    def __init__(self, start: int, end: int, columns: Columns, slots: Sequence[int] | None = None) -> None:
        """Columns are by slot; `slots`: only of these, sorted."""
        self.start = start
        self.end = end
        self.slots = array("I", slots) if slots is not None else None
        means, low, high, last, counts = columns
        self.means, self.low, self.high, self.last = (
            array("f", means),
            array("f", low),
            array("f", high),
            array("f", last),
        )
        self.counts = array("H", [min(count, SAMPLES_MAX) for count in counts])

    @classmethod
    def of(cls, start: int, end: int, stats: Iterable[tuple[int, Stat]]) -> Row:
        """Of these slots alone."""
        found = sorted(stats)
        columns = tuple([stat[at] for _, stat in found] for at in range(5))
        return cls(start, end, columns, [slot for slot, _ in found])  # type: ignore[arg-type]

    def stat(self, slot: int) -> Stat | None:
        at = slot
        if self.slots is not None:
            at = bisect_left(self.slots, slot)
            if at == len(self.slots) or self.slots[at] != slot:
                return None
        if at >= len(self.counts) or not self.counts[at]:
            return None
        return Stat(self.means[at], self.low[at], self.high[at], self.last[at], self.counts[at])

    def stats(self) -> Iterator[tuple[int, Stat]]:
        """Of all slots that have values."""
        slots = self.slots if self.slots is not None else range(len(self.counts))
        return (
            (slot, Stat(mean, low, high, last, count))
            for slot, mean, low, high, last, count in zip(
                slots, self.means, self.low, self.high, self.last, self.counts, strict=True
            )
            if count
        )

    @property
    def bytes(self) -> int:
        return (22 if self.slots is not None else 18) * len(self.counts) + 700


class Open:
    """A step that is not over."""

    __slots__ = ("_counts", "_high", "_last", "_low", "_sums", "end", "start")

    def __init__(self, second: int, span: int) -> None:
        """The step of that length in which the second lies: steps begin at multiples of their length."""
        self.start = second - second % span
        self.end = self.start + span
        self._sums: list[float] = []
        self._low: list[float] = []
        self._high: list[float] = []
        self._last: list[float] = []
        self._counts: list[int] = []

    def add(self, values: Sequence[tuple[int, float]]) -> None:
        """One sample of each of these slots."""
        self._reach(max((slot for slot, _ in values), default=-1))
        sums, lows, highs, last, counts = self._sums, self._low, self._high, self._last, self._counts
        for slot, value in values:
            if counts[slot]:
                sums[slot] += value
                lows[slot] = min(lows[slot], value)
                highs[slot] = max(highs[slot], value)
            else:
                sums[slot] = lows[slot] = highs[slot] = value
            last[slot] = value
            counts[slot] += 1

    def add_stats(self, stats: Iterable[tuple[int, Stat]], together: int) -> Iterator[None]:
        """What a shorter step had, so many slots at a time."""
        for at, (slot, stat) in enumerate(stats):
            if at % together == together - 1:
                yield
            self._reach(slot)
            if self._counts[slot]:
                self._sums[slot] += stat.mean * stat.samples
                self._low[slot] = min(self._low[slot], stat.low)
                self._high[slot] = max(self._high[slot], stat.high)
            else:
                self._sums[slot], self._low[slot], self._high[slot] = stat.mean * stat.samples, stat.low, stat.high
            self._last[slot] = stat.last
            self._counts[slot] += stat.samples

    def forget(self, slot: int) -> None:
        """The slot is another series' from now on."""
        if slot < len(self._counts):
            self._counts[slot] = 0

    def close(self) -> Row:
        counts = self._counts
        means = [total / count if count else 0.0 for total, count in zip(self._sums, counts, strict=True)]
        return Row(self.start, self.end, (means, self._low, self._high, self._last, counts))

    def close_sparse(self) -> Row:
        """The same, for few slots of many."""
        return Row.of(
            self.start,
            self.end,
            (
                (slot, Stat(self._sums[slot] / count, self._low[slot], self._high[slot], self._last[slot], count))
                for slot, count in enumerate(self._counts)
                if count
            ),
        )

    def _reach(self, slot: int) -> None:
        more = slot + 1 - len(self._counts)
        if more > 0:
            for column in (self._sums, self._low, self._high, self._last):
                column.extend([0.0] * more)
            self._counts.extend([0] * more)

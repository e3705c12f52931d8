"""The gauges of one step, all series side by side, and what collects them until the step is over."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

LARGEST = 3e38
"""A figure beyond it does not fit where figures are kept."""
NAN = float("nan")


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

    @property
    def bytes(self) -> int:
        return 4 * len(self.values) + 200


class Row:
    """The gauges of a longer step."""

    __slots__ = ("counts", "end", "high", "last", "low", "means", "slots", "start")

    def __init__(
        self, start: int, end: int, stats: Iterable[tuple[int, Stat]], size: int, sparse: bool = False
    ) -> None:
        """By slot, of which there are `size`; `sparse`: only those that have values take room."""
        self.start = start
        self.end = end
        found = sorted(stats) if sparse else list(stats)
        self.slots = array("I", [slot for slot, _ in found]) if sparse else None
        length = len(found) if sparse else size
        self.means, self.low, self.high, self.last = (array("f", bytes(4 * length)) for _ in range(4))
        self.counts = array("H", bytes(2 * length))
        for at, (slot, stat) in enumerate(found):
            place = at if sparse else slot
            self.means[place], self.low[place], self.high[place], self.last[place] = stat[:4]
            self.counts[place] = min(stat.samples, 65_535)

    def stat(self, slot: int) -> Stat | None:
        at = slot
        if self.slots is not None:
            at = bisect_left(self.slots, slot)
            if at == len(self.slots) or self.slots[at] != slot:
                return None
        if at >= len(self.counts) or not self.counts[at]:
            return None
        return Stat(self.means[at], self.low[at], self.high[at], self.last[at], self.counts[at])

    def stats(self) -> Iterable[tuple[int, Stat]]:
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

    def add_stats(self, stats: Iterable[tuple[int, Stat]]) -> None:
        """What a shorter step had."""
        for slot, stat in stats:
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

    def close(self, sparse: bool = False) -> Row:
        stats = (
            (slot, Stat(self._sums[slot] / count, self._low[slot], self._high[slot], self._last[slot], count))
            for slot, count in enumerate(self._counts)
            if count
        )
        return Row(self.start, self.end, stats, len(self._counts), sparse)

    def _reach(self, slot: int) -> None:
        more = slot + 1 - len(self._counts)
        if more > 0:
            for column in (self._sums, self._low, self._high, self._last):
                column.extend([0.0] * more)
            self._counts.extend([0] * more)

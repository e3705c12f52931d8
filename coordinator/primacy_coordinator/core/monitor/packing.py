"""Sketches as few bytes: what a step of a distribution takes in memory and on disk.

A header, then the indexes of the buckets that are not empty, then the zeros and the counts, in the narrowest integers
that hold them. Two sketches become one by adding their counts, so that quantiles of hours and of many regions are as
exact as those of ten seconds in one.
"""

from __future__ import annotations

import math
import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterable

from primacy_wire.sketch import BUCKETS_MAX, GAMMA, LOG_GAMMA, SMALLEST, Sketch

_HEADER = struct.Struct("<BHdddd")
"""Width of a count in bytes, buckets, then sum, smallest, largest and newest value."""
COUNT_MAX = 2**63
"""Of a bucket, beyond which nothing is counted: only who says absurd numbers, for weeks, comes there."""
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Unpacked:
    """One sketch, read: the buckets in order, and their counts."""

    __slots__ = ("counts", "indexes", "last", "max", "min", "sum", "zeros")

    def __init__(self, packed: bytes) -> None:
        """Raises ValueError for what `pack` did not make."""
        try:
            width, length, self.sum, self.min, self.max, self.last = _HEADER.unpack_from(packed)
            begin = _HEADER.size + 2 * length
            self.indexes = array("h", packed[_HEADER.size : begin])
            self.counts = array(_CODES[width], packed[begin:])
            self.zeros = self.counts.pop(0)
        except (struct.error, KeyError, IndexError) as error:
            raise ValueError("not a sketch") from error
        if len(self.indexes) != length or len(self.counts) != length:
            raise ValueError("not a sketch")

    @property
    def count(self) -> int:
        return self.zeros + sum(self.counts)

    def at_most(self, bound: float) -> int:
        """How many values are no larger than this, within the error of the sketch."""
        if bound < SMALLEST:
            return self.zeros if bound >= min(self.min, 0.0) else 0
        index = math.ceil(math.log(bound) / LOG_GAMMA)
        # A bucket belongs to the side on which the middle of it lies.
        if 2 * GAMMA**index / (GAMMA + 1) > bound:
            index -= 1
        return self.zeros + sum(self.counts[: bisect_right(self.indexes, index)])


def pack(sketch: Sketch) -> bytes:
    """A sketch that has seen something."""
    buckets = sorted(sketch.buckets.items())
    counts = [sketch.zeros, *(count for _, count in buckets)]
    return _packed([index for index, _ in buckets], counts, sketch.sum, sketch.min, sketch.max, sketch.last)


def _packed(indexes: list[int], counts: list[int], total: float, low: float, high: float, last: float) -> bytes:
    largest = max(counts)
    if largest > COUNT_MAX:
        counts, largest = [min(count, COUNT_MAX) for count in counts], COUNT_MAX
    width = next(width for width in _CODES if largest < 1 << 8 * width)
    head = _HEADER.pack(width, len(indexes), total, low, high, last)
    return head + array("h", indexes).tobytes() + array(_CODES[width], counts).tobytes()


class Summed:
    """Packed sketches added up."""

    __slots__ = ("buckets", "last", "max", "min", "sum", "zeros")

    def __init__(self) -> None:
        self.sum = 0.0
        self.min = math.inf
        self.max = -math.inf
        self.last = 0.0
        self.zeros = 0
        self.buckets: dict[int, int] = {}

    def add(self, one: Unpacked) -> None:
        """`last` becomes that of what is added last."""
        self.sum += one.sum
        self.min = min(self.min, one.min)
        self.max = max(self.max, one.max)
        self.last = one.last
        self.zeros += one.zeros
        buckets, get = self.buckets, self.buckets.get
        for index, count in zip(one.indexes, one.counts, strict=True):
            buckets[index] = get(index, 0) + count

    def sketch(self) -> Sketch:
        made = Sketch()
        made.sum, made.min, made.max, made.last, made.zeros = self.sum, self.min, self.max, self.last, self.zeros
        made.buckets = self.buckets
        made.count = self.zeros + sum(self.buckets.values())
        return made

    @property
    def count(self) -> int:
        return self.zeros + sum(self.buckets.values())


def merge_packed(parts: Iterable[bytes]) -> bytes:
    """Several packed sketches as one, the newest last."""
    summed = Summed()
    for part in parts:
        summed.add(Unpacked(part))
    buckets = sorted(summed.buckets.items())
    if len(buckets) > BUCKETS_MAX:
        return pack(_collapsed(summed))
    counts = [summed.zeros, *(count for _, count in buckets)]
    return _packed([index for index, _ in buckets], counts, summed.sum, summed.min, summed.max, summed.last)


def _collapsed(summed: Summed) -> Sketch:
    """With the lowest buckets added up: high quantiles keep their bound."""
    sketch, whole = Sketch(), summed.sketch()
    sketch.merge(whole)
    return sketch


class PackedRow:
    """The sketches of one step, by slot."""

    __slots__ = ("blob", "end", "ends", "slots", "start")

    def __init__(self, start: int, end: int, sketches: Iterable[tuple[int, bytes]]) -> None:
        self.start = start
        self.end = end
        found = sorted(sketches)
        self.slots = array("I", [slot for slot, _ in found])
        self.blob = b"".join(packed for _, packed in found)
        self.ends = array("I")
        at = 0
        for _, packed in found:
            at += len(packed)
            self.ends.append(at)

    def get(self, slot: int) -> bytes | None:
        at = bisect_right(self.slots, slot) - 1
        if at < 0 or self.slots[at] != slot:
            return None
        return self.blob[self.ends[at - 1] if at else 0 : self.ends[at]]

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        return len(self.blob) + 8 * len(self.slots) + 300

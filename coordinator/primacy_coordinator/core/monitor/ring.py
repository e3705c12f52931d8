"""Steps of one length, the newest so many, and how steps of several lengths cover a range."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import chain
from typing import Generic, Protocol, TypeVar


class Step(Protocol):
    start: int
    """First second."""
    end: int
    """First second that is not in it any more."""

    @property
    def bytes(self) -> int: ...


R = TypeVar("R", bound=Step)


class Ring(Generic[R]):
    """Rows of one length of step, the oldest first, bounded in time and in bytes."""

    def __init__(self, span: int, kept_s: int, bytes_max: int) -> None:
        self.span = span
        self.rows: deque[R] = deque()
        self.bytes = 0
        self.bytes_max = bytes_max
        self.cut = False
        """Older rows have been dropped; else it begins where everything does."""
        self.kept_s = kept_s

    def add(self, row: R) -> None:
        """A row later than all others."""
        self.rows.append(row)
        self.bytes += row.bytes
        oldest = row.end - self.kept_s
        while self.rows and (self.rows[0].start < oldest or (self.bytes > self.bytes_max and len(self.rows) > 1)):
            self.bytes -= self.rows.popleft().bytes
            self.cut = True

    def rewind(self, second: int) -> None:
        """Drop what ends later."""
        while self.rows and self.rows[-1].end > second:
            self.bytes -= self.rows.pop().bytes

    def between(self, first: int, last: int) -> list[R]:
        """Rows that begin in [first, last)."""
        return [row for row in self.rows if first <= row.start < last]

    @property
    def begin(self) -> int | None:
        return self.rows[0].start if self.rows else None

    @property
    def end(self) -> int | None:
        return self.rows[-1].end if self.rows else None


def cover(rings: Sequence[Ring[R]], base: int, first: int, last: int) -> list[R]:
    """Rows that cover [first, last), none of that time twice, the oldest first.

    `rings` are by length of step, the shortest first. Number `base` is read as far as it reaches; what is newer comes
    from shorter steps, what is older from longer ones.
    """
    upto = rings[base].end
    tail: list[R] = []
    for ring in reversed(rings[:base]):
        more = ring.between(first if upto is None else max(first, upto), last)
        if more:
            tail += more
            upto = more[-1].end
    found = rings[base].between(first, last)
    found += tail
    begin, cut = rings[base].begin, rings[base].cut
    if begin is None:
        begin = found[0].start if found else last
    for ring in rings[base + 1 :]:
        if begin <= first:
            break
        # A longer step that reaches into shorter ones counts instead of them, if some of those have been dropped.
        older = [row for row in ring.rows if row.start < begin and row.end > first and (cut or row.end <= begin)]
        if older:
            cut = ring.cut
            end = older[-1].end
            found = list(chain((row for row in older if row.start >= first), (r for r in found if r.start >= end)))
            begin = older[0].start
    return [row for row in found if row.start < last]

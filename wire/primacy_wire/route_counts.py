"""Counts of what was routed, by client region, target region, traffic class, strategy and outcome. Pure.

Agents count picks, and what data planes and clients say that they sent; the coordinator counts its own picks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import RouteCount

KINDS_MAX = 500
"""Of counts; labels beyond that are counted under `other`, so that a report stays small whatever clients say."""
OTHER = "other"
OUTCOMES = ("ok", "error", "dropped", "no_weight", "not_active")
"""Served or picked; failed; shed by a data plane before it was sent; nowhere to go; a write with no active region."""
RATE_NS = 60 * SECOND_NS
"""Rates are over the last minute, or over the counter's life while that is shorter."""
MARK_NS = 10 * SECOND_NS
"""How finely the minute moves on."""

_Key = tuple[str, str, int, int, str]


@dataclass(slots=True)
class _Batch:
    """Requests that are counted little by little."""

    total: int
    since_ns: int
    until_ns: int
    counted: int = 0

    def due(self, now_ns: int) -> int:
        """How many more are to be counted now."""
        if now_ns >= self.until_ns:
            return self.total - self.counted
        return max(0, self.total * (now_ns - self.since_ns) // (self.until_ns - self.since_ns) - self.counted)


class RouteCounter:
    """Counts of one life of a process; they only grow."""

    def __init__(self, now_ns: int) -> None:
        self._counts: dict[_Key, int] = {}
        self._report: tuple[RouteCount, ...] | None = ()
        self._batches: dict[_Key, _Batch] = {}
        self._marks: deque[tuple[int, dict[_Key, int]]] = deque([(now_ns, {})])
        """(when, the counts then), the oldest first."""

    def add(
        self,
        client_region: str,
        target_region: str,
        traffic_class: int,
        strategy: int,
        outcome: str,
        count: int = 1,
    ) -> None:
        """Count picks."""
        key = (client_region, target_region, traffic_class, strategy, outcome)
        if key not in self._counts and len(self._counts) >= KINDS_MAX:
            key = (OTHER, OTHER if target_region else "", traffic_class, strategy, outcome)
        self._counts[key] = self._counts.get(key, 0) + count
        self._report = None

    def add_batch(
        self,
        client_region: str,
        target_region: str,
        traffic_class: int,
        strategy: int,
        outcome: str,
        count: int,
        now_ns: int,
        length_ns: int,
    ) -> None:
        """Count what was sent in the last `length_ns`, as evenly as it was: over as much time to come.

        Whoever tells of seconds at once tells of no surge, and rates are taken over less than that.
        """
        self._count_batches(now_ns)
        key = (client_region, target_region, traffic_class, strategy, outcome)
        known = self._batches.get(key)
        if length_ns <= 0 or (known is None and len(self._batches) >= KINDS_MAX):
            self.add(*key, count)
            return
        left = known.total - known.counted if known is not None else 0
        self._batches[key] = _Batch(left + count, now_ns, now_ns + length_ns)

    def _count_batches(self, now_ns: int) -> None:
        for key, batch in list(self._batches.items()):
            if due := batch.due(now_ns):
                batch.counted += due
                self.add(*key, due)
            if batch.counted >= batch.total:
                del self._batches[key]

    def counts(self, now_ns: int) -> tuple[RouteCount, ...]:
        """All counts, sorted; the same tuple as long as nothing was counted and the minute has not moved on."""
        self._count_batches(now_ns)
        self._move_on(now_ns)
        if self._report is None:
            since_ns, before = self._marks[0]
            seconds = max(now_ns - since_ns, SECOND_NS) / SECOND_NS
            self._report = tuple(
                RouteCount(*key, count, (count - before.get(key, 0)) / seconds)
                for key, count in sorted(self._counts.items())
            )
        return self._report

    def _move_on(self, now_ns: int) -> None:
        if now_ns - self._marks[-1][0] < MARK_NS:
            return
        self._marks.append((now_ns, dict(self._counts)))
        while now_ns - self._marks[1][0] >= RATE_NS:
            self._marks.popleft()
        self._report = None

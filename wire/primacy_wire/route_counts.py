"""Counts of what was routed, by client region, target region, traffic class, strategy and outcome. Pure.

Agents count picks, and what data planes and clients say that they sent; the coordinator counts its own picks.
"""

from __future__ import annotations

from collections import deque

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


class RouteCounter:
    """Counts of one life of a process; they only grow."""

    def __init__(self, now_ns: int) -> None:
        self._counts: dict[_Key, int] = {}
        self._report: tuple[RouteCount, ...] | None = ()
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

    def counts(self, now_ns: int) -> tuple[RouteCount, ...]:
        """All counts, sorted; the same tuple as long as nothing was counted and the minute has not moved on."""
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

"""Counts of what was routed, by client region, target region, traffic class, strategy and outcome."""

from __future__ import annotations

from primacy_wire.messages import RouteCount

KINDS_MAX = 500
"""Of counts; labels beyond that are counted under `other`, so that a report stays small whatever clients say."""
OTHER = "other"

_Key = tuple[str, str, int, int, str]


class RouteCounter:
    """Counts of this life of the agent; they only grow."""

    def __init__(self) -> None:
        self._counts: dict[_Key, int] = {}
        self._report: tuple[RouteCount, ...] | None = ()

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
            key = (OTHER, target_region, traffic_class, strategy, outcome)
        self._counts[key] = self._counts.get(key, 0) + count
        self._report = None

    def counts(self) -> tuple[RouteCount, ...]:
        """All counts, sorted; the same tuple as long as nothing was counted."""
        if self._report is None:
            self._report = tuple(RouteCount(*key, count) for key, count in sorted(self._counts.items()))
        return self._report

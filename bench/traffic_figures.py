"""What a run under one balancer came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.traffic_policies import Shares
from bench.traffic_world import STEP_S, TIMEOUT_S

MOVED = 0.001
"""A smaller change of a share is none: weights are quantised to it."""
SETTLED = 0.02
"""A share that moves by less in a second stands still: the policy's default hysteresis."""
QUIET_S = 20.0
"""So long must nothing move for weights to have settled."""
BUCKET_S = 0.0005


@dataclass(frozen=True, slots=True)
class Figures:
    """One balancer in one scenario."""

    overload_s: float
    """Seconds in which a region that serves is asked for more than it can, summed over regions."""
    p99_ms: float
    """Over all requests; one that is not served counts as long as its client waits."""
    unserved: float
    """Requests that were shed or lost, in percent."""
    changes: float
    """Seconds of a minute in which some share changed."""
    settle_s: float
    """From an event to the first `QUIET_S` in which no share moves by `SETTLED`, at most to the next; the mean."""
    to_and_fro: float
    """What was moved only to be moved back, in percent of a client region's requests, per event."""


@dataclass(slots=True)
class Tally:
    """Adds up. Times in seconds."""

    events_s: tuple[float, ...]
    """When things happen, from the first on; figures of moving are kept from one to the next."""
    overload_s: float = 0.0
    offered: float = 0.0
    unserved: float = 0.0
    _latencies: dict[int, float] = field(default_factory=dict)
    _matrix: dict[tuple[str, str], float] = field(default_factory=dict)
    _seconds: int = 0
    _changed: int = 0
    _last_moved_s: dict[float, float] = field(default_factory=dict)
    _ways: dict[tuple[float, str, str], tuple[float, float]] = field(default_factory=dict)
    """(event, client, region) -> (the way that the share went, where it got to from where it was)."""

    def take(self, requests: float, latency_s: float, unserved: float) -> None:
        """A parcel of requests; `unserved`: the share of them that nobody served."""
        self.offered += requests
        self.unserved += requests * unserved
        bucket = round(min(latency_s, TIMEOUT_S) / BUCKET_S)
        self._latencies[bucket] = self._latencies.get(bucket, 0.0) + requests * (1 - unserved)

    def take_overload(self) -> None:
        self.overload_s += STEP_S

    def take_rows(self, now_s: float, rows: Mapping[str, Shares], names: list[str]) -> None:
        """The rows in force, once a second."""
        matrix = {(client, name): row.get(name, 0.0) for client, row in rows.items() for name in names}
        before, self._matrix = self._matrix, matrix
        if not before:
            return
        self._seconds += 1
        event_s = max((at_s for at_s in self.events_s if at_s < now_s), default=self.events_s[0])
        furthest = 0.0
        for (client, name), share in matrix.items():
            step = share - before.get((client, name), share)
            if step:
                furthest = max(furthest, abs(step))
                way, gone = self._ways.get((event_s, client, name), (0.0, 0.0))
                self._ways[event_s, client, name] = way + abs(step), gone + step
        self._changed += furthest >= MOVED
        last_s = self._last_moved_s.get(event_s, event_s)
        if furthest >= SETTLED - 1e-9 and event_s < now_s <= last_s + QUIET_S:
            self._last_moved_s[event_s] = now_s

    def figures(self, clients: int) -> Figures:
        events = len(self.events_s)
        settle_s = sum(self._last_moved_s.get(at_s, at_s) - at_s for at_s in self.events_s) / events
        # What leaves one region comes to another: each move counts in two shares.
        vain = sum(way - abs(gone) for way, gone in self._ways.values()) / 2
        return Figures(
            self.overload_s,
            self._percentile_s(0.99) * 1000,
            100 * self.unserved / self.offered if self.offered else 0.0,
            60 * self._changed / max(1, self._seconds),
            settle_s,
            100 * vain / clients / events,
        )

    def _percentile_s(self, share: float) -> float:
        left = share * self.offered
        for bucket, count in sorted(self._latencies.items()):
            left -= count
            if left <= 0:
                return bucket * BUCKET_S
        return TIMEOUT_S

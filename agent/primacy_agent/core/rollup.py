"""What this agent measures, rolled up into one snapshot for each window of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from primacy_wire.instant import SECOND_NS, Now
from primacy_wire.log_messages import MetricsSnapshot
from primacy_wire.messages import RouteCount
from primacy_wire.route_counts import OTHER
from primacy_wire.sketch import SERIES_MAX, Sketch, can_measure, fitting

WINDOW_NS = 10 * SECOND_NS
NAME_LENGTH_MAX = 256
BY_REQUEST = ("latency_seconds", "error_rate")
"""Means over requests: each counts as often as there were requests, so that a busy region weighs more than an idle one
when they are merged."""
SAMPLED_NS_MAX = 2 * SECOND_NS
"""A sample speaks for no longer than so, however long ago the last one was."""
DROPPED_MAX = 2**62
REQUESTS_MAX = 2**36
"""In one sample."""
WRITE = 2
"""Number of `primacy.v1.TrafficClass`."""
ROUTED_KINDS_MAX = 60
"""Series of routed requests: what comes later is `other`, so that they leave room for the service's own."""


class Rollup:
    """Collects values, and closes a window when its time has come."""

    def __init__(self, region: str, agent: str, incarnation: str, now: Now, window_ns: int = WINDOW_NS) -> None:
        self._region = region
        self._agent = agent
        self._incarnation = incarnation
        self._window_ns = window_ns
        self._began_ns = now.mono_ns
        self._sampled_ns = now.mono_ns
        self._requests = 0.0
        """Requests that no sample has counted yet: less than one."""
        self._version = 0
        self._series: dict[str, Sketch] = {}
        self.dropped = 0
        """Values that were left out: of series beyond the most that are kept, or too long to be shared."""

    def sample(self, now: Now, readings: Mapping[str, float]) -> None:
        """What was read of the service just now, by name (see `mapping.GAUGES`)."""
        length_ns = min(max(0, now.mono_ns - self._sampled_ns), SAMPLED_NS_MAX)
        self._sampled_ns = now.mono_ns
        count = 1
        rate = readings.get("request_rate")
        if rate is not None and can_measure(rate):
            requests = min(self._requests + max(rate, 0.0) * length_ns / SECOND_NS, REQUESTS_MAX)
            count = int(requests)
            self._requests = requests - count
        for name, value in readings.items():
            self.observe(name, value, count if name in BY_REQUEST else 1)

    def observe(self, name: str, value: float, count: int = 1) -> None:
        """One value, so many times; what is no number was not measured."""
        if not can_measure(value) or count <= 0:
            return
        sketch = self._series.get(name)
        if sketch is None:
            if len(self._series) >= SERIES_MAX or not 0 < len(name) <= NAME_LENGTH_MAX:
                self.dropped += count
                return
            sketch = self._series[name] = Sketch()
        sketch.add(value, count)

    def close(self, now: Now) -> MetricsSnapshot | None:
        """The snapshot of the window, if it has ended and anything was measured in it."""
        length_ns = now.mono_ns - self._began_ns
        if length_ns < self._window_ns:
            return None
        self._began_ns = now.mono_ns
        measured, self._series = self._series, {}
        series = fitting(sketch.to_series(name) for name, sketch in sorted(measured.items()))
        self.dropped += sum(sketch.count for sketch in measured.values()) - sum(one.count for one in series)
        if not series:
            return None
        self._version += 1
        return MetricsSnapshot(
            self._region,
            self._agent,
            self._incarnation,
            self._version,
            length_ns,
            now.wall_ns,
            series,
            min(self.dropped, DROPPED_MAX),
        )


class RoutedRates:
    """From counts that only grow to requests per second, by series: `routed_rate{target="eu",class="read",…}`."""

    def __init__(self, now: Now) -> None:
        self._before: dict[str, int] = {}
        self._sampled_ns = now.mono_ns

    def sample(self, now: Now, counts: Iterable[RouteCount]) -> dict[str, float]:
        """By series, what was routed since the last sample; also those of which nothing was."""
        sums: dict[str, int] = {}
        for count in counts:
            name = _series(count.target_region, count.traffic_class, count.outcome)
            if name not in sums and len(sums) >= ROUTED_KINDS_MAX:
                name = _series(OTHER, count.traffic_class, count.outcome)
            sums[name] = sums.get(name, 0) + count.count
        seconds = max(now.mono_ns - self._sampled_ns, 1) / SECOND_NS
        # Of a kind that became another's, because a new one came before it, nothing is said this once.
        rates = {name: max(0, total - self._before.get(name, 0)) / seconds for name, total in sums.items()}
        self._before, self._sampled_ns = sums, now.mono_ns
        return rates


def _series(target: str, traffic_class: int, outcome: str) -> str:
    kind = "write" if traffic_class == WRITE else "read"
    return f'routed_rate{{class="{kind}",outcome="{outcome}",target="{target}"}}'

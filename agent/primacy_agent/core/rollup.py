"""What this agent measures, rolled up into one snapshot for each window of time."""

from __future__ import annotations

import math

from primacy_wire.instant import SECOND_NS, Now
from primacy_wire.log_messages import MetricsSnapshot
from primacy_wire.sketch import Sketch

WINDOW_NS = 10 * SECOND_NS
SERIES_MAX = 200
"""Names beyond that are counted and dropped: what is shared with every agent must stay small."""


class Rollup:
    """Collects values, and closes a window when its time has come."""

    def __init__(self, region: str, agent: str, incarnation: str, now: Now, window_ns: int = WINDOW_NS) -> None:
        self._region = region
        self._agent = agent
        self._incarnation = incarnation
        self._window_ns = window_ns
        self._began_ns = now.mono_ns
        self._version = 0
        self._series: dict[str, Sketch] = {}
        self.dropped = 0
        """Values of series beyond the most that are kept."""

    def observe(self, name: str, value: float) -> None:
        """One value; what is no number was not measured."""
        if not math.isfinite(value):
            return
        sketch = self._series.get(name)
        if sketch is None:
            if len(self._series) >= SERIES_MAX:
                self.dropped += 1
                return
            sketch = self._series[name] = Sketch()
        sketch.add(value)

    def close(self, now: Now) -> MetricsSnapshot | None:
        """The snapshot of the window, if it has ended and anything was measured in it."""
        length_ns = now.mono_ns - self._began_ns
        if length_ns < self._window_ns:
            return None
        self._began_ns = now.mono_ns
        series, self._series = self._series, {}
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
            tuple(sketch.to_series(name) for name, sketch in sorted(series.items())),
        )

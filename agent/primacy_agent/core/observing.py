"""Figures over time: smoothed round trips, and rates from counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Load, PeerSight

RTT_GAIN = 0.25
"""Weight of a new round trip in the smoothed one; RFC 6298 takes an eighth for every segment, we look less often."""
AGE_NS_MAX = 60 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Sight:
    """What was last seen of one target (`agent` empty: a region's endpoint)."""

    region: str
    agent: str
    address: str
    reachable: bool
    rtt_ns: int
    """Smoothed; -1 until reached once."""
    looked_ns: int

    def after(self, reachable: bool, rtt_ns: int, now_ns: int) -> Sight:
        """After one more look; `rtt_ns` counts only when it was reached."""
        smoothed = self.rtt_ns
        if reachable:
            smoothed = rtt_ns if smoothed < 0 else round(smoothed + RTT_GAIN * (rtt_ns - smoothed))
        return Sight(self.region, self.agent, self.address, reachable, smoothed, now_ns)

    def report(self, now_ns: int) -> PeerSight:
        """As it goes into a report."""
        return PeerSight(self.region, self.agent, self.reachable, self.rtt_ns, max(0, now_ns - self.looked_ns))


@dataclass(frozen=True, slots=True)
class Sample:
    """Counters and gauges of a service at one instant; names as in `Figures`."""

    at_ns: int
    values: Mapping[str, float]


def load_between(before: Sample | None, after: Sample) -> Load:
    """The load from two samples: `requests`, `errors`, `seconds_sum`, `seconds_count` count up, the rest are gauges.

    A counter that went back belongs to a restarted service: its rate is not known for this once.
    """
    values = after.values
    utilisation = values.get("utilisation", -1.0)
    capacity = values.get("capacity", -1.0)
    rate, errors, latency_ns = -1.0, -1.0, -1
    if before is not None and after.at_ns > before.at_ns:
        seconds = (after.at_ns - before.at_ns) / SECOND_NS
        requests = _grown(before, after, "requests")
        failed = _grown(before, after, "errors")
        if requests is not None:
            rate = requests / seconds
            if failed is not None:
                errors = min(1.0, failed / requests) if requests > 0 else 0.0
        spent, count = _grown(before, after, "seconds_sum"), _grown(before, after, "seconds_count")
        if spent is not None and count:
            latency_ns = round(spent / count * SECOND_NS)
    return Load(rate, errors, latency_ns, max(-1.0, utilisation), max(-1.0, capacity))


def _grown(before: Sample, after: Sample, name: str) -> float | None:
    if name not in before.values or name not in after.values:
        return None
    grown = after.values[name] - before.values[name]
    return grown if grown >= 0 else None

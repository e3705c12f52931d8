"""Figures over time: smoothed round trips, and rates from counters."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Load, PeerSight

RTT_GAIN = 0.25
"""Weight of a new round trip in the smoothed one; RFC 6298 takes an eighth for every segment, we look less often."""
WINDOW_NS = SECOND_NS
"""Rates are taken over at least so long, once samples reach back that far."""
SAMPLES_MAX = 256


@dataclass(frozen=True, slots=True)
class Sight:
    """What was last seen of one target (`agent` empty: a region's endpoint)."""

    region: str
    agent: str
    address: str
    reachable: bool = False
    rtt_ns: int = -1
    """Smoothed; -1 until reached once."""
    looked_ns: int = 0
    """When the last look ended; 0: never looked."""
    misses: int = 0
    """Looks in a row that did not reach it."""
    serving: bool = True
    """False: the agent answered, and says that its instances are down."""

    def after(self, reachable: bool, rtt_ns: int, now_ns: int, serving: bool = True) -> Sight:
        """After one more look; `rtt_ns` and `serving` count only when it was reached."""
        smoothed = self.rtt_ns
        if reachable:
            smoothed = rtt_ns if smoothed < 0 else round(smoothed + RTT_GAIN * (rtt_ns - smoothed))
        return Sight(
            self.region,
            self.agent,
            self.address,
            reachable,
            smoothed,
            now_ns,
            0 if reachable else self.misses + 1,
            serving if reachable else True,
        )

    def report(self, now_ns: int) -> PeerSight:
        """As it goes into a report."""
        return PeerSight(self.region, self.agent, self.reachable, self.rtt_ns, max(0, now_ns - self.looked_ns))


@dataclass(frozen=True, slots=True)
class Sample:
    """Counters and gauges of a service at one instant; the names are those of `load_between`."""

    at_ns: int
    values: Mapping[str, float]


class LoadWindow:
    """The newest samples of one service, as far back as rates need them."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=SAMPLES_MAX)

    def after(self, sample: Sample) -> Load:
        """The load with one more sample, over the shortest span of `WINDOW_NS` or more (at first: what there is)."""
        if self._samples and _restarted(self._samples[-1], sample):
            self._samples.clear()
        while len(self._samples) > 1 and sample.at_ns - self._samples[1].at_ns >= WINDOW_NS:
            self._samples.popleft()
        load = load_between(self._samples[0] if self._samples else None, sample)
        self._samples.append(sample)
        return load

    def forget(self) -> None:
        """The next sample is the first."""
        self._samples.clear()


def load_between(before: Sample | None, after: Sample) -> Load:
    """The load from two samples: `requests`, `errors`, `seconds_sum`, `seconds_count` count up, the rest are gauges.

    What a sample does not say, or what counted backwards, is not known (negative).
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
    return Load(rate, errors, latency_ns, _known(utilisation), _known(capacity))


def _known(value: float) -> float:
    return value if value >= 0 else -1.0


def _restarted(before: Sample, after: Sample) -> bool:
    """Whether a counter went back: then it belongs to another life of the service."""
    counters = ("requests", "errors", "seconds_sum", "seconds_count")
    return any(after.values.get(name, 0.0) < before.values.get(name, 0.0) for name in counters if name in after.values)


def _grown(before: Sample, after: Sample, name: str) -> float | None:
    if name not in before.values or name not in after.values:
        return None
    grown = after.values[name] - before.values[name]
    return grown if grown >= 0 else None

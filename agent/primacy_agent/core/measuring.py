"""Readings of a service: rates from counters, gauges as they are, and the sum over instances."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Lag, Load

from primacy_agent.core.mapping import COUNTERS, KNOWN, Mapped

WINDOW_NS = SECOND_NS
"""Rates are taken over at least so long, once samples reach back that far."""
SAMPLES_MAX = 256
INT_MAX = 2**62
"""Integers in a report are never larger; on the wire they have 63 bits."""
MADE_FROM = {
    "request_rate": ("requests",),
    "error_rate": ("requests", "errors"),
    "latency_seconds": ("seconds_sum", "seconds_count"),
}
"""Readings that come from the growth of counters."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The mapped numbers of a service at one instant, by key."""

    at_ns: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Readings:
    """What is known now, by name: the gauges of `mapping.GAUGES`, and the operator's own names."""

    values: Mapping[str, float] = field(default_factory=dict)
    pending: frozenset[str] = frozenset()
    """Rates that need one more look before anything can be said."""

    def load(self) -> Load:
        """How busy the service is; negative where that is not known."""
        read = self.values.get
        latency_s = read("latency_seconds", -1.0)
        return Load(
            read("request_rate", -1.0),
            read("error_rate", -1.0),
            _whole(latency_s * SECOND_NS) if latency_s >= 0 else -1,
            read("utilisation", -1.0),
            read("capacity", -1.0),
            read("in_flight", -1.0),
        )

    def keeping(self, before: Readings) -> Readings:
        """With the capacity that was read before, where this look read none.

        It is what instances can serve when they are well: how many of them are is told beside it, and whoever reads
        both would count the loss twice if the capacity went with them.
        """
        known = before.values.get("capacity")
        if known is None or "capacity" in self.values:
            return self
        return Readings({**self.values, "capacity": known}, self.pending)

    def lag(self) -> Lag:
        """How far the data lags; negative where that is not known."""
        read = self.values.get
        age_s = read("lag_seconds", -1.0)
        return Lag(
            _whole(age_s * SECOND_NS) if age_s >= 0 else -1,
            _whole(read("lag_entries", -1.0)),
            _whole(read("lag_bytes", -1.0)),
        )

    def own(self) -> list[tuple[str, float]]:
        """The readings under the operator's own names, sorted."""
        return sorted((name, value) for name, value in self.values.items() if name not in KNOWN)


NOTHING = Readings()


def _whole(value: float) -> int:
    return INT_MAX if value >= INT_MAX else math.ceil(value)


class Window:
    """The newest samples of one probe, as far back as rates need them."""

    def __init__(self, mapped: Sequence[Mapped]) -> None:
        self._counters = tuple(each.key for each in mapped if each.counter)
        self._samples: deque[Sample] = deque(maxlen=SAMPLES_MAX)

    def after(self, sample: Sample) -> Readings:
        """The readings with one more sample; rates are over the shortest span of `WINDOW_NS` or more (at first: what
        there is). A counter that went back belongs to another life of the service, and begins anew.
        """
        if self._samples and _restarted(self._samples[-1], sample, self._counters):
            self._samples.clear()
        while len(self._samples) > 1 and sample.at_ns - self._samples[1].at_ns >= WINDOW_NS:
            self._samples.popleft()
        readings = readings_between(self._samples[0] if self._samples else None, sample, self._counters)
        self._samples.append(sample)
        return readings

    def forget(self) -> None:
        """The next sample is the first."""
        self._samples.clear()


def readings_between(before: Sample | None, after: Sample, counters: Sequence[str]) -> Readings:
    """The readings from two samples. What a sample does not say is not known."""
    values = {key: value for key, value in after.values.items() if key not in counters}
    if before is None or after.at_ns <= before.at_ns:
        made = {name for name, parts in MADE_FROM.items() if set(parts) <= set(counters)}
        return Readings(values, frozenset(made | {key for key in counters if key not in COUNTERS}))
    seconds = (after.at_ns - before.at_ns) / SECOND_NS
    both = [key for key in counters if key in before.values and key in after.values]
    grown = {key: after.values[key] - before.values[key] for key in both if after.values[key] >= before.values[key]}
    made_values = {key: growth / seconds for key, growth in grown.items() if key not in COUNTERS}
    requests, failed = grown.get("requests"), grown.get("errors")
    if requests is not None:
        made_values["request_rate"] = requests / seconds
        if failed is not None:
            made_values["error_rate"] = min(1.0, failed / requests) if requests > 0 else 0.0
    spent, count = grown.get("seconds_sum"), grown.get("seconds_count")
    if spent is not None and count:
        made_values["latency_seconds"] = spent / count
    return Readings(values | {key: value for key, value in made_values.items() if math.isfinite(value)})


def _restarted(before: Sample, after: Sample, counters: Sequence[str]) -> bool:
    return any(key in after.values and after.values[key] < before.values.get(key, 0.0) for key in counters)


# ---- one condition


@dataclass(frozen=True, slots=True)
class Condition:
    """A reading must lie between these bounds; None: no bound."""

    reading: str
    below: float | None = None
    above: float | None = None

    def judge(self, readings: Readings) -> tuple[bool | None, str]:
        """(whether it holds, why not). None: nothing can be said before the next look.

        A mean over no requests is unknown and speaks against nobody: an idle region is not ill.
        """
        value = readings.values.get(self.reading)
        if value is None:
            if self.reading in readings.pending:
                return None, f"{self.reading} is known after the next look"
            return True, ""
        if self.below is not None and not value < self.below:
            return False, f"{self.reading} is {value:.3g}, not below {self.below:g}"
        if self.above is not None and not value > self.above:
            return False, f"{self.reading} is {value:.3g}, not above {self.above:g}"
        return True, ""


# ---- over all instances


def together(each: Iterable[Readings]) -> Readings:
    """What the instances of an agent do together, as far as they are known.

    Rates, capacities and requests in work add up; shares and times are means, weighted by what they are a share of;
    data lags as much as at the instance that is farthest behind. The operator's own names are left out: they stay
    with their probes.
    """
    all_values = [readings.values for readings in each]
    found: dict[str, float] = {}
    for name in ("request_rate", "capacity", "in_flight"):
        _put(found, name, all_values, sum)
    for name in ("lag_seconds", "lag_entries", "lag_bytes"):
        _put(found, name, all_values, max)
    for name, weight in (
        ("error_rate", "request_rate"),
        ("latency_seconds", "request_rate"),
        ("utilisation", "capacity"),
    ):
        having = [values for values in all_values if name in values]
        weights = [values.get(weight, 0.0) for values in having]
        if not all(weight in values for values in having) or not 0 < sum(weights) < math.inf:
            weights = [1.0] * len(having)
        if having:
            total = sum(weights)
            found[name] = sum(values[name] * (part / total) for values, part in zip(having, weights, strict=True))
    return Readings({name: value for name, value in found.items() if math.isfinite(value)})


def _put(
    found: dict[str, float],
    name: str,
    all_values: Sequence[Mapping[str, float]],
    combine: Callable[[list[float]], float],
) -> None:
    having = [values[name] for values in all_values if name in values]
    if having:
        found[name] = combine(having)

"""From the samples of a metrics page to the few numbers that an agent wants."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from primacy_agent.core.selectors import Selector

COUNTERS = ("requests", "errors", "seconds_sum", "seconds_count")
"""Count up since the service's start: requests, those that failed, the seconds that they took, and how many that were.
Rates are made of them."""
GAUGES = (
    "request_rate",
    "error_rate",
    "latency_seconds",
    "utilisation",
    "capacity",
    "in_flight",
    "lag_seconds",
    "lag_entries",
    "lag_bytes",
)
"""Taken as they are: requests per second, failed share, mean time of a request, share of the capacity in use, requests
per second that can be served, requests in work, and how far the data lags."""
KNOWN = (*COUNTERS, *GAUGES)
SKEW_S = 1.0
"""A lag is the difference of two machines' clocks, and may come out so much below zero: that is none."""


class Combine(Enum):
    """What samples of one series with different labels make together."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"
    MEAN = "mean"


class Missing(Enum):
    """What it means when a page has no such sample, or one that is not a number."""

    FAIL = "fail"
    """The look failed."""
    SKIP = "skip"
    """It is not known, and that is no failure."""
    ZERO = "zero"
    """None were counted yet: many libraries show a counter with labels only after its first increase."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """One wanted number."""

    key: str
    """One of `KNOWN`, or a name of the operator's own."""
    selector: Selector
    scale: float = 1.0
    """What a sample is multiplied by: 0.001 makes seconds of milliseconds."""
    combine: Combine = Combine.SUM
    missing: Missing = Missing.FAIL
    counter: bool = False
    """It counts up: what is wanted is its growth per second."""


class Unusable(Exception):
    """A page does not give what was asked of it. The message says which series, and why."""


PageSample = tuple[str, Mapping[str, str], float]
"""(name, labels, value)."""


def usual_combine(key: str) -> Combine:
    """Instances work together, but data lags as much as at the one that is farthest behind."""
    if key.startswith("lag_"):
        return Combine.MAX
    return Combine.MEAN if key in ("utilisation", "error_rate", "latency_seconds") else Combine.SUM


def pick(samples: Iterable[PageSample], wanted: Sequence[Mapped]) -> dict[str, float]:
    """The wanted numbers by key. Raises Unusable."""
    found: dict[str, list[float]] = {mapped.key: [] for mapped in wanted}
    for name, labels, value in samples:
        for mapped in wanted:
            if mapped.selector.fits(name, labels):
                if math.isfinite(value):
                    found[mapped.key].append(value)
                elif mapped.missing is not Missing.SKIP:
                    raise Unusable(f"{name} is {value:g}, which is no number for {mapped.key}")
    values = {}
    for mapped in wanted:
        each = found[mapped.key]
        if each:
            values[mapped.key] = _checked(mapped, _combined(each, mapped.combine) * mapped.scale)
        elif mapped.missing is Missing.ZERO:
            values[mapped.key] = 0.0
        elif mapped.missing is Missing.FAIL:
            with_labels = " with these labels" if mapped.selector.matchers else ""
            raise Unusable(f"there is no series {mapped.selector.name}{with_labels} for {mapped.key}")
    return values


def _combined(values: list[float], combine: Combine) -> float:
    match combine:
        case Combine.SUM:
            return sum(values)
        case Combine.MAX:
            return max(values)
        case Combine.MIN:
            return min(values)
        case Combine.MEAN:
            return sum(values) / len(values)


def _checked(mapped: Mapped, value: float) -> float:
    if not math.isfinite(value):
        raise Unusable(f"{mapped.key} is too large for a number")
    if mapped.key not in KNOWN and not mapped.counter:
        return value
    if mapped.key == "lag_seconds" and -SKEW_S < value < 0:
        return 0.0
    if value < 0:
        raise Unusable(f"{mapped.key} is {value:g}: must be 0 or more")
    if mapped.key == "error_rate" and value > 1:
        raise Unusable(f"error_rate is {value:g}: must be from 0 to 1 (a percentage needs `scale: 0.01`)")
    return value

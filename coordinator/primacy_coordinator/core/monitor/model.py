"""The nouns of monitoring that an operator writes down: objectives and alert rules. Frozen values, part of the policy.

Enum numbers are those of `primacy.v1`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from primacy_wire.instant import SECOND_NS

from primacy_coordinator.core.severity import Severity

MINUTE_NS = 60 * SECOND_NS
DAY_NS = 86_400 * SECOND_NS


class Aggregation(IntEnum):
    """How the values of a step become one."""

    AVERAGE = 1
    MINIMUM = 2
    MAXIMUM = 3
    SUM = 4
    """Over regions, of their means."""
    LAST = 5
    COUNT = 6
    QUANTILE = 7
    """Of a distribution: from merged sketches."""


class SloIndicator(IntEnum):
    """What an objective counts as good."""

    AVAILABILITY = 1
    """Time in which the region serves, or the group has an active region."""
    SUCCESS = 2
    """Requests that do not fail."""
    LATENCY = 3
    """Requests that take no longer than the threshold."""


@dataclass(frozen=True, slots=True)
class Slo:
    """What is promised to users."""

    name: str
    indicator: SloIndicator
    objective: float
    """The share that should be good, above 0 and below 1."""
    window_ns: int = 30 * DAY_NS
    threshold_ns: int = 0
    """For LATENCY: the longest good request."""
    per_region: bool = False
    """Each region is judged by itself, too."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Holds while a figure is beyond a bound."""

    series: str
    above: float | None = None
    below: float | None = None
    """Exactly one of the two is set."""
    aggregation: Aggregation | None = None
    """None: as suits the series."""
    quantile: float = 0.99
    window_ns: int = MINUTE_NS
    all_regions: bool = False
    """One figure for all regions together (`global`)."""


@dataclass(frozen=True, slots=True)
class Absence:
    """Holds while nothing is heard of a series."""

    series: str
    after_ns: int = MINUTE_NS


@dataclass(frozen=True, slots=True)
class BurnRate:
    """Holds while an error budget burns faster than `factor`, over both windows."""

    slo: str
    factor: float
    long_ns: int
    short_ns: int


@dataclass(frozen=True, slots=True)
class AlertRule:
    """When to alert. At most one condition is set; without any, it changes the built-in rule of that name."""

    name: str
    threshold: Threshold | None = None
    absence: Absence | None = None
    burn_rate: BurnRate | None = None
    for_ns: int = -1
    """It must have held for so long; negative: not given."""
    severity: Severity | None = None
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    disabled: bool = False

"""How regions, and the group as one, did in a window of time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median_high

from primacy_coordinator.core.model import FailoverKind, FailoverRecord, FailoverState
from primacy_coordinator.core.monitor.packing import PackedRow, Summed, Unpacked
from primacy_coordinator.core.monitor.ring import cover
from primacy_coordinator.core.monitor.rows import FineRow, Row
from primacy_coordinator.core.monitor.series import Key
from primacy_coordinator.core.monitor.tiers import HOUR_S, Tiers

QUANTILES = (0.5, 0.9, 0.99, 0.999)
TENS_S_MAX = HOUR_S
"""A window no longer than this is read in steps of 10 s,"""
MINUTES_S_MAX = 6 * HOUR_S
"""one no longer than this in minutes, and longer ones in hours."""


@dataclass(frozen=True, slots=True)
class Performance:
    """One window. None: not measured."""

    availability: float | None = None
    error_rate: float | None = None
    throughput: float | None = None
    saturation: float | None = None
    saturation_max: float | None = None
    latencies_s: tuple[float, ...] | None = None
    """At `QUANTILES`."""
    lag_max_s: float | None = None


@dataclass(frozen=True, slots=True)
class FailoverFigures:
    failovers: int = 0
    """Automatic and forced ones."""
    switchovers: int = 0
    """Planned ones, failbacks among them."""
    longest_ns: int | None = None
    median_ns: int | None = None
    active_share: float | None = None


@dataclass(slots=True)
class _Gauge:
    """One gauge of one region over the window."""

    total: float = 0.0
    count: int = 0
    high: float = -math.inf

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None


GAUGES = ("active", "serving", "request_rate", "failed_rate", "used", "capacity", "utilisation", "lag_seconds")


class Window:
    """What was measured between two instants of the axis. It refers to nothing that changes: any thread may read it."""

    def __init__(self, tiers: Tiers, first: int, last: int, regions: Sequence[str]) -> None:
        born = tiers.slots.born
        keys = [Key(name, region) for name in (*GAUGES, "latency_seconds") for region in regions]
        self._slots = {key: (slot, born[slot]) for key in keys if (slot := tiers.slots.find(key)) is not None}
        self._pairs = [(key, slot, born[slot]) for key, slot in sorted(tiers.slots.named("rtt_seconds"))]
        oldest_s = max(last - first, tiers.second - first)
        base = 1 + (oldest_s > TENS_S_MAX) + (oldest_s > MINUTES_S_MAX)
        self._rows: Sequence[FineRow | Row] = cover(tiers.gauge_rings, base, first, last)
        self._packed: Sequence[PackedRow] = cover(tiers.sketch_rings, base - 1, first, last)
        self._short: Sequence[FineRow | Row] = cover(tiers.gauge_rings[:3], min(base, 2), first, last)
        """Of pairs of regions hours are not kept."""

    def of(self, regions: Sequence[str], whole: bool) -> Performance:
        """Of one region, or of several as one (`whole`)."""
        served = "active" if whole else "serving"
        gauges = {
            name: self._gauges(name, regions)
            for name in (served, "request_rate", "failed_rate", "used", "capacity", "utilisation", "lag_seconds")
        }
        utilisation = _known(gauges["utilisation"])
        saturation = _ratio(gauges["used"], gauges["capacity"])
        error_rate = _ratio(gauges["failed_rate"], gauges["request_rate"])
        return Performance(
            availability=_share(gauges[served]) if whole else _mean(_known(gauges[served])),
            error_rate=None if error_rate is None else min(1.0, error_rate),
            throughput=_sum(gauges["request_rate"]),
            saturation=saturation if saturation is not None else _mean(utilisation),
            saturation_max=_high(utilisation),
            latencies_s=self._latencies(regions),
            lag_max_s=_high(_known(gauges["lag_seconds"])),
        )

    def round_trips(self) -> tuple[tuple[str, str, float], ...]:
        """(from region, to region, mean in seconds), sorted."""
        found = []
        for key, slot, born in self._pairs:
            mean = self._gauge(self._short, slot, born).mean
            if mean is not None:
                found.append((key.region, key.target, mean))
        return tuple(found)

    def active_share(self, regions: Sequence[str]) -> float | None:
        return _share(self._gauges("active", regions))

    def _gauges(self, name: str, regions: Sequence[str]) -> list[_Gauge]:
        """One for each region, in their order."""
        slots = [self._slots.get(Key(name, region)) for region in regions]
        return [self._gauge(self._rows, *slot) if slot is not None else _Gauge() for slot in slots]

    def _gauge(self, rows: Sequence[FineRow | Row], slot: int, born: int) -> _Gauge:
        found = _Gauge()
        for row in rows:
            if row.end > born and (stat := row.stat(slot)) is not None:
                found.total += stat.mean * stat.samples
                found.count += stat.samples
                found.high = max(found.high, stat.high)
        return found

    def _latencies(self, regions: Sequence[str]) -> tuple[float, ...] | None:
        summed = Summed()
        for region in regions:
            found = self._slots.get(Key("latency_seconds", region))
            if found is None:
                continue
            slot, born = found
            for row in self._packed:
                if row.end > born and (packed := row.get(slot)) is not None:
                    summed.add(Unpacked(packed))
        if not summed.count:
            return None
        sketch = summed.sketch()
        return tuple(sketch.quantile(q) for q in QUANTILES)


def _known(gauges: Iterable[_Gauge]) -> list[_Gauge]:
    return [one for one in gauges if one.count]


def _sum(gauges: Iterable[_Gauge]) -> float | None:
    """Of the means, each over the longest time in which any of them was measured: a region that came or went within
    the window adds what it did, and no more.
    """
    known = _known(gauges)
    return sum(one.total for one in known) / max(one.count for one in known) if known else None


def _share(gauges: Iterable[_Gauge]) -> float | None:
    found = _sum(gauges)
    return None if found is None else min(1.0, found)


def _ratio(parts: Iterable[_Gauge], wholes: Iterable[_Gauge]) -> float | None:
    """Of the part to the whole, region by region: of those that have both, each as long as its part was measured."""
    both = [(part, whole) for part, whole in zip(parts, wholes, strict=True) if part.count and whole.count]
    total = sum(whole.total / whole.count * part.count for part, whole in both)
    return sum(part.total for part, _ in both) / total if total > 0 else None


def _mean(known: Sequence[_Gauge]) -> float | None:
    count = sum(one.count for one in known)
    return sum(one.total for one in known) / count if count else None


def _high(known: Iterable[_Gauge]) -> float | None:
    return max((one.high for one in known), default=None)


def failover_figures(
    records: Iterable[FailoverRecord], first_ns: int, last_ns: int, active: float | None
) -> FailoverFigures:
    """Moves of the lease that began between two instants of the wall clock."""
    failovers, switchovers = 0, 0
    took: list[int] = []
    for record in records:
        if not first_ns <= record.start_wall_ns < last_ns or record.state is FailoverState.ABORTED:
            continue
        if record.move in (FailoverKind.AUTOMATIC, FailoverKind.FORCED):
            failovers += 1
            if record.state is FailoverState.SUCCEEDED and record.end_wall_ns:
                took.append(_length_ns(record))
        elif record.move in (FailoverKind.PLANNED, FailoverKind.FAILBACK):
            switchovers += 1
    return FailoverFigures(failovers, switchovers, max(took, default=None), median_high(took) if took else None, active)


def _length_ns(record: FailoverRecord) -> int:
    """By the clock that never steps: the wall clock may have been set meanwhile."""
    return sum(phase.length_ns for phase in record.phases) or max(0, record.end_wall_ns - record.start_wall_ns)

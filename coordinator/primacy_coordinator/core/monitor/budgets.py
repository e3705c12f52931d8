"""Objectives: how they are met, what is left of their error budgets, and how fast those burn.

A burn rate of 1 spends the budget exactly in the window of the objective (Site Reliability Workbook, chapter 5). Time
in which nothing was measured costs no budget, and `measured_s` says how much time was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from primacy_wire.instant import SECOND_NS

from primacy_coordinator.core.monitor.model import Slo, SloIndicator
from primacy_coordinator.core.monitor.packing import PackedRow, Unpacked
from primacy_coordinator.core.monitor.ring import cover
from primacy_coordinator.core.monitor.rows import FineRow, Row
from primacy_coordinator.core.monitor.series import Key
from primacy_coordinator.core.monitor.tiers import HOUR_S, MINUTE_S, Tiers

BURN_WINDOWS_S = (5 * MINUTE_S, 30 * MINUTE_S, HOUR_S, 6 * HOUR_S, 24 * HOUR_S, 72 * HOUR_S)
TENS_READ_S = HOUR_S
"""The newest hour is read in steps of 10 s, then come minutes, then hours."""


@dataclass(frozen=True, slots=True)
class Burn:
    window_s: int
    rate: float | None
    """None: nothing was measured."""


@dataclass(frozen=True, slots=True)
class SloFigure:
    """How an objective is met. `region` empty: by the whole group."""

    slo: Slo
    region: str
    achieved: float | None
    """Share that was good, of what was measured; None: nothing was."""
    budget_left: float | None
    """Below 0: overspent."""
    burns: tuple[Burn, ...]
    measured_s: int

    def burn(self, window_s: int) -> float | None:
        """Over a window of that length; of one that is not among `burns`, the next longer one."""
        return next((burn.rate for burn in self.burns if burn.window_s >= window_s), None)


@dataclass(slots=True)
class _Sum:
    good: float = 0.0
    total: float = 0.0
    measured_s: float = 0.0

    def add(self, good: float, total: float, measured_s: float) -> None:
        self.good += good
        self.total += total
        self.measured_s += measured_s

    def bad_share(self) -> float | None:
        return None if self.total <= 0 else max(0.0, (self.total - self.good) / self.total)


def judge(tiers: Tiers, slo: Slo, region: str, regions: tuple[str, ...], windows_s: Iterable[int] = ()) -> SloFigure:
    """How one objective is met, now. `regions`: all of the group; `windows_s`: burn rates beside the usual ones."""
    whole_s = slo.window_ns // SECOND_NS
    windows = sorted({*(w for w in BURN_WINDOWS_S if w <= whole_s), *windows_s, whole_s})
    names = (region,) if region else regions
    now = tiers.second + 1
    if slo.indicator is SloIndicator.LATENCY:
        parts = _latency(tiers, names, now - windows[-1], now, slo.threshold_ns / SECOND_NS)
    else:
        parts = _gauges(tiers, slo.indicator, names, now - windows[-1], now, bool(region))
    sums = [_Sum() for _ in windows]
    for start, good, total, measured_s in parts:
        for at in range(len(windows) - 1, -1, -1):
            if start < now - windows[at]:
                break
            sums[at].add(good, total, measured_s)
    allowed = 1 - slo.objective
    burns = tuple(
        Burn(window_s, None if (bad := found.bad_share()) is None else bad / allowed)
        for window_s, found in zip(windows, sums, strict=True)
        if window_s in BURN_WINDOWS_S or window_s in windows_s
    )
    whole = sums[windows.index(whole_s)]
    bad = whole.bad_share()
    measured_s = min(whole_s, round(whole.measured_s))
    return SloFigure(
        slo,
        region,
        None if bad is None else 1 - bad,
        None if bad is None else 1 - bad / allowed * measured_s / whole_s,
        burns,
        measured_s,
    )


Part = tuple[int, float, float, float]
"""(start, good, total, seconds measured)."""


def _rows(tiers: Tiers, first: int, last: int) -> list[FineRow | Row]:
    """Hours, then minutes, then tens, as far as each is needed."""
    border = max(first, last - TENS_READ_S)
    border -= border % MINUTE_S
    older = cover((tiers.minutes, tiers.hours), 0, first, border) if first < border else []
    return [*older, *cover(tiers.gauge_rings[:3], 1, border, last)]


def _packed(tiers: Tiers, first: int, last: int) -> list[PackedRow]:
    border = max(first, last - TENS_READ_S)
    border -= border % MINUTE_S
    older = cover((tiers.sketch_minutes, tiers.sketch_hours), 0, first, border) if first < border else []
    return [*older, *cover(tiers.sketch_rings[:2], 0, border, last)]


def _gauges(
    tiers: Tiers, indicator: SloIndicator, regions: tuple[str, ...], first: int, last: int, single: bool
) -> Iterator[Part]:
    if indicator is SloIndicator.SUCCESS:
        names: tuple[str, ...] = ("request_rate", "failed_rate")
    else:
        names = ("serving",) if single else ("active",)
    slots = [[_slot(tiers, name, region) for name in names] for region in regions]
    for row in _rows(tiers, first, last):
        good = total = measured_s = 0.0
        for one in slots:
            stats = [row.stat(slot) if slot is not None and row.end > born else None for slot, born in one]
            stat = stats[0]
            if stat is None:
                continue
            measured_s = max(measured_s, float(stat.samples))
            if indicator is SloIndicator.SUCCESS:
                failed = stats[1]
                if failed is None:
                    continue
                total += stat.mean * stat.samples
                good += (stat.mean - failed.mean) * stat.samples
            else:
                good += stat.mean * stat.samples
                total = max(total, float(stat.samples))
        if measured_s:
            yield row.start, min(good, total), total, measured_s


def _latency(tiers: Tiers, regions: tuple[str, ...], first: int, last: int, threshold_s: float) -> Iterator[Part]:
    slots = [_slot(tiers, "latency_seconds", region) for region in regions]
    for row in _packed(tiers, first, last):
        good = total = 0
        for slot, born in slots:
            packed = row.get(slot) if slot is not None and row.end > born else None
            if packed is not None:
                one = Unpacked(packed)
                good += one.at_most(threshold_s)
                total += one.count
        if total:
            yield row.start, float(good), float(total), float(row.end - row.start)


def _slot(tiers: Tiers, name: str, region: str) -> tuple[int | None, int]:
    slot = tiers.slots.find(Key(name, region))
    return slot, tiers.slots.born[slot] if slot is not None else 0

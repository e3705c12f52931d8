"""Objectives: how they are met, what is left of their error budgets, and how fast those burn.

A burn rate of 1 spends the budget exactly in the window of the objective (Site Reliability Workbook, chapter 5). Time
in which nothing was measured costs no budget, and `measured_s` says how much time was measured. What came before the
first measurement counts as good in a burn rate: the first seconds of a new group are not an hour, and wake nobody.

What each step had of good and bad is kept beside the steps, so that a look adds what is new and sums up the rest.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from primacy_wire.instant import SECOND_NS

from primacy_coordinator.core.monitor.model import Slo, SloIndicator
from primacy_coordinator.core.monitor.packing import PackedRow, Unpacked
from primacy_coordinator.core.monitor.ring import Ring
from primacy_coordinator.core.monitor.rows import FineRow, Row
from primacy_coordinator.core.monitor.series import Key
from primacy_coordinator.core.monitor.tiers import HOUR_S, MINUTE_S, Tiers

BURN_WINDOWS_S = (5 * MINUTE_S, 30 * MINUTE_S, HOUR_S, 6 * HOUR_S, 24 * HOUR_S, 72 * HOUR_S)
TENS_READ_S = HOUR_S
"""The newest hour is read in steps of 10 s, then come minutes, then hours."""
READ_TOGETHER = 200
"""Figures that are read in one bit of work."""


@dataclass(frozen=True, slots=True)
class Burn:
    window_s: int
    rate: float | None
    """None: nothing was measured."""
    bad: float = 0.0
    """Requests that were not good; of an objective about time, seconds."""


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
        """The rate over a window of that length; of one that is not among `burns`, the next longer one."""
        found = self.burnt(window_s)
        return found.rate if found is not None else None

    def burnt(self, window_s: int) -> Burn | None:
        return next((burn for burn in self.burns if burn.window_s >= window_s), None)


_MEASURED_BY = {
    SloIndicator.AVAILABILITY: "active",
    SloIndicator.SUCCESS: "request_rate",
    SloIndicator.LATENCY: "latency_seconds",
}
Part = tuple[float, float, float]
"""Of one step: (good, total, seconds in which it was measured)."""


class _Track:
    """The parts of all steps of one length."""

    def __init__(self) -> None:
        self.starts = array("q")
        self.columns = (array("d"), array("d"), array("d"))

    def cut(self, first: int, last: int) -> None:
        """Keep only what begins in [first, last)."""
        low, high = bisect_left(self.starts, first), bisect_left(self.starts, last)
        for column in (self.starts, *self.columns):
            del column[high:]
            del column[:low]

    def add(self, start: int, part: Part) -> None:
        self.starts.append(start)
        for column, value in zip(self.columns, part, strict=True):
            column.append(value)

    def began(self) -> int | None:
        """When anything was measured first, as far as it is kept."""
        totals = self.columns[1]
        return next((start for start, total in zip(self.starts, totals, strict=True) if total > 0), None)

    def sums(self, first: int, last: int) -> Part:
        low, high = bisect_left(self.starts, first), bisect_left(self.starts, last)
        good, total, measured = (sum(column[low:high]) for column in self.columns)
        return good, total, measured


class Ledger:
    """One objective of one region, or of the whole group (`region` empty)."""

    def __init__(self, slo: Slo, region: str) -> None:
        self.slo = slo
        self.region = region
        self._tens, self._minutes, self._hours = _Track(), _Track(), _Track()
        self._rewinds = 0

    def follow(self, tiers: Tiers) -> Iterator[None]:
        """Read what is new, bit by bit. The group is all regions that it ever had."""
        if self._rewinds != tiers.rewinds:
            self._rewinds = tiers.rewinds
            self._tens, self._minutes, self._hours = _Track(), _Track(), _Track()
        names = (self.region,) if self.region else tiers.slots.regions(_MEASURED_BY[self.slo.indicator])
        if self.slo.indicator is SloIndicator.LATENCY:
            yield from self._read(tiers.sketch_rings, _Latency(tiers, names, self.slo.threshold_ns / SECOND_NS))
        elif self.slo.indicator is SloIndicator.SUCCESS:
            yield from self._read(tiers.gauge_rings[1:], _Success(tiers, names))
        else:
            yield from self._read(tiers.gauge_rings[1:], _Time(tiers, names, "serving" if self.region else "active"))

    def _read(self, rings: Sequence[Ring[Any]], part_of: _Reader) -> Iterator[None]:
        read = 0
        for track, ring in zip((self._tens, self._minutes, self._hours), rings, strict=True):
            if ring.begin is None or ring.end is None:
                track.cut(0, 0)
                continue
            # What was dropped from the steps for its age is dropped here.
            track.cut(ring.begin, ring.end)
            new = []
            for row in reversed(ring.rows):
                if track.starts and row.start <= track.starts[-1]:
                    break
                new.append(row)
            for row in reversed(new):
                part = part_of(row)
                # Steps without anything are kept, too, so that they are not read again and again.
                track.add(row.start, part or (0.0, 0.0, 0.0))
                read += part_of.width
                if read >= READ_TOGETHER:
                    read = 0
                    yield

    def figure(self, now: int, windows_s: Iterable[int] = ()) -> SloFigure:
        """As of the second `now`. `windows_s`: burn rates beside the usual ones."""
        whole_s = self.slo.window_ns // SECOND_NS
        wanted = sorted({*(w for w in BURN_WINDOWS_S if w <= whole_s), *windows_s})
        allowed = 1 - self.slo.objective
        age_s = now - self._began(now)
        burns = []
        for window_s in wanted:
            good, total, _ = self.sums(now - window_s, now)
            part = min(1.0, age_s / window_s)
            rate = _bad(good, total) / allowed * part if total > 0 else None
            burns.append(Burn(window_s, rate, max(0.0, total - good)))
        good, total, seconds = self.sums(now - whole_s, now)
        measured_s = min(whole_s, round(seconds))
        if total <= 0:
            return SloFigure(self.slo, self.region, None, None, tuple(burns), measured_s)
        bad = _bad(good, total)
        left = 1 - bad / allowed * measured_s / whole_s
        return SloFigure(self.slo, self.region, 1 - bad, left, tuple(burns), measured_s)

    def _began(self, now: int) -> int:
        """When anything was measured first, told by the finest steps that reach back to it; `now`: never."""
        found: int | None = None
        for track, coarser_s in ((self._hours, 0), (self._minutes, HOUR_S), (self._tens, MINUTE_S)):
            began = track.began()
            if began is not None and (found is None or began - found < coarser_s):
                found = began
        return now if found is None else found

    def sums(self, first: int, last: int) -> Part:
        """Tens, then minutes, then hours, as far as each is needed."""
        border = last - TENS_READ_S
        border -= border % MINUTE_S
        tens, minutes, hours = self._tens, self._minutes, self._hours
        if tens.starts and tens.starts[0] > border:
            whole = -(-tens.starts[0] // MINUTE_S) * MINUTE_S
            # The minute in which they begin counts once it is closed; until there is any, they stand for themselves.
            border = whole if minutes.starts and minutes.starts[0] < whole else tens.starts[0]
        low = minutes.starts[0] if minutes.starts else border
        if hours.starts and hours.starts[-1] + HOUR_S > low:
            # The hour in which the minutes begin counts whole.
            low = min(border, -(-low // HOUR_S) * HOUR_S)
        parts = (
            hours.sums(first, low),
            minutes.sums(max(first, low), border),
            tens.sums(max(first, border), last),
        )
        return parts[0][0] + parts[1][0] + parts[2][0], sum(p[1] for p in parts), sum(p[2] for p in parts)


def _bad(good: float, total: float) -> float:
    return max(0.0, (total - good) / total)


class _Reader:
    """What one step has of an objective."""

    def __init__(self, tiers: Tiers, regions: Sequence[str], names: Sequence[str]) -> None:
        find, born = tiers.slots.find, tiers.slots.born
        found = [[find(Key(name, region)) for name in names] for region in regions]
        self.slots = [[(slot, born[slot]) for slot in one if slot is not None] for one in found if None not in one]
        self.width = max(1, len(self.slots))

    def __call__(self, row: Any) -> Part | None:
        raise NotImplementedError


class _Time(_Reader):
    """Time in which a gauge was 1."""

    def __init__(self, tiers: Tiers, regions: Sequence[str], name: str) -> None:
        super().__init__(tiers, regions, (name,))

    def __call__(self, row: FineRow | Row) -> Part | None:
        good, total = 0.0, 0
        for ((slot, born),) in self.slots:
            if row.end > born and (stat := row.stat(slot)) is not None:
                good += stat.mean * stat.samples
                total = max(total, stat.samples)
        return (min(good, float(total)), float(total), float(total)) if total else None


class _Success(_Reader):
    """Requests that did not fail."""

    def __init__(self, tiers: Tiers, regions: Sequence[str]) -> None:
        super().__init__(tiers, regions, ("request_rate", "failed_rate"))

    def __call__(self, row: FineRow | Row) -> Part | None:
        good = total = 0.0
        measured = 0
        for (all_slot, all_born), (failed_slot, failed_born) in self.slots:
            requests = row.stat(all_slot) if row.end > all_born else None
            failed = row.stat(failed_slot) if row.end > failed_born else None
            if requests is not None and failed is not None:
                total += requests.mean * requests.samples
                good += max(0.0, requests.mean - failed.mean) * requests.samples
                measured = max(measured, requests.samples)
        return (good, total, float(measured)) if measured else None


class _Latency(_Reader):
    """Requests that took no longer than the threshold."""

    def __init__(self, tiers: Tiers, regions: Sequence[str], threshold_s: float) -> None:
        super().__init__(tiers, regions, ("latency_seconds",))
        self._threshold_s = threshold_s

    def __call__(self, row: PackedRow) -> Part | None:
        good = total = 0
        for ((slot, born),) in self.slots:
            packed = row.get(slot) if row.end > born else None
            if packed is not None:
                one = Unpacked(packed)
                good += one.at_most(self._threshold_s)
                total += one.count
        return (float(good), float(total), float(row.end - row.start)) if total else None

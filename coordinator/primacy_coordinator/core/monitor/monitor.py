"""What is known of one group over time: one look a second in, answers out. Pure, and no part of what decides.

The shell calls `look` once a second and `work` until nothing is left to do or its time is up; then it hands
`take_blocks` to the disk. Everything else only reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from primacy_wire.instant import SECOND_NS, Now

from primacy_coordinator.core.model import FailoverRecord
from primacy_coordinator.core.monitor import performance, queries
from primacy_coordinator.core.monitor.axis import Axis
from primacy_coordinator.core.monitor.budgets import Burn, Ledger, SloFigure
from primacy_coordinator.core.monitor.model import Aggregation, Slo, SloIndicator
from primacy_coordinator.core.monitor.performance import FailoverFigures, Performance
from primacy_coordinator.core.monitor.queries import Answer, Extract, Query
from primacy_coordinator.core.monitor.sampling import Sampler
from primacy_coordinator.core.monitor.seen import Seen, share_of
from primacy_coordinator.core.monitor.series import Kind, kind_of
from primacy_coordinator.core.monitor.slots import Explosion
from primacy_coordinator.core.monitor.tiers import (
    HOUR_S,
    LIMITS,
    MINUTE_S,
    MINUTES_KEPT_S,
    TEN_S,
    Block,
    Limits,
    Tiers,
)
from primacy_coordinator.core.views import ExplanationView


class Monitor:
    """One group."""

    def __init__(self, now: Now, limits: Limits = LIMITS) -> None:
        self.tiers = Tiers(limits)
        self.seen: Seen | None = None
        """The newest look. None: there was none, or the group could not be looked at."""
        self.slos: tuple[SloFigure, ...] = ()
        """How objectives are met, as of some seconds ago: in the order of the policy, the group before its regions."""
        self.prospects: dict[str, ExplanationView] = {}
        """Region -> what would be if it died, as of some seconds ago. The shell fills it."""
        self.rewound: int | None = None
        """Second to which the wall clock was set back, until the shell has told the disk."""
        self.number = 0
        """Looks so far."""
        self._axis = Axis(now)
        self._sampler = Sampler()
        self._ledgers: dict[tuple[Slo, str], Ledger] = {}
        self._judging: Iterator[None] | None = None
        self._judged_second = -TEN_S

    # ---- taking in

    @property
    def second(self) -> int:
        """Of the newest look, in seconds of UTC; -1: there was none."""
        return self.tiers.second

    def look(self, now: Now, seen: Seen | None) -> int:
        """Take in what is seen now, and return the second for which it counts. None: nothing can be seen."""
        second, back = self._axis.second(now)
        if back:
            self.tiers.rewind(second)
            self.rewound = second if self.rewound is None else min(second, self.rewound)
        self.seen = seen
        if seen is not None:
            share = share_of(self.number, len(seen.view.regions))
            self.number += 1
            self.tiers.put(second, self._sampler.sample(seen, share, now.mono_ns), seen.measured)
            known = {region.record.name for region in seen.view.regions}
            for gone in self.prospects.keys() - known:
                del self.prospects[gone]
        if self._judging is None and not 0 <= second - self._judged_second < TEN_S:
            self._judged_second = second
            self._judging = self._judge(seen)
        return second

    @property
    def waiting(self) -> int:
        """Pieces of work that wait; each takes one bit or several."""
        return self.tiers.waiting + (self._judging is not None)

    def work(self) -> bool:
        """One small bit of what waits. False: nothing did."""
        if self._judging is not None:
            if next(self._judging, _DONE) is not _DONE:
                return True
            self._judging = None
        return self.tiers.work()

    def take_blocks(self) -> list[Block]:
        return self.tiers.take_blocks()

    def load(self, blocks: Iterable[Block]) -> None:
        """What was kept on disk, the oldest first."""
        self.tiers.load(blocks)

    def _judge(self, seen: Seen | None) -> Iterator[None]:
        if seen is None:
            return
        regions = self._regions()
        found: list[SloFigure] = []
        before, self._ledgers = self._ledgers, {}
        for slo in seen.view.policy.slos:
            windows_s = _burn_windows_s(seen, slo)
            for region in ("", *(regions if slo.per_region else ())):
                ledger = self._ledgers[slo, region] = before.get((slo, region)) or Ledger(slo, region)
                yield from ledger.follow(self.tiers)
                found.append(ledger.figure(self.tiers.second + 1, windows_s))
                yield
        self.slos = tuple(found)

    def _regions(self) -> tuple[str, ...]:
        if self.seen is None:
            return ()
        return tuple(region.record.name for region in self.seen.view.regions)

    # ---- answers

    @property
    def dropped(self) -> int:
        """Values that were left out because there were too many series."""
        return self.tiers.slots.dropped

    @property
    def explosions(self) -> tuple[Explosion, ...]:
        """Who measured too many series lately."""
        return self.tiers.slots.explosions(self.second)

    @property
    def series_count(self) -> int:
        return self.tiers.slots.count

    def names(self) -> tuple[str, ...]:
        """Every series that there is."""
        return tuple(sorted(self.tiers.slots.names()))

    def kind(self, name: str) -> Kind:
        return kind_of(name)

    def regions(self, series: str) -> tuple[str, ...]:
        """Regions that have the series, sorted."""
        return self.tiers.slots.regions(series)

    def latest(
        self, series: str, region: str, aggregation: Aggregation | None, quantile: float, window_ns: int
    ) -> float | None:
        """One figure for the window that ends now; `region` empty: of all together. None: nothing was measured.

        Of distributions at least the newest 20 s count, for they come in windows of 10 s.
        """
        last = self.second + 1
        window_s = max(1, window_ns // SECOND_NS)
        if kind_of(series).distribution:
            window_s = max(window_s, 2 * TEN_S)
        regions = (region,) if region else ()
        query = Query(series, last - window_s, last, _step_of(window_s), regions, "", True, aggregation, quantile)
        found = self.extract(query)
        found.query = replace(query, step=_ONE_STEP)
        lines = queries.answer(found)
        return lines[0][1][-1][1] if lines else None

    def burn(self, slo: str, region: str, window_ns: int) -> float | None:
        """How fast an error budget burnt in the window, as of some seconds ago. None: nothing was measured."""
        found = self._burn(slo, region, window_ns)
        return found.rate if found is not None else None

    def failures(self, slo: str, region: str, window_ns: int) -> float | None:
        """Requests that were not good in the window, as of some seconds ago. None: the objective is about time."""
        figure = self._figure(slo, region)
        found = self._burn(slo, region, window_ns)
        if figure is None or found is None or figure.slo.indicator is SloIndicator.AVAILABILITY:
            return None
        return found.bad

    def _burn(self, slo: str, region: str, window_ns: int) -> Burn | None:
        found = self._figure(slo, region)
        return found.burnt(window_ns // SECOND_NS) if found is not None else None

    def _figure(self, slo: str, region: str) -> SloFigure | None:
        return next((one for one in self.slos if (one.slo.name, one.region) == (slo, region)), None)

    def silence_s(self, name: str, region: str) -> int | None:
        """Seconds since the series was last heard of a region. None: it never was."""
        heard = [
            self.tiers.slots.heard[slot] for key, slot in self.tiers.slots.named(name) if region in ("", key.region)
        ]
        return max(0, self.second - max(heard)) if heard else None

    def extract(self, query: Query) -> Extract:
        """What an answer needs: `queries.answer` makes it, in any thread."""
        return queries.extract(self.tiers, query)

    def query(self, query: Query) -> Answer:
        return queries.answer(self.extract(query))

    def performance(self, window_s: int, before_s: int = 0) -> PerformanceTable:
        """How everybody did in a window that ended so many seconds ago."""
        return self.performance_input(window_s, before_s).table()

    def performance_input(self, window_s: int, before_s: int = 0) -> PerformanceInput:
        """What that needs: `table` makes it, in any thread."""
        last = self.second + 1 - before_s
        regions = self._regions()
        records = self.seen.view.failovers if self.seen is not None else ()
        # What a region did before it was removed is a part of what the group did.
        everyone = self.tiers.slots.regions(*performance.GAUGES, "latency_seconds")
        window = performance.Window(self.tiers, last - window_s, last, everyone)
        return PerformanceInput(window, regions, everyone, records, last - window_s, last)


class PerformanceInput:
    """One window, before anything is made of it."""

    __slots__ = ("_everyone", "_first", "_last", "_records", "_regions", "_window")

    def __init__(
        self,
        window: performance.Window,
        regions: tuple[str, ...],
        everyone: tuple[str, ...],
        records: tuple[FailoverRecord, ...],
        first: int,
        last: int,
    ) -> None:
        self._window = window
        self._regions = regions
        self._everyone = everyone
        self._records = records
        self._first = first
        self._last = last

    def table(self) -> PerformanceTable:
        window = self._window
        return PerformanceTable(
            window.of(self._everyone, whole=True),
            tuple((region, window.of((region,), whole=False)) for region in self._regions),
            window.round_trips(),
            performance.failover_figures(
                self._records,
                self._first * SECOND_NS,
                self._last * SECOND_NS,
                window.active_share(self._everyone),
            ),
        )


class PerformanceTable:
    """One window, everybody."""

    __slots__ = ("failovers", "regions", "round_trips", "whole")

    def __init__(
        self,
        whole: Performance,
        regions: tuple[tuple[str, Performance], ...],
        round_trips: tuple[tuple[str, str, float], ...],
        failovers: FailoverFigures,
    ) -> None:
        self.whole = whole
        self.regions = regions
        self.round_trips = round_trips
        self.failovers = failovers


def _burn_windows_s(seen: Seen, slo: Slo) -> set[int]:
    """Windows that alert rules look at."""
    found: set[int] = set()
    for rule in seen.view.policy.alert_rules:
        if rule.burn_rate is not None and rule.burn_rate.slo == slo.name:
            found |= {rule.burn_rate.long_ns // SECOND_NS, rule.burn_rate.short_ns // SECOND_NS}
    return {window_s for window_s in found if 0 < window_s <= slo.window_ns // SECOND_NS}


def _step_of(window_s: int) -> int:
    """Length of the steps in which a window is read: a part of it, for it begins with a whole step, and few of them."""
    for upto_s, step_s in ((3 * TEN_S, 1), (10 * MINUTE_S, TEN_S), (MINUTES_KEPT_S, MINUTE_S)):
        if window_s < upto_s:
            return step_s
    return HOUR_S


_ONE_STEP = 1 << 40
"""Longer than any time: everything lies in one step."""
_DONE = object()

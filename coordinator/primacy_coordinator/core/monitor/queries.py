"""What was measured of one series, step by step.

A quantile is taken once, at the end: from the sum of the sketches of everything that it is about, over time and over
regions. A share is the mean of what it is a part of over the mean of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from primacy_coordinator.core.monitor.model import Aggregation
from primacy_coordinator.core.monitor.packing import PackedRow, Summed, Unpacked
from primacy_coordinator.core.monitor.ring import cover
from primacy_coordinator.core.monitor.rows import FineRow, Row, Stat
from primacy_coordinator.core.monitor.seen import PARTS, SMALL
from primacy_coordinator.core.monitor.series import Key, Kind, Merge, kind_of
from primacy_coordinator.core.monitor.tiers import HOUR_S, Tiers, lasts

STEPS_DEFAULT = 200
CELLS_MAX = 300_000
"""Values that one answer looks at: beyond it longer steps are looked at."""
Pair = tuple[str, str]
"""(region, target region); of all regions together the first is empty."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is wanted."""

    series: str
    first: int
    """Second at which the range begins,"""
    last: int
    """and first one that is not in it any more."""
    step: int
    """Seconds."""
    regions: tuple[str, ...] = ()
    """Empty: all."""
    target: str = ""
    together: bool = False
    """The regions as one."""
    aggregation: Aggregation | None = None
    """None: as suits the series."""
    quantile: float = 0.99


@dataclass(frozen=True, slots=True)
class Old:
    """A step that only the disk has."""

    start: int
    end: int
    stats: Mapping[str, Mapping[Pair, Stat]]
    """Series -> ..."""
    sketches: Mapping[Pair, bytes]


@dataclass(slots=True)
class Extract:
    """Everything that an answer needs; what it refers to never changes, so that any thread may make the answer."""

    query: Query
    kind: Kind
    slots: Mapping[str, tuple[tuple[Pair, int, int], ...]]
    """Series -> (pair, slot, second at which the slot was given to it)."""
    rows: Sequence[FineRow | Row]
    packed: Sequence[PackedRow]
    old: Sequence[Old] = ()

    def add_old(self, old: Sequence[Old]) -> None:
        """What the disk has of the time before; a step of it that reaches into what memory has counts instead."""
        self.old = old
        self.query = _widened(self.query, old)
        if old:
            self.rows = [row for row in self.rows if row.start >= old[-1].end]
            self.packed = [row for row in self.packed if row.start >= old[-1].end]

    @property
    def begin(self) -> int:
        """From when on memory has something; the end of the range if it has nothing."""
        rows: Sequence[PackedRow] | Sequence[FineRow | Row] = self.packed if self.kind.distribution else self.rows
        return rows[0].start if rows else self.query.last


Answer = tuple[tuple[Pair, tuple[tuple[int, float], ...]], ...]
"""((pair, ((end of the step, value), ...)), ...), sorted by pair."""


def extract(tiers: Tiers, query: Query) -> Extract:
    """What memory has of it. The step becomes no shorter than what is kept of that time."""
    kind = kind_of(query.series)
    if kind.paired and len(tiers.slots.regions(query.series)) > SMALL:
        # What is between many regions has its turn once in so many seconds: a shorter step has a part of it.
        query = replace(query, step=max(query.step, PARTS))
    names = {query.series, kind.part, kind.whole} - {""}
    slots = {name: tuple(_slots_of(tiers, name, query)) for name in names}
    count = max(1, sum(map(len, slots.values())))
    # Hours are kept in memory of what lasts alone; of anything else the disk has them.
    hours = query.step >= HOUR_S and lasts(Key(query.series, "")) and not kind.paired
    if kind.distribution:
        sketches = tiers.sketch_rings if hours else tiers.sketch_rings[:-1]
        base = _base([(ring.span, ring.kept_s) for ring in sketches], query, tiers.second, count)
        query = replace(query, step=_whole(query.step, sketches[base].span))
        query = _widened(query, cover(sketches, base, *_whole_range(query)))
        return Extract(query, kind, slots, (), cover(sketches, base, *_whole_range(query)))
    gauges = tiers.gauge_rings if hours else tiers.gauge_rings[:-1]
    base = _base([(ring.span, ring.kept_s) for ring in gauges], query, tiers.second, count)
    query = replace(query, step=_whole(query.step, gauges[base].span))
    query = _widened(query, cover(gauges, base, *_whole_range(query)))
    return Extract(query, kind, slots, cover(gauges, base, *_whole_range(query)), ())


def _slots_of(tiers: Tiers, name: str, query: Query) -> Iterator[tuple[Pair, int, int]]:
    for key, slot in tiers.slots.named(name):
        if is_wanted(query, key.region, key.target):
            yield (key.region, key.target), slot, tiers.slots.born[slot]


def is_wanted(query: Query, region: str, target: str) -> bool:
    return (not query.regions or region in query.regions) and query.target in ("", target)


def _base(rings: Sequence[tuple[int, int]], query: Query, newest: int, count: int) -> int:
    """Which length of step to read, of (length, how long it is kept): the longest that is no longer than what is
    wanted; a longer one where only that is kept for so long, or where an answer would look at too many values.
    """
    at = 0
    for number, (span, _) in enumerate(rings):
        too_old = newest - query.first > rings[at][1]
        too_many = (query.last - query.first) // rings[at][0] * count > CELLS_MAX
        if span <= query.step or too_old or too_many:
            at = number
    return at


def _whole(step: int, span: int) -> int:
    return -(-step // span) * span


class _Spanned(Protocol):
    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...


def _widened(query: Query, rows: Sequence[_Spanned]) -> Query:
    """With a step that is as long as any of the rows: of the time before a start only long ones are kept, and would
    leave holes between shorter ones that look as if nothing had been measured.

    A row that reaches into the range from before it does not count, or the step would change with each second.
    """
    widest = max((row.end - row.start for row in rows if row.start >= query.first), default=0)
    return replace(query, step=_whole(query.step, widest)) if widest > query.step else query


def _whole_range(query: Query) -> tuple[int, int]:
    """With the step in which it begins."""
    return query.first - query.first % query.step, query.last


# ---- answering


@dataclass(slots=True)
class _Cell:
    """One step of one series."""

    total: float = 0.0
    count: int = 0
    low: float = math.inf
    high: float = -math.inf
    last: float = 0.0
    sketch: Summed | None = None

    def add(self, stat: Stat) -> None:
        self.total += stat.mean * stat.samples
        self.count += stat.samples
        self.low = min(self.low, stat.low)
        self.high = max(self.high, stat.high)
        self.last = stat.last

    def add_packed(self, packed: bytes) -> None:
        if self.sketch is None:
            self.sketch = Summed()
        self.sketch.add(Unpacked(packed))

    @property
    def mean(self) -> float:
        return self.total / self.count


Cells = dict[int, dict[Pair, _Cell]]
"""End of the step -> ..."""


@dataclass(slots=True)
class _Table:
    cells: Cells = field(default_factory=dict)

    def cell(self, end: int, pair: Pair) -> _Cell:
        row = self.cells.setdefault(end, {})
        found = row.get(pair)
        if found is None:
            found = row[pair] = _Cell()
        return found


def answer(found: Extract) -> Answer:
    """The values, step by step. A step in which nothing was measured has none."""
    query, kind = found.query, found.kind
    tables = {name: _Table() for name in found.slots}
    for old in found.old:
        _take_old(tables, query, old)
    for row in found.rows:
        end = _step_end(query, row.start)
        for name, slots in found.slots.items():
            table = tables[name]
            for pair, slot, born in slots:
                if row.end > born and (stat := row.stat(slot)) is not None:
                    table.cell(end, pair).add(stat)
    for packed in found.packed:
        end = _step_end(query, packed.start)
        for pair, slot, born in found.slots[query.series]:
            if packed.end > born and (one := packed.get(slot)) is not None:
                _add(tables[query.series], end, pair, one, query.together)
    lines: dict[Pair, list[tuple[int, float]]] = {}
    for end, cells in sorted(tables[query.series].cells.items()):
        shares = _shares(tables, kind, end)
        for pair, value in _values(query, kind, cells, shares):
            lines.setdefault(pair, []).append((end, value))
    return tuple((pair, tuple(points)) for pair, points in sorted(lines.items()))


def _step_end(query: Query, start: int) -> int:
    return min(start - start % query.step + query.step, max(query.last, start + 1))


def _take_old(tables: Mapping[str, _Table], query: Query, old: Old) -> None:
    end = _step_end(query, old.start)
    for name, stats in old.stats.items():
        if name in tables:
            for pair, stat in stats.items():
                if is_wanted(query, *pair):
                    tables[name].cell(end, pair).add(stat)
    for pair, packed in old.sketches.items():
        if is_wanted(query, *pair):
            _add(tables[query.series], end, pair, packed, query.together)


def _add(table: _Table, end: int, pair: Pair, packed: bytes, together: bool) -> None:
    # Sums over regions of their means need the regions apart; all else may be added up at once.
    table.cell(end, pair).add_packed(packed)
    if together:
        table.cell(end, ("", "")).add_packed(packed)


def _shares(tables: Mapping[str, _Table], kind: Kind, end: int) -> tuple[dict[Pair, _Cell], dict[Pair, _Cell]] | None:
    if not kind.part:
        return None
    return tables[kind.part].cells.get(end, {}), tables[kind.whole].cells.get(end, {})


def _values(
    query: Query,
    kind: Kind,
    cells: Mapping[Pair, _Cell],
    shares: tuple[dict[Pair, _Cell], dict[Pair, _Cell]] | None,
) -> Iterator[tuple[Pair, float]]:
    if kind.distribution:
        yield from _of_distribution(query, cells)
        return
    if not query.together:
        for pair, cell in cells.items():
            if query.aggregation in (None, Aggregation.AVERAGE, Aggregation.SUM):
                yield pair, _mean(pair, cell, shares)
            else:
                yield pair, _single(query.aggregation, cell)
        return
    means = {pair: _mean(pair, cell, shares) for pair, cell in cells.items()}
    yield ("", ""), _together(query.aggregation, kind, cells, means, shares)


def _mean(pair: Pair, cell: _Cell, shares: tuple[dict[Pair, _Cell], dict[Pair, _Cell]] | None) -> float:
    if shares is not None:
        part, whole = shares[0].get(pair), shares[1].get(pair)
        if part is not None and whole is not None and whole.total > 0:
            return part.mean / whole.mean
    return cell.mean


def _single(aggregation: Aggregation | None, cell: _Cell) -> float:
    if aggregation is Aggregation.MINIMUM:
        return cell.low
    return cell.high if aggregation is Aggregation.MAXIMUM else cell.last


def _together(
    aggregation: Aggregation | None,
    kind: Kind,
    cells: Mapping[Pair, _Cell],
    means: Mapping[Pair, float],
    shares: tuple[dict[Pair, _Cell], dict[Pair, _Cell]] | None,
) -> float:
    """The regions as one."""
    if aggregation is Aggregation.MINIMUM:
        return min(cell.low for cell in cells.values())
    if aggregation is Aggregation.MAXIMUM:
        return max(cell.high for cell in cells.values())
    if aggregation is Aggregation.SUM:
        return _summed(kind, cells, means)
    if aggregation is Aggregation.LAST:
        return _merged(kind.merge, [cell.last for cell in cells.values()])
    if shares is not None:
        known = [(shares[0][pair], shares[1][pair]) for pair in cells if pair in shares[0] and pair in shares[1]]
        # Each region counts as long as its part was measured.
        total = sum(whole.mean * part.count for part, whole in known)
        if total > 0:
            return sum(part.total for part, _ in known) / total
    merge = Merge.MEAN if aggregation is Aggregation.AVERAGE else kind.merge
    if merge is Merge.SUM:
        return _summed(kind, cells, means)
    return _merged(merge, list(means.values()))


def _summed(kind: Kind, cells: Mapping[Pair, _Cell], means: Mapping[Pair, float]) -> float:
    """A region that was measured for a part of the step counts for that part. What is between regions has its turn
    (see `Share`), now once more and now once less in a step.
    """
    longest = max(cell.count for cell in cells.values())
    if kind.paired:
        return sum(means.values())
    return sum(mean * cells[pair].count / longest for pair, mean in means.items())


def _merged(merge: Merge, values: Sequence[float]) -> float:
    if merge is Merge.MAX:
        return max(values)
    total = sum(values)
    return total if merge is Merge.SUM else total / len(values)


def _of_distribution(query: Query, cells: Mapping[Pair, _Cell]) -> Iterator[tuple[Pair, float]]:
    whole = ("", "")
    if query.together and query.aggregation is Aggregation.SUM:
        means = [c.sketch.sum / c.sketch.count for pair, c in cells.items() if pair != whole and c.sketch is not None]
        yield whole, sum(means)
        return
    for pair, cell in cells.items():
        if cell.sketch is not None and (pair == whole) == query.together:
            yield pair, _figure(query, cell.sketch)


def _figure(query: Query, summed: Summed) -> float:
    match query.aggregation:
        case None | Aggregation.QUANTILE:
            return summed.sketch().quantile(query.quantile)
        case Aggregation.COUNT:
            return float(summed.count)
        case Aggregation.MINIMUM:
            return summed.min
        case Aggregation.MAXIMUM:
            return summed.max
        case Aggregation.LAST:
            return summed.last
        case Aggregation.AVERAGE | Aggregation.SUM:
            return summed.sum / summed.count

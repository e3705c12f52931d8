"""What is kept of the figures of a group, in steps of 1 s, 10 s, 1 min and 1 h, bounded in time and in bytes.

1. Gauges are sampled once a second; of a longer step the mean, the smallest, the largest and the newest are kept.
   Distributions come as sketches of some ten seconds; sketches of longer steps are their sums.
2. What is dear (merging sketches) is done bit by bit with `work`, in the order in which it came up, so that the result
   does not depend on when it is done.
3. A step without values is a gap. A clock that is set back ends what was kept of the time that has not come yet.
4. Whole minutes are handed out (`take_blocks`) for the disk; hours are kept here only of what is built in and has no
   other end: what budgets and comparisons need.
"""

from __future__ import annotations

from array import array
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from primacy_wire.log_messages import SeriesSketch
from primacy_wire.sketch import Sketch

from primacy_coordinator.core.monitor.packing import PackedRow, merge_packed, pack
from primacy_coordinator.core.monitor.ring import Ring
from primacy_coordinator.core.monitor.rows import LARGEST, NAN, FineRow, Open, Row, Stat
from primacy_coordinator.core.monitor.series import BUILT_IN, DISTRIBUTIONS, Key
from primacy_coordinator.core.monitor.slots import SLOTS_MAX, Slots

TEN_S = 10
MINUTE_S = 60
HOUR_S = 3600
FINE_KEPT_S = 900
TENS_KEPT_S = HOUR_S
MINUTES_KEPT_S = 6 * HOUR_S
HOURS_KEPT_S = 63 * 24 * HOUR_S
"""Two windows of the longest objective: one to be compared with the other."""
SWEEP_S = HOUR_S
MERGED_TOGETHER = 10
"""Series in one bit of work."""
PACKED_TOGETHER = 40
ROLLED_TOGETHER = 1000
"""Gauges in one bit of work."""
WORKS_MAX = 20_000
"""Bits of snapshots that may wait; beyond it the newest are left out."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of one group. What does not fit goes the oldest first."""

    fine: int
    tens: int
    minutes: int
    sketches_of_tens: int
    sketches_of_minutes: int
    hours: int
    sketches_of_hours: int

    @classmethod
    def of(cls, total: int) -> Limits:
        """Each tier's part of all bytes together."""
        eighth = total // 8
        return cls(
            fine=eighth,
            tens=eighth * 3 // 2,
            minutes=eighth,
            sketches_of_tens=eighth * 2,
            sketches_of_minutes=eighth * 3 // 2,
            hours=eighth // 2,
            sketches_of_hours=eighth // 2,
        )


LIMITS = Limits.of(256 << 20)


@dataclass(frozen=True, slots=True)
class Block:
    """A whole step of all series, for the disk."""

    start: int
    span: int
    gauges: tuple[tuple[Key, Stat], ...] | None
    """None: see `row`."""
    sketches: tuple[tuple[Key, bytes], ...]
    row: Row | None = None
    packed: PackedRow | None = None
    row_keys: tuple[Key | None, ...] = ()
    """By slot, as the row has them,"""
    packed_keys: tuple[Key | None, ...] = ()
    """and as the packed ones have them."""

    def stats(self) -> Iterator[tuple[Key, Stat]]:
        if self.gauges is not None:
            yield from self.gauges
        if self.row is not None:
            for slot, stat in self.row.stats():
                key = self.row_keys[slot]
                if key is not None:
                    yield key, stat

    def distributions(self) -> Iterator[tuple[Key, bytes]]:
        yield from self.sketches
        if self.packed is not None:
            for slot in self.packed.slots:
                key, packed = self.packed_keys[slot], self.packed.get(slot)
                if key is not None and packed is not None:
                    yield key, packed


@dataclass(frozen=True, slots=True)
class Measured:
    """What one agent measured in one window."""

    region: str
    agent: str
    series: tuple[SeriesSketch, ...]
    dropped: int = 0
    """Values that it left out since the last one."""


class Tiers:
    def __init__(self, limits: Limits = LIMITS) -> None:
        self.slots = Slots()
        self.rewinds = 0
        """How often the clock was set back: then steps that were read may be others now."""
        self.second = -1
        """Of the newest sample; -1: there is none."""
        self.fine: Ring[FineRow | Row] = Ring(1, FINE_KEPT_S, limits.fine)
        self.tens: Ring[FineRow | Row] = Ring(TEN_S, TENS_KEPT_S, limits.tens)
        self.minutes: Ring[FineRow | Row] = Ring(MINUTE_S, MINUTES_KEPT_S, limits.minutes)
        self.hours: Ring[FineRow | Row] = Ring(HOUR_S, HOURS_KEPT_S, limits.hours)
        self.sketch_tens: Ring[PackedRow] = Ring(TEN_S, TENS_KEPT_S, limits.sketches_of_tens)
        self.sketch_minutes: Ring[PackedRow] = Ring(MINUTE_S, MINUTES_KEPT_S, limits.sketches_of_minutes)
        self.sketch_hours: Ring[PackedRow] = Ring(HOUR_S, HOURS_KEPT_S, limits.sketches_of_hours)
        self._ten: Open | None = None
        self._minute: Open | None = None
        self._hour: Open | None = None
        self._hour_sketches: dict[int, list[bytes]] = defaultdict(list)
        """Slot -> sketches of the minutes of that hour, of what lasts: the minutes may have to make room before."""
        self._loose: dict[int, dict[int, Sketch]] = {}
        """Start of a step of ten -> slot -> what was measured in it."""
        self._works: deque[Iterator[None]] = deque()
        self._blocks: list[Block] = []
        self._swept = 0

    @property
    def gauge_rings(self) -> tuple[Ring[FineRow | Row], ...]:
        return self.fine, self.tens, self.minutes, self.hours

    @property
    def sketch_rings(self) -> tuple[Ring[PackedRow], ...]:
        return self.sketch_tens, self.sketch_minutes, self.sketch_hours

    @property
    def bytes(self) -> int:
        """About what is kept here."""
        return sum(ring.bytes for ring in self.gauge_rings) + sum(ring.bytes for ring in self.sketch_rings)

    def limit(self, limits: Limits) -> None:
        """Other bounds, from the next rows on."""
        self.fine.bytes_max, self.tens.bytes_max = limits.fine, limits.tens
        self.minutes.bytes_max, self.hours.bytes_max = limits.minutes, limits.hours
        self.sketch_tens.bytes_max = limits.sketches_of_tens
        self.sketch_minutes.bytes_max = limits.sketches_of_minutes
        self.sketch_hours.bytes_max = limits.sketches_of_hours

    @property
    def waiting(self) -> int:
        return len(self._works)

    # ---- taking in

    def put(self, second: int, gauges: Iterable[tuple[Key, float]], measured: Iterable[Measured] = ()) -> None:
        """The samples of one second. A second that has had its gauges has them; what is no number was not measured."""
        if second > self.second:
            self._advance(second)
            self._sample(second, gauges)
        if self._ten is not None:
            self._collect(self._ten.start, self.second, measured)
        if second - self._swept >= SWEEP_S:
            self._swept = second
            self._sweep(second)

    def _sample(self, second: int, gauges: Iterable[tuple[Key, float]]) -> None:
        samples: list[tuple[int, float]] = []
        for key, value in gauges:
            if -LARGEST < value < LARGEST:  # NaN is neither.
                slot = self._give(key, second)
                if slot is not None:
                    samples.append((slot, value))
                else:
                    self.slots.leave_out(key.region, "", 1, second, key.name)
        row = array("f", [NAN]) * len(self.slots)
        for slot, value in samples:
            row[slot] = value
        self.fine.add(FineRow(second, row))
        assert self._ten is not None
        self._ten.add(samples)

    def _collect(self, start: int, second: int, measured: Iterable[Measured]) -> None:
        for one in measured:
            if one.dropped > 0:
                self.slots.leave_out(one.region, one.agent, one.dropped, second)
            if len(self._works) >= WORKS_MAX:
                self.slots.leave_out(one.region, one.agent, sum(s.count for s in one.series), second)
                continue
            self._works.append(self._merge(start, second, one))

    def _sweep(self, second: int) -> None:
        """A series has its slot as long as there is anything of it: without one, nobody finds that any more."""
        short = second - MINUTES_KEPT_S
        crowded = self.slots.count > SLOTS_MAX // 2
        long = short if crowded else second - HOURS_KEPT_S
        self.slots.sweep(short, lambda key: long if lasts(key) else short)

    def rewind(self, second: int) -> None:
        """The wall clock was set back to this second: what lies beyond it has not been yet."""
        self.rewinds += 1
        for ring in self.gauge_rings:
            ring.rewind(second)
        for packed in self.sketch_rings:
            packed.rewind(second)
        self._ten = self._minute = self._hour = None
        self._hour_sketches.clear()
        self._loose.clear()
        self._works.clear()
        self._blocks = [block for block in self._blocks if block.start + block.span <= second]
        self.slots.rewind(second)
        self.second = min(self.second, second - 1)
        self._swept = min(self._swept, second)
        self._works.append(self._resume(second))

    def _resume(self, second: int) -> Iterator[None]:
        """The minute and the hour in which this second lies begin with what is left of them."""
        born = self.slots.born
        for row in self.minutes.between(second - second % HOUR_S, second):
            self._hour = self._hour or Open(row.start, HOUR_S)
            end = row.end
            stats = ((at, one) for at, one in row.stats() if end > born[at] and self._lasts(at))
            yield from self._hour.add_stats(stats, ROLLED_TOGETHER)
            yield
        for packed in self.sketch_minutes.between(second - second % HOUR_S, second):
            self._keep_for_hour(packed)
            yield
        for row in self.tens.between(second - second % MINUTE_S, second):
            self._minute = self._minute or Open(row.start, MINUTE_S)
            end = row.end
            yield from self._minute.add_stats(((at, one) for at, one in row.stats() if end > born[at]), ROLLED_TOGETHER)
            yield

    def _give(self, key: Key, second: int) -> int | None:
        slot = self.slots.give(key, second)
        if slot is not None and self.slots.is_fresh(slot):
            for step in (self._ten, self._minute, self._hour):
                if step is not None:
                    step.forget(slot)
            for loose in self._loose.values():
                loose.pop(slot, None)
            self._hour_sketches.pop(slot, None)
        return slot

    def _advance(self, second: int) -> None:
        """Steps that are over are closed bit by bit, in their order; longer ones are made of shorter ones alone."""
        if self._ten is not None and second >= self._ten.end:
            self._works.append(self._finish_ten(self._ten))
            for span, finish in ((MINUTE_S, self._finish_minute), (HOUR_S, self._finish_hour)):
                if second // span > self._ten.start // span:
                    self._works.append(finish())
            self._ten = None
        self._ten = self._ten or Open(second, TEN_S)
        self.second = second

    def _lasts(self, slot: int) -> bool:
        key = self.slots.keys[slot]
        return key is not None and lasts(key)

    # ---- bit by bit

    def work(self) -> bool:
        """One small bit of what waits. False: nothing did."""
        while self._works:
            if next(self._works[0], _DONE) is _DONE:
                self._works.popleft()
            else:
                return True
        return False

    def take_blocks(self) -> list[Block]:
        """Minutes that are whole, for the disk."""
        blocks, self._blocks = self._blocks, []
        return blocks

    def _merge(self, start: int, second: int, one: Measured) -> Iterator[None]:
        loose = self._loose.setdefault(start, {})
        for at, series in enumerate(one.series):
            name = series.name.partition("{")[0]
            if name in BUILT_IN and series.name not in DISTRIBUTIONS:
                continue  # The gauge of that name comes from reports.
            slot = self._give(Key(series.name, one.region), second)
            if slot is None:
                self.slots.leave_out(one.region, one.agent, series.count, second, series.name)
            else:
                sketch = loose.get(slot)
                if sketch is None:
                    sketch = loose[slot] = Sketch()
                sketch.merge_series(series)
            if at % MERGED_TOGETHER == MERGED_TOGETHER - 1:
                yield
        yield

    def _pack(self, start: int) -> Iterator[None]:
        loose = self._loose.pop(start, {})
        packed: list[tuple[int, bytes]] = []
        for at, (slot, sketch) in enumerate(loose.items()):
            packed.append((slot, pack(sketch)))
            if at % PACKED_TOGETHER == PACKED_TOGETHER - 1:
                yield
        if packed:
            self.sketch_tens.add(PackedRow(start, start + TEN_S, packed))
        yield

    def _finish_ten(self, ten: Open) -> Iterator[None]:
        row = ten.close()
        self.tens.add(row)
        yield
        self._minute = self._minute or Open(row.start, MINUTE_S)
        yield from self._minute.add_stats(row.stats(), ROLLED_TOGETHER)
        yield from self._pack(row.start)

    def _finish_minute(self) -> Iterator[None]:
        minute, self._minute = self._minute, None
        if minute is None:
            return
        row, keys = minute.close(), tuple(self.slots.keys)
        self.minutes.add(row)
        yield
        if self._hour is not None and row.start >= self._hour.end:
            yield from self._finish_hour()
        self._hour = self._hour or Open(row.start, HOUR_S)
        yield from self._hour.add_stats(((at, one) for at, one in row.stats() if self._lasts(at)), ROLLED_TOGETHER)
        packed: PackedRow | None = None
        parts = self.sketch_tens.between(row.start, row.end)
        for packed in self._summed(parts, row.start, row.end):
            if packed is None:
                yield
        if packed is not None and packed.slots:
            self.sketch_minutes.add(packed)
            self._keep_for_hour(packed)
        self._blocks.append(Block(row.start, MINUTE_S, None, (), row, packed, keys, tuple(self.slots.keys)))
        yield

    def _finish_hour(self) -> Iterator[None]:
        hour, self._hour = self._hour, None
        if hour is None:
            return
        self.hours.add(hour.close_sparse())
        yield
        sketches, self._hour_sketches = self._hour_sketches, defaultdict(list)
        merged: list[tuple[int, bytes]] = []
        for slot, parts in sketches.items():
            merged.append((slot, merge_packed(parts)))
            yield
        if merged:
            self.sketch_hours.add(PackedRow(hour.start, hour.end, merged))

    def _keep_for_hour(self, packed: PackedRow) -> None:
        for slot in packed.slots:
            one = packed.get(slot)
            if one is not None and self._lasts(slot):
                self._hour_sketches[slot].append(one)

    def _summed(self, parts: list[PackedRow], start: int, end: int) -> Iterator[PackedRow | None]:
        """None after each bit, and the sum at the end."""
        born = self.slots.born
        slots = sorted({slot for part in parts for slot in part.slots})
        summed: list[tuple[int, bytes]] = []
        for at, slot in enumerate(slots):
            found = [one for part in parts if part.end > born[slot] and (one := part.get(slot)) is not None]
            if found:
                summed.append((slot, found[0] if len(found) == 1 else merge_packed(found)))
            if at % MERGED_TOGETHER == MERGED_TOGETHER - 1:
                yield None
        yield PackedRow(start, end, summed)

    # ---- after a start

    def load(self, blocks: Iterable[Block]) -> None:
        """What the disk has, the oldest first: hours, then minutes."""
        for block in blocks:
            gauges: list[tuple[int, Stat]] = []
            sketches: list[tuple[int, bytes]] = []
            hours = block.span == HOUR_S
            end = block.start + block.span
            ring = self.hours if hours else self.minutes
            if ring.end is not None and block.start < ring.end:
                continue
            for key, stat in block.stats():
                if hours and not lasts(key):
                    continue
                slot = self._load_slot(key, block.start, end)
                if slot is not None:
                    gauges.append((slot, stat))
            for key, packed in block.distributions():
                if hours and not lasts(key):
                    continue
                slot = self._load_slot(key, block.start, end)
                if slot is not None:
                    sketches.append((slot, packed))
            row = Row.of(block.start, end, gauges)
            packed_row = PackedRow(block.start, end, sketches)
            ring.add(row)
            if sketches:
                (self.sketch_hours if hours else self.sketch_minutes).add(packed_row)
            if not hours:
                self._load_into_hour(row, packed_row)

    def _load_into_hour(self, row: Row, packed: PackedRow) -> None:
        """The hour that is under way, or that the disk has not made yet, begins with the minutes that it has."""
        if self.hours.end is not None and row.start < self.hours.end:
            return
        if self._hour is not None and row.start >= self._hour.end:
            for _ in self._finish_hour():
                pass
        self._hour = self._hour or Open(row.start, HOUR_S)
        for _ in self._hour.add_stats(((at, one) for at, one in row.stats() if self._lasts(at)), ROLLED_TOGETHER):
            pass
        self._keep_for_hour(packed)

    def _load_slot(self, key: Key, start: int, end: int) -> int | None:
        slot = self.slots.give(key, start)
        if slot is not None:
            self.slots.is_fresh(slot)
            self.slots.heard[slot] = max(self.slots.heard[slot], end - 1)
        return slot


def lasts(key: Key) -> bool:
    """Whether its hours are kept in memory."""
    return not key.target and key.name in BUILT_IN


_DONE = object()

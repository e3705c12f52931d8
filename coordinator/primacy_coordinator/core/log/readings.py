"""Frozen copies of the log for readers, and how far each region has come. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from primacy_wire.instant import Now
from primacy_wire.log_messages import Entry, EntryKind
from primacy_wire.messages import Lag

from primacy_coordinator.core.log import durability, progress
from primacy_coordinator.core.log.ledger import Ledger, conflict_number
from primacy_coordinator.core.log_model import ConflictRecord, ConflictState
from primacy_coordinator.core.state import Session, State
from primacy_coordinator.core.views import EntriesView, LogView, RegionLogView, Safety, TransferView

AT_RISK_SHOWN = 1_000
"""The oldest of those that are at risk; the others are counted."""


def log_view(state: State, now: Now) -> LogView:
    """The log as a whole."""
    ledger = state.log
    head = ledger.records.get(ledger.head)
    risky = durability.at_risk(state)
    stalled_ns = ledger.stalled_since_ns
    return LogView(
        head=ledger.head,
        head_wall_ns=head.entry.sequenced_wall_ns if head is not None else 0,
        first=_first_whole(ledger),
        regions=tuple(region_log(state, name, now.mono_ns) for name in sorted(state.regions)),
        at_risk=tuple(
            (entry, Safety.AT_RISK if available else Safety.UNAVAILABLE) for entry, available in risky[:AT_RISK_SHOWN]
        ),
        at_risk_count=len(risky),
        open_conflicts=sum(conflict.state is ConflictState.OPEN for conflict in ledger.conflicts.values()),
        stalled_ns=-1 if stalled_ns is None else max(0, now.mono_ns - stalled_ns),
    )


def _first_whole(ledger: Ledger) -> int:
    """The oldest number from which on nothing but heartbeats is missing; 0: the log is empty."""
    return ledger.floor + 1 if ledger.head > ledger.floor else ledger.head


def region_log(state: State, name: str, now_ns: int) -> RegionLogView:
    """How far a region has come, as `progress` tells it."""
    said = progress.of_region(state, name)
    best = progress.best_of(state, name)
    if best is None:
        return RegionLogView(name, heard=False)
    return RegionLogView(
        name,
        heard=True,
        settled=best.settled,
        lag=progress.lag_of(state, name, now_ns) or Lag(0, 0, 0),
        parked=tuple((agent, note) for agent, one in said for note in one.parked),
        missing_models=progress.missing_models(state, name),
        uplink=sum(one.uplink for _, one in said),
        transfers=tuple(
            TransferView(agent, record.entry.key, one.sequence, one.received, one.size)
            for agent, told in said
            for one in told.fetching
            if (record := state.log.records.get(one.sequence)) is not None
        ),
    )


# ---- entries


def entries_before(
    state: State, before: int, count: int, bytes_max: int, kind: EntryKind | None = None, key: str = ""
) -> EntriesView:
    """The newest entries below a number (0: all), the newest first; heartbeats only when they are the kind asked for.

    At most `count`, and no more than `bytes_max` of documents (0: they are not counted), but one at least.
    """
    ledger = state.log
    return _taken(state, _downwards(ledger, before or ledger.head + 1, kind, key), count, bytes_max)


def entries_beyond(state: State, after: int, count: int, bytes_max: int, key: str = "") -> EntriesView:
    """The oldest entries above a number, the oldest first; heartbeats left out. Bounds as above."""
    ledger = state.log
    upwards = (
        entry
        for entry in ledger.beyond(after, ledger.head)
        if entry.kind is not EntryKind.HEARTBEAT and key in ("", entry.key)
    )
    return _taken(state, upwards, count, bytes_max)


def _downwards(ledger: Ledger, before: int, kind: EntryKind | None, key: str) -> Iterator[Entry]:
    sequences: Iterable[int] = reversed(ledger.order)
    if key:
        names = ledger.versions.get((EntryKind.MODEL, key), ()), ledger.versions.get((EntryKind.CONFIG, key), ())
        sequences = sorted((*names[0], *names[1]), reverse=True)
    for sequence in sequences:
        entry = ledger.records[sequence].entry
        if sequence < before and (entry.kind is kind or (kind is None and entry.kind is not EntryKind.HEARTBEAT)):
            yield entry


def _taken(state: State, entries: Iterable[Entry], count: int, bytes_max: int) -> EntriesView:
    found: list[Entry] = []
    size, more = 0, False
    for entry in entries:
        size += len(entry.content) if bytes_max else 0
        if len(found) >= count or (found and size > bytes_max):
            more = True
            break
        found.append(entry)
    sessions = durability.following(state)
    return EntriesView(tuple((entry, _safety(sessions, entry)) for entry in found), more, state.log.head)


def _safety(sessions: list[Session], entry: Entry) -> Safety | None:
    """None: it has no content that could be lost."""
    if entry.kind is EntryKind.HEARTBEAT or entry.removed:
        return None
    regions = {
        session.region
        for session in sessions
        if session.log.progress is not None and durability.keeps(session.log.progress, entry)
    }
    return (Safety.UNAVAILABLE, Safety.AT_RISK, Safety.SAFE)[min(2, len(regions))]


# ---- conflicts


def conflicts_before(
    state: State, before: int, count: int, bytes_max: int, wanted: ConflictState | None = None, key: str = ""
) -> tuple[tuple[ConflictRecord, ...], bool]:
    """(the newest conflicts whose number is below `before` (0: all), newest first; whether there are more).

    Bounds as for entries.
    """
    found: list[ConflictRecord] = []
    size = 0
    for conflict in sorted(state.log.conflicts.values(), key=lambda one: conflict_number(one.id), reverse=True):
        if before and conflict_number(conflict.id) >= before:
            continue
        if (wanted is not None and conflict.state is not wanted) or key not in ("", conflict.entry_key):
            continue
        writes = (conflict.base, conflict.current, conflict.incoming)
        size += sum(len(entry.content) for entry in writes if entry is not None) if bytes_max else 0
        if len(found) >= count or (found and size > bytes_max):
            return tuple(found), True
        found.append(conflict)
    return tuple(found), False

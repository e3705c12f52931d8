"""Giving a write its number, and writing it down."""

from __future__ import annotations

from primacy_wire.hlc import HybridTime, clamped
from primacy_wire.log_messages import Entry, EntryKind

from primacy_coordinator.core.effects import Topic
from primacy_coordinator.core.log_model import Draft
from primacy_coordinator.core.state import State
from primacy_coordinator.core.turn import Turn


def enter(state: State, turn: Turn, draft: Draft, conflict_id: str = "") -> Entry:
    """Number the draft, and write it."""
    entry = numbered(state, turn, draft, conflict_id)
    _write(state, turn, entry)
    return entry


def numbered(state: State, turn: Turn, draft: Draft, conflict_id: str = "") -> Entry:
    """The draft as the next entry of the log; nothing is changed."""
    ledger, record = state.log, state.authority.record
    current = ledger.current.get((draft.kind, draft.key))
    written = HybridTime(draft.time_wall_ns, draft.time_counter, draft.agent)
    time = clamped(written, turn.now.wall_ns)
    return Entry(
        sequence=ledger.head + 1,
        id=draft.id,
        kind=draft.kind,
        key=draft.key,
        digest=draft.digest,
        size=draft.size,
        version=current.version + 1 if current is not None else int(draft.kind is not EntryKind.HEARTBEAT),
        parent=draft.parent,
        time=time,
        epoch=draft.epoch,
        origin=draft.origin,
        agent=draft.agent,
        sequenced_wall_ns=turn.now.wall_ns,
        content=draft.content,
        format=draft.format,
        removed=draft.removed,
        conflict_id=conflict_id,
        time_clamped=time != written,
        message=draft.message,
        by_active=bool(draft.epoch) and draft.epoch == record.accepted_epoch and draft.origin == record.accepted_region,
    )


def beat(state: State, turn: Turn, region: str, agent: str, epoch: int) -> None:
    """A sign of life of the active region; the one before it is not needed any more."""
    before = state.log.drop_heartbeat()
    if before is not None:
        turn.drop(before.kind, before.key)
    sequence = state.log.head + 1
    draft = Draft(f"hb-{sequence}", EntryKind.HEARTBEAT, "", "", 0, 0, turn.now.wall_ns, 0, epoch, region, agent)
    _write(state, turn, numbered(state, turn, draft))


def _write(state: State, turn: Turn, entry: Entry) -> None:
    ledger = state.log
    turn.write(ledger.add(entry, turn.now.mono_ns))
    if ledger.writing and ledger.writing[-1][0] == turn.batch:
        ledger.writing[-1] = turn.batch, entry.sequence
    else:
        ledger.writing.append((turn.batch, entry.sequence))
    turn.changed(Topic.LOG)

"""Taking writes into the log: who may, once only, and what becomes of two that do not know of each other.

1. An id that is known gets the answer that it got; nothing happens twice.
2. The epoch must be in force: a later one belongs to another store, an earlier one to a writer that is not active any
   more (I4).
3. While a planned move waits for the log nothing new goes in, so that the candidate can reach its end.
4. The entry is numbered and written; the answer waits for the disk (I7), and for another region if it shall survive the
   loss of this one.
"""

from __future__ import annotations

from dataclasses import replace

from primacy_wire.log_messages import EntryKind

from primacy_coordinator.core.effects import Refusal, RefusalKind
from primacy_coordinator.core.events import Append
from primacy_coordinator.core.log import conflicts, durability, writing
from primacy_coordinator.core.log_model import Appended, AppendOutcome, ConflictState, Draft
from primacy_coordinator.core.model import FailoverKind, FailoverState
from primacy_coordinator.core.state import State
from primacy_coordinator.core.turn import Turn

FROZEN_STATES = frozenset({FailoverState.FREEZING, FailoverState.RELEASING})


def append(state: State, turn: Turn, command: Append) -> None:
    """Carry the command out, or refuse it without a trace; the reply may come later."""
    refusal = _check_state(state)
    if refusal is not None:
        turn.reply(command.request, refusal=refusal)
        return
    ledger, draft = state.log, command.draft
    known = ledger.ids.get(draft.id)
    if known is not None:
        entry = ledger.records[known].entry
        outcome = conflicts.outcome_of(ledger, entry)
        durability.answer(
            state, turn, command, Appended(known, entry.version, outcome, entry.conflict_id), entry.origin
        )
        return
    if draft.id in ledger.conflict_of:
        _answer_conflict(state, turn, command, ledger.conflict_of[draft.id])
        return
    refusal = (
        _check_origin(state, draft)
        or _check_epoch(state, draft, certain=command.if_version is not None)
        or _check_version(state, draft, command.if_version)
        or _check_key(state, draft, certain=command.if_version is not None)
    )
    if refusal is not None:
        turn.reply(command.request, refusal=refusal)
        return
    cause = _cause(state, draft, certain=command.if_version is not None)
    if cause:
        conflict = conflicts.meet(state, turn, draft, cause)
        _answer_conflict(state, turn, command, conflict.id)
        return
    entry = writing.enter(state, turn, draft)
    appended = Appended(entry.sequence, entry.version, AppendOutcome.APPENDED)
    durability.answer(state, turn, command, appended, entry.origin, new=True)


def _cause(state: State, draft: Draft, certain: bool) -> str:
    """Why the write is a conflict; empty: it is none. Versions of a model simply follow each other."""
    if draft.kind is not EntryKind.CONFIG or certain:
        return ""
    if not draft.removed and state.log.in_the_way(draft.key):
        return conflicts.KEY_TAKEN
    current = state.log.current.get((draft.kind, draft.key))
    if draft.epoch < state.authority.record.accepted_epoch:
        return "STALE_EPOCH"
    return "CONCURRENT" if current is not None and draft.parent != current.sequence else ""


def _answer_conflict(state: State, turn: Turn, command: Append, conflict_id: str) -> None:
    conflict = state.log.conflicts[conflict_id]
    if conflict.state is ConflictState.REJECTED:
        message = (
            f"{conflict.entry_key!r} was changed meanwhile ({conflict.cause}), and the policy rejects the second: "
            f"it is kept in {conflict.id}"
        )
        if conflict.cause == conflicts.KEY_TAKEN:
            taken = conflicts.key_taken(state, conflict.entry_key)
            turn.reply(command.request, refusal=replace(taken, message=f"{taken.message}; it is kept in {conflict.id}"))
            return
        turn.reply(
            command.request,
            refusal=Refusal(RefusalKind.STALE, "CONFLICT", message, metadata=(("conflict", conflict.id),)),
        )
        return
    entered = state.log.ids.get(conflict.incoming.id)
    if entered is None:
        # It lost, or waits for an operator: it is in the store of the coordinator alone, as a conflict.
        turn.reply(command.request, Appended(0, 0, conflict.outcome, conflict.id))
        return
    entry = state.log.records[entered].entry
    durability.answer(
        state, turn, command, Appended(entered, entry.version, conflict.outcome, conflict.id), entry.origin
    )


# ---- what refuses a write


def _check_state(state: State) -> Refusal | None:
    if state.doubt is not None:
        return Refusal(
            RefusalKind.UNAVAILABLE,
            "IN_DOUBT",
            "the coordinator does not trust its store: `primacy recover` shows why",
        )
    move = state.move
    planned = move is not None and move.record.move in (FailoverKind.PLANNED, FailoverKind.FAILBACK)
    if move is not None and planned and move.record.state in FROZEN_STATES:
        return Refusal(
            RefusalKind.UNAVAILABLE,
            "FROZEN",
            f"writes are stopped for {move.record.id}, a planned move: try again in a moment",
        )
    return None


def _check_origin(state: State, draft: Draft) -> Refusal | None:
    """Whether another region has the content is told by the region that it came from: that must be one."""
    if draft.origin in state.regions:
        return None
    message = f"there is no region {draft.origin!r} that could have written this: ListRegions shows those that exist"
    return Refusal(RefusalKind.NOT_FOUND, "REGION_NOT_FOUND", message, metadata=(("region", draft.origin),))


def _check_epoch(state: State, draft: Draft, certain: bool) -> Refusal | None:
    """I4. A document that is over goes the way of conflicts, unless its writer asked for all or nothing."""
    record = state.authority.record
    epochs = (("epoch", str(draft.epoch)), ("current_epoch", str(record.accepted_epoch)))
    if draft.epoch > record.epoch:
        message = f"epoch {draft.epoch} was never granted here: the newest is {record.epoch}"
        return Refusal(RefusalKind.PRECONDITION, "FUTURE_EPOCH", message, metadata=epochs)
    if (certain or draft.kind is EntryKind.MODEL) and draft.epoch < record.accepted_epoch:
        message = f"epoch {draft.epoch} is over: {record.accepted_region} is active at epoch {record.accepted_epoch}"
        return Refusal(RefusalKind.PRECONDITION, "STALE_EPOCH", message, metadata=epochs)
    return None


def _check_key(state: State, draft: Draft, certain: bool) -> Refusal | None:
    """Where no region could keep it. Unless its writer asked for all or nothing, it is kept as a conflict (I5)."""
    if not certain or draft.kind is not EntryKind.CONFIG or draft.removed or not state.log.in_the_way(draft.key):
        return None
    return conflicts.key_taken(state, draft.key)


def _check_version(state: State, draft: Draft, if_version: int | None) -> Refusal | None:
    current = state.log.current.get((draft.kind, draft.key))
    version = current.version if current is not None and not current.removed else 0
    if if_version is None or if_version == version or (current is not None and if_version == current.version):
        return None
    now = f"version {version} is in force" if version else "there is none"
    return Refusal(
        RefusalKind.STALE,
        "VERSION_MISMATCH",
        f"{draft.key!r} is not at version {if_version}: {now}",
        metadata=(("version", str(version)),),
    )

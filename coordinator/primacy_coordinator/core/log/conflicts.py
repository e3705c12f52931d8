"""Two writes of one document that did not know of each other, or one under an epoch that is over.

Nothing of either is lost (I5): the conflict keeps both, whatever the log forgets. Whatever is decided is a new entry of
the log, so every region ends with the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from blake3 import blake3
from primacy_wire import documents, merging
from primacy_wire.hlc import HybridTime
from primacy_wire.log_messages import Entry

from primacy_coordinator.core.effects import Refusal, RefusalKind, Severity, Topic
from primacy_coordinator.core.events import ResolveConflict
from primacy_coordinator.core.log import writing
from primacy_coordinator.core.log.ledger import Ledger
from primacy_coordinator.core.log_model import (
    AppendOutcome,
    ConflictPolicy,
    ConflictRecord,
    ConflictState,
    Draft,
)
from primacy_coordinator.core.model import Policy
from primacy_coordinator.core.state import State
from primacy_coordinator.core.turn import Turn

CONFLICTS_KEPT = 1_000
"""Decided ones beyond that are forgotten, the oldest first; open ones never are."""
OPERATOR = "operator"
KEY_TAKEN = "KEY_TAKEN"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy makes of two writes."""

    outcome: AppendOutcome
    """For the second writer."""
    rejected: bool = False
    content: bytes | None = None
    """MERGED: the document that holds both."""
    clashes: tuple[str, ...] = ()


_REJECTED = Decision(AppendOutcome.LOST, rejected=True)


def key_taken(state: State, key: str) -> Refusal:
    """Why there can be no document of this key."""
    other = state.log.in_the_way(key) or "another one"
    message = f"{key!r} cannot be a document beside {other!r}: each is a file below one folder. Remove that one first"
    return Refusal(RefusalKind.PRECONDITION, KEY_TAKEN, message, metadata=(("other", other),))


def policy_for(policy: Policy, key: str) -> ConflictPolicy:
    """The policy of the longest prefix of a key, else the group's."""
    best, found = -1, policy.conflict_policy
    for prefix, chosen in policy.conflict_policies:
        if key.startswith(prefix) and len(prefix) > best:
            best, found = len(prefix), chosen
    return found


def decide(policy: ConflictPolicy, base: Entry | None, current: Entry | None, incoming: Entry) -> Decision:
    """Pure: what becomes of `incoming`, which was not made from `current`, or was made under an epoch that is over."""
    if current is None:
        return _won(True)  # Nobody else has written the key: nobody loses.
    match policy:
        case ConflictPolicy.REJECT:
            return _REJECTED
        case ConflictPolicy.MANUAL:
            return Decision(AppendOutcome.OPEN)
        case ConflictPolicy.MERGE:
            merged = _merge(base, current, incoming)
            if merged is not None:
                return merged
        case ConflictPolicy.ACTIVE_WINS:
            if _authority(incoming) != _authority(current):
                return _won(_authority(incoming) > _authority(current))
        case ConflictPolicy.LAST_WRITER_WINS:
            pass
    return _won(incoming.time > current.time)


def _won(won: bool) -> Decision:
    return Decision(AppendOutcome.WON if won else AppendOutcome.LOST)


def _authority(entry: Entry) -> tuple[int, bool]:
    """The later epoch counts for more; within one, the region that was active under it."""
    return entry.epoch, entry.by_active


def _merge(base: Entry | None, current: Entry | None, incoming: Entry) -> Decision | None:
    """Both in one document; None: they cannot be merged, so the later one stands whole."""
    if base is None or current is None or current.removed or incoming.removed or base.removed:
        return None
    if any(len(entry.content) > documents.MERGED_BYTES_MAX[entry.format] for entry in (base, current, incoming)):
        return None
    try:
        common, first, second = (documents.read(entry.content, entry.format) for entry in (base, current, incoming))
    except documents.BadDocument:
        return None
    merged = merging.merge(common, first, second, second_wins=incoming.time > current.time)
    if merged.value is merging.ABSENT:
        return None
    return Decision(
        AppendOutcome.MERGED, content=documents.write(merged.value, incoming.format), clashes=merged.clashes
    )


def meet(state: State, turn: Turn, draft: Draft, cause: str) -> ConflictRecord:
    """Record the conflict of a write with the version in force, and carry out what the policy says of it."""
    ledger = state.log
    current = ledger.current.get((draft.kind, draft.key))
    base_record = ledger.records.get(draft.parent)
    base = base_record.entry if base_record is not None and base_record.entry.key == draft.key else None
    number = ledger.conflict_count + 1
    conflict_id = f"cf-{number}"
    incoming = writing.numbered(state, turn, draft, conflict_id)
    policy = policy_for(state.policy, draft.key)
    decision = _REJECTED if cause == KEY_TAKEN else decide(policy, base, current, incoming)
    result = 0
    if decision.outcome is AppendOutcome.WON:
        incoming = writing.enter(state, turn, draft, conflict_id)
        result = incoming.sequence
    elif decision.outcome is AppendOutcome.MERGED and current is not None:
        content = decision.content or b""
        later = max(incoming.time, current.time)  # It holds fields of both: what is older than either is older than it.
        merged = replace(
            draft,
            content=content,
            digest=blake3(content).hexdigest(),
            size=len(content),
            parent=current.sequence,
            time_wall_ns=later.wall_ns,
            time_counter=later.counter,
        )
        result = writing.enter(state, turn, merged, conflict_id).sequence
        incoming = replace(incoming, sequence=result)
    else:
        incoming = replace(incoming, sequence=0, version=0)
    opened = decision.outcome is AppendOutcome.OPEN
    conflict = ConflictRecord(
        id=conflict_id,
        entry_key=draft.key,
        entry_kind=draft.kind,
        state=ConflictState.REJECTED if decision.rejected else ConflictState.OPEN if opened else ConflictState.RESOLVED,
        decided_by="" if opened else KEY_TAKEN if cause == KEY_TAKEN else policy.name,
        cause=cause,
        base=base,
        current=current,
        incoming=incoming,
        result=result,
        outcome=decision.outcome,
        clashes=decision.clashes,
        created_wall_ns=turn.now.wall_ns,
        decided_wall_ns=0 if opened else turn.now.wall_ns,
    )
    _keep(state, turn, conflict)
    turn.journal(
        "conflict",
        f"{conflict.id}: {draft.agent} wrote {draft.key} not knowing of "
        f"{current.agent + chr(39) + 's version' if current is not None else 'anything'} ({cause}): "
        f"{decision.outcome.name.lower()} by {policy.name}",
        Severity.CRITICAL if opened else Severity.WARNING,
        region=draft.origin,
        inputs=conflict,
    )
    return conflict


def _keep(state: State, turn: Turn, conflict: ConflictRecord) -> None:
    ledger = state.log
    ledger.note_conflict(conflict)
    turn.write(conflict)
    turn.changed(Topic.CONFLICTS)
    if len(ledger.conflicts) > CONFLICTS_KEPT:
        for old in ledger.conflicts.values():
            if old.state is not ConflictState.OPEN:
                del ledger.conflicts[old.id]
                ledger.conflict_of.pop(old.incoming.id, None)
                turn.drop(old.kind, old.key)
                break


def outcome_of(ledger: Ledger, entry: Entry) -> AppendOutcome:
    """What its writer was told of an entry that is in the log."""
    conflict = ledger.conflicts.get(entry.conflict_id)
    return conflict.outcome if conflict is not None and conflict.incoming.id == entry.id else AppendOutcome.APPENDED


# ---- operators


def resolve(state: State, turn: Turn, command: ResolveConflict) -> None:
    """Decide a conflict by hand: a new version of the key, or none when what is in force shall stay."""
    ledger = state.log
    conflict = ledger.conflicts.get(command.conflict_id)
    refusal = _check(state, conflict, command)
    if refusal is not None or conflict is None:
        turn.reply(command.request, refusal=refusal)
        return
    current = ledger.current.get((conflict.entry_kind, conflict.entry_key))
    chosen = conflict.current if command.take == "current" else conflict.incoming
    if command.take == "content":
        chosen = replace(
            conflict.incoming,
            content=command.content,
            digest=command.digest,
            size=len(command.content),
            format=format_of(conflict),
            removed=False,
        )
    result = 0
    stays = chosen is not None and current is not None and _same(chosen, current)
    if not stays and chosen is not None and not chosen.removed and ledger.in_the_way(conflict.entry_key):
        turn.reply(command.request, refusal=key_taken(state, conflict.entry_key))
        return
    if not stays:
        draft = _draft(state, turn, conflict, chosen, current)
        result = writing.enter(state, turn, draft, conflict.id).sequence
    decided = replace(
        conflict,
        state=ConflictState.RESOLVED,
        decided_by=OPERATOR,
        result=result,
        decided_wall_ns=turn.now.wall_ns,
        owner=command.owner,
        reason=command.reason,
    )
    _keep(state, turn, decided)
    turn.journal(
        "conflict-resolved",
        f"{conflict.id} ({conflict.entry_key}) by {command.owner or 'an operator'}: {command.take}"
        + (f": {command.reason}" if command.reason else ""),
        inputs=decided,
    )
    turn.reply(command.request, decided)


def format_of(conflict: ConflictRecord) -> str:
    """The format of a document that decides the conflict: that of the second write, unless it was a removal."""
    current = conflict.current.format if conflict.current is not None else ""
    return conflict.incoming.format or current or documents.YAML


def _check(state: State, conflict: ConflictRecord | None, command: ResolveConflict) -> Refusal | None:
    if state.doubt is not None:
        return Refusal(RefusalKind.UNAVAILABLE, "IN_DOUBT", "the coordinator does not trust its store")
    if conflict is None:
        return Refusal(
            RefusalKind.NOT_FOUND,
            "CONFLICT_NOT_FOUND",
            f"there is no conflict {command.conflict_id!r}: `primacy conflict list` shows those that are kept",
        )
    current = state.log.current.get((conflict.entry_kind, conflict.entry_key))
    version = current.version if current is not None else 0
    if command.if_version is not None and command.if_version != version:
        return Refusal(
            RefusalKind.STALE,
            "VERSION_MISMATCH",
            f"{conflict.entry_key!r} is at version {version} by now, not {command.if_version}",
            metadata=(("version", str(version)),),
        )
    return None


def _same(one: Entry, other: Entry) -> bool:
    return (one.digest, one.removed, one.format) == (other.digest, other.removed, other.format)


def _draft(state: State, turn: Turn, conflict: ConflictRecord, chosen: Entry | None, current: Entry | None) -> Draft:
    """The decision as a write of now: later than both, whatever clocks said."""
    latest = max(
        HybridTime(turn.now.wall_ns, 0, ""),
        conflict.incoming.time,
        current.time if current is not None else HybridTime(),
    )
    return Draft(
        id=f"{conflict.id}-{state.log.head + 1}",
        kind=conflict.entry_kind,
        key=conflict.entry_key,
        digest=chosen.digest if chosen is not None else "",
        size=chosen.size if chosen is not None else 0,
        parent=current.sequence if current is not None else 0,
        time_wall_ns=latest.wall_ns,
        time_counter=latest.counter + 1,
        epoch=state.authority.record.accepted_epoch,
        origin=conflict.incoming.origin,
        agent=conflict.incoming.agent,
        content=chosen.content if chosen is not None else b"",
        format=chosen.format if chosen is not None else conflict.incoming.format,
        removed=chosen is None or chosen.removed,
        message=f"decided in {conflict.id}",
    )

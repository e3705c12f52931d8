"""When an append is acknowledged: at once when it is in the store, or when another region has the content."""

from __future__ import annotations

from primacy_wire.instant import SECOND_NS
from primacy_wire.log_messages import Entry, EntryKind, Progress

from primacy_coordinator.core.effects import Refusal, RefusalKind
from primacy_coordinator.core.events import Append, AppendAbandoned
from primacy_coordinator.core.log.ledger import Waiting
from primacy_coordinator.core.log_model import Appended, Durability
from primacy_coordinator.core.state import Session, State
from primacy_coordinator.core.turn import Turn

WAIT_NS_MAX = 30 * SECOND_NS
"""A caller that has waited so long for another region is told that there is none that takes it."""

BACK_NS = 5 * SECOND_NS
"""Who was heard within so long is waited for: a link or a coordinator that comes back costs no writer an error."""


def answer(state: State, turn: Turn, command: Append, appended: Appended, origin: str, new: bool = False) -> None:
    """Answer an append of an entry that is in the log: now (behind its write), or when another region has it.

    `new`: it was numbered this very moment, so that nobody can have it.
    """
    wanted = command.durability if command.durability is not None else state.policy.durability
    safe = not new and is_elsewhere(state, appended.sequence, origin)
    if wanted is Durability.LOCAL or safe:
        result = Appended(appended.sequence, appended.version, appended.outcome, appended.conflict_id, at_risk=not safe)
        turn.reply(command.request, result)
    elif not _others(state, origin, turn.now.mono_ns):
        turn.reply(command.request, refusal=_at_risk(appended.sequence, origin))
    else:
        waiting = Waiting(command.request, turn.now.mono_ns, appended)
        state.log.waiting.setdefault(appended.sequence, []).append(waiting)


def abandon(state: State, event: AppendAbandoned) -> None:
    """The caller has gone; the entry stays."""
    for sequence, waiting in list(state.log.waiting.items()):
        left = [one for one in waiting if one.request != event.request]
        if left:
            state.log.waiting[sequence] = left
        else:
            del state.log.waiting[sequence]


def on_progress(state: State, turn: Turn, session: Session) -> None:
    """An agent has come farther: whoever waits for another region may have it."""
    progress = session.log.progress
    if progress is None or not state.log.waiting or not _follows(state, session):
        return
    for sequence in [sequence for sequence in state.log.waiting if _keeps(state, progress, sequence)]:
        if _origin(state, sequence) != session.region:
            for waiting in state.log.waiting.pop(sequence):
                turn.reply(waiting.request, waiting.appended)


def on_time(state: State, turn: Turn) -> None:
    """Nobody waits for regions that are not there."""
    for sequence, waiting in list(state.log.waiting.items()):
        origin = _origin(state, sequence)
        alone = not _others(state, origin, turn.now.mono_ns)
        left = []
        for one in waiting:
            if alone or turn.now.mono_ns - one.since_ns >= WAIT_NS_MAX:
                turn.reply(one.request, refusal=_at_risk(sequence, origin))
            else:
                left.append(one)
        if left:
            state.log.waiting[sequence] = left
        else:
            del state.log.waiting[sequence]


def keeps(progress: Progress, entry: Entry) -> bool:
    """Whether the content of an entry is on the disk of an agent that said so. A document comes with its entry."""
    return has(progress, entry.sequence) or (
        entry.kind is not EntryKind.MODEL and entry.sequence <= progress.received and progress.chain != 0
    )


def _keeps(state: State, progress: Progress, sequence: int) -> bool:
    record = state.log.records.get(sequence)
    return record is not None and keeps(progress, record.entry)


def has(progress: Progress, sequence: int) -> bool:
    """Whether an agent that said so has applied an entry, or has the verified content of its model."""
    if sequence in progress.verified:
        return True
    return sequence <= progress.settled and all(note.sequence != sequence for note in progress.parked)


def is_elsewhere(state: State, sequence: int, origin: str) -> bool:
    """Whether an agent of another region than `origin` has the content."""
    return any(
        session.region != origin and session.log.progress is not None and _keeps(state, session.log.progress, sequence)
        for session in following(state)
    )


def following(state: State) -> list[Session]:
    """Sessions whose agents keep this very log."""
    return [session for session in state.sessions.values() if _follows(state, session)]


def _follows(state: State, session: Session) -> bool:
    progress = session.log.progress
    return progress is not None and progress.store_id == state.store_id and not session.log.snapshot_upto


def at_risk(state: State) -> list[tuple[Entry, bool]]:
    """(entry, whether any region that is heard has it) of the current versions that fewer than two regions have."""
    sessions = following(state)
    found = []
    for entry in state.log.current.values():
        if entry.kind is EntryKind.HEARTBEAT or entry.removed:
            continue
        regions = {s.region for s in sessions if s.log.progress is not None and keeps(s.log.progress, entry)}
        if len(regions) < 2:
            found.append((entry, bool(regions)))
    return sorted(found, key=lambda one: one[0].sequence)


def _others(state: State, origin: str, now_ns: int) -> bool:
    """Whether a region other than `origin` is there to take it, or was a moment ago: sessions come back after a start.

    An agent that was never heard by this machine counts as seen at its start.
    """
    return any(session.region != origin for session in state.sessions.values()) or any(
        region.record.name != origin and any(now_ns - agent.seen_ns < BACK_NS for agent in region.agents.values())
        for region in state.regions.values()
    )


def _origin(state: State, sequence: int) -> str:
    record = state.log.records.get(sequence)
    return record.entry.origin if record is not None else ""


def _at_risk(sequence: int, origin: str) -> Refusal:
    return Refusal(
        RefusalKind.UNAVAILABLE,
        "AT_RISK",
        f"entry {sequence} is in the log, and only {origin} has its content: no other region took it. Append the same "
        "id again to wait anew, or ask for LOCAL durability",
        metadata=(("sequence", str(sequence)),),
    )

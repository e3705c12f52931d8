"""Bringing the log to agents: in order, within a window, again when it seems lost, as a snapshot to who is far behind.

An agent says how far it has come (`Progress`), with the fingerprint of its log. Same number and same fingerprint: it
gets what comes after. Else its log is not this one any more (an older store was put back), or ends before what is kept:
it gets a snapshot, which is the current version of every key in order of their numbers.
"""

from __future__ import annotations

from bisect import bisect_right

from primacy_wire.instant import MILLISECOND_NS
from primacy_wire.log_messages import Entries, Entry, ParkedNote, Progress, RetryParked

from primacy_coordinator.core.effects import Refusal, RefusalKind, Severity, Topic
from primacy_coordinator.core.events import RetryEntry
from primacy_coordinator.core.log import durability, transfers
from primacy_coordinator.core.state import Session, State
from primacy_coordinator.core.turn import Turn
from primacy_coordinator.core.views import Retried

MESSAGE_ENTRIES_MAX = 128
MESSAGE_BYTES_MAX = 512 * 1024
"""Of documents; one entry may be larger."""
WINDOW_ENTRIES = 512
WINDOW_BYTES = 2 * 1024 * 1024
"""What may be on its way to one agent beyond what it said that it has."""
LOST_INTERVALS = 2
"""An agent that does not move for so many report intervals is sent the same again."""
FEED_GAP_NS = 5 * MILLISECOND_NS
"""What becomes durable is sent at most so often, so that a busy log goes out in few messages."""


def on_progress(state: State, turn: Turn, session: Session, message: Progress) -> None:
    """An agent said how far it has come."""
    if message.incarnation != session.hello.incarnation:
        return
    peer = session.log
    before, peer.progress = peer.progress, message
    if before is None or (before.received, before.chain) != (message.received, message.chain):
        peer.moved_ns = turn.now.mono_ns
    _tell_of_parked(turn, session, before, message)
    transfers.on_progress(state, turn, before, message)
    feed(state, turn, session)
    durability.on_progress(state, turn, session)
    if before is None or before != message:
        turn.changed(Topic.LOG)
        turn.unsettled = turn.unsettled or state.move is not None


def on_durable(state: State, turn: Turn, batch: int) -> None:
    """What has become durable may be told, and is, unless sessions were fed a moment ago."""
    ledger = state.log
    before = ledger.durable_head
    while ledger.writing and ledger.writing[0][0] <= batch:
        ledger.durable_head = ledger.writing.pop(0)[1]
    ledger.quiet = False  # The store takes what it is given.
    if ledger.durable_head == before:
        return
    now_ns = turn.now.mono_ns
    if now_ns - ledger.fed_ns >= FEED_GAP_NS:
        feed_all(state, turn)
    elif ledger.feed_due_ns is None:
        ledger.feed_due_ns = ledger.fed_ns + FEED_GAP_NS
        state.wake_ns = min(state.wake_ns, ledger.feed_due_ns)


def on_wake(state: State, turn: Turn) -> None:
    """Feed what waits: often, so nothing else is looked at."""
    if state.log.feed_due_ns is not None and turn.now.mono_ns >= state.log.feed_due_ns:
        feed_all(state, turn)


def on_time(state: State, turn: Turn) -> None:
    """Send again what seems lost."""
    lost_ns = LOST_INTERVALS * state.policy.report_interval_ns
    for session in state.sessions.values():
        peer = session.log
        behind = peer.progress is not None and peer.progress.received < peer.sent
        if (behind or peer.snapshot_upto) and turn.now.mono_ns - peer.moved_ns >= lost_ns:
            peer.moved_ns = turn.now.mono_ns
            peer.sent = peer.progress.received if peer.progress is not None else 0
            if peer.snapshot_upto:
                _begin_snapshot(state, turn, session)
            else:
                feed(state, turn, session)


def deadlines(state: State) -> list[int]:
    return [state.log.feed_due_ns] if state.log.feed_due_ns is not None else []


def feed_all(state: State, turn: Turn) -> None:
    state.log.feed_due_ns = None
    state.log.fed_ns = turn.now.mono_ns
    transfers.on_durable(state, turn)
    for session in state.sessions.values():
        feed(state, turn, session)


def feed(state: State, turn: Turn, session: Session) -> None:
    """Send what this agent may get now."""
    peer, ledger = session.log, state.log
    progress = peer.progress
    if progress is None or state.doubt is not None:
        return
    report = session.report
    if report is not None and report.lineage.store_id != state.store_id:
        return  # It does not follow this store (yet).
    if peer.snapshot_upto:
        if (progress.received, progress.chain) == (peer.snapshot_upto, peer.snapshot_chain):
            peer.snapshot_upto = 0
            peer.diverged = False
            peer.parts.clear()
            peer.sent = progress.received
        else:
            _go_on_with_snapshot(state, turn, session, progress)
            return
    elif not is_prefix(state, progress):
        _begin_snapshot(state, turn, session)
        return
    peer.sent = max(peer.sent, progress.received)
    while peer.sent < ledger.durable_head:
        message = _next(state, peer.sent, progress.received)
        if message is None:
            break
        turn.send(session.number, message)
        peer.sent = message.upto


def is_prefix(state: State, progress: Progress) -> bool:
    """Whether an agent's log is this one up to where it ends, and can be gone on with."""
    if progress.store_id != state.store_id:
        return progress.store_id == "" and progress.received == 0 and state.log.floor == 0
    return progress.received <= state.log.durable_head and state.log.chain_at(progress.received) == progress.chain


def _next(state: State, after: int, received: int) -> Entries | None:
    """The next message behind `after`; None: the window is full."""
    ledger = state.log
    count = bisect_right(ledger.order, after) - bisect_right(ledger.order, received)
    size = sum(len(entry.content) for entry in ledger.beyond(received, after))
    if count >= WINDOW_ENTRIES or size >= WINDOW_BYTES:
        return None
    taken: list[Entry] = []
    size = 0
    upto = ledger.durable_head
    for entry in ledger.beyond(after, ledger.durable_head):
        if len(taken) >= MESSAGE_ENTRIES_MAX or (taken and size + len(entry.content) > MESSAGE_BYTES_MAX):
            upto = taken[-1].sequence
            break
        taken.append(entry)
        size += len(entry.content)
    after_chain, upto_chain = ledger.chain_at(after), ledger.chain_at(upto)
    assert after_chain is not None
    assert upto_chain is not None
    return Entries(state.store_id, after, after_chain, upto, upto_chain, tuple(taken), ledger.durable_head)


# ---- snapshots


def _begin_snapshot(state: State, turn: Turn, session: Session) -> None:
    ledger, peer = state.log, session.log
    chain = ledger.chain_at(ledger.durable_head)
    assert chain is not None
    peer.snapshot_upto, peer.snapshot_chain = ledger.durable_head, chain
    peer.sent, peer.moved_ns = 0, turn.now.mono_ns
    peer.parts.clear()
    assert peer.progress is not None
    peer.diverged = peer.diverged or _is_diverged(state, peer.progress)
    turn.journal(
        "snapshot-sent",
        f"{session.key} gets the current version of everything: its log ends at {peer.progress.received}, and is not "
        f"the one that is kept from {ledger.floor}",
        region=session.region,
    )
    _go_on_with_snapshot(state, turn, session, None)


def _is_diverged(state: State, progress: Progress) -> bool:
    """Whether an agent's log is no part of this one, as far as can be told: below the floor nothing can."""
    if progress.store_id != state.store_id:
        return bool(progress.store_id)
    return progress.received >= state.log.floor


def _go_on_with_snapshot(state: State, turn: Turn, session: Session, progress: Progress | None) -> None:
    """Send parts until the window is full. An empty log is one empty part."""
    peer = session.log
    had = progress.received if progress is not None and progress.received in peer.parts else 0
    wanted = sorted(
        (entry for entry in state.log.current.values() if entry.sequence <= peer.snapshot_upto),
        key=lambda entry: entry.sequence,
    )
    while peer.sent < peer.snapshot_upto or not peer.parts:
        on_way = [entry for entry in wanted if had < entry.sequence <= peer.sent]
        if len(on_way) >= WINDOW_ENTRIES or sum(len(entry.content) for entry in on_way) >= WINDOW_BYTES:
            return
        taken: list[Entry] = []
        size = 0
        upto, chain = peer.snapshot_upto, peer.snapshot_chain
        for entry in wanted:
            if entry.sequence <= peer.sent:
                continue
            if len(taken) >= MESSAGE_ENTRIES_MAX or (taken and size + len(entry.content) > MESSAGE_BYTES_MAX):
                upto, chain = taken[-1].sequence, 0
                break
            taken.append(entry)
            size += len(entry.content)
        part = Entries(
            state.store_id,
            peer.sent,
            0,
            upto,
            chain,
            tuple(taken),
            state.log.durable_head,
            snapshot=True,
            snapshot_upto=peer.snapshot_upto,
            diverged=peer.diverged,
        )
        turn.send(session.number, part)
        peer.parts.add(upto)
        peer.sent = upto


# ---- parked entries


def _tell_of_parked(turn: Turn, session: Session, before: Progress | None, after: Progress) -> None:
    known = {note.sequence for note in before.parked} if before is not None else set()
    for note in after.parked:
        if note.sequence not in known:
            turn.journal(
                "entry-parked",
                f"{session.key} put entry {note.sequence} ({note.key}) aside after {note.attempts} tries: "
                f"{note.reason}",
                Severity.WARNING,
                region=session.region,
            )
    left = {note.sequence for note in after.parked}
    for sequence in sorted(known - left):
        turn.journal("entry-unparked", f"{session.key} goes on with entry {sequence}", region=session.region)


def retry(state: State, turn: Turn, command: RetryEntry) -> None:
    """Let agents try what they have parked again."""
    regions: set[str] = set()
    count = 0
    for session in state.sessions.values():
        if session.log.progress is None or command.region not in ("", session.region):
            continue
        parked: tuple[ParkedNote, ...] = session.log.progress.parked
        wanted = tuple(note.sequence for note in parked if command.sequence in (0, note.sequence))
        if wanted:
            turn.send(session.number, RetryParked(wanted))
            regions.add(session.region)
            count += len(wanted)
    if not count:
        what = f"entry {command.sequence}" if command.sequence else "anything"
        who = command.region or "no region"
        refusal = Refusal(
            RefusalKind.PRECONDITION,
            "NOT_PARKED",
            f"{who} has{' not' if command.region else ''} parked {what}: `primacy replication` shows what is",
        )
        turn.reply(command.request, refusal=refusal)
        return
    turn.journal("retry-asked", f"{count} parked entries are tried again in {', '.join(sorted(regions))}")
    turn.reply(command.request, Retried(tuple(sorted(regions)), count))

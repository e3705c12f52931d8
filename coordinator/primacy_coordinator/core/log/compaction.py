"""Forgetting what nobody needs: old versions, long after everybody has newer ones."""

from __future__ import annotations

from primacy_coordinator.core.log import durability
from primacy_coordinator.core.log.ledger import Ledger
from primacy_coordinator.core.log_model import LogRecord
from primacy_coordinator.core.state import State
from primacy_coordinator.core.turn import Turn

ENTRIES_KEPT = 10_000
BYTES_KEPT = 64 * 1024 * 1024
"""Of documents. Beyond either, old entries go."""
VERSIONS_KEPT = 20
"""Of each key, however old, as long as there is room."""
BYTES_KEPT_MAX = 256 * 1024 * 1024
"""Of documents, those kept versions included; then only the current ones stay."""
BEHIND_MAX = 5_000
"""An agent that is heard and no farther behind is waited for; another gets a snapshot."""
DROPPED_MAX = 256
"""In one turn, so that no report waits for it."""
SLACK = 1_000
"""Work begins when there are so many more than shall be kept."""


def on_time(state: State, turn: Turn) -> None:
    """Move the floor, and drop a slice of what is below it."""
    ledger = state.log
    if len(ledger.order) > ENTRIES_KEPT + SLACK or ledger.kept_bytes > BYTES_KEPT + BYTES_KEPT // 8:
        _move_floor(state, turn)
    _drop_some(ledger, turn)


def _move_floor(state: State, turn: Turn) -> None:
    ledger = state.log
    wanted = _floor_wanted(ledger)
    for session in durability.following(state):
        received = session.log.progress.received if session.log.progress is not None else 0
        if received < wanted and received >= wanted - BEHIND_MAX:
            wanted = received
    wanted = min(wanted, ledger.durable_head)
    if wanted <= ledger.floor:
        return
    chain = ledger.chain_at(wanted)
    assert chain is not None
    ledger.floor, ledger.floor_chain = wanted, chain
    ledger.stale = True
    turn.write(LogRecord(wanted, chain))


def _floor_wanted(ledger: Ledger) -> int:
    """The lowest floor that leaves few enough entries and bytes above it."""
    by_count = ledger.order[-ENTRIES_KEPT - 1] if len(ledger.order) > ENTRIES_KEPT else 0
    room = BYTES_KEPT
    for sequence in reversed(ledger.order):
        room -= len(ledger.records[sequence].entry.content)
        if room < 0:
            return max(by_count, sequence)
    return by_count


def _drop_some(ledger: Ledger, turn: Turn) -> None:
    """Below the floor only the newest versions of each key stay."""
    if not ledger.stale:
        return
    versions = VERSIONS_KEPT if ledger.kept_bytes <= BYTES_KEPT_MAX else 1
    dropped = 0
    for sequence in list(ledger.order):
        if sequence > ledger.floor:
            ledger.stale = False
            return
        entry = ledger.records[sequence].entry
        kept = ledger.versions.get((entry.kind, entry.key), [])
        if kept and sequence in kept[-versions:]:
            continue
        record = ledger.drop(sequence)
        turn.drop(record.kind, record.key)
        dropped += 1
        if dropped >= DROPPED_MAX:
            return
    ledger.stale = False

"""Forgetting what nobody needs: old versions, long after everybody has newer ones."""

from __future__ import annotations

from collections.abc import Iterator

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
    if ledger.kept_bytes <= room:
        return by_count
    for sequence in reversed(ledger.order):
        room -= len(ledger.records[sequence].entry.content)
        if room < 0:
            return max(by_count, sequence)
    return by_count


def _drop_some(ledger: Ledger, turn: Turn) -> None:
    """Below the floor only the newest versions of each key stay."""
    if not ledger.stale:
        return
    tight = ledger.kept_bytes > BYTES_KEPT_MAX
    if tight and not ledger.tight:
        ledger.grown = dict.fromkeys(ledger.versions)
    ledger.tight = tight
    for count, sequence in enumerate(_superseded(ledger, 1 if tight else VERSIONS_KEPT), 1):
        record = ledger.drop(sequence)
        turn.drop(record.kind, record.key)
        if count >= DROPPED_MAX:
            return
    ledger.stale = False


def _superseded(ledger: Ledger, versions: int) -> Iterator[int]:
    """What is below the floor and not among the newest versions of its name. The caller drops each at once."""
    while ledger.heartbeats and ledger.heartbeats[0] <= ledger.floor:
        yield ledger.heartbeats[0]
    for name in list(ledger.grown):
        kept = ledger.versions[name]
        while len(kept) > versions and kept[0] <= ledger.floor:
            yield kept[0]
        if len(kept) <= versions:
            del ledger.grown[name]

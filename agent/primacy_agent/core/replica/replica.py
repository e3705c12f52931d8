"""The machine of one agent's copy of the log. It does no I/O: events in, effects out.

1. Entries are taken contiguously and are on disk before they count (I7).
2. Contents of models are fetched ahead, several at once. Entries are settled strictly in order (I3): each is applied,
   or after its tries are used up parked with the reason.
3. A parked entry holds back later ones of its key: they are parked behind it, and go on after it in order.
4. Documents that follow each other are applied together; a crash in between applies them again, which changes nothing.
"""

from __future__ import annotations

from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.log_messages import Entries, Entry, EntryKind, ParkedNote, Progress, RetryParked, TransferPlan

from primacy_agent.core.replica import taking
from primacy_agent.core.replica.events import (
    Applied,
    Apply,
    Durable,
    Failed,
    Fetch,
    Fetched,
    Forgotten,
    Keep,
    LinkUp,
    Parked,
    Received,
    ReplicaEffect,
    ReplicaEvent,
    Resubmit,
    RetryDue,
    Say,
    Wait,
)
from primacy_agent.core.replica.memory import Change, ReplicaMemory, Settle

FETCHES_MAX = 4
"""Contents that are fetched at the same time."""
APPLY_MAX = 64
"""Documents that are applied together."""
TRIES_DEFAULT = 8
WAIT_NS_FIRST = 500 * MILLISECOND_NS
WAIT_NS_MAX = 30 * SECOND_NS
"""The ceiling of the wait before a try doubles up to this."""


class Replica:
    """One life of the copy."""

    def __init__(self, incarnation: str, memory: ReplicaMemory, tries: int = TRIES_DEFAULT) -> None:
        self.memory = memory
        self.tries = tries
        self.head = memory.received
        """The newest entry that the coordinator spoke of."""
        self._incarnation = incarnation
        self._batch = 0
        self._durable = (memory.received, memory.chain, memory.settled, memory.store_id, tuple(memory.parked.values()))
        """What is on disk of (received, chain, settled, store, parked)."""
        self._writing: dict[int, tuple[int, int, int, str, tuple[ParkedNote, ...]]] = {}
        self._building: taking.Building | None = None
        self._building_chain = 0
        self._ready: set[int] = set()
        """Models whose content is here."""
        self._fetching: set[int] = set()
        self._waiting: set[int] = set()
        """Sequences that wait before their next try."""
        self._attempts: dict[int, int] = {}
        self._reasons: dict[int, str] = {}
        """Why each failed last."""
        self._applying: tuple[int, ...] = ()
        self._apply_number = 0
        self._retrying: set[int] = set()
        """Parked entries that are tried again."""
        self._plans: dict[int, TransferPlan] = {}
        self._said: Progress | None = None

    # ---- events

    def start(self) -> tuple[ReplicaEffect, ...]:
        """What is to be done with what the journal held."""
        return self._end([], [])

    def handle(self, event: ReplicaEvent) -> tuple[ReplicaEffect, ...]:
        changes: list[Change] = []
        out: list[ReplicaEffect] = []
        match event:
            case Received(message):
                self._on_message(message, changes, out)
            case LinkUp():
                self._said = None
                self._building = None
                self._plans.clear()  # Of another session, whose clock numbered them.
            case Durable(batch):
                for number in [number for number in self._writing if number <= batch]:
                    self._durable = self._writing.pop(number)
            case Fetched(sequence):
                self._fetching.discard(sequence)
                if sequence in self.memory.pending:
                    self._ready.add(sequence)
            case Applied(number):
                if self._applying and number == self._apply_number:
                    sequences, self._applying = self._applying, ()
                    self._note_applied(sequences, changes)
            case Failed():
                self._on_failed(event, changes, out)
            case RetryDue(sequence):
                self._waiting.discard(sequence)
            case Forgotten(sequence):
                self._ready.discard(sequence)
        return self._end(changes, out)

    def _end(self, changes: list[Change], out: list[ReplicaEffect]) -> tuple[ReplicaEffect, ...]:
        self._settle(changes, out)
        self._fetch(out)
        if changes:
            self._batch += 1
            memory = self.memory
            parked = tuple(memory.parked[sequence] for sequence in sorted(memory.parked))
            self._writing[self._batch] = memory.received, memory.chain, memory.settled, memory.store_id, parked
            out.insert(0, Keep(self._batch, tuple(changes)))
        progress = self.progress()
        if progress != self._said:
            self._said = progress
            out.append(Say(progress))
        return tuple(out)

    def progress(self) -> Progress:
        """How far this copy has come, as far as it is on disk."""
        received, chain, settled, store_id, parked = self._durable
        if self._building is not None:
            received, chain = self._building.position, 0
        verified = tuple(sorted(sequence for sequence in self._ready if sequence > settled))
        models = tuple(
            sorted(
                (entry.key, entry.sequence)
                for entry in self.memory.current.values()
                if entry.kind is EntryKind.MODEL and not entry.removed and entry.sequence <= settled
            )
        )
        return Progress(
            self._incarnation, store_id, received, chain, settled, parked, verified, uplink=0, models=models
        )

    # ---- taking

    def _on_message(
        self, message: Entries | RetryParked | TransferPlan, changes: list[Change], out: list[ReplicaEffect]
    ) -> None:
        match message:
            case Entries():
                self.head = max(self.head if message.store_id == self.memory.store_id else 0, message.head)
                self._take(message, changes, out)
            case RetryParked(sequences):
                for sequence in sequences:
                    if sequence in self.memory.parked:
                        self._attempts.pop(sequence, None)
                        self._retrying.add(sequence)
            case TransferPlan():
                known = self._plans.get(message.sequence)
                if known is None or message.version > known.version:
                    self._plans[message.sequence] = message
                    if message.sequence in self._fetching:
                        out.append(Fetch(self.memory.pending[message.sequence], message))
                    elif message.sequence in self.memory.parked and message.holders:
                        # Whoever has it has come back.
                        self._attempts.pop(message.sequence, None)
                        self._retrying.add(message.sequence)

    def _take(self, message: Entries, changes: list[Change], out: list[ReplicaEffect]) -> None:
        if not message.snapshot:
            self._building = None
            taken = taking.take_next(self.memory, message)
            if taken is not None:
                changes.append(taken)
            elif message.after_chain != self.memory.chain or message.after > self.memory.received:
                self._said = None  # It is not what follows: say again where this copy stands.
            return
        self._building = taking.take_part(self._building, message)
        self._said = None
        if self._building is None or self._building.position != message.snapshot_upto:
            return
        building, self._building = self._building, None
        begun, orphans = taking.begin(self.memory, building, message.upto_chain)
        changes.append(begun)
        for known in (self._ready, self._fetching, self._waiting, self._retrying):
            known.clear()
        self._attempts.clear()
        self._plans.clear()
        self._applying = ()
        if orphans:
            out.append(Resubmit(orphans))

    # ---- settling, in order

    def _settle(self, changes: list[Change], out: list[ReplicaEffect]) -> None:
        """Go on behind `settled` as far as it goes, and start what comes next."""
        memory = self.memory
        parked: list[ParkedNote] = []
        before = memory.settled
        while memory.settled < memory.received and not self._applying:
            entry = self._next()
            if entry is None:
                memory.settled = memory.received
            elif entry.kind is EntryKind.HEARTBEAT:
                del memory.pending[entry.sequence]
                memory.settled = entry.sequence
            elif self._blocker(entry) is not None:
                parked.append(self._park(entry, f"entry {self._blocker(entry)} of the same key is parked", out))
            elif self._attempts.get(entry.sequence, 0) >= self.tries:
                parked.append(self._park(entry, self._reasons[entry.sequence], out))
            else:
                self._apply(entry, out)
                break
        if not self._applying:
            self._retry(out)
        if memory.settled != before or parked:
            changes.append(Settle(memory.settled, (), tuple(parked)))

    def _next(self) -> Entry | None:
        """The entry behind `settled`; None: nothing up to the end of the log is left."""
        found = min((sequence for sequence in self.memory.pending if sequence > self.memory.settled), default=None)
        return self.memory.pending[found] if found is not None else None

    def _blocker(self, entry: Entry) -> int | None:
        """The parked entry that this one must wait for."""
        return next(
            (
                sequence
                for sequence in sorted(self.memory.parked)
                if sequence < entry.sequence and _name(self.memory.pending[sequence]) == _name(entry)
            ),
            None,
        )

    def _park(self, entry: Entry, reason: str, out: list[ReplicaEffect]) -> ParkedNote:
        note = ParkedNote(entry.sequence, entry.key, reason, self._attempts.pop(entry.sequence, 0))
        self.memory.parked[entry.sequence] = note
        self.memory.settled = max(self.memory.settled, entry.sequence)
        out.append(Parked(entry, reason))
        return note

    def _is_ready(self, entry: Entry) -> bool:
        return entry.kind is not EntryKind.MODEL or entry.removed or entry.sequence in self._ready

    def _apply(self, entry: Entry, out: list[ReplicaEffect]) -> None:
        """Apply the next entry, and what documents follow it, when its content is here."""
        if not self._is_ready(entry) or entry.sequence in self._waiting:
            return
        batch = [entry]
        if entry.kind is EntryKind.CONFIG:
            for sequence in sorted(s for s in self.memory.pending if s > entry.sequence):
                other = self.memory.pending[sequence]
                if other.kind is EntryKind.HEARTBEAT:
                    continue
                blocked = other.sequence in self._waiting or self._blocker(other) is not None
                if other.kind is not EntryKind.CONFIG or blocked or len(batch) >= APPLY_MAX:
                    break
                batch.append(other)
        self._begin_apply(batch, out)

    def _begin_apply(self, batch: list[Entry], out: list[ReplicaEffect]) -> None:
        self._apply_number += 1
        self._applying = tuple(one.sequence for one in batch)
        out.append(Apply(self._apply_number, tuple(batch)))

    def _retry(self, out: list[ReplicaEffect]) -> None:
        """Apply the oldest parked entry that shall be tried again, if nothing of its key is before it."""
        for sequence in sorted(self._retrying):
            entry = self.memory.pending.get(sequence)
            if entry is None or sequence not in self.memory.parked:
                self._retrying.discard(sequence)
            elif self._blocker(entry) is None and self._is_ready(entry) and sequence not in self._waiting:
                self._begin_apply([entry], out)
                return

    def _note_applied(self, sequences: tuple[int, ...], changes: list[Change]) -> None:
        memory = self.memory
        applied: list[Entry] = []
        unparked: list[int] = []
        for sequence in sequences:
            entry = memory.pending.pop(sequence)
            memory.current[entry.kind, entry.key] = entry
            applied.append(entry)
            self._ready.discard(sequence)
            self._plans.pop(sequence, None)
            self._attempts.pop(sequence, None)
            self._reasons.pop(sequence, None)
            if memory.parked.pop(sequence, None) is not None:
                unparked.append(sequence)
                self._retrying.discard(sequence)
                self._retrying |= {s for s in memory.parked if _name(memory.pending[s]) == _name(entry)}
            else:
                memory.settled = max(memory.settled, sequence)
        for sequence in [s for s in memory.pending if s <= memory.settled and s not in memory.parked]:
            del memory.pending[sequence]  # Heartbeats between them.
        changes.append(Settle(memory.settled, tuple(applied), (), tuple(unparked)))

    def _on_failed(self, event: Failed, changes: list[Change], out: list[ReplicaEffect]) -> None:
        sequence = event.sequence
        if event.number and (event.number != self._apply_number or sequence not in self._applying):
            return  # Of a log that is no more.
        if event.number:
            before = self._applying[: self._applying.index(sequence)]
            self._applying = ()
            if before:
                self._note_applied(before, changes)
        elif sequence in self._fetching:
            self._fetching.discard(sequence)
        else:
            return
        if sequence not in self.memory.pending:
            return
        attempts = self._attempts.get(sequence, 0) + 1
        self._attempts[sequence] = self.tries if event.final else attempts
        self._reasons[sequence] = event.reason
        note = self.memory.parked.get(sequence)
        if self._attempts[sequence] < self.tries:
            self._waiting.add(sequence)
            out.append(Wait(sequence, min(WAIT_NS_FIRST * 2 ** (attempts - 1), WAIT_NS_MAX)))
        elif note is not None:
            # It was tried again in vain: it stays where it is.
            self._retrying.discard(sequence)
            self._attempts.pop(sequence)
            self.memory.parked[sequence] = ParkedNote(sequence, note.key, event.reason, note.attempts + attempts)
            changes.append(Settle(self.memory.settled, (), (self.memory.parked[sequence],)))

    # ---- contents

    def _fetch(self, out: list[ReplicaEffect]) -> None:
        """Fetch ahead what will be applied, the oldest first."""
        for sequence in sorted(self.memory.pending):
            if len(self._fetching) >= FETCHES_MAX:
                return
            entry = self.memory.pending[sequence]
            wanted = sequence not in self.memory.parked or sequence in self._retrying
            tried = self._attempts.get(sequence, 0) >= self.tries
            idle = sequence not in self._fetching and sequence not in self._waiting
            if wanted and idle and not tried and not self._is_ready(entry) and self._blocker(entry) is None:
                self._fetching.add(sequence)
                out.append(Fetch(entry, self._plans.get(sequence)))


def _name(entry: Entry) -> tuple[EntryKind, str]:
    return entry.kind, entry.key

"""The agent's real copy of the log, on a disk and with contents that a test controls, in the place of the model."""

from __future__ import annotations

import random
from copy import deepcopy
from dataclasses import dataclass, field

from primacy_agent.core.replica import events as r
from primacy_agent.core.replica.memory import Begin, Change, ReplicaMemory, Settle, Take
from primacy_agent.core.replica.replica import Replica
from primacy_wire.log_messages import Entries, Entry, EntryKind, Progress, RetryParked


def keep(memory: ReplicaMemory, change: Change) -> None:
    """What a journal does with a change."""
    match change:
        case Take(store_id, received, chain, entries):
            memory.store_id, memory.received, memory.chain = store_id, received, chain
            memory.pending |= {entry.sequence: entry for entry in entries}
        case Settle(settled, applied, parked, unparked):
            memory.settled = settled
            for entry in applied:
                memory.current[entry.kind, entry.key] = entry
                memory.pending.pop(entry.sequence, None)
            for note in parked:
                memory.parked[note.sequence] = note
            for sequence in unparked:
                memory.parked.pop(sequence, None)
            memory.pending = {s: entry for s, entry in memory.pending.items() if s > settled or s in memory.parked}
        case Begin(store_id, received, chain, settled, entries, same):
            memory.store_id, memory.received, memory.chain, memory.settled = store_id, received, chain, settled
            memory.pending = {entry.sequence: entry for entry in entries}
            memory.parked = {}
            for entry in same:
                memory.current[entry.kind, entry.key] = entry


@dataclass
class Machine:
    """One agent over several lives; has the interface of the model in `replicas`."""

    draw: random.Random
    disk: ReplicaMemory = field(default_factory=ReplicaMemory)
    fails: float = 0.0
    """Share of fetches and applies that fail."""
    slow: float = 0.0
    """Share of work that ends later."""
    force: dict[tuple[EntryKind, str], Entry] = field(default_factory=dict)
    """What is in force on this machine: survives a crash, as files do."""
    applied: list[Entry] = field(default_factory=list)
    orphans: list[Entry] = field(default_factory=list)
    late: list[r.ReplicaEvent] = field(default_factory=list)
    said: Progress | None = None
    life: int = 0
    snapshots: int = 0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Kill it at this instant, and start it again from its disk."""
        self.life += 1
        self.late.clear()
        self.contents: set[int] = set()
        self.replica = Replica(f"life-{self.life}", deepcopy(self.disk), tries=3)
        self._perform(self.replica.start())

    @property
    def received(self) -> int:
        return self.replica.memory.received

    @property
    def chain(self) -> int:
        return self.replica.memory.chain

    def take(self, message: Entries | RetryParked) -> None:
        self._post(r.Received(message))

    def progress(self, incarnation: str) -> Progress:
        found = self.replica.progress()
        return Progress(
            incarnation, found.store_id, found.received, found.chain, found.settled, found.parked, found.verified,
            models=found.models,
        )  # fmt: skip

    def value(self) -> dict[str, bytes]:
        return {entry.key: entry.content for entry in self.force.values() if not entry.removed}

    def work(self) -> None:
        """Whatever was slow comes to its end."""
        late, self.late = self.late, []
        for event in late:
            self._post(event)

    def _post(self, event: r.ReplicaEvent) -> None:
        self._perform(self.replica.handle(event))

    def _perform(self, effects: tuple[r.ReplicaEffect, ...]) -> None:
        todo: list[r.ReplicaEvent] = []
        for effect in effects:
            match effect:
                case r.Keep(batch, changes):
                    for change in changes:
                        keep(self.disk, change)
                        self.snapshots += isinstance(change, Begin)
                    todo.append(r.Durable(batch))
                case r.Say(progress):
                    self.said = progress
                case r.Fetch(entry):
                    failed = self.draw.random() < self.fails
                    todo.append(r.Failed(entry.sequence, "no holder") if failed else r.Fetched(entry.sequence))
                case r.Apply(number, entries):
                    todo.append(self._apply(number, entries))
                case r.Wait(sequence):
                    self.late.append(r.RetryDue(sequence))
                case r.Resubmit(entries):
                    self.orphans += entries
                case r.Parked():
                    pass
        for event in todo:
            if not isinstance(event, r.Durable) and self.draw.random() < self.slow:
                self.late.append(event)
            else:
                self._post(event)

    def _apply(self, number: int, entries: tuple[Entry, ...]) -> r.ReplicaEvent:
        for entry in entries:
            if self.draw.random() < self.fails:
                return r.Failed(entry.sequence, "the disk is full", number)
            self.force[entry.kind, entry.key] = entry
            self.applied.append(entry)
        return r.Applied(number)

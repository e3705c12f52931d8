"""An agent's copy of the log in the world, and the writes of its service."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from primacy_agent.core.replica import events as r
from primacy_agent.core.replica.memory import Begin, Change, ReplicaMemory, Settle, Take
from primacy_agent.core.replica.replica import Replica
from primacy_coordinator.core.effects import Reply
from primacy_coordinator.core.log_model import Draft
from primacy_wire.hlc import HybridTime, seen, tick
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.log_messages import Entries, Entry, EntryKind, Progress, RetryParked, TransferPlan

if TYPE_CHECKING:
    from tests.simulation.world.agents import Life

ANSWER_NS_MAX = 6 * SECOND_NS
"""A writer that hears nothing for so long asks again, under the same id."""
AGAIN_NS = SECOND_NS
TRIES = 4
LATER = frozenset({"AT_RISK", "FROZEN", "IN_DOUBT", "FUTURE_EPOCH"})
"""Rules that refuse a write for now: it is submitted again."""


@dataclass
class Shelf:
    """What of the copy is on a machine's disk, and what is in force there."""

    memory: ReplicaMemory = field(default_factory=ReplicaMemory)
    force: dict[tuple[EntryKind, str], Entry] = field(default_factory=dict)
    queue: list[Draft] = field(default_factory=list)
    """Writes that wait for an answer; they outlive the process."""
    time: HybridTime = HybridTime()
    fails: float = 0.0
    """Share of what is applied or fetched that fails."""


def keep(memory: ReplicaMemory, change: Change) -> None:
    """What a journal does with a change."""
    match change:
        case Take(store_id, received, chain, entries):
            memory.store_id, memory.received, memory.chain = store_id, received, chain
            memory.pending |= {entry.sequence: entry for entry in entries}
        case Settle(settled, applied, parked, unparked):
            memory.settled = settled
            memory.current |= {(entry.kind, entry.key): entry for entry in applied}
            memory.parked |= {note.sequence: note for note in parked}
            for sequence in unparked:
                memory.parked.pop(sequence, None)
            gone = {entry.sequence for entry in applied}
            memory.pending = {
                s: entry for s, entry in memory.pending.items() if s not in gone and (s > settled or s in memory.parked)
            }
        case Begin(store_id, received, chain, settled, entries, same):
            memory.store_id, memory.received, memory.chain, memory.settled = store_id, received, chain, settled
            memory.pending = {entry.sequence: entry for entry in entries}
            memory.parked = {}
            memory.current |= {(entry.kind, entry.key): entry for entry in same}


class Copy:
    """The copy of one life."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._shelf = life.machine.shelf
        self.replica = Replica(life.incarnation, deepcopy(self._shelf.memory), TRIES)
        self._writing: list[r.Keep] = []
        self._busy = False
        self._calling = 0
        """Number of the call that is under way; 0: none."""
        self._apply_ns = 0
        """When the last thing that is being applied is in force."""

    # ---- the loop

    def begin(self) -> None:
        self._perform(self.replica.start())

    def link_up(self) -> None:
        self._post(r.LinkUp())

    def receive(self, message: Entries | RetryParked | TransferPlan) -> None:
        if isinstance(message, Entries):
            for entry in message.entries:
                self._shelf.time = seen(self._shelf.time, entry.time)
        self._post(r.Received(message))

    def say(self) -> None:
        """With each report: what was said before may have been lost."""
        self._say(self.replica.progress())

    def _post(self, event: r.ReplicaEvent) -> None:
        self._perform(self.replica.handle(event))

    def _later(self, delay_ns: int, event: r.ReplicaEvent) -> None:
        self._life.world.after(delay_ns, self._life.name, self._life.run, self._post, event)

    def _perform(self, effects: tuple[r.ReplicaEffect, ...]) -> None:
        world, draw = self._life.world, self._life.world.draw
        for effect in effects:
            match effect:
                case r.Keep():
                    self._writing.append(effect)
                    self._write()
                case r.Say(progress):
                    self._say(progress)
                case r.Fetch(entry):
                    failed = draw.random() < self._shelf.fails
                    event = r.Failed(entry.sequence, "no holder") if failed else r.Fetched(entry.sequence)
                    self._later(draw.randint(1, 2 * SECOND_NS), event)
                case r.Apply(number, entries):
                    # One after the other, as a shell does it.
                    self._apply_ns = max(self._apply_ns, world.time_ns) + draw.randint(1, 200 * MILLISECOND_NS)
                    world.at(self._apply_ns, self._life.name, self._life.run, self._apply, number, entries)
                case r.Wait(sequence, ceiling_ns):
                    self._later(draw.randint(0, ceiling_ns), r.RetryDue(sequence))
                case r.Resubmit(entries):
                    world.count("orphans resubmitted")
                    self._shelf.queue += [_again(entry) for entry in entries]
                    self.submit()
                case r.Parked():
                    world.count("entry put aside")

    def _apply(self, number: int, entries: tuple[Entry, ...]) -> None:
        """Each goes into force by one rename; a crash comes before it or after it."""
        for entry in entries:
            if self._life.world.draw.random() < self._shelf.fails:
                self._post(r.Failed(entry.sequence, "the disk is full", number))
                return
            self._shelf.force[entry.kind, entry.key] = entry
        self._post(r.Applied(number))

    def _write(self) -> None:
        if not self._busy and self._writing:
            self._busy = True
            self._life.world.after(self._life.world.disk_ns(), self._life.name, self._life.run, self._written)

    def _written(self) -> None:
        self._busy = False
        batch = self._writing.pop(0)
        for change in batch.changes:
            keep(self._shelf.memory, change)
        self._post(r.Durable(batch.batch))
        self._write()

    def _say(self, progress: Progress) -> None:
        """I7: nothing is said to be here that the disk does not know."""
        memory = self._shelf.memory
        if progress.store_id == memory.store_id and progress.settled > memory.settled:
            self._life.world.fail("I7", f"{self._life.name} says settled {progress.settled} before it is durable")
        if self._life.connection:
            self._life.world.to_coordinator(self._life, self._life.connection, progress)

    # ---- writes

    def write(self, key: str, content: bytes) -> None:
        """The service writes a document: kept here until somebody answers for it."""
        life, shelf = self._life, self._shelf
        shelf.time = tick(shelf.time, life.now().wall_ns, life.name)
        known = shelf.force.get((EntryKind.CONFIG, key))
        draft = Draft(
            id=f"w{life.world.next_connection()}",
            kind=EntryKind.CONFIG,
            key=key,
            digest=content.decode(),
            size=len(content),
            parent=known.sequence if known is not None else 0,
            time_wall_ns=shelf.time.wall_ns,
            time_counter=shelf.time.counter,
            epoch=life.holder.memory.heard_epoch,
            origin=life.machine.region,
            agent=life.name,
            content=content,
            format="yaml",
        )
        shelf.queue.append(draft)
        life.world.written[draft.id] = draft
        life.world.count("written offline" if not life.connection else "written")
        self.submit()

    def submit(self) -> None:
        """Submit the oldest write that waits, one at a time."""
        life = self._life
        if self._calling or not self._shelf.queue or not life.connection:
            return
        self._calling = number = life.world.next_connection()
        draft = self._shelf.queue[0]
        life.world.after(ANSWER_NS_MAX, life.name, life.run, self._over, number)
        for delay_ns in life.world.network.delays_ns(life.name, "coordinator"):
            life.world.after(
                delay_ns,
                "coordinator",
                life.world.coordinator.run,
                life.world.coordinator.call,
                draft,
                self._answered(number),
            )

    def _answered(self, number: int) -> object:
        life = self._life

        def answer(draft: Draft, reply: Reply) -> None:
            for delay_ns in life.world.network.delays_ns("coordinator", life.name)[:1]:
                life.world.after(delay_ns, life.name, life.run, self._hear, number, draft, reply)

        return answer

    def _hear(self, number: int, draft: Draft, reply: Reply) -> None:
        life, queue = self._life, self._shelf.queue
        if number != self._calling:
            return
        rule = reply.refusal.rule if reply.refusal is not None else ""
        life.world.count(f"append: {rule or 'taken'}")
        if rule not in LATER and queue and queue[0].id == draft.id:
            queue.pop(0)
            if not rule or rule == "CONFLICT":
                life.world.acknowledged.add(draft.id)
        self._calling = 0
        life.world.after(AGAIN_NS if rule else 1, life.name, life.run, self.submit)

    def _over(self, number: int) -> None:
        if number == self._calling:
            self._calling = 0
            self.submit()


def _again(entry: Entry) -> Draft:
    return Draft(
        entry.id, entry.kind, entry.key, entry.digest, entry.size, entry.parent, entry.time.wall_ns,
        entry.time.counter, entry.epoch, entry.origin, entry.agent, entry.content, entry.format, entry.removed,
    )  # fmt: skip

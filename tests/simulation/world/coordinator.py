"""The coordinator's process in the world: the real group machine, its disk, and what a shell owes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from primacy_coordinator.core import effects, events
from primacy_coordinator.core.group import Group
from primacy_coordinator.core.log_model import Draft, EntryRecord
from primacy_coordinator.core.model import LeasePhase, LeaseRecord, Loaded, Record
from primacy_coordinator.core.views import MovePlan
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS, Now
from primacy_wire.log_messages import Entries
from primacy_wire.messages import Answer, FromAgent, Hello, Offer, Release, Report, WeightsUpdate, Welcome

from tests.simulation.world.clock import Clock
from tests.simulation.world.watch import Watch

if TYPE_CHECKING:
    from tests.simulation.world.agents import Life
    from tests.simulation.world.world import World

NAME = "coordinator"
SILENCE_NS_MAX = 3 * SECOND_NS
Records = dict[tuple[str, str], Record]


class Disk:
    """What survives the process."""

    def __init__(self, store_id: str) -> None:
        self.store_id = store_id
        self.runs: list[str] = []
        self.records: Records = {}

    def copy(self) -> Disk:
        other = Disk(self.store_id)
        other.runs, other.records = list(self.runs), dict(self.records)
        return other

    @property
    def lease(self) -> LeaseRecord:
        found = self.records.get(("lease", ""), LeaseRecord())
        assert isinstance(found, LeaseRecord)
        return found

    def apply(self, writes: tuple[Record | effects.Drop, ...]) -> None:
        for write in writes:
            if isinstance(write, effects.Drop):
                self.records.pop((write.kind, write.key), None)
            else:
                self.records[write.kind, write.key] = write


class Coordinator:
    """One process after another on one disk."""

    def __init__(self, world: World, clock: Clock, disk: Disk) -> None:
        self.world = world
        self.clock = clock
        self.disk = disk
        self.watch = Watch(world)
        self.group: Group | None = None
        self.paused_until = 0
        self.paused_since = 0
        self.generation = 0
        self.sessions: dict[int, Life] = {}
        self.hellos: dict[int, Hello] = {}
        self.heard_ns: dict[int, int] = {}
        self.seen_connections: set[int] = set()
        self.replies: dict[int, effects.Reply] = {}
        self.callers: dict[int, tuple[Draft, Callable[[Draft, effects.Reply], None]]] = {}
        """Who waits for the answer to an append."""
        self._queue: list[effects.Effect] = []
        self._pending: list[effects.Persist] = []
        self._writing = False
        self._timer_ns = 0
        self._fresh: tuple[Record | effects.Drop, ...] = ()
        """What the step whose effects are being performed has decided."""
        self.heard_epoch = 0
        """The highest epoch that any agent named to this process."""

    def now(self) -> Now:
        return self.clock.now(self.world.time_ns)

    # ---- life

    def start(self) -> None:
        run = f"run-{self.world.next_connection()}"
        self.disk.runs.append(run)
        self._load(run)
        self.world.count("coordinator start")
        self.world.note(NAME, f"{run} begins on {self.disk.store_id}, {self.disk.lease}")

    def _load(self, run: str, refused: bool = False) -> None:
        self.run_id = run
        self.generation += 1
        self._queue, self._pending, self._writing = [], [], False
        self._timer_ns = 0
        self.heard_epoch = 0
        loaded = Loaded(
            self.disk.store_id,
            run,
            frozenset(self.disk.runs),
            len(self.disk.runs),
            tuple(self.disk.records.values()),
            refused=refused,
        )
        self.group = Group("default", loaded, self.now())
        self.watch.begin(self.group)
        if self.disk.lease.phase is not LeasePhase.NONE:
            self.world.count("restart wait")
        self._push(self.group.start(self.now()))
        for number, hello in list(self.hellos.items()):
            self._open(number, hello)
        self._arm(self.generation)
        self.world.after(SECOND_NS, NAME, self._sweep, self.generation)

    def crash(self) -> None:
        """Pending batches may or may not have reached the disk; none of it was told."""
        self.world.note(NAME, f"{self.run_id} crashes")
        for persist in self._pending:
            if self.world.draw.random() < 0.5:
                break
            self.disk.apply(persist.writes)
        self.group = None
        self.callers.clear()
        self.generation += 1
        self.world.brake.give_back(self.world.name)
        for number, life in self.sessions.items():
            self.world.after(self.world.draw.randint(0, SECOND_NS), NAME, self._lost_by_agent, life, number)
        self.sessions.clear()
        self.hellos.clear()
        self.seen_connections.clear()
        self._queue, self._pending, self._writing = [], [], False

    def _lost_by_agent(self, life: Life, number: int) -> None:
        if life.connection == number:
            life.run(life.lose, "reset")

    def _fail_write(self) -> None:
        """The store refuses: the machine is dropped and loaded anew; sessions stay."""
        self.world.count("persist refused")
        self.world.brake.give_back(self.world.name)
        self.callers.clear()
        self._load(self.run_id, refused=True)

    # ---- events

    def post(self, event: events.Event) -> None:
        if self.group is None:
            return
        now = self.now()
        found = self.group.handle(now, event)
        self.watch.look(self.group, now)
        self._push(found)
        self._arm(self.generation)

    def run(self, work: Any, *values: object) -> None:
        if self.group is None:
            return
        if self.paused_until > self.world.time_ns:
            self.world.at(self.paused_until + 1, NAME, self.run, work, *values)
            return
        if self.paused_since:
            stalled_ns = self.now().mono_ns - self.clock.now(self.paused_since).mono_ns
            self.paused_since = 0
            self.watch.stood_still()
            self.post(events.Stalled(stalled_ns))
        work(*values)

    def receive(self, life: Life, number: int, message: FromAgent) -> None:
        self.run(self._receive, life, number, message)

    def _receive(self, life: Life, number: int, message: FromAgent) -> None:
        if isinstance(message, Hello):
            if number in self.seen_connections:
                return
            self.seen_connections.add(number)
            self.sessions[number] = life
            self.hellos[number] = message
            self.heard_ns[number] = self.world.time_ns
            self._open(number, message)
        elif number in self.sessions:
            self.heard_ns[number] = self.world.time_ns
            if isinstance(message, Report):
                self.heard_epoch = max(self.heard_epoch, message.heard_epoch)
            self.post(events.Heard(number, message))
        else:
            # A stream that this process does not know: the agent learns that it is gone.
            self.world.to_agent_close(life, number, "unknown stream", superseded=False)

    def _open(self, number: int, hello: Hello) -> None:
        self.heard_epoch = max(self.heard_epoch, hello.heard_epoch)
        self.post(events.SessionOpened(number, hello))

    def drop_session(self, number: int) -> None:
        self.sessions.pop(number, None)
        if self.hellos.pop(number, None) is not None:
            self.post(events.SessionClosed(number))

    def _sweep(self, generation: int) -> None:
        if generation != self.generation:
            return
        self.run(self._sweep_now)
        self.world.after(SECOND_NS, NAME, self._sweep, generation)

    def _sweep_now(self) -> None:
        for number in list(self.sessions):
            if self.world.time_ns - self.heard_ns[number] > SILENCE_NS_MAX:
                self.drop_session(number)

    def _arm(self, generation: int) -> None:
        assert self.group is not None
        due_ns = max(self.clock.world_ns(self.group.next_deadline()), self.world.time_ns + MILLISECOND_NS)
        if self.world.time_ns < self._timer_ns <= due_ns:
            return
        self._timer_ns = due_ns
        self.world.at(due_ns, NAME, self._ring, generation, due_ns)

    def _ring(self, generation: int, due_ns: int) -> None:
        if generation == self.generation and due_ns == self._timer_ns:
            self.run(self._ring_now)

    def _ring_now(self) -> None:
        self._timer_ns = 0
        assert self.group is not None
        if self.now().mono_ns >= self.group.next_deadline():
            self.post(events.TimePassed())
        else:
            self._arm(self.generation)

    # ---- effects

    def _push(self, found: tuple[effects.Effect, ...]) -> None:
        self._fresh = ()
        for effect in found:
            if isinstance(effect, effects.Persist):
                self._check_decided(effect)
                self._fresh = effect.writes
                self._queue.append(effect)
                self._pending.append(effect)
                self._write()
            elif not self._queue or (isinstance(effect, effects.Send) and isinstance(effect.message, Answer)):
                self._perform(effect)
            else:
                self._queue.append(effect)

    def _write(self) -> None:
        if not self._writing and self._pending:
            self._writing = True
            self.world.after(self.world.disk_ns(), NAME, self._written, self.generation)

    def _written(self, generation: int) -> None:
        if generation == self.generation:
            self.run(self._written_now, generation)

    def _written_now(self, generation: int) -> None:
        if generation != self.generation:
            return
        self._writing = False
        if self.world.draw.random() < self.world.options.refuse:
            self._fail_write()
            return
        persist = self._pending.pop(0)
        self.disk.apply(persist.writes)
        assert self._queue.pop(0) is persist
        while self._queue and not isinstance(self._queue[0], effects.Persist):
            self._perform(self._queue.pop(0))
        self.post(events.Durable(persist.batch))
        self._write()

    def _perform(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Send(number, message):
                life = self.sessions.get(number)
                if life is not None:
                    self._check_told(life, message)
                    self.world.to_agent(life, message)
            case effects.CloseSession(number, reason, _, message):
                life = self.sessions.pop(number, None)
                self.hellos.pop(number, None)
                if life is not None:
                    twin = reason is effects.CloseReason.SUPERSEDED
                    self.world.count(f"closed {reason.name.lower()}")
                    self.world.to_agent_close(life, number, message, twin)
            case effects.Journal():
                self.world.journal(effect)
            case effects.Reply(request):
                self.replies[request] = effect
                caller = self.callers.pop(request, None)
                if caller is not None:
                    caller[1](caller[0], effect)
                if isinstance(effect.value, MovePlan):
                    self.world.count(f"{effect.value.move.name.lower()} move")
            case effects.BrakeAsked():
                self.world.count("brake asked")
                self.world.brake.ask(self.world.name, partial(self._let_through_soon, self.generation))
            case effects.BrakeReturned():
                self.world.brake.give_back(self.world.name)
            case _:
                pass

    def _let_through_soon(self, generation: int) -> None:
        self.world.after(MILLISECOND_NS // 10, NAME, self._let_through, generation)

    def _let_through(self, generation: int) -> None:
        """The brake lets this group fail over; a machine that came since has not asked."""
        if generation == self.generation and self.group is not None:
            self.run(self.post, events.BrakeReleased())
        else:
            self.world.brake.give_back(self.world.name)

    def _leases(self) -> list[LeaseRecord]:
        """Every lease record that a crash may leave on the disk: what is there, and what is on its way, in order."""
        pending = [w for p in self._pending for w in p.writes if isinstance(w, LeaseRecord)]
        return [self.disk.lease, *pending]

    def _check_decided(self, persist: effects.Persist) -> None:
        """I2: epochs grow, have one holder each, and are above whatever any agent named."""
        before = self._leases()[-1]
        for record in persist.writes:
            if isinstance(record, EntryRecord):
                self._check_entry(record)
        for lease in persist.writes:
            if not isinstance(lease, LeaseRecord):
                continue
            if lease.epoch < before.epoch or lease.revision <= before.revision:
                self.world.fail("I2", f"{lease} after {before}")
            if lease.epoch == before.epoch and lease.holder != before.holder:
                self.world.fail("I2", f"epoch {lease.epoch} goes from {before.holder} to {lease.holder}")
            if lease.epoch > before.epoch and lease.holder and lease.epoch <= self.heard_epoch:
                self.world.fail("I2", f"epoch {lease.epoch} is granted, an agent spoke of {self.heard_epoch}")
            self.watch.on_lease(before, lease, self.now().mono_ns)
            before = lease

    def _check_entry(self, record: EntryRecord) -> None:
        """I4: nothing of an epoch that is over enters the log silently."""
        entry, group = record.entry, self.group
        assert group is not None
        accepted = group._state.authority.record.accepted_epoch
        if entry.epoch < accepted and not entry.conflict_id:
            self.world.fail("I4", f"entry {entry.sequence} is of epoch {entry.epoch}, {accepted} was accepted")
        for other in group._state.log.records.values():
            if entry.id and other.entry.id == entry.id and other.entry.sequence != entry.sequence:
                self.world.fail("I3", f"{entry.id} is entry {other.entry.sequence} and {entry.sequence}")

    def _check_told(self, life: Life, message: object) -> None:
        """I7: nothing is told that a restart could un-decide. I8: no row sends everything to nowhere."""
        lease = self.disk.lease
        fail = self.world.fail
        match message:
            case Answer() | Welcome() if message.epoch > lease.epoch:
                fail("I7", f"epoch {message.epoch} told, {lease.epoch} durable")
            case Answer() if message.renews:
                for other in self._leases():
                    # In the step that decides its end the answer may come first: it is counted, hence waited for.
                    released = other.phase is LeasePhase.RELEASING and other not in self._fresh
                    ends = other.epoch != message.epoch or released
                    if ends or message.ttl_ns > other.ttl_ns:
                        fail("I7", f"renewal {message} beyond {other}, which a crash may leave on the disk")
            case Offer() if (message.epoch, life.machine.region) != (lease.epoch, lease.holder):
                fail("I7", f"offer of {message.epoch} to {life.machine.region}, durable {lease}")
            case Offer() if message.ttl_ns > min(other.ttl_ns for other in self._leases()):
                fail("I7", f"offer with a TTL beyond {self._leases()}")
            case Release() if message.epoch == lease.epoch and lease.phase is not LeasePhase.RELEASING:
                fail("I7", f"release of {message.epoch}, durable {lease}")
            case Entries():
                known = self.disk.records
                for entry in message.entries:
                    if ("entry", f"{entry.sequence:016d}") not in known:
                        fail("I7", f"entry {entry.sequence} is told and not durable")
            case WeightsUpdate():
                if message.active_epoch > lease.accepted_epoch:
                    fail("I7", f"weights name epoch {message.active_epoch}, durable {lease.accepted_epoch}")
                nowhere = not any(share for _, share in message.read)
                if message.read and nowhere and not self.watch.all_were_drained(self.now().mono_ns):
                    fail("I8", f"reads go nowhere: {message.read}")
                known = dict(message.write)
                if lease.accepted_region in known and message.active_epoch and not any(known.values()):
                    fail("I8", f"writes go nowhere: {message.write}")
            case _:
                pass

    def call(self, draft: Draft, answer: Callable[[Draft, effects.Reply], None]) -> None:
        """A writer appends."""
        if self.group is not None:
            number = self.world.next_connection()
            self.callers[number] = draft, answer
            self.post(events.Append(number, draft))

    # ---- operators

    def ask(self, command: Any) -> int:
        """Post a command with a fresh request number."""
        number = self.world.next_connection()
        if self.group is not None and self.paused_until <= self.world.time_ns:
            self.post(replace(command, request=number))
        return number

"""Runs one group's machine: hands it events, performs its effects in order, wakes it at its deadlines.

1. `post` handles an event at once, on the event loop's thread, also while a batch is on its way to the disk.
2. Effects leave through the `Outbox`: behind the batch that they follow, answers to reports excepted.
3. If the store refuses a batch, nothing of it may have been told, so the machine is dropped, a new one is loaded, and
   every live session is introduced to it again. It renews what agents still hold at once. What it wants to persist then
   waits a little longer after each refusal, so that a full disk does not spin; renewals need no disk.
4. A bug in the machine ends the same way, for half a step may not be trusted.
5. Readers take a copy and then wait for the batches pending at that moment, so that they never show what a restart
   could undo (I7).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from primacy_wire.clock import read_now
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS, Now
from primacy_wire.messages import FromAgent, Hello, Report
from primacy_wire.route_counts import RouteCounter

from primacy_coordinator.core.effects import (
    BrakeAsked,
    BrakeReturned,
    Changed,
    CloseReason,
    CloseSession,
    Effect,
    Journal,
    Persist,
    Reply,
    Send,
    Topic,
)
from primacy_coordinator.core.events import (
    AppendAbandoned,
    BrakeReleased,
    Durable,
    Event,
    Heard,
    PrepareDelete,
    SessionClosed,
    SessionOpened,
    Stalled,
    TimePassed,
)
from primacy_coordinator.core.group import Group
from primacy_coordinator.core.model import PolicyRecord
from primacy_coordinator.shell.brake import Brake
from primacy_coordinator.shell.failures import GroupGone, Overloaded, StoreTrouble
from primacy_coordinator.shell.latency import Latency
from primacy_coordinator.shell.outbox import Outbox
from primacy_coordinator.shell.requests import Requests
from primacy_coordinator.shell.sessions import Session, Stream
from primacy_coordinator.shell.stalls import Stalls
from primacy_coordinator.store.api import GroupRow, History, StateStore, StoreError

logger = logging.getLogger(__name__)

T = TypeVar("T")

TICK_NS_MIN = MILLISECOND_NS
"""The shortest wait for a deadline, so that one in the past cannot spin."""
BACKOFF_NS_MIN = 250 * MILLISECOND_NS
BACKOFF_NS_MAX = 5 * SECOND_NS
JOURNAL_READ_NS_MAX = SECOND_NS
TROUBLE_READ_NS_MAX = 2 * SECOND_NS
"""How long a reader waits for a store in trouble before it is told so."""


class Runner:
    """One group: its machine, its sessions, its readers. Everything here runs on the event loop's thread.

    Performing an effect never posts an event by itself (stores and streams answer later), so steps do not nest.
    """

    def __init__(
        self, row: GroupRow, store: StateStore, history: History, stalls: Stalls, brake: Brake | None = None
    ) -> None:
        self.name = row.name
        self.created_wall_ns = row.created_wall_ns
        self.heard_count = 0
        self.refusal_count = 0
        """Batches that the store refused, bugs included."""
        self.trouble = ""
        """Why the last batch was refused, until one succeeds."""
        self.persist_latency = Latency()
        self.onlookers: list[Callable[[Journal], None]] = []
        """Told of every entry of the journal; quick, and never raising."""
        self.routes = RouteCounter(read_now().mono_ns)
        """What the coordinator itself has routed, since this process began."""
        self.policy_stored = False
        """Whether the store held a policy when the machine was loaded."""
        self._store = store
        self._history = history
        self._stalls = stalls
        self._brake = brake or Brake(0)
        self._loop = asyncio.get_running_loop()
        self._machine: Group | None = None
        self._generation = 0
        """Grows with every machine, so that late word about an older one's batches is known."""
        self._outbox = Outbox(self._submit, self._perform)
        self._sessions: dict[int, Session] = {}
        self._session_number = 0
        self._deferred: list[Event] = []
        """What came while no machine was there."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._held = False
        """`TimePassed` waits, for the loop stood still."""
        self.requests = Requests(row.name)
        self._refused = False
        """The newest batch that the store spoke of was refused."""
        self._retire_request = 0
        self._changes = dict.fromkeys(Topic, 0)
        self._watchers: dict[asyncio.Future[None], frozenset[Topic]] = {}
        self._journal_readers: set[asyncio.Future[None]] = set()
        self.journal_sequence = 0
        """The newest number that was handed to the journal."""
        self._told_just_now = False
        """The machine heard of a batch on disk in this round of the loop."""
        self._untold = 0
        """The newest batch on disk that it has not heard of; 0: it knows all."""
        self._settling: list[tuple[int, asyncio.Future[None]]] = []
        self._backoff_ns = BACKOFF_NS_MIN
        self._writes_held = False
        self._unsent: deque[Persist] = deque()
        self._reload: asyncio.Task[None] | None = None
        self.retired = False

    # ---- life

    async def start(self) -> None:
        """Loads the machine and starts it. Raises `StoreError` when the store cannot be read."""
        loaded = replace(
            await self._store.load(self.name), journal_sequence=await self._last_sequence(), refused=self._refused
        )
        self.policy_stored = any(type(record) is PolicyRecord for record in loaded.records)
        now = read_now()
        self._generation += 1
        self._outbox = Outbox(self._submit, self._perform)
        self._machine = machine = Group(self.name, loaded, now)
        self._outbox.push(machine.start(now))
        for session in tuple(self._sessions.values()):
            self.post(SessionOpened(session.number, session.hello))
        deferred, self._deferred = self._deferred, []
        for event in deferred:
            self.post(event)
        self._arm(now)
        self._wake_readers()
        self._wake_watchers(frozenset(Topic))

    async def _last_sequence(self) -> int:
        """Where the journal goes on. A journal that cannot be read must not keep the group from its work."""
        try:
            async with asyncio.timeout(JOURNAL_READ_NS_MAX / SECOND_NS):
                stored = await self._history.last_sequence(self.name)
        except (StoreError, TimeoutError) as error:
            logger.warning(
                "the journal's last number cannot be read; it is guessed",
                extra={"group": self.name, "error": str(error)},
            )
            stored = 0
        self.journal_sequence = max(self.journal_sequence, stored)
        return self.journal_sequence

    def dismiss(self, reason: CloseReason, rule: str, message: str) -> None:
        """Ends every session."""
        for session in self._sessions.values():
            session.close(CloseSession(session.number, reason, rule, message))
        self._sessions.clear()

    def stop(self) -> None:
        """Handles nothing any more. Sessions are the server's to end."""
        self.retired = True
        self._brake.give_back(self.name)
        if self._timer is not None:
            self._timer.cancel()
        if self._reload is not None:
            self._reload.cancel()
        self.requests.fail(GroupGone(f"group {self.name!r} is closing"))
        self._wake_readers()
        self._wake_watchers(frozenset(Topic))
        self._wake_journal()

    # ---- events

    def post(self, event: Event) -> None:
        """Handles one event now, or as soon as a machine is there."""
        if self.retired:
            return
        machine = self._machine
        if machine is None:
            self._defer(event)
            return
        now = read_now()
        self._stalls.notice(now)
        try:
            effects = machine.handle(now, event)
        except Exception:
            logger.exception("the group's machine failed and is loaded anew", extra={"group": self.name})
            self._drop("the group's machine failed; see the coordinator's log", self._backoff_ns)
            return
        if effects:
            self._outbox.push(effects)
        self._arm(now)

    def open_session(self, hello: Hello, stream: Stream) -> Session:
        """Introduces an agent. The caller then awaits `end_inline`, reads on, and says `close_session` at the end.

        Raises `GroupGone`.
        """
        self._check_here()
        self._session_number += 1
        session = Session(self._session_number, hello, stream)
        self._sessions[session.number] = session
        session.begin_inline()
        self.post(SessionOpened(session.number, hello))
        return session

    def hear(self, session: Session, message: FromAgent) -> None:
        """Hands on a message of an open session. The caller then awaits `end_inline`."""
        self.heard_count += 1
        session.begin_inline()
        self.post(Heard(session.number, message))

    def close_session(self, session: Session, reason: str) -> None:
        """The stream is over, from whichever side."""
        session.ended()
        if self._sessions.pop(session.number, None) is not None:
            self.post(SessionClosed(session.number, reason))

    def stalled(self, length_ns: int) -> None:
        self._held = True
        self.post(Stalled(length_ns))

    def resume(self) -> None:
        self._held = False
        self._tick()

    @property
    def loaded(self) -> bool:
        """Whether a machine is there."""
        return self._machine is not None

    @property
    def session_count(self) -> int:
        return len(self._sessions)

    def _defer(self, event: Event) -> None:
        """Keeps what a new machine must still hear; of reports the newest of each session."""
        if isinstance(event, SessionOpened | SessionClosed | TimePassed | Stalled | Durable):
            return  # The new machine learns the sessions from `start`, and the rest was the old one's.
        if isinstance(event, Heard) and type(event.message) is Report:
            self._deferred = [
                kept
                for kept in self._deferred
                if not (isinstance(kept, Heard) and kept.session == event.session and type(kept.message) is Report)
            ]
        self._deferred.append(event)

    # ---- time

    def _arm(self, now: Now) -> None:
        """Sees to it that the timer rings no later than the deadline. One that rings too early is simply set again."""
        machine = self._machine
        if machine is None:
            return
        # A deadline that has passed already rings a moment from now, and is not put off by what happens until then.
        ring_ns = max(machine.next_deadline(), now.mono_ns + TICK_NS_MIN)
        if self._timer is not None:
            if self._timer_ns <= ring_ns:
                return
            self._timer.cancel()
        self._timer_ns = ring_ns
        self._timer = self._loop.call_later((ring_ns - now.mono_ns) / SECOND_NS, self._ring)

    def _ring(self) -> None:
        # Messages that arrived in this very round of the loop wake their readers in the next: let them go first.
        self._timer = None
        self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        now = read_now()
        self._stalls.notice(now)
        machine = self._machine
        if machine is None or self._held or self.retired:
            return
        if machine.next_deadline() <= now.mono_ns:
            self.post(TimePassed())
        else:
            self._arm(now)

    # ---- effects

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Send():
                session = self._sessions.get(effect.session)
                if session is not None:
                    session.put(effect.message)
            case Journal():
                self._history.append(self.name, effect)
                for tell in self.onlookers:
                    tell(effect)
                self.journal_sequence = max(self.journal_sequence, effect.sequence)
                self._wake_journal()
            case Changed():
                self._changes[effect.topic] += 1
                self._wake_watchers(frozenset((effect.topic,)))
            case Reply():
                self._reply(effect)
            case CloseSession():
                session = self._sessions.pop(effect.session, None)
                if session is not None:
                    session.close(effect)
            case BrakeAsked():
                self._brake.ask(self.name, partial(self._let_through_soon, self._generation))
            case BrakeReturned():
                self._brake.give_back(self.name)
            case Persist():
                raise AssertionError("the outbox hands batches to the store")

    def _let_through_soon(self, generation: int) -> None:
        self._loop.call_soon(self._let_through, generation)

    def _let_through(self, generation: int) -> None:
        """The brake lets this group fail over; a machine that came since has not asked."""
        if generation == self._generation and self._machine is not None and not self.retired:
            self.post(BrakeReleased())
        else:
            self._brake.give_back(self.name)

    def _reply(self, reply: Reply) -> None:
        if reply.request == self._retire_request and reply.refusal is None:
            request = self.requests.waiting(reply.request)
            if request is None:
                return
            if self._outbox.submitted > self._outbox.durable:
                # Something was decided since the machine said yes, perhaps a grant.
                request.set_exception(Overloaded(f"group {self.name!r} is deciding something; try again"))
                return
            # Nothing may be granted between this word and the end of the group.
            self.retired = True
        self.requests.reply(reply.request, reply.value, reply.refusal)

    def _submit(self, persist: Persist) -> None:
        if self._writes_held:
            self._unsent.append(persist)
            return
        settled = partial(self._settled, self._generation, persist.batch, read_now().mono_ns)
        self._store.submit(self.name, persist.writes, settled)

    def _settled(self, generation: int, batch: int, began_ns: int, error: StoreError | None) -> None:
        """The store's word about one batch, in order."""
        if generation != self._generation or self._machine is None:
            return
        if error is not None:
            logger.error(
                "the store refused a batch; the group is loaded anew", extra={"group": self.name, "error": str(error)}
            )
            self._refused = True
            self._drop(str(error), 0)
            return
        self._refused = False
        self.persist_latency.observe(read_now().mono_ns - began_ns)
        self.trouble = ""
        self._backoff_ns = BACKOFF_NS_MIN
        self._outbox.settle(batch)
        if self._settling:
            self._wake_readers(batch)
        if self._told_just_now:
            # The store tells of all batches of one commit in one go: of the others the machine hears of the last.
            self._untold = batch
        else:
            self._told_just_now = True
            self._loop.call_soon(self._tell_rest, generation)
            self.post(Durable(batch))

    def _tell_rest(self, generation: int) -> None:
        if generation == self._generation:
            batch, self._untold, self._told_just_now = self._untold, 0, False
            if batch:
                self.post(Durable(batch))

    # ---- when the store, or the machine, fails

    def _drop(self, trouble: str, wait_ns: int) -> None:
        """Forgets the machine and everything it had not made durable, and after `wait_ns` loads another."""
        self.refusal_count += 1
        self.trouble = trouble
        self._machine = None
        self._generation += 1
        self._brake.give_back(self.name)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._unsent.clear()
        self._told_just_now, self._untold = False, 0
        self.requests.fail(StoreTrouble(trouble))
        if not self._writes_held:
            self._writes_held = True
            self._loop.call_later(self._backoff_ns / SECOND_NS, self._release_writes)
        self._backoff_ns = min(2 * self._backoff_ns, BACKOFF_NS_MAX)
        if self._reload is None or self._reload.done():
            self._reload = self._loop.create_task(self._load_again(wait_ns))

    async def _load_again(self, wait_ns: int) -> None:
        while not self.retired:
            await asyncio.sleep(wait_ns / SECOND_NS)
            try:
                await self.start()
            except StoreError as error:
                self.trouble = str(error)
                logger.exception("the group cannot be loaded", extra={"group": self.name})
            if self._machine is not None:
                return
            wait_ns = self._backoff_ns

    def _release_writes(self) -> None:
        self._writes_held = False
        unsent = tuple(self._unsent)
        self._unsent.clear()
        for persist in unsent:
            self._submit(persist)

    # ---- readers and commands

    async def read(self, take: Callable[[Group, Now], T]) -> T:
        """A copy that `take` makes, once everything it may rest on is durable (I7).

        Raises `StoreTrouble` when the store does not take it for `TROUBLE_READ_NS_MAX`, and whatever `take` raises.
        """
        try:
            async with asyncio.timeout(TROUBLE_READ_NS_MAX / SECOND_NS):
                while True:
                    self._check_here()
                    machine, generation, outbox = self._machine, self._generation, self._outbox
                    if machine is None:
                        await self._settle(0)
                        continue
                    value = take(machine, read_now())
                    if outbox.durable >= outbox.submitted:
                        return value
                    await self._settle(outbox.submitted)
                    if generation == self._generation:
                        return value
        except TimeoutError:
            raise StoreTrouble(self.trouble or "the store has not answered in time") from None

    def glance(self, take: Callable[[Group, Now], T]) -> T | None:
        """A copy at once, for figures that decide nothing: it may rest on what is not durable yet.

        None: no machine is there.
        """
        machine = self._machine
        return None if machine is None or self.retired else take(machine, read_now())

    async def watch(self, topics: frozenset[Topic], take: Callable[[Group, Now], T]) -> AsyncGenerator[T, None]:
        """The full current value, then again after every change of the topics; changes close together are one."""
        while True:
            mark = self._mark(topics)
            yield await self.read(take)
            while self._mark(topics) == mark and not self.retired:
                changed = self._loop.create_future()
                self._watchers[changed] = topics
                try:
                    await changed
                finally:
                    self._watchers.pop(changed, None)

    async def journal_beyond(self, sequence: int) -> None:
        """Waits until the journal has an entry with a higher number. Raises `GroupGone`."""
        while self.journal_sequence <= sequence:
            self._check_here()
            written: asyncio.Future[None] = self._loop.create_future()
            self._journal_readers.add(written)
            try:
                await written
            finally:
                self._journal_readers.discard(written)

    async def command(self, make: Callable[[int], Event]) -> object:
        """Posts the command that `make` builds around a request number, and waits for its reply.

        Raises `CommandRefused`, `Overloaded`, `StoreTrouble` and `GroupGone`.
        """
        self._check_here()
        with self.requests.command() as (number, reply):
            self.post(make(number))
            return await reply

    async def append(self, make: Callable[[int], Event], content_bytes: int) -> object:
        """The same for an append that brings so many bytes. It may wait long; who goes away meanwhile is let go."""
        self._check_here()
        with self.requests.append(content_bytes) as (number, reply):
            self.post(make(number))
            try:
                return await reply
            except asyncio.CancelledError:
                self.post(AppendAbandoned(number))
                raise

    async def retire(self, validate_only: bool) -> int:
        """Asks whether the group may go, and returns its last epoch.

        From a yes on nothing is handled any more, unless `validate_only`.
        """
        self._check_here()
        if not validate_only:
            self._retire_request = self.requests.next_number
        epoch = await self.command(PrepareDelete)
        assert isinstance(epoch, int)
        return epoch

    def _check_here(self) -> None:
        if self.retired:
            raise GroupGone(f"group {self.name!r} is closing")

    def _mark(self, topics: frozenset[Topic]) -> tuple[int, ...]:
        return (self._generation, *(self._changes[topic] for topic in sorted(topics)))

    async def _settle(self, batch: int) -> None:
        """Waits until the batch is durable, or the machine was dropped."""
        settled: asyncio.Future[None] = self._loop.create_future()
        entry = (batch, settled)
        self._settling.append(entry)
        try:
            await settled
        finally:
            if entry in self._settling:
                self._settling.remove(entry)

    def _wake_readers(self, batch: int | None = None) -> None:
        """Wakes who waits for this batch or an older one; without a batch, everybody."""
        waiting = self._settling
        self._settling = [] if batch is None else [entry for entry in waiting if entry[0] > batch]
        for needed, settled in waiting:
            if (batch is None or needed <= batch) and not settled.done():
                settled.set_result(None)

    def _wake_watchers(self, topics: frozenset[Topic]) -> None:
        for changed, wanted in self._watchers.items():
            if wanted & topics and not changed.done():
                changed.set_result(None)

    def _wake_journal(self) -> None:
        for written in self._journal_readers:
            if not written.done():
                written.set_result(None)

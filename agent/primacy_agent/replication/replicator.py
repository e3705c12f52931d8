"""Performs what the agent's copy of the log wants: keeps, says, fetches, applies, waits (see `core.replica`)."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

from primacy_wire.instant import SECOND_NS
from primacy_wire.log_messages import (
    FETCHING_COUNT_MAX,
    Entries,
    Entry,
    EntryKind,
    Fetching,
    Progress,
    RetryParked,
    TransferPlan,
)

from primacy_agent.core.replica import events as r
from primacy_agent.core.replica.memory import Begin
from primacy_agent.core.replica.replica import Replica
from primacy_agent.replication.configs import Configs, NotApplied
from primacy_agent.replication.journal import Journal
from primacy_agent.replication.models import Models
from primacy_agent.replication.outbox import Outbox
from primacy_agent.store import ContentStore, StoreError
from primacy_agent.tasks import Tasks
from primacy_agent.transfer import Fetcher, FetchFailed

logger = logging.getLogger(__name__)


class Replicator:
    """One life of the copy; everything runs on the event loop's thread."""

    def __init__(
        self,
        incarnation: str,
        journal: Journal,
        configs: Configs,
        models: Models,
        outbox: Outbox,
        store: ContentStore,
        fetcher: Fetcher,
        say: Callable[[], None],
        tasks: Tasks,
    ) -> None:
        """`say`: there is a new `progress` for the coordinator."""
        self.replica = Replica(incarnation, journal.memory)
        self._journal = journal
        self._configs = configs
        self._models = models
        self._outbox = outbox
        self._store = store
        self._fetcher = fetcher
        self._say = say
        self._tasks = tasks
        self._draw = random.Random()
        self._loop = asyncio.get_running_loop()
        self._fetches: dict[int, asyncio.Task[None]] = {}
        self.fetching: dict[int, tuple[int, int]] = {}
        """sequence -> (bytes here, bytes in all) of what is being fetched."""
        self.retries_count = 0
        """Tries of this life that failed and are made again."""
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._applies: asyncio.Queue[r.Apply] = asyncio.Queue()
        self._progress = self.replica.progress()
        self._moved = asyncio.Event()
        """Set when `settled` or what is parked changes; every change brings a new one."""
        self._trim = asyncio.Event()

    async def start(self) -> None:
        """Make disk and log agree, then go on with what an earlier life left."""
        await self._configs.start()
        await self._models.start()
        self._tasks.start(self._apply_all(), name="apply")
        self._tasks.start(self._trim_all(), name="trim")
        self._tasks.start(self._outbox.run(), name="outbox")
        self._perform(self.replica.start())

    # ---- the session

    def link_up(self) -> None:
        self._post(r.LinkUp())
        self._outbox.link_up()

    def receive(self, message: Entries | RetryParked | TransferPlan) -> None:
        if isinstance(message, Entries):
            for entry in message.entries:
                self._outbox.seen(entry.time)
        self._post(r.Received(message))

    @property
    def progress(self) -> Progress:
        """What the coordinator shall hear: only what is durable (I7)."""
        fetching = sorted(self.fetching.items())[:FETCHING_COUNT_MAX]
        return replace(
            self._progress,
            uplink=self._fetcher.uplink,
            fetching=tuple(Fetching(sequence, here, size) for sequence, (here, size) in fetching),
        )

    @property
    def is_behind(self) -> bool:
        return self._progress.settled < self.replica.head

    # ---- readers

    def settled(self) -> int:
        return self._progress.settled

    async def moves(self) -> AsyncGenerator[None, None]:
        """Yields at once, and then after every change of what is settled or parked."""
        while True:
            moved = self._moved
            yield
            await moved.wait()

    def damaged(self, entry: Entry) -> None:
        """Its content was found damaged: it is fetched again before it is applied again."""
        self._post(r.Forgotten(entry.sequence))

    # ---- the machine

    def _post(self, event: r.ReplicaEvent) -> None:
        self._perform(self.replica.handle(event))

    def _perform(self, effects: tuple[r.ReplicaEffect, ...]) -> None:
        for effect in effects:
            match effect:
                case r.Keep(batch, changes):
                    if any(isinstance(change, Begin) for change in changes):
                        self._begin_anew()
                    self._journal.keep(changes, lambda batch=batch: self._post(r.Durable(batch)))  # type: ignore[misc]
                case r.Say(progress):
                    self._note(progress)
                case r.Fetch():
                    self._fetch(effect)
                case r.Apply():
                    self._applies.put_nowait(effect)
                case r.Wait(sequence, ceiling_ns):
                    self.retries_count += 1
                    delay_s = self._draw.uniform(0, ceiling_ns / SECOND_NS)
                    self._timers[sequence] = self._loop.call_later(delay_s, self._retry, sequence)
                case r.Resubmit(entries):
                    self._tasks.start(self._resubmit(entries), name="resubmit")
                case r.Parked(entry, reason):
                    logger.error(
                        "an entry is parked: `primacy retry` tries it again",
                        extra={"sequence": entry.sequence, "key": entry.key, "reason": reason},
                    )

    def _note(self, progress: Progress) -> None:
        before, self._progress = self._progress, progress
        if (before.settled, before.parked, before.store_id) != (progress.settled, progress.parked, progress.store_id):
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()
        self._say()

    def _begin_anew(self) -> None:
        """Numbers mean something else from here on: nothing that was begun for one of them may end for another."""
        for task in self._fetches.values():
            task.cancel()
        for timer in self._timers.values():
            timer.cancel()
        self._fetches.clear()
        self._timers.clear()
        self.fetching.clear()
        self._outbox.begin_anew()
        self._tasks.start(self._models.agree(list(self.replica.memory.current.values())), name="agree")

    def _retry(self, sequence: int) -> None:
        self._timers.pop(sequence, None)
        self._post(r.RetryDue(sequence))

    async def _resubmit(self, entries: tuple[Entry, ...]) -> None:
        """A version of a model that the group has a later one of is not brought back: it would be the newest then."""
        memory = self.replica.memory
        known = [*memory.current.values(), *memory.pending.values()]
        wanted = []
        for entry in entries:
            rivals = [one for one in known if (one.kind, one.key) == (entry.kind, entry.key) and one.id != entry.id]
            if entry.kind is EntryKind.MODEL and any(one.time > entry.time for one in rivals):
                logger.warning("a version of a model is not in the log any more", extra={"model": entry.key})
                continue
            wanted.append(entry)
        await self._outbox.resubmit(wanted)

    # ---- contents

    def _fetch(self, effect: r.Fetch) -> None:
        entry, plan = effect.entry, effect.plan
        if entry.sequence in self._fetches:
            if plan is not None:
                self._fetcher.replan(entry.digest, plan)
            return
        self._fetches[entry.sequence] = self._tasks.start(self._get(entry, plan), name=f"fetch {entry.key}")

    async def _get(self, entry: Entry, plan: TransferPlan | None) -> None:
        sequence = entry.sequence
        self.fetching[sequence] = 0, entry.size
        try:
            with self._models.holding(entry.digest):
                await self._fetcher.fetch(
                    entry.digest, plan, (entry.agent,), lambda done, total: self._count(sequence, done, total)
                )
            event: r.ReplicaEvent = r.Fetched(sequence)
        except (FetchFailed, StoreError, OSError) as error:
            final = isinstance(error, FetchFailed) and error.final
            event = r.Failed(sequence, str(error), final=final)
        if self._fetches.get(sequence) is not asyncio.current_task():
            return  # Another log began meanwhile.
        del self._fetches[sequence]
        self.fetching.pop(sequence, None)
        self._post(event)

    def _count(self, sequence: int, done: int, total: int) -> None:
        if sequence in self.fetching:
            self.fetching[sequence] = done, total

    # ---- putting into force

    async def _apply_all(self) -> None:
        """One after the other (I3). Never returns."""
        while True:
            effect = await self._applies.get()
            try:
                if effect.entries[0].kind is EntryKind.CONFIG:
                    await self._configs.apply(effect.entries)
                    self._outbox.applied(effect.entries)
                else:
                    for entry in effect.entries:
                        await self._models.apply(entry)
                    self._trim.set()
            except NotApplied as error:
                self._post(r.Failed(error.sequence, error.reason, effect.number))
            else:
                self._post(r.Applied(effect.number))

    async def _trim_all(self) -> None:
        while True:
            await self._trim.wait()
            self._trim.clear()
            await self._models.trim()

"""What this agent writes into the log: asked of the coordinator at once, or kept on disk and submitted later, in order.

A write has one id from its first try to its answer, a hybrid time, and the number of the version that it was made
from. While no coordinator is heard a document is kept in the journal and is in force here; made from another one that
waits, it gets that one's number as soon as there is one.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from primacy.v1 import replication_pb2
from primacy.v1.replication_service_pb2 import AppendResponse
from primacy_wire import hlc
from primacy_wire.backoff import Backoff
from primacy_wire.clock import read_now
from primacy_wire.errors import PrimacyError, Unavailable
from primacy_wire.hlc import HybridTime
from primacy_wire.instant import SECOND_NS
from primacy_wire.log_messages import Entry, EntryKind

from primacy_agent.replication.appending import Appender, Link, NotHeard
from primacy_agent.replication.configs import Configs
from primacy_agent.replication.journal import Journal, Queued

logger = logging.getLogger(__name__)

ONLINE_S = 10.0
"""So long a writer waits for the coordinator before the write is kept here instead."""
MODEL_S = 24 * 3600.0
SUBMIT_S = 10.0
BACKOFF_NS_FIRST = SECOND_NS // 5
BACKOFF_NS_MOST = 5 * SECOND_NS
QUEUE_MAX = 10_000
LATER = frozenset({"FROZEN", "IN_DOUBT", "FUTURE_EPOCH"})
"""Rules that refuse for now: what is kept here is submitted again."""
LOCAL = replication_pb2.DURABILITY_LOCAL

EMPTY = Entry(0, "", EntryKind.CONFIG, "", "", 0, 0, 0, HybridTime(), 0, "", "", 0)
"""A write before anything is known of it."""


class Outbox:
    """Owns the journal's queue."""

    def __init__(
        self, journal: Journal, configs: Configs, appender: Appender, link: Link, key: str, epoch: Callable[[], int]
    ) -> None:
        self._journal = journal
        self._configs = configs
        self._appender = appender
        self._link = link
        self._key = key
        self._epoch = epoch
        self._wake = asyncio.Event()
        memory = journal.memory
        known = [*memory.current.values(), *memory.pending.values(), *(write.entry for write in journal.queue)]
        self._time = max((entry.time for entry in known), default=HybridTime())
        self._numbers: dict[str, int] = {}
        """key -> number of the newest version that was written here: the log may not have brought it yet."""
        self.trouble = ""
        """Why the oldest write that waits was not taken yet."""
        if journal.queue:
            self._wake.set()

    @property
    def waiting(self) -> int:
        return len(self._journal.queue)

    def seen(self, time: HybridTime) -> None:
        """Another's write was seen: what is written here from now on is later."""
        self._time = hlc.seen(self._time, hlc.clamped(time, read_now().wall_ns))

    def link_up(self) -> None:
        self._wake.set()

    # ---- writing

    def stamp(self, entry: Entry) -> Entry:
        """The write with what this agent adds: its time, its origin, the newest epoch that it heard of."""
        self._time = hlc.tick(self._time, read_now().wall_ns, self._key)
        return replace(entry, time=self._time, epoch=self._epoch(), origin=self._key.partition("/")[0], agent=self._key)

    async def append(self, entry: Entry, durability: int, if_version: int | None) -> AppendResponse:
        """Now or not at all; a large model may take long until another region has it. Raises PrimacyError."""
        limit_s = ONLINE_S if durability == LOCAL else MODEL_S
        try:
            answer = await self._appender.append(self.stamp(entry), durability, if_version, limit_s)
        except NotHeard as error:
            raise Unavailable(
                f"{error}: repeat it with the id {entry.id!r}, and it happens once", "NO_COORDINATOR"
            ) from error
        return answer

    async def put_document(self, entry: Entry, durability: int, if_version: int | None) -> AppendResponse | None:
        """The coordinator's answer; None: it is kept here, in force, and submitted later. Raises PrimacyError."""
        known = self._configs.newest(entry.key)
        behind = self._waits_for(entry.key)
        parent = max(known.entry.sequence if known is not None else 0, self._numbers.get(entry.key, 0))
        entry = self.stamp(replace(entry, parent=parent))
        if if_version is not None and behind:
            raise Unavailable(f"a write of {entry.key} waits to be submitted, so its version is not certain", "QUEUED")
        if not behind and (self._link.connected or if_version is not None):
            try:
                answer = await self._appender.append(entry, durability, if_version, ONLINE_S)
            except NotHeard as error:
                if if_version is not None:
                    raise Unavailable(str(error), "NO_COORDINATOR") from error
            except Unavailable as error:
                if if_version is not None or error.reason not in LATER:
                    raise
            else:
                self._number(entry, answer.sequence)
                return answer
        await self._keep(entry)
        return None

    def _number(self, entry: Entry, sequence: int) -> None:
        if entry.kind is EntryKind.CONFIG and sequence:
            self._numbers[entry.key] = max(sequence, self._numbers.get(entry.key, 0))

    def applied(self, entries: Sequence[Entry]) -> None:
        """The log has brought these."""
        for entry in entries:
            if self._numbers.get(entry.key, entry.sequence + 1) <= entry.sequence:
                del self._numbers[entry.key]

    def begin_anew(self) -> None:
        """Numbers mean something else from here on."""
        self._numbers.clear()

    def _waits_for(self, key: str) -> Entry | None:
        """The newest write of that document that waits."""
        return next(
            (
                one.entry
                for one in reversed(self._journal.queue)
                if (one.entry.kind, one.entry.key) == (EntryKind.CONFIG, key)
            ),
            None,
        )

    async def _keep(self, entry: Entry) -> None:
        """Raises PrimacyError."""
        if self.waiting >= QUEUE_MAX:
            raise Unavailable(f"{self.waiting} writes wait for a coordinator already", "QUEUE_FULL", 5 * SECOND_NS)
        behind = self._waits_for(entry.key)
        try:
            await self._journal.enqueue(Queued(entry, behind.id if behind is not None else ""))
            await self._configs.put_above(entry)
        except OSError as error:
            raise Unavailable(f"it cannot be kept here: {error}", "DISK") from error
        self._wake.set()

    async def resubmit(self, entries: Sequence[Entry]) -> None:
        """What was in force here and the group's log has not: the group decides by its policies."""
        for entry in entries:
            logger.warning(
                "the log has lost an entry that was here; it is appended again",
                extra={"entry": entry.id, "key": entry.key, "kind": entry.kind.name},
            )
            await self._journal.enqueue(Queued(entry))
        self._wake.set()

    # ---- submitting what waits

    async def run(self) -> None:
        """Never returns."""
        backoff = Backoff(random.Random(), BACKOFF_NS_FIRST, BACKOFF_NS_MOST)
        while True:
            if not self._journal.queue or not self._link.connected:
                self._wake.clear()
                await self._wake.wait()
                continue
            write = self._journal.queue[0]
            try:
                await self._submit(write)
            except (NotHeard, PrimacyError) as error:
                self.trouble = str(error)
                await asyncio.sleep(backoff.next_ns() / SECOND_NS)
            else:
                self.trouble = ""
                backoff.reset()

    async def _submit(self, write: Queued) -> None:
        """Raises NotHeard or PrimacyError when it shall be tried again."""
        entry = write.entry
        if entry.kind is EntryKind.MODEL:
            entry = replace(entry, epoch=self._epoch())  # Its own is over; the content is what counts.
        try:
            answer = await self._appender.append(entry, LOCAL, None, SUBMIT_S)
        except PrimacyError as error:
            if isinstance(error, Unavailable) or error.reason in LATER:
                raise
            logger.warning("a write that waited was refused", extra={"key": entry.key, "reason": error.message})
            sequence = 0
        else:
            sequence = answer.sequence
            self._number(entry, sequence)
        followers = [
            Queued(replace(one.entry, parent=sequence or one.entry.parent))
            for one in self._journal.queue
            if one.parent_id == entry.id
        ]
        # In this order: what is still in the queue after a crash is submitted again and gets the same answer.
        await self._configs.answered(entry, sequence)
        await self._journal.dequeue(entry.id, followers)

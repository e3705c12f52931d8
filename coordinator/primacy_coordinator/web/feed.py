"""What everybody who watches one group sees, rendered once.

A feed runs only while somebody listens. It keeps the newest frame of each kind and the latest entries of the journal;
a listener takes what is new to it when it can. So a slow one costs no memory, gets the newest status and none of those
between, and every entry of the journal all the same: those that the feed has dropped are read from the journal again,
up to `BEHIND_COUNT_MAX`, and beyond that it is told of the gap.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from time import perf_counter

from google.protobuf.message import Message
from primacy.v1.event_pb2 import Event
from primacy_wire.errors import NotFound, PrimacyError, Unavailable

from primacy_coordinator.core.effects import Topic
from primacy_coordinator.shell.failures import GroupGone, ShellError
from primacy_coordinator.shell.runner import Runner
from primacy_coordinator.web.answers import error_dict
from primacy_coordinator.web.frames import Frame, entry_frame, frame, frame_of, gap_frame, render

logger = logging.getLogger(__name__)

EVERY_S = 1.0
"""A status comes at least so often, also when nothing changed: ages and countdowns are in it."""
GAP_S = 0.25
"""And at most so often."""
JOURNAL_GAP_S = 0.1
"""Entries of the journal come at most so often; the first one after a pause at once."""
SHARE_MAX = 0.1
"""Of this process's time, for rendering and handing out one group's status: a large one comes less often."""
BYTES_PER_S = 50_000_000
"""About what handing out frames to listeners takes of the event loop."""
JOURNAL_KEPT = 200
"""Entries that the feed keeps rendered."""
FIRST_COUNT = 50
"""Entries that a listener gets who has seen none."""
BEHIND_COUNT_MAX = 500
"""Entries that one gets at most who comes back."""
QUIET_S = 5.0
"""After so long without a frame there is a comment, so that no proxy takes the stream for dead."""
TOPICS = frozenset(Topic)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a feed reads: the servicers, in this process. Each raises `PrimacyError`."""

    status: Callable[[str], Awaitable[Message]]
    """GetStatus without events."""
    alerts: Callable[[str], Awaitable[Message]]
    replication: Callable[[str], Awaitable[Message]]
    events: Callable[[str, int | None], AsyncGenerator[Sequence[Event], None]]
    """Entries after a number (None: the latest ones first), oldest first, then new ones as they come."""


class Listener:
    """One stream's place in a feed."""

    def __init__(self, position: int | None, abort: Callable[[], None], packs: bool = False) -> None:
        """`position`: the last entry of the journal that it has seen; None: it has seen none. `abort` ends its
        connection, whatever is on its way. `packs`: it takes gzip."""
        self.position = position
        self.abort = abort
        self.packs = packs
        self.seen = 0
        """The version of the feed that it has seen."""
        self.gone = False
        self._wake = asyncio.Event()

    def wake(self) -> None:
        self._wake.set()

    def leave(self) -> None:
        """Its connection is gone."""
        self.gone = True
        self._wake.set()

    def bytes_of(self, pieces: list[Frame]) -> bytes:
        if self.packs:
            return b"".join([piece.packed for piece in pieces])
        return pieces[0].plain if len(pieces) == 1 else b"".join([piece.plain for piece in pieces])

    async def wait(self) -> None:
        await self._wake.wait()
        self._wake.clear()


class Feed:
    """One group's frames, and who listens to them."""

    def __init__(self, runner: Runner, sources: Sources) -> None:
        self.group = runner.name
        self.ended = ""
        """Why no more will come; empty while it runs."""
        self._runner = runner
        self._sources = sources
        self._listeners: set[Listener] = set()
        self._version = 0
        self._newest: dict[str, tuple[int, Frame]] = {}
        """By kind: the version in which it came, and the frame."""
        self._bodies: dict[str, bytes] = {}
        self._journal: deque[tuple[int, Frame]] = deque(maxlen=JOURNAL_KEPT)
        self._before = 0
        """Entries up to this one are not kept here."""
        self._last = 0
        """The newest entry."""
        self._journal_known = False
        self._dirty = asyncio.Event()
        self._status_bytes = 0
        work = (self._follow_changes, self._follow_status, self._follow_journal, self._follow_rest, self._break_silence)
        self._tasks = [asyncio.create_task(self._run(each)) for each in work]

    # ---- listeners

    @property
    def listener_count(self) -> int:
        return len(self._listeners)

    def join(self, listener: Listener) -> None:
        self._listeners.add(listener)

    def leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)

    def end(self, reason: str) -> None:
        """No more will come. Listeners take what there is, and stop."""
        self.ended = self.ended or reason
        for task in self._tasks:
            task.cancel()
        for listener in self._listeners:
            listener.wake()

    def abort_all(self) -> None:
        for listener in self._listeners:
            listener.abort()

    async def take(self, listener: Listener) -> bytes:
        """Everything that is new to it, as one piece; empty once the feed has ended or it has left."""
        while not listener.gone:
            pieces = self._news(listener)
            if listener.position != self._last and self._journal_known:
                pieces += await self._entries(listener)
            if pieces:
                return listener.bytes_of(pieces)
            if self.ended:
                break
            await listener.wait()
        return b""

    def _news(self, listener: Listener) -> list[Frame]:
        seen, listener.seen = listener.seen, self._version
        if seen == self._version:
            return []
        return [each for version, each in self._newest.values() if version > seen]

    async def _entries(self, listener: Listener) -> list[Frame]:
        pieces: list[Frame] = []
        position = listener.position
        if position is not None and position > self._last:
            pieces.append(gap_frame(position, "the journal begins anew"))
            position = None
        if position is None:
            listener.position = self._last
            return pieces + [each for _, each in list(self._journal)[-FIRST_COUNT:]]
        if self._last - position > BEHIND_COUNT_MAX:
            pieces.append(gap_frame(position, "too many events came meanwhile"))
            position = self._last - BEHIND_COUNT_MAX
        while position < self._before:
            before = self._before
            pieces += await self._read_again(position, before)
            position = before
        pieces += [each for sequence, each in self._journal if sequence > position]
        listener.position = self._last
        return pieces

    async def _read_again(self, after: int, before: int) -> list[Frame]:
        """Entries after that one which are not kept here any more."""
        try:
            async with aclosing(self._sources.events(self.group, after)) as batches:
                async for batch in batches:
                    return [entry_frame(event) for event in batch if event.sequence <= before]
        except PrimacyError:
            pass
        return [gap_frame(after, "the journal cannot be read now")]

    # ---- frames

    def _publish(self, kind: str, piece: Frame) -> None:
        self._version += 1
        # The newest kinds last: dicts keep the order in which keys came.
        self._newest.pop(kind, None)
        self._newest[kind] = self._version, piece
        self._wake_all()

    def _publish_changed(self, kind: str, body: bytes) -> None:
        if self._bodies.get(kind) != body:
            self._bodies[kind] = body
            self._publish(kind, frame(kind, body))

    def _wake_all(self) -> None:
        for listener in self._listeners:
            listener.wake()

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (GroupGone, NotFound):
            self._end_soon(f"group {self.group!r} is closing")
        except Exception:
            # Whoever listens comes again, and finds a new feed.
            logger.exception("a stream of the HTTP port failed", extra={"group": self.group})
            self._end_soon("internal error: the coordinator's log has its traceback")

    def _end_soon(self, reason: str) -> None:
        # Not from within one of the tasks that it cancels.
        asyncio.get_running_loop().call_soon(self.end, reason)

    async def _follow_changes(self) -> None:
        while True:
            try:
                async with aclosing(self._runner.watch(TOPICS, lambda _machine, _now: None)) as changes:
                    async for _ in changes:
                        self._dirty.set()
            except GroupGone:
                raise
            except ShellError:
                # The store is in trouble; the status, read once a second, says so.
                await asyncio.sleep(EVERY_S)

    async def _follow_status(self) -> None:
        while True:
            self._dirty.clear()
            began = asyncio.get_running_loop().time()
            busy_s = 0.0
            try:
                status = await self._sources.status(self.group)
            except Unavailable as error:
                # Whoever comes now is not shown what was true once.
                self._newest.pop("status", None)
                self._publish("trouble", frame_of("trouble", error_dict(error)))
            else:
                began_rendering = perf_counter()
                piece = frame("status", await render(status))
                handed = sum(len(piece.packed if each.packs else piece.plain) for each in self._listeners)
                busy_s = perf_counter() - began_rendering + handed / BYTES_PER_S
                self._newest.pop("trouble", None)
                self._publish("status", piece)
            gap_s = max(GAP_S, busy_s / SHARE_MAX)
            await asyncio.sleep(max(began + gap_s - asyncio.get_running_loop().time(), 0))
            with suppress(TimeoutError):
                async with asyncio.timeout_at(began + max(EVERY_S, gap_s)):
                    await self._dirty.wait()

    async def _follow_journal(self) -> None:
        after: int | None = None
        while True:
            try:
                async with aclosing(self._sources.events(self.group, after)) as batches:
                    async for batch in batches:
                        after = self._add(batch, after)
                        # In a burst, many at once: reading, waking and writing cost by the piece.
                        await asyncio.sleep(JOURNAL_GAP_S)
            except Unavailable:
                if self._runner.retired:
                    raise GroupGone(self.group) from None
                await asyncio.sleep(EVERY_S)

    def _add(self, batch: Sequence[Event], after: int | None) -> int:
        """Keeps these entries, and returns the number of the last one."""
        kept = self._journal
        if after is None and batch:
            self._before = batch[0].sequence - 1
        for event in batch:
            if len(kept) == JOURNAL_KEPT:
                self._before = kept[0][0]
            kept.append((event.sequence, entry_frame(event)))
            self._last = event.sequence
        if batch or not self._journal_known:
            self._journal_known = True
            self._wake_all()
        return self._last

    async def _follow_rest(self) -> None:
        """What changes seldom and is cheap to ask for. A bug there costs no more than that part."""
        told: set[str] = set()
        while True:
            for kind, ask in (("alerts", self._sources.alerts), ("replication", self._sources.replication)):
                try:
                    self._publish_changed(kind, await render(await ask(self.group)))
                except Unavailable:
                    pass  # The status says what the trouble is.
                except NotFound:
                    raise
                except Exception:
                    if kind not in told:
                        told.add(kind)
                        logger.exception("a stream goes without its %s", kind, extra={"group": self.group})
            await asyncio.sleep(EVERY_S)

    async def _break_silence(self) -> None:
        while True:
            version = self._version
            await asyncio.sleep(QUIET_S)
            if version == self._version:
                self._publish("comment", Frame(b": still here\n\n"))

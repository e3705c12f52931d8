"""One agent's stream, as its group's runner sees it.

A session is written by whoever has something to say and finds it idle: the coroutine that reads the stream writes the
answer to the report it just read, in place; anything pushed in between wakes a short task. Writes never interleave.

What waits to be written is bounded: of answers, of weights and of directories only the newest counts, so each has one
slot; everything else is kept in order, and a session that cannot take it is closed, never thinned out. Directories are
long and nothing hurries for them, so they go late: weights of all sessions need not wait for them. What comes in bulk
(the log, plans of transfers) goes after them, in its own order: no lease waits for it. Metrics go last of all; of those
of one region only the newest counts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Protocol

from primacy_wire.log_messages import Entries, GroupMetrics, TransferPlan
from primacy_wire.messages import Answer, Directory, Hello, ToAgent, WeightsUpdate

from primacy_coordinator.core.effects import CloseReason, CloseSession

WAITING_COUNT_MAX = 256
"""Messages that may wait for one session, not counting those of which only the newest counts."""
BULK_COUNT_MAX = 2048
"""The same for what comes in bulk. The machine bounds its bytes: it sends no more than a window before it hears that
the agent has taken it."""
BULK = frozenset({Entries, TransferPlan})


class StreamClosed(Exception):
    """The transport lost the stream under a write: the reading side will see its end."""


class Stream(Protocol):
    """What a session needs of its transport."""

    async def write(self, message: ToAgent) -> None:
        """Hands one message to the transport. Raises `StreamClosed` when the stream is gone."""

    async def abort(self, close: CloseSession) -> None:
        """Ends the stream with the status that `close` stands for. Never raises."""


class Session:
    """The coordinator's end of one stream, after its hello."""

    __slots__ = (
        "_answer",
        "_bulk",
        "_directory",
        "_inline",
        "_metrics",
        "_stream",
        "_tasks",
        "_waiting",
        "_weights",
        "_writing",
        "closed",
        "hello",
        "number",
    )

    def __init__(self, number: int, hello: Hello, stream: Stream) -> None:
        self.number = number
        self.hello = hello
        self.closed = False
        """Nothing is written any more; the end of the stream is under way."""
        self._stream = stream
        self._answer: Answer | None = None
        self._weights: WeightsUpdate | None = None
        self._directory: Directory | None = None
        self._waiting: deque[ToAgent] = deque()
        self._bulk: deque[ToAgent] = deque()
        self._metrics: deque[GroupMetrics] = deque()
        self._writing = False
        self._inline = False
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, message: ToAgent) -> None:
        """Queues a message and sees to it that it is written."""
        if self.closed:
            return
        if type(message) is Answer:
            self._answer = message
        elif type(message) is WeightsUpdate:
            self._weights = message
        elif type(message) is Directory:
            self._directory = message
        elif type(message) is GroupMetrics:
            self._replace_metrics(message)
        elif not self._queue(message):
            return
        if not self._writing and not self._inline:
            # Set before the task runs, so that a burst starts one task.
            self._writing = True
            self._spawn(self._drain())

    def _queue(self, message: ToAgent) -> bool:
        """Lets the message wait its turn; a session that cannot take it is closed."""
        bulky = type(message) in BULK
        queue, count_max = (self._bulk, BULK_COUNT_MAX) if bulky else (self._waiting, WAITING_COUNT_MAX)
        if len(queue) < count_max:
            queue.append(message)
            return True
        text = f"{count_max} messages wait for this session"
        self.close(CloseSession(self.number, CloseReason.DEAF, "TOO_SLOW", text))
        return False

    def _replace_metrics(self, newest: GroupMetrics) -> None:
        """A message that speaks of no other region than the newest is needless: few wait, however slow it is."""
        regions = {snapshot.region for snapshot in newest.snapshots}
        needed = (one for one in self._metrics if not regions.issuperset(found.region for found in one.snapshots))
        self._metrics = deque((*needed, newest))

    def _has_more(self) -> bool:
        """Whether anything waits, bulk left out."""
        single = self._answer is not None or self._weights is not None or self._directory is not None
        return single or bool(self._waiting)

    def begin_inline(self) -> None:
        """The reading coroutine is about to post this session's own event and will write what comes of it."""
        self._inline = True

    async def end_inline(self) -> None:
        """Writes what the event brought, unless a task is writing already."""
        self._inline = False
        if self._writing:
            return
        if self._bulk or self._metrics:
            # It may take long to write: the stream is read meanwhile.
            self._writing = True
            self._spawn(self._drain())
        elif self._has_more():
            self._writing = True
            await self._drain()

    def close(self, close: CloseSession) -> None:
        """Ends the stream with a status, dropping what still waits. Does nothing the second time."""
        if self.closed:
            return
        self.closed = True
        self._forget()
        self._spawn(self._stream.abort(close))

    def ended(self) -> None:
        """The stream is over: nothing can be written any more."""
        self.closed = True
        self._forget()

    def _forget(self) -> None:
        self._answer = self._weights = self._directory = None
        self._waiting.clear()
        self._bulk.clear()
        self._metrics.clear()

    async def _drain(self) -> None:
        """Writes until nothing waits. The caller has set `_writing`."""
        write = self._stream.write
        try:
            while not self.closed:
                if self._waiting:
                    await write(self._waiting.popleft())
                elif (answer := self._answer) is not None:
                    self._answer = None
                    await write(answer)
                elif (weights := self._weights) is not None:
                    self._weights = None
                    await write(weights)
                elif (directory := self._directory) is not None:
                    self._directory = None
                    await write(directory)
                elif self._bulk:
                    await write(self._bulk.popleft())
                elif self._metrics:
                    await write(self._metrics.popleft())
                else:
                    return
        except StreamClosed:
            self.ended()
        finally:
            self._writing = False

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

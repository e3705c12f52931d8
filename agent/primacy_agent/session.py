"""The session with the coordinator, and the lease holder's effects.

1. Every message that arrives is handed to the lease holder at once; what it wants to be durable is written by a thread,
   and what it says after that waits for the disk (I7).
2. A report is built right before it is handed to the transport: the lease counts from that moment (I1).
3. A session whose reports stay unanswered is given up and opened anew, at another address if there is one, after a
   pause with full jitter.
4. ALREADY_EXISTS ends it for good: a newer life of this agent is known. What is held runs out; nothing is asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from collections import deque
from collections.abc import Callable
from typing import Protocol

import grpc
import grpc.aio
from primacy.v1 import agent_service_pb2_grpc
from primacy.v1.agent_service_pb2 import SessionResponse
from primacy_wire.backoff import Backoff
from primacy_wire.channel import make_channel
from primacy_wire.clock import read_now
from primacy_wire.errors import InvalidRequest
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS, Now
from primacy_wire.log_messages import Entries, GroupMetrics, MetricsSnapshot, Progress, RetryParked, TransferPlan
from primacy_wire.messages import Answer, FromAgent, Notice, Report
from primacy_wire.session_codec import from_agent_to_proto, to_agent_from_proto

from primacy_agent.config import AgentConfig
from primacy_agent.core.effects import (
    AgentEffect,
    AuthorityChanged,
    DirectoryChanged,
    KillHook,
    Persist,
    ReportSoon,
    RowsChanged,
    RunHook,
    Send,
    Superseded,
)
from primacy_agent.core.events import (
    AgentEvent,
    Durable,
    LinkDown,
    LinkUp,
    Received,
    ReleaseNow,
    TimePassed,
)
from primacy_agent.core.lease import LeaseHolder
from primacy_agent.core.memory import Memory
from primacy_agent.tasks import Tasks

logger = logging.getLogger(__name__)

BACKOFF_NS_FIRST = 100 * MILLISECOND_NS
BACKOFF_NS_MOST = 3 * SECOND_NS
SILENCE_INTERVALS = 4
SILENCE_NS_MIN = SECOND_NS
"""A session is given up when a report stays unanswered for the longer of both."""
END_S = 1.0
"""How long the status of a stream that took no more messages is waited for."""
CONNECT_NS_MAX = 3 * SECOND_NS
REPORT_GAP_NS_MIN = 5 * MILLISECOND_NS
"""Reports on news follow each other no faster."""
PROGRESS_GAP_NS_MIN = 20 * MILLISECOND_NS
"""Words of how far the log has come here follow each other no faster."""
COMPLAIN_NS = 60 * SECOND_NS
"""One trouble with one coordinator is logged no more often."""
UNSENT_MAX = 1_000


class Host(Protocol):
    """What the session needs of the rest of the agent."""

    def build_report(self, now: Now) -> Report: ...

    def authority_changed(self) -> None: ...

    def rows_changed(self) -> None: ...

    def directory_changed(self) -> None: ...

    def deadline_moved(self) -> None: ...

    def run_hook(self, wanted: RunHook) -> None: ...

    def kill_hook(self, unwanted: KillHook) -> None: ...

    def log_link_up(self) -> None: ...

    def log_received(self, message: Entries | RetryParked | TransferPlan | GroupMetrics) -> None: ...

    def build_progress(self) -> Progress: ...

    def is_behind(self) -> bool: ...

    def build_metrics(self, now: Now) -> MetricsSnapshot | None: ...

    def take_notices(self) -> list[Notice]: ...


class Session:
    """Owns the lease holder and the stream to the coordinator."""

    def __init__(
        self, config: AgentConfig, holder: LeaseHolder, keep: Callable[[Memory], None], host: Host, tasks: Tasks
    ) -> None:
        self.holder = holder
        self.coordinator = ""
        self.connected = False
        self.sessions_count = 0
        self.reports_count = 0
        self.last_error = ""
        self._config = config
        self._keep = keep
        self._host = host
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._outgoing: deque[FromAgent] = deque()
        self._behind: deque[Persist | Send] = deque()
        """Effects that wait for the disk; begins with the batch that is being written."""
        self._writing: asyncio.Task[None] | None = None
        self._soon = asyncio.Event()
        self._reported_ns = 0
        """When the last report was sent; 0 makes the next one due at once."""
        self._sent_ns = 0
        self.reported_number = 0
        self._progress_due = False
        self._progress_ns = 0
        """When the last word of the log's progress was sent."""
        self._unanswered_ns = 0
        """When the first report was sent that no answer came after; 0: all are answered."""
        self._deadline_ns = 0
        self._complained_ns: dict[tuple[str, str], int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False

    # ---- the lease holder

    def post(self, event: AgentEvent) -> None:
        """Hand one event to the lease holder now, and perform what it wants."""
        now = read_now()
        for effect in self.holder.handle(now, event):
            self._perform(effect)
        deadline_ns = self.holder.active(now).deadline_mono_ns
        if deadline_ns != self._deadline_ns:
            self._deadline_ns = deadline_ns
            self._host.deadline_moved()
        self._arm(now)

    def _perform(self, effect: AgentEffect) -> None:
        match effect:
            case Persist() | Send() if self._behind or isinstance(effect, Persist):
                self._behind.append(effect)
                if self._writing is None:
                    self._writing = self._tasks.start(self._write(), name="memory")
            case Send(message):
                self._queue(message)
            case AuthorityChanged():
                self._host.authority_changed()
            case RowsChanged():
                self._host.rows_changed()
            case DirectoryChanged():
                self._host.directory_changed()
            case ReportSoon():
                self.report_soon()
            case RunHook():
                self._host.run_hook(effect)
            case KillHook():
                self._host.kill_hook(effect)
            case Superseded(reason):
                logger.error("this life of the agent is superseded; it stays standby", extra={"reason": reason})

    async def _write(self) -> None:
        """Write batches in order; several that wait are one write, for each holds the whole memory."""
        wait_ns = BACKOFF_NS_FIRST
        try:
            while self._behind:
                batches = [effect for effect in self._behind if isinstance(effect, Persist)]
                if not batches:
                    break
                newest = batches[-1]
                try:
                    await asyncio.to_thread(self._keep, newest.memory)
                except OSError as error:
                    logger.error("the state folder cannot be written", extra={"reason": str(error)})  # noqa: TRY400
                    await asyncio.sleep(wait_ns / SECOND_NS)
                    wait_ns = min(2 * wait_ns, BACKOFF_NS_MOST)
                    continue
                wait_ns = BACKOFF_NS_FIRST
                self._release(newest.batch)
                self.post(Durable(newest.batch))
        finally:
            self._writing = None

    def _release(self, batch: int) -> None:
        """Let go of what waited for this batch and older ones."""
        while self._behind:
            head = self._behind[0]
            if isinstance(head, Persist) and head.batch > batch:
                break
            self._behind.popleft()
            if isinstance(head, Send):
                self._queue(head.message)

    def _queue(self, message: FromAgent) -> None:
        self._outgoing.append(message)
        if len(self._outgoing) > UNSENT_MAX:
            self._outgoing.popleft()  # Without a session for so long; reports say the same.
        self._soon.set()

    def _arm(self, now: Now) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline_ns = self.holder.next_deadline()
        if deadline_ns is not None:
            delay_ns = max(deadline_ns - now.mono_ns, MILLISECOND_NS)
            self._timer = self._loop.call_later(delay_ns / SECOND_NS, self.post, TimePassed())

    # ---- the stream

    def report_soon(self) -> None:
        """Report without waiting for the interval."""
        self._reported_ns = 0
        self._soon.set()

    def progress_soon(self) -> None:
        """Say how far the log has come here, without waiting for a report."""
        self._progress_due = True
        self._soon.set()

    async def run(self) -> None:
        """Keep a session open until `stop`, or until this life is superseded."""
        self.post(TimePassed())  # What an earlier life left to be done waits for no coordinator.
        backoff = Backoff(random.Random(), BACKOFF_NS_FIRST, BACKOFF_NS_MOST)
        addresses = deque(self._config.coordinators)
        while not self._stopping and not self.holder.superseded:
            self.coordinator = addresses[0]
            answered = self.holder.answered
            try:
                await self._session(addresses[0])
            except grpc.aio.AioRpcError as error:
                self._ended(error.code().name, error.details() or "")
            except (_Silence, InvalidRequest, asyncio.InvalidStateError) as error:
                self._ended("UNAVAILABLE", str(error))
            if self.holder.answered > answered:
                backoff.reset()
            else:
                addresses.rotate(-1)
            await asyncio.sleep(backoff.next_ns() / SECOND_NS)

    async def _session(self, address: str) -> None:
        """One session, to its end. Raises AioRpcError, _Silence."""
        channel = make_channel(address, self._config.client_tls())
        try:
            call = agent_service_pb2_grpc.AgentServiceStub(channel).Session()
            async with asyncio.timeout(CONNECT_NS_MAX / SECOND_NS) as limit:
                with contextlib.suppress(asyncio.InvalidStateError):  # Over already: reading tells why.
                    await call.write(from_agent_to_proto(self._hello()))
                welcome = await call.read()
                limit.reschedule(None)
            if not isinstance(welcome, SessionResponse):
                raise _error_of(await call.code(), await call.details())
            self.sessions_count += 1
            self.connected = True
            self._complained_ns.clear()
            logger.info("connected", extra={"coordinator": address})
            self.post(LinkUp())
            self.post(Received(to_agent_from_proto(welcome)))
            self._host.log_link_up()
            await self._talk(call)
        except TimeoutError:
            raise _Silence(f"{address} did not answer the hello in {CONNECT_NS_MAX / SECOND_NS:g} s") from None
        finally:
            self.connected = False
            await channel.close()

    def _hello(self) -> FromAgent:
        return self.holder.hello(
            self._config.group, socket.gethostname(), self._config.peer_address, self._config.spec()
        )

    async def _talk(self, call: grpc.aio.StreamStreamCall) -> None:  # type: ignore[type-arg]
        """Send and hear until either side is done."""
        self._reported_ns = 0
        sending = asyncio.create_task(self._send(call))
        hearing = asyncio.create_task(self._hear(call))
        try:
            await asyncio.wait((sending, hearing), return_when=asyncio.FIRST_COMPLETED)
            if not hearing.done() and not isinstance(sending.exception(), _Silence):
                # A write fails with no more than "it has ended"; the reader hears why.
                await asyncio.wait((hearing,), timeout=END_S)
            await (hearing if hearing.done() else sending)
        finally:
            call.cancel()
            for task in (sending, hearing):
                task.cancel()
            await asyncio.gather(sending, hearing, return_exceptions=True)

    async def _hear(self, call: grpc.aio.StreamStreamCall) -> None:  # type: ignore[type-arg]
        while True:
            message = await call.read()
            if not isinstance(message, SessionResponse):
                raise _error_of(await call.code(), await call.details())
            heard = to_agent_from_proto(message)
            if isinstance(heard, Entries | RetryParked | TransferPlan | GroupMetrics):
                self._host.log_received(heard)
                continue
            if isinstance(heard, Answer):
                self._unanswered_ns = 0
            self.post(Received(heard))

    async def _send(self, call: grpc.aio.StreamStreamCall) -> None:  # type: ignore[type-arg]
        """Never returns. Raises AioRpcError or InvalidStateError when the stream has ended, _Silence."""
        self._unanswered_ns = 0
        while True:
            self._soon.clear()
            while self._outgoing:
                await call.write(from_agent_to_proto(self._outgoing.popleft()))
            for notice in self._host.take_notices():
                await call.write(from_agent_to_proto(notice))
            interval_ns = self.holder.report_interval_ns
            now = read_now()
            if now.mono_ns - self._reported_ns >= interval_ns:
                await self._send_report(call)
                now = read_now()
            await self._send_progress(call, now)
            quiet_ns = now.mono_ns - self._unanswered_ns if self._unanswered_ns else 0
            if quiet_ns > max(SILENCE_INTERVALS * interval_ns, SILENCE_NS_MIN):
                raise _Silence(f"no answer for {quiet_ns / SECOND_NS:.1f} s")
            due_ns = self._reported_ns + interval_ns - now.mono_ns
            wait_ns = min(due_ns, PROGRESS_GAP_NS_MIN) if self._progress_due else due_ns
            try:
                async with asyncio.timeout(max(wait_ns, 0) / SECOND_NS):
                    await self._soon.wait()
            except TimeoutError:
                pass
            woken_ns = read_now().mono_ns
            if self._unanswered_ns and woken_ns - now.mono_ns > due_ns + interval_ns:
                self._unanswered_ns = woken_ns  # This process stood still: its answers may lie unread.

    async def _send_report(self, call: grpc.aio.StreamStreamCall) -> None:  # type: ignore[type-arg]
        gap_ns = self._sent_ns + REPORT_GAP_NS_MIN - read_now().mono_ns
        if gap_ns > 0:
            await asyncio.sleep(gap_ns / SECOND_NS)
        now = read_now()
        self._reported_ns = self._sent_ns = now.mono_ns
        self._unanswered_ns = self._unanswered_ns or now.mono_ns
        report = self._host.build_report(now)
        self.reports_count += 1
        self.reported_number = report.number
        await call.write(from_agent_to_proto(report))
        self._progress_due = self._progress_due or self._host.is_behind()
        metrics = self._host.build_metrics(now)
        if metrics is not None:
            await call.write(from_agent_to_proto(metrics))

    async def _send_progress(self, call: grpc.aio.StreamStreamCall, now: Now) -> None:  # type: ignore[type-arg]
        if self._progress_due and now.mono_ns - self._progress_ns >= PROGRESS_GAP_NS_MIN:
            self._progress_due, self._progress_ns = False, now.mono_ns
            await call.write(from_agent_to_proto(self._host.build_progress()))

    def _ended(self, code: str, details: str) -> None:
        self.last_error = f"{code}: {details}" if details else code
        now_ns = read_now().mono_ns
        trouble = (self.coordinator, self.last_error)
        if now_ns - self._complained_ns.get(trouble, -COMPLAIN_NS) >= COMPLAIN_NS:
            self._complained_ns = {k: at for k, at in self._complained_ns.items() if now_ns - at < COMPLAIN_NS}
            self._complained_ns[trouble] = now_ns
            logger.warning("no session", extra={"coordinator": self.coordinator, "reason": self.last_error})
        self.post(LinkDown(superseded=code == "ALREADY_EXISTS", reason=details))

    async def release(self, reason: str, limit_s: float) -> None:
        """Give up what is held, and wait for at most so long until the service is demoted and the coordinator has
        answered a report after that.

        The stream keeps its order, so that answer proves that the release was heard.
        """
        self.post(ReleaseNow(reason))
        said_at: int | None = None
        end_ns = read_now().mono_ns + int(limit_s * SECOND_NS)
        # Two queues and a link: looking again is simpler than an event for each.
        while (self.connected or not self.holder.is_settled) and read_now().mono_ns < end_ns:
            if said_at is None and self.holder.is_settled and not self._behind and not self._outgoing:
                said_at = self.reported_number
                self.report_soon()
            if said_at is not None and self.holder.answered > said_at:
                return
            await asyncio.sleep(0.01)

    def stop(self) -> None:
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()


class _Silence(Exception):
    """The coordinator stays silent."""


def _error_of(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details or "the session ended")

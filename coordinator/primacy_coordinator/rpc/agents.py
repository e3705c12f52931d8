"""AgentService: one coroutine a session, from the bytes of a report to the bytes of its answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import grpc.aio
from grpc_status import rpc_status
from primacy.v1 import agent_service_pb2 as pb
from primacy.v1.agent_service_pb2_grpc import AgentServiceServicer
from primacy_wire.errors import BadField, InvalidRequest, Unavailable
from primacy_wire.log_messages import Entries, GroupMetrics
from primacy_wire.messages import Directory, Hello, ToAgent, WeightsUpdate
from primacy_wire.rpc_errors import to_status
from primacy_wire.session_codec import from_agent_from_proto, to_agent_to_proto

from primacy_coordinator.core.effects import CloseSession
from primacy_coordinator.rpc.calls import Calls, Context
from primacy_coordinator.rpc.refusals import close_error, shell_error
from primacy_coordinator.shell.failures import ShellError
from primacy_coordinator.shell.sessions import StreamClosed

logger = logging.getLogger(__name__)

HELLO_SECONDS_MAX = 10
"""How long a stream may stay silent before its hello."""
ABORT_SECONDS_MAX = 5
"""How long the transport may take to end a stream whose agent does not read."""


SHARED = frozenset({WeightsUpdate, Directory, GroupMetrics})
SHARED_COUNT_MAX = 64
"""Messages kept rendered: the rows and the directory of so many regions."""
BATCHES_COUNT_MAX = 8
"""Pieces of the log kept rendered: agents that keep up all get the same ones."""


class AgentService(AgentServiceServicer):
    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._shared = _Shared()

    async def Session(  # type: ignore[override]  # the stubs know generators only; this one writes by its context
        self,
        request_iterator: AsyncIterator[pb.SessionRequest],
        context: Context,
    ) -> None:
        """One life of one agent. No message of it is logged, queued or given a task of its own."""
        hello = await self._hello(context)
        runner = self._calls.runner(hello.group, "hello.group")
        # Else they go with the first message, and gRPC cannot end the stream while that is on its way: a status
        # meanwhile is refused (TOO_MANY_OPERATIONS), and the agent would wait for good.
        await context.send_initial_metadata(())
        try:
            session = runner.open_session(hello, _Stream(context, self._shared))
        except ShellError as error:
            raise shell_error(error) from error
        reason = "the stream broke off"
        try:
            await session.end_inline()
            while True:
                request = await context.read()
                if request is grpc.aio.EOF:
                    reason = "the agent ended the stream"
                    break
                if session.closed:
                    # Its end is under way; what still comes is nobody's.
                    continue
                runner.hear(session, from_agent_from_proto(request))
                await session.end_inline()
        except InvalidRequest as error:
            reason = f"the agent sent a malformed message: {error.message}"
            raise
        finally:
            runner.close_session(session, reason)

    async def _hello(self, context: Context) -> Hello:
        try:
            async with asyncio.timeout(HELLO_SECONDS_MAX):
                request = await context.read()
        except TimeoutError:
            raise Unavailable(f"no hello came within {HELLO_SECONDS_MAX} s", "HELLO_TIMEOUT") from None
        first = None if request is grpc.aio.EOF else from_agent_from_proto(request)
        if not isinstance(first, Hello):
            raise InvalidRequest(BadField("hello", "must be the first message of a session", "REQUIRED"))
        return first


class _Shared:
    """Renders messages, and keeps those that the machine hands to many sessions at once as one value."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[ToAgent, pb.SessionResponse]] = {}
        self._batches: dict[object, pb.SessionResponse] = {}

    def render(self, message: ToAgent) -> pb.SessionResponse:
        if type(message) is Entries:
            return self._render_entries(message)
        if type(message) not in SHARED:
            return to_agent_to_proto(message)
        # The value is kept with its rendering, so that no other can take its id.
        found = self._kept.get(id(message))
        if found is None:
            if len(self._kept) >= SHARED_COUNT_MAX:
                self._kept.clear()
            found = self._kept[id(message)] = message, to_agent_to_proto(message)
        return found[1]

    def _render_entries(self, message: Entries) -> pb.SessionResponse:
        """The machine makes a piece of the log for each session anew; the same one is rendered once."""
        # Store, ends and fingerprints name the piece; the count tells whether any of it was compacted away since.
        piece = replace(message, entries=()), len(message.entries)
        found = self._batches.pop(piece, None)
        if found is None:
            found = to_agent_to_proto(message)
        self._batches[piece] = found
        if len(self._batches) > BATCHES_COUNT_MAX:
            del self._batches[next(iter(self._batches))]
        return found


class _Stream:
    """The transport of one session."""

    def __init__(self, context: Context, shared: _Shared) -> None:
        self._context = context
        self._shared = shared
        self._task = asyncio.current_task()

    async def write(self, message: ToAgent) -> None:
        try:
            await self._context.write(self._shared.render(message))
        except (grpc.aio.BaseError, RuntimeError) as error:  # gRPC says RuntimeError of a finished call
            raise StreamClosed from error

    async def abort(self, close: CloseSession) -> None:
        status = rpc_status.to_status(to_status(close_error(close)))
        try:
            async with asyncio.timeout(ABORT_SECONDS_MAX):
                await self._context.abort_with_status(status)
        except TimeoutError:
            # The status waits behind messages that the agent does not read: let the stream go without it.
            if self._task is not None:
                self._task.cancel()
        except (grpc.aio.BaseError, RuntimeError):
            pass  # `AbortError` is how gRPC returns from this; any other means that the stream is gone already.

"""Failures cross a real connection and come out readable at the other end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from primacy.v1 import policy_service_pb2 as pb
from primacy.v1 import status_service_pb2 as status_pb
from primacy_wire.channel import make_channel
from primacy_wire.errors import (
    AlreadyExists,
    BadField,
    Denied,
    Exhausted,
    InvalidRequest,
    NotFound,
    PrimacyError,
    Refused,
    Stale,
    Unavailable,
)
from primacy_wire.rpc_errors import CODES, RpcFailure, from_rpc_error
from primacy_wire.server import listen, make_server

UNARY = "/primacy.v1.PolicyService/GetPolicy"
STREAM = "/primacy.v1.StatusService/WatchEvents"
WRITER = "/primacy.v1.StatusService/WriteEvents"

FAILURES: list[tuple[PrimacyError, RpcFailure]] = [
    (
        InvalidRequest(BadField("region.name", "must not be empty"), BadField("region.capacity", "must be 0 or more")),
        RpcFailure(
            "INVALID_ARGUMENT",
            "region.name: must not be empty; region.capacity: must be 0 or more",
            fields=(BadField("region.name", "must not be empty"), BadField("region.capacity", "must be 0 or more")),
        ),
    ),
    (
        NotFound("region", "mars", "see `primacy regions`"),
        RpcFailure(
            "NOT_FOUND", "there is no region 'mars': see `primacy regions`", "REGION_NOT_FOUND", {"region": "mars"}
        ),
    ),
    (
        AlreadyExists("group", "g"),
        RpcFailure("ALREADY_EXISTS", "there is a group 'g' already", "GROUP_EXISTS", {"group": "g"}),
    ),
    (
        Refused("NO_TARGET", "nowhere to go", {"region": "a"}),
        RpcFailure("FAILED_PRECONDITION", "nowhere to go", "NO_TARGET", {"region": "a"}),
    ),
    (Stale("changed since"), RpcFailure("ABORTED", "changed since", "ETAG_MISMATCH")),
    (Denied("not yours"), RpcFailure("PERMISSION_DENIED", "not yours", "DENIED")),
    (
        Unavailable("no active region", "NO_ACTIVE_REGION", 250_000_000),
        RpcFailure("UNAVAILABLE", "no active region", "NO_ACTIVE_REGION", retry_delay_ns=250_000_000),
    ),
    (
        Exhausted("too many", "INBOX_FULL", 100_000_000),
        RpcFailure("RESOURCE_EXHAUSTED", "too many", "INBOX_FULL", retry_delay_ns=100_000_000),
    ),
]

Ask = Callable[[str], Awaitable[RpcFailure | None]]


class _Handlers(grpc.GenericRpcHandler):
    """One method of each shape that raises what it is told to."""

    def __init__(self) -> None:
        self.error: Exception = AssertionError("not told")

    async def _unary(self, request: pb.GetPolicyRequest, context: Any) -> pb.GetPolicyResponse:
        raise self.error

    async def _stream(self, request: Any, context: Any) -> AsyncIterator[status_pb.WatchEventsResponse]:
        yield status_pb.WatchEventsResponse()
        raise self.error

    async def _write(self, request: Any, context: Any) -> None:
        await context.write(status_pb.WatchEventsResponse())
        raise self.error

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        match handler_call_details.method:
            case "/primacy.v1.PolicyService/GetPolicy":
                return grpc.unary_unary_rpc_method_handler(
                    self._unary, pb.GetPolicyRequest.FromString, pb.GetPolicyResponse.SerializeToString
                )
            case "/primacy.v1.StatusService/WatchEvents":
                shape: Any = self._stream
            case "/primacy.v1.StatusService/WriteEvents":
                shape = self._write
            case _:
                return None
        return grpc.unary_stream_rpc_method_handler(
            shape, status_pb.WatchEventsRequest.FromString, status_pb.WatchEventsResponse.SerializeToString
        )


@pytest.fixture
async def raising() -> AsyncIterator[tuple[_Handlers, Ask]]:
    handlers = _Handlers()
    server = make_server()
    server.add_generic_rpc_handlers((handlers,))
    port = listen(server, "127.0.0.1:0")
    await server.start()
    async with make_channel(f"127.0.0.1:{port}") as channel:

        async def ask(method: str) -> RpcFailure | None:
            try:
                if method == UNARY:
                    await channel.unary_unary(method, pb.GetPolicyRequest.SerializeToString)(
                        pb.GetPolicyRequest(), timeout=10
                    )
                else:
                    call: Any = channel.unary_stream(method, status_pb.WatchEventsRequest.SerializeToString)(
                        status_pb.WatchEventsRequest(), timeout=10
                    )
                    seen = [response async for response in call]
                    assert len(seen) == 1
            except grpc.aio.AioRpcError as error:
                return from_rpc_error(error)
            return None

        yield handlers, ask
    await server.stop(None)


def test_every_leaf_of_the_tree_has_a_code() -> None:
    def leaves(kind: type[PrimacyError]) -> set[type[PrimacyError]]:
        below = kind.__subclasses__()
        return {kind} if not below else set().union(*(leaves(each) for each in below))

    assert leaves(PrimacyError) == set(CODES) == {type(error) for error, _ in FAILURES}


@pytest.mark.parametrize("method", [UNARY, STREAM, WRITER])
@pytest.mark.parametrize(("error", "expected"), FAILURES, ids=lambda value: type(value).__name__)
async def test_a_failure_arrives_with_its_details(
    raising: tuple[_Handlers, Ask], method: str, error: PrimacyError, expected: RpcFailure
) -> None:
    handlers, ask = raising
    handlers.error = error
    assert await ask(method) == expected


@pytest.mark.parametrize("method", [UNARY, STREAM, WRITER])
async def test_a_bug_is_logged_under_an_id_and_its_text_stays_here(
    raising: tuple[_Handlers, Ask], method: str, caplog: pytest.LogCaptureFixture
) -> None:
    handlers, ask = raising
    handlers.error = ZeroDivisionError("secret detail")
    with caplog.at_level(logging.ERROR, "primacy_wire.interceptor"):
        failure = await ask(method)
    assert failure is not None
    assert failure.code == "INTERNAL"
    assert "secret detail" not in failure.message
    error_id = failure.message.split()[2].rstrip(":")
    (record,) = [record for record in caplog.records if record.name == "primacy_wire.interceptor"]
    assert error_id in record.getMessage()
    assert method in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


async def test_an_unknown_method_stays_unimplemented(raising: tuple[_Handlers, Ask]) -> None:
    _, ask = raising
    failure = await ask("/primacy.v1.StatusService/Nonsense")
    assert failure is not None
    assert failure.code == "UNIMPLEMENTED"


async def test_a_caller_that_goes_away_ends_the_handler(caplog: pytest.LogCaptureFixture) -> None:
    ended = asyncio.Event()

    async def endless(request: Any, context: Any) -> AsyncIterator[status_pb.WatchEventsResponse]:
        try:
            while True:
                yield status_pb.WatchEventsResponse()
                await asyncio.sleep(0.001)
        finally:
            ended.set()

    server = make_server()
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "primacy.v1.StatusService",
                {
                    "WatchEvents": grpc.unary_stream_rpc_method_handler(
                        endless,
                        status_pb.WatchEventsRequest.FromString,
                        status_pb.WatchEventsResponse.SerializeToString,
                    )
                },
            ),
        )
    )
    port = listen(server, "127.0.0.1:0")
    await server.start()
    async with make_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.unary_stream(STREAM, status_pb.WatchEventsRequest.SerializeToString)(
            status_pb.WatchEventsRequest()
        )
        await call.read()
        call.cancel()
        await asyncio.wait_for(ended.wait(), 5)
    await server.stop(None)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]

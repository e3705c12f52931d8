"""Fencing of gRPC servers: calls that write must name an epoch that is not over (see `fencing`).

    fence = Fence("/var/lib/orders/fence")
    server = grpc.aio.server(interceptors=[AsyncFencing(fence, {"/orders.v1.Orders/Insert"})])

A call that names none ends with INVALID_ARGUMENT, one whose epoch is over with FAILED_PRECONDITION, before the handler
runs. The fence is let go of before the handler ends: a handler that takes long admits again right before it writes, or
writes inside `Fence.admitted`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import grpc
import grpc.aio

from primacy_agent.fencing import METADATA, Fence, FencingError, MissingEpoch, StaleEpoch, parse_epoch


def epoch_of_call(metadata: Any) -> int:
    """The epoch that a call's metadata names. Raises MissingEpoch."""
    for key, value in metadata or ():
        if key == METADATA:
            return parse_epoch(value)
    raise MissingEpoch(f"the call names no epoch: set the metadata {METADATA} to what the agent's GetActive returns")


def status_of(error: FencingError) -> grpc.StatusCode:
    """What a call ends with that was not admitted."""
    if isinstance(error, StaleEpoch):
        return grpc.StatusCode.FAILED_PRECONDITION
    if isinstance(error, MissingEpoch):
        return grpc.StatusCode.INVALID_ARGUMENT
    return grpc.StatusCode.UNAVAILABLE


class AsyncFencing(grpc.aio.ServerInterceptor):
    """For `grpc.aio` servers. The fence's disk is waited for on a thread."""

    def __init__(self, fence: Fence, methods: Collection[str] = ()) -> None:
        """`methods` are those that write (`/package.Service/Method`); empty: all."""
        self._fence = fence
        self._methods = frozenset(methods)

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        if self._methods and handler_call_details.method not in self._methods:
            return await continuation(handler_call_details)
        handler = await continuation(handler_call_details)
        try:
            epoch = epoch_of_call(handler_call_details.invocation_metadata)
            await asyncio.to_thread(self._fence.admit, epoch)
        except FencingError as error:
            return _refusing(handler, status_of(error), str(error), is_async=True)
        return handler


class Fencing(grpc.ServerInterceptor):
    """For servers with threads."""

    def __init__(self, fence: Fence, methods: Collection[str] = ()) -> None:
        """`methods` are those that write (`/package.Service/Method`); empty: all."""
        self._fence = fence
        self._methods = frozenset(methods)

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)
        if self._methods and handler_call_details.method not in self._methods:
            return handler
        try:
            self._fence.admit(epoch_of_call(handler_call_details.invocation_metadata))
        except FencingError as error:
            return _refusing(handler, status_of(error), str(error), is_async=False)
        return handler


def _refusing(handler: Any, code: grpc.StatusCode, message: str, is_async: bool) -> Any:
    """A handler of the same shape that ends every call so."""
    if handler is None:
        return None

    def abort(_: Any, context: Any) -> Any:
        context.abort(code, message)

    async def abort_soon(_: Any, context: Any) -> Any:
        await context.abort(code, message)

    behavior = abort_soon if is_async else abort
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
    return make(
        behavior,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )

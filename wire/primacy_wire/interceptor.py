"""Ends every failed call with a status that helps: one interceptor around every handler of a server."""

from __future__ import annotations

import asyncio
import inspect
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn

import grpc
import grpc.aio
from grpc_status import rpc_status

from primacy_wire.errors import PrimacyError
from primacy_wire.rpc_errors import to_status

log = logging.getLogger(__name__)


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Turns a `PrimacyError` into its status with details, and any other exception into INTERNAL.

    What is INTERNAL is logged with its traceback under an id, and the caller gets only the id.
    """

    def __init__(self) -> None:
        self._wrapped: dict[str, tuple[Any, grpc.RpcMethodHandler[Any, Any]]] = {}
        """By method: the handler, and what stands around it. Made once, not for every call."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None  # no such method: gRPC answers UNIMPLEMENTED
        method = handler_call_details.method
        known, wrapped = self._wrapped.get(method, (None, None))
        if known is not handler or wrapped is None:
            wrapped = _wrap(handler, method)
            self._wrapped[method] = handler, wrapped
        return wrapped


def _wrap(handler: Any, method: str) -> grpc.RpcMethodHandler[Any, Any]:
    options = {
        "request_deserializer": handler.request_deserializer,
        "response_serializer": handler.response_serializer,
    }
    if handler.request_streaming and handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(_streaming(handler.stream_stream, method), **options)
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(_streaming(handler.unary_stream, method), **options)
    if handler.request_streaming:
        return grpc.stream_unary_rpc_method_handler(_unary(handler.stream_unary, method), **options)
    return grpc.unary_unary_rpc_method_handler(_unary(handler.unary_unary, method), **options)


def _unary(behavior: Callable[..., Any], method: str) -> Callable[..., Any]:
    async def call(request: Any, context: Any) -> Any:
        try:
            return await behavior(request, context)
        except Exception as error:  # noqa: BLE001  # the boundary of the server: everything ends as a status
            await _abort(context, method, error)

    return call


def _streaming(behavior: Callable[..., Any], method: str) -> Callable[..., Any]:
    if not inspect.isasyncgenfunction(behavior):
        # It writes its responses through the context.
        return _unary(behavior, method)

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        responses = behavior(request, context)
        try:
            async for response in responses:
                yield response
        except Exception as error:  # noqa: BLE001  # as above
            await _abort(context, method, error)
        finally:
            await responses.aclose()

    return stream


async def _abort(context: Any, method: str, error: Exception) -> NoReturn:
    if isinstance(error, grpc.aio.AbortError):
        raise error  # the handler ended it
    if context.done():
        log.debug("%s failed after its caller had gone", method, exc_info=error)
        raise asyncio.CancelledError from error
    if isinstance(error, PrimacyError):
        await context.abort_with_status(rpc_status.to_status(to_status(error)))
    error_id = secrets.token_hex(4)
    log.error("%s failed (%s)", method, error_id, exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, f"internal error {error_id}: the server's log has its traceback")
    raise AssertionError("abort always raises")

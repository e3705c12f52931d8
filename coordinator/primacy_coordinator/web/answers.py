"""Answers of the HTTP port, and the headers that all of them carry."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec
from google.rpc import code_pb2
from primacy_wire.errors import InvalidRequest, PrimacyError
from primacy_wire.instant import SECOND_NS
from primacy_wire.rpc_errors import CODES
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from primacy_coordinator.web.guard import Guard

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
SAFETY = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
STATUSES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""HTTP status by the name of a gRPC code, as google.rpc.Code has them."""
ANY_HOST = frozenset({"/healthz", "/metrics"})
"""Asked by programs, under any name."""

_NOTHING: Mapping[str, str] = MappingProxyType({})


class JsonAnswer(Response):
    """JSON that nobody keeps."""

    media_type = "application/json"

    def __init__(self, content: bytes, status_code: int = 200, headers: Mapping[str, str] = _NOTHING) -> None:
        super().__init__(content, status_code, {"Cache-Control": "no-store", **headers})


def failure(code: str, message: str, reason: str, status: int = 0, headers: Mapping[str, str] = _NOTHING) -> JsonAnswer:
    """A failure of the HTTP port itself; `code` is the name of a gRPC code."""
    body = {"code": code, "message": message, "reason": reason, "metadata": {}, "fields": []}
    return JsonAnswer(msgspec.json.encode(body), status or STATUSES[code], headers)


def error_answer(error: PrimacyError) -> JsonAnswer:
    """The answer for a call that failed in a way that its caller should learn about."""
    headers = {}
    retry_delay_ns: int = getattr(error, "retry_delay_ns", 0)
    if retry_delay_ns:
        headers["Retry-After"] = str(-(-retry_delay_ns // SECOND_NS))
    return JsonAnswer(msgspec.json.encode(error_dict(error)), STATUSES[_code(error)], headers)


def error_dict(error: PrimacyError) -> dict[str, object]:
    """The failure as JSON's own types."""
    fields = error.fields if isinstance(error, InvalidRequest) else ()
    return {
        "code": _code(error),
        "message": error.message,
        "reason": error.reason,
        "metadata": dict(error.metadata),
        "fields": [{"path": field.path, "advice": field.advice, "reason": field.reason} for field in fields],
    }


def _code(error: PrimacyError) -> str:
    name: str = code_pb2.Code.Name(CODES[type(error)])
    return name


class Shield:
    """Around the whole application: a known `Host`, and the safety headers on every answer."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SAFETY.items():
                    headers.setdefault(name, value)
            await send(message)

        if scope["path"] not in ANY_HOST:
            try:
                self._guard.check_host(Headers(scope=scope))
            except PrimacyError as error:
                await _misdirected(scope, error)(scope, receive, send_safely)
                return
        await self._app(scope, receive, send_safely)


def _misdirected(scope: Scope, error: PrimacyError) -> Response:
    """421, in JSON for programs and in plain words for people."""
    if scope["path"].startswith("/api/"):
        return JsonAnswer(msgspec.json.encode(error_dict(error)), 421)
    return PlainTextResponse(f"{error.message}\n", 421, {"Cache-Control": "no-store"})

"""JSON over HTTP for the public API: `POST /api/primacy.v1.StatusService/GetStatus`, answered by the same servicers.

Bodies are proto3 JSON; answers are what grpcurl prints. Methods that need a stream, or that a dashboard has no use for,
are on gRPC alone.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.json_format import Parse, ParseError
from google.protobuf.message import Message
from primacy_wire.errors import BadField, Exhausted, InvalidRequest, PrimacyError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from primacy_coordinator.web.answers import JsonAnswer, error_answer, failure
from primacy_coordinator.web.guard import Guard
from primacy_coordinator.web.proto_json import message_bytes

logger = logging.getLogger(__name__)

READS = {
    "Election": ("ExplainElection", "GetFailover", "ListFailovers"),
    "Group": ("GetGroup", "ListGroups"),
    "Policy": ("GetPolicy",),
    "Region": ("GetRegion", "ListRegions"),
    "Replication": ("GetReplicationStatus", "ListConflicts", "ListEntries"),
    "Routing": ("GetRoutingStats", "GetWeights", "Route"),
    "Status": (
        "GetPerformance",
        "GetStatus",
        "ListAlerts",
        "ListEvents",
        "ListMetrics",
        "ListOverrides",
        "QueryMetrics",
    ),
}
ACTIONS = {
    "Election": ("ApproveFailover", "CancelFailover", "Failover", "PauseElection", "ResumeElection"),
    "Region": ("CordonRegion", "DrainRegion", "UncordonRegion", "UndrainRegion"),
    "Status": ("AcknowledgeAlert", "TestAlertSinks"),
}
"""What changes something; see `Guard.check_action`."""
HTTP_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""All but one are answered with what is wrong with them."""
BODY_BYTES_MAX = 64 * 1024
BODY_SECONDS_MAX = 10
CALL_SECONDS_MAX = 30
CALLS_COUNT_MAX = 64
"""Calls under way at once."""
NESTING_MAX = 32

_UNKNOWN_FIELD = re.compile(r'has no field named "([^"]*)"(?: at "[^".]*\.?([^"]*)")?')
_PLACED = re.compile(r"^Failed to parse (\S+) field: (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the API, as the gateway serves it."""

    name: str
    """Of gRPC: `primacy.v1.StatusService/GetStatus`."""
    request: type[Message]
    call: Callable[[Any, Any], Awaitable[Message]]
    acts: bool


class Gateway:
    def __init__(self, servicers: Mapping[str, object], guard: Guard) -> None:
        """`servicers` by the full name of their service. Raises KeyError for one that is missing."""
        self._methods = {method.name: method for method in _methods(servicers)}
        self._guard = guard
        self._running = 0

    async def answer(self, request: Request) -> Response:
        name = "{service}/{method}".format(**request.path_params)
        try:
            return await self._answer(request, name)
        except PrimacyError as error:
            return error_answer(error)
        except ClientDisconnect:
            return failure("UNAVAILABLE", "the caller went away", "GONE")
        except TimeoutError:
            return failure("DEADLINE_EXCEEDED", f"no answer within {CALL_SECONDS_MAX} s", "TIMEOUT")
        except Exception as error:
            error_id = secrets.token_hex(4)
            logger.error("%s failed (%s)", name, error_id, exc_info=error)  # noqa: TRY400  # the id goes along
            return failure(
                "INTERNAL", f"internal error {error_id}: the coordinator's log has its traceback", "INTERNAL"
            )

    async def _answer(self, request: Request, name: str) -> Response:
        self._guard.check_origin(request.headers)
        method = self._methods.get(name)
        if method is None:
            known = ", ".join(sorted(each.rpartition("/")[2] for each in self._methods))
            advice = f"{name} is not served over HTTP; it may be over gRPC. Here are: {known}"
            return failure("NOT_FOUND", advice, "METHOD_UNKNOWN")
        if request.method != "POST":
            advice = f"a call is a POST with a JSON body, {{}} for an empty one; this was a {request.method}"
            return failure("INVALID_ARGUMENT", advice, "NOT_A_POST", 405, {"Allow": "POST"})
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return failure("INVALID_ARGUMENT", "the content type must be application/json", "CONTENT_TYPE", 415)
        if method.acts:
            # Whoever may not act at all learns it before the body is read.
            self._guard.check_action(request.headers, dry_run=True)
        body = await _body(request)
        if body is None:
            advice = f"the body is larger than {BODY_BYTES_MAX:,} bytes"
            return failure("INVALID_ARGUMENT", advice, "BODY_TOO_LARGE", 413, {"Connection": "close"})
        asked = _parse(method.request, body)
        if method.acts:
            self._guard.check_action(request.headers, dry_run=bool(getattr(asked, "validate_only", False)))
        return JsonAnswer(message_bytes(await self._call(method, asked)))

    async def _call(self, method: Method, asked: Message) -> Message:
        if self._running >= CALLS_COUNT_MAX:
            raise Exhausted(f"{CALLS_COUNT_MAX} calls are under way already", "OVERLOADED")
        self._running += 1
        try:
            async with asyncio.timeout(CALL_SECONDS_MAX):
                # No method that is served here looks at its context.
                return await method.call(asked, None)
        finally:
            self._running -= 1


def _methods(servicers: Mapping[str, object]) -> list[Method]:
    pool = descriptor_pool.Default()
    found = []
    for table, acts in ((READS, False), (ACTIONS, True)):
        for short, names in table.items():
            service = pool.FindServiceByName(f"primacy.v1.{short}Service")
            for name in names:
                descriptor = service.methods_by_name[name]
                request = message_factory.GetMessageClass(descriptor.input_type)
                call = getattr(servicers[service.full_name], name)
                found.append(Method(f"{service.full_name}/{name}", request, call, acts))
    return found


async def _body(request: Request) -> bytes | None:
    """The whole body, or None when it is too large."""
    if int(request.headers.get("content-length", "0")) > BODY_BYTES_MAX:
        return None
    parts = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            async for part in request.stream():
                size += len(part)
                if size > BODY_BYTES_MAX:
                    return None
                parts.append(part)
    except TimeoutError:
        raise InvalidRequest(BadField("", f"the body did not come within {BODY_SECONDS_MAX} s", "BODY_SLOW")) from None
    return b"".join(parts)


def _parse(kind: type[Message], body: bytes) -> Message:
    """The request. Raises `InvalidRequest`."""
    if not body.lstrip().startswith(b"{"):
        # `json_format` reads a list, too.
        raise InvalidRequest(BadField("", "the body must be a JSON object, {} for an empty one", "JSON_MALFORMED"))
    try:
        return Parse(body, kind(), max_recursion_depth=NESTING_MAX)
    except (ParseError, ValueError, TypeError, RecursionError) as error:
        raise InvalidRequest(_bad_field(str(error))) from error


def _bad_field(text: str) -> BadField:
    """What the parser said, in the words of this API."""
    # It lists all the fields there are, on further lines.
    text = text.partition("\n")[0].strip().rstrip(".")
    unknown = _UNKNOWN_FIELD.search(text)
    if unknown is not None:
        parent = unknown[2] or ""
        return BadField(f"{parent}.{unknown[1]}" if parent else unknown[1], "there is no such field", "FIELD_UNKNOWN")
    placed = _PLACED.match(text)
    if placed is not None:
        return BadField(placed[1], placed[2], "JSON_MALFORMED")
    return BadField("", f"the body is not the JSON of this request: {text}", "JSON_MALFORMED")

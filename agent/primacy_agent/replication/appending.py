"""Asks the coordinator to append: under one id until there is an answer, so that it happens once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import grpc.aio
from primacy.v1 import replication_pb2
from primacy.v1.replication_service_pb2 import AppendRequest, AppendResponse
from primacy.v1.replication_service_pb2_grpc import ReplicationServiceStub
from primacy_wire.backoff import Backoff
from primacy_wire.channel import ClientTls, make_channel
from primacy_wire.clock import read_now
from primacy_wire.entries import entry_to_proto
from primacy_wire.errors import Exhausted, InvalidRequest, NotFound, PrimacyError, Refused, Stale, Unavailable
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.log_messages import Entry
from primacy_wire.rpc_errors import RpcFailure, from_rpc_error

if TYPE_CHECKING:
    from primacy.v1.replication_service_pb2_grpc import ReplicationServiceAsyncStub

CALL_S = 5.0
"""A call that was not answered for so long is made again."""
BACKOFF_NS_FIRST = 50 * MILLISECOND_NS
BACKOFF_NS_MOST = 2 * SECOND_NS
FINAL = frozenset({"AT_RISK"})
"""Of what is UNAVAILABLE: the entry is in the log, and waiting again is for the caller to decide."""


class Link(Protocol):
    """Where the coordinator is."""

    connected: bool
    coordinator: str


class NotHeard(Exception):
    """No answer for as long as the caller would wait: it may have happened, or happen later."""


class Appender:
    """One channel to the coordinator that the session found."""

    def __init__(self, group: str, coordinators: Sequence[str], tls: ClientTls | None, link: Link) -> None:
        self._group = group
        self._coordinators = coordinators
        self._tls = tls
        self._link = link
        self._channel: grpc.aio.Channel | None = None
        self._address = ""

    async def append(self, entry: Entry, durability: int, if_version: int | None, limit_s: float) -> AppendResponse:
        """The coordinator's answer. Raises what it refused the entry for (`PrimacyError`), NotHeard after `limit_s`."""
        request = AppendRequest(
            group=self._group,
            entry=entry_to_proto(entry),
            durability=replication_pb2.Durability.ValueType(durability),
            if_version=if_version,
        )
        deadline_ns = read_now().mono_ns + int(limit_s * SECOND_NS)
        backoff = Backoff(random.Random(), BACKOFF_NS_FIRST, BACKOFF_NS_MOST)
        while True:
            left_s = (deadline_ns - read_now().mono_ns) / SECOND_NS
            try:
                return await self.stub().Append(request, timeout=max(0.05, min(CALL_S, left_s)))
            except grpc.aio.AioRpcError as error:
                failure = from_rpc_error(error)
                if not _is_passing(failure):
                    raise as_error(failure) from error
                wait_ns = max(backoff.next_ns(), failure.retry_delay_ns or 0)
                if read_now().mono_ns + wait_ns >= deadline_ns:
                    if failure.reason:
                        raise as_error(failure) from error
                    raise NotHeard(f"{self._address} does not answer: {failure.message or failure.code}") from error
                await asyncio.sleep(wait_ns / SECOND_NS)

    def stub(self) -> ReplicationServiceAsyncStub:
        address = self._link.coordinator or self._coordinators[0]
        if self._channel is None or address != self._address:
            if self._channel is not None:
                asyncio.ensure_future(self._channel.close())  # noqa: RUF006
            self._channel, self._address = make_channel(address, self._tls), address
        stub: ReplicationServiceAsyncStub = ReplicationServiceStub(self._channel)
        return stub

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()


def _is_passing(failure: RpcFailure) -> bool:
    """Whether the same call may work a moment later."""
    if failure.code in ("DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED"):
        return True
    return failure.code == "UNAVAILABLE" and failure.reason not in FINAL


def as_error(failure: RpcFailure) -> PrimacyError:
    """What the coordinator refused, as this agent's own callers shall see it."""
    message, reason, metadata = failure.message, failure.reason, failure.metadata
    delay_ns = failure.retry_delay_ns or SECOND_NS // 2
    match failure.code:
        case "INVALID_ARGUMENT":
            return InvalidRequest(*failure.fields)
        case "NOT_FOUND":
            kind = reason.removesuffix("_NOT_FOUND").lower()
            return NotFound(kind or "thing", metadata.get(kind, ""))
        case "FAILED_PRECONDITION":
            return Refused(reason, message, metadata)
        case "ABORTED":
            return Stale(message, reason, metadata)
        case "RESOURCE_EXHAUSTED":
            return Exhausted(message, reason, delay_ns, metadata)
        case _:
            return Unavailable(message, reason or failure.code, delay_ns, metadata)

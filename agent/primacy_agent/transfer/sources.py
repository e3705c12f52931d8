"""Other agents as sources of one content: what each has, what it is asked for now, and whether it can be trusted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc.aio
from blake3 import blake3
from primacy.agent.v1 import peer_service_pb2 as pb
from primacy.agent.v1 import peer_service_pb2_grpc
from primacy_wire.channel import ClientTls, make_channel
from primacy_wire.rpc_errors import from_rpc_error

from primacy_agent.store.manifest import MANIFEST_BYTES_MAX
from primacy_agent.transfer import frames
from primacy_agent.transfer.serving import SERVICE

if TYPE_CHECKING:
    from primacy.agent.v1.peer_service_pb2_grpc import PeerServiceAsyncStub

SILENCE_S = 60.0
"""A source that sends no frame for so long is dropped. A frame may take its time on a thin line; who is dead or frozen
is noticed by the channel within seconds, and what a slow one was asked for is asked elsewhere long before."""
REST_S_FIRST, REST_S_MAX = 1.0, 30.0
"""A source that failed is left alone so long, and longer each time."""


class SourceFailed(Exception):
    """It gave nothing."""


class HasNone(SourceFailed):
    """It has nothing of what was asked for."""


class SourceLied(SourceFailed):
    """It sent what it was not asked for."""


@dataclass
class Source:
    """One agent."""

    agent: str
    holder: bool
    """The plan says that it has all of it: who fetches takes only its share from there."""
    near: bool
    """It is in the region of who fetches."""
    complete: bool = False
    """It has all of it."""
    has: set[int] = field(default_factory=set)
    """Pieces that it has, when it is not complete."""
    offers: list[int] = field(default_factory=list)
    """Of them, those that may have to be asked for; each is looked at once."""
    lacks: set[int] = field(default_factory=set)
    """Pieces that it was asked for in vain."""
    requests: int = 0
    """Under way."""
    bytes_per_s: float = 0.0
    """Of one request, lately."""
    reason: str = ""
    """Why it failed last."""
    liar: bool = False
    """It is not asked any more."""
    failures: int = 0
    """In a row."""
    rest_until: float = 0.0
    news_at: float = field(default_factory=time.monotonic)
    """When it last said what it has."""
    unheard: int = 0
    """So often in a row it could not be watched."""
    watching: asyncio.Task[None] | None = None

    @property
    def live(self) -> bool:
        return not self.liar and time.monotonic() >= self.rest_until

    def gives(self, piece: int) -> bool:
        return self.live and piece not in self.lacks and (self.complete or piece in self.has)

    def failed(self, reason: str, lied: bool = False) -> None:
        self.reason = reason
        self.liar = self.liar or lied
        self.rest_until = time.monotonic() + min(REST_S_FIRST * 2**self.failures, REST_S_MAX)
        self.failures = min(self.failures + 1, 16)

    def gave(self, size: int, took_s: float) -> None:
        """It answered a request with so many bytes."""
        self.failures = 0
        measured = size / max(took_s, 1e-4)
        self.bytes_per_s = measured if not self.bytes_per_s else 0.5 * self.bytes_per_s + 0.5 * measured


class Links:
    """Channels to other agents, opened when they are needed."""

    def __init__(self, group: str, key: str, addresses: Callable[[], dict[str, str]], tls: ClientTls | None) -> None:
        self._group = group
        self._key = key
        self.addresses = addresses
        self._tls = tls
        self._channels: dict[str, grpc.aio.Channel] = {}

    def _channel(self, agent: str) -> grpc.aio.Channel:
        """Raises SourceFailed."""
        address = self.addresses().get(agent)
        if address is None:
            raise SourceFailed("nobody knows where it is")
        if address not in self._channels:
            try:
                self._channels[address] = make_channel(address, self._tls)
            except OSError as error:
                raise SourceFailed(f"{error.filename}: {error.strerror}") from error
        return self._channels[address]

    def stub(self, agent: str) -> PeerServiceAsyncStub:
        """Raises SourceFailed."""
        stub: PeerServiceAsyncStub = peer_service_pb2_grpc.PeerServiceStub(self._channel(agent))
        return stub

    async def manifest(self, agent: str, digest: str) -> bytes:
        """What the digest says. Raises SourceFailed."""
        found = bytearray()
        async with aclosing(self._frames(agent, [bytes.fromhex(digest)])) as taken:
            async for frame in taken:
                if not frame.data or len(found) + len(frame.data) > MANIFEST_BYTES_MAX:
                    raise SourceLied("it sent a manifest without end")
                found += frame.data
        if blake3(found).hexdigest() != digest:
            raise SourceLied("it sent a manifest that is not what its digest says")
        return bytes(found)

    async def chunks(self, agent: str, digests: Sequence[bytes]) -> AsyncGenerator[list[tuple[int, memoryview]], None]:
        """(index into `digests`, bytes) as they come: upwards, each at most once. Raises SourceFailed."""
        least = 0
        async with aclosing(self._frames(agent, digests)) as taken:
            async for frame in taken:
                try:
                    found = frame.chunks()
                except frames.BadFrame as error:
                    raise SourceLied(str(error)) from error
                if found[0][0] < least or found[-1][0] >= len(digests):
                    raise SourceLied("it sent chunks that it was not asked for")
                least = found[-1][0] + 1
                yield found

    async def _frames(self, agent: str, digests: Sequence[bytes]) -> AsyncGenerator[frames.Frame, None]:
        # gRPC would turn what a deserializer raises into None: frames are decoded here.
        call: Any = self._channel(agent).unary_stream(
            f"/{SERVICE}/FetchChunks", request_serializer=pb.FetchChunksRequest.SerializeToString
        )(pb.FetchChunksRequest(group=self._group, from_agent=self._key, digests=b"".join(digests)))
        try:
            while True:
                async with asyncio.timeout(SILENCE_S):
                    raw = await call.read()
                if raw is grpc.aio.EOF:
                    return
                yield frames.decode(raw)
        except TimeoutError:
            raise SourceFailed(f"it sent nothing for {SILENCE_S:g} s") from None
        except frames.BadFrame as error:
            raise SourceLied(f"it sent no frame: {error}") from error
        except grpc.aio.AioRpcError as error:
            kind = HasNone if error.code() is grpc.StatusCode.NOT_FOUND else SourceFailed
            raise kind(_why(error)) from error
        finally:
            call.cancel()

    async def pieces(self, agent: str, digest: str) -> AsyncGenerator[pb.WatchPiecesResponse, None]:
        """What it has, and what it gets. Raises SourceFailed."""
        call = self.stub(agent).WatchPieces(
            pb.WatchPiecesRequest(group=self._group, from_agent=self._key, manifest=bytes.fromhex(digest))
        )
        try:
            async for found in call:
                yield found
        except grpc.aio.AioRpcError as error:
            raise SourceFailed(_why(error)) from error
        finally:
            call.cancel()

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()


def _why(error: grpc.aio.AioRpcError) -> str:
    failure = from_rpc_error(error)
    return f"{failure.code}: {failure.message}" if failure.message else failure.code

"""Other agents as sources of one content: what each has, what it is asked for now, and whether it can be trusted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc.aio
from primacy.agent.v1 import peer_service_pb2 as pb
from primacy.agent.v1 import peer_service_pb2_grpc
from primacy_wire.channel import ClientTls, make_channel
from primacy_wire.rpc_errors import from_rpc_error

from primacy_agent.transfer import frames
from primacy_agent.transfer.serving import SERVICE

if TYPE_CHECKING:
    from primacy.agent.v1.peer_service_pb2_grpc import PeerServiceAsyncStub

FRAME_S = 10.0
"""A source that sends nothing for so long has stalled."""
MANIFEST_S = 30.0


class SourceFailed(Exception):
    """It gave nothing, or not what was asked for."""


@dataclass
class Source:
    """One agent."""

    agent: str
    complete: bool
    """It has all of it."""
    has: set[int] = field(default_factory=set)
    """Pieces that it has, when it is not complete."""
    lacks: set[int] = field(default_factory=set)
    """Pieces that it was asked for in vain."""
    inflight: int = 0
    failed: str = ""
    """Why it is not asked any more."""
    watching: asyncio.Task[None] | None = None

    def gives(self, piece: int) -> bool:
        return not self.failed and piece not in self.lacks and (self.complete or piece in self.has)


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
            self._channels[address] = make_channel(address, self._tls)
        return self._channels[address]

    def stub(self, agent: str) -> PeerServiceAsyncStub:
        """Raises SourceFailed."""
        stub: PeerServiceAsyncStub = peer_service_pb2_grpc.PeerServiceStub(self._channel(agent))
        return stub

    async def manifest(self, agent: str, digest: str) -> bytes:
        """Raises SourceFailed."""
        found = bytearray()
        async for frame in self._frames(agent, [bytes.fromhex(digest)]):
            found += frame.data
        return bytes(found)

    async def chunks(self, agent: str, digests: Sequence[bytes]) -> AsyncIterator[list[tuple[int, memoryview]]]:
        """(index into `digests`, bytes) as they come. Raises SourceFailed."""
        async for frame in self._frames(agent, digests):
            try:
                yield [(index, data) for index, data in frame.chunks() if index < len(digests)]
            except frames.BadFrame as error:
                raise SourceFailed(str(error)) from error

    async def _frames(self, agent: str, digests: Sequence[bytes]) -> AsyncIterator[frames.Frame]:
        call: Any = self._channel(agent).unary_stream(
            f"/{SERVICE}/FetchChunks",
            request_serializer=pb.FetchChunksRequest.SerializeToString,
            response_deserializer=frames.decode,
        )(pb.FetchChunksRequest(group=self._group, from_agent=self._key, digests=b"".join(digests)))
        try:
            while True:
                async with asyncio.timeout(FRAME_S):
                    frame = await call.read()
                if frame is grpc.aio.EOF:
                    return
                yield frame
        except TimeoutError:
            raise SourceFailed(f"it sent nothing for {FRAME_S:g} s") from None
        except grpc.aio.AioRpcError as error:
            raise SourceFailed(_why(error)) from error
        finally:
            call.cancel()

    async def pieces(self, agent: str, digest: str) -> AsyncIterator[pb.WatchPiecesResponse]:
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

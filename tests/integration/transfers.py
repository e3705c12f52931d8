"""Agents that hold and fetch contents, each with its own store and real gRPC server on loopback."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
from primacy.agent.v1 import peer_service_pb2 as pb
from primacy.agent.v1.peer_service_pb2_grpc import PeerServiceServicer, add_PeerServiceServicer_to_server
from primacy_agent.store import ContentStore, Manifest
from primacy_agent.transfer import Fetcher, Limiter, PieceServer, frames
from primacy_agent.transfer.sources import Links
from primacy_wire.channel import ClientTls
from primacy_wire.log_messages import TransferPlan
from primacy_wire.server import ServerTls, listen, make_server

Frames = AsyncIterator[bytes]
GROUP = "default"
WITHIN_S = 120.0
"""Nothing here takes so long, but on a machine that is very busy."""


class Served(PieceServer):
    """The real server, through which a test may see and bend what goes out."""

    def __init__(self, store: ContentStore) -> None:
        super().__init__(store, GROUP)
        self.chunk_bytes = 0
        """Of chunks that gRPC took, without manifests."""
        self.asked: list[str] = []
        """Who asked, in order."""
        self.before_frame: Callable[[], Awaitable[None]] | None = None
        self.bend: Callable[[bytes], bytes] | None = None
        """Changes a frame of chunks."""

    async def fetch_chunks(self, request: pb.FetchChunksRequest, context: Any = None) -> AsyncIterator[bytes]:  # type: ignore[override]
        self.asked.append(request.from_agent)
        manifest = self._store.manifest(request.digests.hex()) is not None
        async for frame in super().fetch_chunks(request, context):
            if self.before_frame is not None and not manifest:
                await self.before_frame()
            yield self.bend(frame) if self.bend is not None and not manifest else frame
            if not manifest:
                self.chunk_bytes += len(frames.decode(frame).data)


class Peers(PeerServiceServicer):
    def __init__(self, server: Served) -> None:
        self._server = server

    async def WatchPieces(self, request: pb.WatchPiecesRequest, context: Any) -> AsyncIterator[pb.WatchPiecesResponse]:
        async for found in self._server.watch_pieces(request):
            yield found


@dataclass
class Peer:
    key: str
    store: ContentStore
    served: Served
    links: Links
    fetcher: Fetcher
    server: grpc.aio.Server
    port: int
    models: Path
    progress: list[tuple[int, int]] = field(default_factory=list)
    on_progress: Callable[[int, int], None] = lambda _here, _total: None

    async def fetch(self, digest: str, plan: TransferPlan | None = None, fallback: Sequence[str] = ()) -> None:
        """Bounded here: a timeout of a fixture would not end the test."""

        def note(here: int, total: int) -> None:
            self.progress.append((here, total))
            self.on_progress(here, total)

        async with asyncio.timeout(WITHIN_S):
            await self.fetcher.fetch(digest, plan, fallback, note)

    async def kill(self) -> None:
        """Its connections are reset, and nobody listens any more."""
        await self.server.stop(None)

    async def close(self) -> None:
        await self.links.close()
        await self.server.stop(None)
        self.store.close()


class Swarm:
    """Agents by their key, `REGION/AGENT`."""

    def __init__(self, folder: Path, server_tls: ServerTls | None = None, client_tls: ClientTls | None = None) -> None:
        self._folder = folder
        self._server_tls, self._client_tls = server_tls, client_tls
        self.peers: dict[str, Peer] = {}

    def addresses(self) -> dict[str, str]:
        return {key: f"localhost:{peer.port}" for key, peer in self.peers.items()}

    async def add(self, key: str, limit: int = 0) -> Peer:
        """An agent with an empty store, or with the one that an earlier life of it left."""
        folder = self._folder / key.replace("/", "-")
        store = ContentStore(folder / "store", folder / "models")
        served = Served(store)
        links = Links(GROUP, key, self.addresses, self._client_tls)
        fetcher = Fetcher(store, key, links, Limiter(limit), served)
        server = make_server()
        server.add_generic_rpc_handlers((served.handler(),))
        add_PeerServiceServicer_to_server(Peers(served), server)  # type: ignore[abstract]  # No more is asked here.
        port = listen(server, "127.0.0.1:0", self._server_tls)
        await server.start()
        peer = self.peers[key] = Peer(key, store, served, links, fetcher, server, port, folder / "models")
        return peer

    async def leave(self, key: str) -> None:
        await self.peers.pop(key).close()

    def plan(self, digest: str, holders: Sequence[str], fetching: Sequence[str], version: int = 1) -> TransferPlan:
        return TransferPlan(1, digest, tuple(holders), tuple((key, 0) for key in sorted(fetching)), version)

    async def close(self) -> None:
        for key in list(self.peers):
            await self.leave(key)


@asynccontextmanager
async def swarm(
    folder: Path, server_tls: ServerTls | None = None, client_tls: ClientTls | None = None
) -> AsyncIterator[Swarm]:
    found = Swarm(folder, server_tls, client_tls)
    try:
        yield found
    finally:
        await found.close()


def write_model(folder: Path, size: int, seed: int = 1) -> Path:
    """A model of about so many bytes: a large file, and a small one beside it."""
    folder.mkdir(parents=True)
    draw = random.Random(seed)
    (folder / "weights.bin").write_bytes(draw.randbytes(size))
    (folder / "labels.txt").write_text("cat\ndog\n")
    return folder


async def hold(peer: Peer, path: Path) -> Manifest:
    """Make it have all of it."""
    return (await peer.store.ingest(path, lambda *_: None)).manifest


async def until(fact: Callable[[], bool], within_s: float = 60.0) -> None:
    async with asyncio.timeout(within_s):
        while not fact():
            await asyncio.sleep(0.005)

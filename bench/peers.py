"""One agent's store and transfer, as a process of its own: it holds a model, or fetches one, over real gRPC.

usage: python -m bench.peers FOLDER KEY [UPLINK]     (bytes per second; 0 or nothing: as fast as it goes)

Says its port, then obeys one order a line, each answered by a line of JSON:
    peers {"KEY": "host:port"}               where others are
    ingest PATH                              {"digest", "size"}
    fetch {"digest", "holders", "shares"}    {"seconds"}
    sent                                     {"sent"}: bytes of contents, by this store
    forget                                   begins with an empty store
Ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from primacy.agent.v1 import peer_service_pb2 as pb
from primacy.agent.v1.peer_service_pb2_grpc import PeerServiceServicer, add_PeerServiceServicer_to_server
from primacy_agent.allocator import keep_freed_memory
from primacy_agent.store import ContentStore
from primacy_agent.transfer import Fetcher, Limiter, PieceServer
from primacy_agent.transfer.sources import Links
from primacy_wire.log_messages import TransferPlan
from primacy_wire.server import listen, make_server


class Uplinked(PieceServer):
    """The real server behind a line of so many bytes per second: a token bucket, as a router has one."""

    def __init__(self, store: ContentStore, rate: int) -> None:
        super().__init__(store)
        self._line = Limiter(rate)

    async def fetch_chunks(self, request: pb.FetchChunksRequest, context: Any = None) -> AsyncGenerator[bytes, None]:
        async for frame in super().fetch_chunks(request, context):
            await self._line.spend(len(frame))
            yield frame


class Peers(PeerServiceServicer):
    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def WatchPieces(  # noqa: N802
        self, request: pb.WatchPiecesRequest, _: Any
    ) -> AsyncIterator[pb.WatchPiecesResponse]:
        async for found in self._peer.served.watch_pieces(request):
            yield found


class Peer:
    def __init__(self, folder: Path, key: str, uplink: int) -> None:
        self._folder, self._key, self._uplink = folder, key, uplink
        self._addresses: dict[str, str] = {}
        self.links = Links("", key, lambda: self._addresses, None)
        self._open()

    def _open(self) -> None:
        self._store = ContentStore(self._folder / "store", self._folder / "models")
        self.served = Uplinked(self._store, self._uplink)
        self._fetcher = Fetcher(self._store, self._key, self.links, Limiter(0), self.served)

    def handler(self) -> grpc.GenericRpcHandler:
        """For the store that is open when a call comes."""

        async def fetch_chunks(request: pb.FetchChunksRequest, context: Any) -> AsyncGenerator[bytes, None]:
            async for frame in self.served.fetch_chunks(request, context):
                yield frame

        return self.served.handler(lambda _: fetch_chunks)

    async def obey(self, order: str) -> dict[str, object]:
        what, _, given = order.strip().partition(" ")
        match what:
            case "peers":
                self._addresses = json.loads(given)
            case "ingest":
                manifest = (await self._store.ingest(Path(given), lambda *_: None)).manifest
                return {"digest": manifest.digest, "size": manifest.size}
            case "fetch":
                asked = json.loads(given)
                plan = TransferPlan(1, asked["digest"], tuple(asked["holders"]), tuple(map(tuple, asked["shares"])), 1)
                began = time.monotonic()
                await self._fetcher.fetch(plan.digest, plan, (), lambda *_: None)
                return {"seconds": time.monotonic() - began}
            case "sent":
                return {"sent": self.served.bytes_sent}
            case "forget":
                self._store.close()
                shutil.rmtree(self._folder / "store")
                self._open()
            case _:
                raise ValueError(order)
        return {}


async def main(folder: str, key: str, uplink: str = "0") -> None:
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    peer = Peer(Path(folder), key, int(uplink))
    server = make_server()
    server.add_generic_rpc_handlers((peer.handler(),))
    add_PeerServiceServicer_to_server(Peers(peer), server)  # type: ignore[abstract]  # No more is asked here.
    print(listen(server, "127.0.0.1:0"), flush=True)
    await server.start()
    while order := (await orders.readline()).decode():
        print(json.dumps(await peer.obey(order)), flush=True)
    await peer.links.close()
    await server.stop(None)


if __name__ == "__main__":
    keep_freed_memory()
    asyncio.run(main(*sys.argv[1:]))

"""What this agent hands to others: chunks, and word of what it has of a content that it fetches itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc.aio
from primacy.agent.v1 import peer_service_pb2 as pb
from primacy_wire.errors import BadField, InvalidRequest, NotFound

from primacy_agent.store import ContentStore
from primacy_agent.transfer import frames
from primacy_agent.transfer.bandwidth import Uplink
from primacy_agent.transfer.pieces import cut_pieces

SERVICE = "primacy.agent.v1.PeerService"
DIGEST_BYTES = 32
DIGESTS_MAX = 4096
FRAME_BYTES = 1 << 20
GATHER_S = 0.02
"""Word of new pieces waits so long for more."""


class PieceServer:
    """Raises `primacy_wire.errors`."""

    def __init__(self, store: ContentStore) -> None:
        self._store = store
        self._moved: dict[str, asyncio.Event] = {}
        self.uplink = Uplink()
        self.bytes_sent = 0

    def changed(self, digest: str) -> None:
        """There is more of that content."""
        moved = self._moved.pop(digest, None)
        if moved is not None:
            moved.set()

    def handler(self, wrap: Any = lambda method: method) -> grpc.GenericRpcHandler:
        """FetchChunks with frames written by hand; to be added before the generated handlers."""
        method = grpc.unary_stream_rpc_method_handler(
            wrap(self.fetch_chunks), request_deserializer=pb.FetchChunksRequest.FromString, response_serializer=bytes
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"FetchChunks": method})

    async def fetch_chunks(self, request: pb.FetchChunksRequest, _context: Any = None) -> AsyncGenerator[bytes, None]:
        """Frames, as bytes."""
        raw = request.digests
        if not raw or len(raw) % DIGEST_BYTES or len(raw) > DIGESTS_MAX * DIGEST_BYTES:
            raise InvalidRequest(
                BadField("digests", f"must be 1 to {DIGESTS_MAX} digests of {DIGEST_BYTES} bytes, one after the other")
            )
        digests = [raw[at : at + DIGEST_BYTES] for at in range(0, len(raw), DIGEST_BYTES)]
        self.uplink.begin()
        try:
            found = False
            async for first, chunks in self._runs(digests):
                found = True
                frame = frames.encode(first, chunks)
                yield frame
                self.bytes_sent += len(frame)
                self.uplink.sent(len(frame))
            if not found:
                raise NotFound("chunk", digests[0].hex(), "this agent has none of them")
        finally:
            self.uplink.end()

    async def _runs(self, digests: list[bytes]) -> AsyncIterator[tuple[int, list[bytes]]]:
        """(index of the first, consecutive chunks), up to 1 MiB at once."""
        if len(digests) == 1 and (content := await self._store.manifest_bytes(digests[0].hex())) is not None:
            for at in range(0, len(content), FRAME_BYTES):
                yield 0, [content[at : at + FRAME_BYTES]]
            return
        async for batch in self._store.read_chunks(digests):
            first, run = batch[0][0], [batch[0][1]]
            for index, data in batch[1:]:
                if index == first + len(run):
                    run.append(data)
                else:
                    yield first, run
                    first, run = index, [data]
            yield first, run

    async def watch_pieces(self, request: pb.WatchPiecesRequest) -> AsyncGenerator[pb.WatchPiecesResponse, None]:
        """What this agent has, then what it gets."""
        digest = request.manifest.hex()
        told: set[int] = set()
        while True:
            moved = self._moved.setdefault(digest, asyncio.Event())
            manifest = self._store.manifest(digest)
            if manifest is None:
                raise NotFound("manifest", digest, "this agent does not fetch it")
            if self._store.is_complete(digest):
                yield pb.WatchPiecesResponse(complete=True)
                return
            here = self._store.here(digest)
            pieces = cut_pieces([chunk.length for chunk in manifest.chunks])
            news = [n for n, piece in enumerate(pieces) if n not in told and all(index in here for index in piece)]
            if news or not told:
                told.update(news)
                yield pb.WatchPiecesResponse(pieces=news)
            await moved.wait()
            await asyncio.sleep(GATHER_S)

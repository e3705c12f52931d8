"""What this agent hands to others: chunks, and word of what it has of a content that it fetches itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from primacy.agent.v1 import peer_service_pb2 as pb
from primacy_wire.errors import BadField, InvalidRequest, NotFound

from primacy_agent.store import ContentStore
from primacy_agent.transfer import frames
from primacy_agent.transfer.bandwidth import Limiter, Uplink

SERVICE = "primacy.agent.v1.PeerService"
DIGEST_BYTES = 32
DIGESTS_MAX = 4096
FRAME_BYTES = 1 << 20
GATHER_S = 0.02
"""Word of new pieces waits so long for more."""


@dataclass
class _Word:
    """What is told of one content to those who watch it."""

    pieces: list[int] | None = None
    """What is here, in the order in which it came; None: it is not being fetched. A new list is a new begin."""
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    """Set, and replaced by a new one, when there is news."""
    watchers: int = 0


class PieceServer:
    """Raises `primacy_wire.errors`."""

    def __init__(self, store: ContentStore, group: str = "", limiter: Limiter | None = None) -> None:
        """`group`: the only one that is served. Empty: any. `limiter`: of what is sent."""
        self._store = store
        self._group = group
        self._limiter = limiter or Limiter(0)
        self._words: dict[str, _Word] = {}
        self.uplink = Uplink()
        self.bytes_sent = 0

    # ---- told by who fetches

    def begins(self, digest: str, pieces: Iterable[int]) -> None:
        """That content is fetched from now on, and these pieces of it are here."""
        word = self._words.setdefault(digest, _Word())
        word.pieces = list(pieces)
        _wake(word)

    def got(self, digest: str, piece: int) -> None:
        """One more piece is here."""
        word = self._words.get(digest)
        if word is not None and word.pieces is not None:
            word.pieces.append(piece)
            _wake(word)

    def ends(self, digest: str) -> None:
        """It is complete, or is not fetched any more."""
        word = self._words.get(digest)
        if word is not None:
            word.pieces = None
            _wake(word)
            self._forget(digest, word)

    def _forget(self, digest: str, word: _Word) -> None:
        if not word.watchers and word.pieces is None:
            self._words.pop(digest, None)

    # ---- asked by others

    def handler(self, wrap: Any = lambda method: method) -> grpc.GenericRpcHandler:
        """FetchChunks with frames written by hand; to be added before the generated handlers."""
        method = grpc.unary_stream_rpc_method_handler(
            wrap(self.fetch_chunks), request_deserializer=pb.FetchChunksRequest.FromString, response_serializer=bytes
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"FetchChunks": method})

    def _check(self, group: str) -> None:
        if self._group and group not in ("", self._group):
            raise NotFound("group", group, f"this agent belongs to {self._group!r}")

    async def fetch_chunks(self, request: pb.FetchChunksRequest, _context: Any = None) -> AsyncGenerator[bytes, None]:
        """Frames, as bytes. The next one is read when gRPC has taken the one before: no more than one is in memory."""
        self._check(request.group)
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
                await self._limiter.spend(len(frame))
                yield frame
                self.bytes_sent += len(frame)
                self.uplink.sent(len(frame))
            if not found:
                raise NotFound("chunk", digests[0].hex(), "this agent has none of them")
        finally:
            self.uplink.end()

    async def _runs(self, digests: list[bytes]) -> AsyncIterator[tuple[int, list[bytes | memoryview]]]:
        """(index of the first, consecutive chunks), up to 1 MiB at once."""
        if len(digests) == 1 and (content := await self._store.manifest_bytes(digests[0].hex())) is not None:
            view = memoryview(content)
            for at in range(0, len(content), FRAME_BYTES):
                yield 0, [view[at : at + FRAME_BYTES]]
            return
        async for batch in self._store.read_chunks(digests):
            first: int = batch[0][0]
            run: list[bytes | memoryview] = [batch[0][1]]
            for index, data in batch[1:]:
                if index == first + len(run):
                    run.append(data)
                else:
                    yield first, run
                    first, run = index, [data]
            yield first, run

    async def watch_pieces(self, request: pb.WatchPiecesRequest) -> AsyncGenerator[pb.WatchPiecesResponse, None]:
        """What this agent has, then what it gets; a content that it does not fetch (yet) is waited for."""
        self._check(request.group)
        if len(request.manifest) != DIGEST_BYTES:
            raise InvalidRequest(BadField("manifest", f"must be {DIGEST_BYTES} bytes"))
        digest = request.manifest.hex()
        word = self._words.setdefault(digest, _Word())
        word.watchers += 1
        known: list[int] | None = None
        told = 0
        try:
            while True:
                moved = word.moved
                if self._store.is_complete(digest):
                    yield pb.WatchPiecesResponse(complete=True)
                    return
                if word.pieces is not known:
                    known, told = word.pieces, 0
                news = known[told:] if known is not None else []
                if news:
                    told += len(news)
                    yield pb.WatchPiecesResponse(pieces=news)
                await moved.wait()
                await asyncio.sleep(GATHER_S)
        finally:
            word.watchers -= 1
            self._forget(digest, word)


def _wake(word: _Word) -> None:
    moved, word.moved = word.moved, asyncio.Event()
    moved.set()

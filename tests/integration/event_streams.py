"""A browser's side of server-sent events, over a plain socket."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import zlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Seen:
    """One event."""

    kind: str
    data: Any
    id: str


class EventStream:
    """One connection to `/api/stream`. What came is kept in order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, packed: bool = False) -> None:
        self.seen: list[Seen] = []
        self.retry_ms = 0
        self.last_id = ""
        self._reader = reader
        self._writer = writer
        self._unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS) if packed else None

    @staticmethod
    async def open(
        address: str, query: str = "", last_id: str = "", receive_bytes: int = 0, packed: bool = False, host: str = ""
    ) -> EventStream:
        """Raises AssertionError when the answer is no stream. `receive_bytes`: the socket's buffer, so that what is not
        read is not sent. Less than 64 KiB is less than a segment of the loopback: a sender waits ever longer for room.
        """
        machine, _, port = address.rpartition(":")
        line = socket.socket()
        if receive_bytes:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        line.setblocking(False)
        await asyncio.get_running_loop().sock_connect(line, (machine, int(port)))
        reader, writer = await asyncio.open_connection(sock=line, limit=receive_bytes or 1 << 20)
        lines = [f"GET /api/stream{query} HTTP/1.1", f"Host: {host or address}", "Accept: text/event-stream"]
        if packed:
            lines.append("Accept-Encoding: gzip, deflate, br")
        if last_id:
            lines.append(f"Last-Event-ID: {last_id}")
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 200 "), head
        assert re.search(r"^content-type: text/event-stream", head, re.MULTILINE | re.IGNORECASE), head
        assert ("content-encoding: gzip" in head.lower()) == packed, head
        found = EventStream(reader, writer, packed)
        found.last_id = last_id
        return found

    async def read(self) -> list[Seen]:
        """The events of the next piece; none once the stream has ended."""
        try:
            size = int((await self._reader.readline()).strip() or b"0", 16)
            piece = await self._reader.readexactly(size)
            await self._reader.readline()
        except (asyncio.IncompleteReadError, ConnectionError):
            return []
        if self._unpacker is not None:
            piece = self._unpacker.decompress(piece)
        found = []
        for block in piece.decode().split("\n\n"):
            lines = dict(line.partition(": ")[::2] for line in block.split("\n") if line)
            self.retry_ms = int(lines.get("retry", self.retry_ms))
            self.last_id = lines.get("id", self.last_id)
            if "event" in lines:
                found.append(Seen(lines["event"], json.loads(lines["data"]), lines.get("id", "")))
        self.seen += found
        return found or [Seen("comment", None, "")] if size else []

    async def until(self, kind: str, /, seconds: float = 15.0, **wanted: Any) -> Seen:
        """The first event of that kind with such data, from what came already or comes yet."""
        looked = 0
        async with asyncio.timeout(seconds):
            while True:
                for each in self.seen[looked:]:
                    looked += 1
                    if each.kind == kind and all(each.data.get(key) == value for key, value in wanted.items()):
                        return each
                if not await self.read():
                    raise AssertionError(f"the stream ended before {kind} {wanted}: {self.kinds()}")

    async def next(self, kind: str, seconds: float = 15.0) -> None:
        """Reads until one more of that kind has come."""
        count = self.kinds().count(kind)
        async with asyncio.timeout(seconds):
            while self.kinds().count(kind) == count:
                assert await self.read(), f"the stream ended before another {kind}"

    async def to_the_end(self, seconds: float = 15.0) -> None:
        async with asyncio.timeout(seconds):
            while await self.read():
                pass

    def kinds(self) -> list[str]:
        return [each.kind for each in self.seen]

    def numbers(self) -> list[int]:
        """Of the journal's entries, in the order in which they came."""
        return [int(each.id) for each in self.seen if each.kind == "journal"]

    async def close(self) -> None:
        self._writer.transport.abort()

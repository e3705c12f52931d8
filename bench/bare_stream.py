"""The floor of transfers: the same bytes over one bare gRPC stream, hashed as a whole and written to one file.

usage: python -m bench.bare_stream send FILE            (says its port; ends with its standard input)
       python -m bench.bare_stream take ADDRESS FILE    (says 0; then takes it once for each line, answered by JSON)

It does less than a transfer must: no piece is verified before it is used, and none is noted so that a kill loses
nothing. It reads in the loop, for what it sends lies in memory; hashing and writing run in a thread beside the loop, as
they do in ours. The file is on disk at the end, as ours is.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
from blake3 import blake3
from primacy_wire.channel import make_channel
from primacy_wire.server import listen, make_server

SERVICE, METHOD = "bench.Bare", "Send"
FRAME_BYTES = 1 << 20
FRAMES_MAX = 4
"""Received and not yet written."""


async def send(handle: int) -> None:

    async def frames(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
        at = 0
        while frame := os.pread(handle, FRAME_BYTES, at):
            yield frame
            at += len(frame)

    server = make_server()
    handler = grpc.method_handlers_generic_handler(SERVICE, {METHOD: grpc.unary_stream_rpc_method_handler(frames)})
    server.add_generic_rpc_handlers((handler,))
    print(listen(server, "127.0.0.1:0"), flush=True)
    await server.start()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


async def take(address: str, path: Path) -> dict[str, object]:
    """One transfer to a new file."""
    began = time.monotonic()
    digest, size = blake3(), 0
    frames: asyncio.Queue[bytes] = asyncio.Queue(FRAMES_MAX)
    with path.open("wb") as file:

        def keep(frame: bytes) -> None:
            digest.update(frame)
            file.write(frame)

        async def write() -> None:
            while frame := await frames.get():
                await asyncio.to_thread(keep, frame)

        writing = asyncio.create_task(write())
        async with make_channel(address) as channel:
            call: Any = channel.unary_stream(f"/{SERVICE}/{METHOD}")
            async for frame in call(b""):
                size += len(frame)
                await frames.put(frame)
        await frames.put(b"")
        await writing
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())
    return {"seconds": time.monotonic() - began, "size": size, "digest": digest.hexdigest()}


async def take_often(address: str, path: Path) -> None:
    print(0, flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await take(address, path)), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "send":
        asyncio.run(send(os.open(sys.argv[2], os.O_RDONLY)))
    else:
        asyncio.run(take_often(sys.argv[2], Path(sys.argv[3])))

"""The floor of transfers: the same bytes over one bare gRPC stream, in frames of 1 MiB that nobody looks at.

usage: python -m bench.bare_stream FILE     (says its port; ends with its standard input)
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
from primacy_wire.channel import make_channel
from primacy_wire.server import listen, make_server

SERVICE, METHOD = "bench.Bare", "Send"
FRAME_BYTES = 1 << 20


async def receive(address: str) -> tuple[int, float]:
    """(bytes, seconds)."""
    async with make_channel(address) as channel:
        call: Any = channel.unary_stream(f"/{SERVICE}/{METHOD}")
        began = time.monotonic()
        size = 0
        async for frame in call(b""):
            size += len(frame)
        return size, time.monotonic() - began


async def main(content: memoryview) -> None:

    async def send(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
        for at in range(0, len(content), FRAME_BYTES):
            yield bytes(content[at : at + FRAME_BYTES])

    server = make_server()
    handler = grpc.method_handlers_generic_handler(SERVICE, {METHOD: grpc.unary_stream_rpc_method_handler(send)})
    server.add_generic_rpc_handlers((handler,))
    print(listen(server, "127.0.0.1:0"), flush=True)
    await server.start()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(main(memoryview(Path(sys.argv[1]).read_bytes())))

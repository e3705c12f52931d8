"""The floor: a starlette server on uvicorn that hands each event to a queue of every browser, and does nothing else.

usage: python -m bench.bare_sse ADDRESS   (a line `BYTES RATE` on its standard input: events of that size, at that rate)
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

WAITING_MAX = 100

queues: set[asyncio.Queue[bytes]] = set()


async def stream(_: Request) -> Response:
    async def events() -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue(WAITING_MAX)
        queues.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            queues.discard(queue)

    return StreamingResponse(events(), media_type="text/event-stream")


async def publish() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    size, rate = (float(word) for word in (await reader.readline()).split())
    number = 0
    due = loop.time()
    while True:
        number += 1
        piece = b"id: %d\nevent: journal\ndata: %b\n\n" % (number, b"x" * max(int(size) - 32, 0))
        for queue in queues:
            queue.put_nowait(piece)
        due += 1 / rate
        await asyncio.sleep(max(due - loop.time(), 0))


async def serve(address: str) -> None:
    host, port = address.rsplit(":", 1)
    app = Starlette(routes=[Route("/stream", stream)])
    config = uvicorn.Config(
        app, host=host, port=int(port), ws="none", http="h11", loop="none", lifespan="off", log_level="error"
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn has no other way to tell
        await asyncio.sleep(0.01)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.gather(serving, publish())


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))

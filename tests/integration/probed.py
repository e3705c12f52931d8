"""Probes at work, and small servers for them to look at."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from primacy_agent.probe_config import AnyProbe
from primacy_agent.probes.running import Probes
from primacy_agent.tasks import Tasks


async def until(fact: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.002)


@asynccontextmanager
async def serving(answer: bytes, linger: bool = False) -> AsyncIterator[int]:
    """A port that answers every request with these bytes; `linger`: and keeps the connection open."""

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            if linger:
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # A TCP probe says nothing and leaves.
        finally:
            writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def response(status: str, body: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@asynccontextmanager
async def watching(*configs: AnyProbe, recovering: bool = False) -> AsyncIterator[tuple[Probes, list[float]]]:
    """The probes at work, and when the merged health changed."""
    tasks, changes = Tasks(), list[float]()
    probes = Probes(configs, lambda: changes.append(time.monotonic()), random.Random(1), tasks, recovering)
    probes.start()
    failing = asyncio.ensure_future(tasks.failed())
    try:
        yield probes, changes
        assert not failing.done()
    finally:
        failing.cancel()
        await tasks.stop()
        probes.close()

"""The HTTP port lets go of who takes nothing, and of nobody who is only slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from primacy_coordinator.web import server
from primacy_coordinator.web.server import WebServer, bind_http
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

ANSWER = b"x" * 8_000_000


async def answer_much(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(ANSWER))]})
    await send({"type": "http.response.body", "body": ANSWER})


class Line(asyncio.Transport):
    """A connection that takes one byte more whenever somebody looks, until it is stuck."""

    def __init__(self, untaken: int, stuck_at: int) -> None:
        super().__init__()
        self.untaken = untaken
        self.aborted = asyncio.Event()
        self._stuck_at = stuck_at

    def get_write_buffer_size(self) -> int:
        self.untaken = max(self.untaken - 1, self._stuck_at)
        return self.untaken

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def abort(self) -> None:
        self.aborted.set()

    def close(self) -> None:
        pass


@pytest.fixture
async def port() -> AsyncIterator[int]:
    bound = bind_http("127.0.0.1:0")
    web = WebServer(answer_much, bound)
    serving = asyncio.create_task(web.serve())
    yield bound.getsockname()[1]
    web.stop()
    await serving


async def test_one_that_takes_a_little_is_kept_until_it_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "UNTAKEN_SECONDS_MAX", 0.01)
    line = Line(untaken=100, stuck_at=80)
    protocol = server._Protocol(Config(answer_much), ServerState(), {})
    protocol.connection_made(line)
    protocol.pause_writing()
    async with asyncio.timeout(10):
        await line.aborted.wait()
    assert line.untaken == 80  # It was looked at twenty times and more.
    protocol.connection_lost(None)


async def test_one_that_takes_all_in_the_end_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "UNTAKEN_SECONDS_MAX", 0.01)
    line = Line(untaken=100, stuck_at=80)
    protocol = server._Protocol(Config(answer_much), ServerState(), {})
    protocol.connection_made(line)
    protocol.pause_writing()
    protocol.resume_writing()
    await asyncio.sleep(0.05)
    assert not line.aborted.is_set()
    protocol.connection_lost(None)


async def test_a_browser_that_reads_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setattr(server, "UNTAKEN_SECONDS_MAX", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(b"GET / HTTP/1.1\r\nHost: it\r\n\r\n")
    async with asyncio.timeout(10):
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(1)  # Nothing beyond what its buffers hold.
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(len(ANSWER))
    writer.close()

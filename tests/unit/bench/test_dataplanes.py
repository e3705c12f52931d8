"""The benchmark of proxies: how it reads what came of requests, and one fault before a real cluster."""

from __future__ import annotations

import asyncio
import math

import pytest

from bench import dataplanes
from bench.proxies import NO_RETRIES, Asked, Way, ask
from tests.integration.envoys import find_envoy
from tests.integration.haproxies import need


def test_the_last_request_is_the_last_that_the_victim_got_or_nobody_answered() -> None:
    asked = Asked()
    for began_s, region in ((1.0, "eu"), (2.0, "eu"), (2.5, ""), (2.7, "us"), (2.6, "eu"), (3.0, "us")):
        asked.add(began_s, region)
    assert asked.last_lost_s("eu", 2.2) == pytest.approx(0.4)
    assert asked.count_lost(2.2) == 1
    assert asked.last_lost_s("eu", 2.8) == 0.0


@pytest.mark.parametrize(
    ("answer", "region"),
    [
        (b"HTTP/1.1 200 OK\r\nPrimacy-Region: eu\r\nContent-Length: 0\r\n\r\n", "eu"),
        (b"HTTP/1.1 503 Service Unavailable\r\nprimacy-region: eu\r\n\r\n", ""),
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.1 200", ""),
    ],
)
async def test_only_a_good_answer_names_its_region(answer: bytes, region: str) -> None:
    heard = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await ask(Way(port, NO_RETRIES)) == region
    assert b"X-Envoy-Max-Retries: 0\r\n" in heard[0]
    assert await ask(Way(port)) == "", "nobody listens any more"


def test_without_envoy_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PRIMACY_ENVOY", "/nowhere/envoy")
    assert dataplanes.run() == []
    assert "PRIMACY_ENVOY" in capsys.readouterr().err


@pytest.mark.integration
def test_real_proxies_leave_a_service_that_dies() -> None:
    need("haproxy")
    find_envoy()
    rows = dataplanes.run(rounds=1, faults=dataplanes.FAULTS[:1])
    assert len(rows) == 3
    assert all(math.isfinite(row.value) and row.value < 10_000 for row in rows)
    assert all(row.reference_value for row in rows), "those that look by themselves lose requests"

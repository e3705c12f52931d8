"""The answers to HAProxy's agent checks over a real socket: who asks in a wrong way changes and stops nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from primacy_agent.dataplane import haproxy
from primacy_agent.dataplane.haproxy import HaproxyChecks
from primacy_coordinator.core.monitor.alerts.facts import NOTABLE
from primacy_wire.clock import read_now
from primacy_wire.server import PortInUse

from tests.unit.agent.test_agent_checks import traffic

Told = list[tuple[str, str, bool]]


@pytest.fixture
def told() -> Told:
    return []


@pytest.fixture
async def checks(told: Told) -> AsyncIterator[HaproxyChecks]:
    made = HaproxyChecks("127.0.0.1:0", "shop", lambda *event: told.append(event))
    await made.start()
    yield made
    await made.close()


async def connect(checks: HaproxyChecks) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = checks.address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def ask(checks: HaproxyChecks, line: bytes, end: bool = False) -> bytes:
    """Everything that is answered."""
    reader, writer = await connect(checks)
    writer.write(line)
    if end:
        writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


async def test_each_question_has_its_answer(checks: HaproxyChecks) -> None:
    checks.apply(traffic())
    assert await ask(checks, b"shop/us\n") == b"up ready 70%\n"
    assert await ask(checks, b"us\r\n") == b"up ready 70%\n"
    assert await ask(checks, b"shop.write/eu\n") == b"up ready 0%\n"
    assert (checks.version, checks.trouble) == (7, "")
    checks.apply(traffic((0, 0.5, 0.5)))
    assert await ask(checks, b"shop/us\n") == b"up ready 50%\n"
    assert checks.counts == {"answered": 4}


async def test_before_the_first_weights_nothing_is_changed(checks: HaproxyChecks) -> None:
    assert await ask(checks, b"shop/us\n") == b"\n"
    assert (checks.version, checks.trouble, checks.counts) == (0, "", {"early": 1})


async def test_a_region_that_leaves_is_drained(checks: HaproxyChecks) -> None:
    checks.apply(traffic())
    checks.apply(replace(traffic(), read=(("eu", 0.2), ("us", 0.8)), write=(("eu", 0.0), ("us", 1.0))))
    assert await ask(checks, b"shop/ap\n") == b"up drain 0%\n"


@pytest.mark.parametrize("line", [b"shop/mars\n", b"other/us\n", b"GET / HTTP/1.1\r\n\r\n", b"\xff\x00\x1b[31m\n"])
async def test_a_wrong_question_changes_nothing_and_is_told_once(
    checks: HaproxyChecks, told: Told, line: bytes
) -> None:
    checks.apply(traffic())
    for _ in range(3):
        assert await ask(checks, line) == b"\n"
    assert checks.counts == {"unknown": 3}
    assert "agent-send must be shop/REGION" in checks.trouble and checks.trouble.isprintable()
    assert [(name, warning) for name, _, warning in told] == [("haproxy-check-unanswered", True)]


async def test_what_goes_on_is_told_again_before_it_is_taken_for_over(
    checks: HaproxyChecks, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks.apply(traffic())
    await ask(checks, b"shop/mars\n")
    later = replace(read_now(), mono_ns=read_now().mono_ns + haproxy.AGAIN_NS)
    monkeypatch.setattr(haproxy, "read_now", lambda: later)
    for _ in range(2):
        await ask(checks, b"shop/mars\n")
    assert len(told) == 2 and told[0] == told[1]
    assert NOTABLE["haproxy-check-unanswered"].stands_ns > haproxy.AGAIN_NS


async def test_who_asks_anything_and_everything_is_not_all_told(checks: HaproxyChecks, told: Told) -> None:
    checks.apply(traffic())
    for number in range(haproxy.TOLD_MAX + 5):
        await ask(checks, f"shop/r{number}\n".encode())
    assert len(told) == haproxy.TOLD_MAX


async def test_trouble_is_over_a_while_after_the_last_time(
    checks: HaproxyChecks, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks.apply(traffic())
    await ask(checks, b"shop/mars\n")
    assert checks.trouble
    monkeypatch.setattr(haproxy, "TROUBLE_NS", 0)
    assert checks.trouble == ""


async def test_a_region_that_was_new_is_no_trouble_once_it_is_known(checks: HaproxyChecks) -> None:
    checks.apply(replace(traffic(), read=(("us", 1.0),), write=(("us", 1.0),)))
    await ask(checks, b"shop/eu\n")
    assert "shop/eu" in checks.trouble
    checks.apply(traffic())
    assert checks.trouble == ""


async def test_a_line_without_end_is_cut_off_and_a_line_without_line_feed_is_taken(checks: HaproxyChecks) -> None:
    checks.apply(traffic())
    assert await ask(checks, b"x" * 300) == b"\n"
    assert await ask(checks, b"shop/us") == b"up ready 70%\n", "after a moment"
    assert await ask(checks, b"shop/us", end=True) == b"up ready 70%\n"
    assert await ask(checks, b"") == b"\n"
    assert checks.counts == {"unknown": 1, "answered": 2, "silent": 1}


async def test_who_hangs_holds_nobody_up(checks: HaproxyChecks, monkeypatch: pytest.MonkeyPatch) -> None:
    checks.apply(traffic())
    hanging = [await connect(checks) for _ in range(50)]
    assert await ask(checks, b"shop/us\n") == b"up ready 70%\n"
    # Not one of them is kept longer than the time for a line.
    for reader, writer in hanging:
        assert await asyncio.wait_for(reader.read(), 10) == b"\n"
        writer.close()


async def test_too_many_at_once_are_turned_away(
    checks: HaproxyChecks, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks.apply(traffic())
    monkeypatch.setattr(haproxy, "CONNECTIONS_MAX", 2)
    monkeypatch.setattr(haproxy, "LINE_S", 60.0)
    hanging = [await connect(checks) for _ in range(2)]
    assert await _refused(checks) == b""
    assert checks.counts["refused"] == 1 and len(told) == 1
    for _, writer in hanging:
        writer.write(b"us\n")
    for reader, writer in hanging:
        assert await reader.read() == b"up ready 70%\n"
        writer.close()


async def _refused(checks: HaproxyChecks) -> bytes:
    reader, writer = await connect(checks)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_a_port_in_use_is_said_at_start(told: Told) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(PortInUse, match="another process has port"):
            await HaproxyChecks(address, "shop", lambda *event: told.append(event)).start()


async def test_its_figures(checks: HaproxyChecks) -> None:
    checks.apply(traffic())
    await ask(checks, b"us\n")
    figures = {figure.labels["outcome"]: figure.value for figure in checks.figures()}
    assert figures == {"answered": 1, "unknown": 0, "early": 0, "silent": 0, "refused": 0}

"""Probes against real servers and processes: what counts as good, what as certain, and how fast a death is known."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from primacy.agent.v1.peer_service_pb2_grpc import add_PeerServiceServicer_to_server
from primacy_agent.config import AgentConfig
from primacy_agent.local.service import PeerService
from primacy_agent.node import Node
from primacy_agent.probe_config import HttpProbe, ProcessProbe
from primacy_agent.probes.http_get import HttpFailure, get
from primacy_agent.probes.looks import look_http, look_tcp
from primacy_agent.probes.peers import Peers
from primacy_agent.probes.processes import find
from primacy_agent.state import AgentState
from primacy_agent.tasks import Tasks
from primacy_wire.daemon import start_ticks
from primacy_wire.durations import Duration
from primacy_wire.messages import Directory, Load, Membership, PeerAddress, PeerSight, ServiceState
from primacy_wire.server import listen, make_server

from tests.integration.coordinators import free_port
from tests.integration.probed import response, serving, until, watching

pytestmark = pytest.mark.integration

LISTENER = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("answer", "good", "message"),
    [
        (response("200 OK", "fine"), True, ""),
        (response("204 No Content"), True, ""),
        (response("302 Found"), True, ""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + response("200 OK"), True, ""),
        (response("404 Not Found"), False, "answered 404"),
        (response("503 Service Unavailable", "x"), False, "answered 503"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", False, ""),
        (b"", False, ""),
    ],
)
async def test_an_http_look_judges_the_status(answer: bytes, good: bool, message: str) -> None:
    async with serving(answer) as port:
        look = await look_http(f"http://127.0.0.1:{port}/healthz?deep=1", 2.0)
    assert (look.good, look.certain) == (good, False)
    assert message in look.message
    assert good == (look.message == "")


async def test_a_silent_server_is_a_bad_look_and_nobody_listening_a_certain_one() -> None:
    async with serving(b"", linger=True) as port:
        look = await look_http(f"http://127.0.0.1:{port}/", 0.1)
        assert (look.good, look.certain, look.message) == (False, False, "no answer within 0.1 s")
        assert (await look_tcp(f"127.0.0.1:{port}", 1.0)).good
    port = free_port()
    for look in (await look_http(f"http://127.0.0.1:{port}/", 1.0), await look_tcp(f"127.0.0.1:{port}", 1.0)):
        assert (look.good, look.certain, look.message) == (False, True, "connection refused")


@pytest.mark.parametrize("address", ["nowhere", "a..b:80", "no-such-host.invalid:80"])
async def test_an_address_that_leads_nowhere_is_a_bad_look_with_a_reason(address: str) -> None:
    look = await look_tcp(address, 2.0)
    assert not look.good
    assert look.message


async def test_a_body_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("primacy_agent.probes.http_get.BODY_BYTES_MAX", 1000)
    async with serving(response("200 OK", "x" * 1001)) as port:
        with pytest.raises(HttpFailure, match="longer than 1000 bytes"):
            await get(f"http://127.0.0.1:{port}/", 2.0, body_wanted=True)


async def test_the_load_comes_from_the_metrics_url_and_is_unknown_without_it() -> None:
    page = 'demo_requests_total 1\ndemo_utilisation 0.5\ndemo_capacity 80\nmy_queue{of="a"} 2\nmy_queue{of="b"} 3\n'
    async with serving(response("200 OK", page)) as port:
        url = f"http://127.0.0.1:{port}/metrics"
        (config,) = AgentConfig(region="eu", metrics_url=url, metrics_names={"in_flight": "my_queue"}).all_probes
        fast = msgspec.structs.replace(config, interval=Duration.of("20ms"))
        async with watching(fast) as (probes, _):
            await until(lambda: probes.readings.load().request_rate == 0, "two looks")
            load = probes.readings.load()
            assert (load.utilisation, load.capacity, load.in_flight, load.error_rate) == (0.5, 80, 5, -1)
            assert probes.health.total == 0
    async with watching(fast) as (probes, _):
        await until(lambda: probes.results()[0].message == "connection refused", "looked at")
        assert probes.readings.load() == Load()
        assert probes.health.state is ServiceState.UP


# ---- processes


@pytest.fixture
def spawn() -> Iterator[Callable[[int], subprocess.Popen[bytes]]]:
    running: list[subprocess.Popen[bytes]] = []

    def one(port: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", LISTENER, str(port)], stdout=subprocess.PIPE)
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    yield one
    for process in running:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def probe(**target: object) -> ProcessProbe:
    return ProcessProbe(name="proc", interval=Duration.of("20ms"), rise=1, **target)  # type: ignore[arg-type]


@pytest.mark.parametrize("by", ["pid_file", "json_pid_file", "listen", "command"])
async def test_a_process_is_found_its_death_known_at_once_and_its_successor_found_again(
    by: str, spawn: Callable[[int], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    port, file = free_port(), tmp_path / "pid"

    def start() -> subprocess.Popen[bytes]:
        process = spawn(port)
        ticks = start_ticks(process.pid)
        file.write_text(
            f"{process.pid}\n" if by == "pid_file" else json.dumps({"pid": process.pid, "start_ticks": ticks})
        )
        return process

    process = start()
    config = {
        "pid_file": probe(pid_file=str(file)),
        "json_pid_file": probe(pid_file=str(file)),
        "listen": probe(listen=port),
        "command": probe(command=f"sleep(600)\n {port}"),
    }[by]
    async with watching(config) as (probes, changes):
        await until(lambda: probes.health.state is ServiceState.UP, "found")
        known = len(changes)
        killed = time.monotonic()
        process.send_signal(signal.SIGKILL)  # Not waited for: it stays behind as a zombie.
        await until(lambda: probes.health.state is ServiceState.DOWN, "its death is known")
        assert changes[known] - killed < 5
        assert f"process {process.pid} has ended" in probes.health.reason
        await until(lambda: "no process by" in probes.health.reason, "it is looked for, and a zombie is none")
        start()
        await until(lambda: probes.health.state is ServiceState.UP, "its successor is found")


async def test_a_pid_with_another_start_is_another_process(
    spawn: Callable[[int], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    process, file = spawn(free_port()), tmp_path / "pid"
    ticks = start_ticks(process.pid)
    assert ticks is not None
    file.write_text(json.dumps({"pid": process.pid, "start_ticks": ticks}))
    assert find(probe(pid_file=str(file))) == (process.pid, ticks)
    file.write_text(json.dumps({"pid": process.pid, "start_ticks": ticks - 1}))
    assert find(probe(pid_file=str(file))) is None


@pytest.mark.parametrize("content", ["", "no number", "[1]", '{"pid": "x", "start_ticks": 1}', "-5", "99999999"])
async def test_a_pid_file_that_makes_no_sense_names_nobody(content: str, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    file.write_text(content)
    assert find(probe(pid_file=str(file))) is None


async def test_a_refused_connection_is_a_whole_fall_and_an_error_is_not() -> None:
    async with serving(response("500 Internal Server Error")) as port:
        config = HttpProbe(name="web", url=f"http://127.0.0.1:{port}/", interval=Duration.of("50ms"), fall=100_000)
        async with watching(config) as (probes, _):
            await until(lambda: "500" in (probes.results()[0].message), "looked at")
            assert probes.health.state is ServiceState.STARTING
    async with watching(config) as (probes, _):
        await until(lambda: probes.health.state is ServiceState.DOWN, "down at once")
        assert probes.health.reason == "web: connection refused"


# ---- peers


@asynccontextmanager
async def peer(folder: Path, region: str, address: str) -> AsyncIterator[None]:
    """A real agent's PeerService, as far as others see it."""
    state = AgentState(folder, "default", region, "one")
    node = Node(AgentConfig(region=region, name="one"), state)
    server = make_server()
    add_PeerServiceServicer_to_server(PeerService(node), server)
    listen(server, address)
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)
        await node.stop(release=False)
        state.close()


@asynccontextmanager
async def looking(changes: list[str]) -> AsyncIterator[Peers]:
    tasks = Tasks()
    peers = Peers(
        "default", "us", "us/one", 0.05, 0.5, None, lambda: changes.append("changed"), random.Random(1), tasks
    )
    failing = asyncio.ensure_future(tasks.failed())
    try:
        yield peers
        assert not failing.done()
    finally:
        failing.cancel()
        await tasks.stop()


def sight_of(peers: Peers, agent: str) -> PeerSight | None:
    return next((sight for sight in peers.sights() if sight.agent == agent), None)


def is_reached(peers: Peers, agent: str) -> bool | None:
    sight = sight_of(peers, agent)
    return sight.reachable if sight else None


async def test_peers_are_pinged_lost_and_found_again(tmp_path: Path) -> None:
    address, changes = f"127.0.0.1:{free_port()}", list[str]()
    async with looking(changes) as peers:
        async with peer(tmp_path / "eu", "eu", address), serving(response("200 OK")) as port:
            endpoint = f"127.0.0.1:{port}"
            directory = Directory(Membership(), (PeerAddress("eu", "eu/one", address),), (("eu", endpoint),))
            peers.follow(directory)
            assert [sight.looked_ns for sight in peers.all()] == [0, 0] and not peers.seen()
            await until(lambda: is_reached(peers, "eu/one") and is_reached(peers, ""), "both reached")
            sight = sight_of(peers, "eu/one")
            assert sight is not None
            assert 0 < sight.rtt_ns < 5_000_000_000
            assert len(changes) == 2
        await until(lambda: is_reached(peers, "eu/one") is False and is_reached(peers, "") is False, "both lost")
        assert len(changes) == 4
        async with peer(tmp_path / "eu", "eu", address):
            await until(lambda: is_reached(peers, "eu/one"), "found again")
        peers.follow(Directory(Membership(), (), ()))
        assert peers.sights() == ()


async def test_an_agent_with_another_name_is_not_who_was_meant(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    async with peer(tmp_path / "eu", "eu", address), looking([]) as peers:
        peers.follow(Directory(Membership(), (PeerAddress("ap", "ap/one", address),), (("ap", "not an address"),)))
        await until(lambda: len(peers.sights()) == 2, "looked at")
        assert is_reached(peers, "ap/one") is False
        assert is_reached(peers, "") is False

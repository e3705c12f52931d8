"""What a large transfer does to the agents that carry it: their memory, and how late their reports are.

A real coordinator and two real agents. Their sessions pass through this process, which hands on each message as it is
and notes when reports come. A report is late by what lies between it and the one before beyond the report interval, as
the coordinator sees it: that is what eats into a lease. The same group without a transfer stands beside it.
"""

from __future__ import annotations

import asyncio
import itertools
import shlex
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import yaml
from primacy.agent.v1 import local_service_pb2 as pb
from primacy.agent.v1.local_service_pb2_grpc import LocalServiceStub
from primacy.v1.agent_service_pb2 import SessionRequest
from primacy_wire.channel import make_channel
from primacy_wire.server import listen, make_server

from bench.rows import Row, percentile
from bench.servers import READY_S, free_port, process, rss_mb

SIZE = 1 << 30
ROUNDS = 6
QUIET_S = 30.0
INTERVAL_S = 0.25
BUDGET = 0.5
"""Of the report interval, for the 99.9th percentile."""
SESSION = "/primacy.v1.AgentService/Session"
POLICY = {"reportInterval": f"{INTERVAL_S}s", "leaseTtl": "5s", "firstWait": "0.5s", "durability": "LOCAL"}


@dataclass
class Watch(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc-stubs call it Any.
    """Stands between agents and their coordinator."""

    channel: grpc.aio.Channel
    times: dict[str, list[float]] = field(default_factory=dict)
    """peer -> when its reports came."""

    def service(self, details: Any) -> Any:
        method = details.method
        if method == SESSION:
            return grpc.stream_stream_rpc_method_handler(self._session)

        async def ask(request: bytes, _: Any) -> bytes:
            call: Any = self.channel.unary_unary(method)
            return bytes(await call(request))

        return grpc.unary_unary_rpc_method_handler(ask)

    async def _session(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        times = self.times.setdefault(context.peer(), [])

        async def noted() -> AsyncIterator[bytes]:
            async for raw in requests:
                if SessionRequest.FromString(raw).HasField("report"):
                    times.append(time.monotonic())
                yield raw

        call: Any = self.channel.stream_stream(SESSION)
        async for raw in call(noted()):
            yield raw

    def lateness(self, begin: float) -> list[float]:
        """Seconds, of every report since then."""
        found = []
        for times in self.times.values():
            recent = [at for at in times if at >= begin]
            found += [max(0.0, after - before - INTERVAL_S) for before, after in itertools.pairwise(recent)]
        return found


class Agent:
    def __init__(self, folder: Path, region: str, coordinator: str, stack: ExitStack) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        folder.mkdir()
        config = {
            "region": region, "coordinators": [coordinator], "grpc": {"address": self.address}, "http": {"address": ""},
            "stateDir": str(folder / "state"), "log": {"level": "error"},
        }  # fmt: skip
        (folder / "agent.yaml").write_text(yaml.safe_dump(config))
        self.pid = stack.enter_context(process("primacy_agent.main", "--config", str(folder / "agent.yaml"))).pid
        self.memory_mb: list[float] = []

    def look(self) -> None:
        self.memory_mb.append(rss_mb(self.pid))


async def _until(fact: Callable[[], Any], what: str, seconds: float = READY_S) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if await fact():
                return
        except grpc.aio.AioRpcError:
            pass
        await asyncio.sleep(0.05)
    raise RuntimeError(f"{what}: not within {seconds:g} s")


async def _watch_memory(agents: list[Agent]) -> None:
    while True:
        for agent in agents:
            agent.look()
        await asyncio.sleep(0.1)


async def _measure(
    folder: Path, size: int, rounds: int, quiet_s: float
) -> tuple[list[float], list[float], list[Agent]]:
    """(lateness while nothing else happens, and while models move, the agents with what memory they took)."""
    address = f"127.0.0.1:{free_port()}"
    (folder / "policy.yaml").write_text(yaml.safe_dump(POLICY))
    flags = ("--grpc", address, "--http", "", "--data-dir", str(folder / "coordinator"), "--log-level", "error")
    with ExitStack() as stack:
        stack.enter_context(process("primacy_coordinator.main", *flags, "--policy", str(folder / "policy.yaml")))
        async with make_channel(address) as channel:
            watch, server = Watch(channel), make_server()
            server.add_generic_rpc_handlers((watch,))
            port = listen(server, "127.0.0.1:0")
            await channel.channel_ready()
            await server.start()
            agents = [Agent(folder / region, region, f"127.0.0.1:{port}", stack) for region in ("origin", "taker")]
            try:
                origin, taker = (LocalServiceStub(make_channel(agent.address)) for agent in agents)  # type: ignore[no-untyped-call]
                for stub in (origin, taker):
                    await _until(lambda stub=stub: _connected(stub), "both agents are there")
                await asyncio.sleep(4 * INTERVAL_S)
                begin = time.monotonic()
                await asyncio.sleep(quiet_s)
                quiet = watch.lateness(begin)
                looking = asyncio.create_task(_watch_memory(agents))
                moving: list[float] = []
                for number in range(rounds):
                    await _write(folder / "model.bin", size)
                    begin = time.monotonic()
                    await _move(origin, taker, folder / "model.bin", f"m{number}", size)
                    await asyncio.sleep(2 * INTERVAL_S)  # For what was due meanwhile.
                    moving += watch.lateness(begin - 2 * INTERVAL_S)
                    await origin.ManageModel(pb.ManageModelRequest(name=f"m{number}", remove=True), timeout=60)
                looking.cancel()
            finally:
                stack.close()
                await server.stop(None)
    return quiet, moving, agents


async def _connected(stub: Any) -> bool:
    return bool((await stub.GetStatus(pb.GetStatusRequest(), timeout=2)).session.connected)


async def _write(path: Path, size: int) -> None:
    """New bytes, from another process: this one keeps time."""
    making = await asyncio.create_subprocess_shell(f"head -c {size} /dev/urandom >{shlex.quote(str(path))}")
    if await making.wait():
        raise RuntimeError(f"{path} could not be written")


async def _move(origin: Any, taker: Any, path: Path, name: str, size: int) -> None:
    """A model that nobody has anything of, from one to the other."""
    async for _ in origin.Publish(pb.PublishRequest(name=name, path=str(path))):
        pass

    async def here() -> bool:
        models = (await taker.ListModels(pb.ListModelsRequest(name=name), timeout=10)).models
        return any(one.current for model in models for one in model.versions)

    await _until(here, "the model is there", 120 + size / 10e6)


def run(size: int = SIZE, rounds: int = ROUNDS, quiet_s: float = QUIET_S) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        quiet, moving, (origin, taker) = asyncio.run(_measure(Path(folder), size, rounds, quiet_s))
    name = f"interference: {size >> 20} MiB pushed, sent and taken"
    late_ms = 1e3 * percentile(moving, 0.999)
    return [
        Row(f"{name}: reports late, p99.9", late_ms, "ms", "report interval", 1e3 * INTERVAL_S, BUDGET),
        Row(f"{name}: reports late, p99.9", late_ms, "ms", "nothing moves", 1e3 * percentile(quiet, 0.999)),
        Row(f"{name}: memory of who sends", max(origin.memory_mb), "MB", "before", origin.memory_mb[0]),
        Row(f"{name}: memory of who takes", max(taker.memory_mb), "MB", "before", taker.memory_mb[0]),
    ]

"""What an acknowledged append costs: through the coordinator, beside SQLite with group commit and nothing else."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from primacy.v1.election_service_pb2 import GetActiveRegionRequest
from primacy.v1.election_service_pb2_grpc import ElectionServiceStub
from primacy_wire.channel import make_sync_channel

from bench.append_load import CONTENT
from bench.bare_log import BareLog
from bench.clusters import cluster
from bench.rows import Row
from bench.servers import READY_S, REGION, agents, coordinator, free_port, process

CALLERS = (1, 16, 64, 256)
AT = 64
"""The number of callers that the budgets are about."""
FLOOR_SHARE = 0.5
RATE_BUDGET = 5_000.0
WINDOW_S = 3.0
AGENTS = 6


@dataclass(frozen=True, slots=True)
class Found:
    rate: float
    """Appends a second."""
    p50: float
    p99: float
    """Seconds."""


def load(
    address: str, callers: int, epoch: int, seconds: float = WINDOW_S, durability: str = "local", region: str = REGION
) -> Found:
    """So many callers in a process of their own, for so long, after a moment to warm up."""
    with process("bench.append_load", address, str(callers), str(epoch), durability, region) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        line = ""
        for length in (seconds / 4, seconds):
            child.stdin.write(f"run {length}\n")
            child.stdin.flush()
            line = child.stdout.readline()
        return Found(**json.loads(line))


@contextmanager
def bare_log() -> Iterator[str]:
    """The address of a bare server that numbers rows and commits them."""
    address = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory() as folder, process("bench.bare_log", address, folder) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield address


@contextmanager
def log() -> Iterator[tuple[str, int]]:
    """(address, epoch) of a coordinator with an active region."""
    with coordinator() as server, agents(server.address, AGENTS), make_sync_channel(server.address) as channel:
        stub, deadline = ElectionServiceStub(channel), time.monotonic() + READY_S
        while not (active := stub.GetActiveRegion(GetActiveRegionRequest(), timeout=5)).region:
            if time.monotonic() > deadline:
                raise RuntimeError("no region became active")
            time.sleep(0.05)
        yield server.address, active.epoch


def whole_group(callers: int, seconds: float) -> dict[str, Found]:
    """By durability, what real agents in three regions make of it: each takes every document in, and says so."""
    with cluster() as group, make_sync_channel(group.coordinator) as channel:
        active = ElectionServiceStub(channel).GetActiveRegion(GetActiveRegionRequest(), timeout=5)
        return {
            durability: load(group.coordinator, callers, active.epoch, seconds, durability, active.region)
            for durability in ("local", "regions")
        }


def sqlite_rate(callers: int, seconds: float = WINDOW_S) -> float:
    """Rows a second of group commit in this process, without any server."""

    async def measure(folder: str) -> float:
        bare = BareLog(Path(folder) / "rows.db")
        end = time.monotonic() + seconds

        async def write() -> int:
            count = 0
            while time.monotonic() < end:
                await bare.append(CONTENT)
                count += 1
            return count

        counts = await asyncio.gather(*(write() for _ in range(callers)))
        await bare.close()
        return sum(counts) / seconds

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(folder))


def run(callers: tuple[int, ...] = CALLERS, seconds: float = WINDOW_S) -> list[Row]:
    rows = []
    ours: dict[int, Found] = {}
    floor: dict[int, Found] = {}
    with log() as (address, epoch):
        for count in callers:
            ours[count] = load(address, count, epoch, seconds)
    with bare_log() as address:
        for count in callers:
            floor[count] = load(address, count, 1, seconds)
    for count in callers:
        name = f"appends: {count} callers, LOCAL"
        share = FLOOR_SHARE if count == AT else None
        rows += [
            Row(name, ours[count].rate, "per second", "bare gRPC + SQLite", floor[count].rate, share, at_least=True),
            Row(f"{name}, p50", ours[count].p50 * 1e3, "ms", "bare gRPC + SQLite", floor[count].p50 * 1e3),
            Row(f"{name}, p99", ours[count].p99 * 1e3, "ms", "bare gRPC + SQLite", floor[count].p99 * 1e3),
        ]
    most = max(ours, key=lambda count: ours[count].rate)
    rows += [
        Row(f"appends: the most, {most} callers", ours[most].rate, "per second", budget=RATE_BUDGET, at_least=True),
        Row(f"appends: {AT} callers, SQLite alone", sqlite_rate(AT, seconds), "per second"),
    ]
    group = whole_group(AT, seconds)
    local, regions = group["local"], group["regions"]
    name = f"appends: {AT} callers, three real regions, REGIONS"
    return [
        *rows,
        Row(name, regions.rate, "per second", "the same, LOCAL", local.rate),
        Row(f"{name}, p50", regions.p50 * 1e3, "ms", "the same, LOCAL", local.p50 * 1e3),
        Row(f"{name}, p99", regions.p99 * 1e3, "ms", "the same, LOCAL", local.p99 * 1e3),
    ]

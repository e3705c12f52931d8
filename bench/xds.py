"""What it takes to hand weights on by xDS: from a change to a client's ACK, and what the server costs its agent."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.clusters import cluster
from bench.rows import Row, percentile
from bench.servers import cpu_s, free_port, process, rss_mb

PUSH_RATIO_BUDGET = 1.5
WITH_MB_BUDGET = 72.0
WITHOUT_MB_BUDGET = 60.0
IDLE_S = 8.0
WARM_UP = 20


@contextmanager
def _pushing(module: str) -> Iterator[subprocess.Popen[str]]:
    """A server, and a client that follows it."""
    address = f"127.0.0.1:{free_port()}"
    with process(module, address) as server:
        assert server.stdout is not None
        server.stdout.readline()
        with process("bench.xds_load", address):
            yield server


def _push(server: subprocess.Popen[str], count: int) -> list[float]:
    """What each took, in milliseconds."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(f"{count}\n")
    return [took * 1000 for took in json.loads(server.stdout.readline())]


def push_to_ack(pushes: int, rounds: int) -> list[Row]:
    """The servers take turns, so that what else the machine does meets both."""
    with ExitStack() as stack:
        ours, bare = (stack.enter_context(_pushing(module)) for module in ("bench.xds_server", "bench.bare_xds"))
        for server in (ours, bare):
            _push(server, WARM_UP)
        found: tuple[list[float], list[float]] = [], []
        for _ in range(rounds):
            for server, taken in zip((ours, bare), found, strict=True):
                taken.extend(_push(server, pushes))
    p50, p50_bare = (percentile(took, 0.5) for took in found)
    p99, p99_bare = (percentile(took, 0.99) for took in found)
    return [
        Row("xds: push to ACK, p50", p50, "ms", "bare ADS server", p50_bare, PUSH_RATIO_BUDGET),
        Row("xds: push to ACK, p99", p99, "ms", "bare ADS server", p99_bare),
    ]


def agent_cost(idle_s: float) -> list[Row]:
    """Two standby agents of the same group: one with the server and a client that follows, one with neither."""
    with cluster() as running, ExitStack() as stack:
        served, plain = [name for name in running.names if name != running.active()]
        running.kill(plain, "agents")
        running.start_again(plain, "agents", "--set", "dataplane.xds.address=")
        stack.enter_context(process("bench.xds_load", running.xds_address(served)))
        running.wait_well()
        pids = [running.pid(name, "agents") for name in (served, plain)]
        before, began = [cpu_s(pid) for pid in pids], time.monotonic()
        time.sleep(idle_s)
        took_s = time.monotonic() - began
        cpu, cpu_plain = ((cpu_s(pid) - was) / took_s * 100 for pid, was in zip(pids, before, strict=True))
        rss, rss_plain = (rss_mb(pid) for pid in pids)
    return [
        Row("xds: agent's memory with the server", rss, "MB", budget=WITH_MB_BUDGET),
        Row("xds: agent's memory without", rss_plain, "MB", budget=WITHOUT_MB_BUDGET),
        Row("xds: agent's CPU when idle, with the server", cpu, "% of a core", "without", cpu_plain),
    ]


def run(pushes: int = 200, rounds: int = 5, idle_s: float = IDLE_S) -> list[Row]:
    return [*push_to_ack(pushes, rounds), *agent_cost(idle_s)]

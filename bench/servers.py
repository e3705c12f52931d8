"""Server processes under test, the agents that talk to them, and what the operating system says of each."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from grpc_health.v1 import health_pb2, health_pb2_grpc
from primacy_wire.channel import make_sync_channel

PAGE = os.sysconf("SC_PAGE_SIZE")
READY_S = 30.0
REGION = "r0"
"""Where the writers of a log are."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_s(pid: int) -> float:
    """User and system time that a process has used, all threads, finer than the ticks in /proc."""
    clock = (~pid << 3) | 2  # How Linux names another process's CPU clock: clock_getcpuclockid(3).
    return time.clock_gettime_ns(clock) / 1e9


def rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


@dataclass(frozen=True, slots=True)
class Server:
    pid: int
    address: str
    orders: IO[str]
    """Its standard input."""


Start = Callable[[], AbstractContextManager[Server]]


@contextmanager
def process(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A child with pipes at both ends; what it says on stderr is shown if it fails."""
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1,
        )  # fmt: skip
        try:
            yield child
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read())
            raise
        finally:
            child.kill()
            child.communicate()


@contextmanager
def coordinator(module: str = "primacy_coordinator.main") -> Iterator[Server]:
    """A fresh `primacy-coordinator` with default settings, or a module that runs one."""
    address = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory() as folder:
        flags = ("--grpc", address, "--http", "", "--data-dir", folder, "--log-level", "error")
        with process(module, *flags) as child:
            with make_sync_channel(address) as channel:
                stub: Any = health_pb2_grpc.HealthStub(channel)
                stub.Check(health_pb2.HealthCheckRequest(), timeout=READY_S, wait_for_ready=True)
            assert child.stdin is not None
            yield Server(child.pid, address, child.stdin)


@contextmanager
def bare() -> Iterator[Server]:
    """The bare server."""
    address = f"127.0.0.1:{free_port()}"
    with process("bench.bare_server", address) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        yield Server(child.pid, address, child.stdin)


@dataclass(frozen=True, slots=True)
class Sample:
    """What all agents together saw since the sample before."""

    reports: int
    answers: int
    worst_s: float
    """The slowest answer's time since its report; infinite when none came."""
    weights: dict[int, list[float]]
    """When each version of the weights arrived (seconds of CLOCK_MONOTONIC)."""


class Agents:
    """The load processes."""

    def __init__(self, children: list[subprocess.Popen[str]]) -> None:
        self._children = children

    def set_rate(self, reports_per_s: float) -> None:
        self._order(f"rate {reports_per_s / len(self._children)}")

    def sample(self) -> Sample:
        self._order("sample")
        lines = [json.loads(self._read(child)) for child in self._children]
        weights: dict[int, list[float]] = {}
        for line in lines:
            for version, times in line["weights"].items():
                weights.setdefault(int(version), []).extend(times)
        return Sample(
            sum(line["reports"] for line in lines),
            sum(line["answers"] for line in lines),
            max(line["worst"] for line in lines),
            weights,
        )

    def wait_ready(self) -> None:
        """Until every agent has its welcome."""
        for child in self._children:
            self._read(child)

    def _order(self, line: str) -> None:
        for child in self._children:
            assert child.stdin is not None
            child.stdin.write(line + "\n")
            child.stdin.flush()

    @staticmethod
    def _read(child: subprocess.Popen[str]) -> str:
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            raise RuntimeError("a load process ended early")
        return line


@contextmanager
def agents(address: str, count: int, rate: float = 0.0) -> Iterator[Agents]:
    """So many agents, in two processes, each reporting once a second unless `rate` (per second, of all) says else."""
    first = count // 2
    with ExitStack() as stack:
        found = Agents(
            [
                stack.enter_context(process("bench.load", address, str(start), str(end), str((rate or count) / 2)))
                for start, end in ((0, first), (first, count))
            ]
        )
        found.wait_ready()
        yield found

"""Server processes under test, and what the operating system says of them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc
from primacy_wire.channel import make_sync_channel

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_s(pid: int) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


@contextmanager
def process(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            yield child
        finally:
            child.kill()
            child.wait()


@contextmanager
def coordinator() -> Iterator[tuple[int, str]]:
    """(pid, address) of a fresh `primacy-coordinator`."""
    address = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "primacy_coordinator.main",
            "--grpc",
            address,
            "--http",
            "",
            "--data-dir",
            folder,
        ]
        command += ["--log-level", "error"]
        with process(command) as child, make_sync_channel(address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            stub.Check(health_pb2.HealthCheckRequest(), timeout=20, wait_for_ready=True)
            yield child.pid, address


@contextmanager
def bare() -> Iterator[tuple[int, str]]:
    """(pid, address) of the bare server."""
    address = f"127.0.0.1:{free_port()}"
    with process([sys.executable, "-m", "bench.bare_server", address]) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child.pid, address


@contextmanager
def load(address: str, agents: int, rate: float, seconds: float) -> Iterator[Iterator[dict[str, Any]]]:
    """Lines of a load process; the first says that every agent is connected."""
    command = [sys.executable, "-m", "bench.load", address, str(agents), str(rate), str(seconds)]
    with process(command) as child:
        assert child.stdout is not None
        yield map(json.loads, child.stdout)

"""What it costs to show a group to 100 browsers at once, and what its page weighs.

A group of three regions changes so often, and each browser gets an event of the journal for each change and a status
several times a second. What the coordinator does for the changes themselves is measured without a browser; what it does
for all browsers together, once, with one; the rest is what each further browser costs. The floor is a bare server that
hands as many events of the same size to as many browsers.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from subprocess import Popen
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc
from primacy.v1 import region_pb2, region_service_pb2
from primacy.v1.region_service_pb2_grpc import RegionServiceStub
from primacy_coordinator.web.static import load_assets
from primacy_wire.channel import make_sync_channel

from bench.rows import Row
from bench.servers import READY_S, cpu_s, free_port, process, rss_mb

BROWSERS = 100
RATES = (3.0, 40.0)
"""Changes per second: a bad day, and a storm. In a storm several events make one piece."""
ROUNDS = 3
"""By turns with none, one and all, so that what else the machine does falls on each alike."""
MEASURED_S = 3.0
SETTLE_S = 1.0
PAGE_BYTES_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Cost:
    """What a server did in a while."""

    cpu_s: float
    events: int
    """Of all browsers together."""
    bytes: int
    seconds: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.cpu_s + other.cpu_s,
            self.events + other.events,
            self.bytes + other.bytes,
            self.seconds + other.seconds,
        )


NOTHING = Cost(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Coordinator:
    pid: int
    grpc: str
    http: str


@contextmanager
def coordinator() -> Iterator[Coordinator]:
    grpc, http = (f"127.0.0.1:{free_port()}" for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        flags = ("--grpc", grpc, "--http", http, "--data-dir", folder, "--log-level", "error")
        with process("primacy_coordinator.main", *flags) as child:
            with make_sync_channel(grpc) as channel:
                stub: Any = health_pb2_grpc.HealthStub(channel)
                stub.Check(health_pb2.HealthCheckRequest(), timeout=READY_S, wait_for_ready=True)
            yield Coordinator(child.pid, grpc, http)


def _counts(browsers: Popen[str] | None) -> tuple[int, int]:
    if browsers is None:
        return 0, 0
    assert browsers.stdin is not None
    assert browsers.stdout is not None
    browsers.stdin.write("counts\n")
    browsers.stdin.flush()
    found = json.loads(browsers.stdout.readline())
    return found["events"], found["bytes"]


def _measure(pid: int, browsers: Popen[str] | None, seconds: float, keep_on: Callable[[float], None]) -> Cost:
    """What happens while `keep_on` runs until the instant it is given."""
    keep_on(time.monotonic() + SETTLE_S)
    events, size = _counts(browsers)
    used, began = cpu_s(pid), time.monotonic()
    keep_on(began + seconds)
    used, seconds = cpu_s(pid) - used, time.monotonic() - began
    events_after, size_after = _counts(browsers)
    return Cost(used, events_after - events, size_after - size, seconds)


def _ours(count: int, rate: float, seconds: float) -> tuple[Cost, Cost, Cost, float]:
    """(without browsers, with one, with so many, MB of memory that these take)."""
    with coordinator() as server, make_sync_channel(server.grpc) as channel:
        stub = RegionServiceStub(channel)
        for number in range(3):
            stub.RegisterRegion(region_service_pb2.RegisterRegionRequest(region={"name": f"r{number}"}))
        numbers = itertools.count(1)

        def change(until: float) -> None:
            due = time.monotonic()
            while time.monotonic() < until:
                region = region_pb2.Region(name="r1", endpoint=f"10.0.0.1:{next(numbers) % 60_000 + 1}")
                request = region_service_pb2.UpdateRegionRequest(region=region)
                request.update_mask.paths.append("endpoint")
                stub.UpdateRegion(request, timeout=10)
                due += 1 / rate
                time.sleep(max(due - time.monotonic(), 0))

        alone = single = watched = NOTHING
        grown_mb = 0.0
        for _ in range(ROUNDS):
            alone += _measure(server.pid, None, seconds, change)
            with process("bench.browsers", server.http, "/api/stream", "1") as browsers:
                single += _measure(server.pid, browsers, seconds, change)
            before_mb = rss_mb(server.pid)
            with process("bench.browsers", server.http, "/api/stream", str(count)) as browsers:
                watched += _measure(server.pid, browsers, seconds, change)
                grown_mb = max(grown_mb, rss_mb(server.pid) - before_mb)
        return alone, single, watched, grown_mb


def _bare(count: int, size: float, rate: float, seconds: float) -> Cost:
    address = f"127.0.0.1:{free_port()}"
    with process("bench.bare_sse", address) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdout.readline()
        with process("bench.browsers", address, "/stream", str(count)) as browsers:
            time.sleep(SETTLE_S)
            server.stdin.write(f"{size} {rate}\n")
            server.stdin.flush()
            return _measure(server.pid, browsers, ROUNDS * seconds, lambda until: time.sleep(until - time.monotonic()))


def _page_bytes() -> int:
    """What a browser loads that takes brotli, licences apart: nobody is sent them unasked."""
    return sum(
        len(asset.bodies.get("br", asset.bodies[""])[0])
        for name, asset in load_assets().items()
        if not name.startswith("licences")
    )


def run(count: int = BROWSERS, seconds: float = MEASURED_S) -> list[Row]:
    rows = []
    grown_mb = 0.0
    for rate in RATES:
        alone, single, watched, grown_mb = _ours(count, rate, seconds)
        size, each_s = watched.bytes / watched.events, watched.events / watched.seconds / count
        bare = _bare(count, size, each_s, seconds)
        further_us = (watched.cpu_s - single.cpu_s) / (watched.events - single.events) * 1e6
        name = f"dashboard: {count} browsers, {each_s:.0f} events/s of {size:,.0f} bytes, CPU"
        rows += [
            Row(f"{name} per event and browser", further_us, "us", "bare SSE server", bare.cpu_s / bare.events * 1e6,
                1.3),
            Row(f"{name} of all", (watched.cpu_s - alone.cpu_s) / watched.seconds * 100, "% of a core"),
            Row(f"{name} of one", (single.cpu_s - alone.cpu_s) / single.seconds * 100, "% of a core"),
        ]  # fmt: skip
    rows.append(Row("dashboard: memory per browser", grown_mb / count * 1000, "kB", budget=200.0))
    page = _page_bytes() / 1000
    if page:
        rows.append(Row("dashboard: page with all it may load, compressed", page, "kB", budget=PAGE_BYTES_MAX / 1000))
    return rows

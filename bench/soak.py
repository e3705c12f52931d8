"""Hours of monitoring in virtual time: memory, the file's size and the cost of each second must level off.

.venv/bin/python -m bench.soak --hours 8
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from primacy_coordinator.core.monitor.monitor import Monitor
from primacy_coordinator.core.monitor.tiers import HOUR_S, Limits
from primacy_coordinator.store.metrics import Kept, SqliteMetrics
from primacy_wire.collector import calm_collector
from primacy_wire.instant import SECOND_NS, Now

from bench.measured_group import MeasuredGroup

BEGIN_S = 1_700_000_400
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Figures:
    """At one instant of the soak."""

    hours: float
    resident_mib: float
    kept_mib: float
    """Of figures in memory, by our own count."""
    disk_mib: float
    second_ms: float
    """CPU time of one second of monitoring, mean since the last figures."""
    longest_ms: float
    """Longest look or bit of work since then."""


async def soak(
    folder: Path,
    hours: float,
    regions: int,
    agents: int,
    series: int,
    memory_mib: int = 512,
    disk_mib: int = 512,
    every_s: int = 1800,
    tell: Callable[[Figures], None] = lambda _: None,
) -> list[Figures]:
    """Runs it, and tells of it every so many virtual seconds."""
    now = Now(SECOND_NS, BEGIN_S * SECOND_NS)
    group = MeasuredGroup(regions, agents, series)
    monitor = Monitor(now, Limits.of(memory_mib * MIB))
    second = 0
    store = SqliteMetrics(folder / "metrics.db", Kept(bytes_max=disk_mib * MIB), clock=lambda: float(BEGIN_S + second))
    store.checked_every_s = 0.5
    calm_collector()
    found: list[Figures] = []
    spent_ns, longest_ns = 0, 0
    for second in range(1, round(hours * HOUR_S) + 1):
        now = now.plus(SECOND_NS)
        seen = group.look()
        began_ns = time.thread_time_ns()
        monitor.look(now, seen)
        longest_ns = max(longest_ns, time.thread_time_ns() - began_ns)
        working = True
        while working:
            bit_ns = time.thread_time_ns()
            working = monitor.work()
            longest_ns = max(longest_ns, time.thread_time_ns() - bit_ns)
        spent_ns += time.thread_time_ns() - began_ns
        for block in monitor.take_blocks():
            store.put("default", block)
            while store.waiting > 10:
                await store.load_alerts("default")  # Answered behind the next write.
        if second % every_s == 0:
            await store.names("default")
            figures = Figures(
                second / HOUR_S,
                _resident() / MIB,
                monitor.tiers.bytes / MIB,
                _disk(folder) / MIB,
                spent_ns / every_s / 1e6,
                longest_ns / 1e6,
            )
            found.append(figures)
            tell(figures)
            spent_ns, longest_ns = 0, 0
    lost = store.dropped_count
    await store.close()
    if lost or store.trouble:
        raise RuntimeError(f"{lost} minutes are lost: {store.trouble}")
    return found


def _disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("metrics.db*"))


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--regions", type=int, default=50)
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--series", type=int, default=100, help="of each agent")
    parser.add_argument("--memory", type=int, default=512, metavar="MIB")
    parser.add_argument("--disk", type=int, default=512, metavar="MIB")
    parser.add_argument("--every", type=int, default=1800, metavar="SECONDS")
    given = parser.parse_args()
    print("hours  resident MiB  figures MiB  disk MiB  ms of CPU a second  longest ms", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(
            soak(
                Path(folder),
                given.hours,
                given.regions,
                given.agents,
                given.series,
                given.memory,
                given.disk,
                given.every,
                _tell,
            )
        )
    return 0


def _tell(one: Figures) -> None:
    print(
        f"{one.hours:5.2f}  {one.resident_mib:12.0f}  {one.kept_mib:11.1f}  {one.disk_mib:8.1f}"
        f"  {one.second_ms:18.1f}  {one.longest_ms:10.1f}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())

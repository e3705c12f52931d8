"""What a session costs the coordinator in memory, and what an agent costs its machine."""

from __future__ import annotations

import statistics
import time

from bench.clusters import cluster
from bench.reports import BARE_SETTLE_S, SETTLE_S
from bench.rows import Row
from bench.servers import Start, agents, bare, coordinator, cpu_s, rss_mb

AGENT_MB_BUDGET = 72.0
"""With everything switched on that hands weights on, as `primacy up` has it."""
IDLE_S = 8.0


def kb_per_session(start: Start, count: int, settle_s: float = SETTLE_S) -> float:
    """Resident memory with so many reporting agents, less that with none, for each."""
    with start() as server:
        before = rss_mb(server.pid)
        with agents(server.address, count):
            time.sleep(settle_s)
            return (rss_mb(server.pid) - before) * 1000 / count


def _agents() -> list[Row]:
    """Each with two probes of a local service, looking at its peers, and idle but for that."""
    with cluster() as running:
        pids = [running.pid(name, "agents") for name in running.names]
        before, began = [cpu_s(pid) for pid in pids], time.monotonic()
        time.sleep(IDLE_S)
        took_s = time.monotonic() - began
        shares = [(cpu_s(pid) - cpu) / took_s * 100 for pid, cpu in zip(pids, before, strict=True)]
        return [
            Row("agent: memory, the largest of three", max(rss_mb(pid) for pid in pids), "MB", budget=AGENT_MB_BUDGET),
            Row("agent: CPU when idle, median of three", statistics.median(shares), "% of a core"),
        ]


def run(count: int = 1000) -> list[Row]:
    name = f"memory: coordinator, each of {count} sessions"
    ours, floor = kb_per_session(coordinator, count), kb_per_session(bare, count, BARE_SETTLE_S)
    return [Row(name, ours, "kB", "bare server", floor), *_agents()]

"""What reports cost the coordinator, over a bare server that parses the same and answers; and how many it takes."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager

from bench.rows import Row
from bench.servers import bare, coordinator, cpu_s, load, rss_mb

RATIO_BUDGET = 1.5
TTL_S = 5.0
WARM = 8
"""Seconds in which agents join and regions settle; not counted."""
COUNTED = 6
Server = Callable[[], AbstractContextManager[tuple[int, str]]]


def cpu_per_report_us(server: Server, agents: int) -> float:
    """At one report a second and agent."""
    with server() as (pid, address), load(address, agents, float(agents), WARM + COUNTED + 0.5) as lines:
        samples = [(cpu_s(pid), line["reports"]) for line in lines if "reports" in line]
    (cpu_0, reports_0), (cpu_1, reports_1) = samples[WARM - 1], samples[-1]
    return (cpu_1 - cpu_0) / (reports_1 - reports_0) * 1e6


def highest_rate() -> float:
    """The most reports a second whose answers still come within a quarter of the TTL."""
    best = 0.0
    for rate in (1000, 2000, 3000, 4000, 6000, 8000):
        with coordinator() as (_, address), load(address, 200, float(rate), 4.5) as lines:
            found = [line for line in lines if "reports" in line][1:]
        reached = (found[-1]["reports"] - found[0]["reports"]) / (found[-1]["at"] - found[0]["at"])
        if reached < 0.8 * rate or any(line["p99"] is None or line["p99"] > TTL_S / 4 for line in found):
            break
        best = reached
    return best


def memory_per_session_kb(agents: int = 1000) -> float:
    with coordinator() as (pid, address):
        before = rss_mb(pid)
        with load(address, agents, float(agents), 4.0) as lines:
            during = [rss_mb(pid) for line in lines if "reports" in line]
    return (during[-1] - before) * 1000 / agents


def run(rounds: int = 3) -> list[Row]:
    rows = []
    for agents in (100, 1000):
        pairs = [(cpu_per_report_us(coordinator, agents), cpu_per_report_us(bare, agents)) for _ in range(rounds)]
        ours, floor = sorted(pairs, key=lambda pair: pair[0] / pair[1])[len(pairs) // 2]
        rows.append(Row(f"coordinator: CPU per report, {agents} agents at 1 Hz", ours, "us", "bare server", floor,
                        RATIO_BUDGET))  # fmt: skip
    rows.append(Row("coordinator: reports answered within T/4", highest_rate(), "per second"))
    memory = statistics.median(memory_per_session_kb() for _ in range(1))
    rows.append(Row("coordinator: memory per session, 1,000 agents", memory, "kB"))
    return rows

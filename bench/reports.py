"""What reports cost the coordinator, over a bare server that parses the same and answers; and how many it takes."""

from __future__ import annotations

import statistics
import time

from bench.rows import Row
from bench.servers import Agents, Server, Start, agents, bare, coordinator, cpu_s

RATIO_BUDGET = 1.5
TTL_S = 5.0
"""Of the default policy."""
SETTLE_S = 6.0
"""After everybody joined: regions become healthy, one is elected, all hear of it."""
WINDOW_S = 2.0
WINDOWS = 3
RATES = (1000, 2000, 4000, 5000, 6000, 8000)
RATE_S = 1.5
BARE_SETTLE_S = 1.0
REACHED = 0.9
"""Share of a rate that must come about for it to count."""


def _cpu_per_report_us(server: Server, load: Agents) -> float:
    cpu_before = cpu_s(server.pid)
    load.sample()
    time.sleep(WINDOW_S)
    reports = load.sample().answers
    return (cpu_s(server.pid) - cpu_before) / reports * 1e6


def measure_cost(start: Start, count: int, settle_s: float = SETTLE_S, windows: int = WINDOWS) -> list[float]:
    """Microseconds of the server's CPU for each report, at one report a second and agent; one figure a window."""
    with start() as server, agents(server.address, count) as load:
        time.sleep(settle_s)
        return [_cpu_per_report_us(server, load) for _ in range(windows)]


def highest_rate(start: Start, count: int = 200) -> float:
    """The most reports a second whose answers still all come within a quarter of the TTL."""
    best = 0.0
    with start() as server, agents(server.address, count) as load:
        time.sleep(SETTLE_S / 2)
        for rate in RATES:
            load.set_rate(rate)
            time.sleep(RATE_S / 2)
            load.sample()
            began = time.monotonic()
            time.sleep(RATE_S)
            found = load.sample()
            answered = found.answers / (time.monotonic() - began)
            if found.worst_s > TTL_S / 4:
                break
            best = max(best, answered)
            if answered < REACHED * rate:
                break
    return best


def run(rounds: int = 2) -> list[Row]:
    rows = []
    for count in (100, 1000):
        ours: list[float] = []
        floor: list[float] = []
        for _ in range(rounds):
            ours += measure_cost(coordinator, count)
            floor += measure_cost(bare, count, BARE_SETTLE_S)
        name = f"reports: coordinator CPU each, {count} agents at 1 Hz"
        rows.append(
            Row(name, statistics.median(ours), "us", "bare server", statistics.median(floor), RATIO_BUDGET),
        )
    rates = highest_rate(coordinator), highest_rate(bare)
    rows.append(Row("reports: answered within T/4", rates[0], "per second", "bare server", rates[1]))
    return rows

"""What it costs to look at groups once a second, and how long questions about the past take."""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from primacy_coordinator.core import events
from primacy_coordinator.core.glance import Looks
from primacy_coordinator.core.monitor.model import Aggregation
from primacy_coordinator.core.monitor.monitor import Monitor
from primacy_coordinator.core.monitor.packing import pack
from primacy_coordinator.core.monitor.queries import Query, answer, extract
from primacy_coordinator.core.monitor.rows import Stat
from primacy_coordinator.core.monitor.series import Key
from primacy_coordinator.core.monitor.tiers import HOUR_S, MINUTE_S, Block, Limits
from primacy_coordinator.store.metrics import Kept, SqliteMetrics
from primacy_wire.collector import calm_collector
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS, Now
from primacy_wire.messages import PeerSight
from primacy_wire.sketch import Sketch

from bench import core_events
from bench.measured_group import MeasuredGroup
from bench.reports import SETTLE_S, measure_cost
from bench.rows import Row, percentile
from bench.servers import coordinator

RATIO_BUDGET = 1.3
LOOK_MS_BUDGET = 10.0
BEGIN_S = 1_700_000_000 // HOUR_S * HOUR_S
REGIONS = [f"region-{number}" for number in range(8)]
NAMES = ("request_rate", "failed_rate", "error_rate")


def run(
    agents: int = 100,
    rounds: int = 2,
    settle_s: float = SETTLE_S,
    look_agents: int = 200,
    regions: int = 50,
    days: int = 31,
) -> list[Row]:
    return [
        *reports(agents, rounds, settle_s),
        *looks(look_agents, regions),
        core(agents),
        *asyncio.run(questions(days)),
    ]


def reports(agents: int, rounds: int, settle_s: float) -> list[Row]:
    """CPU per report of whole coordinators, with monitoring and alerts and without."""
    watched: list[float] = []
    unwatched: list[float] = []
    for _ in range(rounds):
        watched += measure_cost(coordinator, agents, settle_s)
        unwatched += measure_cost(partial(coordinator, "bench.unwatched_coordinator"), agents, settle_s)
    name = f"metrics: coordinator CPU per report, {agents} agents at 1 Hz"
    floor = statistics.median(unwatched)
    return [Row(name, statistics.median(watched), "us", "without monitoring", floor, RATIO_BUDGET)]


# ---- looks


def looks(agents: int, regions: int, seconds: int = 120) -> list[Row]:
    """One look at a real group, the copy and what it becomes; and the longest of all bits of work behind it."""
    core_events.REGIONS, before = regions, core_events.REGIONS
    drive = core_events._Drive(agents)
    core_events.REGIONS = before
    sights = tuple(
        PeerSight(f"r{number}", peer, True, 5 * MILLISECOND_NS)
        for number in range(regions)
        for peer in ("", f"r{number}/a")
    )
    made = MeasuredGroup(regions, agents, 20)
    calm_collector()
    monitor, onlooker = Monitor(drive.now, Limits.of(512 << 20)), Looks()
    took: list[float] = []
    bits: list[float] = []
    for number in range(1, seconds + 1):
        drive.now = drive.now.plus(SECOND_NS)
        for agent in range(1, agents + 1):
            report = core_events._report(agent, number, 1 if agent in drive.holders else 0)
            drive.post(events.Heard(agent, replace(report, sights=sights)))
        drive.post(events.TimePassed())
        measured = made.look().measured
        began_ns = time.thread_time_ns()
        seen = drive.group.glance(drive.now, onlooker)
        monitor.look(drive.now, replace(seen, measured=measured))
        took.append((time.thread_time_ns() - began_ns) / 1e6)
        working = True
        while working:
            began_ns = time.thread_time_ns()
            working = monitor.work()
            bits.append((time.thread_time_ns() - began_ns) / 1e6)
    where = f"{regions} regions, {agents} agents"
    return [
        Row(f"metrics: one look, {where}, p50", percentile(took, 0.5), "ms", budget=LOOK_MS_BUDGET),
        Row("metrics: the same, p99", percentile(took, 0.99), "ms", budget=LOOK_MS_BUDGET),
        Row("metrics: work behind each look, 20 series an agent", sum(bits) / seconds, "ms"),
        Row("metrics: the longest bit of it, p99.9", percentile(bits, 0.999), "ms", budget=LOOK_MS_BUDGET),
    ]


def core(agents: int, regions: int = 10, seconds: int = 60) -> Row:
    """A second of the core alone, no wire and no disk: its reports with a look, beside its reports."""
    core_events.REGIONS, before = regions, core_events.REGIONS
    drive = core_events._Drive(agents)
    core_events.REGIONS = before
    monitor, onlooker = Monitor(drive.now), Looks()
    handled_ns = looked_ns = 0
    for number in range(1, seconds + 1):
        drive.now = drive.now.plus(SECOND_NS)
        reports = [
            core_events._report(agent, number, 1 if agent in drive.holders else 0) for agent in range(1, agents + 1)
        ]
        began_ns = time.thread_time_ns()
        for agent, report in enumerate(reports, 1):
            drive.post(events.Heard(agent, report))
        drive.post(events.TimePassed())
        handled_ns += time.thread_time_ns() - began_ns
        began_ns = time.thread_time_ns()
        monitor.look(drive.now, drive.group.glance(drive.now, onlooker))
        while monitor.work():
            pass
        looked_ns += time.thread_time_ns() - began_ns
    name = f"metrics: the core alone, a second of {agents} agents with a look"
    return Row(name, (handled_ns + looked_ns) / seconds / 1e6, "ms", "without", handled_ns / seconds / 1e6)


# ---- questions


async def questions(days: int) -> list[Row]:
    """Eight regions over the whole time that is kept: hours for a month, minutes for a week."""
    with tempfile.TemporaryDirectory() as folder:
        end = BEGIN_S + days * 24 * HOUR_S
        store = SqliteMetrics(Path(folder) / "metrics.db", Kept(), clock=lambda: float(end))
        await _fill(store, end, days)
        monitor = Monitor(Now(SECOND_NS, end * SECOND_NS), Limits.of(512 << 20))
        monitor.load(await store.load("default", HOUR_S, end - days * 24 * HOUR_S, end))
        monitor.load(await store.load("default", MINUTE_S, end - 6 * HOUR_S, end))
        made = MeasuredGroup(len(REGIONS), len(REGIONS), 1)
        for second in range(end, end + HOUR_S):
            gauges = [(Key(name, region), 1.0) for name in NAMES for region in REGIONS]
            monitor.tiers.put(second, gauges, made.look().measured)
            while monitor.work():
                pass
        rows = []
        for title, length_s, step_s in (
            ("15 min, steps of 5 s", 15 * MINUTE_S, 5),
            ("6 h, steps of 2 min", 6 * HOUR_S, 2 * MINUTE_S),
            ("7 days, steps of 1 h", 7 * 24 * HOUR_S, HOUR_S),
            (f"{days} days, steps of 4 h", days * 24 * HOUR_S, 4 * HOUR_S),
        ):
            now = end + HOUR_S
            gauge = Query("error_rate", now - length_s, now, step_s)
            quantile = Query(
                "latency_seconds", now - length_s, now, step_s, together=True, aggregation=Aggregation.QUANTILE
            )
            for what, query in (("error_rate by region", gauge), ("p99 of all regions", quantile)):
                times = [await _ask(monitor, store, query) for _ in range(5)]
                rows.append(Row(f"metrics: {what}, {title}", statistics.median(times), "ms"))
        await store.close()
        return rows


async def _ask(monitor: Monitor, store: SqliteMetrics, query: Query) -> float:
    began = time.perf_counter()
    found = extract(monitor.tiers, query)
    if found.begin > query.first:
        names = (query.series, *sorted(found.slots.keys() - {query.series}))
        span = HOUR_S if found.query.step >= HOUR_S else MINUTE_S
        found.add_old(await store.steps("default", names, query.first, found.begin, span))
    lines = answer(found)
    if not lines:
        raise RuntimeError(f"nothing was found of {query}")
    return (time.perf_counter() - began) * 1e3


async def _fill(store: SqliteMetrics, end: int, days: int) -> None:
    draw = random.Random(1)
    sketches = []
    for _ in range(50):
        sketch = Sketch()
        for _ in range(200):
            sketch.add(draw.lognormvariate(-4, 1))
        sketches.append(pack(sketch))
    minutes_s = min(days, 7) * 24 * HOUR_S
    steps = [(at, HOUR_S) for at in range(end - days * 24 * HOUR_S, end - HOUR_S, HOUR_S)]
    steps += [(at, MINUTE_S) for at in range(end - minutes_s, end, MINUTE_S)]
    for start, span in steps:
        while store.waiting > 60:
            await store.load_alerts("default")
        value = draw.random()
        gauges = tuple(
            (Key(name, region), Stat(value, value, value, value, span)) for name in NAMES for region in REGIONS
        )
        latencies = tuple((Key("latency_seconds", region), draw.choice(sketches)) for region in REGIONS)
        store.put("default", Block(start, span, gauges, latencies))
    while store.waiting or store.making:
        await store.load_alerts("default")

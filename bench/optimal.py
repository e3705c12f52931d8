"""What a plan of OPTIMAL costs, beside a real solver on the same problem, and what explaining one costs."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from primacy_coordinator.core.causes import explain
from primacy_coordinator.core.model import RegionStatus, RoutingStrategy
from primacy_coordinator.core.nearness import measured_rtts, rtts_ns
from primacy_coordinator.core.planning import FILL
from primacy_coordinator.core.routing import RegionInput, WeightsInput, weigh
from primacy_wire.instant import MILLISECOND_NS
from primacy_wire.messages import Load

from bench.rows import Row

SEED = 21
BUDGET_MS = 20.0
DEMAND = {"plenty of room": 0.4, "tight": 0.79, "overload": 1.3}
"""The demand of all as a part of all capacity."""


def crowd(seed: int, regions: int, demand: float, at_random: bool) -> WeightsInput:
    """Regions of all sizes, with a demand that has nothing to do with where the capacity is.

    `at_random`: round trips that follow from no map, which makes for the longest chains of who makes room for whom.
    """
    draw = random.Random(seed)
    capacities = [draw.uniform(10, 1000) for _ in range(regions)]
    demands = [draw.uniform(10, 1000) for _ in range(regions)]
    scale = demand * sum(capacities) / sum(demands)
    made = tuple(
        RegionInput(
            f"r{n:02}",
            RegionStatus.HEALTHY,
            (draw.uniform(-60, 60), draw.uniform(-180, 180)),
            capacity,
            1.0,
            1.0,
            Load(),
            demand=wanted * scale,
        )
        for n, (capacity, wanted) in enumerate(zip(capacities, demands, strict=True))
    )
    rtts = tuple(
        (one.name, other.name, draw.randrange(5 * MILLISECOND_NS, 300 * MILLISECOND_NS))
        for one in made
        for other in made
        if one is not other and at_random
    )
    return WeightsInput(RoutingStrategy.OPTIMAL, made, "r00", (), rtts, 0.5, 1.4)


def cpu_ms(work: Callable[[], object], rounds: int = 3) -> float:
    """CPU time of the best of a few rounds: what the work costs, not what else this machine did."""
    found = []
    for _ in range(rounds):
        began_ns = time.process_time_ns()
        work()
        found.append((time.process_time_ns() - began_ns) / 1e6)
    return min(found)


def run(regions: int = 50, instances: int = 8) -> list[Row]:
    """The worst of several random groups of each kind."""
    rows = []
    hardest, hardest_ms = crowd(SEED, regions, 1.0, at_random=True), 0.0
    for name, demand in DEMAND.items():
        given = [crowd(SEED + n, regions, demand, at_random=n % 2 == 0) for n in range(instances)]
        costs = [cpu_ms(partial(weigh, one)) for one in given]
        dearest = max(costs)
        worst = given[costs.index(dearest)]
        if dearest > hardest_ms:
            hardest, hardest_ms = worst, dearest
        what = f"optimal: weights of {regions} x {regions}, {name}"
        rows.append(Row(what, dearest, "ms CPU", "HiGHS alone", _peer_ms(worst)))
    rows.append(Row(f"optimal: the dearest of {len(DEMAND) * instances}", hardest_ms, "ms CPU", budget=BUDGET_MS))
    fading = replace(hardest, regions=tuple(replace(r, ramp=0.5) if n % 5 == 0 else r
                                            for n, r in enumerate(hardest.regions)))  # fmt: skip
    rows.append(Row("optimal: the same with slow starts", cpu_ms(partial(weigh, fading)), "ms CPU", budget=BUDGET_MS))
    sick = replace(fading, regions=tuple(replace(r, status=RegionStatus.DOWN) if n == 1 else r
                                         for n, r in enumerate(fading.regions)))  # fmt: skip
    for name, case in (("all well", hardest), ("slow starts and a dead region", sick)):
        ms = cpu_ms(partial(explain, case, weigh(case).read))
        rows.append(Row(f"optimal: causes of every share, {name}, when asked", ms, "ms CPU"))
    return rows


def _peer_ms(given: WeightsInput) -> float | None:
    """What HiGHS takes for the same linear program, without the time to write it down; None: scipy is not here."""
    try:
        import numpy as np
        from scipy.optimize import linprog
        from scipy.sparse import eye_array, kron
    except ImportError:
        return None
    count = len(given.regions)
    measured = measured_rtts(given.rtts)
    costs = [list(rtts_ns(client, given.regions, measured).values()) for client in given.regions]
    demand = np.array([region.demand for region in given.regions])
    capacity = np.array([region.capacity for region in given.regions])
    fill = max(FILL, demand.sum() / capacity.sum() * (1 + 1e-9))
    per_client = kron(eye_array(count), np.ones((1, count))).tocsr()
    per_place = kron(np.ones((1, count)), eye_array(count)).tocsr()
    weights = np.array(costs, float).ravel() / MILLISECOND_NS
    return cpu_ms(lambda: linprog(weights, per_place, capacity * fill, per_client, demand, method="highs"))

"""How often weights change under signals that are noise, shaped and not, and what computing them costs."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from itertools import pairwise

from primacy_coordinator.core.causes import explain
from primacy_coordinator.core.model import Policy, RegionStatus, RoutingStrategy
from primacy_coordinator.core.routing import RegionInput, WeightsInput, weigh
from primacy_coordinator.core.shaping import Shaped, is_urgent, shape
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.messages import Load

from bench.rows import Row

SEED = 20
ERRORS_MEAN, ERRORS_SPREAD = 0.02, 0.01
RTT_SPREAD = 0.05


def _noisy(draw: random.Random, strategy: RoutingStrategy) -> WeightsInput:
    """Three healthy regions, whose figures wander as measured ones do."""
    names = ("ap", "eu", "us")
    regions = tuple(
        RegionInput(
            name,
            RegionStatus.HEALTHY,
            None,
            100.0,
            1.0,
            1.0,
            Load(error_rate=max(0.0, draw.gauss(ERRORS_MEAN, ERRORS_SPREAD))),
        )
        for name in names
    )
    base = {("ap", "eu"): 130, ("ap", "us"): 210, ("eu", "us"): 90}
    rtts = tuple(
        (one, other, int(base[min(one, other), max(one, other)] * MILLISECOND_NS * draw.gauss(1.0, RTT_SPREAD)))
        for one in names
        for other in names
        if one != other
    )
    return WeightsInput(strategy, regions, "ap", (), rtts, 0.5, 1.4)


def _changes_per_minute(strategy: RoutingStrategy, slew: float, hysteresis: float, minutes: int) -> float:
    draw = random.Random(SEED)
    shaped, before, changes = Shaped(), None, 0
    for _ in range(60 * minutes):
        given = _noisy(draw, strategy)
        rows = shaped.rows
        shaped = shape(shaped, weigh(given).read, SECOND_NS, slew, hysteresis, is_urgent(before, given))
        before = given
        changes += bool(rows) and shaped.rows != rows
    return changes / minutes


def _crowd(count: int) -> WeightsInput:
    """Many regions with measured round trips, one of them on its way back."""
    draw = random.Random(SEED)
    regions = tuple(
        RegionInput(f"r{n:02}", RegionStatus.HEALTHY, (draw.uniform(-60, 60), draw.uniform(-180, 180)), 100.0, 1.0,
                    1.0, Load())
        for n in range(count)
    )  # fmt: skip
    rtts = tuple(
        (one.name, other.name, draw.randrange(5, 300) * MILLISECOND_NS)
        for one in regions
        for other in regions
        if one is not other
    )
    return WeightsInput(RoutingStrategy.LATENCY, regions, "r00", (), rtts, 0.5, 1.4)


def run(minutes: int = 60, regions: int = 50, rounds: int = 20) -> list[Row]:
    """Changes of the weights a minute with the default shaping against none, and the cost of one computation."""
    policy = Policy()
    found = []
    for strategy in (RoutingStrategy.HEALTH, RoutingStrategy.LATENCY):
        raw = _changes_per_minute(strategy, 1.0, 0.0, minutes)
        shaped = _changes_per_minute(strategy, policy.weight_slew, policy.weight_hysteresis, minutes)
        name = f"weights: changes a minute under noise, {strategy.name}"
        found.append(Row(name, shaped, "", "without shaping", raw, 0.1))
    given = _crowd(regions)
    others = tuple(replace(given, regions=(*given.regions[:-1], replace(given.regions[-1], ramp=n / rounds)))
                   for n in range(rounds))  # fmt: skip
    began_ns = time.process_time_ns()
    plain = [weigh(other).read for other in others]
    plain_ns = time.process_time_ns() - began_ns
    shaped_rows = Shaped(plain[0], plain[0])
    began_ns = time.process_time_ns()
    for before, other in pairwise(others):
        wish = weigh(other).read
        shaped_rows = shape(shaped_rows, wish, SECOND_NS, policy.weight_slew, policy.weight_hysteresis,
                            is_urgent(before, other))  # fmt: skip
    shaped_ns = (time.process_time_ns() - began_ns) * rounds // (rounds - 1)
    began_ns = time.process_time_ns()
    explain(given, plain[0])
    explained_ns = time.process_time_ns() - began_ns
    found.append(
        Row(
            f"weights: one computation, {regions} regions, shaped",
            shaped_ns / rounds / 1e6,
            "ms CPU",
            "not shaped",
            plain_ns / rounds / 1e6,
            2.0,
        )
    )
    found.append(Row(f"weights: causes of every share, {regions} regions, when asked", explained_ns / 1e6, "ms CPU"))
    return found

"""Schedules of faults: what a seed makes of the world."""

from __future__ import annotations

import random
from collections import Counter

from primacy_wire.instant import SECOND_NS

from tests.simulation.world.network import FAIR, Weather
from tests.simulation.world.world import Options, World

ALL = ("cut", "pause", "restart", "twin", "crash", "health", "move", "ttl", "wall", "store", "late", "leave")
LAYOUTS = (
    {"ap": 1, "eu": 1, "us": 1},
    {"ap": 2, "eu": 1, "us": 1},
    {"ap": 2, "eu": 2},
    {"ap": 1, "eu": 1},
    {"ap": 1, "eu": 2, "sa": 1, "us": 1},
)


def options_of(seed: int) -> Options:
    """Each seed draws its own mixture, so that some faults meet often and others stay away."""
    draw = random.Random(seed * 7919 + 1)
    usual = [fault for fault in ALL if fault not in ("store", "twin")]
    chosen = draw.sample(usual, draw.randint(2, len(usual)))
    if draw.random() < 0.25:
        chosen.append("store")
    if draw.random() < 0.3:
        chosen.append("twin")
    # What matters most comes more often.
    faults = tuple(sorted(chosen) + [fault for fault in ("cut", "pause", "crash") if fault in chosen])
    weather = draw.choice([FAIR, Weather(), Weather(), Weather(loss=0.1, double=0.05, late=0.05)])
    return Options(
        regions=draw.choice(LAYOUTS),
        weather=weather,
        faults=faults,
        fault_every_ns=draw.choice([2, 4, 8]) * SECOND_NS,
        refuse=draw.choice([0.0, 0.0, 0.02]),
    )


def run_seed(seed: int, options: Options | None = None, length_ns: int = 90 * SECOND_NS) -> Counter[str]:
    """One schedule, healed at its end. Raises Broken. Returns how often each mechanism fired."""
    world = World(seed, options or options_of(seed))
    world.begin()
    world.run_for(length_ns)
    world.heal()
    world.expect_settled()
    world.counts["epochs"] = world.coordinator.disk.lease.epoch
    return world.counts

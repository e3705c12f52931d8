"""Schedules of faults: what a seed makes of the world."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from primacy_coordinator.core.log_model import ConflictPolicy, Durability
from primacy_coordinator.core.model import ApprovalAction, Failback, Limits, RoutingStrategy
from primacy_wire.instant import SECOND_NS

from tests.simulation.world.fleet import Fleet
from tests.simulation.world.network import FAIR, Weather
from tests.simulation.world.operators import COMMANDS
from tests.simulation.world.options import HookPlan, Options
from tests.simulation.world.settling import expect_settled, heal
from tests.simulation.world.world import World

LEASE = (
    "cut",
    "pause",
    "restart",
    "twin",
    "crash",
    "health",
    "move",
    "ttl",
    "ttl_amid",
    "wall",
    "store",
    "late",
    "leave",
)
"""What attacks the lease."""
SERVICES = ("flap", "double", "blind", "limp", "lag", "sessions", "others")
"""What makes moves begin, and holds them back."""
LOG = ("write", "write", "write", "write", "full")
"""What the log is made of."""
LAYOUTS = (
    {"ap": 1, "eu": 1, "us": 1},
    {"ap": 2, "eu": 1, "us": 1},
    {"ap": 2, "eu": 2},
    {"ap": 1, "eu": 1},
    {"ap": 1, "eu": 2, "sa": 1, "us": 1},
)
HOOKS = (
    HookPlan(),
    HookPlan(fails=0.3, hangs=0.1, late=0.2),
    HookPlan(demote=False, fails=0.3, hangs=0.2),
    HookPlan(promote=False, fails=0.2, hangs=0.2),
)


def options_of(seed: int) -> Options:
    """Each seed draws its own mixture, so that some faults meet often and others stay away."""
    draw = random.Random(seed * 7919 + 1)
    options = _with_lease_faults(draw)
    if draw.random() < 0.7:
        options = _with_operations(options, draw)
    return _with_log(options, draw) if draw.random() < 0.6 else options


def lease_options_of(seed: int) -> Options:
    """What attacks the lease, and nothing else."""
    return _with_lease_faults(random.Random(seed * 7919 + 1))


def _with_lease_faults(draw: random.Random) -> Options:
    usual = [fault for fault in LEASE if fault not in ("store", "twin")]
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


def _with_operations(options: Options, draw: random.Random) -> Options:
    """The same with trouble in the services and operators at work."""
    faults = draw.sample(options.faults, len(options.faults) // 2)
    faults += draw.sample(SERVICES, draw.randint(1, len(SERVICES)))
    faults += draw.sample(COMMANDS, draw.randint(0, len(COMMANDS)))
    settings: dict[str, object] = {
        "failback": draw.choice([Failback.MANUAL, Failback.AUTO, Failback.NEVER]),
        "read_strategy": draw.choice([RoutingStrategy.ACTIVE_ONLY, RoutingStrategy.ROUND_ROBIN]),
        "flap_limit": draw.choice([2.0, 3.0]),
        "hold_down_ns": draw.choice([10, 30]) * SECOND_NS,
        "failback_after_ns": 30 * SECOND_NS,
    }
    if draw.random() < 0.5:
        faults += ["lag", "lag"]
        settings["max_loss"] = Limits(age_ns=2 * SECOND_NS)
        settings["approval_action"] = draw.choice([ApprovalAction.WAIT, ApprovalAction.MOVE])
    return replace(
        options,
        faults=tuple(sorted(faults)),
        settings=settings,
        hooks=draw.choice([None, *HOOKS]),
        priorities=draw.choice([{}, {"ap": 120, "eu": 110}]),
        failovers_max=draw.choice([1, 1, 3]),
    )


def _with_log(options: Options, draw: random.Random) -> Options:
    """The same with services that write documents."""
    settings = {
        **options.settings,
        "conflict_policy": draw.choice(list(ConflictPolicy)),
        "durability": draw.choice(list(Durability)),
    }
    return replace(options, faults=tuple(sorted((*options.faults, *LOG))), settings=settings)


def run_seed(seed: int, options: Options | None = None, length_ns: int = 90 * SECOND_NS) -> Counter[str]:
    """One schedule, healed at its end. Raises Broken. Returns how often each mechanism fired."""
    options = options or options_of(seed)
    if options.groups > 1:
        return Fleet(seed, options).run(length_ns)
    world = World(seed, options)
    world.begin()
    world.run_for(length_ns)
    heal(world)
    expect_settled(world)
    world.counts["epochs"] = world.coordinator.disk.lease.epoch
    return world.counts

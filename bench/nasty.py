"""Nasty schedules: what the product's defaults make of faults that come and go, beside two simpler policies.

The real cores of coordinator, agents and probes run in the simulator's world, under virtual time. All policies meet the
same faults at the same instants. Nothing here is a figure of this machine: the same seeds give the same figures.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, fields
from statistics import mean

from primacy_agent.core.probing import Look, Verdicts, Watched
from primacy_coordinator.core.model import Failback, Policy, RoutingStrategy
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.messages import ServiceHealth

from bench.rows import Row
from tests.simulation.world.coordinator import NAME
from tests.simulation.world.faults import cut_links, set_healthy
from tests.simulation.world.machines import Machine
from tests.simulation.world.network import Network
from tests.simulation.world.options import Options
from tests.simulation.world.world import World

SEEDS = 4
LENGTH_NS = 600 * SECOND_NS
STEP_NS = 100 * MILLISECOND_NS
"""How often the world is looked at."""
SETTLED_NS = 15 * SECOND_NS
PROBE_NS = SECOND_NS
PROBE_JITTER = 0.1
"""As the agent's configuration has them by default."""
HOME = "ap"
"""The region that is best by priority, hence active at first; faults that stay at one place are here."""
PRIORITIES = {HOME: 120, "eu": 110, "us": 100}
FLAP_HALF_NS = 1500 * MILLISECOND_NS
FLAP_SHARE = 0.25
"""The part of the time in which the service flaps; it is well in the rest."""

DEFAULTS, AT_ONCE, SLOW = "defaults", "at once", "slow"
POLICIES = {
    DEFAULTS: Policy(),
    AT_ONCE: Policy(
        grace_ns=0,
        first_wait_ns=0,
        stable_for_ns=0,
        flap_limit=1e9,
        hold_down_ns=0,
        cool_down_ns=0,
        failback=Failback.AUTO,
        failback_after_ns=0,
        slow_start_ns=0,
        weight_slew=1.0,
        weight_hysteresis=0.0,
    ),
    SLOW: Policy(grace_ns=30 * SECOND_NS, failback=Failback.NEVER),
}
"""The product's; what a mere health check with the least patience does; and one that moves late and never back."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one schedule came to under one policy."""

    moves: float
    """New epochs."""
    dark_s: float
    """How long writes were not served: nobody was active, or the service of the active region was down."""
    lost: float
    """The share of reads that the weights in force sent to instances that failed; mean over client regions."""


class ProbedMachine(Machine):
    """A machine whose agent sees its service as the real one does: by probes, with the default rise and fall."""

    def __init__(self, bare: Machine, refuses: bool, instances: int = 2) -> None:
        super().__init__(bare.region, bare.agent, bare.clock)
        self.instances = self.instances_well = instances
        self._names = [f"instance-{number}" for number in range(self.instances)]
        self._verdicts = Verdicts([Watched(name, name) for name in self._names])
        self._refuses = refuses

    def well_share(self) -> float:
        """The part of its instances that works."""
        return self.instances_well / self.instances if self.healthy else 0.0

    def look(self, now_ns: int) -> bool:
        """One look of every probe. Returns whether the verdict changed."""
        before = self.health()
        for number, name in enumerate(self._names):
            well = self.healthy and number < self.instances_well
            look = Look(well, "ok" if well else "failing", certain=not well and self._refuses)
            self._verdicts.take(name, look, now_ns)
        after = self.health()
        return (before.state, before.healthy) != (after.state, after.healthy)

    def health(self) -> ServiceHealth:
        return self._verdicts.health()


class Streams(Network):
    """Links that carry messages in their order, as the sessions' streams do; all take equally long."""

    def delays_ns(self, source: str, target: str) -> list[int]:
        return [] if (source, target) in self.cuts else [self.weather.delay_ns]


# ---- schedules: each lays out its faults in `length_ns`, from `draw` alone


Schedule = Callable[[World, random.Random, int], None]


def _flap(world: World, draw: random.Random, length_ns: int) -> None:
    """The service at home goes down for 1.5 s every 3 s, for the first quarter of the time; then it is well."""
    at_ns = draw.randint(0, 3 * SECOND_NS)
    while at_ns < length_ns * FLAP_SHARE:
        world.after(at_ns, "fault", set_healthy, world, HOME, False)
        world.after(at_ns + FLAP_HALF_NS, "fault", set_healthy, world, HOME, True)
        at_ns += 2 * FLAP_HALF_NS


def _link(world: World, draw: random.Random, length_ns: int) -> None:
    """Once a minute the coordinator loses whichever region is active then, for 20 s; peers reach it."""
    for minute_ns in range(0, length_ns - 30 * SECOND_NS, 60 * SECOND_NS):
        world.after(minute_ns + draw.randint(0, 10 * SECOND_NS), "fault", _cut_active, world)


def _cut_active(world: World) -> None:
    machines = world.machines_of(world.known() or HOME)
    cut_links(world, {link for m in machines for link in ((m.key, NAME), (NAME, m.key))}, 20 * SECOND_NS)


def _brown_out(world: World, draw: random.Random, length_ns: int) -> None:
    """Half of the instances at home fail for 5 to 20 s, and work for as long, over and over."""
    at_ns, well = draw.randint(0, 10) * SECOND_NS, False
    while at_ns < length_ns:
        world.after(at_ns, "fault", _set_limping, world, not well)
        at_ns, well = at_ns + draw.randint(5 * SECOND_NS, 20 * SECOND_NS), not well


def _set_limping(world: World, limping: bool) -> None:
    for machine in world.machines_of(HOME):
        machine.instances_well = machine.instances // 2 if limping else machine.instances


def _slow_host(world: World, draw: random.Random, length_ns: int) -> None:
    """The agent at home stands still for 2 to 6 s, every 10 to 30 s; its service works on."""
    at_ns = draw.randint(0, 10 * SECOND_NS)
    while at_ns < length_ns:
        world.after(at_ns, "fault", _stand_still, world, draw.randint(2 * SECOND_NS, 6 * SECOND_NS))
        at_ns += draw.randint(10 * SECOND_NS, 30 * SECOND_NS)


def _stand_still(world: World, stall_ns: int) -> None:
    for life in world.lives:
        if life.machine.region == HOME:
            life.paused_until = world.time_ns + stall_ns


@dataclass(frozen=True, slots=True)
class Setting:
    """A schedule, and what is the same under every policy."""

    lay_out: Schedule
    refuses: bool = True
    """A service that is down refuses connections, which leaves its probes no doubt; else it answers by errors."""
    read_strategy: RoutingStrategy = Policy().read_strategy


FLAPS = "flaps, refuses connections"
SETTINGS = {
    FLAPS: Setting(_flap),
    "flaps, answers by errors": Setting(_flap, refuses=False),
    "link of the active region cut": Setting(_link),
    "half of the instances fail": Setting(_brown_out),
    "the same, reads by HEALTH": Setting(_brown_out, read_strategy=RoutingStrategy.HEALTH),
    "slow host": Setting(_slow_host),
}


# ---- one run


def measure(setting: Setting, policy: Policy, seed: int, length_ns: int = LENGTH_NS) -> Found:
    """One schedule under one policy. Raises `Broken` when an invariant does not hold."""
    settings = {field.name: getattr(policy, field.name) for field in fields(policy)}
    settings["read_strategy"] = setting.read_strategy
    options = Options(
        dict.fromkeys(PRIORITIES, 1),
        slow_disk=0.0,
        drift_ppm=policy.drift_ppm,
        settings=settings,
        priorities=PRIORITIES,
        trace_kept=0,
    )
    world = World(seed, options)
    machines = [ProbedMachine(machine, setting.refuses) for machine in world.machines]
    world.machines[:] = machines
    world.network = Streams(world.draw, options.weather)
    world.begin()
    draw = random.Random(seed)
    for machine in machines:
        _probe(world, machine, random.Random(draw.random()))
    world.run_for(SETTLED_NS)
    if world.active() != {HOME}:
        world.fail("bench", f"{world.active()} active before any fault")
    setting.lay_out(world, draw, length_ns)
    return _watch(world, machines, length_ns)


def _probe(world: World, machine: ProbedMachine, draw: random.Random) -> None:
    """Look at the service, and report at once what changed; an agent that stands still does not look."""
    for life in world.lives:
        if life.machine is machine and life.paused_until <= world.time_ns:
            changed = machine.look(life.now().mono_ns)
            if changed and life.connection:
                life.report()
    delay_ns = int(PROBE_NS * (1 - PROBE_JITTER * draw.random()))
    world.after(delay_ns, "probe", _probe, world, machine, draw)


def _watch(world: World, machines: list[ProbedMachine], length_ns: int) -> Found:
    first_epoch = world.coordinator.disk.lease.epoch
    dark, lost = 0, 0.0
    steps = length_ns // STEP_NS
    for _ in range(steps):
        world.run_for(STEP_NS)
        well = {machine.region: machine.well_share() for machine in machines}
        dark += not any(well[region] for region in world.active())
        rows = [life.holder.rows.read for life in world.lives if life.holder.rows is not None]
        lost += mean(sum(share * (1 - well[region]) for region, share in row) for row in rows)
    return Found(world.coordinator.disk.lease.epoch - first_epoch, dark * STEP_NS / SECOND_NS, lost / steps)


def _mean(runs: list[Found]) -> Found:
    return Found(mean(run.moves for run in runs), mean(run.dark_s for run in runs), mean(run.lost for run in runs))


FIGURES: tuple[tuple[str, str, Callable[[Found], float]], ...] = (
    ("moves", "", lambda found: found.moves),
    ("writes not served", "s", lambda found: found.dark_s),
    ("reads lost", "%", lambda found: 100 * found.lost),
)


def run(seeds: int = SEEDS, length_ns: int = LENGTH_NS) -> list[Row]:
    """The defaults' means over the seeds; beside each those of the other policies, the ratio against the better one."""
    rows = []
    for name, setting in SETTINGS.items():
        found = {
            which: _mean([measure(setting, policy, seed, length_ns) for seed in range(1, seeds + 1)])
            for which, policy in POLICIES.items()
        }
        for what, unit, figure in FIGURES:
            ours, at_once, slow = (figure(found[which]) for which in (DEFAULTS, AT_ONCE, SLOW))
            beside = f"{AT_ONCE} {at_once:.3g}, {SLOW} {slow:.3g}; best"
            rows.append(Row(f"nasty: {name}: {what}", ours, unit, beside, min(at_once, slow)))
    return rows

"""Ours among the balancers: the real cores of coordinator and agents, in the simulator's world.

Not the weight functions alone: how soon a region is believed dead, what an agent knows of the load, when reports are
due, slow start, drains, shaping and what agents do by themselves are half of what a row is worth. So the rows that
requests follow here are made as in production: services tell their agents, these report to the coordinator's core,
that one weighs, shapes and pushes, and every message takes as long as the way is. Only sockets and disks are played.
"""

from __future__ import annotations

import random
from dataclasses import fields

from primacy_agent.core.observing import Sight
from primacy_agent.core.shunning import dead_regions, nearest_first, shifted
from primacy_agent.probes.peers import SOONER
from primacy_coordinator.core import events
from primacy_coordinator.core.model import Policy, RoutingStrategy
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.messages import Load, PeerSight, RegionSpec, RouteCount, ServiceState

from bench.nasty import PROBE_JITTER, PROBE_NS, ProbedMachine
from bench.traffic_policies import Shares
from bench.traffic_world import INSTANCES, STEP_S, Ground, rtt_s
from tests.simulation.world.agents import Life
from tests.simulation.world.coordinator import NAME
from tests.simulation.world.network import Network
from tests.simulation.world.options import Options
from tests.simulation.world.world import World

STEP_NS = round(STEP_S * SECOND_NS)
PEER_NS = SECOND_NS
"""Between two looks at another region; the default of the agent's configuration."""
RTT_SPREAD = 0.05
HOME = "us-east"
"""Where the coordinator runs: messages take half a round trip from there. It is not lost with the region."""
READ_CLASS = 1


class Site(ProbedMachine):
    """A region's machine, whose service is the ground's."""

    ground: Ground

    def load(self) -> Load:
        return self.ground.load(self.region)

    def follow(self) -> None:
        """See the service as it is now."""
        service = self.ground.services[self.region]
        self.healthy = not service.is_down
        self.instances_well = service.instances_well


class Edge(Life):
    """An agent that measures the ways to other regions and counts where its region's requests went."""

    world: Planet

    def begin(self) -> None:
        super().begin()
        self.seen = {
            name: Sight(name, "", f"{name}:80") for name in self.world.ground.names if name != self.machine.region
        }
        self.counted: dict[str, float] = {}
        for name in self.seen:
            self._look(name)

    def _look(self, name: str) -> None:
        """One look at the endpoint of another region. A dead service refuses, a dark region says nothing."""
        if self.dead:
            return
        here, draw, before = self.machine.region, self.world.noise, self.seen[name]
        heard = self.world.reaches(here, name)
        reached = heard and self.world.ground.services[name].serves
        rtt_ns = round(rtt_s(here, name) * SECOND_NS * max(0.5, draw.gauss(1, self.world.rtt_spread)))
        sight = self.seen[name] = before.after(reached, rtt_ns, self.now().mono_ns, certain=heard)
        if before.looked_ns and before.verdict != sight.verdict and self.connection:
            self.report()
        pause_ns = PEER_NS if sight.is_settled else PEER_NS / SOONER
        self.world.after(int(pause_ns * (1 - PROBE_JITTER * draw.random())), self.name, self._look, name)

    def spec(self) -> RegionSpec:
        site = self.world.ground.sites[self.machine.region]
        latitude, longitude = site.location
        return RegionSpec(latitude, longitude, capacity=site.capacity, endpoint=f"{self.machine.region}:80")

    def sights(self) -> tuple[PeerSight, ...]:
        now_ns = self.now().mono_ns
        return tuple(sight.report(now_ns) for _, sight in sorted(self.seen.items()))

    def routed(self) -> tuple[RouteCount, ...]:
        strategy = int(self.world.policy.read_strategy)
        return tuple(
            RouteCount(self.machine.region, name, READ_CLASS, strategy, "ok", round(count))
            for name, count in sorted(self.counted.items())
        )

    def row(self) -> Shares:
        """The row in force: the coordinator's, and what this agent makes of it by itself (I6)."""
        rows = self.holder.rows
        if rows is None:
            return {}
        sights, own = self.seen.values(), self.machine.region
        dead = dead_regions(sights, own, self.machine.health().state is ServiceState.DOWN)
        order = rows.fallback if rows.fallback is not None else nearest_first(sights, own)
        return dict(shifted(rows.read, dead, order, rows.drained, rows.local_shift_max, rows.room).row)


class Lines(Network):
    """Links that carry messages in order, in half a round trip; a dark region's carry nothing."""

    ground: Ground

    def delays_ns(self, source: str, target: str) -> list[int]:
        one, other = (HOME if end == NAME else end.partition("/")[0] for end in (source, target))
        dark = any(self.ground.services[end.partition("/")[0]].is_dark for end in (source, target) if end != NAME)
        return [] if dark else [max(MILLISECOND_NS // 2, round(rtt_s(one, other) * SECOND_NS / 2))]


class Planet(World):
    """The simulator's world on the ground."""

    life_type = Edge

    def __init__(self, seed: int, ground: Ground, policy: Policy, rtt_spread: float) -> None:
        settings = {field.name: getattr(policy, field.name) for field in fields(policy)}
        super().__init__(
            seed,
            Options(
                dict.fromkeys(ground.names, 1), slow_disk=0.0, drift_ppm=policy.drift_ppm, settings=settings,
                trace_kept=0,
            ),
        )  # fmt: skip
        self.ground = ground
        self.noise = random.Random(f"{seed} looks")
        self.rtt_spread = rtt_spread
        self.network = Lines(self.draw, self.options.weather)
        self.network.ground = ground
        self.sites = [Site(machine, refuses=True, instances=INSTANCES) for machine in self.machines]
        self.machines[:] = self.sites
        for site in self.sites:
            site.ground = ground

    def reaches(self, one: str, other: str) -> bool:
        """Whether packets go from one region to another."""
        return not (self.ground.services[one].is_dark or self.ground.services[other].is_dark)


class Primacy:
    """One group under one policy, as a balancer."""

    def __init__(
        self,
        strategy: RoutingStrategy,
        ground: Ground,
        seed: int,
        rtt_spread: float = RTT_SPREAD,
        is_counted: bool = True,
    ) -> None:
        self.ground = ground
        self._is_counted = is_counted
        self.planet = Planet(seed, ground, Policy(read_strategy=strategy), rtt_spread)
        self.planet.begin()
        for site in self.planet.sites:
            self._probe(site)
        self._drained: set[str] = set()

    def _probe(self, site: Site) -> None:
        """Look at a region's service; what changed is reported at once."""
        site.follow()
        for life in self.planet.lives:
            if life.machine is site and site.look(life.now().mono_ns) and life.connection:
                life.report()
        delay_ns = int(PROBE_NS * (1 - PROBE_JITTER * self.planet.noise.random()))
        self.planet.after(delay_ns, "probe", self._probe, site)

    def advance(self) -> None:
        for name in self.ground.drained - self._drained:
            end_ns = self.planet.coordinator.now().wall_ns + 3600 * SECOND_NS
            self.planet.coordinator.ask(events.DrainRegion(0, name, "maintenance", "ops", end_ns))
        self._drained = set(self.ground.drained)
        if not self.ground.has_coordinator and self.planet.coordinator.group is not None:
            self.planet.coordinator.crash()
        self.planet.run_for(STEP_NS)

    def row(self, client: str) -> Shares:
        life = self._life(client)
        return life.row() if life is not None else {}

    def sent(self, client: str, rates: Shares) -> None:
        life = self._life(client) if self._is_counted else None
        if life is not None:
            for name, rate in rates.items():
                life.counted[name] = life.counted.get(name, 0.0) + rate * STEP_S

    def _life(self, client: str) -> Edge | None:
        return next(
            (life for life in self.planet.lives if life.machine.region == client and isinstance(life, Edge)), None
        )

"""Regions that serve, clients that ask, and what becomes of their requests: the ground on which balancers compete.

A fluid model in steps of `STEP_S`. Each region is one queue in front of a number of instances:

- latency = round trip + service time / (1 - utilisation) + queue / capacity, the first as in M/M/1 with processor
  sharing (L. Kleinrock, "Queueing Systems", volume 2, 1976), bounded where it would have no end;
- the queue is what came above capacity and still waits, at most `QUEUE_S` of work; what comes beyond that is shed;
- whatever is sent to a region that is down, or to instances that are gone, is lost.

Requests of a parcel (one client region, one region, one step) take equally long. So a p99 here is that of places and
moments, not of the spread among requests that met the same queue.

The figures that services report of themselves are smoothed, noisy and, if a scenario says so, old: every balancer that
looks at load reads the same ones.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from primacy_wire.messages import Load

STEP_S = 0.2
INSTANCES = 10
SERVICE_S = 0.02
"""What a request takes in an idle region."""
QUEUE_S = 0.3
"""More than so much work does not wait: it is shed."""
UTILISATION_MAX = 0.95
"""Where the formula for the latency ends; what is above shows as queue."""
METER_S = 1.0
"""Over which the services' own figures are smoothed."""
TIMEOUT_S = 1.0
"""What a request that nobody served has cost its client."""
DAY_S = 3600.0
"""Length of a day: 24 times as fast as ours, so that demand moves within a scenario."""
WAVER_S = 5.0
"""How long demand stays away from its mean."""
COLD_S = 60.0
COLD_PART = 0.3
"""A region that comes back has this part of its capacity, and grows to the whole in that time: its caches are empty."""
OWN_RTT_S = 0.001
RTT_MS = {
    ("ap", "eu"): 160, ("ap", "sa"): 320, ("ap", "us-east"): 210, ("ap", "us-west"): 165, ("eu", "sa"): 200,
    ("eu", "us-east"): 90, ("eu", "us-west"): 145, ("sa", "us-east"): 115, ("sa", "us-west"): 175,
    ("us-east", "us-west"): 65,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Site:
    """A region: where it is, what it can serve and what its clients ask for, both in requests per second."""

    location: tuple[float, float]
    capacity: float
    demand: float
    """Mean over the day."""
    phase: float
    """Where in its day it is at the start, 0 to 1; 0.25: the busiest hour."""


SITES: Mapping[str, Site] = {
    "ap": Site((1.35, 103.8), 1500, 850, 0.65),
    "eu": Site((50.1, 8.7), 2500, 1400, 0.25),
    "sa": Site((-23.5, -46.6), 1000, 550, 0.1),
    "us-east": Site((38.9, -77.4), 3000, 1600, 0.05),
    "us-west": Site((45.6, -121.2), 2000, 1000, 0.95),
}
"""They serve 10,000 requests a second, and are asked for 5,400."""
TILT = 0.2
"""How far demand goes above and below its mean in a day."""


def rtt_s(one: str, other: str) -> float:
    """Round trip between two regions, in seconds."""
    return OWN_RTT_S if one == other else RTT_MS[min(one, other), max(one, other)] / 1000


class Service:
    """One region's instances, and the queue before them."""

    def __init__(self, capacity: float) -> None:
        self.full_rps = capacity
        self.instances_well = INSTANCES
        self.is_dark = False
        """Nobody reaches the region, and it reaches nobody."""
        self.is_down = False
        """Its instances do not answer."""
        self.warm_from_s: float | None = None
        """When it came back cold; None: it is warm."""
        self.utilisation = 0.0
        """What came, over capacity; smoothed."""
        self.latency_s = SERVICE_S
        self._queued = 0.0
        self._rates = [0.0, 0.0, 0.0]
        """Came, was served, was shed; smoothed, in requests per second."""

    @property
    def serves(self) -> bool:
        return not self.is_down and not self.is_dark and self.instances_well > 0

    def capacity_rps(self, now_s: float) -> float:
        """What it can serve now."""
        warmth = 1.0
        if self.warm_from_s is not None:
            warmth = min(1.0, COLD_PART + (1 - COLD_PART) * (now_s - self.warm_from_s) / COLD_S)
        return self.full_rps * warmth * self.instances_well / INSTANCES if self.serves else 0.0

    def step(self, came_rps: float, now_s: float) -> float:
        """Let a step go by. Returns the share of what came that was not served."""
        capacity = self.capacity_rps(now_s)
        gain = min(1.0, STEP_S / METER_S)
        if capacity <= 0:
            self._queued = self.utilisation = 0.0
            self._rates = [rate * (1 - gain) for rate in self._rates]
            return 1.0
        work = self._queued + came_rps * STEP_S
        served = min(work, capacity * STEP_S)
        left = work - served
        self._queued = min(left, QUEUE_S * capacity)
        shed = left - self._queued
        self.utilisation += gain * (came_rps / capacity - self.utilisation)
        self.latency_s = SERVICE_S / (1 - min(self.utilisation, UTILISATION_MAX)) + self._queued / capacity
        for number, amount in enumerate((came_rps, served / STEP_S, shed / STEP_S)):
            self._rates[number] += gain * (amount - self._rates[number])
        return min(1.0, shed / (came_rps * STEP_S)) if came_rps > 0 else 0.0

    def load(self, now_s: float, noise: float, draw: random.Random) -> Load:
        """What its instances say of themselves; `noise`: relative standard deviation of each figure."""
        came, served, shed = self._rates
        capacity = self.capacity_rps(now_s)
        if capacity <= 0:
            return Load()
        busy = min(1.0, served / capacity)
        return Load(
            request_rate=max(0.0, came * draw.gauss(1, noise)),
            error_rate=shed / came if came > 0 else 0.0,
            latency_ns=round(self.latency_s * 1e9),
            utilisation=max(0.0, min(1.0, busy * draw.gauss(1, noise))),
            in_flight=served * self.latency_s,
        )


class Clients:
    """What one region's clients ask for."""

    def __init__(self, site: Site, waver: float, draw: random.Random) -> None:
        self._site = site
        self._waver = waver
        self._draw = draw
        self._away = 0.0
        self.surge = 1.0

    def step(self, now_s: float) -> float:
        """Requests per second in this step."""
        kept = math.exp(-STEP_S / WAVER_S)
        self._away = self._away * kept + self._draw.gauss(0, self._waver) * math.sqrt(1 - kept * kept)
        hour = 1 + TILT * math.sin(2 * math.pi * (now_s / DAY_S + self._site.phase))
        return max(0.0, self._site.demand * hour * self.surge * (1 + self._away))


class Ground:
    """All regions and clients, under one seed."""

    def __init__(self, sites: Mapping[str, Site], seed: int, noise: float, stale_s: float, waver: float) -> None:
        self.sites = dict(sorted(sites.items()))
        self.names = list(self.sites)
        self.noise = noise
        self.now_s = 0.0
        self.drained: set[str] = set()
        """Regions that an operator took out."""
        self.has_coordinator = True
        """Whether ours runs; nobody else needs one."""
        self.services = {name: Service(site.capacity) for name, site in self.sites.items()}
        # Each has its own generator: what a balancer asks for changes nothing for the others, nor for the demand.
        self.clients = {name: Clients(site, waver, random.Random(f"{seed} clients of {name}"))
                        for name, site in self.sites.items()}  # fmt: skip
        self._draw = random.Random(f"{seed} figures")
        self._stale_steps = round(stale_s / STEP_S)
        self._loads: dict[str, deque[Load]] = {name: deque(maxlen=self._stale_steps + 1) for name in self.names}

    def step(self) -> dict[str, float]:
        """Move on by a step. Returns what the clients of each region ask for in it, in requests per second."""
        self.now_s = round(self.now_s + STEP_S, 6)
        return {name: clients.step(self.now_s) for name, clients in self.clients.items()}

    def serve(self, arrivals: Mapping[str, float]) -> dict[str, float]:
        """Let the regions serve what came to them. Returns the share that each did not serve."""
        found = {}
        for name, service in self.services.items():
            found[name] = service.step(arrivals.get(name, 0.0), self.now_s)
            self._loads[name].append(service.load(self.now_s, self.noise, self._draw))
        return found

    def load(self, name: str) -> Load:
        """What is known of a region's load, by whoever asks."""
        return self._loads[name][0] if self._loads[name] else Load()

    @property
    def open_ones(self) -> list[str]:
        """Regions that are not dark: requests enter there."""
        return [name for name in self.names if not self.services[name].is_dark]

    def entry(self, client: str) -> str:
        """The region where a client region's requests meet a balancer: its own, or the nearest that is not dark."""
        return min(self.open_ones, key=lambda name: rtt_s(client, name))

"""What others do: four ways to spread requests over regions, each as its source describes it.

All look at the regions by health checks of their own, every second, with the rise and fall that our probes have; one
balancer stands in every client region. None of them ramps up a region that returns, for none does so by default.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

from bench.traffic_world import INSTANCES, STEP_S, Ground, rtt_s

CHECK_S = 1.0
"""Interval of health checks, and between two looks at what regions report."""
Shares = Mapping[str, float]
"""Region -> share of the requests; they add up to 1."""


class Balancer(Protocol):
    """Whatever says where requests go."""

    def advance(self) -> None:
        """A step of the ground has gone by."""

    def row(self, client: str) -> Shares:
        """Where requests that enter in a region go now; empty: not known."""

    def sent(self, client: str, rates: Shares) -> None:
        """Requests that enter in a region went so, in requests per second, for a step."""


class Checks:
    """What health checks from one place say of a region: how many of its instances are healthy.

    Instances fail from the last to the first. So an instance whose state two looks in a row contradict is beyond, and
    the number that is believed is the median of itself and those two.
    """

    def __init__(self) -> None:
        self.healthy = INSTANCES
        self._last = INSTANCES

    def look(self, well: int) -> None:
        self.healthy, self._last = sorted((self.healthy, self._last, well))[1], well


class Checked(ABC):
    """A balancer in each client region that checks, and thinks once a second."""

    def __init__(self, ground: Ground, seed: int) -> None:
        self.ground = ground
        draw = random.Random(f"{seed} checks")
        self.checks = {(c, r): Checks() for c in ground.names for r in ground.names}
        self._due_s = {pair: draw.uniform(0, CHECK_S) for pair in self.checks}
        self._think_s = {client: draw.uniform(0, CHECK_S) for client in ground.names}
        self._rows: dict[str, Shares] = {client: {} for client in ground.names}

    def advance(self) -> None:
        now_s = self.ground.now_s
        for (client, region), checks in self.checks.items():
            if now_s >= self._due_s[client, region]:
                self._due_s[client, region] += CHECK_S
                service = self.ground.services[region]
                checks.look(service.instances_well if service.serves else 0)
        for client in self.ground.names:
            if now_s >= self._think_s[client] - STEP_S / 2 or not self._rows[client]:
                self._think_s[client] += CHECK_S
                self.look_at_load(client)
            # A verdict counts at once; what load says waits for the next thought.
            self._rows[client] = self.decide(client)

    def row(self, client: str) -> Shares:
        return self._rows[client]

    def sent(self, client: str, rates: Shares) -> None:
        del client, rates  # Nobody counts.

    def healthy_share(self, client: str, region: str) -> float:
        """The share of a region's instances that are healthy as seen from a client region; one taken out has none."""
        return 0.0 if region in self.ground.drained else self.checks[client, region].healthy / INSTANCES

    def nearest(self, client: str) -> list[str]:
        """All regions, the nearest first."""
        return sorted(self.ground.names, key=lambda region: (rtt_s(client, region), region))

    def look_at_load(self, client: str) -> None:
        """Read what regions report, where that matters."""
        del client

    @abstractmethod
    def decide(self, client: str) -> Shares: ...


class RoundRobin(Checked):
    """Every region that has a healthy instance gets the same."""

    def decide(self, client: str) -> Shares:
        well = [region for region in self.ground.names if self.healthy_share(client, region) > 0] or self.ground.names
        return dict.fromkeys(well, 1 / len(well))


class Nearest(Checked):
    """Everything to the region with the smallest round trip that has a healthy instance (latency-based DNS)."""

    def decide(self, client: str) -> Shares:
        order = self.nearest(client)
        return {next((region for region in order if self.healthy_share(client, region) > 0), order[0]): 1.0}


class Spill(Checked):
    """Envoy: regions are priority levels, the nearest first; a level overflows when health times 1.4 is below 100 %.

    Source: Envoy's documentation, "Priority levels" and "Degraded endpoints"
    (https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority): integer health
    of a level = min(100, 140 * healthy / all); if all levels together have less than 100, loads are scaled up to it.
    """

    def decide(self, client: str) -> Shares:
        order = self.nearest(client)
        health = [min(100, int(140 * self.healthy_share(client, region))) for region in order]
        total = min(100, sum(health))
        if total == 0:
            return {order[0]: 1.0}
        left, found = 100, {}
        for region, part in zip(order, health, strict=True):
            load = min(left, part * 100 // total)
            found[region] = load / 100
            left -= load
        found[order[0]] += left / 100
        return {region: share for region, share in found.items() if share > 0}


class ByLoad(Checked):
    """gRPC's weighted_round_robin: a region weighs qps / (utilisation + eps / qps * penalty), wherever it is.

    Source: gRFC A58 (https://github.com/grpc/proposal/blob/master/A58-client-side-weighted-round-robin-lb-policy.md)
    with its defaults: penalty 1, recalculated every second, no weight within 10 s of becoming ready (then the mean of
    the others), equal weights while fewer than two are known. Figures arrive with every answer, so none expires.
    """

    PENALTY = 1.0
    BLACKOUT_S = 10.0

    def __init__(self, ground: Ground, seed: int) -> None:
        super().__init__(ground, seed)
        self._weights: dict[tuple[str, str], float] = {}
        self._known_since_s: dict[tuple[str, str], float] = {}

    def look_at_load(self, client: str) -> None:
        now_s = self.ground.now_s
        for region in self.ground.names:
            pair = client, region
            if self.healthy_share(client, region) <= 0:
                self._known_since_s.pop(pair, None)
                self._weights.pop(pair, None)
                continue
            load = self.ground.load(region)
            if load.request_rate > 0 and load.utilisation > 0:
                weight = load.request_rate / (load.utilisation + load.error_rate * self.PENALTY)
                since_s = self._known_since_s.setdefault(pair, now_s)
                if now_s - since_s >= self.BLACKOUT_S:
                    self._weights[pair] = weight

    def decide(self, client: str) -> Shares:
        ready = [region for region in self.ground.names if self.healthy_share(client, region) > 0] or self.ground.names
        known = [self._weights[client, region] for region in ready if (client, region) in self._weights]
        if len(known) < 2:
            return dict.fromkeys(ready, 1 / len(ready))
        mean = sum(known) / len(known)
        weights = {region: self._weights.get((client, region), mean) for region in ready}
        total = sum(weights.values())
        return {region: weight / total for region, weight in weights.items()}


OTHERS: Mapping[str, type[Checked]] = {
    "round robin": RoundRobin,
    "nearest": Nearest,
    "spill 1.4": Spill,
    "qps/util": ByLoad,
}

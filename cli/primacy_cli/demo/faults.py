"""What goes wrong on purpose in a demonstration: which fault comes next, and its steps.

Pure: the same seed gives the same faults in the same order, whatever else happens. Every fault puts back what it took.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Target:
    """A region as faults see it."""

    name: str
    services: tuple[str, ...]
    """Titles of its processes."""
    agents: tuple[str, ...]
    agent_address: str
    """gRPC of its first agent."""
    service_addresses: tuple[str, ...]
    capacity: float
    """Requests per second of each service."""


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL."""

    title: str


@dataclass(frozen=True, slots=True)
class Freeze:
    """SIGSTOP."""

    title: str


@dataclass(frozen=True, slots=True)
class Thaw:
    """SIGCONT."""

    title: str


@dataclass(frozen=True, slots=True)
class Start:
    """The process's own command, again."""

    title: str


@dataclass(frozen=True, slots=True)
class Primacy:
    """A command of `primacy`, with an agent's address if it asks one."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Push:
    """A new model, made with this seed, through the region's agent."""

    agent_address: str
    seed: int


@dataclass(frozen=True, slots=True)
class Surge:
    """So many requests under way at one service for so long."""

    address: str
    clients: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Decide:
    """Of two writes of this document, the second."""

    key: str


Act: TypeAlias = "Kill | Freeze | Thaw | Start | Primacy | Push | Surge | Decide"


@dataclass(frozen=True, slots=True)
class Fault:
    kind: str
    said: str
    """For people, when it begins."""
    steps: tuple[tuple[float, Act], ...]
    """(seconds since its begin, what is done then), in order."""
    length_s: float
    """When all of it has been put back."""


KINDS = ("kill", "freeze", "surge", "push", "drain", "document", "conflict")
DOWN_S = (6.0, 10.0)
FROZEN_S = (4.0, 7.0)
SURGE_S = (8.0, 12.0)
DRAIN_S = 15
"""Then it is taken back; by itself it would end after twice as long, should nobody be there to do it."""
COORDINATOR = "coordinator"
"""Title of its process."""
STANDSTILL_S = 3
"""Of the coordinator: two regions can write what neither tells the other."""
UNDECIDED_S = 15.0
PRICES = "demo/prices.yaml"
"""The document over which they disagree; by the demonstration's policy somebody has to decide."""
OWNER = "chaos"


class Faults:
    """Deals kinds out like cards, so that a short demonstration sees all of them."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._left: list[str] = []
        self._count = 0

    def next(self, targets: Sequence[Target], active: str) -> Fault:
        """The next fault. `active`: the active region, which is hit more often than its share."""
        if not self._left:
            self._left = list(KINDS)
            self._draw.shuffle(self._left)
        self._count += 1
        kind = self._left.pop()
        others = [target for target in targets if target.name != active]
        hit = next((target for target in targets if target.name == active), targets[0])
        if others and self._draw.random() < 0.5:
            hit = self._draw.choice(others)
        index = self._draw.randrange(len(hit.services))
        match kind:
            case "kill":
                return self._kill(hit)
            case "freeze":
                return self._freeze(hit)
            case "surge":
                return self._surge(hit, index)
            case "push":
                push = Push(hit.agent_address, self._draw.randrange(1, 1_000_000))
                return Fault(kind, f"a new model is pushed in {hit.name}", ((0.0, push),), 5.0)
            case "drain" if len(targets) > 1:
                return self._drain(hit)
            case "conflict" if others:
                return self._conflict(hit, next(target for target in targets if target is not hit))
            case _:
                return self._document(hit)

    def _kill(self, hit: Target) -> Fault:
        """All instances of a region: one of several would hardly be felt."""
        down_s = self._draw.uniform(*DOWN_S)
        steps: list[tuple[float, Act]] = [(0.0, Kill(title)) for title in hit.services]
        steps += [(down_s, Start(title)) for title in hit.services]
        what = "the service" if len(hit.services) == 1 else "every service"
        return Fault("kill", f"kill -9 of {what} of {hit.name}, back in {down_s:.0f} s", tuple(steps), down_s)

    def _freeze(self, hit: Target) -> Fault:
        frozen_s = self._draw.uniform(*FROZEN_S)
        steps: list[tuple[float, Act]] = [(0.0, Freeze(title)) for title in hit.agents]
        steps += [(frozen_s, Thaw(title)) for title in hit.agents]
        what = "the agent" if len(hit.agents) == 1 else "every agent"
        return Fault("freeze", f"{what} of {hit.name} stands still for {frozen_s:.0f} s", tuple(steps), frozen_s)

    def _surge(self, hit: Target, index: int) -> Fault:
        seconds = self._draw.uniform(*SURGE_S)
        # A line of about 0.4 s before each request: slow, and still answered.
        clients = max(4, round(hit.capacity * 0.4))
        surge = Surge(hit.service_addresses[index], clients, seconds)
        said = f"a service of {hit.name} gets more requests than it can serve, for {seconds:.0f} s"
        return Fault("surge", said, ((0.0, surge),), seconds)

    def _drain(self, hit: Target) -> Fault:
        terms = ("--reason", "a demonstration", "--for", f"{2 * DRAIN_S}s", "--owner", OWNER)
        words = ("drain", hit.name, *terms, "--no-wait", "--yes")
        undrain = ("undrain", hit.name, "--owner", OWNER)
        steps = ((0.0, Primacy(words)), (DRAIN_S * 1.0, Primacy(undrain)))
        return Fault("drain", f"{hit.name} is drained for {DRAIN_S} s", steps, DRAIN_S + 1.0)

    def _conflict(self, one: Target, other: Target) -> Fault:
        """Neither hears of the other's change, since the coordinator stands still when both write."""
        steps: list[tuple[float, Act]] = [(0.0, Freeze(COORDINATOR))]
        for target in (one, other):
            value = f"{{price: {self._draw.randrange(10, 100)}, of: {target.name}}}"
            words = ("config", "set", PRICES, value, "--agent", target.agent_address)
            steps.append((0.0, Primacy(words)))
        steps += [(STANDSTILL_S * 1.0, Thaw(COORDINATOR)), (STANDSTILL_S + UNDECIDED_S, Decide(PRICES))]
        said = f"the coordinator stands still for {STANDSTILL_S} s; {one.name} and {other.name} change one document"
        return Fault("conflict", said, tuple(steps), STANDSTILL_S + UNDECIDED_S + 1.0)

    def _document(self, hit: Target) -> Fault:
        value = f"{{limit: {self._draw.randrange(10, 100)}, change: {self._count}}}"
        words = ("config", "set", "demo/limits.yaml", value, "--agent", hit.agent_address)
        return Fault("document", f"a document is changed in {hit.name}", ((0.0, Primacy(words)),), 3.0)

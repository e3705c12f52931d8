"""Which region a request goes to: picked in this process, from the weights that the agent says are in force."""

from __future__ import annotations

import random
import threading
import time
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from primacy.agent.v1.local_service_pb2 import RoutedCount, WatchWeightsResponse
from primacy.v1.routing_pb2 import TRAFFIC_CLASS_READ, TRAFFIC_CLASS_WRITE, RoutingStrategy
from primacy_wire.choosing import alternatives, reachable_row
from primacy_wire.picker import Picker

from primacy_agent.client.authority import Authority
from primacy_agent.client.errors import NoRegion

PICKED_MAX = 1_000_000
"""Picks that wait to be counted; those beyond are not counted."""
KINDS_MAX = 1_000
"""Of counts that wait for the agent; those beyond are not counted."""
_random = random.random


class Pick(NamedTuple):
    """Where one request goes."""

    region: str
    endpoint: str
    """`host:port`; empty when the region has none."""
    epoch: int = 0
    """For a write, the epoch of the active lease: the sink refuses lower ones. 0 for a read."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of the own region, as they are in force."""

    region: str
    """Whose requests they are for."""
    read: dict[str, float]
    write: dict[str, float]
    version: int
    strategy: str
    """`GEOGRAPHIC`, for example."""
    shunned: tuple[str, ...]
    """Regions that the agent moves reads away from by itself, because it sees that they are dead."""
    age_s: float
    """Seconds since they came from the coordinator, at this ask."""


class _Table:
    """One message, made ready for many picks. Immutable."""

    __slots__ = ("born", "bounds", "endpoints", "message", "of", "picker", "targets", "total")

    def __init__(self, message: WatchWeightsResponse) -> None:
        self.message = message
        self.born = time.monotonic() - message.age.ToNanoseconds() / 1e9
        self.endpoints = dict(message.endpoints)
        read = tuple(sorted(message.read.weights.items()))
        row, _ = reachable_row(read, self.endpoints, tuple(message.fallback))
        positive = [(name, share) for name, share in row if share > 0]
        self.of = {name: Pick(name, self.endpoints.get(name, "")) for name, _ in row}
        self.bounds = tuple(accumulate(share for _, share in positive))
        self.total = self.bounds[-1] if self.bounds else 0.0
        targets = [self.of[name] for name, _ in positive]
        self.targets = (*targets, *targets[-1:])  # A product that rounds up to the total falls on the last one, too.
        self.picker = Picker(row)


class Picks:
    """Written by one thread, read by all."""

    def __init__(self, authority: Callable[[], Authority]) -> None:
        self._authority = authority
        self._table = _Table(WatchWeightsResponse())
        self._picked: deque[Pick] = deque(maxlen=PICKED_MAX)
        self._counts: Counter[tuple[str, int, str]] = Counter()
        self._lock = threading.Lock()
        """For `_counts`."""
        self.known = threading.Event()
        """Set once the agent has told weights."""

    def take(self, message: WatchWeightsResponse) -> None:
        if message.HasField("read"):
            self._table = _Table(message)
            self.known.set()

    # ---- picking

    def read(self, key: str | None) -> Pick:
        """Raises NoRegion."""
        table = self._table
        try:
            if key is None:
                target = table.targets[bisect_right(table.bounds, _random() * table.total)]
            else:
                target = table.of[table.picker.pick_affine(key)]
        except LookupError:
            self.count("", TRAFFIC_CLASS_READ, "no_weight", 1)
            why = "every region is drained" if self.known.is_set() else "no weights are known yet"
            raise NoRegion(f"there is nowhere to send a read: {why}") from None
        self._picked.append(target)
        return target

    def write(self) -> Pick:
        """Raises NoRegion."""
        told, table = self._authority(), self._table
        own = table.message.read.client_region
        held = told.deadline_ns and time.clock_gettime_ns(time.CLOCK_BOOTTIME) < told.deadline_ns
        if held and told.frozen:
            trouble = f"writes are frozen while {told.region} hands over"
        elif held and told.phase == "PROMOTING":
            trouble = f"{told.region} is active, and its service is being promoted"
        elif not told.region:
            trouble = "no region is active just now"
        elif told.region == own and not held:
            trouble = f"{own} was active, and holds no lease now"
        else:
            target = Pick(told.region, table.endpoints.get(told.region, ""), told.active_epoch)
            self._picked.append(target)
            return target
        self.count("", TRAFFIC_CLASS_WRITE, "not_active", 1)
        raise NoRegion(f"there is nowhere to send a write: {trouble}")

    def others(self, region: str) -> list[Pick]:
        """Where to try a read next, the best first."""
        table = self._table
        message = table.message
        names = alternatives(table.picker, region, message.fallback, table.endpoints, tuple(message.shunned))
        return [table.of[name] for name in names if name in table.of]

    def weights(self) -> Weights:
        """Raises NoRegion before the first ones came."""
        table = self._table
        message = table.message
        if not self.known.is_set():
            raise NoRegion("no weights are known yet")
        known = message.strategy in RoutingStrategy.values()
        return Weights(
            region=message.read.client_region,
            read=dict(message.read.weights),
            write=dict(message.write.weights),
            version=message.version,
            strategy=RoutingStrategy.Name(message.strategy).removeprefix("ROUTING_STRATEGY_") if known else "",
            shunned=tuple(message.shunned),
            age_s=max(0.0, time.monotonic() - table.born),
        )

    # ---- counting

    def count(self, region: str, traffic_class: int, outcome: str, count: int) -> None:
        key = (region, traffic_class, outcome)
        with self._lock:
            if key in self._counts or len(self._counts) < KINDS_MAX:
                self._counts[key] += count

    def drain(self) -> list[RoutedCount]:
        """What was counted since the last time; it is the caller's now."""
        picked = self._picked
        ways = Counter(picked.popleft() for _ in range(len(picked)))
        for target, count in ways.items():
            self.count(target.region, TRAFFIC_CLASS_WRITE if target.epoch else TRAFFIC_CLASS_READ, "ok", count)
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return [
            RoutedCount(target_region=region, traffic_class=traffic_class, outcome=outcome, count=count)  # type: ignore[arg-type]
            for (region, traffic_class, outcome), count in counts.items()
        ]

    def put_back(self, counts: list[RoutedCount]) -> None:
        """They could not be told."""
        for one in counts:
            self.count(one.target_region, one.traffic_class, one.outcome, one.count)

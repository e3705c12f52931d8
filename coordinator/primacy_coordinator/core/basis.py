"""What OPTIMAL plans from: demand, round trips and capacities, steadied, so that plans stand still while they wander.

Looked at once in a report interval, when the weights are: nothing here is done for a single report. What is not
measured any more stays as it was last, for an agent that is restarted changes nobody's place.

- What an operator says (a capacity, `clientTraffic`) counts as it is said.
- Demand is followed more closely the less room there is: where all are planned to be nine tenths full, what is known
  of it may be off by half of the tenth that is left. Upwards it is followed at once when it leaps.
- When the rows have jumped, as they do when a region fails, what regions serve says for a while more of the past than
  of who asks: the demand is held for `HOLD_NS`, unless it is counted where it comes from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Load

from primacy_coordinator.core.demand import Counted, Estimate, Measured, RoutedLife, estimate, routed_since
from primacy_coordinator.core.nearness import RTT_FLOOR_NS
from primacy_coordinator.core.routing import PARTIAL, SERVES, Matrix, RegionInput, WeightsInput
from primacy_coordinator.core.steady import STEP, STEP_LEAST, Steady, begun, follow, follow_rate, weight_of

SMALL = 0.25
"""Of the mean demand: a client region with less steps as if it had that, for what chance does to few requests."""
HOLD_NS = 10 * SECOND_NS
"""Longer than proxies, connections and measurements take to follow a jump of the rows."""


@dataclass(slots=True)
class Basis:
    """Owned by a group's machine."""

    at_ns: int | None = None
    """When it was last looked at."""
    hold_until_ns: int = 0
    demand: dict[str, Steady] = field(default_factory=dict)
    rtts: dict[tuple[str, str], Steady] = field(default_factory=dict)
    capacity: dict[str, Steady] = field(default_factory=dict)
    routed: dict[str, RoutedLife] = field(default_factory=dict)
    """By agent."""

    def hold(self, now_ns: int) -> None:
        """The rows have jumped."""
        self.hold_until_ns = now_ns + HOLD_NS

    def look(
        self,
        given: WeightsInput,
        said: frozenset[str],
        shares: tuple[tuple[str, float], ...],
        counted: Iterable[Counted],
        rows: Matrix,
        interval_ns: int,
        now_ns: int,
    ) -> WeightsInput:
        """The input with steady figures instead of measured ones.

        `said`: regions whose capacity is not measured, but said; `shares`: `clientTraffic`; `rows`: those in force.
        """
        elapsed_ns = interval_ns if self.at_ns is None else now_ns - self.at_ns
        if self.at_ns is None or 2 * elapsed_ns >= interval_ns:
            self.at_ns = now_ns
            self._look_at_capacity(given.regions, said)
            self._look_at_rtts(given, weight_of(elapsed_ns))
            self._look_at_demand(given.regions, shares, counted, rows, elapsed_ns, interval_ns, now_ns)
        return replace(
            given,
            regions=tuple(self._steadied(region) for region in given.regions),
            rtts=tuple((one, other, round(rtt.followed)) for (one, other), rtt in sorted(self.rtts.items())),
        )

    def _steadied(self, region: RegionInput) -> RegionInput:
        """The region with nothing that OPTIMAL does not look at, so that the same is not computed again."""
        capacity, demand = self.capacity.get(region.name), self.demand.get(region.name)
        return replace(
            region,
            capacity=region.capacity if capacity is None else capacity.followed,
            demand=-1.0 if demand is None else demand.followed,
            load=Load(),
        )

    def _look_at_capacity(self, regions: tuple[RegionInput, ...], said: frozenset[str]) -> None:
        found = {}
        for region in regions:
            old = self.capacity.get(region.name)
            if region.capacity > 0:
                # Not averaged: what instances can do does not flicker, and less of it must be known at once.
                if old is None or region.name in said:
                    found[region.name] = begun(region.capacity)
                else:
                    found[region.name] = follow(old, region.capacity, 1.0)
            elif old is not None:
                found[region.name] = old
        self.capacity = found

    def _look_at_rtts(self, given: WeightsInput, weight: float) -> None:
        names = {region.name for region in given.regions}
        self.rtts = {pair: rtt for pair, rtt in self.rtts.items() if names.issuperset(pair)}
        for one, other, rtt_ns in given.rtts:
            old = self.rtts.get((one, other))
            if rtt_ns >= 0:
                self.rtts[one, other] = begun(rtt_ns) if old is None else follow(old, rtt_ns, weight, RTT_FLOOR_NS)

    def _look_at_demand(
        self,
        regions: tuple[RegionInput, ...],
        shares: tuple[tuple[str, float], ...],
        counted: Iterable[Counted],
        rows: Matrix,
        elapsed_ns: int,
        interval_ns: int,
        now_ns: int,
    ) -> None:
        names = [region.name for region in regions]
        measured = Measured(
            shares=dict(shares),
            routed=self._routed(counted, interval_ns // 2),
            served={region.name: region.load.request_rate for region in regions if region.load.request_rate >= 0},
            unmeasured=sum(region.status in SERVES and region.load.request_rate < 0 for region in regions),
            serving=frozenset(region.name for region in regions if region.status in SERVES),
        )
        before = {name: steady.mean for name, steady in self.demand.items()}
        found = estimate(names, measured, before, {client: dict(row) for client, row in rows})
        self.demand = {name: self.demand[name] for name in names if name in self.demand}
        if found is not None and not self._is_held(found, names, now_ns):
            least = SMALL * sum(found.demand.values()) / len(names)
            step = self._step(regions)
            for name, rate in found.demand.items():
                old = self.demand.get(name)
                self.demand[name] = begun(rate) if old is None else follow_rate(old, rate, elapsed_ns, least, step)
        if found is not None and found.direct:
            # Nobody enters where nothing answers and nobody counts; those who did are counted elsewhere.
            gone = [name for name in names if name not in measured.routed and name not in measured.serving]
            self.demand.update(dict.fromkeys(gone, begun(0.0)))

    def _step(self, regions: tuple[RegionInput, ...]) -> float:
        """Half of the headroom that is left, for whose error else would fill a region to the brim."""
        room = sum(
            region.capacity * (region.healthy_share if region.status in PARTIAL else 1.0)
            for region in regions
            if region.status in SERVES and region.drain > 0
        )
        asked = sum(steady.followed for steady in self.demand.values())
        if room <= 0 or asked <= 0 or any(region.capacity <= 0 for region in regions):
            return STEP
        return min(STEP, max(STEP_LEAST, (room / asked - 1) / 2))

    def _is_held(self, found: Estimate, names: list[str], now_ns: int) -> bool:
        return not found.direct and now_ns < self.hold_until_ns and len(self.demand) == len(names)

    def _routed(self, counted: Iterable[Counted], least_ns: int) -> dict[str, float]:
        """Reads that agents route a second, by client region."""
        lives = {}
        rates: dict[str, float] = {}
        for word in counted:
            life = lives[word.agent] = routed_since(self.routed.get(word.agent), word, least_ns)
            for client, rate in life.rates.items():
                rates[client] = rates.get(client, 0.0) + rate
        self.routed = lives
        return rates

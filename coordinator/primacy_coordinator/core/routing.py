"""Which region gets which share of the traffic: one pure function from statuses and figures to a matrix (I9).

Two traffic classes. A *write* row gives everything to the region of the newest accepted epoch, also while its lease has
lapsed: there is no second place to write to, and a router then answers "not now". A *read* row follows the strategy.

What every read strategy obeys (I8):

- A region that is DOWN, UNKNOWN or JOINING gets nothing while another one serves.
- If none serves, what may still work is kept: first regions of which nothing is known, then all of them. Never nowhere.
- *Panic*: when the share of registered regions that serve is below the policy's threshold, the verdicts themselves are
  in question. Then health no longer tells serving regions apart: all that are not known to be dead count in full. A
  region that is known to be dead stays at nothing even then, for a wrong answer can be retried and a dead one cannot.
- SUSPECT keeps its share: the evidence is not enough yet, and moving twice costs more than waiting once.

Shares are quantised to a thousandth, so that noise in a figure is not a change of the weights; a row sums to 1.

Cost: O(regions²) for a matrix, with a round trip looked up for each pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median_low

from primacy_wire.instant import MILLISECOND_NS
from primacy_wire.messages import Load

from primacy_coordinator.core.geo import great_circle_km, rtt_estimate_ns
from primacy_coordinator.core.model import RegionStatus, RoutingStrategy

QUANTA = 1000
SERVES = frozenset({RegionStatus.HEALTHY, RegionStatus.DEGRADED, RegionStatus.SUSPECT, RegionStatus.RECOVERING})
MAYBE = frozenset({RegionStatus.UNKNOWN, RegionStatus.JOINING})
RTT_FLOOR_NS = 5 * MILLISECOND_NS
"""Below this regions are equally near: a region's own round trip would otherwise draw everything."""
DISTANCE_UNKNOWN_KM = 1e6
"""A region without a location is farther than any place on earth."""

Shares = tuple[tuple[str, float], ...]
Matrix = tuple[tuple[str, Shares], ...]


@dataclass(frozen=True, slots=True)
class RegionInput:
    """One region as the weights see it."""

    name: str
    status: RegionStatus
    location: tuple[float, float] | None
    """(latitude, longitude) in degrees."""
    capacity: float
    """Requests per second; 0: not known."""
    weight: float
    """The policy's, for WEIGHTED."""
    healthy_share: float
    """Share of its instances that are healthy, 0 to 1."""
    load: Load


@dataclass(frozen=True, slots=True)
class WeightsInput:
    """Everything that the weights are computed from."""

    strategy: RoutingStrategy
    regions: tuple[RegionInput, ...]
    active_region: str
    """Of the newest accepted epoch; empty: none was ever accepted."""
    fallback: tuple[str, ...]
    """Other regions, best first: whom reads follow when the active region is dead."""
    rtts: tuple[tuple[str, str, int], ...]
    """(client region, target region, ns)."""
    panic_threshold: float


@dataclass(frozen=True, slots=True)
class WeightsResult:
    """One row for each client region, sorted; each with a key for every registered region, sorted."""

    read: Matrix
    write: Matrix
    panic: bool
    reasons: tuple[tuple[str, str], ...]
    """(region, why it gets what it gets), sorted."""


def weigh(given: WeightsInput) -> WeightsResult:
    """The weights of both traffic classes."""
    regions = sorted(given.regions, key=lambda region: region.name)
    names = [region.name for region in regions]
    serving = [region for region in regions if region.status in SERVES]
    panic = bool(regions) and len(serving) < given.panic_threshold * len(regions)
    usable = serving or [region for region in regions if region.status in MAYBE] or regions
    base = {region.name: 1.0 if panic else _health_factor(region) for region in usable}
    if not any(base.values()):
        base = dict.fromkeys(base, 1.0)
    read = _read(given, regions, usable, base)
    write = _quantised(names, {given.active_region: 1.0} if given.active_region in names else {})
    reasons = tuple((region.name, _reason(given, region, usable, panic)) for region in regions)
    return WeightsResult(read, tuple((name, write) for name in names), panic, reasons)


def _health_factor(region: RegionInput) -> float:
    """DEGRADED counts by its healthy instances; every other serving status in full."""
    return max(0.0, min(1.0, region.healthy_share)) if region.status is RegionStatus.DEGRADED else 1.0


def _read(
    given: WeightsInput, regions: list[RegionInput], usable: list[RegionInput], base: Mapping[str, float]
) -> Matrix:
    if given.strategy is RoutingStrategy.LATENCY:
        return _by_latency(given, regions, usable, base)
    if given.strategy is RoutingStrategy.GEOGRAPHIC:
        return _by_distance(regions, usable, base)
    wanted = _wanted(given, usable, base)
    # Shares that are zero for all who are left say nothing about them.
    row = _quantised([region.name for region in regions], wanted if any(wanted.values()) else base)
    return tuple((region.name, row) for region in regions)


def _wanted(given: WeightsInput, usable: list[RegionInput], base: Mapping[str, float]) -> Mapping[str, float]:
    """Shares, not yet scaled, by a strategy that is the same for every client region."""
    match given.strategy:
        case RoutingStrategy.ACTIVE_ONLY:
            return {_followed(given, usable): 1.0}
        case RoutingStrategy.WEIGHTED:
            return {region.name: base[region.name] * region.weight for region in usable}
        case RoutingStrategy.HEALTH:
            return {region.name: base[region.name] * (1 - _error_rate(region)) for region in usable}
        case _:
            return dict.fromkeys(base, 1.0)


def _error_rate(region: RegionInput) -> float:
    return max(0.0, min(1.0, region.load.error_rate))


def _followed(given: WeightsInput, usable: list[RegionInput]) -> str:
    """Whom ACTIVE_ONLY reads follow: the active region, or at once the best other one when that is dead."""
    names = [region.name for region in usable]
    if given.active_region in names:
        return given.active_region
    return next((name for name in given.fallback if name in names), names[0] if names else "")


def _by_latency(
    given: WeightsInput, regions: list[RegionInput], usable: list[RegionInput], base: Mapping[str, float]
) -> Matrix:
    """Shares in inverse proportion to the round trip from the client's region."""
    measured = {(client, target): rtt_ns for client, target, rtt_ns in given.rtts}
    middle_ns = median_low(measured.values()) if measured else RTT_FLOOR_NS
    rows = []
    for client in regions:
        shares = {}
        for target in usable:
            rtt_ns = measured.get((client.name, target.name))
            if client.name == target.name:
                rtt_ns = 0
            elif rtt_ns is None and client.location is not None and target.location is not None:
                rtt_ns = rtt_estimate_ns(client.location, target.location)
            shares[target.name] = base[target.name] / max(middle_ns if rtt_ns is None else rtt_ns, RTT_FLOOR_NS)
        rows.append((client.name, _quantised([region.name for region in regions], shares)))
    return tuple(rows)


def _by_distance(regions: list[RegionInput], usable: list[RegionInput], base: Mapping[str, float]) -> Matrix:
    """The nearest region takes what its healthy instances can, the next nearest the rest; equally far ones share."""
    names = [region.name for region in regions]
    rows = []
    for client in regions:
        by_distance: dict[float, list[RegionInput]] = {}
        for target in usable:
            by_distance.setdefault(_distance_km(client, target), []).append(target)
        shares: dict[str, float] = {}
        left = 1.0
        for distance_km in sorted(by_distance):
            ring = by_distance[distance_km]
            taken = left * min(1.0, max(base[region.name] for region in ring))
            total = sum(base[region.name] for region in ring)
            if total > 0:
                shares |= {region.name: taken * base[region.name] / total for region in ring}
                left -= taken
            if left <= 1e-9:
                break
        rows.append((client.name, _quantised(names, shares)))
    return tuple(rows)


def _distance_km(client: RegionInput, target: RegionInput) -> float:
    if client.name == target.name:
        return 0.0
    if client.location is None or target.location is None:
        return DISTANCE_UNKNOWN_KM
    return round(great_circle_km(client.location, target.location), 3)


def _quantised(names: list[str], shares: Mapping[str, float]) -> Shares:
    """Shares of every name in thousandths that sum to 1, by the largest remainder; all 0 when there is nothing."""
    total = sum(shares.values())
    if total <= 0:
        return tuple((name, 0.0) for name in names)
    exact = {name: shares.get(name, 0.0) * QUANTA / total for name in names}
    floors = {name: int(value) for name, value in exact.items()}
    missing = QUANTA - sum(floors.values())
    for name in sorted(names, key=lambda n: (floors[n] - exact[n], n))[:missing]:
        floors[name] += 1
    return tuple((name, floors[name] / QUANTA) for name in names)


def _reason(given: WeightsInput, region: RegionInput, usable: list[RegionInput], panic: bool) -> str:
    status = region.status.name
    if region not in usable:
        return f"no reads: {status}"
    if region.status not in SERVES:
        return f"gets reads although {status}: no region is known to serve"
    if panic:
        return f"{status}, counted in full: too few regions look healthy"
    if given.strategy is RoutingStrategy.ACTIVE_ONLY:
        if region.name == given.active_region:
            return "all reads follow the active region"
        followed = _followed(given, usable) == region.name
        return f"takes the reads of {given.active_region or 'nobody'}, which is dead" if followed else "not active"
    if region.status is RegionStatus.DEGRADED:
        return f"DEGRADED: counts for {region.healthy_share:.0%}, its healthy instances"
    return f"{status}: its full share by {given.strategy.name.lower()}"

"""Which region gets which share of the traffic: one pure function from statuses and figures to a matrix (I9).

Two traffic classes. A *write* row gives everything to the region of the newest accepted epoch, also while its lease has
lapsed: there is no second place to write to, and a router then answers "not now". A *read* row follows the strategy.

What every read strategy obeys (I8):

- A region that is DOWN, UNKNOWN or JOINING gets nothing while another one serves.
- If none serves, what may still work is kept: first regions of which nothing is known, then all of them. Never nowhere.
- *Panic*: when the share of registered regions that serve is below the policy's threshold, the verdicts themselves are
  in question. Then no figure of health tells one serving region from another: all of them count in full, so that the
  few that look best are not overrun. Regions that do not serve stay at nothing even then. Envoy spreads over them too,
  but a host that it gives up on is one of many in a place that works; a read sent to a dead region crosses the world to
  fail, and a region that never served a read proves nothing by being new.
- SUSPECT keeps its share in full: the evidence is not enough yet, and moving twice costs more than waiting once. Its
  healthy share is not asked either, for an agent that has only lost its link counts as missing there.
- DEGRADED and RECOVERING count by their healthy instances, so that a region on its way back is not handed all of its
  traffic with its first instance. *Overprovisioning*: as long as its healthy share times that factor is at least 1, a
  region counts in full, for its instances have that much room.
- A region on its way back starts with a tenth and grows (*slow start*); one that is drained fades out, and then gets
  nothing, whatever its health, unless it is not asked any more. With every region drained a row is all zero.
- A *pin* is an operator's row for a client region. Drains win over it, and so does death: a pinned region that does not
  serve leaves its share to the other pinned ones, or, when none of them serves, to the policy.

From the figures to the rows in steps, each a function of plain values: who is usable, by how much each counts (every
cause is a factor there), what the strategy makes of it for each client region, quanta. Shares are quantised to a
thousandth, so that noise in a figure is not a change of the weights; a row sums to 1.

Cost: O(regions² · log regions) for a matrix, under 5 ms for 50 regions; one row for all clients where the strategy
does not look at the client. OPTIMAL takes up to 20 ms (see `transport`).

Weakness: OPTIMAL alone looks at capacity; with the others, what spills over may be more than the next region can take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import assert_never

from primacy_wire.messages import Load

from primacy_coordinator.core.model import RegionStatus, RoutingStrategy
from primacy_coordinator.core.nearness import distance_km, measured_rtts, rtts_ns
from primacy_coordinator.core.planning import Site, capacities, demands, plan
from primacy_coordinator.core.transport import nearest

QUANTA = 1000
SERVES = frozenset({RegionStatus.HEALTHY, RegionStatus.DEGRADED, RegionStatus.SUSPECT, RegionStatus.RECOVERING})
PARTIAL = frozenset({RegionStatus.DEGRADED, RegionStatus.RECOVERING})
"""Statuses in which a region counts by its healthy instances."""
LAST_TO_FOLLOW = (RegionStatus.SUSPECT, RegionStatus.RECOVERING, RegionStatus.DEGRADED, RegionStatus.HEALTHY)
MAYBE = frozenset({RegionStatus.UNKNOWN, RegionStatus.JOINING})
NAMES_MAX = 3
"""A reason names so many regions at most."""

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
    ramp: float = 1.0
    """Slow start: the part of its reads that a region on its way back may have, 0 to 1."""
    drain: float = 1.0
    """The part of its reads that a drain leaves it, 0 to 1; 0: drained."""
    demand: float = -1.0
    """Requests per second that its clients make, wherever they are served, for OPTIMAL; below 0: not known."""


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
    """(client region, target region, ns), each pair once; a negative one counts as not measured."""
    panic_threshold: float
    overprovisioning: float = 1.0
    pins: tuple[tuple[str, tuple[tuple[str, float], ...]], ...] = ()
    """(client region, or empty for all others; (region, share))."""


@dataclass(frozen=True, slots=True)
class WeightsResult:
    """One row for each client region, sorted; each with a key for every registered region, sorted."""

    read: Matrix
    write: Matrix
    panic: bool
    reasons: tuple[tuple[str, str], ...]
    """(region, why it gets what it gets), sorted."""
    overload: bool = False
    """The demand is more than all that may get reads can serve together, as far as OPTIMAL knows."""


def weigh(given: WeightsInput) -> WeightsResult:
    """The weights of both traffic classes."""
    regions = sorted(given.regions, key=lambda region: region.name)
    names = [region.name for region in regions]
    serving = sum(region.status in SERVES for region in regions)
    panic = bool(regions) and serving / len(regions) < given.panic_threshold
    usable = usable_of(given)
    pins = _pins(given, names, {region.name for region in usable})
    moved: Mapping[str, str] = {}
    overload = False
    if given.strategy is RoutingStrategy.OPTIMAL and usable:
        read, moved, overload = _optimal(given, names, regions, usable, panic, pins)
    else:
        counts = {region.name: region.drain * (1.0 if panic else _count(given, region)) for region in usable}
        read = _read(given, names, regions, usable, counts)
    read = tuple((client, _quantised(names, pins[client]) if client in pins else row) for client, row in read)
    write = _quantised(names, {given.active_region: 1.0} if given.active_region in names else {})
    reasons = tuple(
        (region.name, _reason(given, region, usable, panic, moved.get(region.name, ""))) for region in regions
    )
    return WeightsResult(read, tuple((name, write) for name in names), panic, reasons, overload)


def usable_of(given: WeightsInput) -> list[RegionInput]:
    """Regions that may get reads, sorted: those that serve, else those that may, else all; never a drained one."""
    open_ones = sorted((region for region in given.regions if region.drain > 0), key=lambda region: region.name)
    serving = [region for region in open_ones if region.status in SERVES]
    return serving or [region for region in open_ones if region.status in MAYBE] or open_ones


def _count(given: WeightsInput, region: RegionInput) -> float:
    """By how much a region counts, 0 to 1: the product of everything that is known of its health."""
    healthy = _health(region, given.overprovisioning) * _unit(region.ramp)
    return healthy * (1 - _unit(region.load.error_rate)) if given.strategy is RoutingStrategy.HEALTH else healthy


def _health(region: RegionInput, overprovisioning: float) -> float:
    """The part of its share that its instances can serve."""
    return _unit(region.healthy_share * overprovisioning) if region.status in PARTIAL else 1.0


def _pins(given: WeightsInput, names: list[str], usable: set[str]) -> dict[str, dict[str, float]]:
    """The rows that operators pinned, as far as the regions that they name can serve: client region -> shares."""
    pins = dict(given.pins)
    found = {}
    for client in names if pins else ():
        shares = {name: share for name, share in pins.get(client, pins.get("", ())) if name in usable}
        if any(shares.values()):
            found[client] = shares
    return found


def _unit(share: float) -> float:
    return max(0.0, min(1.0, share))


def _read(
    given: WeightsInput,
    names: list[str],
    regions: list[RegionInput],
    usable: list[RegionInput],
    counts: Mapping[str, float],
) -> Matrix:
    match given.strategy:
        case RoutingStrategy.ACTIVE_ONLY:
            shares: Mapping[str, float] = _following(given, usable)
        case RoutingStrategy.OPTIMAL:
            shares = {}  # Reached only with nobody usable.
        case RoutingStrategy.WEIGHTED:
            shares = {region.name: counts[region.name] * region.weight for region in usable}
        case RoutingStrategy.ROUND_ROBIN | RoutingStrategy.HEALTH:
            shares = counts
        case RoutingStrategy.LATENCY:
            measured = measured_rtts(given.rtts)
            return tuple((r.name, _row(names, _by_latency(r, usable, counts, measured), counts)) for r in regions)
        case RoutingStrategy.GEOGRAPHIC:
            return tuple((r.name, _row(names, _by_distance(r, usable, counts), counts)) for r in regions)
        case _:
            assert_never(given.strategy)
    row = _row(names, shares, counts)
    return tuple((name, row) for name in names)


def _following(given: WeightsInput, usable: list[RegionInput]) -> dict[str, float]:
    """All to one region; while that one is drained, what it gives up goes to the next."""
    if not usable:
        return {}
    followed = _followed(given, usable)
    part = next((region.drain for region in usable if region.name == followed), 1.0)
    others = [region for region in usable if region.name != followed]
    if part >= 1 or not others:
        return {followed: 1.0}
    return {followed: part, _followed(given, others): 1 - part}


def _followed(given: WeightsInput, usable: list[RegionInput]) -> str:
    """Whom ACTIVE_ONLY reads follow: the active region, or at once the best other one when that is dead."""
    names = {region.name for region in usable}
    for name in (given.active_region, *given.fallback):
        if name in names:
            return name
    # An election may refuse regions that can still answer reads.
    return max(usable, key=_fitness).name if usable else ""


def _fitness(region: RegionInput) -> int:
    return LAST_TO_FOLLOW.index(region.status) if region.status in LAST_TO_FOLLOW else -1


def _by_latency(
    client: RegionInput,
    usable: list[RegionInput],
    counts: Mapping[str, float],
    measured: Mapping[tuple[str, str], int],
) -> dict[str, float]:
    """Shares in inverse proportion to the round trip."""
    return {name: counts[name] / rtt_ns for name, rtt_ns in rtts_ns(client, usable, measured).items()}


def _by_distance(client: RegionInput, usable: list[RegionInput], counts: Mapping[str, float]) -> dict[str, float]:
    """The nearest region takes what its healthy instances can, the next nearest the rest; equally far ones share."""
    if counts.get(client.name) == 1.0:
        return {client.name: 1.0}
    rings: dict[float, list[str]] = {}
    for target in usable:
        rings.setdefault(distance_km(client, target), []).append(target.name)
    shares: dict[str, float] = {}
    left = 1.0
    for _, ring in sorted(rings.items()):
        taken = left * max(counts[name] for name in ring)
        total = sum(counts[name] for name in ring)
        if total > 0:
            shares |= {name: taken * (counts[name] / total) for name in ring}
            left -= taken
        if left <= 1e-9:
            break
    return shares


def _optimal(
    given: WeightsInput,
    names: list[str],
    regions: list[RegionInput],
    usable: list[RegionInput],
    panic: bool,
    pins: Mapping[str, Mapping[str, float]],
) -> tuple[Matrix, dict[str, str], bool]:
    """The rows with the least latency that the capacities allow; what each region gets and why; too much for all?"""
    measured = measured_rtts(given.rtts)
    place = {region.name: index for index, region in enumerate(usable)}
    costs = []
    for client in regions:
        ways = list(rtts_ns(client, usable, measured).values())
        if client.name in place:
            ways[place[client.name]] -= 1  # Nothing is as near as home, however near it is.
        costs.append(ways)
    capacity = dict(zip(names, capacities([region.capacity for region in regions]), strict=True))
    demand = demands([region.demand for region in regions], list(capacity.values()))
    sites = [_site(given, region, capacity[region.name], panic) for region in usable]
    pinned = {
        names.index(client): {place[name]: share for name, share in _quantised(names, row) if share}
        for client, row in pins.items()
    }
    found = plan(costs, demand, sites, pinned)
    if found is None:
        counts = {region.name: site.health * site.fade for region, site in zip(usable, sites, strict=True)}
        return tuple((name, _row(names, counts, counts)) for name in names), {}, False
    rows = [{usable[site].name: share for site, share in row.items()} for row in found.rows]
    read = tuple((name, _quantised(names, row)) for name, row in zip(names, rows, strict=True))
    near = {name: usable[site].name for name, site in zip(names, nearest(costs), strict=True) if name not in pins}
    takers = {client: {name for name, share in row if share} for client, row in read if client in near}
    return read, {region.name: _moves(region.name, near, takers) for region in usable}, found.fill > 1


def _site(given: WeightsInput, region: RegionInput, capacity: float, panic: bool) -> Site:
    fade = _unit(region.drain) * (1.0 if panic else _unit(region.ramp))
    if isfinite(capacity):
        # What is left of it, and no more: the room that overprovisioning stands for is in the plan.
        return Site(capacity, 1.0 if panic else _health(region, 1.0), fade)
    # Where there is no capacity to be scaled, a region that is not well gets that part of its reads.
    return Site(capacity, 1.0, fade * (1.0 if panic else _health(region, given.overprovisioning)))


def _moves(region: str, near: Mapping[str, str], takers: Mapping[str, set[str]]) -> str:
    """What a region gets by OPTIMAL, free of figures. `near`: of each client region; `takers`: who gets its reads."""
    guests = [client for client, home in near.items() if home != region and region in takers[client]]
    sent = sorted({name for client, home in near.items() if home == region for name in takers[client]} - {region})
    if sent:
        return f"has no room for all that it is nearest to: the rest goes to {_listed(sent)}"
    if guests:
        return f"takes what has no room nearer by from {_listed(guests)}"
    if region in near.values():
        return "takes what it is nearest to"
    return "is nearest to none, and nothing spills to it"


def _listed(names: list[str]) -> str:
    more = len(names) - NAMES_MAX
    return ", ".join(names[:NAMES_MAX]) + (f" and {more} more" if more > 0 else "")


def _row(names: list[str], shares: Mapping[str, float], counts: Mapping[str, float]) -> Shares:
    """A read row: by the strategy's shares; where those are all 0, by health alone; else alike to all who are left."""
    for some in (shares, counts):
        if any(some.values()):
            return _quantised(names, some)
    return _quantised(names, dict.fromkeys(counts, 1.0))


def _quantised(names: list[str], shares: Mapping[str, float]) -> Shares:
    """Shares of every name in thousandths that sum to 1, by the largest remainder; all 0 when there is nothing."""
    largest = max(shares.values(), default=0.0)
    if largest <= 0:
        return tuple((name, 0.0) for name in names)
    # Weights are any finite numbers: as parts of the largest, neither their sum nor the product below overflows.
    parts = {name: share / largest for name, share in shares.items() if share > 0}
    total = sum(parts.values())
    exact = {name: part * QUANTA / total for name, part in parts.items()}
    floors = {name: int(value) for name, value in exact.items()}
    missing = QUANTA - sum(floors.values())
    for name in sorted(exact, key=lambda n: (floors[n] - exact[n], n))[:missing] if missing else ():
        floors[name] += 1
    return tuple((name, floors.get(name, 0) / QUANTA) for name in names)


def _reason(given: WeightsInput, region: RegionInput, usable: list[RegionInput], panic: bool, moves: str) -> str:
    """Why a region gets what it gets, free of figures that change with every report. `moves`: see `_moves`."""
    status = region.status.name
    if region.drain <= 0:
        return "no reads: it is drained"
    if region not in usable:
        return f"no reads: {status}"
    if region.drain < 1:
        return f"{status}: its reads go away, for it is being drained"
    if region.ramp < 1 and not panic:
        return f"{status}: its reads grow again (slow start)"
    if given.strategy is RoutingStrategy.ACTIVE_ONLY:
        return _reason_to_follow(given, region, usable)
    if region.status not in SERVES:
        return f"gets reads although {status}: no region is known to serve"
    if given.strategy is RoutingStrategy.WEIGHTED and region.weight <= 0:
        return f"{status}: the policy gives it no weight"
    if panic:
        return f"{status}, counted in full: too few regions look healthy{moves and '; it ' + moves}"
    if region.status in PARTIAL:
        counts = f"counts for {_unit(region.healthy_share):.0%}, its healthy instances"
        return f"{status}: {counts}{moves and '; it ' + moves}"
    if moves:
        return f"{status}: {moves}"
    if given.strategy is RoutingStrategy.HEALTH and region.load.error_rate > 0:
        return f"{status}: counts by the share of its requests that succeed"
    return f"{status}: its full share by {given.strategy.name.lower()}"


def _reason_to_follow(given: WeightsInput, region: RegionInput, usable: list[RegionInput]) -> str:
    status = region.status.name
    if _followed(given, usable) != region.name:
        return f"no reads: {status}, but they follow one region alone"
    if region.name == given.active_region:
        although = "" if region.status in SERVES else f" although {status}: no region is known to serve"
        return f"all reads follow the active region{although}"
    instead = f"instead of {given.active_region}, which is dead" if given.active_region else "until a region is active"
    return f"{status}: takes all reads {instead}"

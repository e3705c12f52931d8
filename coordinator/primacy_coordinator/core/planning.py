"""OPTIMAL: where every client region's reads go, so that all of them together travel the shortest time and fit.

A transportation problem (see `transport`): client regions with a demand, regions with a limit, round trips as costs.
What the limits are is decided here.

- *Headroom.* As long as all of the demand fits, a region is planned to at most `FILL` of its capacity. Demand is known
  by its mean over seconds, and followed in steps (see `demand`); a region that is planned to the brim is over it half
  of the time, and the closer to the brim, the longer its queues. Google Cloud's load balancers take 0.8, too, unless
  told otherwise.
- *Overload.* When the demand is more than `FILL` of everything, each limit is the same part of its capacity, the demand
  over all capacity. That is the least that the fullest region can be filled to, so nobody is worse off than needed, and
  the headroom is given up by all alike before anybody is over capacity. Under these limits everything fits exactly:
  never nowhere (I8). Refusing the rest would be nowhere, and a price on overload would let a near region drown to spare
  others a round trip.
- *Health* scales a capacity: the instances that are left can do that much. Overprovisioning does not enter: it stands
  for room in a region of which nobody knows how full it is, and here the headroom is that room.
- *Fading.* A region that is drained or on its way back gets that part of what it would have, were it not: its limit is
  a part of its load in the plan without any fading. A part of its capacity would leave a big region all of its reads
  until the drain is nearly over. Where the others have no room for the rest, it is that part of its capacity after all.
- *Pinned* reads go where they are pinned, and take room from the others.
- *Unknown capacities.* A region of which none is known counts like the median of those that are; where none is known at
  all nothing is ever full, each client region's reads go to the nearest region, and health fades regions.
- *Unknown demand.* A client region of which none is known counts like the mean of those that are. Where none is known
  at all each is taken to use `ASSUMED_USE` of its own region's capacity: so reads stay at home while all are well, and
  those of a region that failed spill over its neighbours instead of burying the nearest.

Figures become whole units first, `UNITS` for the whole demand, so that the plan is exact, and the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, isinf
from statistics import fmean, median_low

from primacy_coordinator.core.transport import Transport

FILL = 0.8
"""Of its capacity: what a region is planned to be filled to, while everything fits."""
ASSUMED_USE = 0.7
"""Of its capacity: what the clients of a region need, when nobody knows."""
UNITS = 1_000_000_000_000
ROOM_MAX = 1_000_000.0
"""Times all demand: a capacity above this makes no difference."""


@dataclass(frozen=True, slots=True)
class Site:
    """A region that may get reads."""

    capacity: float
    """Requests per second; infinite: it is never full."""
    health: float = 1.0
    """The part of its capacity that is there, 0 to 1."""
    fade: float = 1.0
    """The part of its reads that it may have, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Plan:
    rows: list[dict[int, float]]
    """For each client region: site -> its share."""
    fill: float
    """The part of its capacity that each site is planned to at most; above 1: overload."""


def capacities(known: Sequence[float]) -> list[float]:
    """Everybody's capacity: where it is not known (0) the median of the others'; infinite when none is."""
    some = [capacity for capacity in known if capacity > 0]
    other = median_low(some) if some else inf
    return [capacity if capacity > 0 else other for capacity in known]


def demands(known: Sequence[float], capacity: Sequence[float]) -> list[float]:
    """Everybody's demand, also where it is not known (below 0)."""
    some = [demand for demand in known if demand >= 0]
    if some:
        scale = max(some)
        mean = fmean(demand / scale for demand in some) * scale if scale > 0 else 0.0
        return [demand if demand >= 0 else mean for demand in known]
    if inf in capacity:
        return [1.0] * len(known)
    return [ASSUMED_USE * requests for requests in capacity]


def plan(
    costs: Sequence[Sequence[int]],
    demand: Sequence[float],
    sites: Sequence[Site],
    pinned: Mapping[int, Mapping[int, float]] | None = None,
) -> Plan | None:
    """Who goes where. None: no site has anything to give.

    `costs[client][site]` in ns; `pinned[client]`: the shares of its sites, which sum to 1, where they are decided.
    """
    pinned = pinned or {}
    units, per_request = _units(demand)
    total = sum(units)
    room = [_room(site, per_request, total) for site in sites]
    if sum(room) == 0:
        return None
    fill = max(FILL, total / sum(room))
    limits = _limits(room, total)
    taken = [0] * len(sites)
    for client, row in pinned.items():
        for site, share in row.items():
            taken[site] += int(units[client] * share)
    limits = [max(0, limit - pins) for limit, pins in zip(limits, taken, strict=True)]
    free = [0 if client in pinned else units[client] for client in range(len(units))]
    flows = _fitted(costs, free, limits, [site.fade for site in sites])
    if flows is None:
        return None
    rows = [
        dict(pinned[client]) if client in pinned else {site: part / units[client] for site, part in flow.items()}
        for client, flow in enumerate(flows)
    ]
    return Plan(rows, fill)


def _units(demand: Sequence[float]) -> tuple[list[int], float]:
    """(everybody's demand in whole units, at least one each; units per request and second)."""
    largest = max(demand)
    if largest <= 0:
        return [1] * len(demand), inf
    # As parts of the largest: demands may be any finite numbers, and their sum must be one as well.
    parts = [requests / largest for requests in demand]
    unit = UNITS / sum(parts)
    return [max(1, round(part * unit)) for part in parts], unit / largest


def _room(site: Site, per_request: float, total: int) -> int:
    """How many units the site can serve at once."""
    if site.capacity <= 0 or site.health <= 0:
        return 0
    if isinf(site.capacity):
        return ceil(total / FILL) + 1
    return max(1, int(min(ROOM_MAX * total, site.capacity * per_request) * site.health))


def _limits(room: Sequence[int], total: int) -> list[int]:
    limits = [int(units * FILL) for units in room]
    if sum(limits) >= total:
        return limits
    all_room = sum(room)
    return [-(-units * total // all_room) for units in room]


def _fitted(
    costs: Sequence[Sequence[int]], units: Sequence[int], limits: Sequence[int], fades: Sequence[float]
) -> list[dict[int, int]] | None:
    """The plan under the limits, and under those that fading leaves of them."""
    transport = Transport(costs, units)
    flows = transport.fit(limits)
    if min(fades) >= 1:
        return flows
    loads = [0] * len(limits)
    for flow in flows:
        for site, part in flow.items():
            loads[site] += part
    total = sum(units)
    for whole in (loads, limits):
        faded = _faded(limits, whole, fades)
        if sum(faded) >= total:
            return transport.fit(faded)
    faded = _faded(limits, limits, fades)
    left = sum(faded)
    return Transport(costs, units).fit([-(-part * total // left) for part in faded]) if left else None


def _faded(limits: Sequence[int], whole: Sequence[int], fades: Sequence[float]) -> list[int]:
    """The limits, and for regions that fade a part of the whole."""
    return [limit if fade >= 1 else ceil(units * fade) for limit, units, fade in zip(limits, whole, fades, strict=True)]

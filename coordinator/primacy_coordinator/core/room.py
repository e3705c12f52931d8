"""What regions can serve beyond what they are sent: where reads may go that agents move by themselves (I6).

An agent that sees a region die knows its own row, and nothing of who else moves what. If each gives what it moves to
the others in proportion to their room, then all of them together fill the others alike, and none above its capacity
while the room of all is enough: no agent needs to hear of another. It is not the least latency; the coordinator's next
plan is.

Only OPTIMAL goes by capacity, so only with it is there any room to speak of. Agents are told of another one when some
region's part of it has changed by more than `STEP`, or with whatever else they are told: demand wanders all the time.
"""

from __future__ import annotations

from math import inf

from primacy_coordinator.core.model import RoutingStrategy
from primacy_coordinator.core.planning import capacities, demands
from primacy_coordinator.core.routing import PARTIAL, Matrix, Shares, WeightsInput, usable_of

STEP = 0.05
DIGITS = 3


def room_of(given: WeightsInput, rows: Matrix) -> Shares:
    """Each region's share of all the room, sorted; empty where capacity is not known or does not count.

    If there is none anywhere, each region's share of all capacity: then all are over it alike.
    """
    if given.strategy is not RoutingStrategy.OPTIMAL or not given.regions:
        return ()
    regions = sorted(given.regions, key=lambda region: region.name)
    capacity = capacities([region.capacity for region in regions])
    if inf in capacity:
        return ()
    demand = dict(zip((region.name for region in regions), demands([r.demand for r in regions], capacity), strict=True))
    sent = dict.fromkeys(demand, 0.0)
    for client, row in rows:
        for name, share in row:
            if name in sent:
                sent[name] += share * demand.get(client, 0.0)
    usable = {region.name for region in usable_of(given) if region.drain >= 1}
    can = {
        region.name: most * (region.healthy_share if region.status in PARTIAL else 1.0) * region.ramp
        for region, most in zip(regions, capacity, strict=True)
        if region.name in usable
    }
    free = {name: max(0.0, most - sent[name]) for name, most in can.items()}
    parts = free if any(free.values()) else can
    largest = max(parts.values(), default=0.0)
    if largest <= 0:
        return ()
    # As parts of the largest: capacities may be any finite numbers, and their sum must be one as well.
    scaled = {name: part / largest for name, part in parts.items()}
    total = sum(scaled.values())
    return tuple((name, round(part / total, DIGITS)) for name, part in scaled.items())


def is_near(told: Shares, now: Shares) -> bool:
    """Whether what agents were told still does."""
    return [name for name, _ in told] == [name for name, _ in now] and all(
        abs(part - other) <= STEP for (_, part), (_, other) in zip(told, now, strict=True)
    )

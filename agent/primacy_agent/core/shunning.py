"""What an agent does to its reads by itself while no coordinator tells it where they go (I6).

The last weights stay in force; only a region that this agent sees to be dead gives its share away, as far as some
other region is not. When everything looks dead it is more likely this agent that cannot see, and nothing moves (I8).
"""

from __future__ import annotations

from collections.abc import Iterable

from primacy_agent.core.observing import Sight

MISSES_MIN = 2
"""One lost look is weather."""

Row = tuple[tuple[str, float], ...]
"""(region, share) of every registered region, sorted by name."""


def dead_regions(sights: Iterable[Sight], own_region: str, own_is_down: bool) -> frozenset[str]:
    """The regions that are of no use to a client here, as far as this agent can see.

    The endpoint decides, for it is the way that clients take; without one, all agents must be out of reach. A region
    is dead also when every agent of it that answers says that its instances are down.
    """
    endpoints: dict[str, Sight] = {}
    agents: dict[str, list[Sight]] = {}
    for sight in sights:
        if sight.agent:
            agents.setdefault(sight.region, []).append(sight)
        else:
            endpoints[sight.region] = sight
    dead = {own_region} if own_is_down else set()
    for region in endpoints.keys() | agents.keys():
        known = agents.get(region, [])
        answering = [sight for sight in known if sight.reachable]
        endpoint = endpoints.get(region)
        if endpoint is not None:
            lost = endpoint.misses >= MISSES_MIN
        else:
            lost = all(sight.misses >= MISSES_MIN for sight in known)
        if lost or (answering and not any(sight.serving for sight in answering)):
            dead.add(region)
    return frozenset(dead)


def without(row: Row, dead: frozenset[str], nearest_first: Iterable[str]) -> Row:
    """The row with the shares of dead regions given to the others in proportion.

    If no other has a share, the nearest region of the row that is not dead gets all. If every region is dead, or none
    has a share, the row stays as it is.
    """
    left = sum(share for region, share in row if region not in dead)
    total = sum(share for _, share in row)
    if not dead or total <= 0:
        return row
    if left > 0:
        return tuple((region, 0.0 if region in dead else share / left * total) for region, share in row)
    names = {region for region, _ in row}
    heir = next((region for region in nearest_first if region in names and region not in dead), None)
    if heir is None:
        return row
    return tuple((region, total if region == heir else 0.0) for region, _ in row)


def nearest_first(sights: Iterable[Sight], own_region: str) -> tuple[str, ...]:
    """The own region, then the others by their smallest round trip; those never reached are left out."""
    rtts: dict[str, int] = {}
    for sight in sights:
        if sight.rtt_ns >= 0:
            rtts[sight.region] = min(sight.rtt_ns, rtts.get(sight.region, sight.rtt_ns))
    return (own_region, *sorted(rtts.keys() - {own_region}, key=lambda region: (rtts[region], region)))

"""Who may have reads when those with a share cannot serve: where a data plane goes before anybody has told it."""

from __future__ import annotations

from primacy_coordinator.core.geo import rtt_estimate_ns
from primacy_coordinator.core.model import RoutingStrategy
from primacy_coordinator.core.routing import RegionInput, Shares, WeightsInput, usable_of


def fallback_of(given: WeightsInput, client: str, row: Shares) -> tuple[str, ...]:
    """The usable regions with no share in the row, nearest to the client region first; unknown ones last.

    Where reads follow the active region, the one that they would follow next comes first, as the coordinator will say.
    A region that the policy gives no weight is none of them: WEIGHTED means it.
    """
    shares = dict(row)
    idle = [
        region
        for region in usable_of(given)
        if not shares.get(region.name)
        and not (given.strategy is RoutingStrategy.WEIGHTED and region.weight <= 0)
        and region.drain >= 1
    ]
    measured = {target: rtt_ns for of, target, rtt_ns in given.rtts if of == client and rtt_ns >= 0}
    home = next((region.location for region in given.regions if region.name == client), None)
    follows = given.strategy is RoutingStrategy.ACTIVE_ONLY
    turns = {name: turn for turn, name in enumerate((given.active_region, *given.fallback) if follows else ())}

    def far_ns(region: RegionInput) -> float:
        if region.name == client:
            return -1.0
        if region.name in measured:
            return measured[region.name]
        if home is not None and region.location is not None:
            return rtt_estimate_ns(home, region.location)
        return float("inf")

    def order(region: RegionInput) -> tuple[int, float, str]:
        return turns.get(region.name, len(turns)), far_ns(region), region.name

    return tuple(region.name for region in sorted(idle, key=order))

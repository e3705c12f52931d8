"""Why a region has the share that it has: a sum of causes.

The rows are computed again and again, each time with one more thing taken into account, in a fixed order; what a share
gains or loses by that is the part of that cause. So the parts add up to the share that is in force, exactly but for the
rounding of floats, and each names what would be different without it:

- `policy`: what the strategy gives by itself. All regions alike for those that look at places, else the policy's
  weights or the active region.
- `latency`: what is near gets more, by round trip or, with GEOGRAPHIC, by distance.
- `capacity`: OPTIMAL alone. What does not fit goes on to where there is room.
- `status`: regions that do not serve, or may not, give their part to the others.
- `health`: regions count by their healthy instances and, with HEALTH, by their errors.
- `panic`: too few regions look healthy, so that all that serve count in full.
- `slow_start`, `drain`: reads come back to a region step by step, or leave it.
- `pin`: what an operator says.
- `slew`: what is given is still on its way to what is wanted, or so near to it that it stays (hysteresis).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from primacy_wire.messages import Load

from primacy_coordinator.core.model import RegionStatus, RoutingStrategy
from primacy_coordinator.core.routing import Matrix, RegionInput, WeightsInput, weigh

Causes = tuple[tuple[str, float], ...]
ClientCauses = tuple[tuple[str, tuple[tuple[str, Causes], ...]], ...]
CAUSES = ("policy", "latency", "capacity", "status", "health", "panic", "slow_start", "drain", "pin", "slew")
"""In the order in which they are taken into account."""
NEGLIGIBLE = 1e-9
BY_PLACE = frozenset({RoutingStrategy.LATENCY, RoutingStrategy.GEOGRAPHIC, RoutingStrategy.OPTIMAL})
"""Strategies that begin with all regions alike, and then look at how near each is: by round trip or by distance."""


def explain(given: WeightsInput, in_force: Matrix) -> ClientCauses:
    """For each client region and region the causes of its share; those that change nothing are left out."""
    found: dict[str, dict[str, list[tuple[str, float]]]] = {}
    before: dict[str, dict[str, float]] = {}
    last: Matrix | None = None
    for cause, matrix in (*_stages(given), ("slew", in_force)):
        if matrix is last:
            continue
        last = matrix
        for client, row in matrix:
            shares, causes = before.setdefault(client, {}), found.setdefault(client, {})
            for region, share in row:
                part = share - shares.get(region, 0.0)
                shares[region] = share
                parts = causes.setdefault(region, [])
                if abs(part) > NEGLIGIBLE:
                    parts.append((cause, part))
    return tuple(
        (client, tuple((region, tuple(parts)) for region, parts in sorted(regions.items())))
        for client, regions in sorted(found.items())
    )


def _stages(given: WeightsInput) -> Iterator[tuple[str, Matrix]]:
    """What the rows would be, with one more cause each time."""
    seen: list[tuple[WeightsInput, Matrix]] = []

    def rows(wanted: WeightsInput) -> Matrix:
        # What does not apply changes nothing, and most causes do not: each different input is computed once.
        for before, matrix in seen:
            if before == wanted:
                return matrix
        seen.append((wanted, weigh(wanted).read))
        return seen[-1][1]

    plain = _known(given, ())
    if given.strategy in BY_PLACE:
        yield "policy", rows(replace(plain, strategy=RoutingStrategy.ROUND_ROBIN))
        if given.strategy is RoutingStrategy.OPTIMAL:
            yield "latency", rows(replace(plain, regions=tuple(replace(r, capacity=0.0) for r in plain.regions)))
            yield "capacity", rows(plain)
        else:
            yield "latency", rows(plain)
    else:
        yield "policy", rows(plain)
    taken: tuple[str, ...] = ()
    for cause in CAUSES[CAUSES.index("status") : CAUSES.index("slew")]:
        taken = (*taken, cause)
        yield cause, rows(_known(given, taken))


def _known(given: WeightsInput, taken: tuple[str, ...]) -> WeightsInput:
    """The input as if only these causes were known."""
    return replace(
        given,
        regions=tuple(_known_of(region, taken) for region in given.regions),
        panic_threshold=given.panic_threshold if "panic" in taken else 0.0,
        pins=given.pins if "pin" in taken else (),
    )


def _known_of(region: RegionInput, taken: tuple[str, ...]) -> RegionInput:
    """The region as if only these causes were known."""
    return replace(
        region,
        status=region.status if "status" in taken else RegionStatus.HEALTHY,
        healthy_share=region.healthy_share if "health" in taken else 1.0,
        load=region.load if "health" in taken else Load(),
        ramp=region.ramp if "slow_start" in taken else 1.0,
        drain=region.drain if "drain" in taken else 1.0,
    )

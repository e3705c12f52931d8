"""Why a region has the share that it has: a sum of causes.

The rows are computed again and again, each time with one more thing taken into account, in a fixed order; what a share
gains or loses by that is the part of that cause. So the parts add up to the share that is in force, exactly but for
the rounding of floats, and each names what would be different without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from primacy_wire.messages import Load

from primacy_coordinator.core.model import RegionStatus, RoutingStrategy
from primacy_coordinator.core.routing import Matrix, RegionInput, WeightsInput, weigh

Causes = tuple[tuple[str, float], ...]
ClientCauses = tuple[tuple[str, tuple[tuple[str, Causes], ...]], ...]
NEGLIGIBLE = 1e-9


def explain(given: WeightsInput, in_force: Matrix) -> ClientCauses:
    """For each client region and region the causes of its share; those that change nothing are left out."""
    found: dict[tuple[str, str], list[tuple[str, float]]] = {}
    before: dict[tuple[str, str], float] = {}
    for cause, matrix in (*_stages(given), ("slew", in_force)):
        for client, row in matrix:
            for region, share in row:
                part = share - before.get((client, region), 0.0)
                before[client, region] = share
                parts = found.setdefault((client, region), [])
                if abs(part) > NEGLIGIBLE:
                    parts.append((cause, part))
    clients = sorted({client for client, _ in found})
    return tuple(
        (client, tuple((region, tuple(parts)) for (of, region), parts in sorted(found.items()) if of == client))
        for client in clients
    )


def _stages(given: WeightsInput) -> Iterator[tuple[str, Matrix]]:
    """What the rows would be, with one more cause each time."""
    if given.strategy is RoutingStrategy.LATENCY:
        alike = replace(given, strategy=RoutingStrategy.ROUND_ROBIN)
        yield "policy", _read(alike, ())
        yield "latency", _read(given, ())
    else:
        yield "policy", _read(given, ())
    taken: tuple[str, ...] = ()
    for cause in ("status", "health", "panic", "slow_start", "drain", "pin"):
        taken = (*taken, cause)
        yield cause, _read(given, taken)


def _read(given: WeightsInput, taken: tuple[str, ...]) -> Matrix:
    return weigh(
        replace(
            given,
            regions=tuple(_known(region, taken) for region in given.regions),
            panic_threshold=given.panic_threshold if "panic" in taken else 0.0,
            pins=given.pins if "pin" in taken else (),
        )
    ).read


def _known(region: RegionInput, taken: tuple[str, ...]) -> RegionInput:
    """The region as if only these causes were known."""
    return replace(
        region,
        status=region.status if "status" in taken else RegionStatus.HEALTHY,
        healthy_share=region.healthy_share if "health" in taken else 1.0,
        load=region.load if "health" in taken else Load(),
        ramp=region.ramp if "slow_start" in taken else 1.0,
        drain=region.drain if "drain" in taken else 1.0,
    )

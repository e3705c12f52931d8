"""How near a target is to a client: round trips and distances, also where nobody has measured any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median_low
from typing import Protocol

from primacy_wire.instant import MILLISECOND_NS

from primacy_coordinator.core.geo import Location, great_circle_km, rtt_estimate_ns

RTT_FLOOR_NS = 5 * MILLISECOND_NS
"""Below this regions are equally near: a region's own round trip would otherwise draw everything."""
OWN_REGION_KM = -1.0
"""A client's own region is nearer than another one in the same city."""
DISTANCE_UNKNOWN_KM = 1e6
"""A region without a location is farther than any place on earth."""


class Placed(Protocol):
    """A region, as far as its place is concerned."""

    @property
    def name(self) -> str: ...
    @property
    def location(self) -> Location | None: ...


def measured_rtts(rtts: Sequence[tuple[str, str, int]]) -> dict[tuple[str, str], int]:
    """(client, target) -> ns, of those that were measured."""
    return {(client, target): rtt_ns for client, target, rtt_ns in rtts if rtt_ns >= 0}


def rtts_ns(client: Placed, targets: Sequence[Placed], measured: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """The round trip to each target: measured, else estimated, else that of the middling one; the floor at home."""
    known: dict[str, int] = {}
    for target in targets:
        if target.name == client.name:
            continue
        rtt_ns = measured.get((client.name, target.name))
        if rtt_ns is None and client.location is not None and target.location is not None:
            rtt_ns = rtt_estimate_ns(client.location, target.location)
        if rtt_ns is not None:
            known[target.name] = rtt_ns
    middle_ns = median_low(known.values() or measured.values() or (RTT_FLOOR_NS,))
    return {
        target.name: max(RTT_FLOOR_NS, 0 if target.name == client.name else known.get(target.name, middle_ns))
        for target in targets
    }


def distance_km(client: Placed, target: Placed) -> float:
    """Over the surface; a client's own region comes first, one without a place last."""
    if client.name == target.name:
        return OWN_REGION_KM
    if client.location is None or target.location is None:
        return DISTANCE_UNKNOWN_KM
    return round(great_circle_km(client.location, target.location), 3)

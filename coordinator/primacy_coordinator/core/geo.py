"""Distances on the globe, and what they say about round trips that nobody has measured."""

from __future__ import annotations

import math

EARTH_RADIUS_KM = 6371.0088
"""Mean radius (IUGG)."""
FIBRE_KM_PER_MS = 299.792458 / 1.468
"""Light in fibre: the vacuum's speed over the group index of silica at 1550 nm."""
PATH_STRETCH = 2.1
"""Cables and routes do not follow great circles: the rule of thumb is 2.1 times the distance at the speed of light in
fibre (I. N. Bozkurt et al., "Dissecting Latency in the Internet's Fiber Infrastructure", 2018)."""

Location = tuple[float, float]
"""(latitude, longitude) in degrees."""


def great_circle_km(a: Location, b: Location) -> float:
    """Length of the shortest way on the surface, by the haversine formula (R. W. Sinnott, 1984)."""
    lat_a, lon_a, lat_b, lon_b = map(math.radians, (*a, *b))
    half = math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(half)))


def rtt_estimate_ns(a: Location, b: Location) -> int:
    """What a round trip over that distance usually takes."""
    return round(2 * PATH_STRETCH * great_circle_km(a, b) / FIBRE_KM_PER_MS * 1e6)


def is_location(latitude: float, longitude: float) -> bool:
    """Whether these are coordinates at all (NaN and infinity are not)."""
    return -90 <= latitude <= 90 and -180 <= longitude <= 180

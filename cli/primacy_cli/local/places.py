"""The regions that a local cluster pretends to have."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    name: str
    latitude: float
    longitude: float
    capacity: float
    """Requests per second."""
    priority: int


_WHERE = (
    ("us-east", 38.95, -77.45, 200.0),
    ("eu-west", 53.35, -6.26, 200.0),
    ("ap-south", 19.08, 72.88, 150.0),
    ("sa-east", -23.55, -46.63, 100.0),
    ("us-west", 45.52, -122.68, 150.0),
    ("ap-northeast", 35.68, 139.69, 150.0),
    ("eu-central", 50.11, 8.68, 150.0),
    ("af-south", -33.92, 18.42, 100.0),
    ("ap-southeast", -33.87, 151.21, 100.0),
    ("ca-central", 45.50, -73.57, 100.0),
)
REGIONS_MAX = len(_WHERE)
AGENTS_MAX = 9
"""In each region."""


def places(count: int) -> tuple[Place, ...]:
    """The first `count` regions, the most preferred first."""
    return tuple(
        Place(name, latitude, longitude, capacity, 100 - 10 * index)
        for index, (name, latitude, longitude, capacity) in enumerate(_WHERE[:count])
    )

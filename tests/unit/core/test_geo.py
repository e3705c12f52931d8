"""Distances between real places, and the round trips they let one expect."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_coordinator.core.geo import Location, great_circle_km, is_location, rtt_estimate_ns

DUBLIN = (53.35, -6.26)
SYDNEY = (-33.87, 151.21)
ASHBURN = (39.04, -77.49)
PLACES = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


def test_known_distances() -> None:
    assert great_circle_km((0, 0), (0, 90)) == pytest.approx(10_007.6, abs=0.1)
    assert great_circle_km((90, 0), (-90, 0)) == pytest.approx(20_015.1, abs=0.1)
    # Over the date line is near, not around the world.
    assert great_circle_km((0, 179.5), (0, -179.5)) == pytest.approx(111.2, abs=0.1)


@given(PLACES, PLACES)
def test_a_distance_is_the_same_both_ways_and_at_most_half_the_globe(a: Location, b: Location) -> None:
    assert great_circle_km(a, b) == pytest.approx(great_circle_km(b, a))
    assert 0 <= great_circle_km(a, b) <= 20_015.2
    assert great_circle_km(a, a) == 0


def test_an_ocean_costs_tens_of_milliseconds_and_half_the_globe_hundreds() -> None:
    assert rtt_estimate_ns(DUBLIN, DUBLIN) == 0
    assert 50e6 < rtt_estimate_ns(DUBLIN, ASHBURN) < 150e6
    assert 200e6 < rtt_estimate_ns(DUBLIN, SYDNEY) < 400e6


@pytest.mark.parametrize(("latitude", "longitude"), [(90.1, 0), (-90.1, 0), (0, 180.1), (0, -180.1)])
def test_what_lies_off_the_globe_is_no_location(latitude: float, longitude: float) -> None:
    assert not is_location(latitude, longitude)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_no_location(value: float) -> None:
    assert not is_location(value, 0) and not is_location(0, value)
    assert is_location(90, -180) and is_location(-90, 180)

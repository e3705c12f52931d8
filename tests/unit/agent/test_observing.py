"""Smoothed round trips, and counts of routes."""

from __future__ import annotations

from primacy_agent.core.observing import Sight
from primacy_agent.core.routes import KINDS_MAX, OTHER, RouteCounter

FIRST = Sight("eu", "eu/one", "127.0.0.1:1")


def test_the_first_round_trip_stands_and_later_ones_pull_by_a_quarter() -> None:
    sight = FIRST.after(True, 100, 1)
    assert sight.rtt_ns == 100
    assert sight.after(True, 200, 2).rtt_ns == 125


def test_a_lost_look_keeps_the_round_trip_and_is_counted() -> None:
    sight = FIRST.after(True, 100, 1).after(False, 0, 2).after(False, 0, 3)
    assert (sight.reachable, sight.rtt_ns, sight.misses) == (False, 100, 2)
    assert sight.after(True, 100, 4).misses == 0


def test_a_report_says_how_long_ago_the_look_was_and_never_a_negative_age() -> None:
    sight = FIRST.after(True, 100, 5)
    assert sight.report(12).age_ns == 7
    assert sight.report(3).age_ns == 0


def test_routes_are_counted_by_kind_and_kinds_are_bounded() -> None:
    counter = RouteCounter()
    for number in range(KINDS_MAX + 50):
        counter.add(f"client-{number}", "eu", 1, 6, "ok")
        counter.add(f"client-{number}", "eu", 1, 6, "ok")
    counts = counter.counts()
    assert len(counts) == KINDS_MAX + 1
    assert sum(count.count for count in counts) == 2 * (KINDS_MAX + 50)
    assert {c.count for c in counts if c.client_region == OTHER} == {100}
    assert counter.counts() is counts

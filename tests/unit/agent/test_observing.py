"""Smoothed round trips."""

from __future__ import annotations

from primacy_agent.core.observing import Sight

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

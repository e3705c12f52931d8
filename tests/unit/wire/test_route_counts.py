"""Counts of routes: bounded kinds, and rates over the last minute."""

from __future__ import annotations

from primacy_wire.instant import SECOND_NS
from primacy_wire.route_counts import KINDS_MAX, OTHER, RouteCounter


def test_routes_are_counted_by_kind_and_kinds_are_bounded() -> None:
    counter = RouteCounter(0)
    for number in range(KINDS_MAX + 50):
        counter.add(f"client-{number}", "eu", 1, 6, "ok")
        counter.add(f"client-{number}", "eu", 1, 6, "ok", 3)
    counts = counter.counts(1)
    assert len(counts) == KINDS_MAX + 1
    assert sum(count.count for count in counts) == 4 * (KINDS_MAX + 50)
    assert {c.count for c in counts if c.client_region == OTHER} == {200}
    assert counter.counts(1) is counts


def test_a_rate_is_over_the_last_minute_or_over_the_life_while_that_is_shorter() -> None:
    counter = RouteCounter(0)
    counter.add("us", "eu", 1, 6, "ok", 100)
    (count,) = counter.counts(20 * SECOND_NS)
    assert (count.count, count.rate) == (100, 5.0)
    for second in range(20, 300):
        counter.add("us", "eu", 1, 6, "ok", 10)
        counter.counts(second * SECOND_NS)
    (count,) = counter.counts(300 * SECOND_NS)
    assert count.count == 2900
    assert 9.0 < count.rate < 11.0
    for second in range(300, 400, 5):
        (count,) = counter.counts(second * SECOND_NS)
    assert (count.count, count.rate) == (2900, 0.0), "what was long ago is no rate"

"""Counts of routes: bounded kinds, and rates over the last minute."""

from __future__ import annotations

from itertools import pairwise

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


def test_a_batch_is_counted_evenly_over_as_much_time_as_it_is_of() -> None:
    """A proxy tells every five seconds: that is no surge every five seconds."""
    counter = RouteCounter(0)
    seen = [0]
    for half in range(60):
        now_ns = half * SECOND_NS // 2
        if half % 10 == 0:
            counter.add_batch("us", "eu", 1, 6, "ok", 500, now_ns, 5 * SECOND_NS)
        seen.append(sum(count.count for count in counter.counts(now_ns)))
    grown = [after - before for before, after in pairwise(seen)]
    assert set(grown[2:]) == {50}, "a hundred a second, at every look"
    assert sum(count.count for count in counter.counts(40 * SECOND_NS)) == 3000, "none is lost, and none comes twice"


def test_batches_of_many_are_added_up_and_one_of_no_length_counts_at_once() -> None:
    counter = RouteCounter(0)
    counter.add_batch("us", "eu", 1, 6, "ok", 7, 0, 0)
    assert [count.count for count in counter.counts(0)] == [7]
    for now_ns in range(0, 4 * SECOND_NS, SECOND_NS // 10):
        counter.add_batch("us", "eu", 1, 6, "ok", 1, now_ns, 5 * SECOND_NS)
        counter.add_batch("us", f"eu-{now_ns}", 1, 6, "ok", 1, now_ns, 5 * SECOND_NS)
    assert sum(count.count for count in counter.counts(20 * SECOND_NS)) == 87

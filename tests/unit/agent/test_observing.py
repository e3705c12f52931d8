"""Smoothed round trips, loads from counters, and a metrics page read exactly."""

from __future__ import annotations

from primacy_agent.core.observing import LoadWindow, Sample, Sight, load_between
from primacy_agent.core.routes import KINDS_MAX, OTHER, RouteCounter
from primacy_agent.probes.service_metrics import parse_series
from primacy_wire.instant import MILLISECOND_NS
from primacy_wire.messages import Load

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


def sample(at_ms: int, **values: float) -> Sample:
    return Sample(at_ms * MILLISECOND_NS, values)


def test_rates_come_from_growth_over_time() -> None:
    before = sample(0, requests=100, errors=10, seconds_sum=5, seconds_count=100, utilisation=0.1, capacity=50)
    after = sample(2000, requests=140, errors=20, seconds_sum=7, seconds_count=140, utilisation=0.4, capacity=60)
    assert load_between(before, after) == Load(20.0, 0.25, 50 * MILLISECOND_NS, 0.4, 60.0)


def test_what_is_not_known_is_negative() -> None:
    assert load_between(None, sample(0, requests=5)) == Load()
    assert load_between(sample(0, requests=5), sample(1000)) == Load()
    assert load_between(sample(0, utilisation=1), sample(1000, utilisation=-3)) == Load()
    idle = load_between(sample(0, requests=5, errors=1), sample(1000, requests=5, errors=1))
    assert (idle.request_rate, idle.error_rate, idle.latency_ns) == (0.0, 0.0, -1)


def test_the_window_reaches_back_a_second_and_no_farther_than_it_must() -> None:
    window = LoadWindow()
    rates = [window.after(sample(at, requests=at * at)).request_rate for at in range(0, 2001, 250)]
    assert rates[0] == -1
    # From 1 s on: (t² - (t-1000)²) / 1 s = 2000·t - 1,000,000 for t in milliseconds.
    assert rates[4:] == [2000 * at - 1_000_000 for at in range(1000, 2001, 250)]


def test_a_restarted_service_begins_a_new_window() -> None:
    window = LoadWindow()
    window.after(sample(0, requests=900))
    window.after(sample(500, requests=1000))
    assert window.after(sample(1000, requests=5)).request_rate == -1
    assert window.after(sample(1500, requests=10)).request_rate == 10


def test_a_sight_of_time_standing_still_divides_by_nothing() -> None:
    assert load_between(sample(5, requests=1), sample(5, requests=2)).request_rate == -1


PAGE = """# HELP demo_requests_total Requests.
# TYPE demo_requests_total counter
demo_requests_total{path="/a b",brace="}"} 3
demo_requests_total{path="/c"} 4 1700000000000
demo_requests_total_more 99
demo_utilisation 0.5
demo_capacity NaN
demo_errors
demo_seconds {le="+Inf"} 7
demo_wrong abc
"""


def test_a_metrics_page_is_read_by_exact_names_and_summed_over_labels() -> None:
    names = ("demo_requests_total", "demo_utilisation", "demo_capacity", "demo_errors", "demo_seconds", "demo_wrong")
    assert parse_series(PAGE, {name: name for name in names}) == {
        "demo_requests_total": 7.0,
        "demo_utilisation": 0.5,
        "demo_seconds": 7.0,
    }


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

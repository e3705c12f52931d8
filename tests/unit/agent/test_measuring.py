"""Rates from counters, gauges as they are, conditions, and what instances do together."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_agent.core.mapping import COUNTERS, GAUGES, Mapped
from primacy_agent.core.measuring import (
    INT_MAX,
    NOTHING,
    Condition,
    Readings,
    Sample,
    Window,
    readings_between,
    together,
)
from primacy_agent.core.selectors import Selector
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.messages import Lag, Load


def sample(at_ms: int, **values: float) -> Sample:
    return Sample(at_ms * MILLISECOND_NS, values)


def window(*own_counters: str) -> Window:
    return Window([Mapped(key, Selector(key), counter=True) for key in (*COUNTERS, *own_counters)])


def between(before: Sample | None, after: Sample) -> Readings:
    return readings_between(before, after, COUNTERS)


def test_rates_come_from_growth_over_time() -> None:
    before = sample(0, requests=100, errors=10, seconds_sum=5, seconds_count=100, utilisation=0.1, capacity=50)
    after = sample(2000, requests=140, errors=20, seconds_sum=7, seconds_count=140, utilisation=0.4, capacity=60)
    assert between(before, after).load() == Load(20.0, 0.25, 50 * MILLISECOND_NS, 0.4, 60.0)


def test_gauges_are_taken_as_they_are() -> None:
    readings = between(
        None,
        sample(0, request_rate=7, error_rate=0.5, latency_seconds=0.25, in_flight=3, lag_seconds=2.5, lag_entries=4),
    )
    assert readings.load() == Load(7.0, 0.5, SECOND_NS // 4, in_flight=3.0)
    assert readings.lag() == Lag(2_500_000_000, 4, -1)


def test_what_is_not_known_is_negative() -> None:
    assert between(None, sample(0, requests=5)).load() == Load()
    assert between(sample(0, requests=5), sample(1000)).load() == Load()
    assert Readings().lag() == Lag()
    idle = between(sample(0, requests=5, errors=1), sample(1000, requests=5, errors=1)).load()
    assert (idle.request_rate, idle.error_rate, idle.latency_ns) == (0.0, 0.0, -1)


def test_a_lag_never_leaves_the_wire_type_and_never_rounds_down_to_none() -> None:
    assert Readings({"lag_seconds": 1e300, "lag_entries": 1e300, "lag_bytes": 0.2}).lag() == Lag(INT_MAX, INT_MAX, 1)
    assert Readings({"latency_seconds": 1e300}).load().latency_ns == INT_MAX


def test_the_window_reaches_back_a_second_and_no_farther_than_it_must() -> None:
    measured = window("mine")
    seen = [measured.after(sample(at, requests=at * at, mine=2 * at * at)) for at in range(0, 2001, 250)]
    rates = [readings.load().request_rate for readings in seen]
    assert rates[0] == -1
    # From 1 s on: (t² - (t-1000)²) / 1 s = 2000·t - 1,000,000 for t in milliseconds.
    assert rates[4:] == [2000 * at - 1_000_000 for at in range(1000, 2001, 250)]
    assert [dict(readings.own()).get("mine", -2) for readings in seen] == [2 * rate for rate in rates]


def test_a_restarted_service_begins_a_new_window() -> None:
    measured = window()
    measured.after(sample(0, requests=900))
    measured.after(sample(500, requests=1000))
    assert measured.after(sample(1000, requests=5)).load().request_rate == -1
    assert measured.after(sample(1500, requests=10)).load().request_rate == 10


def test_what_was_read_before_a_failure_is_forgotten() -> None:
    measured = window()
    measured.after(sample(0, requests=5))
    measured.forget()
    assert measured.after(sample(1000, requests=9)).load().request_rate == -1


def test_the_capacity_of_an_instance_outlives_a_look_that_fails() -> None:
    """Its health says that it is gone: without its capacity, that would be said twice."""
    well = Readings({"capacity": 80.0, "request_rate": 5.0})
    assert NOTHING.keeping(well).values == {"capacity": 80.0}
    assert Readings({"capacity": 40.0}).keeping(well).values == {"capacity": 40.0}
    assert Readings({"in_flight": 1.0}).keeping(NOTHING).values == {"in_flight": 1.0}


def test_time_that_stands_still_divides_by_nothing() -> None:
    assert between(sample(5, requests=1), sample(5, requests=2)).load().request_rate == -1


# ---- conditions


@pytest.mark.parametrize(
    ("condition", "value", "holds", "why"),
    [
        (Condition("u", below=0.9), 0.899, True, ""),
        (Condition("u", below=0.9), 0.9, False, "u is 0.9, not below 0.9"),
        (Condition("u", above=0), 0.0, False, "u is 0, not above 0"),
        (Condition("u", above=0), -4.56789, False, "u is -4.57, not above 0"),
        (Condition("u", below=2, above=1), 1.5, True, ""),
        (Condition("u", below=2, above=1), 2.5, False, "u is 2.5, not below 2"),
        (Condition("u", below=2, above=1), 0.5, False, "u is 0.5, not above 1"),
    ],
)
def test_a_condition_holds_strictly_between_its_bounds(
    condition: Condition, value: float, holds: bool, why: str
) -> None:
    assert condition.judge(Readings({"u": value})) == (holds, why)


def test_a_rate_needs_two_looks_and_an_idle_service_is_not_ill() -> None:
    slow, busy = Condition("latency_seconds", below=0.1), Condition("mine", below=5)
    measured = window("mine")
    first = measured.after(sample(0, seconds_sum=1, seconds_count=5, mine=0))
    assert slow.judge(first)[0] is None and busy.judge(first)[0] is None
    idle = measured.after(sample(1000, seconds_sum=1, seconds_count=5, mine=9))
    assert slow.judge(idle) == (True, "")
    assert busy.judge(idle) == (False, "mine is 9, not below 5")
    assert slow.judge(measured.after(sample(2000, seconds_sum=2, seconds_count=6, mine=9)))[0] is False


# ---- over all instances


def test_instances_work_together_and_lag_as_the_farthest_behind() -> None:
    one = Readings({"request_rate": 30, "error_rate": 0.1, "capacity": 100, "utilisation": 0.3, "lag_seconds": 2})
    two = Readings(
        {"request_rate": 10, "error_rate": 0.5, "capacity": 300, "utilisation": 0.1, "lag_seconds": 9, "q": 1}
    )
    values = together([one, two, Readings({"in_flight": 4})]).values
    assert values == {
        "request_rate": 40,
        "error_rate": pytest.approx(0.2),
        "capacity": 400,
        "utilisation": pytest.approx(0.15),
        "lag_seconds": 9,
        "in_flight": 4,
    }


def test_means_without_weights_are_plain() -> None:
    one, two = Readings({"utilisation": 0.2}), Readings({"utilisation": 0.4, "capacity": 10})
    assert together([one, two]).values["utilisation"] == pytest.approx(0.3)
    idle = [Readings({"error_rate": rate, "request_rate": 0.0}) for rate in (0.0, 1.0)]
    assert together(idle).values["error_rate"] == pytest.approx(0.5)
    assert together([]).values == {}


NUMBERS = st.floats(min_value=0, max_value=1e308, allow_nan=False)


@given(each=st.lists(st.dictionaries(st.sampled_from(GAUGES), NUMBERS), max_size=4))
def test_together_nothing_is_made_up_and_nothing_is_no_number(each: list[dict[str, float]]) -> None:
    values = together([Readings(one) for one in each]).values
    for name, value in values.items():
        having = [one[name] for one in each if name in one]
        assert math.isfinite(value)
        assert value >= min(having) * (1 - 1e-9) - 1e-300
        if name not in ("request_rate", "capacity", "in_flight"):
            assert value <= max(having) * (1 + 1e-9)
    for lag in (name for one in each for name in one if name.startswith("lag_")):
        assert lag in values, "a known lag is never lost"
    Readings(values).load()
    Readings(values).lag()


@given(
    steps=st.lists(st.tuples(st.integers(0, 3000), st.dictionaries(st.sampled_from((*COUNTERS, "own")), NUMBERS))),
)
def test_a_window_never_gives_what_is_no_number_or_below_zero(steps: list[tuple[int, dict[str, float]]]) -> None:
    measured, at_ms = window("own"), 0
    for pause_ms, values in steps:
        at_ms += pause_ms
        readings = measured.after(sample(at_ms, **values))
        assert all(math.isfinite(value) and value >= 0 for value in readings.values.values())
        assert not set(readings.values) & readings.pending
        assert readings.load().error_rate <= 1

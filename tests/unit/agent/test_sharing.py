"""Roll-ups, and the newest snapshot of everybody."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from primacy_agent.core.rollup import SERIES_MAX, WINDOW_NS, Rollup
from primacy_agent.core.sharing import FORGOTTEN_NS, GroupMetricsView
from primacy_wire.instant import SECOND_NS, Now
from primacy_wire.log_messages import MetricsSnapshot
from primacy_wire.sketch import Sketch


def at(seconds: float) -> Now:
    return Now(int(seconds * SECOND_NS), 10**18 + int(seconds * SECOND_NS))


def snapshot(region: str, agent: str, version: int, wall_s: int, *values: float, life: str = "a") -> MetricsSnapshot:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    incarnation = life if agent else ""
    series = (sketch.to_series("latency"),)
    return MetricsSnapshot(region, agent, incarnation, version, WINDOW_NS, wall_s * SECOND_NS, series)


def test_a_window_ends_when_its_time_has_come_and_only_with_values() -> None:
    rollup = Rollup("eu", "eu/a", "life", at(0))
    assert rollup.close(at(11)) is None, "nothing was measured"
    rollup.observe("latency", 0.2)
    rollup.observe("latency", 0.4)
    rollup.observe("load", float("nan"))
    assert rollup.close(at(15)) is None
    found = rollup.close(at(22))
    assert found is not None and (found.version, found.window_ns) == (1, 11 * SECOND_NS)
    (series,) = found.series
    assert (series.name, series.count, series.last) == ("latency", 2, 0.4)
    assert rollup.close(at(40)) is None, "a window begins empty"


def test_series_beyond_the_most_are_counted_and_dropped() -> None:
    rollup = Rollup("eu", "eu/a", "life", at(0))
    for number in range(SERIES_MAX + 5):
        rollup.observe(f"s{number}", 1.0)
    found = rollup.close(at(20))
    assert found is not None and len(found.series) == SERIES_MAX and rollup.dropped == 5


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 6)), max_size=30), st.randoms())
def test_the_latest_wins_in_whatever_order_they_come(said: list[tuple[str, int]], draw: random.Random) -> None:
    """A later life of an agent ends its windows later."""
    snapshots = [snapshot("eu", "eu/a", version, 100 * "ab".index(life) + version, life=life) for life, version in said]
    views = []
    for _ in range(2):
        view = GroupMetricsView()
        draw.shuffle(snapshots)
        for one in snapshots:
            view.take([one], 0)
        views.append(view.of_agents())
    assert views[0] == views[1]
    if said:
        assert [(one.incarnation, one.version) for one in views[0]] == [max(said)]


def test_what_came_before_is_not_news() -> None:
    view = GroupMetricsView()
    one = snapshot("eu", "eu/a", 1, 5)
    assert view.take([one], 0) == [one] and view.take([one], 1) == []
    assert view.newer_than([]) == [one] and view.newer_than([one]) == []
    assert view.newer_than([snapshot("eu", "eu/a", 2, 9)]) == []
    view.forget(FORGOTTEN_NS)
    assert view.of_agents() == []


def test_a_region_is_what_the_coordinator_says_until_its_agents_know_better() -> None:
    view = GroupMetricsView()
    view.take([snapshot("eu", "", 1, 10, 1.0, 2.0, 3.0)], 0)
    view.take([snapshot("eu", "eu/a", 1, 9, 1.0), snapshot("eu", "eu/b", 1, 10, 2.0)], 1)
    (told,) = view.regions()
    assert told.snapshot.series[0].count == 3 and told.came_ns == 0
    view.take([snapshot("eu", "eu/b", 2, 20, 5.0)], 7)
    (own,) = view.regions()
    assert own.snapshot.series[0].count == 2 and own.snapshot.wall_ns == 20 * SECOND_NS and own.came_ns == 7

"""Roll-ups, and the newest snapshot of everybody."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_agent.core.rollup import NAME_LENGTH_MAX, SAMPLED_NS_MAX, WINDOW_NS, Rollup
from primacy_agent.core.sharing import FORGOTTEN_NS, SNAPSHOTS_MAX, STALE_NS, GroupMetricsView
from primacy_wire.codec_log import metrics_from_proto, metrics_to_proto
from primacy_wire.instant import SECOND_NS, Now
from primacy_wire.log_messages import MetricsSnapshot
from primacy_wire.sketch import LARGEST, SERIES_MAX, SMALLEST, SNAPSHOT_BYTES_MAX, Sketch, series_bytes

EPOCH_NS = 10**18


def at(seconds: float) -> Now:
    return Now(int(seconds * SECOND_NS), EPOCH_NS + int(seconds * SECOND_NS))


def snapshot(agent: str, version: int, second: float, *values: float, life: str = "a") -> MetricsSnapshot:
    """A window that ended at that second. `agent` without a slash: the coordinator's word of a region."""
    sketch = Sketch()
    for value in values or (1.0,):
        sketch.add(value)
    region, slash, _ = agent.partition("/")
    series = (sketch.to_series("latency_seconds"),)
    return MetricsSnapshot(region, agent if slash else "", life, version, WINDOW_NS, at(second).wall_ns, series)


# ---- roll-ups


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


def test_means_over_requests_count_as_often_as_there_were_requests() -> None:
    rollup = Rollup("eu", "eu/a", "life", at(0))
    rollup.sample(at(1), {"request_rate": 100.0, "latency_seconds": 0.1, "error_rate": 0.0, "utilisation": 0.5})
    rollup.sample(at(2), {"request_rate": 1.0, "latency_seconds": 9.0, "error_rate": 1.0, "utilisation": 0.7})
    found = rollup.close(at(10))
    assert found is not None
    series = {one.name: one for one in found.series}
    assert {name: one.count for name, one in series.items()} == {
        "request_rate": 2,
        "latency_seconds": 101,
        "error_rate": 101,
        "utilisation": 2,
    }
    assert Sketch.from_series(series["latency_seconds"]).quantile(0.9) == pytest.approx(0.1, rel=0.01)
    assert series["error_rate"].sum / 101 == pytest.approx(1 / 101)


def test_no_request_is_counted_twice_or_lost_however_often_it_is_looked() -> None:
    rollup = Rollup("eu", "eu/a", "life", at(0))
    for number in range(1, 91):
        rollup.sample(at(number / 10), {"request_rate": 3.0, "latency_seconds": 0.1})
    rollup.sample(at(9.001), {"request_rate": 0.0, "latency_seconds": 7.0})
    found = rollup.close(at(10))
    assert found is not None
    latency = next(one for one in found.series if one.name == "latency_seconds")
    assert latency.count in (26, 27) and latency.max == 0.1


def test_a_sample_speaks_for_no_longer_than_it_can() -> None:
    rollup = Rollup("eu", "eu/a", "life", at(0))
    rollup.sample(at(5000), {"request_rate": 10.0, "latency_seconds": 0.1})
    found = rollup.close(at(5000))
    assert found is not None
    latency = next(one for one in found.series if one.name == "latency_seconds")
    assert latency.count == 10 * SAMPLED_NS_MAX // SECOND_NS


def test_a_mean_counts_once_where_requests_are_not_measured() -> None:
    rollup = Rollup("eu", "eu/a", "life", at(0))
    rollup.sample(at(1), {"latency_seconds": 0.1})
    found = rollup.close(at(10))
    assert found is not None and found.series[0].count == 1


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["request_rate", "latency_seconds", "depth", "", "x" * (NAME_LENGTH_MAX + 1)]), st.floats()
        ),
        max_size=20,
    )
)
def test_whatever_is_measured_the_snapshot_is_taken_by_whoever_gets_it(samples: list[dict[str, float]]) -> None:
    rollup = Rollup("eu", "eu/a", "life", at(0))
    for number, values in enumerate(samples):
        rollup.sample(at(number), values)
    found = rollup.close(at(100))
    if found is not None:
        assert metrics_from_proto(metrics_to_proto(found)) == found


def test_a_snapshot_is_no_longer_than_may_be_shared() -> None:
    rollup = Rollup("eu", "eu/a", "life", at(0))
    for number in range(20):
        for value in (SMALLEST, 1.0, LARGEST):
            rollup.observe(f"s{number}", value)
    found = rollup.close(at(10))
    assert found is not None and 0 < len(found.series) < 20
    assert sum(map(series_bytes, found.series)) <= SNAPSHOT_BYTES_MAX
    assert rollup.dropped == 3 * (20 - len(found.series))


# ---- the newest of everybody


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 6)), max_size=30), st.randoms())
def test_the_latest_wins_in_whatever_order_they_come(said: list[tuple[str, int]], draw: random.Random) -> None:
    """A later life of an agent ends its windows later."""
    snapshots = [snapshot("eu/a", version, 100 * "ab".index(life) + version, life=life) for life, version in said]
    views = []
    for _ in range(2):
        view = GroupMetricsView()
        draw.shuffle(snapshots)
        for one in snapshots:
            view.take([one], at(110))
        views.append(view.of_agents())
    assert views[0] == views[1]
    if said:
        assert [(one.incarnation, one.version) for one in views[0]] == [max(said)]


def test_what_came_before_is_not_news() -> None:
    view = GroupMetricsView()
    one = snapshot("eu/a", 1, 5)
    assert view.take([one], at(6)) == [one] and view.take([one], at(7)) == []
    assert view.newer_than([]) == [one] and view.newer_than([one]) == []
    assert view.newer_than([snapshot("eu/a", 2, 9)]) == []


def test_of_itself_an_agent_believes_nobody_else() -> None:
    view = GroupMetricsView("eu/a")
    old = snapshot("eu/a", 7, 500, life="before")
    assert view.take([old], at(10)) == []
    own = snapshot("eu/a", 1, 10)
    view.measured(own, at(10))
    assert view.take([old], at(11)) == [] and view.of_agents() == [own]


def test_a_header_says_which_version_somebody_has_and_is_never_kept() -> None:
    view = GroupMetricsView("eu/a")
    own, other = snapshot("eu/a", 1, 10), snapshot("us/a", 3, 10)
    view.measured(own, at(10))
    view.take([other], at(10))
    assert view.offer() == [own, replace(other, series=())]
    there = GroupMetricsView("us/a")
    assert there.take(view.offer(), at(11)) == [own] and there.of_agents() == [own]
    there.measured(snapshot("us/a", 3, 10), at(11))
    assert there.newer_than(view.offer()) == []
    there.measured(snapshot("us/a", 4, 20), at(20))
    assert [one.version for one in there.newer_than(view.offer())] == [4]


def test_what_nobody_renewed_is_forgotten_and_not_handed_around_for_ever() -> None:
    hour = FORGOTTEN_NS / SECOND_NS
    views = [GroupMetricsView("eu/a"), GroupMetricsView("us/a")]
    views[0].take([snapshot("ap/a", 1, 0)], at(0))
    second = 0.0
    while second < 2 * hour:  # They hand it to each other again and again.
        second += 600
        for mine, other in (views, views[::-1]):
            other.take(mine.newer_than(other.offer()), at(second))
            mine.forget(at(second))
        for number, view in enumerate(views):
            known = {one.agent for one in view.of_agents()}
            assert known == ({"ap/a"} if second < hour else set()), (number, second)


def test_no_flood_of_names_pushes_out_what_is_known() -> None:
    view = GroupMetricsView("eu/a")
    first = snapshot("us/a", 1, 0)
    view.take([first], at(0))
    view.take((snapshot(f"us/x{number}", 1, 0) for number in range(SNAPSHOTS_MAX + 10)), at(1))
    view.measured(snapshot("eu/a", 1, 1), at(1))
    assert len(view.of_agents()) == SNAPSHOTS_MAX
    assert view.take([snapshot("us/a", 2, 10)], at(10)), "what is known is renewed all the same"


def test_who_left_the_group_is_forgotten_whoever_still_names_it() -> None:
    view = GroupMetricsView("eu/a")
    view.follow(["eu/a", "us/a", "us/b"], at(0))
    view.tell([snapshot("eu", 1, 1), snapshot("us", 2, 1)], at(1))
    view.take([snapshot("us/a", 1, 1), snapshot("us/b", 1, 1)], at(1))
    view.follow(["eu/a", "us/a"], at(2))
    assert view.take([snapshot("us/b", 2, 10)], at(10)) == [] and [one.agent for one in view.of_agents()] == ["us/a"]
    view.follow(["eu/a"], at(20))
    assert [kept.snapshot.region for kept in view.regions(heard=True)] == ["eu"]
    view.follow(["eu/a", "us/b"], at(30))
    assert view.take([snapshot("us/b", 3, 30)], at(30)), "it is back"
    assert view.take([snapshot("ap/a", 1, 30)], at(30)), "a new one may be heard of by others first"


# ---- the view of regions


def counts(view: GroupMetricsView, heard: bool) -> dict[str, int]:
    return {kept.snapshot.region: kept.snapshot.series[0].count for kept in view.regions(heard)}


def test_a_region_is_what_the_coordinator_says_while_it_is_heard_and_its_agents_say_no_more() -> None:
    view = GroupMetricsView("eu/a")
    view.tell([snapshot("us", 1, 10, 1.0, 2.0, 3.0)], at(10))
    view.take([snapshot("us/a", 1, 9, 1.0), snapshot("us/b", 1, 20, 2.0)], at(20))
    assert counts(view, heard=True) == {"us": 3}
    assert counts(view, heard=False) == {"us": 2}, "nobody else will say anything newer"
    silent = 10 + STALE_NS / SECOND_NS
    view.take([snapshot("us/b", 2, silent, 2.0, 4.0, 5.0, 6.0)], at(silent))
    assert counts(view, heard=True) == {"us": 3}
    view.take([snapshot("us/a", 2, silent + 1, 1.0)], at(silent + 1))
    assert counts(view, heard=True) == {"us": 5}, "the coordinator hears nothing of that region"


def test_the_last_word_stays_with_its_age_when_nobody_says_anything_any_more() -> None:
    view = GroupMetricsView("eu/a")
    view.tell([snapshot("us", 1, 10, 1.0, 2.0)], at(10))
    view.measured(snapshot("eu/a", 1, 10, 5.0), at(10))
    for second in (11, 600, 3000):
        view.forget(at(second))
        found = {kept.snapshot.region: kept.came_ns for kept in view.regions(heard=False)}
        assert found == {"eu": at(10).mono_ns, "us": at(10).mono_ns}
    view.forget(at(3611))
    assert view.regions(heard=False) == []


def test_the_coordinators_word_is_the_newest_whatever_its_clock_says() -> None:
    view = GroupMetricsView("eu/a")
    view.tell([snapshot("us", 9, 1000, 1.0)], at(1))
    view.tell([snapshot("us", 1, 10, 1.0, 2.0)], at(2))
    view.tell([snapshot("us/a", 1, 10)], at(3))
    assert counts(view, heard=True) == {"us": 2} and view.of_agents() == []


def test_who_fell_silent_is_no_part_of_its_region_any_more() -> None:
    view = GroupMetricsView("eu/a")
    view.take([snapshot("us/a", 1, 0, 1.0), snapshot("us/b", 1, 0, 2.0, 3.0)], at(0))
    assert counts(view, heard=False) == {"us": 3}
    later = STALE_NS / SECOND_NS + 1
    view.take([snapshot("us/a", 2, later, 1.0)], at(later))
    (found,) = view.regions(heard=False)
    assert found.snapshot.agent == "us/a" and found.came_ns == at(later).mono_ns


@given(
    st.lists(
        st.tuples(st.sampled_from(["us/a", "us/b", "ap/a"]), st.lists(st.floats(0.001, 99), min_size=1, max_size=3)),
        max_size=20,
    )
)
def test_agents_together_are_the_newest_of_each(said: list[tuple[str, list[float]]]) -> None:
    """Also when the view is read in between: what was merged before is merged anew."""
    view = GroupMetricsView("eu/a")
    newest: dict[str, int] = {}
    for version, (agent, values) in enumerate(said, 1):
        view.take([snapshot(agent, version, version, *values)], at(version))
        newest[agent] = len(values)
        wanted: dict[str, int] = {}
        for name, count in newest.items():
            region = name.partition("/")[0]
            wanted[region] = wanted.get(region, 0) + count
        assert counts(view, heard=False) == wanted

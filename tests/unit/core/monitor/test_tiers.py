"""Steps of all lengths, and what is asked of them, beside a list of everything that was ever put in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from primacy_coordinator.core.monitor.model import Aggregation
from primacy_coordinator.core.monitor.queries import Answer, Query, answer, extract
from primacy_coordinator.core.monitor.series import Key
from primacy_coordinator.core.monitor.tiers import HOUR_S, LIMITS, MINUTE_S, Limits, Measured, Tiers
from primacy_wire.sketch import SERIES_MAX, Sketch

BEGIN = 1_700_000_000 // HOUR_S * HOUR_S
RATE = "request_rate"
LATENCY = "latency_seconds"


def settle(tiers: Tiers) -> None:
    while tiers.work():
        pass


def measured(region: str, *values: float, name: str = LATENCY, agent: str = "1") -> Measured:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    return Measured(region, f"{region}/{agent}", (sketch.to_series(name),))


def ask(tiers: Tiers, query: Query) -> Answer:
    return answer(extract(tiers, query))


def last(tiers: Tiers, series: str, seconds: int, **wanted: object) -> list[tuple[int, float]]:
    """All regions as one over the newest seconds, in steps of a second."""
    end = tiers.second + 1
    lines = ask(tiers, Query(series, end - seconds, end, 1, together=True, **wanted))  # type: ignore[arg-type]
    return list(lines[0][1]) if lines else []


@dataclass
class Dumb:
    """Remembers everything, and looks at all of it for every answer."""

    gauges: list[tuple[int, Key, float]] = field(default_factory=list)
    values: list[tuple[int, Key, float]] = field(default_factory=list)

    def gauge(self, query: Query, region: str, end: int) -> list[float]:
        return [v for s, key, v in self.gauges if self._is_in(query, s, end) and key == Key(query.series, region)]

    def distribution(self, query: Query, end: int, region: str = "") -> list[float]:
        return [
            v
            for s, key, v in self.values
            if self._is_in(query, s // 10 * 10, end) and key.name == query.series and region in ("", key.region)
        ]

    def _is_in(self, query: Query, second: int, end: int) -> bool:
        return end - query.step <= second < end and second < query.last


samples = st.lists(
    st.tuples(
        st.integers(1, 40),  # Seconds since the one before: some ticks are missed.
        st.sampled_from(["a", "b"]),
        st.floats(0, 1e6) | st.just(math.nan) | st.just(math.inf),
        st.lists(st.floats(1e-6, 1e4), max_size=3),
    ),
    min_size=1,
    max_size=150,
)


@settings(deadline=None, max_examples=60)
@given(samples, st.sampled_from([MINUTE_S, 2 * MINUTE_S, 5 * MINUTE_S]))
def test_answers_are_those_of_a_list_of_everything(given: list[tuple[int, str, float, list[float]]], step: int) -> None:
    tiers, dumb = Tiers(), Dumb()
    second = BEGIN
    for after, region, value, values in given:
        second += after
        tiers.put(second, [(Key(RATE, region), value)], [measured(region, *values)] if values else [])
        if math.isfinite(value):
            dumb.gauges.append((second, Key(RATE, region), value))
        dumb.values += [(second, Key(LATENCY, region), value) for value in values]
    # The last steps are closed.
    tiers.put(second // MINUTE_S * MINUTE_S + 2 * MINUTE_S, [])
    settle(tiers)
    first, end = BEGIN, second // step * step + step
    for aggregation, expected in (
        (Aggregation.AVERAGE, lambda found: sum(found) / len(found)),
        (Aggregation.MINIMUM, min),
        (Aggregation.MAXIMUM, max),
        (Aggregation.LAST, lambda found: found[-1]),
    ):
        query = Query(RATE, first, end, step, aggregation=aggregation)
        lines = dict(ask(tiers, query))
        for region in ("a", "b"):
            wanted = [
                (at, expected(found))
                for at in range(first + step, end + step, step)
                if (found := dumb.gauge(query, region, at))
            ]
            points = lines.get((region, ""), ())
            assert [at for at, _ in points] == [at for at, _ in wanted]
            assert [value for _, value in points] == pytest.approx([value for _, value in wanted], rel=1e-6)
    query = Query(LATENCY, first, end, step, together=True, quantile=0.9)
    count = dict(ask(tiers, Query(LATENCY, first, end, step, together=True, aggregation=Aggregation.COUNT)))
    for (at, value), (_, number) in zip(
        *(lines.get(("", ""), ()) for lines in (dict(ask(tiers, query)), count)), strict=True
    ):
        found = sorted(dumb.distribution(query, at))
        assert number == len(found)
        exact = found[math.floor(0.9 * (len(found) - 1))]
        assert value == pytest.approx(exact, rel=0.0101)


def test_what_was_not_measured_is_a_gap() -> None:
    tiers = Tiers()
    for second in (BEGIN, BEGIN + 1, BEGIN + 5):
        tiers.put(second, [(Key(RATE, "a"), 7.0)])
    assert last(tiers, RATE, 10) == [(BEGIN + 1, 7.0), (BEGIN + 2, 7.0), (BEGIN + 6, 7.0)]


def test_a_second_has_its_samples_once() -> None:
    tiers = Tiers()
    tiers.put(BEGIN, [(Key(RATE, "a"), 1.0)])
    tiers.put(BEGIN, [(Key(RATE, "a"), 9.0)])
    assert last(tiers, RATE, 5) == [(BEGIN + 1, 1.0)]


def test_what_agents_measured_is_taken_though_the_second_was_looked_at_before() -> None:
    """A look may come a little early: the windows of agents are seen once."""
    tiers = Tiers()
    tiers.put(BEGIN, [(Key(RATE, "a"), 1.0)], [measured("a", 0.1)])
    tiers.put(BEGIN, [(Key(RATE, "a"), 1.0)], [measured("a", 0.2)])
    tiers.put(BEGIN + 10, [])
    settle(tiers)
    (line,) = ask(tiers, Query(LATENCY, BEGIN, BEGIN + 10, 10, aggregation=Aggregation.COUNT))
    assert line[1] == ((BEGIN + 10, 2.0),)


def test_a_clock_that_is_set_back_ends_what_has_not_been_yet_and_doubles_nothing() -> None:
    tiers = Tiers()
    for second in range(BEGIN, BEGIN + 300):
        tiers.put(second, [(Key(RATE, "a"), 1.0)], [measured("a", 0.1)] if second % 10 == 0 else [])
        settle(tiers)
    back = BEGIN + 125
    tiers.rewind(back)
    for second in range(back, back + 300):
        tiers.put(second, [(Key(RATE, "a"), 2.0)], [measured("a", 0.2)] if second % 10 == 0 else [])
        settle(tiers)
    lines = dict(ask(tiers, Query(RATE, BEGIN, back + 300, 1)))
    assert [at for at, _ in lines["a", ""]] == list(range(BEGIN + 1, back + 301))
    assert dict(lines["a", ""])[back] == 1.0
    assert dict(lines["a", ""])[back + 1] == 2.0
    counts = dict(ask(tiers, Query(LATENCY, BEGIN, back + 300, 10, aggregation=Aggregation.COUNT)))
    assert all(number <= 1 for _, number in counts["a", ""])
    rows = [[row.start for row in ring.rows] for ring in tiers.gauge_rings]
    rows += [[row.start for row in ring.rows] for ring in tiers.sketch_rings]
    assert all(starts == sorted(set(starts)) for starts in rows)


def test_a_clock_that_is_set_back_costs_no_more_than_that_of_the_hour() -> None:
    tiers = Tiers()
    end = BEGIN + 30 * MINUTE_S + 35
    for second in range(BEGIN, end):
        tiers.put(second, [(Key(RATE, "a"), 1.0)], [measured("a", 0.1)] if second % 10 == 0 else [])
        settle(tiers)
    tiers.rewind(end - 5)
    for second in range(end - 5, BEGIN + HOUR_S + 20):
        tiers.put(second, [(Key(RATE, "a"), 1.0)], [measured("a", 0.1)] if second % 10 == 0 else [])
        settle(tiers)
    slot = tiers.slots.find(Key(RATE, "a"))
    assert slot is not None
    (hour,) = [row.stat(slot) for row in tiers.hours.rows]
    assert hour is not None
    assert hour.samples == HOUR_S
    (line,) = ask(tiers, Query(LATENCY, BEGIN, BEGIN + HOUR_S, HOUR_S, aggregation=Aggregation.COUNT))
    assert line[1] == ((BEGIN + HOUR_S, 360.0),)


def test_a_clock_that_is_set_forward_leaves_a_gap() -> None:
    tiers = Tiers()
    tiers.put(BEGIN, [(Key(RATE, "a"), 1.0)])
    tiers.put(BEGIN + 5 * HOUR_S, [(Key(RATE, "a"), 2.0)])
    settle(tiers)
    lines = dict(ask(tiers, Query(RATE, BEGIN, BEGIN + 5 * HOUR_S + 1, MINUTE_S)))
    assert [value for _, value in lines["a", ""]] == [1.0, 2.0]


def test_names_that_are_invented_cost_their_own_region_alone() -> None:
    tiers = Tiers()
    flood = [measured("bad", 1.0, name=f"n{number}", agent="7") for number in range(5 * SERIES_MAX)]
    tiers.put(BEGIN, [(Key(RATE, "bad"), 1.0)], [*flood, measured("good", 1.0, name="queue"), measured("bad", 0.5)])
    settle(tiers)
    tiers.put(BEGIN + 10, [])
    settle(tiers)
    assert tiers.slots.dropped == 4 * SERIES_MAX
    (explosion,) = tiers.slots.explosions(BEGIN + 10)
    assert (explosion.region, explosion.agent, explosion.values) == ("bad", "bad/7", 4 * SERIES_MAX)
    assert explosion.series.startswith("n")
    now = BEGIN + 20
    assert ask(tiers, Query("queue", BEGIN, now, 10, aggregation=Aggregation.LAST)) == (
        (("good", ""), ((now - 10, 1.0),)),
    )
    assert ask(tiers, Query(LATENCY, BEGIN, now, 10, aggregation=Aggregation.LAST)) == (
        (("bad", ""), ((now - 10, 0.5),)),
    )
    assert not tiers.slots.explosions(BEGIN + HOUR_S)


def test_a_series_that_is_silent_makes_room_and_leaves_nothing_of_its_own_to_the_next() -> None:
    tiers = Tiers()
    for number in range(SERIES_MAX):
        tiers.put(BEGIN + number, [], [measured("a", 5.0, name=f"old{number}")])
    settle(tiers)
    later = BEGIN + HOUR_S
    tiers.put(later, [], [measured("a", 1.0, name="new")])
    settle(tiers)
    tiers.put(later + 10, [])
    settle(tiers)
    assert tiers.slots.find(Key("new", "a")) is not None
    assert tiers.slots.find(Key("old0", "a")) is None
    (line,) = ask(tiers, Query("new", BEGIN, later + 10, HOUR_S, aggregation=Aggregation.COUNT))
    assert sum(value for _, value in line[1]) == 1


def test_memory_is_bounded_by_bytes() -> None:
    limit = 8 << 20
    tiers = Tiers(Limits.of(limit))
    keys = [Key("rtt_seconds", f"r{a}", f"r{b}") for a in range(20) for b in range(20)]
    for second in range(BEGIN, BEGIN + 3 * HOUR_S):
        tiers.put(second, [(key, 1.0) for key in keys] if second % 10 == 0 else [])
        settle(tiers)
        tiers.take_blocks()
    assert tiers.bytes < limit
    assert LIMITS.tens > tiers.tens.bytes > 0


def test_bits_of_work_may_come_late() -> None:
    """What is done at once, and what is done bit by bit much later, is the same."""
    prompt, slow = Tiers(), Tiers()
    for second in range(BEGIN, BEGIN + 400):
        words = [measured(region, 0.1 * second % 7 + 0.01) for region in "abc"] if second % 10 == 3 else []
        for tiers in (prompt, slow):
            tiers.put(second, [(Key(RATE, "a"), float(second % 5))], words)
        settle(prompt)
        if second % 97 == 0:
            slow.work()
    settle(slow)
    query = Query(LATENCY, BEGIN, BEGIN + 400, 10, together=True)
    assert ask(prompt, query) == ask(slow, query)
    assert [list(b.distributions()) for b in prompt.take_blocks()] == [
        list(b.distributions()) for b in slow.take_blocks()
    ]


def test_blocks_that_were_handed_out_can_be_loaded_again() -> None:
    tiers = Tiers()
    for second in range(BEGIN, BEGIN + 600):
        tiers.put(second, [(Key(RATE, "a"), float(second % 60))], [measured("a", 0.3)] if second % 10 == 0 else [])
        settle(tiers)
    again = Tiers()
    again.load(tiers.take_blocks())
    for second in range(BEGIN + 900, BEGIN + 960):
        again.put(second, [(Key(RATE, "a"), 1000.0)])
        settle(again)
    query = Query(RATE, BEGIN, BEGIN + 960, MINUTE_S)
    found = dict(ask(again, query))["a", ""]
    assert found[:9] == dict(ask(tiers, Query(RATE, BEGIN, BEGIN + 540, MINUTE_S)))["a", ""]
    assert found[9:] == ((BEGIN + 960, 1000.0),)
    counts = dict(ask(again, Query(LATENCY, BEGIN, BEGIN + 540, MINUTE_S, aggregation=Aggregation.COUNT)))
    assert [number for _, number in counts["a", ""]] == [6] * 9


@pytest.mark.parametrize(("series", "step"), [(RATE, 1), (RATE, 10), (LATENCY, 10)])
def test_minutes_before_a_start_are_no_holes_between_short_steps(series: str, step: int) -> None:
    """Steps are never shorter than what is kept of that time: else a minute would be one point and five gaps."""
    tiers = Tiers()
    for second in range(BEGIN, BEGIN + 600):
        tiers.put(second, [(Key(RATE, "a"), 7.0)], [measured("a", 0.3)] if second % 10 == 0 else [])
        settle(tiers)
    again = Tiers()
    again.load(tiers.take_blocks())
    for second in range(BEGIN + 600, BEGIN + 660):
        again.put(second, [(Key(RATE, "a"), 7.0)], [measured("a", 0.3)] if second % 10 == 0 else [])
        settle(again)
    found = extract(again, Query(series, BEGIN + 60, BEGIN + 660, step))
    ((_, points),) = answer(found)
    assert found.query.step == MINUTE_S
    # The last minute before it was not whole.
    assert [end for end, _ in points] == [BEGIN + 120 + 60 * at for at in range(8)] + [BEGIN + 660]
    recent = extract(again, Query(series, BEGIN + 600, BEGIN + 660, step))
    assert recent.query.step == step, "of the time since then all is kept"


def test_an_hour_is_whole_though_the_process_was_killed_within_it() -> None:
    """Its minutes are loaded again, and the hour before it, that the disk had not made yet, is made of them."""
    tiers = Tiers()
    blocks = []
    for second in range(BEGIN, BEGIN + HOUR_S + 30 * MINUTE_S):
        tiers.put(second, [(Key(RATE, "a"), 2.0)], [measured("a", 0.3)] if second % 10 == 0 else [])
        settle(tiers)
        blocks += tiers.take_blocks()
    again = Tiers(Limits.of(1 << 20))
    again.load(blocks)
    for second in range(BEGIN + HOUR_S + 30 * MINUTE_S, BEGIN + 2 * HOUR_S + 20):
        again.put(second, [(Key(RATE, "a"), 2.0)], [measured("a", 0.3)] if second % 10 == 0 else [])
        settle(again)
    slot = again.slots.find(Key(RATE, "a"))
    assert slot is not None
    stats = [row.stat(slot) for row in again.hours.rows]
    # The last minute before the kill was not whole.
    assert [stat.samples for stat in stats if stat is not None] == [3600, 3540]
    query = Query(LATENCY, BEGIN, BEGIN + 2 * HOUR_S, HOUR_S, aggregation=Aggregation.COUNT)
    (line,) = ask(again, query)
    assert [value for _, value in line[1]] == [360, 354]


def test_a_region_adds_what_it_did_in_the_part_of_a_step_in_which_it_was_there() -> None:
    tiers = Tiers()
    for second in range(BEGIN, BEGIN + 2 * MINUTE_S):
        gauges = [(Key(RATE, "a"), 100.0), (Key("failed_rate", "a"), 0.0), (Key("error_rate", "a"), 0.0)]
        if second < BEGIN + 6:
            gauges += [
                (Key(RATE, "gone"), 1000.0),
                (Key("failed_rate", "gone"), 500.0),
                (Key("error_rate", "gone"), 0.5),
            ]
        tiers.put(second, gauges)
        settle(tiers)
    for step in (1, MINUTE_S):
        for series, total in ((RATE, 60 * 100 + 6 * 1000), ("failed_rate", 6 * 500)):
            (line,) = ask(tiers, Query(series, BEGIN, BEGIN + MINUTE_S, step, together=True))
            assert sum(value * step for _, value in line[1]) == pytest.approx(total)
    (line,) = ask(tiers, Query("error_rate", BEGIN, BEGIN + MINUTE_S, MINUTE_S, together=True))
    assert line[1] == ((BEGIN + MINUTE_S, pytest.approx(3000 / 12_000)),)


def test_what_is_between_many_regions_is_whole_in_every_step() -> None:
    """A second has the turn of a tenth of them."""
    tiers = Tiers()
    names = [f"r{number:02}" for number in range(20)]
    for second in range(BEGIN, BEGIN + MINUTE_S):
        looking = [name for at, name in enumerate(names) if at % 10 == second % 10]
        tiers.put(second, [(Key("routed_rate", name, "r00"), 5.0) for name in looking])
        settle(tiers)
    found = extract(tiers, Query("routed_rate", BEGIN, BEGIN + MINUTE_S, 1, together=True))
    (line,) = answer(found)
    assert found.query.step == 10
    assert [value for _, value in line[1]] == [100.0] * 6


def test_a_series_is_found_as_long_as_there_is_anything_of_it() -> None:
    """Its hours outlive the minutes of a region that is gone."""
    tiers = Tiers()
    for second in range(BEGIN, BEGIN + 9 * HOUR_S, 10):
        gauges = [(Key(RATE, "a"), 1.0), (Key("rtt_seconds", "a", "b"), 1.0)]
        tiers.put(second, [*gauges, (Key(RATE, "gone"), 7.0)] if second < BEGIN + HOUR_S else gauges[:1])
        settle(tiers)
    lines = dict(ask(tiers, Query(RATE, BEGIN, BEGIN + 9 * HOUR_S, HOUR_S)))
    assert lines["gone", ""] == ((BEGIN + HOUR_S, 7.0),)
    assert tiers.slots.find(Key("rtt_seconds", "a", "b")) is None, "of that hours are not kept"

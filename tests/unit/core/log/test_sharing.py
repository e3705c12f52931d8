"""What agents measured reaches every session, merged, in bounded rounds; and nothing of it is ever kept on disk."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from primacy_coordinator.core import effects, events
from primacy_coordinator.core.group import Group
from primacy_coordinator.core.log import sharing
from primacy_coordinator.core.model import Loaded
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS, Now
from primacy_wire.log_messages import GroupMetrics, MetricsSnapshot, SeriesSketch
from primacy_wire.messages import PROTOCOL_VERSION, Hello, Lineage, Membership
from primacy_wire.session_codec import to_agent_from_proto, to_agent_to_proto
from primacy_wire.sketch import SERIES_MAX, Sketch, merged

START = Now(1_000 * SECOND_NS, 1_700_000_000 * SECOND_NS)
WINDOW_NS = 10 * SECOND_NS


def series(name: str, *values: float) -> SeriesSketch:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    return sketch.to_series(name)


@dataclass
class Table:
    """One group; its agents say nothing but what they measured."""

    now: Now = START
    sessions: dict[str, int] = field(default_factory=dict)
    lives: dict[str, str] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    opened: int = 0
    told: dict[int, list[GroupMetrics]] = field(default_factory=dict)
    turns: list[int] = field(default_factory=list)
    """How many messages each turn sent, where it sent any."""
    written: int = 0
    """Changes and events that went to the disk since the last look."""

    def __post_init__(self) -> None:
        loaded = Loaded("store", "run", frozenset({"run"}), 1, (), 0, False)
        self.group = Group("default", loaded, self.now)
        self._perform(self.group.start(self.now))

    def post(self, event: events.Event) -> None:
        self._perform(self.group.handle(self.now, event))

    def _perform(self, found: tuple[effects.Effect, ...]) -> None:
        count = 0
        for effect in found:
            match effect:
                case effects.Persist(batch):
                    self.written += 1
                    self.post(events.Durable(batch))
                case effects.Journal():
                    self.written += 1
                case effects.Send(number, GroupMetrics() as message):
                    count += 1
                    self.told.setdefault(number, []).append(message)
                case _:
                    pass
        if count:
            self.turns.append(count)

    def open(self, key: str, life: str = "one") -> int:
        region, agent = key.split("/")
        self.opened += 1
        self.sessions[key] = self.opened
        if self.lives.get(key) != life:
            self.lives[key], self.versions[key] = life, 0
        hello = Hello("default", region, agent, life, "host", PROTOCOL_VERSION, Lineage(), 0, Membership(), "host:1")
        self.post(events.SessionOpened(self.opened, hello))
        return self.opened

    def snapshot(self, key: str, *found: SeriesSketch) -> MetricsSnapshot:
        self.versions[key] += 1
        region = key.partition("/")[0]
        return MetricsSnapshot(
            region, key, self.lives[key], self.versions[key], WINDOW_NS, self.now.wall_ns, tuple(found)
        )

    def say(self, key: str, *found: SeriesSketch) -> MetricsSnapshot:
        said = self.snapshot(key, *found)
        self.post(events.Heard(self.sessions[key], said))
        return said

    def run(self, seconds: float) -> None:
        end = self.now.plus(int(seconds * SECOND_NS))
        while True:
            wake_ns = max(self.group.next_deadline(), self.now.mono_ns + 1)
            if wake_ns > end.mono_ns:
                self.now = end
                return
            self.now = self.now.plus(wake_ns - self.now.mono_ns)
            self.post(events.TimePassed())

    def seen(self, number: int) -> dict[str, MetricsSnapshot]:
        """What a session was told, the latest of each region; each message as it comes off the wire."""
        found: dict[str, MetricsSnapshot] = {}
        for message in self.told.get(number, []):
            again = to_agent_from_proto(to_agent_to_proto(message))
            assert again == message
            found |= {snapshot.region: snapshot for snapshot in message.snapshots}
        return found

    def regions_told(self, number: int) -> list[list[str]]:
        return [[snapshot.region for snapshot in message.snapshots] for message in self.told.get(number, [])]


def test_every_session_is_told_of_every_region_merged_and_once() -> None:
    table = Table()
    numbers = [table.open(key) for key in ("eu/a", "eu/b", "us/a")]
    table.say("eu/a", series("latency", 1.0, 2.0), series("depth", 7.0))
    table.say("eu/b", series("latency", 4.0))
    table.say("us/a", series("latency", 0.5))
    table.run(60)
    for number in numbers:
        assert table.regions_told(number) == [["eu", "us"]]
        eu, us = table.seen(number)["eu"], table.seen(number)["us"]
        assert eu.agent == "" and eu.series == (series("depth", 7.0), series("latency", 1.0, 2.0, 4.0))
        assert us.series == (series("latency", 0.5),) and us.window_ns == WINDOW_NS and us.wall_ns == START.wall_ns


def test_only_what_is_news_is_told_and_no_faster_than_rounds_go() -> None:
    table = Table()
    number = table.open("eu/a")
    table.open("us/a")
    table.say("us/a", series("latency", 9.0))
    for second in range(20):
        table.say("eu/a", series("latency", float(second)))
        table.run(1)
    told = table.regions_told(number)
    assert told[0] == ["eu", "us"] and set(map(tuple, told[1:])) == {("eu",)}
    assert 3 <= len(told) <= 1 + 20 * SECOND_NS // sharing.ROUND_NS
    table.run(20)
    assert table.seen(number)["eu"].series == (series("latency", 19.0),), "the newest window, not a sum of windows"


def test_nothing_of_it_goes_to_the_disk() -> None:
    """A group whose agents measure writes what one writes whose agents do not."""
    measured, silent = Table(), Table()
    for second in range(40):
        for table in (measured, silent):
            if second == 0:
                table.open("eu/a")
                table.open("us/a")
            table.run(1)
        measured.say("eu/a", series("latency", float(second)))
    assert measured.told and measured.written == silent.written > 0


def test_an_agent_speaks_for_its_own_life_alone_and_never_goes_back() -> None:
    table = Table()
    number = table.open("eu/a")
    table.open("us/a")
    first = table.say("eu/a", series("latency", 1.0))
    second = table.say("eu/a", series("latency", 2.0))
    table.post(events.Heard(number, first))
    table.post(events.Heard(number, replace(second, version=9, incarnation="another")))
    table.post(events.Heard(number, replace(second, version=9, agent="us/a", region="us")))
    table.post(events.Heard(number, replace(second, version=9, agent="eu/b")))
    table.run(30)
    assert {name: one.series for name, one in table.seen(number).items()} == {"eu": (series("latency", 2.0),)}
    number = table.open("eu/a", "two")
    table.say("eu/a", series("latency", 3.0))
    table.run(30)
    assert table.seen(number)["eu"].series == (series("latency", 3.0),), "a new life counts from 1"


def test_who_comes_later_is_told_everything_and_who_knows_it_nothing() -> None:
    table = Table()
    early = table.open("eu/a")
    table.say("eu/a", series("latency", 1.0))
    table.run(30)
    late = table.open("us/a")
    table.run(30)
    assert table.seen(late) == table.seen(early) and len(table.told[early]) == 1
    again = table.open("us/a")
    table.run(30)
    assert table.seen(again) == table.seen(early), "another session may be of an agent that forgot it"


def test_who_is_silent_is_left_out_and_the_last_word_of_a_region_stays() -> None:
    table = Table()
    number = table.open("eu/a")
    table.open("eu/b")
    table.say("eu/b", series("latency", 5.0))
    table.run(60)
    table.say("eu/a", series("latency", 1.0))
    table.run(10)
    assert table.seen(number)["eu"].series[0].count == 1
    table.run(3600)
    late = table.open("us/a")
    table.run(30)
    assert table.seen(late)["eu"].series == (series("latency", 1.0),)


def test_a_region_that_is_deregistered_is_forgotten() -> None:
    table = Table()
    table.open("eu/a")
    table.open("us/a")
    table.say("us/a", series("latency", 1.0))
    table.say("eu/a", series("latency", 1.0))
    table.run(30)
    assert table.group._state.metrics.kept_bytes > 0
    # One is merged at this very instant, and its agents are gone before it is done.
    table.say("us/a", series("latency", 2.0))
    table.post(events.DeregisterRegion(1, "us", override_rules=("LIVE_SESSIONS", "MIN_UNDRAINED")))
    table.say("eu/a", series("latency", 3.0))
    table.run(30)
    late = table.open("eu/b")
    table.run(30)
    assert set(table.seen(late)) == {"eu"}
    state = table.group._state
    assert set(state.metrics.merged) == {"eu"} and state.metrics.kept_bytes == sum(
        sharing._bytes_of(agent.metrics.series) for agent in state.agents.values() if agent.metrics
    )


def test_the_clock_of_an_agent_does_not_make_the_view_one_of_the_future() -> None:
    table = Table()
    number = table.open("eu/a")
    said = replace(table.snapshot("eu/a", series("latency", 1.0)), wall_ns=table.now.wall_ns + 3600 * SECOND_NS)
    table.post(events.Heard(number, said))
    table.run(30)
    assert table.seen(number)["eu"].wall_ns <= table.now.wall_ns


def test_messages_are_bounded_and_nothing_is_missing() -> None:
    table = Table()
    wide = [series(f"s{number:02}", *(1.5**exponent for exponent in range(60))) for number in range(40)]
    for region in range(12):
        table.open(f"r{region}/a")
        table.say(f"r{region}/a", *wide)
    table.run(60)
    number = table.sessions["r0/a"]
    sizes = [to_agent_to_proto(message).ByteSize() for message in table.told[number]]
    assert len(sizes) > 1 and max(sizes) <= sharing.MESSAGE_BYTES_MAX
    assert set(table.seen(number)) == {f"r{region}" for region in range(12)}
    assert all(len(one.series) > 20 for one in table.seen(number).values())


def test_an_agent_that_measures_too_much_is_cut_and_its_region_too() -> None:
    table = Table()
    number = table.open("eu/a")
    table.open("eu/b")
    for key in ("eu/a", "eu/b"):
        table.say(key, *(series(f"{key[-1]}{number:03}", 1.0) for number in range(SERIES_MAX)), series("zz", 1.0))
    table.run(30)
    assert len(table.seen(number)["eu"].series) == SERIES_MAX


def test_what_all_agents_together_may_take_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    one = series("latency", 1.0)
    monkeypatch.setattr(sharing, "KEPT_BYTES_MAX", 2 * sharing._bytes_of((one,)))
    table = Table()
    for key in ("eu/a", "us/a", "ap/a"):
        table.open(key)
        table.say(key, one)
    table.run(30)
    assert set(table.seen(table.sessions["ap/a"])) == {"eu", "us"}
    table.say("eu/a", series("latency", 2.0))
    table.post(events.DeregisterRegion(1, "us", override_rules=("LIVE_SESSIONS", "MIN_UNDRAINED")))
    table.run(30)
    table.say("ap/a", one)
    table.run(30)
    assert set(table.seen(table.sessions["ap/a"])) >= {"eu", "ap"}, "there is room again"


def test_a_thousand_agents_are_told_in_slices_and_all_get_the_same_messages() -> None:
    table = Table()
    keys = [f"r{region}/a{agent}" for region in range(20) for agent in range(50)]
    for key in keys:
        table.open(key)
    table.run(5)
    for key in keys:
        table.say(key, *(series(f"s{number}", 1.0 + number, 2.0) for number in range(8)))
    table.turns.clear()
    table.run(60)
    assert max(table.turns) <= 2 * sharing.SLICE_SESSIONS and len(table.turns) >= 1000 // sharing.SLICE_SESSIONS
    (first,) = {tuple(map(id, table.told[number])) for number in table.sessions.values()}
    assert first, "one message for all: it is rendered once"
    assert table.seen(1)["r7"].series[0].count == 100


def test_a_round_ends_however_much_comes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "SLICE_BYTES", 1)
    table = Table()
    keys = [f"eu/a{agent}" for agent in range(30)]
    for key in keys:
        table.open(key)
    for _ in range(600):  # Faster than one slice after the other can merge.
        for key in keys:
            table.say(key, series("latency", 1.0))
        table.run(0.02)
    assert len(table.told[table.sessions["eu/a0"]]) >= 2


def test_rounds_rest_as_long_as_what_they_told_is_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "RATE", 10)
    table = Table()
    number = table.open("eu/a")
    for second in range(60):
        table.say("eu/a", series("latency", float(second + 1)))
        table.run(1)
    assert 2 <= len(table.told[number]) <= 8


def test_log_and_metrics_do_not_make_each_other_wait() -> None:
    """Both are woken by the same clock: neither loses its place to the other."""
    table = Table()
    table.open("eu/a")
    table.run(5)
    state = table.group._state
    table.say("eu/a", series("latency", 1.0))
    due_ns = state.metrics.due_ns
    assert due_ns is not None
    state.log.feed_due_ns = due_ns + MILLISECOND_NS
    state.wake_ns = min(state.wake_ns, due_ns)
    table.now = table.now.plus(due_ns - table.now.mono_ns)
    table.post(events.TimePassed())
    assert table.group.next_deadline() <= due_ns + MILLISECOND_NS


AGENTS = ("eu/a", "eu/b", "us/a")
STEPS: st.SearchStrategy[tuple[str, str, list[float]]] = st.one_of(
    st.tuples(st.just("say"), st.sampled_from(AGENTS), st.lists(st.floats(0.001, 1e3), min_size=1, max_size=4)),
    st.tuples(st.just("restart"), st.sampled_from(AGENTS), st.just([])),
    st.tuples(st.just("close"), st.sampled_from(AGENTS), st.just([])),
    st.tuples(st.just("run"), st.just(""), st.lists(st.floats(0.005, 8), min_size=1, max_size=1)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_in_the_end_everybody_knows_the_newest_of_all(steps: list[tuple[str, str, list[float]]]) -> None:
    table = Table()
    newest: dict[str, tuple[SeriesSketch, int]] = {}
    for key in AGENTS:
        table.open(key, "0")
    for number, (what, key, values) in enumerate(steps):
        match what:
            case "say":
                if key not in table.sessions:
                    table.open(key, table.lives[key])
                table.say(key, series("latency", *values))
                newest[key] = series("latency", *values), table.now.mono_ns
            case "restart":
                table.open(key, str(number + 1))
            case "close" if key in table.sessions:
                table.post(events.SessionClosed(table.sessions.pop(key)))
            case "run":
                table.run(values[0])
            case _:
                pass
    for key in AGENTS:
        if key not in table.sessions:
            table.open(key, table.lives[key])
    table.run(20)
    wanted = {}
    for region in ("eu", "us"):
        said = {key: found for key, found in newest.items() if key.startswith(region)}
        if said:
            wanted[region] = sum(found.count for found, _ in said.values()), merged(f for f, _ in said.values())[0]
    for key in AGENTS:
        seen = table.seen(table.sessions[key])
        assert set(seen) == set(wanted)
        for region, (count, whole) in wanted.items():
            (found,) = seen[region].series
            assert (
                found.buckets == whole.buckets
                and found.count == count
                and (found.min, found.max) == (whole.min, whole.max)
            )

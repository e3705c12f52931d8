"""The file of metrics: written behind, made into hours, bounded, and never anybody's trouble but its own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_coordinator.core.monitor.packing import Unpacked, pack
from primacy_coordinator.core.monitor.rows import Stat
from primacy_coordinator.core.monitor.series import Key
from primacy_coordinator.core.monitor.tiers import HOUR_S, MINUTE_S, Block
from primacy_coordinator.store import metrics as module
from primacy_coordinator.store.api import StoreError, StoreRefused
from primacy_coordinator.store.metrics import METRICS, Kept, SqliteMetrics
from primacy_coordinator.store.steps import Step, decode, encode, together
from primacy_wire.sketch import Sketch

BEGIN = 1_700_000_000 // HOUR_S * HOUR_S
MIB = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteMetrics]:
    opened = SqliteMetrics(path, clock=lambda: float(BEGIN))
    yield opened
    await opened.close()


def packed(*values: float) -> bytes:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    return pack(sketch)


def minute(number: int, rate: float = 1.0, own: str = "queue_depth") -> Block:
    start = BEGIN + number * MINUTE_S
    return Block(
        start,
        MINUTE_S,
        (
            (Key("request_rate", "eu"), Stat(rate, rate, rate, rate, 60)),
            (Key("rtt_seconds", "eu", "us"), Stat(0.1, 0.1, 0.1, 0.1, 6)),
        ),
        ((Key("latency_seconds", "eu"), packed(0.1, 0.2)), (Key(own, "eu"), packed(float(number + 1)))),
    )


async def settled(store: SqliteMetrics) -> None:
    """Everything that was put is written, and hours that are over are made."""
    async with asyncio.timeout(20):
        while store.waiting or store.making:
            await store.load_alerts("default")
        await store.load_alerts("default")


async def test_a_minute_is_there_after_a_restart(store: SqliteMetrics, path: Path) -> None:
    store.put("default", minute(0))
    store.put("other", minute(1))
    await settled(store)
    await store.close()
    again = SqliteMetrics(path, clock=lambda: float(BEGIN))
    (block,) = await again.load("default", MINUTE_S, BEGIN, BEGIN + 600)
    assert (block.start, block.span) == (BEGIN, MINUTE_S)
    assert dict(block.stats()) == dict(minute(0).gauges or ())
    assert dict(block.distributions()) == dict(minute(0).sketches)
    assert await again.names("default") == ("latency_seconds", "queue_depth", "request_rate", "rtt_seconds")
    assert await again.names("nobody") == ()
    await again.close()


async def test_the_same_minute_again_replaces_it(store: SqliteMetrics) -> None:
    store.put("default", minute(0, 1.0))
    store.put("default", minute(0, 2.0))
    await settled(store)
    (old,) = await store.steps("default", ("request_rate",), BEGIN, BEGIN + 600, MINUTE_S)
    assert old.stats["request_rate"]["eu", ""].mean == 2.0


async def test_an_hour_that_is_over_becomes_one_step(store: SqliteMetrics) -> None:
    for number in range(125):
        store.put("default", minute(number, float(number)))
        if number == 70:
            await settled(store)
    await settled(store)
    first, second = await store.steps("default", ("request_rate",), BEGIN, BEGIN + 2 * HOUR_S, HOUR_S)
    assert (first.start, first.end) == (BEGIN, BEGIN + HOUR_S)
    assert first.stats["request_rate"]["eu", ""] == Stat(29.5, 0.0, 59.0, 59.0, 3600)
    assert second.stats["request_rate"]["eu", ""].mean == 89.5
    (depth, _) = await store.steps("default", ("queue_depth",), BEGIN, BEGIN + 2 * HOUR_S, HOUR_S)
    assert Unpacked(depth.sketches["eu", ""]).count == 60


async def test_hours_that_were_not_made_before_a_kill_are_made_later(store: SqliteMetrics, path: Path) -> None:
    for number in range(61):
        store.put("default", minute(number))
    await settled(store)
    assert await store.steps("default", ("request_rate",), BEGIN, BEGIN + HOUR_S, HOUR_S) == ()
    await store.close()
    again = SqliteMetrics(path, clock=lambda: float(BEGIN))
    again.put("default", minute(5 * 60))
    await settled(again)
    assert len(await again.steps("default", ("request_rate",), BEGIN, BEGIN + 6 * HOUR_S, HOUR_S)) == 2
    await again.close()


async def test_what_is_older_than_minutes_are_kept_is_read_in_hours(path: Path) -> None:
    now = [float(BEGIN)]
    store = SqliteMetrics(path, Kept(minutes_s=2 * HOUR_S), clock=lambda: now[0])
    store.checked_every_s = 0.0
    for number in range(5 * 60):
        now[0] = float(BEGIN + (number + 1) * MINUTE_S)
        store.put("default", minute(number, float(number)))
        if number % 30 == 29:
            await settled(store)
    await settled(store)
    steps = await store.steps("default", ("request_rate",), BEGIN, BEGIN + 5 * HOUR_S, MINUTE_S)
    starts = [(step.start - BEGIN, step.end - step.start) for step in steps]
    assert starts[:3] == [(0, HOUR_S), (HOUR_S, HOUR_S), (2 * HOUR_S, HOUR_S)] or starts[:4] == [
        (0, HOUR_S),
        (HOUR_S, HOUR_S),
        (2 * HOUR_S, HOUR_S),
        (3 * HOUR_S, MINUTE_S),
    ]
    ends = [start + length for start, length in starts]
    assert [start for start, _ in starts[1:]] == ends[:-1], "no time is missing, and none is there twice"
    await store.close()


async def test_the_file_is_bounded_and_a_flood_costs_the_flood(path: Path) -> None:
    store = SqliteMetrics(path, Kept(bytes_max=2 * MIB), clock=lambda: float(BEGIN))
    store.checked_every_s = 0.0
    for number in range(400):
        flood = tuple((Key(f"own{at}", "eu"), packed(*(1.0 + at * k for k in range(1, 90)))) for at in range(20))
        block = minute(number, float(number))
        store.put("default", Block(block.start, MINUTE_S, block.gauges, (*block.sketches, *flood)))
        if number % 20 == 0:
            await settled(store)
    await settled(store)
    rates = await store.steps("default", ("request_rate",), BEGIN, BEGIN + 400 * MINUTE_S, MINUTE_S)
    assert len({step.start for step in rates}) == 400, "built-in series have a share of their own"
    with sqlite3.connect(path) as file:
        pages = file.execute("PRAGMA page_count").fetchone()[0] - file.execute("PRAGMA freelist_count").fetchone()[0]
        size = pages * file.execute("PRAGMA page_size").fetchone()[0]
        own = file.execute("SELECT min(start) FROM steps WHERE own = 1 AND span = 60").fetchone()[0]
    assert size <= 2.2 * MIB
    assert own > BEGIN
    assert store.dropped_count == 0
    await store.close()


async def test_a_clock_that_was_set_back_leaves_nothing_of_the_future(store: SqliteMetrics) -> None:
    for number in range(10):
        store.put("default", minute(number))
    store.put("other", minute(9))
    await settled(store)
    store.rewind("default", BEGIN + 5 * MINUTE_S + 30)
    await settled(store)
    blocks = await store.load("default", MINUTE_S, BEGIN, BEGIN + HOUR_S)
    assert [block.start for block in blocks] == [BEGIN + n * MINUTE_S for n in range(5)]
    assert len(await store.load("other", MINUTE_S, BEGIN, BEGIN + HOUR_S)) == 1


async def test_hours_that_a_clock_made_ahead_of_time_do_not_end_the_making(store: SqliteMetrics, path: Path) -> None:
    """The coordinator was started with a clock that was a year ahead, and then with the right one."""
    year = 365 * 24 * 60
    ahead = SqliteMetrics(path, clock=lambda: float(BEGIN))
    for number in range(year, year + 70):
        ahead.put("default", minute(number))
    await settled(ahead)
    await ahead.close()
    for number in range(70):
        store.put("default", minute(number))
    await settled(store)
    hours = await store.steps("default", ("request_rate",), BEGIN, BEGIN + HOUR_S, HOUR_S)
    assert [(hour.start, hour.stats["request_rate"]["eu", ""].samples) for hour in hours] == [(BEGIN, 3600)]


async def test_the_state_of_alerts_is_the_newest(store: SqliteMetrics, path: Path) -> None:
    assert await store.load_alerts("default") == ""
    for number in range(50):
        store.save_alerts("default", f"state {number}")
    store.save_alerts("other", "another")
    await settled(store)
    await store.close()
    again = SqliteMetrics(path)
    assert await again.load_alerts("default") == "state 49"
    assert await again.load_alerts("other") == "another"
    await again.close()


async def test_a_damaged_file_is_trouble_and_stays_as_it_is(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)
    store = SqliteMetrics(path)
    for number in range(3):
        store.put("default", minute(number))
    with pytest.raises(StoreError):
        await store.load("default", MINUTE_S, BEGIN, BEGIN + HOUR_S)
    assert "metrics.db" in store.trouble
    assert path.read_bytes() == b"not a database at all" * 100
    path.unlink()
    await store.close()
    assert store.dropped_count == 0, "what waited was written when the file was put aside"


async def test_what_waits_for_a_disk_in_trouble_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise StoreRefused("no room")

    monkeypatch.setattr(module, "open_file", refuse)
    store = SqliteMetrics(path)
    for number in range(module.WAITING_MAX + 30):
        store.put("default", minute(number))
    with pytest.raises(StoreError, match="no room"):
        await store.names("default")
    assert store.trouble == "no room"
    assert 0 < store.waiting <= module.WAITING_MAX
    assert store.dropped_count >= 29
    await store.close()


async def test_a_step_that_cannot_be_read_is_left_out(store: SqliteMetrics, path: Path) -> None:
    for number in range(3):
        store.put("default", minute(number))
    await settled(store)
    with sqlite3.connect(path) as file:
        file.execute("UPDATE steps SET content = x'00' WHERE start = ?", (BEGIN + MINUTE_S,))
    steps = await store.steps("default", ("request_rate",), BEGIN, BEGIN + HOUR_S, MINUTE_S)
    assert [step.start for step in steps] == [BEGIN, BEGIN + 2 * MINUTE_S]


def test_another_programs_file_is_not_ours() -> None:
    assert METRICS.application_id not in (0, 0x50524D4A)


stats = st.builds(
    lambda value, more, samples: Stat(value, value - more, value + more, value, samples),
    st.floats(-1e9, 1e9),
    st.floats(0, 1e9),
    st.integers(1, 60),
)
pairs = st.tuples(st.sampled_from("abc"), st.sampled_from(["", "x"]))


@given(st.dictionaries(pairs, stats), st.dictionaries(pairs, st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=9)))
def test_a_step_is_the_same_when_it_is_read_again(
    gauges: dict[tuple[str, str], Stat], values: dict[tuple[str, str], list[float]]
) -> None:
    step = Step(gauges, {pair: packed(*found) for pair, found in values.items()})
    assert decode(encode(step)) == step


@given(st.lists(st.dictionaries(pairs, stats), max_size=6))
def test_steps_together_have_all_samples(found: list[dict[tuple[str, str], Stat]]) -> None:
    whole = together(Step(gauges, {}) for gauges in found)
    for pair, stat in whole.stats.items():
        parts = [gauges[pair] for gauges in found if pair in gauges]
        assert stat.samples == sum(part.samples for part in parts)
        assert stat.low == min(part.low for part in parts)
        assert stat.high == max(part.high for part in parts)
        assert stat.last == parts[-1].last
        assert stat.mean == pytest.approx(
            sum(part.mean * part.samples for part in parts) / stat.samples, rel=1e-9, abs=1e-3
        )

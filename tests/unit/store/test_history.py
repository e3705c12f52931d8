"""The journal: written behind, paged, bounded, and never anybody's trouble but its own."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from primacy_coordinator.core.effects import Severity
from primacy_coordinator.core.model import LeasePhase, LeaseRecord
from primacy_coordinator.store import history as history_module
from primacy_coordinator.store.api import EventFilter, StoredEvent, StoreError
from primacy_coordinator.store.history import JOURNAL, SqliteHistory
from primacy_coordinator.store.sqlite import SqliteStore

from tests.unit.store.stores import apply, bytes_of, entry, region


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
async def history(path: Path) -> AsyncIterator[SqliteHistory]:
    opened = SqliteHistory(path)
    yield opened
    await opened.close()


async def sequences(
    history: SqliteHistory, wanted: EventFilter, count: int = 1000, newest_first: bool = True
) -> list[int]:
    async with asyncio.timeout(10):
        return [event.sequence for event in await history.events(wanted, count, newest_first)]


ALL = EventFilter("default")


async def test_what_was_said_is_read_at_once(history: SqliteHistory, path: Path) -> None:
    said = entry(
        1, Severity.CRITICAL, region="eu", epoch=7, failover_id="f", inputs=LeaseRecord(7, phase=LeasePhase.OFFERED)
    )
    history.append("default", said)
    (event,) = await history.events(ALL, 10)
    inputs = json.loads(event.inputs)
    assert inputs["phase"] == "OFFERED"
    assert event == StoredEvent(
        1, said.wall_ns, "region-status", Severity.CRITICAL, "event 1", "eu", 7, "f", event.inputs
    )
    assert history.trouble == ""
    await history.close()
    again = SqliteHistory(path)
    assert await again.events(ALL, 10) == (event,)
    assert await again.last_sequence("default") == 1
    assert await again.last_sequence("other") == 0
    await again.close()


async def test_pages_in_both_directions_meet_everything_once(history: SqliteHistory) -> None:
    for number in range(1, 2501):
        history.append("default", entry(number))
        history.append("other", entry(number))
    down: list[int] = []
    before = 0
    while page := await sequences(history, EventFilter("default", before=before), 700):
        down += page
        before = page[-1]
    up: list[int] = []
    after = 0
    while page := await sequences(history, EventFilter("default", after=after), 700, newest_first=False):
        up += page
        after = page[-1]
    assert up == list(range(1, 2501))
    assert down == up[::-1]
    assert await history.last_sequence("default") == 2500


async def test_filters(history: SqliteHistory) -> None:
    history.append("default", entry(1, kind="region-status", region="eu"))
    history.append("default", entry(2, Severity.WARNING, kind="lease-granted", region="eu", failover_id="f1"))
    history.append("default", entry(3, Severity.CRITICAL, kind="lease-lost", region="us", failover_id="f1"))
    history.append("default", entry(4, kind="region-status", region="us"))
    assert await sequences(history, EventFilter("default", region="us")) == [4, 3]
    assert await sequences(history, EventFilter("default", kinds=("lease-lost", "lease-granted"))) == [3, 2]
    assert await sequences(history, EventFilter("default", severity_min=Severity.WARNING)) == [3, 2]
    assert await sequences(history, EventFilter("default", failover_id="f1", region="eu")) == [2]
    assert await sequences(history, EventFilter("default", after=1, before=4)) == [3, 2]
    assert await sequences(history, EventFilter("default", kinds=("' OR 1=1 --",))) == []
    assert await sequences(history, EventFilter("nobody")) == []
    assert await sequences(history, ALL, count=0) == []


async def test_the_newest_are_kept(path: Path) -> None:
    history = SqliteHistory(path, events_kept=1500)
    for number in range(1, 4001):
        history.append("default", entry(number))
    history.append("other", entry(1))
    await history.close()
    history = SqliteHistory(path, events_kept=1500)
    assert await sequences(history, ALL, 10_000) == list(range(4000, 2500, -1))
    assert await sequences(history, EventFilter("other")) == [1]
    assert await history.last_sequence("default") == 4000
    await history.close()


async def test_the_old_go(path: Path) -> None:
    history = SqliteHistory(path)
    history.append("default", entry(1))
    history.append("default", entry(2))
    await history.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE events SET wall_ns = ? WHERE sequence = 2", (time.time_ns(),))
    connection.close()
    history = SqliteHistory(path, kept_ns=3_600_000_000_000)
    assert await sequences(history, ALL) == [2]
    await history.close()


async def test_when_nothing_can_be_written_the_grave_is_kept_longest(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "WAITING_COUNT_MAX", 100)
    monkeypatch.setattr(history_module, "RETRY_S_MIN", 0.05)
    path.mkdir()  # Not a file: it cannot be opened.
    history = SqliteHistory(path)
    for number in range(1, 301):
        history.append("default", entry(number, Severity.CRITICAL if number % 6 == 0 else Severity.INFO))
    with pytest.raises(StoreError):
        await history.events(ALL, 10)
    assert "is not a file" in history.trouble
    assert history.dropped_count == 200
    path.rmdir()
    async with asyncio.timeout(10):
        while history.trouble:
            await asyncio.sleep(0.02)
    kept = await sequences(history, ALL)
    assert set(range(6, 301, 6)) <= set(kept), "no grave entry was lost"
    assert kept == sorted([*range(6, 301, 6), *[n for n in range(1, 301) if n % 6][-50:]], reverse=True)
    for number in range(301, 500):
        history.append("default", entry(number))
    await history.close()


async def test_a_damaged_file_is_left_alone_and_says_so(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))
    before = bytes_of(path.parent)
    history = SqliteHistory(path)
    for number in range(1, 50):
        history.append("default", entry(number))
    with pytest.raises(StoreError, match="damaged"):
        await history.last_sequence("default")
    assert str(path) in history.trouble
    await history.close()
    assert history.dropped_count == 49
    assert bytes_of(path.parent) == before


async def test_a_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    history = SqliteHistory(path)
    history.append("default", entry(1))
    await history.close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(JOURNAL.migrations) + 1}")
    connection.close()
    before = bytes_of(path.parent)
    history = SqliteHistory(path)
    history.append("default", entry(2))
    with pytest.raises(StoreError, match="newer version"):
        await history.events(ALL, 1)
    await history.close()
    assert bytes_of(path.parent) == before


async def test_a_file_that_breaks_while_open_costs_no_waiting(history: SqliteHistory, path: Path) -> None:
    history.append("default", entry(1))
    assert await sequences(history, ALL) == [1]
    with path.open("r+b") as file:
        file.write(os.urandom(16_384))
    Path(f"{path}-wal").write_bytes(os.urandom(10_000))
    Path(f"{path}-shm").write_bytes(bytes(32_768))
    began = time.monotonic()
    for number in range(2, 2000):
        history.append("default", entry(number))
    assert time.monotonic() - began < 10
    async with asyncio.timeout(10):
        while not history.trouble:
            await asyncio.sleep(0.01)
    assert history.trouble


async def test_an_entry_that_no_column_holds_holds_nobody_up(history: SqliteHistory) -> None:
    history.append("default", entry(1))
    history.append("default", entry(2, message="\ud800"))
    history.append("default", entry(3, epoch=2**70))
    history.append("default", entry(4, inputs=object()))
    history.append("default", entry(5))
    assert await sequences(history, ALL) == [5, 4, 1]
    assert history.dropped_count == 2
    assert history.trouble == ""


async def test_numbers_that_were_guessed_overwrite_nothing(path: Path) -> None:
    """The file was too slow at the start, so the numbering began anew: the old entries stay, the new come behind."""
    history = SqliteHistory(path)
    for number in range(1, 11):
        history.append("default", entry(number, message=f"old {number}"))
    await history.close()
    history = SqliteHistory(path)
    # The grave ones are written first, whatever their number.
    history.append("default", entry(1, message="new 1"))
    history.append("default", entry(2, message="new 2"))
    history.append("default", entry(3, Severity.CRITICAL, message="new 3"))
    messages = [event.message for event in await history.events(ALL, 100, newest_first=False)]
    assert messages == [f"old {number}" for number in range(1, 11)] + ["new 1", "new 2", "new 3"]
    assert await history.last_sequence("default") == 3, "in this life's own numbers"
    history.append("default", entry(4, message="new 4"))
    assert (await history.events(ALL, 1))[0].message == "new 4"
    await history.close()


async def test_appending_and_asking_do_not_wait_for_a_slow_file(path: Path) -> None:
    """Another process holds the file: appending goes on, and what was said is written when it lets go."""
    history = SqliteHistory(path)
    history.append("default", entry(1))
    assert await sequences(history, ALL) == [1]
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    for number in range(2, 1002):
        history.append("default", entry(number))
    assert time.monotonic() - began < 10
    other.execute("COMMIT")
    other.close()
    async with asyncio.timeout(20):
        while await sequences(history, ALL, 2000) != list(range(1001, 0, -1)):
            await asyncio.sleep(0.05)
    await history.close()


async def test_closing_twice_and_asking_after_it(path: Path) -> None:
    history = SqliteHistory(path)
    await history.close()
    await history.close()
    history.append("default", entry(1))
    assert history.dropped_count == 1
    with pytest.raises(StoreError, match="closed"):
        await history.events(ALL, 1)
    assert history.dropped_count == 1


async def test_a_lost_journal_is_not_damage_to_the_state(tmp_path: Path) -> None:
    """The two live in files of their own: one may go without the other."""
    store = await SqliteStore.open(tmp_path / "store.db")
    history = SqliteHistory(tmp_path / "journal" / "journal.db")  # In a folder that is not there.
    history.append("default", entry(1))
    with pytest.raises(StoreError):
        await history.events(ALL, 1)
    await apply(store, "default", region("eu"))
    await history.close()
    await store.close()

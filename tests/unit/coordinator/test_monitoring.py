"""The loop that looks at groups: nothing that goes wrong beside it stops it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from primacy_coordinator.core.monitor.queries import Old, Query
from primacy_coordinator.core.monitor.rows import Stat
from primacy_coordinator.core.monitor.seen import Seen
from primacy_coordinator.core.monitor.series import Key
from primacy_coordinator.core.monitor.tiers import MINUTE_S, MINUTES_KEPT_S, Block
from primacy_coordinator.shell import monitoring as module
from primacy_coordinator.shell.coordinator import Coordinator
from primacy_coordinator.shell.monitoring import Monitoring, Watched
from primacy_coordinator.shell.runner import Runner
from primacy_coordinator.store.api import StoreRefused
from primacy_coordinator.store.history import SqliteHistory
from primacy_coordinator.store.sqlite import SqliteStore
from primacy_wire.instant import MILLISECOND_NS, Now


class Broken:
    """A file of metrics that can do nothing."""

    trouble = "no room"
    dropped_count = 0

    def put(self, group: str, block: Block) -> None:
        pass

    def __init__(self) -> None:
        self.rewound: list[tuple[str, int]] = []

    def rewind(self, group: str, second: int) -> None:
        self.rewound.append((group, second))

    async def load(self, group: str, span: int, first: int, last: int) -> tuple[Block, ...]:
        raise StoreRefused("no room")

    async def steps(self, group: str, names: tuple[str, ...], first: int, last: int, span: int) -> tuple[Old, ...]:
        raise StoreRefused("no room")

    async def names(self, group: str) -> tuple[str, ...]:
        raise StoreRefused("no room")

    async def load_alerts(self, group: str) -> str:
        raise StoreRefused("no room")

    def save_alerts(self, group: str, state: str) -> None:
        pass

    async def close(self) -> None:
        pass


class Slow(Broken):
    """It has a minute in every ten; what is older than the newest ten it never finds."""

    def __init__(self, hangs: bool) -> None:
        super().__init__()
        self.hangs = hangs
        self.asked: list[tuple[int, int]] = []

    async def load(self, group: str, span: int, first: int, last: int) -> tuple[Block, ...]:
        if span != MINUTE_S:
            return ()
        self.asked.append((first, last))
        if self.hangs and len(self.asked) > 1:
            await asyncio.Event().wait()
        start = -(-first // MINUTE_S) * MINUTE_S
        return (Block(start, MINUTE_S, ((Key("request_rate", "eu"), Stat(1.0, 1.0, 1.0, 1.0, 60)),), ()),)


class Counting:
    """What comes behind each look; it may fail."""

    def __init__(self) -> None:
        self.looks: list[tuple[str, bool]] = []
        self.forgotten: list[str] = []
        self.fails = False

    def begin(self, runner: Runner) -> None:
        pass

    def look(self, watched: Watched, now: Now, seen: Seen | None) -> None:
        self.looks.append((watched.group, seen is not None))
        if self.fails:
            raise RuntimeError("a rule is broken")

    def forget(self, group: str) -> None:
        self.forgotten.append(group)


@pytest.fixture
async def coordinator(tmp_path: Path) -> AsyncIterator[Coordinator]:
    store = await SqliteStore.open(tmp_path / "store.db")
    history = SqliteHistory(tmp_path / "journal.db")
    made = Coordinator(store, history)
    await made.start(None)
    yield made
    await made.close()
    await history.close()
    await store.close()


async def loaded(coordinator: Coordinator, store: Slow) -> list[int]:
    """Starts of the minutes that a monitoring begins with."""
    made = Monitoring(coordinator, store)
    made.start()
    await until(lambda: (watched := made.watched("default")) is not None and watched.ready)
    monitor = made.monitor("default")
    await made.close()
    assert monitor is not None
    return [row.start for row in monitor.tiers.minutes.rows]


async def test_the_past_is_loaded_piece_by_piece(coordinator: Coordinator) -> None:
    """Of a large group all of it at once would take gigabytes."""
    store = Slow(hangs=False)
    starts = await loaded(coordinator, store)
    pieces = sorted(store.asked)
    assert [last - first for first, last in pieces] == [600] * (MINUTES_KEPT_S // 600)
    assert [first for first, _ in pieces[1:]] == [last for _, last in pieces[:-1]]
    # The oldest may be too old by the time that the newest is there.
    assert starts == sorted(set(starts))
    assert len(starts) >= len(pieces) - 1


async def test_a_disk_that_is_slow_costs_the_oldest(coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alerts wait for the past: for so long, and then do with what there is."""
    monkeypatch.setattr(module, "LOAD_S_MAX", 0.5)
    store = Slow(hangs=True)
    (start,) = await loaded(coordinator, store)
    first, last = max(store.asked)
    assert first <= start < last


@pytest.fixture
async def monitoring(coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Monitoring]:
    monkeypatch.setattr(module, "LOOK_NS", 10 * MILLISECOND_NS)
    made = Monitoring(coordinator, Broken())
    made.evaluation = Counting()
    made.start()
    yield made
    await made.close()


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not fact():
            await asyncio.sleep(0.01)


def counting(monitoring: Monitoring) -> Counting:
    assert isinstance(monitoring.evaluation, Counting)
    return monitoring.evaluation


async def test_a_file_that_fails_is_a_warning(coordinator: Coordinator, monitoring: Monitoring) -> None:
    await until(lambda: len(counting(monitoring).looks) > 3)
    assert "metrics: no room" in coordinator.warnings()
    second = monitoring.monitor("default").second  # type: ignore[union-attr]
    answer, step = await monitoring.query("default", Query("active", second - 3600, second, 60))
    assert (answer, step) == ((), 60)
    assert "request_rate" in await monitoring.names("default")


async def test_what_comes_behind_a_look_may_fail(monitoring: Monitoring) -> None:
    counting(monitoring).fails = True
    await until(lambda: len(counting(monitoring).looks) > 3)


async def test_a_group_without_a_machine_is_a_gap(coordinator: Coordinator, monitoring: Monitoring) -> None:
    await until(lambda: ("default", True) in counting(monitoring).looks)
    runner = coordinator.runner("default")
    assert runner is not None
    runner._drop("a test", 100 * MILLISECOND_NS)
    await until(lambda: ("default", False) in counting(monitoring).looks)
    await until(lambda: counting(monitoring).looks[-1] == ("default", True))


async def test_groups_that_come_and_go_are_followed(coordinator: Coordinator, monitoring: Monitoring) -> None:
    runner = await coordinator.create("other", None)
    await until(lambda: ("other", True) in counting(monitoring).looks)
    await coordinator.delete(runner, validate_only=False)
    await until(lambda: counting(monitoring).forgotten == ["other"])
    assert monitoring.watched("other") is None


async def test_a_group_that_is_made_again_at_once_begins_with_nothing(
    coordinator: Coordinator, monitoring: Monitoring
) -> None:
    """Neither figures, nor budgets, nor alerts are those of the one that had its name."""
    runner = await coordinator.create("other", None)
    await until(lambda: ("other", True) in counting(monitoring).looks)
    before = monitoring.monitor("other")
    await coordinator.delete(runner, validate_only=False)
    await coordinator.create("other", None)
    await until(lambda: monitoring.monitor("other") not in (None, before))
    assert counting(monitoring).forgotten == ["other"]
    assert isinstance(monitoring.store, Broken)
    assert monitoring.store.rewound == [("other", 0)]

"""Group commit: together when it goes, alone when not, and nothing stands on what failed."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from primacy_coordinator.store.api import StoreError, StoreLocked, StoreRefused
from primacy_coordinator.store.sqlite import SqliteStore

from tests.unit.store.stores import apply, apply_all, poison, region, same_number


def keys(path: Path, group: str = "default") -> set[str]:
    connection = sqlite3.connect(path)
    found = {row[0] for row in connection.execute("SELECT key FROM records WHERE group_name = ?", (group,))}
    connection.close()
    return found


def wait_in_place(path: Path, key: str, group: str = "other", seconds: float = 10.0) -> None:
    """Waits until the key is in the file without letting the event loop run."""
    deadline = time.monotonic() + seconds
    while key not in keys(path, group):
        assert time.monotonic() < deadline
        threading.Event().wait(0.002)


async def test_a_bad_batch_fails_alone_and_takes_its_own_group_with_it(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = await SqliteStore.open(path)
    poison(path)
    ends = await apply_all(
        store,
        [
            ("default", [region("a")]),
            ("other", [region("a")]),
            ("default", [region("b"), region("poison")]),
            ("default", [region("c")]),
            ("other", [region("b")]),
            ("default", [region("d")]),
        ],
    )
    assert [end is None for end in ends] == [True, True, False, False, True, False]
    assert all("poisoned" in str(end) for end in ends if end is not None)
    assert all(type(end) is StoreRefused for end in ends if end is not None)
    assert keys(path) == {"a"}, "of the bad batch not even its good half"
    assert keys(path, "other") == {"a", "b"}
    await apply(store, "default", region("e"))
    assert keys(path) == {"a", "e"}
    await store.close()


async def test_what_was_submitted_before_the_failure_was_heard_of_fails_with_it(tmp_path: Path) -> None:
    """Also in a later commit: whoever submitted it did not know that its ground was gone."""
    path = tmp_path / "store.db"
    store = await SqliteStore.open(path)
    poison(path)
    ends: list[tuple[str, StoreError | None]] = []

    def submit(key: str, group: str = "default") -> None:
        store.submit(group, [region(key)], lambda error: ends.append((key, error)))

    submit("poison")
    submit("marker", "other")
    wait_in_place(path, "marker")  # The failure is decided, and its word waits for the loop.
    submit("late")
    submit("marker-2", "other")
    wait_in_place(path, "marker-2")
    assert ends == []
    await store.groups()
    assert [(key, error is None) for key, error in ends] == [
        ("poison", False),
        ("marker", True),
        ("late", False),
        ("marker-2", True),
    ]
    submit("after")
    await store.groups()
    assert ends[-1] == ("after", None)
    assert keys(path) == {"after"}
    await store.close()


async def test_a_batch_submitted_while_its_failure_is_told_stands_on_its_own(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = await SqliteStore.open(path)
    poison(path)
    ends: list[str] = []

    def again(error: StoreError | None) -> None:
        assert error is not None
        store.submit("default", [region("again")], lambda error: ends.append("again" if error is None else "no"))

    store.submit("default", [region("poison")], again)
    store.submit("default", [region("rests-on-it")], lambda error: ends.append("yes" if error is None else "failed"))
    await store.groups()
    await store.groups()
    assert ends == ["failed", "again"]
    assert keys(path) == {"again"}
    await store.close()


async def test_waiting_batches_share_a_commit(tmp_path: Path) -> None:
    """Every commit writes the same pages to the log once more, so that the log tells how many there were."""
    path = tmp_path / "store.db"
    store = await SqliteStore.open(path)
    await apply(store, "default", *same_number(1))

    async def log_growth(together: bool) -> int:
        before = Path(f"{path}-wal").stat().st_size
        if together:
            await apply_all(store, [("default", same_number(n)) for n in range(60)])
        else:
            for n in range(60):
                await apply(store, "default", *same_number(n))
        return Path(f"{path}-wal").stat().st_size - before

    together, singly = await log_growth(True), await log_growth(False)
    assert singly >= 60 * 4096
    assert together <= singly / 4
    await store.close()


async def test_a_callback_that_fails_costs_no_other_its_answer(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "store.db")
    troubles: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context["exception"]))

    def fail(_: StoreError | None) -> None:
        raise ArithmeticError

    ends: list[StoreError | None] = []
    store.submit("default", [region("a")], fail)
    store.submit("default", [region("b")], ends.append)
    await store.groups()
    assert ends == [None]
    assert [type(trouble) for trouble in troubles] == [ArithmeticError]
    await store.close()


async def test_a_question_that_cannot_be_asked_goes_back_to_the_asker(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "store.db")
    with pytest.raises((UnicodeEncodeError, StoreError)):
        await store.create_group("\ud800", 1)
    with pytest.raises((OverflowError, StoreError)):
        await store.create_group("a", 2**70)
    assert await store.groups() == ()
    ends = await apply_all(store, [("\ud800", [region("a")]), ("default", [region("a")])])
    assert [type(end) for end in ends] == [StoreRefused, type(None)]
    await store.close()


async def test_an_asker_who_gives_up_disturbs_nobody(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "store.db")
    asking = [asyncio.create_task(store.groups()) for _ in range(20)]
    await asyncio.sleep(0)
    for task in asking[::2]:
        task.cancel()
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert [result == () for result in results[1::2]] == [True] * 10
    await store.close()


async def test_an_opening_that_is_given_up_lets_go_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    opening = asyncio.create_task(SqliteStore.open(path))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening

    async def reopen() -> SqliteStore:
        while True:
            try:
                return await SqliteStore.open(path)
            except StoreLocked:
                await asyncio.sleep(0.01)

    store = await asyncio.wait_for(reopen(), 10)
    await apply(store, "default", region("eu"))
    await store.close()

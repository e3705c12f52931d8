"""A disk without room: what is asked for is refused in words, what was durable stays readable, and room heals it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from primacy_coordinator.store.api import EventFilter, StoreFull, StoreReadOnly
from primacy_coordinator.store.history import SqliteHistory
from primacy_coordinator.store.sqlite import SqliteStore

from tests.unit.store.stores import apply, apply_all, bytes_of, entry, number_of, region, same_number

pytestmark = pytest.mark.integration


class Disk:
    """A small file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, leave: int = 0) -> None:
        """Leaves no more than `leave` bytes of room."""
        with self._ballast.open("ab", buffering=0) as ballast:
            try:
                while ballast.write(b"x" * 4096):
                    pass
            except OSError:
                pass  # full now
            size = ballast.tell()
        os.truncate(self._ballast, size - leave)

    def free(self) -> None:
        self._ballast.unlink()

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        why = f"mounting a small file system needs root: {mounted.stderr.strip()}"
        if os.environ.get("PRIMACY_TEST_REQUIRE") == "all":
            pytest.fail(why)
        pytest.skip(why)
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_a_full_disk_refuses_batches_whole_and_keeps_what_was_durable(disk: Disk) -> None:
    path = disk.folder / "store.db"
    store = await SqliteStore.open(path)
    await store.create_group("default", 1)
    durable = same_number(1)
    await apply(store, "default", *durable)
    for leave in (0, 4096, 8192, 16384):
        disk.fill(leave)
        # Larger than the room that is left: the log takes a part of it, and the rest does not fit.
        ends = await apply_all(store, [("default", same_number(n, 30_000)) for n in range(100, 104)])
        assert [type(end) for end in ends] == [StoreFull] * 4
        assert str(path) in str(ends[0])
        assert "disk is full" in str(ends[0])
        assert set((await store.load("default")).records) == set(durable)
        with pytest.raises(StoreFull):
            await store.create_group("g" * 100_000, 1)
        assert [row.name for row in await store.groups()] == ["default"]
        disk.free()
        # The very next batch finds the room.
        durable = same_number(2 + leave)
        await apply(store, "default", *durable)
    await apply(store, "default", *same_number(7, 30_000))
    await store.close()
    assert number_of(path) == 7


async def test_one_batch_too_large_for_the_disk_spoils_no_other_groups(disk: Disk) -> None:
    path = disk.folder / "store.db"
    store = await SqliteStore.open(path)
    await apply(store, "small", *same_number(1))
    disk.fill(60_000)
    ends = await apply_all(
        store,
        [
            ("large", same_number(1, 500_000)),
            ("small", same_number(2)),
            ("large", [region("eu")]),
            ("small", same_number(3)),
        ],
    )
    assert [type(end) for end in ends] == [StoreFull, type(None), StoreFull, type(None)]
    assert (await store.load("large")).records == ()
    await store.close()
    assert number_of(path, "small") == 3


async def test_a_crash_on_a_full_disk_loses_nothing_durable(disk: Disk, tmp_path: Path) -> None:
    path = disk.folder / "store.db"
    store = await SqliteStore.open(path)
    await apply(store, "default", *same_number(1))
    disk.fill(8192)
    ends = await apply_all(store, [("default", same_number(2, 30_000))])
    assert isinstance(ends[0], StoreFull)
    # What a kill leaves behind now, with the part of the batch that went into the log.
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("store.db", "store.db-wal"):
        (crashed / name).write_bytes((disk.folder / name).read_bytes())
    assert number_of(crashed / "store.db") == 1
    disk.free()
    await store.close()


@pytest.mark.parametrize("existing", [False, True])
async def test_a_start_on_a_full_disk_is_refused_in_words(disk: Disk, existing: bool) -> None:
    path = disk.folder / "store.db"
    if existing:
        store = await SqliteStore.open(path)
        await apply(store, "default", *same_number(1))
        await store.close()
    disk.fill()
    with pytest.raises(StoreFull, match="disk is full"):
        await SqliteStore.open(path)
    disk.free()
    store = await SqliteStore.open(path)
    assert len((await store.load("default")).records) == (5 if existing else 0)
    assert (await store.load("default")).run_count == (2 if existing else 1)
    await store.close()


async def test_a_disk_that_may_not_be_written_is_refused_in_words(disk: Disk) -> None:
    path = disk.folder / "store.db"
    store = await SqliteStore.open(path)
    await apply(store, "default", *same_number(1))
    await store.close()
    before = bytes_of(disk.folder)
    disk.remount("ro")
    with pytest.raises(StoreReadOnly, match="mount") as caught:
        await SqliteStore.open(path)
    assert str(path) in str(caught.value)
    disk.remount("rw")
    assert bytes_of(disk.folder) == before
    await (await SqliteStore.open(path)).close()


async def test_a_journal_on_a_full_disk_waits_and_loses_nothing_grave(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("primacy_coordinator.store.history.RETRY_S_MIN", 0.05)
    monkeypatch.setattr("primacy_coordinator.store.history.RETRY_S_MAX", 0.2)
    store = await SqliteStore.open(tmp_path / "store.db")
    history = SqliteHistory(disk.folder / "journal.db")
    history.append("default", entry(1))
    wanted = EventFilter("default")
    assert [event.sequence for event in await history.events(wanted, 10)] == [1]
    disk.fill()
    for number in range(2, 202):
        history.append("default", entry(number, message="m" * 2000))
    async with asyncio.timeout(10):
        while "disk is full" not in history.trouble:
            await asyncio.sleep(0.01)
    # What is there can be read, and the state's own store does not care.
    assert [event.sequence for event in await history.events(wanted, 10)] == [1]
    await apply(store, "default", *same_number(1))
    disk.free()
    async with asyncio.timeout(10):
        while history.trouble:
            await asyncio.sleep(0.01)
    assert [event.sequence for event in await history.events(wanted, 1000)] == list(range(201, 0, -1))
    assert history.dropped_count == 0
    disk.fill()
    history.append("default", entry(202, message="m" * 50_000))
    await history.close()
    assert history.dropped_count == 1
    await store.close()

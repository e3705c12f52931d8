"""Files that are not ours, not whole, not of this version, or not free: refused in words, and left as they were."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlite_utils
from primacy_coordinator.store import files
from primacy_coordinator.store.api import (
    StoreDamaged,
    StoreError,
    StoreLocked,
    StoreNewer,
    StoreRefused,
)
from primacy_coordinator.store.files import open_file
from primacy_coordinator.store.history import JOURNAL
from primacy_coordinator.store.sqlite import STORE, SqliteStore

from tests.unit.store.stores import apply, bytes_of, number_of, region, same_number

HOLD = """
import asyncio, sys
from pathlib import Path
from primacy_coordinator.store.sqlite import SqliteStore
async def main():
    store = await SqliteStore.open(Path(sys.argv[1]))
    print("held", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await store.close()
asyncio.run(main())
"""


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A store with something in it, closed."""
    folder = tmp_path / "a folder, 100% odd?#"
    folder.mkdir()
    store = await SqliteStore.open(folder / "store.db")
    await store.create_group("default", 1)
    await apply(store, "default", *same_number(7))
    await store.close()
    return folder / "store.db"


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


async def refused(path: Path, error: type[StoreError], *words: str) -> None:
    """Opening fails with exactly that error, which names the file, and changes nothing."""
    before = bytes_of(path.parent)
    with pytest.raises(error) as caught:
        await SqliteStore.open(path)
    assert type(caught.value) is error
    for word in (str(path), *words):
        assert word in str(caught.value)
    assert bytes_of(path.parent) == before


async def test_a_store_of_a_newer_version_is_left_alone(path: Path) -> None:
    change(path, f"PRAGMA user_version = {len(STORE.migrations) + 1}")
    await refused(path, StoreNewer, "newer version", "start that version")


async def test_a_newer_store_with_a_live_log_is_left_alone(path: Path) -> None:
    """A crash left commits in the write-ahead log alone: the version is read through it, and it stays as it is."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA user_version = {len(STORE.migrations) + 1}")
    crashed = path.parent.parent / "crashed"
    shutil.copytree(path.parent, crashed)
    connection.close()
    assert (crashed / "store.db-wal").stat().st_size > 0
    await refused(crashed / "store.db", StoreNewer, "newer version")


@pytest.mark.parametrize(
    "statement",
    [
        """INSERT INTO records VALUES ('default', 'mood', '', '{}')""",
        """UPDATE records SET body = json_set(body, '$.colour', 1) WHERE kind = 'lease'""",
        """UPDATE records SET body = json_set(body, '$.configured.colour', 1) WHERE kind = 'region' AND key = 'eu'""",
    ],
)
async def test_a_record_of_a_newer_version_is_refused_before_anything_is_changed(path: Path, statement: str) -> None:
    change(path, statement)
    await refused(path, StoreNewer, "newer version")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE records SET body = 'not json' WHERE kind = 'lease'",
        "UPDATE records SET body = json_set(body, '$.epoch', 'seven') WHERE kind = 'lease'",
        "UPDATE records SET body = cast(x'ff80' AS TEXT) WHERE kind = 'lease'",
        "UPDATE records SET key = 'elsewhere' WHERE kind = 'lease'",
        "DELETE FROM meta",
        "DROP TABLE records",
        "PRAGMA application_id = 7",
    ],
)
async def test_a_store_with_wrong_contents_is_left_alone(path: Path, statement: str) -> None:
    change(path, statement)
    before = bytes_of(path.parent)
    with pytest.raises(StoreError) as caught:
        await SqliteStore.open(path)
    assert str(path) in str(caught.value)
    assert bytes_of(path.parent) == before


@pytest.mark.parametrize("broken", ["records", "runs", "groups", "sqlite_autoindex_records_1"])
async def test_a_broken_page_is_found_at_the_start(path: Path, broken: str) -> None:
    """Also where no record is: in what is only written to, and in an index."""
    connection = sqlite3.connect(path)
    root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (broken,)).fetchone()[0]
    connection.close()
    content = bytearray(path.read_bytes())
    content[(root - 1) * 4096 : (root - 1) * 4096 + 64] = os.urandom(64)
    path.write_bytes(content)
    await refused(path, StoreDamaged, "damaged", "left as it is", "primacy recover")


@pytest.mark.parametrize("keep", [1, 511, 512, 4096, 5000, 9000])
async def test_a_file_that_is_cut_short_is_left_alone(path: Path, keep: int) -> None:
    os.truncate(path, keep)
    await refused(path, StoreDamaged, "left as it is")


@pytest.mark.parametrize("left", ["empty", "gone"])
async def test_a_log_without_its_file_is_not_thrown_away(path: Path, left: str) -> None:
    store = await SqliteStore.open(path)
    await apply(store, "default", *same_number(8))
    crashed = path.parent.parent / "crashed"
    shutil.copytree(path.parent, crashed)
    await store.close()
    (crashed / "store.db").unlink()
    if left == "empty":
        (crashed / "store.db").touch()
    await refused(crashed / "store.db", StoreDamaged, "log")


@pytest.mark.parametrize("content", [b"hello, world\n" * 1000, os.urandom(8192), b"SQLite format 3\0" + bytes(5000)])
async def test_a_file_of_another_kind_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(content)
    await refused(path, StoreDamaged, "left as it is")


async def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    change(path, "CREATE TABLE notes (text)", "INSERT INTO notes VALUES ('precious')")
    await refused(path, StoreDamaged, "not a store")


async def test_a_journal_is_not_a_store(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    open_file(path, JOURNAL).close()
    await refused(path, StoreDamaged, "not a store")


async def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.touch()
    store = await SqliteStore.open(path)
    await apply(store, "default", *same_number(1))
    await store.close()
    assert number_of(path) == 1


async def test_a_folder_is_not_a_store(tmp_path: Path) -> None:
    (tmp_path / "store.db").mkdir()
    with pytest.raises(StoreRefused, match=r"store\.db is not a file"):
        await SqliteStore.open(tmp_path / "store.db")


async def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="missing") as caught:
        await SqliteStore.open(tmp_path / "missing" / "store.db")
    assert "folder" in str(caught.value)


async def test_a_store_in_another_process_is_locked_and_its_owner_named(path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreLocked, match=f"process {holder.pid}") as caught:
            await SqliteStore.open(path)
        assert str(path) in str(caught.value)
    finally:
        holder.kill()
        holder.wait()
    # The kernel gave the lock back.
    store = await SqliteStore.open(path)
    assert len((await store.load("default")).records) == 5
    await store.close()


async def test_a_refused_store_can_be_opened_after_the_repair(path: Path) -> None:
    """A refusal holds nothing: neither the lock nor the file."""
    change(path, "PRAGMA user_version = 99")
    await refused(path, StoreNewer)
    change(path, f"PRAGMA user_version = {len(STORE.migrations)}")
    store = await SqliteStore.open(path)
    assert (await store.load("default")).run_count == 2
    await store.close()


async def test_who_holds_the_file_open_for_writing_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BUSY_MS", 100)
    store = await SqliteStore.open(path)
    operator = sqlite3.connect(path, isolation_level=None)
    operator.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreLocked, match="sqlite3"):
        await apply(store, "default", *same_number(8))
    operator.execute("ROLLBACK")
    operator.close()
    await apply(store, "default", *same_number(9))
    await store.close()
    assert number_of(path) == 9


# ---- migrations, on a file of version 1 as this version makes it


def _second(db: sqlite_utils.Database) -> None:
    db.table("runs").transform(rename={"started_wall_ns": "start_wall_ns"})
    db.table("runs").add_column("version", str, not_null_default="before")


def _third(db: sqlite_utils.Database) -> None:
    db.conn.execute("UPDATE records SET body = json_set(body, '$.revision', 1000) WHERE kind = 'lease'")


def _broken(db: sqlite_utils.Database) -> None:
    _second(db)
    db.conn.execute("INSERT INTO nowhere VALUES (1)")


def _spoiling(db: sqlite_utils.Database) -> None:
    db.conn.execute("UPDATE records SET body = '{}' WHERE kind = 'region'")


def test_a_file_of_version_1_is_brought_up_to_date(path: Path) -> None:
    runs = sqlite3.connect(path).execute("SELECT run_id, started_wall_ns FROM runs").fetchall()
    kind = replace(STORE, migrations=(*STORE.migrations[:1], _second, _third))
    db = open_file(path, kind)
    assert [(row["run_id"], row["start_wall_ns"], row["version"]) for row in db.table("runs").rows] == [
        (*run, "before") for run in runs
    ]
    assert db.conn.execute("SELECT body ->> 'revision' FROM records WHERE kind = 'lease'").fetchone() == (1000,)
    assert db.conn.execute("PRAGMA user_version").fetchone() == (3,)
    db.close()
    # Once is enough.
    open_file(path, kind).close()
    assert number_of(path) == 7
    # The version before does not touch it any more.
    with pytest.raises(StoreNewer, match="schema 3, this one knows 1"):
        open_file(path, STORE)


@pytest.mark.parametrize("last", [_broken, _spoiling])
def test_a_migration_that_fails_leaves_the_file_as_it_was(
    path: Path, last: Callable[[sqlite_utils.Database], None]
) -> None:
    kind = replace(STORE, migrations=(*STORE.migrations[:1], _third, last))
    before = list(sqlite3.connect(path).iterdump())
    with pytest.raises(StoreError):
        open_file(path, kind)
    assert list(sqlite3.connect(path).iterdump()) == before
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (1,)
    open_file(path, STORE).close()


async def test_a_start_cut_short_before_the_first_table_is_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    change(path, "PRAGMA journal_mode = WAL")
    assert path.stat().st_size > 0
    store = await SqliteStore.open(path)
    await apply(store, "default", region("eu"))
    await store.close()

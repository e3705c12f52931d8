"""The default store: one SQLite file, write-ahead log, every commit on disk before it counts.

One thread owns the connection. Batches that wait are committed together (group commit); when that fails, each is tried
alone, in order, and after one of a group failed the rest of that group's waiting batches fail with it.
"""

from __future__ import annotations

import asyncio
import queue
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlite_utils

from primacy_coordinator.core.effects import Drop
from primacy_coordinator.core.model import LeaseRecord, Loaded
from primacy_coordinator.store.api import GroupRow, Settled, StoreDamaged, StoreError, Write
from primacy_coordinator.store.codec import BadRecord, decode_record, encode_record
from primacy_coordinator.store.files import FileLock, Migration, explain, open_file

T = TypeVar("T")

BATCHES_TOGETHER_MAX = 256
"""Batches in one commit: more gain little and make the first wait longer."""


def _first_schema(db: sqlite_utils.Database) -> None:
    db.table("meta").create({"key": str, "value": str}, pk="key")
    db.table("runs").create({"run_id": str, "started_wall_ns": int}, pk="run_id")
    db.table("groups").create(
        {"name": str, "created_wall_ns": int, "deleted_wall_ns": int, "last_epoch": int}, pk="name"
    )
    db.table("records").create(
        {"group_name": str, "kind": str, "key": str, "body": str}, pk=("group_name", "kind", "key")
    )
    db.table("meta").insert({"key": "store_id", "value": secrets.token_hex(16)})


MIGRATIONS: tuple[Migration, ...] = (_first_schema,)


@dataclass(slots=True)
class _Batch:
    group: str
    puts: list[tuple[str, str, str, str]]
    drops: list[tuple[str, str, str]]
    settled: Settled


@dataclass(slots=True)
class _Call:
    """Something else for the thread to do, between batches."""

    work: Callable[[sqlite_utils.Database], Any]
    answer: Callable[[Any, StoreError | None], None]


class SqliteStore:
    """See `api.StateStore`. `open` makes one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Batch | _Call | None] = queue.SimpleQueue()
        self._opened: asyncio.Future[tuple[str, str]] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._ids = ("", "")
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> SqliteStore:
        """Open or create the file, and note this start. Raises StoreError; the file is then as it was."""
        store = cls(path)
        store._thread.start()
        store._ids = await store._opened
        return store

    @property
    def store_id(self) -> str:
        return self._ids[0]

    @property
    def run_id(self) -> str:
        return self._ids[1]

    # ---- on the event loop

    async def groups(self) -> tuple[GroupRow, ...]:
        def read(db: sqlite_utils.Database) -> tuple[GroupRow, ...]:
            return tuple(GroupRow(**row) for row in db.table("groups").rows_where(order_by="name"))

        return await self._ask(read)

    async def create_group(self, name: str, created_wall_ns: int) -> GroupRow:
        def make(db: sqlite_utils.Database) -> GroupRow:
            db.conn.execute(
                "INSERT INTO groups VALUES (?, ?, 0, 0) ON CONFLICT (name) DO UPDATE "
                "SET created_wall_ns = excluded.created_wall_ns, deleted_wall_ns = 0 WHERE deleted_wall_ns > 0",
                (name, created_wall_ns),
            )
            return GroupRow(**next(db.table("groups").rows_where("name = ?", [name])))

        return await self._ask(make)

    async def delete_group(self, name: str, deleted_wall_ns: int, last_epoch: int) -> None:
        def delete(db: sqlite_utils.Database) -> None:
            db.conn.execute("DELETE FROM records WHERE group_name = ?", (name,))
            db.conn.execute(
                "UPDATE groups SET deleted_wall_ns = ?, last_epoch = max(last_epoch, ?) WHERE name = ?",
                (deleted_wall_ns, last_epoch, name),
            )

        await self._ask(delete)

    async def load(self, group: str) -> Loaded:
        def read(db: sqlite_utils.Database) -> Loaded:
            runs = [row["run_id"] for row in db.table("runs").rows_where(order_by="rowid")]
            rows = db.table("records").rows_where("group_name = ?", [group], order_by="kind, key")
            try:
                records = tuple(decode_record(row["kind"], row["body"].encode()) for row in rows)
            except BadRecord as error:
                raise StoreDamaged(f"{self._path}: {error}: start the version of Primacy that wrote it") from error
            if not any(isinstance(record, LeaseRecord) for record in records):
                row = next(db.table("groups").rows_where("name = ?", [group]), None)
                if row is not None and row["last_epoch"]:
                    # A group made again under a deleted one's name goes on above its epochs (I2).
                    records = (*records, LeaseRecord(epoch=row["last_epoch"]))
            return Loaded(self.store_id, self.run_id, frozenset(runs), len(runs), records)

        return await self._ask(read)

    def submit(self, group: str, writes: Sequence[Write], settled: Settled) -> None:
        puts: list[tuple[str, str, str, str]] = []
        drops: list[tuple[str, str, str]] = []
        for write in writes:
            if isinstance(write, Drop):
                drops.append((group, write.kind, write.key))
            else:
                puts.append((group, write.kind, write.key, encode_record(write).decode()))
        self._queue.put(_Batch(group, puts, drops, settled))

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)

    async def _ask(self, work: Callable[[sqlite_utils.Database], T]) -> T:
        future: asyncio.Future[T] = self._loop.create_future()

        def answer(value: T, error: StoreError | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)

        self._queue.put(_Call(work, answer))
        return await future

    # ---- on the thread

    def _run(self) -> None:
        try:
            lock = FileLock(self._path.with_name(self._path.name + ".lock"))
            try:
                db = open_file(self._path, MIGRATIONS, "FULL")
                ids = self._note_start(db)
            except BaseException:
                lock.release()
                raise
        except StoreError as error:
            self._tell(self._fail_open, error)
            return
        self._tell(self._opened.set_result, ids)
        try:
            while self._step(db):
                pass
        finally:
            db.close()
            lock.release()

    def _fail_open(self, error: StoreError) -> None:
        if not self._opened.done():
            self._opened.set_exception(error)

    def _note_start(self, db: sqlite_utils.Database) -> tuple[str, str]:
        run_id = secrets.token_hex(8)
        try:
            db.table("runs").insert({"run_id": run_id, "started_wall_ns": time.time_ns()})
            return str(db.table("meta").get("store_id")["value"]), run_id
        except sqlite3.Error as error:
            raise explain(self._path, error) from error
        except sqlite_utils.db.NotFoundError as error:
            raise StoreDamaged(f"{self._path} has no store_id: it is not a store of Primacy's") from error

    def _step(self, db: sqlite_utils.Database) -> bool:
        """Take what waits: batches up to the next call, together. False when it is time to end."""
        batches: list[_Batch] = []
        item = self._queue.get()
        while isinstance(item, _Batch):
            batches.append(item)
            if len(batches) >= BATCHES_TOGETHER_MAX:
                item = None
                break
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                item = None
                break
        else:
            self._commit_all(db, batches)
            if item is None:
                return False
            self._call(db, item)
            return True
        self._commit_all(db, batches)
        return True

    def _call(self, db: sqlite_utils.Database, call: _Call) -> None:
        try:
            with db.atomic():
                value = call.work(db)
        except sqlite3.Error as error:
            self._tell(call.answer, None, explain(self._path, error))
        except StoreError as error:
            self._tell(call.answer, None, error)
        else:
            self._tell(call.answer, value, None)

    def _commit_all(self, db: sqlite_utils.Database, batches: list[_Batch]) -> None:
        if not batches:
            return
        error = self._commit(db, batches)
        if error is None:
            for batch in batches:
                self._tell(batch.settled, None)
            return
        failed: dict[str, StoreError] = {}
        for batch in batches:
            problem = failed.get(batch.group) or self._commit(db, [batch])
            if problem is not None:
                failed[batch.group] = problem
            self._tell(batch.settled, problem)

    def _commit(self, db: sqlite_utils.Database, batches: Sequence[_Batch]) -> StoreError | None:
        connection = db.conn
        try:
            connection.execute("BEGIN IMMEDIATE")
            for batch in batches:
                connection.executemany(
                    "INSERT INTO records VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body", batch.puts
                )
                connection.executemany("DELETE FROM records WHERE group_name = ? AND kind = ? AND key = ?", batch.drops)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            return explain(self._path, error)
        return None

    def _tell(self, call: Callable[..., None], *values: object) -> None:
        with suppress(RuntimeError):  # The loop may be closed: then nobody is left to be told.
            self._loop.call_soon_threadsafe(call, *values)

"""The default store: one SQLite file, write-ahead log, every commit on disk before it counts."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import sqlite_utils

from primacy_coordinator.core.effects import Drop
from primacy_coordinator.core.model import LeaseRecord, Loaded
from primacy_coordinator.store.api import (
    GroupRow,
    Settled,
    StoreDamaged,
    StoreError,
    StoreNewer,
    StoreRefused,
    Write,
)
from primacy_coordinator.store.codec import BadRecord, NewerRecord, decode_record, encode_record
from primacy_coordinator.store.files import FileKind, damaged
from primacy_coordinator.store.writer import Key, Writer


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


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Read every record, so that nothing unreadable turns up after something was changed."""
    _store_id(connection, path)
    for kind, key, body in connection.execute("SELECT kind, key, body FROM records"):
        try:
            decode_record(kind, key, body)
        except BadRecord as error:
            raise _unreadable(path, error) from error


def _store_id(connection: sqlite3.Connection, path: Path) -> str:
    row = connection.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchone()
    if row is None or not row[0]:
        raise StoreDamaged(damaged(path, "it has no store_id"))
    return str(row[0])


def _unreadable(path: Path, error: BadRecord) -> StoreError:
    if isinstance(error, NewerRecord):
        return StoreNewer(
            f"{path} was written by a newer version of Primacy ({error}) and was left as it is: start that version, or "
            "use a copy made before the upgrade"
        )
    return StoreDamaged(damaged(path, str(error)))


STORE = FileKind(
    title="a store",
    application_id=0x50524D53,  # "PRMS"
    migrations=(_first_schema,),
    synchronous="FULL",
    check=_check,
)


class SqliteStore:
    """See `api.StateStore`. `open` makes one."""

    def __init__(self, path: Path, writer: Writer, store_id: str, run_id: str) -> None:
        self._path = path
        self._writer = writer
        self.store_id = store_id
        self.run_id = run_id

    @classmethod
    async def open(cls, path: Path) -> SqliteStore:
        """Open or create the file, and note this start. Raises StoreError; the file is then as it was."""

        def begin(db: sqlite_utils.Database) -> tuple[str, str]:
            run_id = secrets.token_hex(8)
            db.table("runs").insert({"run_id": run_id, "started_wall_ns": time.time_ns()})
            return _store_id(db.conn, path), run_id

        writer = Writer(path, STORE)
        store_id, run_id = await writer.open(begin)
        return cls(path, writer, store_id, run_id)

    async def groups(self) -> tuple[GroupRow, ...]:
        def read(db: sqlite_utils.Database) -> tuple[GroupRow, ...]:
            return tuple(GroupRow(**row) for row in db.table("groups").rows_where(order_by="name"))

        return await self._writer.ask(read)

    async def create_group(self, name: str, created_wall_ns: int) -> GroupRow:
        def make(db: sqlite_utils.Database) -> GroupRow:
            db.conn.execute(
                "INSERT INTO groups VALUES (?, ?, 0, 0) ON CONFLICT (name) DO UPDATE "
                "SET created_wall_ns = excluded.created_wall_ns, deleted_wall_ns = 0 WHERE deleted_wall_ns > 0",
                (name, created_wall_ns),
            )
            return GroupRow(**next(db.table("groups").rows_where("name = ?", [name])))

        return await self._writer.ask(make)

    async def delete_group(self, name: str, deleted_wall_ns: int, last_epoch: int) -> None:
        def delete(db: sqlite_utils.Database) -> None:
            db.conn.execute("DELETE FROM records WHERE group_name = ?", (name,))
            db.conn.execute(
                "UPDATE groups SET deleted_wall_ns = ?, last_epoch = max(last_epoch, ?) WHERE name = ?",
                (deleted_wall_ns, last_epoch, name),
            )

        await self._writer.ask(delete)

    async def load(self, group: str) -> Loaded:
        def read(db: sqlite_utils.Database) -> Loaded:
            runs = [row["run_id"] for row in db.table("runs").rows_where(order_by="rowid")]
            rows = db.table("records").rows_where("group_name = ?", [group], order_by="kind, key")
            try:
                records = tuple(decode_record(row["kind"], row["key"], row["body"]) for row in rows)
            except BadRecord as error:
                raise _unreadable(self._path, error) from error
            if not any(isinstance(record, LeaseRecord) for record in records):
                row = next(db.table("groups").rows_where("name = ?", [group]), None)
                if row is not None and row["last_epoch"]:
                    # A group made again under a deleted one's name goes on above its epochs (I2).
                    records = (*records, LeaseRecord(epoch=row["last_epoch"]))
            return Loaded(self.store_id, self.run_id, frozenset(runs), len(runs), records)

        return await self._writer.ask(read)

    def submit(self, group: str, writes: Sequence[Write], settled: Settled) -> None:
        changes: dict[Key, str | None] = {}
        problem: StoreError | None = None
        try:
            for write in writes:
                changes[group, write.kind, write.key] = None if isinstance(write, Drop) else encode_record(write)
        except BadRecord as error:
            problem = StoreRefused(f"{self._path}: {error}")
        self._writer.submit(group, changes, problem, settled)

    async def close(self) -> None:
        await self._writer.close()

"""The journal in a file of its own, written behind by a thread of its own.

What cannot be written is counted and said (`trouble`), and keeps nobody waiting: a full disk costs entries, not leases.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlite_utils

from primacy_coordinator.core.effects import Journal, Severity
from primacy_coordinator.store.api import EventFilter, StoredEvent, StoreError
from primacy_coordinator.store.codec import encode_inputs
from primacy_coordinator.store.files import Migration, explain, open_file

logger = logging.getLogger(__name__)

WAITING_COUNT_MAX = 20_000
"""Entries that may wait for the disk; beyond that the oldest of least severity goes first."""
TOGETHER_MAX = 1_000
EVENTS_KEPT_DEFAULT = 100_000
PRUNE_EVERY = 1_000
RETRY_S = 1.0


def _first_schema(db: sqlite_utils.Database) -> None:
    db.table("events").create(
        {
            "group_name": str,
            "sequence": int,
            "wall_ns": int,
            "kind": str,
            "severity": int,
            "message": str,
            "region": str,
            "epoch": int,
            "failover_id": str,
            "inputs": str,
        },
        pk=("group_name", "sequence"),
    )


MIGRATIONS: tuple[Migration, ...] = (_first_schema,)


class SqliteHistory:
    """See `api.History`."""

    def __init__(self, path: Path, events_kept: int = EVENTS_KEPT_DEFAULT) -> None:
        self._path = path
        self._events_kept = events_kept
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[str, Journal]] = deque()
        self._calls: deque[tuple[Callable[[sqlite_utils.Database], Any], asyncio.Future[Any]]] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._written = 0
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self.trouble = ""
        self.dropped_count = 0
        self._thread.start()

    # ---- on the event loop

    def append(self, group: str, entry: Journal) -> None:
        with self._wake:
            if len(self._waiting) >= WAITING_COUNT_MAX:
                self._make_room()
            self._waiting.append((group, entry))
            self._wake.notify()

    def _make_room(self) -> None:
        self.dropped_count += 1
        for index, (_, entry) in enumerate(self._waiting):
            if entry.severity is Severity.INFO:
                del self._waiting[index]
                return
        self._waiting.popleft()

    async def last_sequence(self, group: str) -> int:
        def read(db: sqlite_utils.Database) -> int:
            row = db.conn.execute("SELECT max(sequence) FROM events WHERE group_name = ?", (group,)).fetchone()
            return row[0] or 0

        found: int = await self._ask(read)
        return found

    async def events(self, wanted: EventFilter, count: int, newest_first: bool = True) -> tuple[StoredEvent, ...]:
        where, values = ["group_name = :group"], {"group": wanted.group, "count": count}
        for clause, name, value in (
            ("region = :region", "region", wanted.region),
            ("failover_id = :failover", "failover", wanted.failover_id),
            ("severity >= :severity", "severity", int(wanted.severity_min)),
            ("sequence > :after", "after", wanted.after),
            ("sequence < :before", "before", wanted.before),
        ):
            if value:
                where.append(clause)
                values[name] = value
        for number, kind in enumerate(wanted.kinds):
            values[f"kind{number}"] = kind
        if wanted.kinds:
            where.append(f"kind IN ({', '.join(f':kind{n}' for n in range(len(wanted.kinds)))})")
        order = "DESC" if newest_first else "ASC"
        columns = "sequence, wall_ns, kind, severity, message, region, epoch, failover_id, inputs"
        # Only names of our own are put together here; every value is bound.
        query = f"SELECT {columns} FROM events WHERE {' AND '.join(where)} ORDER BY sequence {order} LIMIT :count"

        def read(db: sqlite_utils.Database) -> tuple[StoredEvent, ...]:
            return tuple(
                StoredEvent(row[0], row[1], row[2], Severity(row[3]), *row[4:])
                for row in db.conn.execute(query, values)
            )

        found: tuple[StoredEvent, ...] = await self._ask(read)
        return found

    async def close(self) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join, 5.0)

    async def _ask(self, work: Callable[[sqlite_utils.Database], Any]) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()
        with self._wake:
            self._calls.append((work, future))
            self._wake.notify()
        return await future

    # ---- on the thread

    def _run(self) -> None:
        db: sqlite_utils.Database | None = None
        while True:
            with self._wake:
                while not (self._waiting or self._calls or self._closing):
                    self._wake.wait()
                entries = [self._waiting[n] for n in range(min(TOGETHER_MAX, len(self._waiting)))]
                # A question is answered when what was said before it is written.
                calls = list(self._calls) if len(entries) == len(self._waiting) else []
                for _ in calls:
                    self._calls.popleft()
                ending = self._closing and not self._waiting
            try:
                db = db or open_file(self._path, MIGRATIONS, "NORMAL")
                self._write(db, entries)
                self.trouble = ""
            except (StoreError, sqlite3.Error) as error:
                self._note_trouble(error)
                entries = []
            with self._wake:
                for _ in entries:
                    self._waiting.popleft()
            self._answer(db, calls)
            if ending or (self._closing and self.trouble):
                break
            if self.trouble:
                with self._wake:
                    self._wake.wait(RETRY_S)
        if db is not None:
            db.close()

    def _note_trouble(self, error: Exception) -> None:
        told = error if isinstance(error, StoreError) else None
        message = str(told or (explain(self._path, error) if isinstance(error, sqlite3.Error) else error))
        if message != self.trouble:
            logger.error("the journal cannot be written; it will be tried again", extra={"error": message})
        self.trouble = message

    def _write(self, db: sqlite_utils.Database, entries: list[tuple[str, Journal]]) -> None:
        if not entries:
            return
        rows = [
            (
                group,
                e.sequence,
                e.wall_ns,
                e.kind,
                int(e.severity),
                e.message,
                e.region,
                e.epoch,
                e.failover_id,
                encode_inputs(e.inputs),
            )
            for group, e in entries
        ]
        db.conn.execute("BEGIN IMMEDIATE")
        try:
            # After a crash of the writer alone a sequence may come again: the newer entry is the one that happened.
            db.conn.executemany(f"INSERT OR REPLACE INTO events VALUES ({', '.join('?' * 10)})", rows)
            self._written += len(rows)
            if self._written >= PRUNE_EVERY:
                self._written = 0
                self._prune(db)
            db.conn.execute("COMMIT")
        except sqlite3.Error:
            if db.conn.in_transaction:
                db.conn.execute("ROLLBACK")
            raise

    def _prune(self, db: sqlite_utils.Database) -> None:
        for (group,) in db.conn.execute("SELECT DISTINCT group_name FROM events").fetchall():
            db.conn.execute(
                "DELETE FROM events WHERE group_name = ? AND sequence <= "
                "(SELECT max(sequence) FROM events WHERE group_name = ?) - ?",
                (group, group, self._events_kept),
            )

    def _answer(
        self,
        db: sqlite_utils.Database | None,
        calls: list[tuple[Callable[[sqlite_utils.Database], Any], asyncio.Future[Any]]],
    ) -> None:
        for work, future in calls:
            try:
                if db is None:
                    raise StoreError(self.trouble)
                value = work(db)
            except sqlite3.Error as error:
                self._tell(future, None, explain(self._path, error))
            except StoreError as error:
                self._tell(future, None, error)
            else:
                self._tell(future, value, None)

    def _tell(self, future: asyncio.Future[Any], value: object, error: StoreError | None) -> None:
        def settle() -> None:
            if not future.done():
                if error is not None:
                    future.set_exception(error)
                else:
                    future.set_result(value)

        with suppress(RuntimeError):  # The loop may be closed: then nobody is left to be told.
            self._loop.call_soon_threadsafe(settle)

"""The journal in a file of its own, written behind by a thread of its own.

What cannot be written is counted and said (`trouble`), and keeps nobody waiting: a full disk costs entries, not leases.
Weakness: a filter on region or kind reads the group's entries one by one.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlite_utils

from primacy_coordinator.core.effects import Journal, Severity
from primacy_coordinator.store.answers import resolve
from primacy_coordinator.store.api import EventFilter, StoredEvent, StoreRefused
from primacy_coordinator.store.codec import encode_inputs
from primacy_coordinator.store.files import FileKind, explain, open_file, roll_back

logger = logging.getLogger(__name__)

WAITING_COUNT_MAX = 20_000
"""Entries that may wait for the disk; beyond that the oldest of no consequence goes, then the oldest."""
TOGETHER_MAX = 1_000
EVENTS_KEPT_DEFAULT = 100_000
PRUNE_EVERY = 1_000
RETRY_S_MIN = 1.0
RETRY_S_MAX = 60.0
CLOSE_S_MAX = 5.0

Entry = tuple[str, Journal]
Row = tuple[str | int, ...]
Question = tuple[Callable[[sqlite_utils.Database], Any], "asyncio.Future[Any]"]


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
    db.table("events").create_index(["group_name", "failover_id", "sequence"])


JOURNAL = FileKind(
    title="a journal",
    application_id=0x50524D4A,  # "PRMJ"
    migrations=(_first_schema,),
    synchronous="NORMAL",
)


class SqliteHistory:
    """See `api.History`. Opens its file on its own thread, when there is something to do."""

    def __init__(self, path: Path, events_kept: int = EVENTS_KEPT_DEFAULT, kept_ns: int = 0) -> None:
        """Keeps the newest `events_kept` entries of each group and, unless it is 0, none older than `kept_ns`."""
        self.trouble = ""
        self.dropped_count = 0
        self._path = path
        self._events_kept = events_kept
        self._kept_ns = kept_ns
        self._loop = asyncio.get_running_loop()
        self._wake = threading.Condition()
        # Under the condition's lock:
        self._grave: deque[Entry] = deque()
        self._plain: deque[Entry] = deque()
        self._questions: deque[Question] = deque()
        self._first: dict[str, int] = {}
        """By group, the first sequence of this life."""
        self._closing = False
        # Of the thread alone:
        self._db: sqlite_utils.Database | None = None
        self._shifts: dict[str, int] = {}
        self._unpruned = 0
        self._retry_s = RETRY_S_MIN
        self._retry_at = 0.0
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    # ---- on the event loop

    def append(self, group: str, entry: Journal) -> None:
        with self._wake:
            if self._closing:
                self.dropped_count += 1
                return
            self._first.setdefault(group, entry.sequence)
            (self._plain if entry.severity is Severity.INFO else self._grave).append((group, entry))
            self._shed()
            self._wake.notify()

    async def last_sequence(self, group: str) -> int:
        def read(db: sqlite_utils.Database) -> int:
            return _last_stored(db, group) - self._shifts.get(group, 0)

        found: int = await self._ask(read)
        return found

    async def events(self, wanted: EventFilter, count: int, newest_first: bool = True) -> tuple[StoredEvent, ...]:
        query, values = _query(wanted, count, newest_first)

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
        await asyncio.to_thread(self._thread.join, CLOSE_S_MAX)

    async def _ask(self, work: Callable[[sqlite_utils.Database], Any]) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()
        with self._wake:
            if self._closing:
                raise StoreRefused(f"{self._path} was closed by this process")
            self._questions.append((work, future))
            self._wake.notify()
        return await future

    # ---- under the lock

    def _shed(self) -> None:
        while len(self._grave) + len(self._plain) > WAITING_COUNT_MAX:
            (self._plain or self._grave).popleft()
            self.dropped_count += 1

    def _take(self) -> tuple[list[Entry], list[Question], bool, bool]:
        """Wait for something to do, and take it: entries (the grave first) and questions.

        Then whether to try the file now, and whether this is the end. A question waits until everything said before it
        is written; in trouble it does not.
        """
        while not (self._questions or self._closing):
            if not (self._grave or self._plain):
                self._wake.wait()
            elif (patience := self._retry_at - time.monotonic()) > 0:
                self._wake.wait(patience)
            else:
                break
        trying = self._closing or time.monotonic() >= self._retry_at
        entries: list[Entry] = []
        if trying:
            for waiting in (self._grave, self._plain):
                while waiting and len(entries) < TOGETHER_MAX:
                    entries.append(waiting.popleft())
        left = bool(self._grave or self._plain)
        questions: list[Question] = []
        if not left or not entries:
            questions = list(self._questions)
            self._questions.clear()
        return entries, questions, trying, self._closing and not left

    def _put_back(self, entries: list[Entry]) -> None:
        for group, entry in reversed(entries):
            (self._plain if entry.severity is Severity.INFO else self._grave).appendleft((group, entry))
        self._shed()

    # ---- on the thread

    def _run(self) -> None:
        while self._turn():
            pass
        if self._db is not None:
            self._db.close()

    def _turn(self) -> bool:
        """One round of writing and answering. False when it was the last."""
        with self._wake:
            entries, questions, trying, ending = self._take()
        if trying:
            try:
                if self._db is None:
                    self._db = open_file(self._path, JOURNAL)
                    self._prune(self._db)
                self._write(self._db, entries)
                self.trouble, self._retry_s, self._retry_at = "", RETRY_S_MIN, 0.0
            except Exception as error:  # noqa: BLE001 - whatever it is, it costs entries and nothing else
                self._note_trouble(error)
                with self._wake:
                    self._put_back(entries)
                if self._closing:
                    self._give_up()
                    ending = True
        self._answer(questions)
        return not ending

    def _note_trouble(self, error: Exception) -> None:
        message = str(explain(self._path, error) if isinstance(error, sqlite3.Error) else error)
        if message != self.trouble:
            logger.error("the journal cannot be written; it will be tried again", extra={"error": message})
        self.trouble = message
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(2 * self._retry_s, RETRY_S_MAX)

    def _give_up(self) -> None:
        with self._wake:
            lost = len(self._grave) + len(self._plain)
            self._grave.clear()
            self._plain.clear()
        self.dropped_count += lost
        if lost:
            logger.error("entries of the journal are lost", extra={"count": lost, "error": self.trouble})

    def _write(self, db: sqlite_utils.Database, entries: list[Entry]) -> None:
        if not entries:
            return
        rows = [self._row(db, group, entry) for group, entry in entries]
        # The same numbers again are the same entries, written before a commit that seemed to fail.
        insert = f"INSERT OR REPLACE INTO events VALUES ({', '.join('?' * len(rows[0]))})"
        db.conn.execute("BEGIN IMMEDIATE")
        try:
            try:
                db.conn.executemany(insert, rows)
            except (ValueError, OverflowError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.IntegrityError):
                self._write_singly(db, insert, rows)
            db.conn.execute("COMMIT")
        except BaseException:
            roll_back(db.conn)
            raise
        self._unpruned += len(rows)
        if self._unpruned >= PRUNE_EVERY:
            self._prune(db)

    def _write_singly(self, db: sqlite_utils.Database, insert: str, rows: list[Row]) -> None:
        """What no column can hold is dropped, so that it does not hold up all that follows."""
        for row in rows:
            try:
                db.conn.execute(insert, row)
            except (ValueError, OverflowError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.IntegrityError):
                self.dropped_count += 1
                logger.exception("an entry of the journal cannot be written", extra={"entry": repr(row)[:200]})

    def _row(self, db: sqlite_utils.Database, group: str, entry: Journal) -> Row:
        return (
            group,
            entry.sequence + self._shift(db, group),
            entry.wall_ns,
            entry.kind,
            int(entry.severity),
            entry.message,
            entry.region,
            entry.epoch,
            entry.failover_id,
            encode_inputs(entry.inputs),
        )

    def _shift(self, db: sqlite_utils.Database, group: str) -> int:
        """What keeps this life's numbers above those in the file.

        0, unless the file could not be read in time when the numbering began: then nothing older is overwritten.
        """
        shift = self._shifts.get(group)
        if shift is None:
            shift = max(0, _last_stored(db, group) - self._first[group] + 1)
            self._shifts[group] = shift
            if shift:
                logger.warning("the journal goes on behind its last entry", extra={"group": group, "shift": shift})
        return shift

    def _prune(self, db: sqlite_utils.Database) -> None:
        self._unpruned = 0
        with db.atomic():
            for (group,) in db.conn.execute("SELECT DISTINCT group_name FROM events").fetchall():
                db.conn.execute(
                    "DELETE FROM events WHERE group_name = ? AND sequence <= ?",
                    (group, _last_stored(db, group) - self._events_kept),
                )
            if self._kept_ns:
                db.conn.execute("DELETE FROM events WHERE wall_ns < ?", (time.time_ns() - self._kept_ns,))

    def _answer(self, questions: list[Question]) -> None:
        for work, future in questions:
            value = None
            failure: Exception | None = None
            try:
                if self._db is None:
                    raise StoreRefused(self.trouble)
                value = work(self._db)
            except sqlite3.Error as error:
                failure = explain(self._path, error)
            except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
                failure = error
            with suppress(RuntimeError):  # The loop may be closed: then nobody is left to be told.
                self._loop.call_soon_threadsafe(resolve, future, value, failure)


def _last_stored(db: sqlite_utils.Database, group: str) -> int:
    row = db.conn.execute("SELECT max(sequence) FROM events WHERE group_name = ?", (group,)).fetchone()
    return row[0] or 0


def _query(wanted: EventFilter, count: int, newest_first: bool) -> tuple[str, dict[str, str | int]]:
    where = ["group_name = :group"]
    values: dict[str, str | int] = {"group": wanted.group, "count": max(count, 0)}
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
    if wanted.kinds:
        names = [f"kind{number}" for number in range(len(wanted.kinds))]
        values.update(zip(names, wanted.kinds, strict=True))
        where.append(f"kind IN ({', '.join(f':{name}' for name in names)})")
    columns = "sequence, wall_ns, kind, severity, message, region, epoch, failover_id, inputs"
    order = "DESC" if newest_first else "ASC"
    # Only names of our own are put together here; every value is bound.
    return f"SELECT {columns} FROM events WHERE {' AND '.join(where)} ORDER BY sequence {order} LIMIT :count", values

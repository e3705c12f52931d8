"""What of an agent's copy of the log survives a restart: one SQLite file, and one thread that writes it.

Changes become durable in the order in which they were handed over, all of one batch or none of it (I7). While the disk
takes nothing, the thread tries again and says so; nothing that waits is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from primacy_wire.daemon import FolderError
from primacy_wire.log_messages import Entry, EntryKind, ParkedNote

from primacy_agent.core.replica.memory import Begin, Change, ReplicaMemory, Settle, Take

logger = logging.getLogger(__name__)

T = TypeVar("T")

VERSIONS_KEPT = 20
"""Of each document and model, so many of what was in force can be read again."""
AGAIN_S = 1.0
"""After the disk refused a batch."""
BUSY_S = 10.0
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY) WITHOUT ROWID;
CREATE TABLE pending (sequence INTEGER PRIMARY KEY, body BLOB NOT NULL, reason TEXT, attempts INTEGER);
CREATE TABLE versions (
    kind INTEGER, name TEXT, id TEXT, sequence INTEGER, version INTEGER, current INTEGER, body BLOB NOT NULL,
    PRIMARY KEY (kind, name, id)
) WITHOUT ROWID;
CREATE TABLE queue (
    position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, body BLOB NOT NULL, parent_id TEXT NOT NULL
);
CREATE TABLE pins (name TEXT, version INTEGER, PRIMARY KEY (name, version)) WITHOUT ROWID;
"""
_PUT_META = "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"


@dataclass(frozen=True, slots=True)
class Queued:
    """A write that waits to be submitted."""

    entry: Entry
    parent_id: str = ""
    """The write in the queue that it was made from: its number is not known yet."""


Work = Callable[[sqlite3.Connection], Any]


class Journal:
    """Opened at a start; `memory`, `queue` and `pins` are what was on disk then."""

    def __init__(self, path: Path) -> None:
        """Raises FolderError."""
        self._path = path
        self.trouble = ""
        """Why the disk takes nothing now."""
        self._closing = threading.Event()
        self._work: queue.SimpleQueue[tuple[Work, Future[Any], bool] | None] = queue.SimpleQueue()
        try:
            self._db = self._open()
            self.memory = _read_memory(self._db)
            self.queue = [
                Queued(_decode(body), parent_id)
                for body, parent_id in self._db.execute("SELECT body, parent_id FROM queue ORDER BY position")
            ]
            self.pins: set[tuple[str, int]] = set(self._db.execute("SELECT name, version FROM pins"))
        except (sqlite3.Error, msgspec.MsgspecError, OSError) as error:
            raise FolderError(
                f"{path} cannot be read ({error}) and was left as it was: move it away, and this agent takes the log "
                "anew from its coordinator (writes that were not submitted yet are only in it)"
            ) from error
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        (found,) = db.execute("PRAGMA user_version").fetchone()
        if found == 0:
            db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT")
        elif found != SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"it has schema {found}, and this version knows {SCHEMA_VERSION}")
        return db

    def close(self) -> None:
        """Write what waits, as far as the disk takes it, and close."""
        self._closing.set()
        self._work.put(None)
        self._thread.join()
        self._db.close()

    # ---- what the replica changes

    def keep(self, changes: Sequence[Change], done: Callable[[], None]) -> None:
        """Make them durable, then call `done` on the running loop."""
        loop = asyncio.get_running_loop()

        def write(db: sqlite3.Connection) -> None:
            for change in changes:
                _write_change(db, change)

        def on_done(future: Future[Any]) -> None:
            if not future.cancelled() and future.exception() is None and not loop.is_closed():
                loop.call_soon_threadsafe(done)

        future: Future[Any] = Future()
        future.add_done_callback(on_done)
        self._work.put((write, future, True))

    # ---- writes that wait to be submitted

    async def enqueue(self, write: Queued) -> None:
        """Durable once it returns. Raises OSError when the disk takes nothing."""
        row = write.entry.id, _encode(write.entry), write.parent_id
        await self._ask(
            lambda db: db.execute("INSERT OR IGNORE INTO queue (id, body, parent_id) VALUES (?, ?, ?)", row)
        )
        self.queue.append(write)

    async def dequeue(self, entry_id: str, followers: Sequence[Queued] = ()) -> None:
        """It was answered for; `followers` are writes that were made from it, with what is known of it now."""

        def change(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM queue WHERE id = ?", (entry_id,))
            for one in followers:
                values = _encode(one.entry), one.parent_id, one.entry.id
                db.execute("UPDATE queue SET body = ?, parent_id = ? WHERE id = ?", values)

        await self._ask(change, again=True)
        known = {one.entry.id: one for one in followers}
        self.queue = [known.get(one.entry.id, one) for one in self.queue if one.entry.id != entry_id]

    # ---- versions

    async def versions(self, kind: EntryKind, name: str) -> list[Entry]:
        """What was in force and is kept, the newest first."""
        found = await self._ask(
            lambda db: db.execute(
                "SELECT body FROM versions WHERE kind = ? AND name = ? ORDER BY version DESC, sequence DESC",
                (int(kind), name),
            ).fetchall()
        )
        return [_decode(body) for (body,) in found]

    async def all_versions(self, kind: EntryKind) -> list[Entry]:
        """Of every name."""
        found = await self._ask(
            lambda db: db.execute("SELECT body FROM versions WHERE kind = ? ORDER BY sequence", (int(kind),)).fetchall()
        )
        return [_decode(body) for (body,) in found]

    async def pin(self, name: str, version: int, pinned: bool) -> None:
        """Raises OSError."""
        statement = "INSERT OR IGNORE INTO pins VALUES (?, ?)"
        if not pinned:
            statement = "DELETE FROM pins WHERE name = ? AND version = ?"
        await self._ask(lambda db: db.execute(statement, (name, version)))
        (self.pins.add if pinned else self.pins.discard)((name, version))

    # ---- the thread

    async def _ask(self, work: Callable[[sqlite3.Connection], T], again: bool = False) -> T:
        """`again`: try until the disk takes it. Raises OSError."""
        future: Future[T] = Future()
        self._work.put((work, future, again))
        return await asyncio.wrap_future(future)

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            work, future, again = item
            try:
                result = self._insist(work) if again else self._commit(work)
            except sqlite3.Error as error:
                with suppress(InvalidStateError):  # Whoever asked has given up.
                    future.set_exception(OSError(f"{self._path}: {error}"))
            else:
                with suppress(InvalidStateError):
                    future.set_result(result)

    def _insist(self, work: Work) -> Any:
        """Until it is written, or the journal is closed."""
        while True:
            try:
                result = self._commit(work)
            except sqlite3.Error as error:
                if not self.trouble:
                    logger.error("the journal cannot be written", extra={"reason": str(error), "path": str(self._path)})  # noqa: TRY400
                self.trouble = f"{self._path}: {error}"
                if self._closing.wait(AGAIN_S):
                    raise
                continue
            self.trouble = ""
            return result

    def _commit(self, work: Work) -> Any:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            result = work(self._db)
            if isinstance(result, sqlite3.Cursor):
                result = None
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        return result


def _encode(entry: Entry) -> bytes:
    return msgspec.msgpack.encode(entry)


def _decode(body: bytes) -> Entry:
    """Raises msgspec.MsgspecError."""
    return msgspec.msgpack.decode(body, type=Entry)


def _read_memory(db: sqlite3.Connection) -> ReplicaMemory:
    meta = dict(db.execute("SELECT name, value FROM meta"))
    memory = ReplicaMemory(meta.get("store", ""), meta.get("received", 0), meta.get("chain", 0), meta.get("settled", 0))
    for body, reason, attempts in db.execute("SELECT body, reason, attempts FROM pending ORDER BY sequence"):
        entry = _decode(body)
        memory.pending[entry.sequence] = entry
        if reason is not None:
            memory.parked[entry.sequence] = ParkedNote(entry.sequence, entry.key, reason, attempts)
    for (body,) in db.execute("SELECT body FROM versions WHERE current"):
        entry = _decode(body)
        memory.current[entry.kind, entry.key] = entry
    return memory


def _write_change(db: sqlite3.Connection, change: Change) -> None:
    match change:
        case Take(store_id, received, chain, entries):
            _put_meta(db, store=store_id, received=received, chain=chain)
            _put_pending(db, entries)
        case Settle(settled, applied, parked, unparked):
            _put_meta(db, settled=settled)
            for entry in applied:
                _put_current(db, entry)
                db.execute("DELETE FROM pending WHERE sequence = ?", (entry.sequence,))
            db.executemany(
                "UPDATE pending SET reason = ?, attempts = ? WHERE sequence = ?",
                [(note.reason, note.attempts, note.sequence) for note in parked],
            )
            db.executemany("UPDATE pending SET reason = NULL WHERE sequence = ?", [(number,) for number in unparked])
            db.execute("DELETE FROM pending WHERE sequence <= ? AND reason IS NULL", (settled,))
        case Begin(store_id, received, chain, settled, entries, same):
            _put_meta(db, store=store_id, received=received, chain=chain, settled=settled)
            db.execute("DELETE FROM pending")
            _put_pending(db, entries)
            for entry in same:
                _put_current(db, entry)


def _put_meta(db: sqlite3.Connection, **values: str | int) -> None:
    db.executemany(_PUT_META, list(values.items()))


def _put_pending(db: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    db.executemany(
        "INSERT OR REPLACE INTO pending VALUES (?, ?, NULL, 0)", [(entry.sequence, _encode(entry)) for entry in entries]
    )


def _put_current(db: sqlite3.Connection, entry: Entry) -> None:
    """The version in force; the oldest of those before it is dropped."""
    name = int(entry.kind), entry.key
    db.execute("UPDATE versions SET current = 0 WHERE kind = ? AND name = ? AND current", name)
    db.execute(
        "INSERT OR REPLACE INTO versions VALUES (?, ?, ?, ?, ?, 1, ?)",
        (*name, entry.id, entry.sequence, entry.version, _encode(entry)),
    )
    db.execute(
        "DELETE FROM versions WHERE kind = ?1 AND name = ?2 AND NOT current AND id NOT IN "
        "(SELECT id FROM versions WHERE kind = ?1 AND name = ?2 ORDER BY version DESC, sequence DESC LIMIT ?3)",
        (*name, VERSIONS_KEPT),
    )

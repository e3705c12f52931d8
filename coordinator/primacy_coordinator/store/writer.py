"""The one thread that owns a store's connection, and what waits for it.

1. Batches that wait are committed together (group commit), so that a slow disk is waited for once.
2. If that fails, each batch is tried alone, in order: one bad batch spoils no other group's.
3. After a batch failed, every batch of its group that was submitted before its submitter heard of that fails as well,
   for it rests on what is not there. Batches carry their group's `term`, which grows when a failure is told.
4. Answers come on the event loop, in the order of submission; one wake-up serves a whole commit.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlite_utils

from primacy_coordinator.store.answers import resolve
from primacy_coordinator.store.api import Settled, StoreError, StoreLocked, StoreRefused
from primacy_coordinator.store.files import FileKind, FileLock, explain, open_file, roll_back

T = TypeVar("T")

BATCHES_TOGETHER_MAX = 256
"""In one commit: more gain little and make the first wait longer."""

ROWS_TOGETHER = (64, 16, 4, 1)
"""Rows that one statement writes. The interpreter changes hands at every step of a statement, and `executemany` steps
once for each row: while the event loop is busy, each step waits for it."""
_PUT = {
    count: f"INSERT INTO records VALUES {', '.join(['(?, ?, ?, ?)'] * count)} "
    "ON CONFLICT DO UPDATE SET body = excluded.body"
    for count in ROWS_TOGETHER
}

Key = tuple[str, str, str]
"""Group, kind and key of a record."""


@dataclass(frozen=True, slots=True)
class _Batch:
    group: str
    term: int
    changes: Mapping[Key, str | None]
    """The record's body, or None to drop it."""
    problem: StoreError | None
    """Why it cannot be written, known before it was tried."""
    settled: Settled


@dataclass(frozen=True, slots=True)
class _Call:
    """Something else for the thread to do, between batches."""

    work: Callable[[sqlite_utils.Database], Any]
    answer: Callable[[Any, Exception | None], None]


class Writer:
    """The thread and its queue. Everything public is called on the event loop."""

    def __init__(self, path: Path, kind: FileKind) -> None:
        self._path = path
        self._kind = kind
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Batch | _Call | None] = queue.SimpleQueue()
        self._terms: dict[str, int] = {}
        self._closed = False
        # Of the thread alone:
        self._refused: dict[str, tuple[int, StoreError]] = {}
        """By group, the newest term in which a batch failed."""

    async def open(self, begin: Callable[[sqlite_utils.Database], T]) -> T:
        """Take the lock, open the file and return what `begin` says. Raises StoreError, and holds nothing then."""
        opened: asyncio.Future[T] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(begin, opened), name="store", daemon=True)
        self._thread.start()
        try:
            return await opened
        except BaseException:
            self._closed = True
            self._queue.put(None)
            raise

    def submit(
        self, group: str, changes: Mapping[Key, str | None], problem: StoreError | None, settled: Settled
    ) -> None:
        """Make the changes durable together. A batch that comes with a `problem` fails with it when its turn comes."""
        if self._closed:
            self._loop.call_soon(settled, self._closed_error())
        else:
            self._queue.put(_Batch(group, self._terms.get(group, 0), changes, problem, settled))

    async def ask(self, work: Callable[[sqlite_utils.Database], T]) -> T:
        """Do the work in a transaction, after what was submitted before. Raises StoreError, and what `work` raises."""
        if self._closed:
            raise self._closed_error()
        future: asyncio.Future[T] = self._loop.create_future()

        def answer(value: T, error: Exception | None) -> None:
            resolve(future, value, error)

        self._queue.put(_Call(work, answer))
        return await future

    async def close(self) -> None:
        """Finish what was submitted, then let go of file and lock."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _closed_error(self) -> StoreError:
        return StoreRefused(f"{self._path} was closed by this process")

    def _settle(self, batch: _Batch, error: StoreError | None) -> None:
        if error is not None and self._terms.get(batch.group, 0) == batch.term:
            self._terms[batch.group] = batch.term + 1
        batch.settled(error)

    # ---- on the thread

    def _run(self, begin: Callable[[sqlite_utils.Database], T], opened: asyncio.Future[T]) -> None:
        try:
            lock = FileLock(self._path.with_name(self._path.name + ".lock"))
            try:
                db = open_file(self._path, self._kind)
                try:
                    value = self._begin(db, begin)
                except BaseException:
                    db.close()
                    raise
            except BaseException:
                lock.release()
                raise
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits for the opening
            self._tell([(resolve, (opened, None, error))])
            return
        self._tell([(resolve, (opened, value, None))])
        try:
            self._work(db)
        finally:
            db.close()
            lock.release()

    def _begin(self, db: sqlite_utils.Database, begin: Callable[[sqlite_utils.Database], T]) -> T:
        try:
            return begin(db)
        except sqlite3.Error as error:
            raise explain(self._path, error) from error

    def _work(self, db: sqlite_utils.Database) -> None:
        while True:
            batches: list[_Batch] = []
            for item in self._take():
                if isinstance(item, _Batch):
                    batches.append(item)
                    continue
                self._commit_all(db, batches)
                batches = []
                if item is None:
                    return
                self._call(db, item)
            self._commit_all(db, batches)

    def _take(self) -> list[_Batch | _Call | None]:
        """What waits: at least one thing, and no more than goes together."""
        items = [self._queue.get()]
        with suppress(queue.Empty):
            while len(items) < BATCHES_TOGETHER_MAX:
                items.append(self._queue.get_nowait())
        return items

    def _call(self, db: sqlite_utils.Database, call: _Call) -> None:
        value = None
        failure: Exception | None = None
        try:
            with db.atomic():
                value = call.work(db)
        except sqlite3.Error as error:
            failure = explain(self._path, error)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
            failure = error
        self._tell([(call.answer, (value, failure))])

    def _commit_all(self, db: sqlite_utils.Database, batches: Sequence[_Batch]) -> None:
        if not batches:
            return
        sound = [batch for batch in batches if self._known_problem(batch) is None]
        failure = self._commit(db, sound)
        # Whoever else holds the file would make every batch wait again, one by one.
        alone = failure is not None and len(sound) > 1 and not isinstance(failure, StoreLocked)
        outcomes = []
        for batch in batches:
            problem = self._known_problem(batch) or (self._commit(db, [batch]) if alone else failure)
            if problem is not None:
                self._refused[batch.group] = (batch.term, problem)
            outcomes.append((self._settle, (batch, problem)))
        self._tell(outcomes)

    def _known_problem(self, batch: _Batch) -> StoreError | None:
        """Why the batch fails untried. Remembers it, so that the later ones of its group fail too."""
        term, problem = self._refused.get(batch.group, (-1, None))
        if batch.term <= term:
            return problem
        if batch.problem is not None:
            self._refused[batch.group] = (batch.term, batch.problem)
        return batch.problem

    def _commit(self, db: sqlite_utils.Database, batches: Sequence[_Batch]) -> StoreError | None:
        """All of the batches, or none and the reason."""
        changes: dict[Key, str | None] = {}
        for batch in batches:
            changes.update(batch.changes)
        connection = db.conn
        try:
            connection.execute("BEGIN IMMEDIATE")
            written = [(*key, body) for key, body in changes.items() if body is not None]
            for size in ROWS_TOGETHER:
                while len(written) >= size:
                    rows, written = written[:size], written[size:]
                    connection.execute(_PUT[size], [value for row in rows for value in row])
            connection.executemany(
                "DELETE FROM records WHERE group_name = ? AND kind = ? AND key = ?",
                [key for key, body in changes.items() if body is None],
            )
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            roll_back(connection)
            return explain(self._path, error)
        except Exception as error:  # noqa: BLE001 - a value that cannot be bound must not end the thread
            roll_back(connection)
            return StoreRefused(f"{self._path}: {error} ({type(error).__name__})")
        return None

    def _tell(self, calls: Sequence[tuple[Callable[..., None], tuple[Any, ...]]]) -> None:
        with suppress(RuntimeError):  # The loop may be closed: then nobody is left to be told.
            self._loop.call_soon_threadsafe(self._deliver, calls)

    def _deliver(self, calls: Sequence[tuple[Callable[..., None], tuple[Any, ...]]]) -> None:
        for call, values in calls:
            try:
                call(*values)
            except Exception as error:  # noqa: BLE001 - one that fails must not cost the others theirs
                self._loop.call_exception_handler({"message": "an answer of the store failed", "exception": error})

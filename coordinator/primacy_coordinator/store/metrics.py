"""What was measured, in a file of its own, written behind by a thread of its own.

1. A whole minute of a group is a batch: a row for each series, with all its regions. When an hour is over, its minutes
   become one row of an hour, series by series, between other work.
2. Minutes and hours are kept for a time, and no more of them than fit: of built-in series and of the operators' own, of
   minutes and of hours each has its share of the room, so that a flood of one kind costs the others nothing.
3. What cannot be written is counted and said (`trouble`), and keeps nobody waiting; losing the file costs the past.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import sqlite_utils

from primacy_coordinator.core.monitor.queries import Old, Pair
from primacy_coordinator.core.monitor.rows import Stat
from primacy_coordinator.core.monitor.series import BUILT_IN, Key
from primacy_coordinator.core.monitor.tiers import HOUR_S, MINUTE_S, Block, lasts
from primacy_coordinator.store.answers import resolve
from primacy_coordinator.store.api import StoreRefused
from primacy_coordinator.store.files import FileKind, explain, open_file, roll_back
from primacy_coordinator.store.steps import Step, by_series, decode, encode, together

logger = logging.getLogger(__name__)

WAITING_MAX = 120
"""Minutes of groups that may wait for the disk; beyond it the oldest go."""
RETRY_S_MIN = 1.0
RETRY_S_MAX = 60.0
CLOSE_S_MAX = 5.0
CHECKED_EVERY_S = 60.0
"""How often it is looked whether something has to go."""
HOUR_LATE_S = 120
"""An hour is made so long after its end: by then its last minute is here."""
PRUNED_TOGETHER = 500
NAMES_MAX = 100_000


class Kept(NamedTuple):
    """How long, and how much, is kept."""

    minutes_s: int = 7 * 24 * HOUR_S
    hours_s: int = 63 * 24 * HOUR_S
    bytes_max: int = 512 << 20


KEPT = Kept()
SHARES = {(MINUTE_S, False): 0.3, (MINUTE_S, True): 0.35, (HOUR_S, False): 0.15, (HOUR_S, True): 0.2}
"""(length of step, whether the series is the operators' own) -> share of the room."""


class MetricsStore(Protocol):
    """What monitoring asks of the disk. Methods are called on the event loop's thread."""

    @property
    def trouble(self) -> str:
        """Why figures are being lost, or empty."""
        ...

    @property
    def dropped_count(self) -> int:
        """Minutes that are lost."""
        ...

    def put(self, group: str, block: Block) -> None:
        """Write a whole minute behind; never fails and never waits. The same minute again replaces it."""
        ...

    def rewind(self, group: str, second: int) -> None:
        """Forget what lies beyond: the wall clock was set back."""
        ...

    async def load(self, group: str, span: int, first: int, last: int) -> tuple[Block, ...]:
        """What memory needs after a start of steps of that length that begin in [first, last), the oldest first: of
        hours what lasts alone.

        Raises StoreError, as all that read.
        """
        ...

    async def steps(self, group: str, names: tuple[str, ...], first: int, last: int, span: int) -> tuple[Old, ...]:
        """Steps of these series that begin in [first, last), the first name's sketches with them; oldest first.

        In steps of `span` as far as they are kept, before that of an hour.
        """
        ...

    async def names(self, group: str) -> tuple[str, ...]:
        """Series that it has, sorted."""
        ...

    async def load_alerts(self, group: str) -> str:
        """What `save_alerts` was given last; empty: nothing."""
        ...

    def save_alerts(self, group: str, state: str) -> None:
        """Keep the state of a group's alerts: written behind, the newest alone; never fails and never waits."""
        ...

    async def close(self) -> None:
        """Write what waits, and let go of the file."""
        ...


def _first_schema(db: sqlite_utils.Database) -> None:
    db.table("steps").create(
        {"group_name": str, "series": str, "span": int, "start": int, "own": int, "content": bytes},
        pk=("group_name", "series", "span", "start"),
    )
    db.table("steps").create_index(["group_name", "span", "start"])
    db.table("steps").create_index(["span", "own", "start"])
    db.table("alerts").create({"group_name": str, "state": str}, pk="group_name")


METRICS = FileKind(
    title="a file of metrics",
    application_id=0x50524D4D,  # "PRMM"
    migrations=(_first_schema,),
    synchronous="NORMAL",
)

Work = Callable[[sqlite_utils.Database], Any]


class SqliteMetrics:
    """See `MetricsStore`. Opens its file on its own thread, when there is something to do."""

    def __init__(self, path: Path, kept: Kept = KEPT, clock: Callable[[], float] = time.time) -> None:
        self.trouble = ""
        self.dropped_count = 0
        self.bytes = 0
        """Of the file, as of the last look."""
        self.checked_every_s = CHECKED_EVERY_S
        self._path = path
        self._kept = kept
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._wake = threading.Condition()
        # Under the condition's lock:
        self._blocks: deque[tuple[str, Block]] = deque()
        self._alerts: dict[str, str] = {}
        self._questions: deque[tuple[Work, asyncio.Future[Any]]] = deque()
        self._rewinds: dict[str, int] = {}
        self._closing = False
        # Of the thread alone:
        self._db: sqlite_utils.Database | None = None
        self._retry_s = RETRY_S_MIN
        self._retry_at = 0.0
        self._check_at = 0.0
        self._hours: dict[str, int] = {}
        """Group -> start of the first hour that is not made yet."""
        self._making: Iterator[None] | None = None
        self._sizes: dict[tuple[int, bool], int] = {}
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    # ---- on the event loop

    def put(self, group: str, block: Block) -> None:
        with self._wake:
            if self._closing:
                self.dropped_count += 1
                return
            self._blocks.append((group, block))
            self._shed()
            self._wake.notify()

    def save_alerts(self, group: str, state: str) -> None:
        with self._wake:
            self._alerts[group] = state
            self._wake.notify()

    def rewind(self, group: str, second: int) -> None:
        with self._wake:
            self._rewinds[group] = min(second, self._rewinds.get(group, second))
            # What waits was labelled by the clock as it was.
            self._blocks = deque((g, b) for g, b in self._blocks if g != group or b.start + b.span <= second)
            self._wake.notify()

    async def load(self, group: str, span: int, first: int, last: int) -> tuple[Block, ...]:
        wanted = [name for name in BUILT_IN if lasts(Key(name, ""))] if span == HOUR_S else []
        query = (
            "SELECT start, series, content FROM steps WHERE group_name = ? AND span = ? AND start >= ? AND start < ? "
        )
        query += f"AND series IN ({', '.join('?' * len(wanted))}) ORDER BY start" if wanted else "ORDER BY start"

        def read(db: sqlite_utils.Database) -> tuple[Block, ...]:
            return tuple(_blocks(db.conn.execute(query, (group, span, first, last, *wanted)), span))

        blocks: tuple[Block, ...] = await self._ask(read)
        return blocks

    async def steps(self, group: str, names: tuple[str, ...], first: int, last: int, span: int) -> tuple[Old, ...]:
        query = "SELECT start, content FROM steps WHERE group_name = ? AND series = ? AND span = ? "
        query += "AND start >= ? AND start < ? ORDER BY start"

        def read(db: sqlite_utils.Database) -> tuple[Old, ...]:
            stats: dict[tuple[int, int], dict[str, dict[Pair, Stat]]] = defaultdict(dict)
            sketches: dict[tuple[int, int], dict[Pair, bytes]] = defaultdict(dict)
            border = last if span >= HOUR_S else _border(db, group, names[0], span, first, last)
            for name in names:
                for length, low, high in ((HOUR_S, first, border), (span, border, last)):
                    if low >= high:
                        continue
                    for start, content in db.conn.execute(query, (group, name, length, low, high)):
                        step = _step(content)
                        if step is None:
                            continue
                        stats[start, length][name] = step.stats
                        if name == names[0]:
                            sketches[start, length] = step.sketches
            return tuple(
                Old(start, start + length, found, sketches.get((start, length), {}))
                for (start, length), found in sorted(stats.items())
            )

        steps: tuple[Old, ...] = await self._ask(read)
        return steps

    async def names(self, group: str) -> tuple[str, ...]:
        def read(db: sqlite_utils.Database) -> tuple[str, ...]:
            # Leaps from name to name along the key, instead of reading all that is there.
            query = "SELECT min(series) FROM steps WHERE group_name = ? AND series > ?"
            found: list[str] = []
            while len(found) < NAMES_MAX:
                name = db.conn.execute(query, (group, found[-1] if found else "")).fetchone()[0]
                if name is None:
                    break
                found.append(name)
            return tuple(found)

        names: tuple[str, ...] = await self._ask(read)
        return names

    async def load_alerts(self, group: str) -> str:
        def read(db: sqlite_utils.Database) -> str:
            row = db.conn.execute("SELECT state FROM alerts WHERE group_name = ?", (group,)).fetchone()
            return str(row[0]) if row else ""

        state: str = await self._ask(read)
        return state

    async def close(self) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join, CLOSE_S_MAX)

    @property
    def waiting(self) -> int:
        """Minutes that wait for the disk."""
        with self._wake:
            return len(self._blocks)

    @property
    def making(self) -> bool:
        """Whether an hour is being made."""
        return self._making is not None

    async def _ask(self, work: Work) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()
        with self._wake:
            if self._closing:
                raise StoreRefused(f"{self._path} was closed by this process")
            self._questions.append((work, future))
            self._wake.notify()
        return await future

    def _shed(self) -> None:
        while len(self._blocks) > WAITING_MAX:
            self._blocks.popleft()
            self.dropped_count += 1

    # ---- on the thread

    def _run(self) -> None:
        while self._turn():
            pass
        if self._db is not None:
            self._db.close()

    def _waits(self) -> bool:
        return bool(self._blocks or self._alerts or self._rewinds)

    def _turn(self) -> bool:
        """One round of writing and answering. False when it was the last."""
        with self._wake:
            while not (self._questions or self._closing):
                patience = self._retry_at - time.monotonic()
                if (self._waits() or self._making) and patience <= 0:
                    break
                self._wake.wait(patience if self._waits() or self._making else None)
            closing = self._closing
            trying = closing or time.monotonic() >= self._retry_at
            block = self._blocks.popleft() if trying and self._blocks else None
            alerts = dict(self._alerts) if trying else {}
            rewinds = dict(self._rewinds) if trying else {}
            questions = list(self._questions)
            self._questions.clear()
        if trying:
            try:
                self._work(block, alerts, rewinds, closing)
            except Exception as error:  # noqa: BLE001 - whatever it is, it costs figures and nothing else
                self._note_trouble(error)
                self._making = None
                with self._wake:
                    if block is not None:
                        self._blocks.appendleft(block)
                    self._shed()
                if closing:
                    self._give_up()
                    closing = True
        self._answer(questions)
        with self._wake:
            return not (closing and not self._waits())

    def _work(
        self, block: tuple[str, Block] | None, alerts: dict[str, str], rewinds: dict[str, int], closing: bool
    ) -> None:
        if self._db is None:
            self._db = open_file(self._path, METRICS)
            self._measure(self._db)
        db = self._db
        for group, second in rewinds.items():
            self._transact(partial(_forget, db, group, second))
            self._hours.pop(group, None)
            self._making = None  # Perhaps of minutes that are gone: it is begun anew.
        for group, state in alerts.items():
            self._transact(partial(_keep_alerts, db, group, state))
        with self._wake:
            self._rewinds = {g: s for g, s in self._rewinds.items() if rewinds.get(g) != s}
            self._alerts = {g: s for g, s in self._alerts.items() if alerts.get(g) is not s}
        if block is not None:
            self._write(db, *block)
        elif self._making is not None and not closing and next(self._making, _DONE) is _DONE:
            self._making = None
        if time.monotonic() >= self._check_at:
            self._check_at = time.monotonic() + self.checked_every_s
            self._prune(db)
        self.trouble, self._retry_s, self._retry_at = "", RETRY_S_MIN, 0.0

    def _transact(self, work: Callable[[], None]) -> None:
        assert self._db is not None
        connection = self._db.conn
        connection.execute("BEGIN IMMEDIATE")
        try:
            work()
            connection.execute("COMMIT")
        except BaseException:
            roll_back(connection)
            raise

    def _note_trouble(self, error: Exception) -> None:
        message = str(explain(self._path, error) if isinstance(error, sqlite3.Error) else error)
        if message != self.trouble:
            logger.error("metrics cannot be written; it will be tried again", extra={"error": message})
        self.trouble = message
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(2 * self._retry_s, RETRY_S_MAX)

    def _give_up(self) -> None:
        with self._wake:
            self.dropped_count += len(self._blocks)
            self._blocks.clear()
            self._alerts.clear()
            self._rewinds.clear()

    def _write(self, db: sqlite_utils.Database, group: str, block: Block) -> None:
        try:
            rows = [
                (group, name, block.span, block.start, name not in BUILT_IN, encode(step))
                for name, step in by_series(block).items()
            ]
        except (ValueError, TypeError, OverflowError):
            # What can never be written must not hold up all that follows.
            self.dropped_count += 1
            logger.exception("a minute of metrics cannot be written", extra={"group": group, "start": block.start})
            return
        self._transact(lambda: self._insert(db, rows))
        if (
            self._making is None
            and block.start + block.span >= self._next_hour(db, group, block.start) + HOUR_S + HOUR_LATE_S
        ):
            self._making = self._make_hours(db, group, block.start)

    def _insert(self, db: sqlite_utils.Database, rows: list[tuple[str, str, int, int, bool, bytes]]) -> None:
        db.conn.executemany("INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?)", rows)
        for _, _, span, _, own, content in rows:
            self._sizes[span, own] = self._sizes.get((span, own), 0) + len(content)

    # ---- hours

    def _next_hour(self, db: sqlite_utils.Database, group: str, upto: int) -> int:
        """Start of the first hour that is not made yet, as far as there are minutes. `upto`: the newest of them."""
        found = self._hours.get(group)
        if found is None:
            # What is beyond was made when the clock was ahead; it is made again when its time has come.
            made = _edge(db, "max", group, HOUR_S, upto - HOUR_S)
            oldest = _edge(db, "min", group, MINUTE_S, upto)
            found = made + HOUR_S if made is not None else (oldest or 0) // HOUR_S * HOUR_S
            self._hours[group] = found
        return found

    def _make_hours(self, db: sqlite_utils.Database, group: str, upto: int) -> Iterator[None]:
        """All hours that are over, one series after the other."""
        while self._next_hour(db, group, upto) + HOUR_S + HOUR_LATE_S <= upto + MINUTE_S:
            start = self._next_hour(db, group, upto)
            series = db.conn.execute(
                f"SELECT DISTINCT series FROM steps WHERE group_name = ? AND span = {MINUTE_S} "
                "AND start >= ? AND start < ?",
                (group, start, start + HOUR_S),
            ).fetchall()
            rows: list[tuple[str, str, int, int, bool, bytes]] = []
            for (name,) in series:
                contents = db.conn.execute(
                    f"SELECT content FROM steps WHERE group_name = ? AND series = ? AND span = {MINUTE_S} "
                    "AND start >= ? AND start < ? ORDER BY start",
                    (group, name, start, start + HOUR_S),
                ).fetchall()
                steps = [step for (content,) in contents if (step := _step(content)) is not None]
                rows.append((group, name, HOUR_S, start, name not in BUILT_IN, encode(together(steps))))
                yield
            # All at once: an hour is there whole, or is made again after a start.
            self._transact(partial(self._insert, db, rows))
            self._hours[group] = start + HOUR_S
            if not series:
                later = db.conn.execute(
                    f"SELECT min(start) FROM steps WHERE group_name = ? AND span = {MINUTE_S} AND start >= ?",
                    (group, start),
                ).fetchone()[0]
                self._hours[group] = (upto if later is None else later) // HOUR_S * HOUR_S
            yield

    # ---- bounds

    def _measure(self, db: sqlite_utils.Database) -> None:
        rows = db.conn.execute("SELECT span, own, sum(length(content)) FROM steps GROUP BY span, own").fetchall()
        self._sizes = {(span, bool(own)): size for span, own, size in rows}

    def _prune(self, db: sqlite_utils.Database) -> None:
        """What is too old, then what does not fit."""
        now = int(self._clock())
        for span, kept_s in ((MINUTE_S, self._kept.minutes_s), (HOUR_S, self._kept.hours_s)):
            groups = [row[0] for row in db.conn.execute("SELECT DISTINCT group_name FROM steps").fetchall()]
            for group in groups:
                old = partial(
                    self._delete, db, "group_name = ? AND span = ? AND start < ?", (group, span, now - kept_s)
                )
                self._transact(old)
        pages = db.conn.execute("PRAGMA page_count").fetchone()[0]
        free = db.conn.execute("PRAGMA freelist_count").fetchone()[0]
        page_size = db.conn.execute("PRAGMA page_size").fetchone()[0]
        self.bytes = pages * page_size
        used = (pages - free) * page_size
        while used > self._kept.bytes_max and any(self._sizes.values()):
            # The kind that is most beyond its share.
            span, own = max(self._sizes, key=lambda kind: self._sizes[kind] / SHARES.get(kind, 0.1))
            before = self._sizes[span, own]
            oldest = "rowid IN (SELECT rowid FROM steps WHERE span = ? AND own = ? ORDER BY start LIMIT ?)"
            self._transact(partial(self._delete, db, oldest, (span, own, PRUNED_TOGETHER)))
            freed = before - self._sizes[span, own]
            if not freed:
                self._measure(db)
                break
            used -= freed

    def _delete(self, db: sqlite_utils.Database, where: str, values: tuple[object, ...]) -> None:
        rows = db.conn.execute(
            f"SELECT span, own, sum(length(content)) FROM steps WHERE {where} GROUP BY span, own", values
        ).fetchall()
        if rows:
            db.conn.execute(f"DELETE FROM steps WHERE {where}", values)
        for span, own, size in rows:
            self._sizes[span, bool(own)] = max(0, self._sizes.get((span, bool(own)), 0) - size)

    # ---- answers

    def _answer(self, questions: list[tuple[Work, asyncio.Future[Any]]]) -> None:
        for work, future in questions:
            value: Any = None
            failure: Exception | None = None
            try:
                if self._db is None:
                    raise StoreRefused(self.trouble or f"{self._path} is not open")
                value = work(self._db)
            except sqlite3.Error as error:
                failure = explain(self._path, error)
            except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
                failure = error
            with suppress(RuntimeError):  # The loop may be closed: then nobody is left to be told.
                self._loop.call_soon_threadsafe(resolve, future, value, failure)


def _blocks(rows: Iterator[tuple[int, str, bytes]] | sqlite3.Cursor, span: int) -> Iterator[Block]:
    """Rows in order of their start, as one block for each step."""
    at: int | None = None
    gauges: list[Any] = []
    sketches: list[Any] = []
    for start, name, content in rows:
        if at is not None and start != at:
            yield Block(at, span, tuple(gauges), tuple(sketches))
            gauges, sketches = [], []
        at = start
        step = _step(content)
        if step is not None:
            gauges += [(Key(name, *pair), stat) for pair, stat in step.stats.items()]
            sketches += [(Key(name, *pair), packed) for pair, packed in step.sketches.items()]
    if at is not None:
        yield Block(at, span, tuple(gauges), tuple(sketches))


def _step(content: bytes) -> Step | None:
    """None: it cannot be read, and is left out."""
    try:
        return decode(content)
    except ValueError:
        logger.warning("a step of the metrics cannot be read and is left out")
        return None


def _edge(db: sqlite_utils.Database, which: str, group: str, span: int, upto: int) -> int | None:
    row = db.conn.execute(
        f"SELECT {which}(start) FROM steps WHERE group_name = ? AND span = ? AND start <= ?", (group, span, upto)
    ).fetchone()
    found: int | None = row[0]
    return found


def _border(db: sqlite_utils.Database, group: str, name: str, span: int, first: int, last: int) -> int:
    """Second before which hours are read, because there are no shorter steps."""
    query = "SELECT min(start) FROM steps WHERE group_name = ? AND series = ? AND span = ?"
    oldest: int | None = db.conn.execute(query, (group, name, span)).fetchone()[0]
    if oldest is None:
        return last
    if _has_hour(db, group, name, oldest):
        # That hour counts whole, and its minutes do not.
        oldest = -(-oldest // HOUR_S) * HOUR_S
    return max(first, min(last, oldest))


def _has_hour(db: sqlite_utils.Database, group: str, name: str, second: int) -> bool:
    query = "SELECT 1 FROM steps WHERE group_name = ? AND series = ? AND span = ? AND start = ?"
    return db.conn.execute(query, (group, name, HOUR_S, second // HOUR_S * HOUR_S)).fetchone() is not None


def _forget(db: sqlite_utils.Database, group: str, second: int) -> None:
    db.conn.execute("DELETE FROM steps WHERE group_name = ? AND start + span > ?", (group, second))


def _keep_alerts(db: sqlite_utils.Database, group: str, state: str) -> None:
    db.conn.execute("INSERT OR REPLACE INTO alerts VALUES (?, ?)", (group, state))


_DONE = object()

"""Which chunks are where: a SQLite file beside the contents. Rows of a file appear after its bytes were verified.

A row of an unfinished file is a hint: a crash of the machine may keep the row and lose the bytes, so whoever goes on
with such a file reads its chunks again. What says that something is whole is on disk before the call returns, after the
bytes.
"""

from __future__ import annotations

import enum
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from primacy_agent.store.errors import StoreError, disk
from primacy_agent.store.manifest import Manifest, ManifestFile, offsets

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE files (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, size INTEGER NOT NULL, complete INTEGER NOT NULL
);
CREATE TABLE chunks (
    digest BLOB, file INTEGER, offset INTEGER, length INTEGER, PRIMARY KEY (digest, file, offset)
) WITHOUT ROWID;
CREATE INDEX chunks_of_file ON chunks (file, offset);
CREATE TABLE manifests (
    number INTEGER PRIMARY KEY, digest TEXT UNIQUE NOT NULL, state INTEGER NOT NULL, chunk_count INTEGER NOT NULL
);
CREATE TABLE holds (file TEXT, manifest INTEGER, PRIMARY KEY (file, manifest)) WITHOUT ROWID;
CREATE INDEX holds_of_manifest ON holds (manifest);
CREATE TABLE releases (name TEXT, version INTEGER, digest TEXT NOT NULL, PRIMARY KEY (name, version)) WITHOUT ROWID;
"""
BUSY_S = 5.0


class State(enum.IntEnum):
    """Of a content."""

    COMING = 0
    WHOLE = 1
    DAMAGED = 2
    """It was whole."""


class IndexDamaged(StoreError):
    """The file is no index that can be read. It can be made anew from what lies beside it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chunk lies."""

    file_id: str
    complete: bool
    offset: int
    length: int


class Index:
    """May be called from any thread; calls are short. Every method raises StoreFull, StoreError."""

    def __init__(self, path: Path) -> None:
        """Raises IndexDamaged, StoreError."""
        self._path = path
        self._lock = threading.Lock()
        with disk(path):
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
        try:
            with disk(path):
                self._open()
        except BaseException:
            self._db.close()
            raise

    def _open(self) -> None:
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            (problem,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
            (found,) = self._db.execute("PRAGMA user_version").fetchone()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            raise IndexDamaged(f"{self._path}: {error}") from error
        if problem != "ok":
            raise IndexDamaged(f"{self._path}: {problem}")
        if found == 0:
            self._db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT")
        elif found != SCHEMA_VERSION:
            raise StoreError(f"{self._path} has the schema {found}, and this version of Primacy knows {SCHEMA_VERSION}")

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, disk(self._path):
            yield self._db

    @contextmanager
    def _writing(self, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction. `durable`: it and all before it are on disk afterwards."""
        with self._lock, disk(self._path):
            if durable:
                self._db.execute("PRAGMA synchronous = FULL")
            try:
                with self._db:
                    self._db.execute("BEGIN IMMEDIATE")
                    yield self._db
            finally:
                if durable:
                    self._db.execute("PRAGMA synchronous = NORMAL")

    # ---- files

    def begin_file(self, file_id: str, size: int) -> None:
        """An unfinished file, unless it is known."""
        with self._writing() as db:
            db.execute("INSERT OR IGNORE INTO files (id, size, complete) VALUES (?, ?, 0)", (file_id, size))

    def take_in(self, manifest: Manifest) -> None:
        """All of it is here."""
        with self._writing(durable=True) as db:
            for file in {file.id: file for file in manifest.files}.values():
                db.execute(
                    "INSERT INTO files (id, size, complete) VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET complete = 1",
                    (file.id, file.size),
                )
                _add_chunks(db, file.id, rows_of(file))
            _put_manifest(db, manifest, State.WHOLE)

    def finish(self, manifest: Manifest) -> None:
        """All chunks of it are here, and its files are where whole ones lie."""
        with self._writing(durable=True) as db:
            db.executemany("UPDATE files SET complete = 1 WHERE id = ?", [(file.id,) for file in manifest.files])
            _put_manifest(db, manifest, State.WHOLE)

    def take_back(self, file_id: str, lost: Iterable[int]) -> list[str]:
        """The file is unfinished again, without the chunks at the offsets `lost`. Digests of what was whole with it."""
        with self._writing(durable=True) as db:
            db.executemany(
                "DELETE FROM chunks WHERE file = (SELECT number FROM files WHERE id = ?) AND offset = ?",
                [(file_id, offset) for offset in lost],
            )
            db.execute("UPDATE files SET complete = 0 WHERE id = ?", (file_id,))
            rows = db.execute(
                "UPDATE manifests SET state = ? WHERE state = ? AND number IN "
                "(SELECT manifest FROM holds WHERE file = ?) RETURNING digest",
                (State.DAMAGED, State.WHOLE, file_id),
            ).fetchall()
        return [digest for (digest,) in rows]

    def files(self) -> dict[str, tuple[int, bool]]:
        """id -> (size, complete)."""
        with self._reading() as db:
            rows = db.execute("SELECT id, size, complete FROM files").fetchall()
        return {file_id: (size, bool(complete)) for file_id, size, complete in rows}

    def is_file_complete(self, file_id: str) -> bool:
        with self._reading() as db:
            row = db.execute("SELECT complete FROM files WHERE id = ?", (file_id,)).fetchone()
        return bool(row and row[0])

    def unheld(self, but: Collection[str] = ()) -> list[tuple[str, bool]]:
        """(id, complete) of files that no manifest has, other than the manifests `but`."""
        with self._reading() as db:
            files = db.execute("SELECT id, complete FROM files").fetchall()
            rows = db.execute("SELECT file, digest FROM holds JOIN manifests ON number = manifest").fetchall()
        held = {file_id for file_id, digest in rows if digest not in but}
        return [(file_id, bool(complete)) for file_id, complete in files if file_id not in held]

    def is_held(self, file_id: str, but: Collection[str]) -> bool:
        with self._reading() as db:
            rows = db.execute(
                "SELECT digest FROM holds JOIN manifests ON number = manifest WHERE file = ?", (file_id,)
            ).fetchall()
        return any(digest not in but for (digest,) in rows)

    def drop_file(self, file_id: str) -> None:
        with self._writing() as db:
            db.execute("DELETE FROM chunks WHERE file = (SELECT number FROM files WHERE id = ?)", (file_id,))
            db.execute("DELETE FROM files WHERE id = ?", (file_id,))

    # ---- chunks

    def add_chunks(self, file_id: str, rows: Iterable[tuple[bytes, int, int]]) -> None:
        """(digest, offset, length) each."""
        with self._writing() as db:
            _add_chunks(db, file_id, rows)

    def drop_chunk(self, digest: bytes, file_id: str, offset: int) -> None:
        with self._writing() as db:
            db.execute(
                "DELETE FROM chunks WHERE digest = ? AND file = (SELECT number FROM files WHERE id = ?) AND offset = ?",
                (digest, file_id, offset),
            )

    def drop_chunks_of(self, file_id: str) -> None:
        with self._writing() as db:
            db.execute("DELETE FROM chunks WHERE file = (SELECT number FROM files WHERE id = ?)", (file_id,))

    def offsets_of(self, file_id: str) -> set[int]:
        """Where the file has chunks."""
        with self._reading() as db:
            rows = db.execute(
                "SELECT offset FROM chunks WHERE file = (SELECT number FROM files WHERE id = ?)", (file_id,)
            ).fetchall()
        return {offset for (offset,) in rows}

    def places(self, digest: bytes) -> list[Place]:
        """Where the chunk may be read, finished files first."""
        with self._reading() as db:
            rows = db.execute(
                "SELECT files.id, files.complete, offset, length FROM chunks JOIN files ON files.number = chunks.file "
                "WHERE digest = ? ORDER BY files.complete DESC LIMIT 8",
                (digest,),
            ).fetchall()
        return [Place(file_id, bool(complete), offset, length) for file_id, complete, offset, length in rows]

    def first_places(self, digests: Sequence[bytes]) -> dict[bytes, Place]:
        """Where each of a few hundred chunks may be read, those of finished files before others; without those that are
        nowhere.
        """
        with self._reading() as db:
            rows = db.execute(
                "SELECT digest, files.id, files.complete, offset, length FROM chunks "
                "JOIN files ON files.number = chunks.file "
                f"WHERE digest IN ({','.join('?' * len(digests))}) ORDER BY files.complete, chunks.file DESC",
                digests,
            ).fetchall()
        return {
            digest: Place(file_id, bool(complete), offset, size) for digest, file_id, complete, offset, size in rows
        }

    def has_chunk(self, digest: bytes) -> bool:
        with self._reading() as db:
            return db.execute("SELECT 1 FROM chunks WHERE digest = ? LIMIT 1", (digest,)).fetchone() is not None

    # ---- manifests

    def put_manifest(self, manifest: Manifest, state: State) -> None:
        """What is known keeps its state."""
        with self._writing(durable=True) as db:
            _put_manifest(db, manifest, state, known_stays=True)

    def manifests(self) -> dict[str, tuple[State, int]]:
        """digest -> (state, how many chunks)."""
        with self._reading() as db:
            rows = db.execute("SELECT digest, state, chunk_count FROM manifests").fetchall()
        return {digest: (State(state), count) for digest, state, count in rows}

    def doubt(self) -> None:
        """What is said to be whole, and has a file that is not, is damaged."""
        with self._writing() as db:
            db.execute(
                "UPDATE manifests SET state = ? WHERE state = ? AND number IN "
                "(SELECT manifest FROM holds LEFT JOIN files ON id = file WHERE complete IS NOT 1)",
                (State.DAMAGED, State.WHOLE),
            )

    def drop_manifests(self, digests: Collection[str]) -> None:
        with self._writing() as db:
            for digest in digests:
                db.execute(
                    "DELETE FROM holds WHERE manifest = (SELECT number FROM manifests WHERE digest = ?)", (digest,)
                )
                db.execute("DELETE FROM manifests WHERE digest = ?", (digest,))

    # ---- releases

    def put_release(self, name: str, version: int, digest: str) -> None:
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO releases VALUES (?, ?, ?)", (name, version, digest))

    def drop_release(self, name: str, version: int) -> None:
        with self._writing() as db:
            db.execute("DELETE FROM releases WHERE name = ? AND version = ?", (name, version))

    def releases(self, digest: str) -> list[tuple[str, int]]:
        """(name, version) of what was installed with that content."""
        with self._reading() as db:
            rows = db.execute("SELECT name, version FROM releases WHERE digest = ?", (digest,)).fetchall()
        return [(name, version) for name, version in rows]


def _put_manifest(db: sqlite3.Connection, manifest: Manifest, state: State, known_stays: bool = False) -> None:
    db.execute(
        "INSERT INTO manifests (digest, state, chunk_count) VALUES (?1, ?2, ?3) ON CONFLICT DO "
        + ("NOTHING" if known_stays else "UPDATE SET state = ?2"),
        (manifest.digest, state, len(manifest.chunks)),
    )
    db.executemany(
        "INSERT OR IGNORE INTO holds SELECT ?1, number FROM manifests WHERE digest = ?2",
        [(file.id, manifest.digest) for file in manifest.files],
    )


def _add_chunks(db: sqlite3.Connection, file_id: str, rows: Iterable[tuple[bytes, int, int]]) -> None:
    found = db.execute("SELECT number FROM files WHERE id = ?", (file_id,)).fetchone()
    if found is not None:
        db.executemany(
            "INSERT OR IGNORE INTO chunks (digest, file, offset, length) VALUES (?, ?, ?, ?)",
            [(digest, found[0], offset, length) for digest, offset, length in rows],
        )


def rows_of(file: ManifestFile) -> Iterator[tuple[bytes, int, int]]:
    """(digest, offset, length) of each chunk."""
    for chunk, offset in zip(file.chunks, offsets(file.chunks), strict=True):
        yield chunk.digest, offset, chunk.length

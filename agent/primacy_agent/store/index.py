"""Which chunks are where: a SQLite file beside the contents. Rows of a file appear after its bytes were verified.

A row is a hint: whoever reads a chunk checks it again. So rows need not be on disk before the process ends in order;
after a crash, what an unfinished file has is verified anew before it counts.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE files (number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, size INTEGER, complete INTEGER NOT NULL);
CREATE TABLE chunks (
    digest BLOB, file INTEGER, offset INTEGER, length INTEGER, PRIMARY KEY (digest, file, offset)
) WITHOUT ROWID;
CREATE INDEX chunks_of_file ON chunks (file, offset);
CREATE TABLE manifests (digest TEXT PRIMARY KEY, complete INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chunk lies."""

    file_id: str
    complete: bool
    offset: int
    length: int


class Index:
    """May be called from any thread; calls are short."""

    def __init__(self, path: Path) -> None:
        """Raises sqlite3.Error."""
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        (found,) = self._db.execute("PRAGMA user_version").fetchone()
        if found == 0:
            self._db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT")
        elif found != SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"it has schema {found}, and this version knows {SCHEMA_VERSION}")

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # ---- files

    def add_file(self, file_id: str, size: int) -> None:
        """An unfinished file, unless it is known."""
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO files (id, size, complete) VALUES (?, ?, 0)", (file_id, size))

    def mark_file(self, file_id: str, complete: bool) -> None:
        with self._lock:
            self._db.execute("UPDATE files SET complete = ? WHERE id = ?", (complete, file_id))

    def files(self) -> dict[str, tuple[int, bool]]:
        """id -> (size, complete)."""
        with self._lock:
            rows = self._db.execute("SELECT id, size, complete FROM files").fetchall()
        return {file_id: (size, bool(complete)) for file_id, size, complete in rows}

    def is_file_complete(self, file_id: str) -> bool:
        with self._lock:
            row = self._db.execute("SELECT complete FROM files WHERE id = ?", (file_id,)).fetchone()
        return bool(row and row[0])

    def drop_file(self, file_id: str) -> None:
        with self._lock, self._db:
            self._db.execute("BEGIN")
            self._db.execute("DELETE FROM chunks WHERE file = (SELECT number FROM files WHERE id = ?)", (file_id,))
            self._db.execute("DELETE FROM files WHERE id = ?", (file_id,))

    # ---- chunks

    def add_chunks(self, rows: Iterable[tuple[bytes, str, int, int]]) -> None:
        """(digest, file id, offset, length) each."""
        with self._lock, self._db:
            self._db.execute("BEGIN")
            self._db.executemany(
                "INSERT OR IGNORE INTO chunks SELECT ?1, number, ?3, ?4 FROM files WHERE id = ?2", list(rows)
            )

    def drop_chunk(self, digest: bytes, file_id: str, offset: int) -> None:
        with self._lock:
            self._db.execute(
                "DELETE FROM chunks WHERE digest = ? AND file = (SELECT number FROM files WHERE id = ?) AND offset = ?",
                (digest, file_id, offset),
            )

    def offsets_of(self, file_id: str) -> set[int]:
        """Where the file has chunks."""
        with self._lock:
            rows = self._db.execute(
                "SELECT offset FROM chunks WHERE file = (SELECT number FROM files WHERE id = ?)", (file_id,)
            ).fetchall()
        return {offset for (offset,) in rows}

    def places(self, digest: bytes) -> list[Place]:
        """Where the chunk may be read, finished files first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT files.id, files.complete, offset, length FROM chunks JOIN files ON files.number = chunks.file "
                "WHERE digest = ? ORDER BY files.complete DESC LIMIT 8",
                (digest,),
            ).fetchall()
        return [Place(file_id, bool(complete), offset, length) for file_id, complete, offset, length in rows]

    def known(self, digests: Sequence[bytes]) -> set[bytes]:
        """Those of them that are anywhere."""
        with self._lock:
            return {
                digest
                for digest in set(digests)
                if self._db.execute("SELECT 1 FROM chunks WHERE digest = ? LIMIT 1", (digest,)).fetchone()
            }

    # ---- manifests

    def put_manifest(self, digest: str, complete: bool) -> None:
        with self._lock:
            self._db.execute(
                "INSERT INTO manifests VALUES (?1, ?2) ON CONFLICT DO UPDATE SET complete = ?2", (digest, complete)
            )

    def manifests(self) -> dict[str, bool]:
        """digest -> complete."""
        with self._lock:
            return {digest: bool(complete) for digest, complete in self._db.execute("SELECT * FROM manifests")}

    def drop_manifest(self, digest: str) -> None:
        with self._lock:
            self._db.execute("DELETE FROM manifests WHERE digest = ?", (digest,))

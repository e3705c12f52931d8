"""Opening a SQLite file of ours: locked, checked, of a version that this program knows, and left alone if not.

Traps that this module knows (sqlite-utils 4, SQLite 3.40): `db.atomic()` begins DEFERRED, so the hot path begins
IMMEDIATE itself; an in-transaction `enable_wal` fails; a connection belongs to the thread that made it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import sqlite_utils

from primacy_coordinator.store.api import StoreDamaged, StoreError, StoreLocked, StoreNewer, StoreRefused

Migration = Callable[[sqlite_utils.Database], None]
"""Takes the file from one version to the next, inside a transaction."""

BUSY_MS = 2_000


class FileLock:
    """An exclusive lock beside a file, held by this process until `release`."""

    def __init__(self, path: Path) -> None:
        """Raises StoreLocked when another process has it, StoreRefused when it cannot be made."""
        self._path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreRefused(f"{path}: {error.strerror}: the folder must be writable") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(self._file, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise StoreLocked(
                f"{path.with_suffix('')} is open in process {owner}: a store belongs to one coordinator at a time"
            ) from None
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            pass  # A full disk: the lock holds all the same, only the owner's number is not shown.

    def release(self) -> None:
        os.close(self._file)


def open_file(path: Path, migrations: Sequence[Migration], synchronous: str) -> sqlite_utils.Database:
    """Open, check and migrate. The connection belongs to the calling thread.

    Raises StoreNewer and StoreDamaged without having changed the file, StoreRefused when it cannot be written.
    """
    fresh = not path.exists() or path.stat().st_size == 0
    if not fresh:
        _inspect(path, len(migrations))
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_MS / 1000)
        db = sqlite_utils.Database(connection)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        _migrate(db, migrations)
    except sqlite3.Error as error:
        raise explain(path, error) from error
    return db


def _inspect(path: Path, version_known: int) -> None:
    """Read the file without changing a byte of it, and refuse what is not ours."""
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=BUSY_MS / 1000)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > version_known:
                raise StoreNewer(
                    f"{path} was written by a newer version of Primacy (schema {version}, this one knows "
                    f"{version_known}): start that version, or restore a copy made before the upgrade"
                )
            problems = [row[0] for row in connection.execute("PRAGMA quick_check")]
            if problems != ["ok"]:
                raise StoreDamaged(_damaged(path, problems[0]))
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise explain(path, error) from error


def _damaged(path: Path, what: str) -> str:
    return (
        f"{path} is damaged ({what}) and was left as it is: put it aside with its -wal and -shm files, then start with "
        "a copy or with none, and run `primacy recover`"
    )


def _migrate(db: sqlite_utils.Database, migrations: Sequence[Migration]) -> None:
    version = db.conn.execute("PRAGMA user_version").fetchone()[0]
    for number in range(version, len(migrations)):
        db.conn.execute("BEGIN IMMEDIATE")
        try:
            migrations[number](db)
            db.conn.execute(f"PRAGMA user_version = {number + 1}")
            db.conn.execute("COMMIT")
        except BaseException:
            db.conn.execute("ROLLBACK")
            raise


def explain(path: Path, error: sqlite3.Error) -> StoreError:
    """The failure in the operator's terms."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StoreDamaged(_damaged(path, str(error)))
    if name.startswith("SQLITE_FULL"):
        return StoreRefused(f"{path}: the disk is full: free some room; leases are renewed meanwhile")
    if name.startswith(("SQLITE_READONLY", "SQLITE_PERM")):
        return StoreRefused(f"{path} cannot be written: check its owner, its folder and the mount")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreLocked(f"{path} is open in another process: close it there")
    if name.startswith("SQLITE_CANTOPEN"):
        return StoreRefused(f"{path} cannot be opened: the folder must exist and be writable")
    return StoreRefused(f"{path}: {error} ({name or type(error).__name__})")

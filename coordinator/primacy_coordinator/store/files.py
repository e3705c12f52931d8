"""Opening a SQLite file of ours: locked, checked, of a version that this program knows, and left alone if not.

Traps that this module knows (sqlite-utils 4, SQLite 3.40): `db.atomic()` begins DEFERRED, so whoever means to write
begins IMMEDIATE himself; a connection belongs to the thread that made it; a read-only connection cannot undo what a
process in the old journal mode left half done; a file of zero length is a valid, empty database.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import sqlite_utils

from primacy_coordinator.store.api import (
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreNewer,
    StoreReadOnly,
    StoreRefused,
)

Migration = Callable[[sqlite_utils.Database], None]
"""Takes the file from one version to the next, inside a transaction."""

BUSY_MS = 2_000
"""How long to wait for another process, for instance an operator's sqlite3, that holds the file."""

SIZE_MIN = 512
"""The smallest page that SQLite knows: what is shorter it takes for an empty database."""


def _read_nothing(connection: sqlite3.Connection, path: Path) -> None:
    pass


@dataclass(frozen=True, slots=True)
class FileKind:
    """What a file of ours is, and how it is kept."""

    title: str
    """With its article, for messages."""
    application_id: int
    """In the file's header, so that no other program's database is taken for ours."""
    migrations: Sequence[Migration]
    """Number n takes the file from version n to n + 1; version 0 is an empty file."""
    synchronous: str
    """FULL: every commit is on disk when it returns. NORMAL: the last ones may be lost, the file stays whole."""
    check: Callable[[sqlite3.Connection, Path], None] = _read_nothing
    """Reads everything that must be readable in a file of the newest version. Raises StoreError."""


class FileLock:
    """An exclusive lock beside a file, held by this process until `release` or its end."""

    def __init__(self, path: Path) -> None:
        """`path` is the lock's, `FILE.lock`.

        Raises StoreLocked when another process has it, StoreRefused when it cannot be made.
        """
        target = path.with_suffix("")
        try:
            # Not truncated here: until the lock is ours, the file tells whose it is.
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _refuse(target, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(self._file, 32, 0).decode(errors="replace").strip()
            os.close(self._file)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise _refuse(target, error) from error
            raise StoreLocked(
                f"{target} is open in {f'process {owner}' if owner else 'another process'}: a store belongs to one "
                "coordinator at a time; stop that one, or give this one a folder of its own"
            ) from error
        with suppress(OSError):  # A full disk: the lock holds all the same, only the owner's number is not shown.
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._file)


def open_file(path: Path, kind: FileKind) -> sqlite_utils.Database:
    """Open, check and migrate. The connection belongs to the calling thread.

    Raises StoreNewer and StoreDamaged without having changed the file, StoreRefused when it cannot be used.
    """
    try:
        if path.exists() and not path.is_file():
            raise StoreRefused(f"{path} is not a file: put it aside, or name another folder")
        if _size(path):
            _inspect(path, kind)
        elif _size(_beside(path, "-wal")):
            # SQLite would throw the log away with what it holds.
            raise StoreDamaged(damaged(path, "it is empty or gone, and its log is not"))
        connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_MS / 1000)
    except sqlite3.Error as error:
        raise explain(path, error) from error
    except OSError as error:
        raise _refuse(path, error) from error
    try:
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise StoreRefused(f"{path}: this file system has no shared memory for a write-ahead log: use a local disk")
        connection.execute(f"PRAGMA synchronous = {kind.synchronous}")
        db = sqlite_utils.Database(connection)
        _migrate(db, path, kind)
    except sqlite3.Error as error:
        connection.close()
        raise explain(path, error) from error
    except BaseException:
        connection.close()
        raise
    return db


def _inspect(path: Path, kind: FileKind) -> None:
    """Read the file without changing a byte of it, and refuse what is not ours. Raises StoreError, sqlite3.Error."""
    if _size(path) < SIZE_MIN:
        raise StoreDamaged(damaged(path, "it is cut short"))
    address = path.absolute().as_uri()
    if not (_size(_beside(path, "-wal")) or _size(_beside(path, "-journal"))):
        # Closed in good order, so that the file says it all. Any other way of reading leaves an empty log beside it.
        _examine(path, kind, f"{address}?mode=ro&immutable=1")
        return
    try:
        _examine(path, kind, f"{address}?mode=ro")
    except sqlite3.OperationalError as error:
        if _name(error) != "SQLITE_READONLY_ROLLBACK":
            raise
        # The very first transaction was cut short: only undoing it makes the file readable.
        _examine(path, kind, f"{address}?mode=rw")


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def _size(path: Path) -> int:
    """In bytes; 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def _examine(path: Path, kind: FileKind, address: str) -> None:
    connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=BUSY_MS / 1000)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        application_id = connection.execute("PRAGMA application_id").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if (version, application_id, tables) == (0, 0, 0):
            return  # Made, but not filled before its process ended.
        if application_id != kind.application_id:
            raise StoreDamaged(
                f"{path} is not {kind.title} of Primacy's and was left as it is: put it aside, or name another folder"
            )
        if version > len(kind.migrations):
            raise StoreNewer(
                f"{path} was written by a newer version of Primacy (schema {version}, this one knows "
                f"{len(kind.migrations)}) and was left as it is: start that version, or use a copy made before the "
                "upgrade"
            )
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise StoreDamaged(damaged(path, problem))
        if version == len(kind.migrations):
            kind.check(connection, path)
    except sqlite3.OperationalError as error:
        if _name(error):
            raise
        # Not SQLite's own: text that is not text.
        raise StoreDamaged(damaged(path, str(error))) from error
    finally:
        connection.close()


def damaged(path: Path, what: str) -> str:
    """The message of a StoreDamaged."""
    return (
        f"{path} is damaged ({what}) and was left as it is: put it aside with its -wal and -shm files, then start with "
        "a copy or with none, and run `primacy recover`"
    )


def _migrate(db: sqlite_utils.Database, path: Path, kind: FileKind) -> None:
    """All steps in one transaction: a file that cannot be brought up to date stays as it was."""
    version = db.conn.execute("PRAGMA user_version").fetchone()[0]
    if version == len(kind.migrations):
        return
    db.conn.execute("BEGIN IMMEDIATE")
    try:
        for migration in kind.migrations[version:]:
            migration(db)
        db.conn.execute(f"PRAGMA application_id = {kind.application_id}")
        db.conn.execute(f"PRAGMA user_version = {len(kind.migrations)}")
        kind.check(db.conn, path)
        db.conn.execute("COMMIT")
    except BaseException:
        roll_back(db.conn)
        raise


def roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction that failed; SQLite may have ended it already."""
    with suppress(sqlite3.Error):
        connection.execute("ROLLBACK")


def explain(path: Path, error: sqlite3.Error) -> StoreError:
    """The failure in the operator's terms."""
    name = _name(error)
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_SCHEMA")):
        return StoreDamaged(damaged(path, str(error)))
    if name.startswith("SQLITE_FULL") or (name.startswith("SQLITE_IOERR") and _no_room(path)):
        return StoreFull(f"{path}: the disk is full: free some room; leases are renewed meanwhile")
    if name.startswith(("SQLITE_READONLY", "SQLITE_PERM")):
        return StoreReadOnly(f"{path} cannot be written: check its owner, its folder and the mount")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreLocked(f"{path} is in use by another process, perhaps an open sqlite3: close it there")
    if name.startswith("SQLITE_CANTOPEN"):
        return StoreRefused(f"{path} cannot be opened: it must be a file in a folder that this user can write to")
    if name.startswith("SQLITE_IOERR"):
        return StoreRefused(f"{path}: {error} ({name}): the disk fails; see the kernel's log, move to another disk")
    return StoreRefused(f"{path}: {error} ({name or type(error).__name__})")


def _name(error: sqlite3.Error) -> str:
    """SQLite's name of the error; empty when it did not come from SQLite itself."""
    return getattr(error, "sqlite_errorname", "") or ""


def _no_room(path: Path) -> bool:
    try:
        return os.statvfs(path.parent).f_bavail == 0
    except OSError:
        return False


def _refuse(path: Path, error: OSError) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(f"{path}: the disk is full: free some room")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StoreReadOnly(f"{path}: {error.strerror}: check its owner, its folder and the mount")
    return StoreRefused(f"{path}: {error.strerror}: its folder must exist and be writable")

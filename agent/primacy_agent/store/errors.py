"""What can go wrong with stored contents. Every message is one line for people."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StoreError(Exception):
    """The store cannot do it."""


class StoreBusy(StoreError):
    """Another process has the store."""


class StoreFull(StoreError):
    """There is no room; what was there is as it was. The same works when there is."""


class BadManifest(StoreError):
    """It is not what its digest says, or says what no manifest may."""


class BadChunk(StoreError):
    """Received bytes are not what their digest says. Nothing of them was kept."""

    def __init__(self, index: int) -> None:
        super().__init__(f"chunk {index} is not what its digest says")
        self.index = index


class NotFound(StoreError):
    """It is not here."""


class ChangedWhileRead(StoreError):
    """A file changed while it was taken in."""


class CannotBeModel(StoreError):
    """What lies at the path cannot be a model."""


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """Trouble with the disk, or with the index on it, as an error of the store."""
    try:
        yield
    except OSError as error:
        where = shown(error.filename or path)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(where) from error
        raise StoreError(f"{where}: {error.strerror or error}") from error
    except sqlite3.Error as error:
        if _has_no_room(error, path):
            raise _full(shown(path)) from error
        raise StoreError(f"{shown(path)}: {error}") from error


def shown(path: Path | str | bytes) -> str:
    """A path as text that can be sent: names need not be UTF-8."""
    return os.fsencode(path).decode(errors="replace")


def _full(where: str) -> StoreFull:
    return StoreFull(f"no space is left for {where}: make room, and it goes on by itself")


def _has_no_room(error: sqlite3.Error, path: Path) -> bool:
    """SQLite says "full" only where a write fails; its shared memory fails with an I/O error, also for want of room."""
    name = getattr(error, "sqlite_errorname", None) or ""
    if name.startswith("SQLITE_FULL"):
        return True
    if not name.startswith("SQLITE_IOERR"):
        return False
    try:
        status = os.statvfs(path.parent)
    except OSError:
        return False
    return status.f_bavail * status.f_frsize < 1 << 16

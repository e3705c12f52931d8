"""What can go wrong with stored contents. Every message is one line for people."""

from __future__ import annotations

import errno
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
    """Trouble with the disk as an error of the store."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(f"no space is left for {where}: make room, and it goes on by itself") from error
        raise StoreError(f"{where}: {error.strerror or error}") from error

"""From the store to a release: a link where both lie on one file system, a copy elsewhere, verified as it is made."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path
from typing import NoReturn

from primacy_agent.store.errors import NotFound, StoreFull, disk
from primacy_agent.store.files import MODE, MODE_EXECUTABLE, RESERVE_BYTES, Files, read_chunk
from primacy_agent.store.manifest import ManifestFile, offsets

UNLINKABLE = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP)


def provide(files: Files, file: ManifestFile, place: Path) -> None:
    """Put a whole file at a path where there is none.

    Raises NotFound when it turns out to be damaged (then it is whole no more, and can be filled again), StoreFull,
    StoreError.
    """
    source = files.whole / file.id
    with disk(place):
        try:
            if source.stat().st_size != file.size:
                _damaged(files, file, [])
            os.link(source, place)
        except FileNotFoundError:
            _damaged(files, file, [])
        except OSError as error:
            if error.errno not in UNLINKABLE:
                raise
            _copy(files, file, place)


def _copy(files: Files, file: ManifestFile, place: Path) -> None:
    free = shutil.disk_usage(place.parent).free
    if file.size + RESERVE_BYTES > free:
        raise StoreFull(f"no space is left for {place}: {file.size:,} bytes are needed, {free:,} are free")
    source = files.whole / file.id
    handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb", buffering=0) as written:
        for chunk, offset in zip(file.chunks, offsets(file.chunks), strict=True):
            data = read_chunk(source, offset, chunk)
            if data is None:
                _damaged(files, file, [offset])
            left = memoryview(data)
            while left:
                left = left[written.write(left) :]
        os.fchmod(written.fileno(), MODE_EXECUTABLE if file.executable else MODE)
        os.fsync(written.fileno())


def _damaged(files: Files, file: ManifestFile, lost: list[int]) -> NoReturn:
    files.take_back(file.id, lost)
    raise NotFound(f"{file.path} of the store was found damaged: it is fetched again")


def is_linked(files: Files, file: ManifestFile, place: Path) -> bool:
    """Whether it is the store's own file."""
    try:
        return not place.is_symlink() and os.path.samefile(place, files.whole / file.id)
    except OSError:
        return False


def is_same(files: Files, file: ManifestFile, place: Path) -> bool:
    """Whether it is the store's own file, or a copy that is what it should be."""
    return is_linked(files, file, place) or is_copy(file, place)


def is_copy(file: ManifestFile, place: Path) -> bool:
    """Whether a file outside of the store is what it should be, read as a whole."""
    try:
        status = place.lstat()
    except OSError:
        return False
    mode = MODE_EXECUTABLE if file.executable else MODE
    return (status.st_mode, status.st_size) == (stat.S_IFREG | mode, file.size) and all(
        read_chunk(place, offset, chunk) is not None
        for chunk, offset in zip(file.chunks, offsets(file.chunks), strict=True)
    )

"""Takes files into the store: cut, hashed and copied in one pass, so that what was hashed is what is kept."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3
from pyfastcdc import FastCDC

from primacy_agent.store.errors import CannotBeModel, ChangedWhileRead, disk
from primacy_agent.store.manifest import (
    CHUNK_BYTES_AVERAGE,
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_MIN,
    FILES_MAX,
    Chunk,
    Manifest,
    ManifestFile,
    path_problem,
)

Seen = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Source:
    """One file to take in."""

    path: str
    """Its name in the model."""
    place: Path
    size: int
    executable: bool
    seen: Seen
    """Inode, size and times when it was found."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A file whose copy lies in `copy`, if the store did not have it."""

    file: ManifestFile
    copy: Path


def find(path: Path) -> list[Source]:
    """The files of a model, sorted by their names. Raises CannotBeModel, StoreError."""
    with disk(path):
        if path.is_file():
            return [_source(path, path.name)]
        if not path.is_dir():
            raise CannotBeModel(f"{path} is neither a file nor a directory")
        root = path.resolve()
        found = [_source(place, str(place.relative_to(path))) for place in _walk(path, root)]
    if not found:
        raise CannotBeModel(f"{path} has no files")
    if len(found) > FILES_MAX:
        raise CannotBeModel(f"{path} has {len(found):,} files; at most {FILES_MAX:,} are taken")
    return sorted(found, key=lambda source: source.path)


def _walk(folder: Path, root: Path) -> Iterator[Path]:
    """Raises CannotBeModel for what is no file and for a link that leads out of the tree or to a folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            place = Path(entry.path)
            if entry.is_symlink():
                target = place.resolve()
                if not target.is_relative_to(root):
                    raise CannotBeModel(f"{place} is a link out of the directory")
                if not target.is_file():
                    raise CannotBeModel(f"{place} is a link, and not to a file")
                yield place
            elif entry.is_dir(follow_symlinks=False):
                yield from _walk(place, root)
            elif entry.is_file(follow_symlinks=False):
                yield place
            else:
                raise CannotBeModel(f"{place} is neither a file nor a directory")


def _source(place: Path, name: str) -> Source:
    if problem := path_problem(name):
        raise CannotBeModel(f"{place}: the name {problem}")
    status = place.stat()
    return Source(name, place, status.st_size, bool(status.st_mode & stat.S_IXUSR), _seen(status))


def _seen(status: os.stat_result) -> Seen:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def take(source: Source, copy: Path, on_chunk: Callable[[Chunk], None]) -> Taken:
    """Copy it, cut and hashed on the way. Raises ChangedWhileRead, StoreError; then the copy is gone."""
    chunks: list[Chunk] = []
    cutter = FastCDC(CHUNK_BYTES_AVERAGE, min_size=CHUNK_BYTES_MIN, max_size=CHUNK_BYTES_MAX)
    try:
        with disk(source.place), source.place.open("rb", buffering=0) as read, copy.open("wb", buffering=0) as written:
            for cut in cutter.cut_stream(read):
                data = cut.data
                chunk = Chunk(blake3(data).digest(), len(data))
                _write_all(written.fileno(), data)
                chunks.append(chunk)
                on_chunk(chunk)
            after = _seen(os.fstat(read.fileno()))
            os.fsync(written.fileno())
        size = sum(chunk.length for chunk in chunks)
        if after != source.seen or size != source.size:
            raise ChangedWhileRead(f"{source.place} changed while it was read: publish it again when it is at rest")
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    return Taken(ManifestFile(source.path, size, source.executable, tuple(chunks)), copy)


def _write_all(handle: int, data: memoryview) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]


def check_unchanged(path: Path, before: list[Source]) -> None:
    """Raises ChangedWhileRead when files came or went meanwhile."""
    try:
        now = find(path)
    except CannotBeModel as error:
        raise ChangedWhileRead(f"{path} changed while it was read: {error}") from error
    if [(one.path, one.seen) for one in now] != [(one.path, one.seen) for one in before]:
        raise ChangedWhileRead(f"{path} changed while it was read: publish it again when it is at rest")


def manifest_of(taken: list[Taken]) -> Manifest:
    return Manifest(tuple(sorted((one.file for one in taken), key=lambda file: file.path)))

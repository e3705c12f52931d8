"""Takes files into the store: cut, hashed and copied in one pass, so that what was hashed is what is kept."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from blake3 import blake3
from pyfastcdc import FastCDC

from primacy_agent.store.errors import CannotBeModel, ChangedWhileRead, disk, shown
from primacy_agent.store.files import Files
from primacy_agent.store.index import Index
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
class Ingested:
    manifest: Manifest
    bytes_new: int
    """Bytes of chunks that the store did not have."""


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


def find(path: Path) -> list[Source]:
    """The files of a model, sorted by their names. Raises CannotBeModel, StoreError."""
    with disk(path):
        if path.is_file():
            return [_source(path, path.name)]
        if not path.is_dir():
            raise CannotBeModel(f"{shown(path)} is neither a file nor a directory")
        root = path.resolve()
        found = [_source(place, str(place.relative_to(path))) for place in _walk(path, root)]
    if not found:
        raise CannotBeModel(f"{shown(path)} has no files")
    if len(found) > FILES_MAX:
        raise CannotBeModel(f"{shown(path)} has {len(found):,} files; at most {FILES_MAX:,} are taken")
    return sorted(found, key=lambda source: source.path)


def _walk(folder: Path, root: Path) -> Iterator[Path]:
    """Raises CannotBeModel for what is no file and for a link that leads out of the tree or to a folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            place = Path(entry.path)
            if entry.is_symlink():
                target = place.resolve()
                if not target.is_relative_to(root):
                    raise CannotBeModel(f"{shown(place)} is a link out of the directory")
                if not target.is_file():
                    raise CannotBeModel(f"{shown(place)} is a link, and not to a file")
                yield place
            elif entry.is_dir(follow_symlinks=False):
                yield from _walk(place, root)
            elif entry.is_file(follow_symlinks=False):
                yield place
            else:
                raise CannotBeModel(f"{shown(place)} is neither a file nor a directory")


def _source(place: Path, name: str) -> Source:
    if problem := path_problem(name):
        raise CannotBeModel(f"{shown(place)}: the name {problem}")
    status = place.stat()
    return Source(name, place, status.st_size, bool(status.st_mode & stat.S_IXUSR), _seen(status))


def _seen(status: os.stat_result) -> Seen:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def ingest(
    path: Path, files: Files, index: Index, before: Callable[[Manifest], None], tell: Callable[[int, int, int], None]
) -> Ingested:
    """Take a file or directory in. `before` is called when all of it is on the disk, and nothing of it counts yet.

    `tell(done, total, new)` is called for each chunk, with bytes; what it raises ends the work. Raises CannotBeModel,
    ChangedWhileRead, StoreFull, StoreError; then nothing of it is left.
    """
    sources = find(path)
    total = sum(source.size for source in sources)
    done = new = 0
    seen: set[bytes] = set()
    tell(0, total, 0)

    def on_chunk(chunk: Chunk) -> None:
        nonlocal done, new
        done += chunk.length
        if chunk.digest not in seen:
            seen.add(chunk.digest)
            if not index.has_chunk(chunk.digest):
                new += chunk.length
        tell(done, total, new)

    taken: list[ManifestFile] = []
    copies: dict[str, Path] = {}
    claimed: list[str] = []
    token = secrets.token_hex(8)
    try:
        for source in sources:
            files.check_room(source.size)
            copy = files.coming / f"ingest-{token}-{len(taken)}"
            file = take(source, copy, on_chunk)
            taken.append(file)
            if file.id in copies or files.claim(file):
                copy.unlink()
                if file.id not in copies:
                    claimed.append(file.id)
            else:
                copies[file.id] = copy
        if path.is_dir():
            check_unchanged(path, sources)
        for copy in copies.values():
            _flush(copy)
        manifest = Manifest(tuple(sorted(taken, key=lambda file: file.path)))
        before(manifest)
        files.take_in(manifest, copies)
    finally:
        for copy in copies.values():
            copy.unlink(missing_ok=True)
        files.release(claimed)
    return Ingested(manifest, new)


def take(source: Source, copy: Path, on_chunk: Callable[[Chunk], None]) -> ManifestFile:
    """Copy it, cut and hashed on the way. Raises ChangedWhileRead, StoreError; then the copy is gone."""
    chunks: list[Chunk] = []
    cutter = FastCDC(CHUNK_BYTES_AVERAGE, min_size=CHUNK_BYTES_MIN, max_size=CHUNK_BYTES_MAX)
    changed = ChangedWhileRead(f"{shown(source.place)} changed while it was read: publish it again when it is at rest")
    size = 0
    try:
        with disk(source.place), _open(source.place) as read, copy.open("xb", buffering=0) as written:
            if _seen(os.fstat(read.fileno())) != source.seen:
                raise changed
            for cut in cutter.cut_stream(read):
                data = cut.data
                chunk = Chunk(blake3(data).digest(), len(data))
                size += chunk.length
                if size > source.size:
                    raise changed
                _write_all(written.fileno(), data)
                chunks.append(chunk)
                on_chunk(chunk)
            if _seen(os.fstat(read.fileno())) != source.seen or size != source.size:
                raise changed
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    return ManifestFile(source.path, size, source.executable, tuple(chunks))


def _open(place: Path) -> FileIO:
    """For reading, without waiting: what was a file may be a pipe by now."""
    return FileIO(os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def _write_all(handle: int, data: memoryview) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]


def _flush(copy: Path) -> None:
    with disk(copy), copy.open("rb") as file:
        os.fsync(file.fileno())


def check_unchanged(path: Path, before: list[Source]) -> None:
    """Raises ChangedWhileRead when files came or went meanwhile."""
    try:
        now = find(path)
    except CannotBeModel as error:
        raise ChangedWhileRead(f"{shown(path)} changed while it was read: {error}") from error
    if [(one.path, one.seen) for one in now] != [(one.path, one.seen) for one in before]:
        raise ChangedWhileRead(f"{shown(path)} changed while it was read: publish it again when it is at rest")

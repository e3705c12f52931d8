"""The bytes: whole files, and those that are being put together.

    ROOT/files/ID       whole; named by what they are; never written again
    ROOT/incoming/ID    the same name while chunks are missing

A file moves from one folder to the other by a rename; the index says in which it belongs. Whoever moves, writes or
drops one holds the lock, so that what the index says of a file and where it lies change together. Bytes are hashed
outside of the lock, and read without it.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from primacy_agent.store.errors import NotFound, StoreError, StoreFull, disk
from primacy_agent.store.index import Index, Place, State
from primacy_agent.store.manifest import Chunk, Manifest, ManifestFile, offsets

RESERVE_BYTES = 32 << 20
"""So much of the disk stays free: it belongs to others, too."""
COPY = "copy-"
MODE, MODE_EXECUTABLE = 0o444, 0o555
LOOK_AHEAD = 512
"""Chunks whose places are looked up at once."""
VECTOR_MAX = 512
"""Chunks that are written by one call."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A file that was whole is not any more."""

    file_id: str
    offsets: frozenset[int]
    """Of the chunks that are gone."""


class Files:
    """Blocking; called from any thread. Every method raises StoreFull, StoreError."""

    def __init__(self, root: Path, index: Index) -> None:
        self._root = root
        self._index = index
        self.whole, self.coming = root / "files", root / "incoming"
        self._lock = threading.RLock()
        self._claims: Counter[str] = Counter()
        self.complete: dict[str, int] = {}
        """Contents that are whole: digest -> how many chunks. Changed with the index, under the lock."""
        self.damaged: set[str] = set()
        """Those that were."""
        self.losses: deque[Loss] = deque()
        """What was found damaged, for the one who keeps count of what is being put together."""

    def load(self) -> None:
        """Once, when the index and the folders agree."""
        for digest, (state, count) in self._index.manifests().items():
            if state is State.WHOLE:
                self.complete[digest] = count
            elif state is State.DAMAGED:
                self.damaged.add(digest)
        self.losses.clear()

    def _is_complete_now(self, manifest: Manifest) -> None:
        self.complete[manifest.digest] = len(manifest.chunks)
        self.damaged.discard(manifest.digest)

    def check_room(self, wanted: int) -> None:
        """Raises StoreFull."""
        free = shutil.disk_usage(self._root).free
        if wanted + RESERVE_BYTES > free:
            raise StoreFull(
                f"{self._root}: {wanted:,} bytes are needed, {free:,} are free, and {RESERVE_BYTES:,} stay free: make "
                "room, and it goes on by itself"
            )

    # ---- reading

    def read(self, digest: bytes) -> bytes | None:
        """A chunk, verified, from wherever it lies. A place where it does not is not asked again."""
        for _ in range(2):  # A file may move between the look into the index and the reading.
            bad = []
            for place in self._index.places(digest):
                data = self._read_place(digest, place)
                if data is not None:
                    return data
                bad.append(place)
            for place in bad:
                self._give_up(digest, place)
        return None

    def known(self, chunks: Sequence[Chunk]) -> set[bytes]:
        """Digests of those that lie somewhere, as far as the index tells."""
        found: set[bytes] = set()
        for at in range(0, len(chunks), LOOK_AHEAD):
            found.update(self._index.first_places([chunk.digest for chunk in chunks[at : at + LOOK_AHEAD]]))
        return found

    def find(self, digests: Sequence[bytes]) -> dict[bytes, Place]:
        """Where each lies, of no more than `LOOK_AHEAD`; without those that are nowhere."""
        return self._index.first_places(digests)

    def read_some(
        self, digests: Sequence[bytes], at: int, places: Mapping[bytes, Place], limit: int
    ) -> tuple[list[tuple[int, bytes | memoryview]], int]:
        """(index, verified bytes) of the first ones from `at` on, up to `limit` bytes but at least one; and how far it
        looked. `places`: where they lie, as `find` said; what has moved since is looked for again. What is not here is
        left out. Neighbours in a file are read at once.
        """
        found: list[tuple[int, bytes | memoryview]] = []
        size = 0
        while at < len(digests):
            place = places.get(digests[at])
            if place is None:
                at += 1
                continue
            if found and size + place.length > limit:
                break
            run = [place]
            while (
                at + len(run) < len(digests)
                and (after := places.get(digests[at + len(run)])) is not None
                and (after.file_id, after.complete) == (place.file_id, place.complete)
                and after.offset == run[-1].offset + run[-1].length
                and size + after.offset + after.length - place.offset <= limit
            ):
                run.append(after)
            for index, data in enumerate(self._read_run(digests[at : at + len(run)], run), at):
                if data is not None:
                    found.append((index, data))
                    size += len(data)
            at += len(run)
        return found, at

    def _read_run(self, digests: Sequence[bytes], run: Sequence[Place]) -> list[bytes | memoryview | None]:
        """Neighbours, each verified; what is not where it should be is looked for elsewhere."""
        first, last = run[0], run[-1]
        folder = self.whole if first.complete else self.coming
        view = memoryview(_read_at(folder / first.file_id, first.offset, last.offset + last.length - first.offset))
        found: list[bytes | memoryview | None] = []
        for digest, place in zip(digests, run, strict=True):
            data = view[place.offset - first.offset :][: place.length]
            good = len(data) == place.length and blake3(data).digest() == digest
            found.append(data if good else self.read(digest))
        return found

    def _read_place(self, digest: bytes, place: Place) -> bytes | None:
        folder = self.whole if place.complete else self.coming
        return read_chunk(folder / place.file_id, place.offset, Chunk(digest, place.length))

    def _give_up(self, digest: bytes, place: Place) -> None:
        with self._lock:
            if place not in self._index.places(digest) or self._read_place(digest, place) is not None:
                return
            if place.complete:
                self.take_back(place.file_id, [place.offset])
            else:
                self._index.drop_chunk(digest, place.file_id, place.offset)

    def read_coming(self, file_id: str, offset: int, chunk: Chunk) -> bytes | None:
        return read_chunk(self.coming / file_id, offset, chunk)

    # ---- putting together

    def is_whole(self, file: ManifestFile) -> bool:
        """Whether it is here as a whole, as its row and its size tell. What is not what it was is taken back."""
        with self._lock:
            if not self._index.is_file_complete(file.id):
                return False
            try:
                if (self.whole / file.id).stat().st_size == file.size:
                    return True
            except OSError:
                pass
            self.take_back(file.id, ())
            return False

    def begin(self, file: ManifestFile) -> set[int] | None:
        """Where the file has chunks, as far as is known; None: it is whole."""
        place = self.coming / file.id
        with self._lock, disk(place):
            if self.is_whole(file):
                return None
            self._index.begin_file(file.id, file.size)
            if not place.exists():
                self._index.drop_chunks_of(file.id)
                os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            if place.stat().st_size != file.size:
                os.truncate(self._own(place), file.size)
            return self._index.offsets_of(file.id)

    def write(self, file_id: str, rows: Sequence[tuple[Chunk, int, bytes | memoryview]]) -> None:
        """(chunk, offset, its verified bytes) of an unfinished file. Raises NotFound when it was dropped meanwhile."""
        place = self.coming / file_id
        with self._lock, disk(place):
            try:
                handle = self._open_own(place)
            except FileNotFoundError:
                if self._index.is_file_complete(file_id):
                    return
                raise NotFound(f"{file_id[:12]} is not being put together any more") from None
            try:
                _write_rows(handle, rows)
            finally:
                os.close(handle)
            self._index.add_chunks(file_id, [(chunk.digest, offset, chunk.length) for chunk, offset, _ in rows])

    def _open_own(self, place: Path) -> int:
        """For writing. Nearly always it is this store's alone, and may be written."""
        try:
            handle = os.open(place, os.O_WRONLY | os.O_CLOEXEC)
        except PermissionError:
            return os.open(self._own(place), os.O_WRONLY | os.O_CLOEXEC)
        if os.fstat(handle).st_nlink == 1:
            return handle
        os.close(handle)
        return os.open(self._own(place), os.O_WRONLY | os.O_CLOEXEC)

    def _own(self, place: Path) -> Path:
        """The same file, for writing: a release may still have the damaged one by a link, and keeps it as it is."""
        status = place.stat()
        if status.st_nlink > 1:
            beside = place.with_name(COPY + place.name)
            try:
                shutil.copyfile(place, beside)
                beside.chmod(0o600)
                os.replace(beside, place)
            except BaseException:
                beside.unlink(missing_ok=True)
                raise
        elif not status.st_mode & 0o200:
            place.chmod(0o600)
        return place

    def finish(self, manifest: Manifest) -> None:
        """All chunks of it are here: from now on it is whole. Raises NotFound when some are not."""
        files = {file.id: file for file in manifest.files}
        for file in files.values():
            if not self.is_whole(file):
                self._flush(self.coming / file.id)
        with self._lock, disk(self.coming):
            moving = [file for file in files.values() if not self.is_whole(file)]
            for file in moving:
                if not self._index.offsets_of(file.id).issuperset(offsets(file.chunks)):
                    raise NotFound(f"chunks of {file.path} are missing")
            moved = []
            try:
                for file in moving:
                    self._flush(self.coming / file.id, MODE_EXECUTABLE if file.executable else MODE)
                    os.replace(self.coming / file.id, self.whole / file.id)
                    moved.append(file.id)
                sync(self.whole)
                self._index.finish(manifest)
                self._is_complete_now(manifest)
            except BaseException:
                for file_id in moved:
                    os.replace(self.whole / file_id, self.coming / file_id)
                raise

    def _flush(self, place: Path, mode: int | None = None) -> None:
        with disk(place):
            try:
                handle = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise NotFound(f"{place.name[:12]} is not being put together any more") from None
            try:
                if mode is not None:
                    os.fchmod(handle, mode)
                os.fsync(handle)
            finally:
                os.close(handle)

    # ---- taking in

    def claim(self, file: ManifestFile) -> bool:
        """Whether the whole file is here; if so it is not dropped until it was released."""
        with self._lock:
            found = self.is_whole(file)
            if found:
                self._claims[file.id] += 1
            return found

    def release(self, file_ids: Iterable[str]) -> None:
        with self._lock:
            self._claims.subtract(file_ids)
            self._claims += Counter()

    def take_in(self, manifest: Manifest, copies: dict[str, Path]) -> None:
        """`copies`: file id -> where it lies, on disk, for those that were not here."""
        with self._lock, disk(self.whole):
            moved: list[Path] = []
            try:
                for file in {file.id: file for file in manifest.files}.values():
                    if self.is_whole(file):
                        continue
                    copy = copies.get(file.id)
                    if copy is None:
                        raise StoreError(f"{file.path} was found damaged meanwhile: publish it again")
                    copy.chmod(MODE_EXECUTABLE if file.executable else MODE)
                    os.replace(copy, self.whole / file.id)
                    moved.append(self.whole / file.id)
                sync(self.whole)
                self._index.take_in(manifest)
                self._is_complete_now(manifest)
            except BaseException:
                for place in moved:
                    place.unlink(missing_ok=True)
                raise
            for file in manifest.files:
                (self.coming / file.id).unlink(missing_ok=True)

    # ---- letting go

    def take_back(self, file_id: str, lost: Collection[int]) -> None:
        """A file is damaged, at the offsets `lost`: an unfinished one again. Links to it stay as they are."""
        with self._lock, disk(self.whole / file_id):
            if not self._index.is_file_complete(file_id):
                return
            for digest in self._index.take_back(file_id, lost):
                self.complete.pop(digest, None)
                self.damaged.add(digest)
            try:
                os.replace(self.whole / file_id, self.coming / file_id)
            except FileNotFoundError:
                lost = self._index.offsets_of(file_id) | set(lost)
                self._index.drop_chunks_of(file_id)
            self.losses.append(Loss(file_id, frozenset(lost)))

    def collect(self, gone: Callable[[], AbstractSet[str]], dry: bool) -> tuple[int, AbstractSet[str]]:
        """Drop the manifests `gone`, and files that no other has. Bytes freed, and what is gone.

        `gone` is asked again before each step: what is taken in meanwhile stays. Files go first, for on a full disk the
        index cannot be written before there is room.
        """
        freed = 0
        for file_id, _ in self._index.unheld(gone()):
            place = self.whole / file_id, self.coming / file_id
            if dry:
                freed += sum(size_of(one) for one in place)
                continue
            with self._lock, disk(self._root):
                if self._claims[file_id] or self._index.is_held(file_id, gone()):
                    continue
                for one in place:
                    freed += size_of(one, linked_too=False)
                    one.unlink(missing_ok=True)
                with suppress(
                    StoreFull
                ):  # The next file may make the room; what is said of this one is known to be gone.
                    self._index.drop_file(file_id)
        with self._lock:
            dropped = gone()
            if not dry:
                self._index.drop_manifests(dropped)
                for digest in dropped:
                    self.complete.pop(digest, None)
                    self.damaged.discard(digest)
        return freed, dropped


def read_chunk(path: Path, offset: int, chunk: Chunk) -> bytes | None:
    """The chunk's bytes, if they are there and what its digest says. Raises StoreError when nobody can tell."""
    data = _read_at(path, offset, chunk.length)
    return data if len(data) == chunk.length and blake3(data).digest() == chunk.digest else None


def _read_at(path: Path, offset: int, length: int) -> bytes:
    """As much as is there. Raises StoreError when nobody can tell."""
    with disk(path):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(handle, length, offset)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return b""
        finally:
            os.close(handle)


def _write_rows(handle: int, rows: Sequence[tuple[Chunk, int, bytes | memoryview]]) -> None:
    """Neighbours at once."""
    run: list[bytes | memoryview] = []
    begin = end = 0
    for _, offset, data in rows:
        if run and (offset != end or len(run) >= VECTOR_MAX):
            _write_run(handle, run, begin)
            run = []
        if not run:
            begin = end = offset
        run.append(data)
        end += len(data)
    if run:
        _write_run(handle, run, begin)


def _write_run(handle: int, run: Sequence[bytes | memoryview], offset: int) -> None:
    count = os.pwritev(handle, run, offset)
    if count < sum(map(len, run)):
        _write_all(handle, b"".join(run)[count:], offset + count)


def _write_all(handle: int, data: bytes | memoryview, offset: int) -> None:
    left = memoryview(data)
    while left:
        count = os.pwrite(handle, left, offset)
        left, offset = left[count:], offset + count


def size_of(path: Path, linked_too: bool = True) -> int:
    """Bytes on disk; 0 when it is not there."""
    try:
        status = path.stat()
    except OSError:
        return 0
    return status.st_blocks * 512 if linked_too or status.st_nlink == 1 else 0


def sync(folder: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

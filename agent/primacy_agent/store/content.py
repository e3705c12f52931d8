"""The store of contents: one folder, one process.

    ROOT/files/ID        whole files, named by what they are, never changed
    ROOT/incoming/ID     files that are being put together
    ROOT/manifests/D     manifests by their digest
    ROOT/index.db        which chunks are where

Nothing is installed that was not verified whole, and nothing is handed out that was not verified as it was read. A kill
at any byte leaves at most work to be done again.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from blake3 import blake3
from primacy_wire.daemon import write_file

from primacy_agent.store.errors import BadChunk, BadManifest, NotFound, StoreBusy, StoreError, StoreFull, disk
from primacy_agent.store.index import Index, Place
from primacy_agent.store.ingest import Source, Taken, check_unchanged, find, manifest_of, take
from primacy_agent.store.layout import Layout
from primacy_agent.store.manifest import Chunk, Manifest, ManifestFile, decode_manifest, offsets

T = TypeVar("T")
P = ParamSpec("P")

THREADS = 4
READ_BYTES = 1 << 20
RESERVE_BYTES = 32 << 20
"""So much of the disk stays free: it belongs to others, too."""
SHOWN_BYTES = 16 << 20
FRESH_S = 600.0
"""What was just taken in is not collected: it is not in the log yet."""


@dataclass(frozen=True, slots=True)
class Ingested:
    manifest: Manifest
    bytes_new: int
    """Bytes of chunks that the store did not have."""


@dataclass(frozen=True, slots=True)
class Verified:
    bytes_done: int
    bytes_total: int
    damaged: tuple[tuple[str, str], ...] = ()
    """(digest of the manifest, path) of what was found damaged since the last one."""


@dataclass
class _Filling:
    """A content that is being put together."""

    manifest: Manifest
    starts: list[tuple[ManifestFile, int]]
    """(file, offset) of each chunk."""
    twins: dict[bytes, list[int]] = field(default_factory=dict)
    """digest -> every index that it has."""
    here: set[int] = field(default_factory=set)


class ContentStore:
    """Disk work is done by a few threads; everything else on the loop's."""

    def __init__(self, root: Path, models: Path) -> None:
        """Raises StoreBusy, StoreError."""
        self._root = root
        self._files, self._incoming, self._manifests = root / "files", root / "incoming", root / "manifests"
        with disk(root):
            for folder in (self._files, self._incoming, self._manifests, models):
                folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(root / "store.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise StoreBusy(f"{root}: another process has this store: give each agent one of its own") from None
        self._layout = Layout(models)
        self._known: dict[str, Manifest] = {}
        self._filling: dict[str, _Filling] = {}
        self._fresh: dict[str, float] = {}
        try:
            self._index = Index(root / "index.db")
            with disk(root):
                self._complete = self._repair()
        except (sqlite3.Error, StoreError) as error:
            os.close(self._lock)
            raise StoreError(f"{root}: the index cannot be used: {error}") from error
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="store")

    def _repair(self) -> set[str]:
        """Put right what a kill left. Returns the digests of what is complete."""
        self._layout.clean()
        for left in self._incoming.glob("ingest-*"):
            left.unlink(missing_ok=True)
        known = self._index.files()
        there = {path.name: path.stat().st_size for path in self._files.iterdir()}
        for file_id, (size, complete) in known.items():
            if complete and there.get(file_id) != size:
                self._index.drop_file(file_id)
        for file_id in there.keys() - {file_id for file_id, (_, complete) in known.items() if complete}:
            (self._files / file_id).unlink()
        for path in self._incoming.iterdir():
            if path.name not in known:
                path.unlink()
        whole = {file_id for file_id, (_, complete) in self._index.files().items() if complete}
        found = set()
        for digest, was_complete in self._index.manifests().items():
            manifest = self.manifest(digest)
            if manifest is None:
                self._index.drop_manifest(digest)
            elif was_complete and all(file.id in whole for file in manifest.files):
                found.add(digest)
            elif was_complete:
                self._index.put_manifest(digest, complete=False)
        return found

    def close(self) -> None:
        """Waits for what the threads do."""
        self._pool.shutdown(cancel_futures=True)
        self._index.close()
        os.close(self._lock)

    async def _run(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *given, **named))

    # ---- taking in

    async def ingest(self, path: Path, on_progress: Callable[[int, int, int], None]) -> Ingested:
        """Take a file or directory in. `on_progress(done, total, new)` in bytes, from another thread.

        Raises CannotBeModel, ChangedWhileRead, StoreFull, StoreError.
        """
        ingested = await self._run(self._ingest, path, on_progress)
        digest = ingested.manifest.digest
        self._fresh[digest] = time.monotonic()
        self._complete.add(digest)
        return ingested

    def _ingest(self, path: Path, on_progress: Callable[[int, int, int], None]) -> Ingested:
        sources = find(path)
        total = sum(source.size for source in sources)
        self._check_room(max((source.size for source in sources), default=0))
        done = new = 0
        seen: set[bytes] = set()
        on_progress(0, total, 0)

        def on_chunk(chunk: Chunk) -> None:
            nonlocal done, new
            done += chunk.length
            if chunk.digest not in seen:
                seen.add(chunk.digest)
                if not self._index.known((chunk.digest,)):
                    new += chunk.length
            on_progress(done, total, new)

        taken: list[Taken] = []
        for source in sources:
            one = take(source, self._incoming / f"ingest-{os.getpid()}-{len(taken)}", on_chunk)
            self._keep(one.file, one.copy, source)
            taken.append(one)
        if path.is_dir():
            check_unchanged(path, sources)
        manifest = manifest_of(taken)
        self._write_manifest(manifest.digest, manifest.encode())
        self._known[manifest.digest] = manifest
        self._index.put_manifest(manifest.digest, complete=True)
        return Ingested(manifest, new)

    def _keep(self, file: ManifestFile, copy: Path, source: Source) -> None:
        """Make a finished copy one of the store's files."""
        with disk(source.place):
            if self._index.is_file_complete(file.id):
                copy.unlink()
                return
            copy.chmod(0o555 if file.executable else 0o444)
            os.replace(copy, self._files / file.id)
            _sync(self._files)
        (self._incoming / file.id).unlink(missing_ok=True)
        self._index.add_file(file.id, file.size)
        self._index.add_chunks(_rows(file))
        self._index.mark_file(file.id, complete=True)

    def _check_room(self, wanted: int) -> None:
        """Raises StoreFull."""
        free = self.free_bytes()
        if wanted + RESERVE_BYTES > free:
            raise StoreFull(
                f"{self._root}: {wanted:,} bytes are needed, {free:,} are free, and {RESERVE_BYTES:,} stay free: make "
                "room, and it goes on by itself"
            )

    # ---- manifests

    async def put_manifest(self, digest: str, content: bytes) -> Manifest:
        """Raises BadManifest, StoreError."""
        return await self._run(self._put_manifest, digest, content)

    def _put_manifest(self, digest: str, content: bytes) -> Manifest:
        if blake3(content).hexdigest() != digest:
            raise BadManifest(f"a manifest is not what its digest {digest[:12]} says")
        manifest = decode_manifest(content)
        self._write_manifest(digest, content)
        self._known[digest] = manifest
        if digest not in self._complete:
            self._index.put_manifest(digest, complete=False)
        return manifest

    def _write_manifest(self, digest: str, content: bytes) -> None:
        with disk(self._manifests):
            write_file(self._manifests / digest, content)

    def manifest(self, digest: str) -> Manifest | None:
        found = self._known.get(digest)
        if found is None:
            content = self._read_manifest(digest)
            if content is not None:
                try:
                    found = self._known[digest] = decode_manifest(content)
                except BadManifest:
                    return None
        return found

    async def manifest_bytes(self, digest: str) -> bytes | None:
        return await self._run(self._read_manifest, digest)

    def _read_manifest(self, digest: str) -> bytes | None:
        try:
            content = (self._manifests / digest).read_bytes()
        except OSError:
            return None
        return content if blake3(content).hexdigest() == digest else None

    # ---- putting together

    async def fill(self, digest: str, on_progress: Callable[[int, int], None]) -> set[int]:
        """Begin, or go on: take what other files or an earlier try have. Returns the indexes that are missing.

        `on_progress(here, total)` in bytes. Raises NotFound without the manifest, StoreFull, StoreError.
        """
        manifest = self.manifest(digest)
        if manifest is None:
            raise NotFound(f"the manifest {digest[:12]} is not here")
        if digest in self._complete:
            return set()
        filling = self._filling.get(digest)
        if filling is None:
            filling = _begin(manifest)
            await self._run(self._fill, filling, on_progress)
            filling = self._filling.setdefault(digest, filling)
        return set(range(len(manifest.chunks))) - filling.here

    def _fill(self, filling: _Filling, on_progress: Callable[[int, int], None]) -> None:
        manifest = filling.manifest
        here = shown = 0
        index = 0
        for file in manifest.files:
            count = len(file.chunks)
            if self._index.is_file_complete(file.id):
                filling.here.update(range(index, index + count))
                here += file.size
            else:
                self._prepare(file)
                done = self._index.offsets_of(file.id)
                for chunk, offset in zip(file.chunks, offsets(file.chunks), strict=True):
                    if self._take_here(file, chunk, offset, marked=offset in done):
                        filling.here.add(index)
                        here += chunk.length
                        if here - shown >= SHOWN_BYTES:
                            shown = here
                            on_progress(here, manifest.size)
                    index += 1
                continue
            index += count
        on_progress(here, manifest.size)
        if here < manifest.size:
            self._check_room(manifest.size - here)

    def _prepare(self, file: ManifestFile) -> None:
        place = self._incoming / file.id
        with disk(place):
            handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(handle, file.size)
            finally:
                os.close(handle)
        self._index.add_file(file.id, file.size)

    def _take_here(self, file: ManifestFile, chunk: Chunk, offset: int, marked: bool) -> bool:
        """Whether the chunk is in its unfinished file now: from before, or from another place on this disk."""
        place = self._incoming / file.id
        if marked:
            if _reads(place, offset, chunk):
                return True
            self._index.drop_chunk(chunk.digest, file.id, offset)
        for other in self._index.places(chunk.digest):
            data = self._read_place(other, chunk)
            if data is not None:
                self._write(place, offset, data)
                self._index.add_chunks([(chunk.digest, file.id, offset, chunk.length)])
                return True
        return False

    def _write(self, place: Path, offset: int, data: bytes | memoryview) -> None:
        with disk(place):
            handle = os.open(place, os.O_WRONLY | os.O_CLOEXEC)
            try:
                left, at = memoryview(data), offset
                while left:
                    count = os.pwrite(handle, left, at)
                    left, at = left[count:], at + count
            finally:
                os.close(handle)

    async def put_chunks(self, digest: str, chunks: Sequence[tuple[int, bytes | memoryview]]) -> None:
        """Keep chunks of what is being filled. Raises BadChunk for the first that lies, StoreFull, StoreError."""
        filling = self._filling.get(digest)
        if filling is None:
            raise NotFound(f"{digest[:12]} is not being put together")
        filling.here |= await self._run(self._put, filling, chunks)

    def _put(self, filling: _Filling, chunks: Sequence[tuple[int, bytes | memoryview]]) -> set[int]:
        all_chunks = filling.manifest.chunks
        for index, data in chunks:
            if not 0 <= index < len(all_chunks) or blake3(data).digest() != all_chunks[index].digest:
                raise BadChunk(index)
        rows, put = [], set()
        for index, data in chunks:
            for twin in filling.twins[all_chunks[index].digest]:
                file, offset = filling.starts[twin]
                if twin in filling.here or twin in put or self._index.is_file_complete(file.id):
                    put.add(twin)
                    continue
                self._write(self._incoming / file.id, offset, data)
                rows.append((all_chunks[twin].digest, file.id, offset, all_chunks[twin].length))
                put.add(twin)
        self._index.add_chunks(rows)
        return put

    def here(self, digest: str) -> AbstractSet[int]:
        """The chunks of it that peers can have."""
        filling = self._filling.get(digest)
        if filling is not None:
            return filling.here
        if digest in self._complete and (manifest := self.manifest(digest)) is not None:
            return frozenset(range(len(manifest.chunks)))
        return frozenset()

    async def finish(self, digest: str) -> None:
        """All chunks are here: from now on it is complete. Raises StoreError."""
        if digest in self._complete:
            return
        filling = self._filling.get(digest)
        if filling is None or len(filling.here) < len(filling.manifest.chunks):
            raise NotFound(f"chunks of {digest[:12]} are missing")
        await self._run(self._finish, filling.manifest)
        self._complete.add(digest)
        self._filling.pop(digest, None)

    def _finish(self, manifest: Manifest) -> None:
        for file in {file.id: file for file in manifest.files}.values():
            place = self._incoming / file.id
            if self._index.is_file_complete(file.id):
                place.unlink(missing_ok=True)
                continue
            with disk(place):
                handle = os.open(place, os.O_RDWR | os.O_CLOEXEC)
                try:
                    os.fsync(handle)
                    os.fchmod(handle, 0o555 if file.executable else 0o444)
                finally:
                    os.close(handle)
                os.replace(place, self._files / file.id)
                _sync(self._files)
            self._index.mark_file(file.id, complete=True)
        self._index.put_manifest(manifest.digest, complete=True)

    def is_complete(self, digest: str) -> bool:
        return digest in self._complete

    # ---- reading

    async def read_chunks(self, digests: Sequence[bytes]) -> AsyncIterator[list[tuple[int, bytes]]]:
        """(index into `digests`, bytes), up to 1 MiB at once; what is not here or damaged is left out."""
        at = 0
        while at < len(digests):
            found, at = await self._run(self._read_some, digests, at)
            if found:
                yield found

    def _read_some(self, digests: Sequence[bytes], at: int) -> tuple[list[tuple[int, bytes]], int]:
        found: list[tuple[int, bytes]] = []
        size = 0
        while at < len(digests):
            data = self._read_one(digests[at])
            if data is not None:
                if found and size + len(data) > READ_BYTES:
                    break
                found.append((at, data))
                size += len(data)
            at += 1
        return found, at

    def _read_one(self, digest: bytes) -> bytes | None:
        for place in self._index.places(digest):
            data = self._read_place(place, Chunk(digest, place.length))
            if data is not None:
                return data
            self._index.drop_chunk(digest, place.file_id, place.offset)
        return None

    def _read_place(self, place: Place, chunk: Chunk) -> bytes | None:
        """Its bytes, if they are what the digest says."""
        folder = self._files if place.complete else self._incoming
        return _read(folder / place.file_id, place.offset, chunk)

    # ---- for the model's users

    async def install(self, name: str, version: int, digest: str) -> Path:
        """The release's folder, whole. Raises NotFound when the content is not complete, StoreError."""
        manifest = self.manifest(digest)
        if manifest is None or digest not in self._complete:
            raise NotFound(f"{name}/{version}: not all of {digest[:12]} is here")
        return await self._run(self._layout.install, name, version, manifest, self._files.joinpath)

    async def switch(self, name: str, version: int | None) -> None:
        await self._run(self._layout.switch, name, version)

    async def uninstall(self, name: str, version: int) -> None:
        await self._run(self._layout.uninstall, name, version)

    def installed(self, name: str | None = None) -> list[tuple[str, int]]:
        return self._layout.installed(name)

    def current(self, name: str) -> int | None:
        return self._layout.current(name)

    # ---- keeping house

    async def collect(self, keep: AbstractSet[str], dry: bool = False, fresh_s: float = FRESH_S) -> int:
        """Drop what no manifest of `keep` needs, but what is being filled or was just taken in. Bytes freed."""
        now = time.monotonic()
        self._fresh = {digest: at for digest, at in self._fresh.items() if now - at < fresh_s}
        kept = keep | self._filling.keys() | self._fresh.keys()
        gone = [digest for digest in self._index.manifests() if digest not in kept]
        if not dry:
            self._complete.difference_update(gone)
            for digest in gone:
                self._known.pop(digest, None)
        return await self._run(self._collect, gone, kept, dry)

    def _collect(self, gone: Sequence[str], kept: AbstractSet[str], dry: bool) -> int:
        needed = set()
        for digest in kept:
            manifest = self.manifest(digest)
            if manifest is not None:
                needed |= {file.id for file in manifest.files}
        freed = 0
        with disk(self._root):
            for file_id, (_, complete) in self._index.files().items():
                if file_id in needed:
                    continue
                place = (self._files if complete else self._incoming) / file_id
                freed += place.stat().st_blocks * 512 if place.exists() else 0
                if not dry:
                    self._index.drop_file(file_id)
                    place.unlink(missing_ok=True)
            if not dry:
                for digest in gone:
                    self._index.drop_manifest(digest)
                    (self._manifests / digest).unlink(missing_ok=True)
        return freed

    async def verify(self, digests: Sequence[str]) -> AsyncIterator[Verified]:
        """Read everything again. What is damaged is not complete any more: `fill` finds what is missing of it."""
        wanted = [(digest, manifest) for digest in digests if (manifest := self.manifest(digest)) is not None]
        files: dict[str, ManifestFile] = {}
        paths: dict[str, list[tuple[str, str]]] = {}
        for digest, manifest in wanted:
            for file in manifest.files:
                files[file.id] = file
                paths.setdefault(file.id, []).append((digest, file.path))
        total = sum(file.size for file in files.values())
        done = 0
        for file in files.values():
            bad: list[tuple[Chunk, int]] = []
            for piece in _pieces(file):
                bad += await self._run(self._check, file, piece)
                done += sum(chunk.length for chunk, _ in piece)
                yield Verified(done, total)
            if bad or not (self._files / file.id).exists():
                self._complete -= await self._run(self._take_back, file, bad)
                yield Verified(done, total, tuple(paths[file.id]))
        yield Verified(done, total)

    def _check(self, file: ManifestFile, piece: Sequence[tuple[Chunk, int]]) -> list[tuple[Chunk, int]]:
        place = self._files / file.id
        return [(chunk, offset) for chunk, offset in piece if not _reads(place, offset, chunk)]

    def _take_back(self, file: ManifestFile, bad: Sequence[tuple[Chunk, int]]) -> set[str]:
        """Make a damaged file an unfinished one; users of it keep what they have until it is whole again.

        Returns the digests of the manifests that it belongs to.
        """
        for chunk, offset in bad:
            self._index.drop_chunk(chunk.digest, file.id, offset)
        place, beside = self._files / file.id, self._incoming / file.id
        with disk(place):
            if place.exists():
                shutil.copyfile(place, beside)
                beside.chmod(0o600)
                place.unlink()
        self._index.mark_file(file.id, complete=False)
        users = set()
        for digest in self._index.manifests():
            manifest = self.manifest(digest)
            if manifest is not None and any(one.id == file.id for one in manifest.files):
                self._index.put_manifest(digest, complete=False)
                users.add(digest)
        return users

    def used_bytes(self) -> int:
        """On disk, by this store."""
        found = 0
        for folder in (self._files, self._incoming, self._manifests):
            for path in folder.iterdir():
                try:
                    found += path.stat().st_blocks * 512
                except OSError:
                    continue
        return found

    def free_bytes(self) -> int:
        return shutil.disk_usage(self._root).free


def _begin(manifest: Manifest) -> _Filling:
    filling = _Filling(manifest, [(file, offset) for file in manifest.files for offset in offsets(file.chunks)])
    for index, chunk in enumerate(manifest.chunks):
        filling.twins.setdefault(chunk.digest, []).append(index)
    return filling


def _rows(file: ManifestFile) -> Iterator[tuple[bytes, str, int, int]]:
    for chunk, offset in zip(file.chunks, offsets(file.chunks), strict=True):
        yield chunk.digest, file.id, offset, chunk.length


def _pieces(file: ManifestFile) -> Iterator[list[tuple[Chunk, int]]]:
    """The chunks of a file with their offsets, some megabytes at a time."""
    piece: list[tuple[Chunk, int]] = []
    size = 0
    for chunk, offset in zip(file.chunks, offsets(file.chunks), strict=True):
        piece.append((chunk, offset))
        size += chunk.length
        if size >= SHOWN_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _read(path: Path, offset: int, chunk: Chunk) -> bytes | None:
    """The chunk's bytes, if they are there and what its digest says."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.pread(handle, chunk.length, offset)
    except OSError:
        return None
    finally:
        os.close(handle)
    return data if len(data) == chunk.length and blake3(data).digest() == chunk.digest else None


def _reads(path: Path, offset: int, chunk: Chunk) -> bool:
    return _read(path, offset, chunk) is not None


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

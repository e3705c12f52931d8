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
import errno
import fcntl
import os
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from blake3 import blake3
from primacy_wire.daemon import write_file

from primacy_agent.store.all_of import AllOf
from primacy_agent.store.errors import BadManifest, NotFound, StoreBusy, StoreError, StoreFull, disk
from primacy_agent.store.files import LOOK_AHEAD, Files, size_of
from primacy_agent.store.filling import Filling, Spot, fill, put
from primacy_agent.store.index import State
from primacy_agent.store.ingest import Ingested, ingest
from primacy_agent.store.layout import Layout
from primacy_agent.store.manifest import Manifest, ManifestCache, decode_manifest
from primacy_agent.store.placing import is_same, provide
from primacy_agent.store.repair import open_index, repair
from primacy_agent.store.verifying import Verification, Verified

T = TypeVar("T")
P = ParamSpec("P")

QUICK_THREADS, LONG_THREADS = max(2, min(os.cpu_count() or 1, 4)), 2
"""Chunks are not made to wait for what takes minutes. More threads than processors only fight for them."""
READ_BYTES = 1 << 20
SHOWN_BYTES = 4 << 20
FRESH_S = 600.0
"""What was just taken in or asked for is not collected: it may not be in the log yet."""
INDEX_FILE = "index.db"


class ContentStore:
    """Call it from one event loop. Disk work is done by a few threads."""

    def __init__(self, root: Path, models: Path) -> None:
        """Raises StoreBusy, StoreFull, StoreError."""
        self._root = root
        self._manifests = root / "manifests"
        self._lock = _take_lock(root)
        try:
            with disk(root):
                for folder in (root / "files", root / "incoming", self._manifests, models):
                    folder.mkdir(parents=True, exist_ok=True)
                self._index, is_new = open_index(root / INDEX_FILE)
        except BaseException:
            os.close(self._lock)
            raise
        self._files = Files(root, self._index)
        self._layout = Layout(models)
        self._known = ManifestCache()
        self._filling: dict[str, Filling] = {}
        self._used: dict[str, float] = {}
        """When a content was last taken in, asked for or added to."""
        self._writing = threading.Lock()
        """Manifests are written and removed one at a time, and `_used` is set before."""
        self._closing = threading.Event()
        try:
            with disk(root):
                self._layout.clean()
                repair(self._index, self._files, self._manifests, is_new)
                self._files.load()
        except BaseException:
            self._index.close()
            os.close(self._lock)
            raise
        self._quick = ThreadPoolExecutor(QUICK_THREADS, thread_name_prefix="chunks")
        self._long = ThreadPoolExecutor(LONG_THREADS, thread_name_prefix="store")

    def close(self) -> None:
        """Waits for what the threads do; what takes long stops soon."""
        self._closing.set()
        for pool in (self._quick, self._long):
            pool.shutdown(cancel_futures=True)
        self._index.close()
        os.close(self._lock)

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        if self._closing.is_set():
            raise StoreError(f"{self._root} is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, partial(work, *given, **named))
        finally:
            self._mind_losses()

    def _mind_losses(self) -> None:
        losses = self._files.losses
        while losses:
            loss = losses.popleft()
            for filling in self._filling.values():
                filling.lose((loss.file_id, offset) for offset in loss.offsets)

    # ---- taking in

    async def ingest(self, path: Path, on_progress: Callable[[int, int, int], None]) -> Ingested:
        """Take a file or directory in. `on_progress(done, total, new)` in bytes. Cancelled, it stops soon.

        Raises CannotBeModel, ChangedWhileRead, StoreFull, StoreError; then nothing of it is left.
        """
        stop = threading.Event()
        loop = asyncio.get_running_loop()
        shown = 0

        def tell(done: int, total: int, new: int) -> None:
            nonlocal shown
            if stop.is_set() or self._closing.is_set():
                raise StoreError(f"{path} was not taken in to its end")
            if done == total or done - shown >= SHOWN_BYTES:
                shown = done
                loop.call_soon_threadsafe(on_progress, done, total, new)

        try:
            ingested = await self._run(self._long, ingest, path, self._files, self._index, self._prepare, tell)
        except asyncio.CancelledError:
            stop.set()
            raise
        self._known.add(ingested.manifest)
        return ingested

    def _prepare(self, manifest: Manifest) -> None:
        self._used[manifest.digest] = time.monotonic()
        self._write_manifest(manifest.digest, manifest.encode())

    # ---- manifests

    async def put_manifest(self, digest: str, content: bytes) -> Manifest:
        """Raises BadManifest, StoreFull, StoreError."""
        self._used[digest] = time.monotonic()
        manifest = await self._run(self._long, self._put_manifest, digest, content)
        self._known.add(manifest)
        return manifest

    def _put_manifest(self, digest: str, content: bytes) -> Manifest:
        if blake3(content).hexdigest() != digest:
            raise BadManifest(f"a manifest is not what its digest {digest[:12]} says")
        manifest = decode_manifest(content)
        self._write_manifest(digest, content)
        self._index.put_manifest(manifest, State.COMING)
        return manifest

    def _write_manifest(self, digest: str, content: bytes) -> None:
        with self._writing, disk(self._manifests):
            write_file(self._manifests / digest, content)

    def manifest(self, digest: str) -> Manifest | None:
        found = self._known.get(digest)
        if found is None and (content := self._read_manifest(digest)) is not None:
            try:
                found = decode_manifest(content)
            except BadManifest:
                return None
            self._known.add(found)
        return found

    async def manifest_bytes(self, digest: str) -> bytes | None:
        return await self._run(self._quick, self._read_manifest, digest)

    def _read_manifest(self, digest: str) -> bytes | None:
        try:
            content = (self._manifests / digest).read_bytes()
        except (OSError, ValueError):
            return None
        return content if blake3(content).hexdigest() == digest else None

    # ---- putting together

    async def fill(self, digest: str, on_progress: Callable[[int, int], None]) -> set[int]:
        """Begin, or go on: take what other files or an earlier try have. Returns the indexes that are missing; of a
        chunk that is in the content more than once, the first.

        `on_progress(here, total)` in bytes. Raises NotFound without the manifest, StoreFull, StoreError.
        """
        manifest = self.manifest(digest)
        if manifest is None:
            raise NotFound(f"the manifest {digest[:12]} is not here")
        if digest in self._files.complete:
            return set()
        self._used[digest] = time.monotonic()
        loop = asyncio.get_running_loop()
        filling = self._filling.get(digest) or Filling(manifest)

        def tell(here: int, total: int) -> None:
            if self._closing.is_set():
                raise StoreError(f"{self._root} is closed")
            loop.call_soon_threadsafe(on_progress, here, total)

        here, missing = await self._run(self._long, self._fill, filling, tell)
        filling = self._filling.setdefault(digest, filling)
        filling.lose(missing)
        self._arrived(here)
        return filling.missing

    def _fill(self, filling: Filling, tell: Callable[[int, int], None]) -> tuple[set[Spot], set[Spot]]:
        self._index.put_manifest(filling.manifest, State.COMING)
        return fill(filling, self._files, tell)

    async def put_chunks(self, digest: str, chunks: Sequence[tuple[int, bytes | memoryview]]) -> None:
        """Keep chunks of what is being filled. Raises BadChunk for the first that lies (then nothing is kept), NotFound
        for what is not being filled, StoreFull, StoreError.
        """
        filling = self._filling.get(digest)
        if filling is None:
            raise NotFound(f"{digest[:12]} is not being put together")
        self._used[digest] = time.monotonic()
        self._arrived(await self._run(self._quick, put, filling, self._files, chunks))

    def _arrived(self, spots: AbstractSet[Spot] | Sequence[Spot]) -> None:
        """A file may belong to several contents that come at the same time."""
        for filling in self._filling.values():
            filling.add(spots)

    def here(self, digest: str) -> AbstractSet[int]:
        """The chunks of it that peers can have."""
        count = self._files.complete.get(digest)
        if count is None and (filling := self._filling.get(digest)) is not None:
            return filling.here
        return AllOf(count or 0)

    async def finish(self, digest: str) -> None:
        """All chunks are here: from now on it is complete. Raises NotFound when they are not, StoreFull, StoreError."""
        if digest in self._files.complete:
            self._filling.pop(digest, None)
            return
        filling = self._filling.get(digest)
        if filling is None or len(filling.here) < filling.count:
            raise NotFound(f"chunks of {digest[:12]} are missing")
        try:
            await self._run(self._long, self._files.finish, filling.manifest)
        except NotFound:
            self._filling.pop(digest, None)  # Looked at anew by the next `fill`.
            raise
        self._filling.pop(digest, None)

    def is_complete(self, digest: str) -> bool:
        return digest in self._files.complete

    def damaged(self) -> AbstractSet[str]:
        """Digests of what was complete and is not any more. `fill` begins to mend it."""
        return self._files.damaged

    # ---- reading

    async def read_chunks(self, digests: Sequence[bytes]) -> AsyncIterator[list[tuple[int, bytes | memoryview]]]:
        """(index into `digests`, bytes), about 1 MiB at once; what is not here or damaged is left out."""
        for begin in range(0, len(digests), LOOK_AHEAD):
            looked = digests[begin : begin + LOOK_AHEAD]
            places = await self._run(self._quick, self._files.find, looked)
            at = 0
            while at < len(looked):
                found, at = await self._run(self._quick, self._files.read_some, looked, at, places, READ_BYTES)
                if found:
                    yield [(begin + index, data) for index, data in found]

    # ---- for the model's users

    async def install(self, name: str, version: int, digest: str) -> Path:
        """The release's folder, whole. Raises NotFound when the content is not complete, CannotBeModel for a name that
        leads elsewhere, StoreFull, StoreError.
        """
        manifest = self.manifest(digest)
        if manifest is None or digest not in self._files.complete:
            raise NotFound(f"{name}/{version}: not all of {digest[:12]} is here")
        return await self._run(self._long, self._install, name, version, manifest)

    def _install(self, name: str, version: int, manifest: Manifest) -> Path:
        files = self._files
        path = self._layout.install(name, version, manifest, partial(provide, files), partial(is_same, files))
        self._index.put_release(name, version, manifest.digest)
        return path

    async def switch(self, name: str, version: int | None) -> None:
        """Let `current` be that release; None: none. Raises NotFound without the release, StoreError."""
        await self._run(self._quick, self._layout.switch, name, version)

    async def uninstall(self, name: str, version: int) -> None:
        """Raises StoreError, also for the version that is current."""
        await self._run(self._long, self._uninstall, name, version)

    def _uninstall(self, name: str, version: int) -> None:
        self._layout.uninstall(name, version)
        with suppress(StoreFull):  # Harmless while there is no such release.
            self._index.drop_release(name, version)

    def installed(self, name: str | None = None) -> list[tuple[str, int]]:
        return self._layout.installed(name)

    def current(self, name: str) -> int | None:
        return self._layout.current(name)

    # ---- keeping house

    async def collect(self, keep: AbstractSet[str], dry: bool = False, fresh_s: float = FRESH_S) -> int:
        """Drop what no manifest of `keep` needs, but what is being filled or was just taken in. Bytes freed."""
        began = time.monotonic()
        freed, dropped = await self._run(self._long, self._collect, keep, dry, fresh_s, began)
        for digest in dropped:
            if self._used.get(digest, 0.0) < began:
                self._filling.pop(digest, None)
                self._used.pop(digest, None)
                self._known.drop(digest)
        return freed

    def _collect(self, keep: AbstractSet[str], dry: bool, fresh_s: float, began: float) -> tuple[int, AbstractSet[str]]:
        def gone() -> set[str]:
            used = self._used.copy()
            fresh = {digest for digest, at in used.items() if at >= began or began - at < fresh_s}
            coming = {digest for digest in tuple(self._filling) if began - used.get(digest, 0.0) < FRESH_S}
            return self._index.manifests().keys() - keep - fresh - coming

        freed, dropped = self._files.collect(gone, dry)
        if dry:
            return freed, frozenset()
        with self._writing, disk(self._manifests):
            for digest in dropped:
                if self._used.get(digest, 0.0) < began:
                    (self._manifests / digest).unlink(missing_ok=True)
        return freed, dropped

    async def verify(self, digests: Sequence[str]) -> AsyncIterator[Verified]:
        """Read everything again. What is damaged is not complete any more: `fill` finds what is missing of it, and
        `install` mends releases.
        """
        manifests = [manifest for digest in digests if (manifest := self.manifest(digest)) is not None]
        steps = Verification(manifests, self._files, self._index, self._layout).steps()
        while (found := await self._run(self._long, next, steps, None)) is not None:
            yield found

    def used_bytes(self) -> int:
        """On disk, by this store. Blocking."""
        folders = (self._files.whole, self._files.coming, self._manifests, self._root)
        return sum(size_of(path) for folder in folders for path in folder.iterdir() if not path.is_dir())

    def free_bytes(self) -> int:
        return shutil.disk_usage(self._root).free


def _take_lock(root: Path) -> int:
    """Raises StoreBusy, StoreError."""
    with disk(root):
        root.mkdir(parents=True, exist_ok=True)
        lock = os.open(root / "store.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with disk(root / "store.lock"):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                raise StoreBusy(
                    f"{root}: another process has this store: stop it, or give each agent one of its own"
                ) from None
    except BaseException:
        os.close(lock)
        raise
    return lock

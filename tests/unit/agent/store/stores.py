"""Stores on the real disk, and what moves between them."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from primacy_agent.store import ContentStore, Manifest

DRAW = random.Random(7)
BIG = DRAW.randbytes(3_000_000)
CHANGED = BIG[:1_000_000] + DRAW.randbytes(50_000) + BIG[1_000_000:]


def nothing(*_: object) -> None:
    pass


@contextmanager
def opened(folder: Path, models: Path | None = None) -> Iterator[ContentStore]:
    store = ContentStore(folder / "store", models or folder / "models")
    try:
        yield store
    finally:
        store.close()


async def prepared(source: ContentStore, target: ContentStore, digest: str) -> tuple[Manifest, list[int]]:
    """The manifest is there, and these indexes are missing."""
    content = await source.manifest_bytes(digest)
    assert content is not None
    manifest = await target.put_manifest(digest, content)
    return manifest, sorted(await target.fill(digest, nothing))


async def copy(source: ContentStore, target: ContentStore, digest: str, most: int = 1 << 30) -> int:
    """Bring up to `most` chunks over; bytes that had to be read."""
    manifest, missing = await prepared(source, target, digest)
    moved = 0
    async for batch in source.read_chunks([manifest.chunks[index].digest for index in missing[:most]]):
        await target.put_chunks(digest, [(missing[at], data) for at, data in batch])
        moved += sum(len(data) for _, data in batch)
    return moved


async def taken_in(store: ContentStore, path: Path, content: bytes) -> Manifest:
    path.write_bytes(content)
    return (await store.ingest(path, nothing)).manifest


async def read_all(store: ContentStore, manifest: Manifest) -> dict[int, bytes]:
    """index -> bytes of every chunk that the store hands out."""
    digests = [chunk.digest for chunk in manifest.chunks]
    return {at: data async for batch in store.read_chunks(digests) for at, data in batch}


async def damaged(store: ContentStore, *digests: str) -> list[tuple[str, str]]:
    return [one async for found in store.verify(digests) for one in found.damaged]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def flip(path: Path, at: int) -> None:
    """Change one byte where it lies, whatever links to it and whatever its mode."""
    mode = path.stat().st_mode
    path.chmod(mode | 0o200)
    with path.open("r+b") as file:
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([old[0] ^ 1]))
    path.chmod(mode)


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[str]:
    """A small file system of its own at `folder`; gives why not, or nothing."""
    folder.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
    except FileNotFoundError:
        yield "there is no `mount`"
        return
    if done.returncode:
        yield f"mounting a small file system needs root: {done.stderr.strip()}"
        return
    try:
        yield ""
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def free(folder: Path) -> int:
    return shutil.disk_usage(folder).free

"""How fast a model is taken into the store and read from it, and how much of a changed version has to move.

The floor of both speeds is a plain loop over the same file in the same run: read and hashed; for taking in also copied
and made durable, for that is what the store does. The ideal for a changed version is the bytes that are new in it.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3
from primacy_agent.store import ContentStore, Manifest

from bench.copiers import delta_bytes
from bench.rows import Row

SIZE = 512 << 20
ROUNDS = 3
BLOCK_BYTES = 1 << 20
PAIR_BYTES = 105 << 20
"""One region is overwritten and one piece inserted for each so many bytes of a version."""
EDIT_BYTES = 64 << 10
"""Of one of the edits that are scattered all over a version."""


def _nothing(*_: object) -> None:
    pass


def _floor(path: Path, copy: Path | None) -> float:
    """Seconds to read and hash it; with `copy`, to write it again durably, too."""
    began = time.perf_counter()
    handle = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if copy is not None else None
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            blake3(block).digest()
            if handle is not None:
                os.write(handle, block)
    if handle is not None:
        os.fsync(handle)
        os.close(handle)
    return time.perf_counter() - began


async def _ingest(path: Path, folder: Path) -> tuple[float, float]:
    """Seconds to take it in, and then to read all of it, verified."""
    store = ContentStore(folder / "store", folder / "models")
    try:
        began = time.perf_counter()
        manifest = (await store.ingest(path, _nothing)).manifest
        ingested = time.perf_counter()
        size = sum([len(data) async for batch in store.read_chunks(_digests(manifest)) for _, data in batch])
        read = time.perf_counter()
    finally:
        store.close()
    if size != manifest.size:
        raise RuntimeError(f"{size} bytes were read of {manifest.size}")
    return ingested - began, read - ingested


def _digests(manifest: Manifest) -> list[bytes]:
    return [chunk.digest for chunk in manifest.chunks]


def _measure(path: Path, folder: Path, rounds: int) -> list[tuple[float, float, float, float]]:
    """Each round, in turns: seconds to take in and to read; to read and hash bare, and with a copy."""
    found = []
    for number in range(rounds):
        own, copy = folder / f"round-{number}", folder / "copy.bin"
        taken, read = asyncio.run(_ingest(path, own))
        found.append((taken, read, _floor(path, None), _floor(path, copy)))
        shutil.rmtree(own)
        copy.unlink()
    return found


Change = Callable[[bytes, random.Random], tuple[bytes, int]]


def clustered(old: bytes, draw: random.Random) -> tuple[bytes, int]:
    """5 percent: regions of about 4 MiB overwritten, and as many insertions of 1 MiB. The new content, and how many
    bytes of it are new.
    """
    pairs = max(1, len(old) // PAIR_BYTES)
    region, insertion, step = len(old) // 25 // pairs, len(old) // 100 // pairs, len(old) // pairs
    parts = []
    for number in range(pairs):
        part = old[number * step : (number + 1) * step if number < pairs - 1 else len(old)]
        first, second = draw.randrange(step // 2 - region), draw.randrange(step // 2, step)
        parts += [part[:first], draw.randbytes(region), part[first + region : second], draw.randbytes(insertion)]
        parts.append(part[second:])
    return b"".join(parts), pairs * (region + insertion)


def scattered(old: bytes, draw: random.Random) -> tuple[bytes, int]:
    """About 5 percent in short runs all over it."""
    content = bytearray(old)
    count = len(old) // 20 // EDIT_BYTES
    step = len(old) // count
    for number in range(count):
        at = number * step + draw.randrange(step - EDIT_BYTES)
        content[at : at + EDIT_BYTES] = draw.randbytes(EDIT_BYTES)
    return bytes(content), EDIT_BYTES * count


async def moved(old: bytes, new: bytes, folder: Path) -> int:
    """Bytes that a store with the old version has to get for the new one: chunks, and the manifest."""
    path = folder / "model.bin"
    store = ContentStore(folder / "store", folder / "models")
    try:
        path.write_bytes(old)
        await store.ingest(path, _nothing)
        path.write_bytes(new)
        ingested = await store.ingest(path, _nothing)
    finally:
        store.close()
    return ingested.bytes_new + len(ingested.manifest.encode())


def _version(name: str, change: Change, old: bytes, budget: float | None) -> list[Row]:
    new, ideal = change(old, random.Random(5))
    with tempfile.TemporaryDirectory() as folder:
        size = asyncio.run(moved(old, new, Path(folder)))
        other = delta_bytes(old, new, Path(folder))
    what = f"store: bytes for a version with {name}"
    rows = [Row(what, size / 1e6, "MB", "ideal", ideal / 1e6, budget)]
    if other is not None:
        rows.append(Row(what, size / 1e6, "MB", "rsync", other / 1e6))
    return rows


def run(size: int = SIZE, rounds: int = ROUNDS) -> list[Row]:
    draw = random.Random(4)
    content = b"".join(draw.randbytes(BLOCK_BYTES) for _ in range(size // BLOCK_BYTES))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.bin"
        path.write_bytes(content)
        measured = _measure(path, Path(folder), rounds)
    taken, read, hashed, copied = (size / 1e6 / statistics.median(column) for column in zip(*measured, strict=True))
    name = f"{size >> 20} MiB"
    return [
        Row(f"store: take in {name}", taken, "MB/s", "read and hash", hashed),
        Row(f"store: take in {name}", taken, "MB/s", "read, hash, copy, flush", copied),
        Row(f"store: read {name}, verified", read, "MB/s", "read and hash", hashed),
        *_version("5 % changed in clusters", clustered, content, 1.1),
        *_version("5 % changed all over", scattered, content, None),
    ]  # fmt: skip

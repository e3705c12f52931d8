"""The store on a real disk: what is taken in comes out the same, whatever happens in between."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from primacy_agent.store import (
    BadChunk,
    BadManifest,
    CannotBeModel,
    ContentStore,
    Manifest,
    NotFound,
    StoreBusy,
    decode_manifest,
)

DRAW = random.Random(7)
BIG = DRAW.randbytes(3_000_000)
CHANGED = BIG[:1_000_000] + DRAW.randbytes(50_000) + BIG[1_000_000:]


def nothing(*_: object) -> None:
    pass


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "deep").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(BIG)
    (folder / "deep" / "vocabulary.txt").write_text("salt\n" * 100)
    (folder / "empty").touch()
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "config.pbtxt").write_text('name: "bert"\n')
    (folder / "alias").symlink_to("deep/vocabulary.txt")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ContentStore]:
    made = ContentStore(tmp_path / "store", tmp_path / "models")
    yield made
    made.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[ContentStore]:
    made = ContentStore(tmp_path / "other", tmp_path / "other-models")
    yield made
    made.close()


async def copy(source: ContentStore, target: ContentStore, digest: str, most: int = 1 << 30) -> int:
    """Bring up to `most` chunks over; bytes that had to be read."""
    content = await source.manifest_bytes(digest)
    assert content is not None
    manifest = await target.put_manifest(digest, content)
    missing = sorted(await target.fill(digest, nothing))[:most]
    moved = 0
    async for batch in source.read_chunks([manifest.chunks[index].digest for index in missing]):
        await target.put_chunks(digest, [(missing[at], data) for at, data in batch])
        moved += sum(len(data) for _, data in batch)
    return moved


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


async def test_what_goes_in_comes_out_in_tritons_layout(store: ContentStore, model: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int, int]] = []
    ingested = await store.ingest(model, lambda *progress: told.append(progress))
    manifest = ingested.manifest
    assert [file.path for file in manifest.files] == [
        "alias", "config.pbtxt", "deep/vocabulary.txt", "empty", "run.sh", "weights.bin",
    ]  # fmt: skip
    assert told[-1][:2] == (manifest.size, manifest.size)
    assert store.is_complete(manifest.digest)
    release = await store.install("bert", 3, manifest.digest)
    await store.switch("bert", 3)
    current = tmp_path / "models" / "bert" / "current"
    assert current.resolve() == release
    wanted = contents(model)
    assert contents(current / "3") == {name: data for name, data in wanted.items() if name != "config.pbtxt"}
    assert (current / "config.pbtxt").read_bytes() == wanted["config.pbtxt"]
    assert os.access(current / "3" / "run.sh", os.X_OK) and not os.access(current / "3" / "empty", os.X_OK)
    assert (current / "3" / "weights.bin").stat().st_mode & 0o222 == 0
    assert (store.current("bert"), store.installed()) == (3, [("bert", 3)])
    again = await store.ingest(model, nothing)
    assert (again.manifest, again.bytes_new) == (manifest, 0)


async def test_a_peer_gets_only_what_it_lacks(store: ContentStore, other: ContentStore, tmp_path: Path) -> None:
    first, second = tmp_path / "first.bin", tmp_path / "second.bin"
    first.write_bytes(BIG)
    second.write_bytes(CHANGED)
    one = (await store.ingest(first, nothing)).manifest
    two = await store.ingest(second, nothing)
    assert two.bytes_new < 600_000
    assert await copy(store, other, one.digest) == len(BIG)
    await other.finish(one.digest)
    assert await copy(store, other, two.manifest.digest) == two.bytes_new
    await other.finish(two.manifest.digest)
    release = await other.install("m", 2, two.manifest.digest)
    assert (release / "2" / "second.bin").read_bytes() == CHANGED


async def test_what_came_is_served_before_all_is_here(store: ContentStore, other: ContentStore, model: Path) -> None:
    manifest = (await store.ingest(model, nothing)).manifest
    await copy(store, other, manifest.digest, most=10)
    here = other.here(manifest.digest)
    assert 10 <= len(here) < len(manifest.chunks)
    found = [one async for batch in other.read_chunks([c.digest for c in manifest.chunks]) for one in batch]
    assert {at for at, _ in found} == set(here)
    with pytest.raises(NotFound):
        await other.finish(manifest.digest)
    with pytest.raises(NotFound):
        await other.install("m", 1, manifest.digest)
    assert store.here(manifest.digest) == set(range(len(manifest.chunks)))


async def test_lies_are_refused(store: ContentStore, other: ContentStore, model: Path) -> None:
    manifest = (await store.ingest(model, nothing)).manifest
    content = manifest.encode()
    with pytest.raises(BadManifest):
        await other.put_manifest(manifest.digest, content[:-1])
    await other.put_manifest(manifest.digest, content)
    missing = sorted(await other.fill(manifest.digest, nothing))
    with pytest.raises(BadChunk) as lie:
        await other.put_chunks(manifest.digest, [(missing[-1], b"not it")])
    assert lie.value.index == missing[-1]
    assert missing[-1] not in other.here(manifest.digest)


async def test_the_next_process_goes_on_where_this_one_stopped(
    store: ContentStore, tmp_path: Path, model: Path
) -> None:
    manifest = (await store.ingest(model, nothing)).manifest
    first = ContentStore(tmp_path / "third", tmp_path / "third-models")
    await copy(store, first, manifest.digest, most=20)
    here = set(first.here(manifest.digest))
    first.close()
    # A crash of the machine may leave marks without bytes.
    (victim,) = [path for path in (tmp_path / "third" / "incoming").iterdir() if path.stat().st_size == len(BIG)]
    with victim.open("r+b") as file:
        file.write(b"\0" * 100)
    second = ContentStore(tmp_path / "third", tmp_path / "third-models")
    missing = await second.fill(manifest.digest, nothing)
    lost = here - (set(range(len(manifest.chunks))) - missing)
    assert len(lost) == 1
    await copy(store, second, manifest.digest)
    await second.finish(manifest.digest)
    second.close()
    third = ContentStore(tmp_path / "third", tmp_path / "third-models")
    assert third.is_complete(manifest.digest)
    third.close()


async def test_damage_is_found_and_mended(store: ContentStore, other: ContentStore, model: Path) -> None:
    manifest = (await store.ingest(model, nothing)).manifest
    await copy(store, other, manifest.digest)
    await other.finish(manifest.digest)
    release = await other.install("m", 1, manifest.digest)
    weights = release / "1" / "weights.bin"
    weights.chmod(0o644)
    with weights.open("r+b") as file:
        file.seek(1_500_000)
        file.write(b"salt")
    damaged = [one async for found in other.verify([manifest.digest]) for one in found.damaged]
    assert damaged == [(manifest.digest, "weights.bin")]
    assert not other.is_complete(manifest.digest)
    assert 0 < await copy(store, other, manifest.digest) <= 256 * 1024
    await other.finish(manifest.digest)
    assert await other.install("m", 1, manifest.digest) == release
    assert weights.read_bytes() == BIG
    assert [one async for found in other.verify([manifest.digest]) for one in found.damaged] == []


async def test_only_what_is_needed_stays(store: ContentStore, tmp_path: Path) -> None:
    digests = []
    for number, content in enumerate((BIG, CHANGED, BIG[:500_000])):
        path = tmp_path / "model.bin"
        path.write_bytes(content)
        digests.append((await store.ingest(path, nothing)).manifest.digest)
        await store.install("m", number, digests[-1])
    assert await store.collect(set()) == 0, "what was just taken in is not in the log yet"
    foreseen = await store.collect({digests[1]}, dry=True, fresh_s=0)
    assert len(list((tmp_path / "store" / "files").iterdir())) == 3
    for version in (0, 2):
        await store.uninstall("m", version)
    assert await store.collect({digests[1]}, fresh_s=0) == foreseen > 0
    assert [store.is_complete(digest) for digest in digests] == [False, True, False]
    assert len(list((tmp_path / "store" / "files").iterdir())) == 1
    assert store.installed("m") == [("m", 1)]
    assert (tmp_path / "models" / "m" / "releases" / "1" / "1" / "model.bin").read_bytes() == CHANGED


async def test_a_switch_is_one_step(store: ContentStore, model: Path, tmp_path: Path) -> None:
    digest = (await store.ingest(model, nothing)).manifest.digest
    for version in (1, 2):
        await store.install("m", version, digest)
    await store.switch("m", 1)
    await store.switch("m", 2)
    assert os.readlink(tmp_path / "models" / "m" / "current") == "releases/2"
    await store.switch("m", None)
    assert store.current("m") is None
    await store.switch("never", None)


def test_two_processes_cannot_have_it(store: ContentStore, tmp_path: Path) -> None:
    with pytest.raises(StoreBusy, match="another process"):
        ContentStore(tmp_path / "store", tmp_path / "models")


async def test_what_cannot_be_a_model(store: ContentStore, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    with pytest.raises(CannotBeModel, match="no files"):
        await store.ingest(folder, nothing)
    (folder / "out").symlink_to("/etc/hostname")
    with pytest.raises(CannotBeModel, match="out of the directory"):
        await store.ingest(folder, nothing)
    (folder / "out").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(CannotBeModel, match="neither a file"):
        await store.ingest(folder, nothing)
    assert list((tmp_path / "store" / "incoming").iterdir()) == []


KILLED = """
import asyncio, sys
from pathlib import Path
from primacy_agent.store import ContentStore

async def main(folder: Path, digest: str) -> None:
    nothing = lambda *_: None
    if digest == "ingest":
        store = ContentStore(folder / "victim", folder / "victim-models")
        print("go", flush=True)
        await store.ingest(folder / "model.bin", nothing)
        print("done", flush=True)
        return
    source = ContentStore(folder / "origin", folder / "origin-models")
    store = ContentStore(folder / "victim", folder / "victim-models")
    manifest = await store.put_manifest(digest, await source.manifest_bytes(digest))
    print("go", flush=True)
    missing = sorted(await store.fill(digest, nothing))
    async for batch in source.read_chunks([manifest.chunks[index].digest for index in missing]):
        await store.put_chunks(digest, [(missing[at], data) for at, data in batch])
    await store.finish(digest)
    await store.install("m", 1, digest)
    await store.switch("m", 1)
    print("done", flush=True)

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


@pytest.mark.parametrize("what", ["ingest", "fetch"])
async def test_killed_at_any_moment_it_loses_nothing_and_shows_nothing_unverified(tmp_path: Path, what: str) -> None:
    path = tmp_path / "model.bin"
    content = random.Random(3).randbytes(24_000_000)
    path.write_bytes(content)
    origin = ContentStore(tmp_path / "origin", tmp_path / "origin-models")
    digest = (await origin.ingest(path, nothing)).manifest.digest
    origin.close()
    order = "ingest" if what == "ingest" else digest
    draw = random.Random(11)
    for _ in range(40):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path), order], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None and process.stdout.readline() == "go\n"
            time.sleep(draw.uniform(0, 0.06))  # noqa: ASYNC251 - nothing else runs here
            process.send_signal(signal.SIGKILL)
            done = "done" in process.stdout.read()
        store = ContentStore(tmp_path / "victim", tmp_path / "victim-models")
        current = tmp_path / "victim-models" / "m" / "current"
        if store.is_complete(digest):
            release = await store.install("check", 1, digest)
            assert (release / "1" / "model.bin").read_bytes() == content
        if current.exists():
            assert (current / "1" / "model.bin").read_bytes() == content
        store.close()
        if done:
            break
    else:
        done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), order], check=False).returncode == 0
    assert done


def test_a_manifest_says_the_same_every_time(tmp_path: Path) -> None:
    manifest = Manifest(())
    with pytest.raises(BadManifest):
        decode_manifest(manifest.encode())

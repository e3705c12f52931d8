"""The store on a real disk: what is taken in comes out the same, whatever happens in between."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from primacy_agent.store import (
    BadChunk,
    BadManifest,
    CannotBeModel,
    ChangedWhileRead,
    Chunk,
    ContentStore,
    Manifest,
    ManifestFile,
    NotFound,
    StoreBusy,
    StoreError,
    ingest,
)

from tests.unit.agent.store.stores import (
    BIG,
    CHANGED,
    contents,
    copy,
    damaged,
    nothing,
    opened,
    prepared,
    read_all,
    taken_in,
)


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


async def test_a_name_that_is_no_text_is_refused_in_text(store: ContentStore, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9.bin")).touch()
    with pytest.raises(CannotBeModel, match="UTF-8") as refused:
        await store.ingest(folder, nothing)
    assert str(refused.value).encode()


class Meddler:
    """Does something to a file while it is taken in, once some of it was read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, meddle: Callable[[], None]) -> None:
        self._meddle = meddle
        self._count = 0
        monkeypatch.setattr(ingest, "blake3", self)

    def __call__(self, data: bytes) -> object:
        self._count += 1
        if self._count == 3:
            self._meddle()
        return blake3(data)


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"changed")


def _replace(path: Path) -> None:
    path.with_name("beside").write_bytes(BIG)
    os.replace(path.with_name("beside"), path)


@pytest.mark.parametrize(
    "meddle", [_append, _overwrite, lambda path: os.truncate(path, 1_000_000), _replace, Path.unlink]
)
async def test_a_file_that_changes_while_it_is_read_is_refused(
    store: ContentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meddle: Callable[[Path], None]
) -> None:
    folder = tmp_path / "moving"
    folder.mkdir()
    path = folder / "weights.bin"
    path.write_bytes(BIG)
    Meddler(monkeypatch, lambda: meddle(path))
    with pytest.raises(ChangedWhileRead):
        await store.ingest(folder, nothing)
    assert list((tmp_path / "store" / "incoming").iterdir()) == list((tmp_path / "store" / "files").iterdir()) == []


@pytest.mark.parametrize("also", ["added.bin", "model/added.bin"])
async def test_a_file_that_comes_while_others_are_read_is_noticed(
    store: ContentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, also: str
) -> None:
    folder = tmp_path / "moving"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "weights.bin").write_bytes(BIG)
    Meddler(monkeypatch, (folder / also).touch)
    with pytest.raises(ChangedWhileRead):
        await store.ingest(folder, nothing)


async def test_what_is_called_off_stops_and_leaves_nothing(store: ContentStore, tmp_path: Path) -> None:
    path = tmp_path / "zeros.bin"
    path.touch()
    os.truncate(path, 4 << 30)
    begun = asyncio.Event()
    work = asyncio.create_task(store.ingest(path, lambda done, _total, _new: begun.set() if done else None))
    async with asyncio.timeout(60):
        await begun.wait()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        while list((tmp_path / "store" / "incoming").iterdir()):
            await asyncio.sleep(0.01)
    assert list((tmp_path / "store" / "files").iterdir()) == []


async def test_a_store_that_is_closed_waits_for_no_long_work(tmp_path: Path) -> None:
    store = ContentStore(tmp_path / "store", tmp_path / "models")
    path = tmp_path / "zeros.bin"
    path.touch()
    os.truncate(path, 4 << 30)
    begun = asyncio.Event()
    work = asyncio.create_task(store.ingest(path, lambda done, _total, _new: begun.set() if done else None))
    async with asyncio.timeout(60):
        await begun.wait()
        store.close()
        with pytest.raises(StoreError):
            await work
        with pytest.raises(StoreError, match="closed"):
            await store.ingest(path, nothing)
    assert list((tmp_path / "store" / "incoming").iterdir()) == []


async def test_contents_that_come_at_the_same_time_share_what_is_the_same(
    store: ContentStore, other: ContentStore, tmp_path: Path
) -> None:
    folders = []
    for number in (1, 2):
        folder = tmp_path / f"v{number}"
        folder.mkdir()
        (folder / "shared.bin").write_bytes(BIG)
        (folder / "twice.bin").write_bytes(BIG)
        (folder / "own.txt").write_text(f"version {number}")
        folders.append((await store.ingest(folder, nothing)).manifest)
    one, two = folders
    _, missing = await prepared(store, other, one.digest)
    await prepared(store, other, two.digest)
    chunks = await read_all(store, one)
    part = len(BIG) // 2
    given = 0
    for index in missing:
        if given < part and one.chunks[index].length > 100:
            await other.put_chunks(one.digest, [(index, chunks[index])])
            given += one.chunks[index].length
    assert sum(two.chunks[index].length for index in other.here(two.digest)) == 2 * given
    moved = await copy(store, other, two.digest) + given
    assert moved == len(BIG) + len("version 2")
    await other.finish(two.digest)
    assert await copy(store, other, one.digest) == len("version 1")
    await other.finish(one.digest)
    assert await damaged(other, one.digest, two.digest) == []
    assert len(list((tmp_path / "other" / "files").iterdir())) == 3


async def test_chunks_of_a_wrong_place_or_length_are_refused_before_any_is_kept(
    store: ContentStore, other: ContentStore, model: Path
) -> None:
    digest = (await store.ingest(model, nothing)).manifest.digest
    manifest, missing = await prepared(store, other, digest)
    chunks = await read_all(store, manifest)
    good = (missing[0], chunks[missing[0]])
    for bad in ((-1, b""), (len(manifest.chunks), b""), (missing[1], chunks[missing[0]]), (missing[1], b"")):
        with pytest.raises(BadChunk) as refused:
            await other.put_chunks(digest, [good, bad])
        assert refused.value.index == bad[0]
        assert set(missing).isdisjoint(other.here(digest))
    with pytest.raises(NotFound):
        await other.put_chunks("ab" * 32, [good])


async def test_a_manifest_that_lies_of_a_length_gets_no_chunk(store: ContentStore, tmp_path: Path) -> None:
    """The digest is right, the length is not: there is no such chunk anywhere."""
    real = (await taken_in(store, tmp_path / "small.bin", b"salt")).chunks[0]
    lie = Manifest((ManifestFile("x.bin", 9, False, (Chunk(real.digest, 9),)),))
    await store.put_manifest(lie.digest, lie.encode())
    assert await store.fill(lie.digest, nothing) == {0}
    with pytest.raises(BadChunk):
        await store.put_chunks(lie.digest, [(0, b"salt")])
    with pytest.raises(NotFound):
        await store.finish(lie.digest)


async def test_what_comes_is_not_collected_and_what_was_collected_can_come_again(
    store: ContentStore, other: ContentStore, model: Path, tmp_path: Path
) -> None:
    digest = (await store.ingest(model, nothing)).manifest.digest
    await copy(store, other, digest, most=10)
    assert await other.collect(set(), fresh_s=0) == 0
    await copy(store, other, digest)
    await other.finish(digest)
    assert await other.collect(set()) == 0
    assert await other.collect(set(), fresh_s=0) > len(BIG) - 4096
    assert not other.is_complete(digest) and other.manifest(digest) is None
    assert other.here(digest) == set()
    with pytest.raises(NotFound):
        await other.fill(digest, nothing)
    assert [list((tmp_path / "other" / name).iterdir()) for name in ("files", "incoming", "manifests")] == [[], [], []]
    await copy(store, other, digest)
    await other.finish(digest)
    assert await damaged(other, digest) == []


async def test_collecting_meanwhile_harms_nothing_that_is_taken_in(tmp_path: Path) -> None:
    """The same content, again and again, while somebody lets go of whatever nobody needs."""
    path = tmp_path / "model.bin"
    path.write_bytes(BIG[:400_000])
    with opened(tmp_path) as store:
        manifest = (await store.ingest(path, nothing)).manifest
        digest = manifest.digest
        outcomes = []
        for number in range(150):
            taking = asyncio.create_task(store.ingest(path, nothing))
            await asyncio.gather(*(store.collect(set(), fresh_s=0) for _ in range(number % 4)), taking)
            outcomes.append(store.is_complete(digest))
            assert len(await read_all(store, manifest)) == (len(manifest.chunks) if outcomes[-1] else 0)
    assert True in outcomes
    with opened(tmp_path) as store:
        assert store.is_complete(digest) == outcomes[-1]


async def test_readers_see_whole_chunks_while_files_move(tmp_path: Path) -> None:
    """From unfinished to finished, and back when damage is found."""
    with opened(tmp_path / "a") as source, opened(tmp_path / "b") as target:
        manifest = await taken_in(source, tmp_path / "model.bin", BIG)
        chunks = await read_all(source, manifest)
        file_id = manifest.files[0].id
        ended = threading.Event()

        async def reading() -> int:
            count = 0
            while not ended.is_set():
                known = set(target.here(manifest.digest))
                found = await read_all(target, manifest)
                assert all(found[index] == chunks[index] for index in found)
                assert known <= found.keys()
                count += 1
            return count

        await copy(source, target, manifest.digest, most=len(chunks) // 2)
        reader = asyncio.create_task(reading())
        for _ in range(15):
            await copy(source, target, manifest.digest)
            await target.finish(manifest.digest)
            place = tmp_path / "b" / "store" / "files" / file_id
            place.chmod(0o644)
            os.truncate(place, len(BIG) + 1)  # No chunk is harmed.
            assert len(await damaged(target, manifest.digest)) == 1
            assert not target.is_complete(manifest.digest)
            await asyncio.sleep(0)
        ended.set()
        assert await reader > 0


async def test_thousands_of_chunks_of_a_whole_content_are_a_set(store: ContentStore, model: Path) -> None:
    manifest = (await store.ingest(model, nothing)).manifest
    here, count = store.here(manifest.digest), len(manifest.chunks)
    assert here == set(range(count)) and here & {0, count} == {0} and count not in here and len(here) == count
    assert set(range(count + 1)) - here == {count}
    assert store.here("ab" * 32) == set()

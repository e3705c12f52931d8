"""A disk without room: said in words, nothing spoiled, and with room it goes on where it stopped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from primacy_agent.store import ContentStore, StoreFull, files, placing

from tests.unit.agent.store.stores import (
    BIG,
    CHANGED,
    copy,
    damaged,
    free,
    mounted,
    nothing,
    opened,
    prepared,
    read_all,
    taken_in,
)


class Disk:
    """A small file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, leave: int = 0) -> None:
        """Leaves no more than `leave` bytes of room."""
        with self._ballast.open("ab", buffering=0) as ballast:
            try:
                while ballast.write(b"x" * 65536):
                    pass
            except OSError:
                pass  # full now
            size = ballast.tell()
        os.truncate(self._ballast, size - leave)

    def free(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path / "disk", "48m") as why_not:
        if why_not and os.environ.get("PRIMACY_TEST_REQUIRE") == "all":
            pytest.fail(why_not)
        elif why_not:
            pytest.skip(why_not)
        yield Disk(tmp_path / "disk")


@pytest.fixture
def to_the_brim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stays free: the disk itself says when it is full."""
    monkeypatch.setattr(files, "RESERVE_BYTES", 0)
    monkeypatch.setattr(placing, "RESERVE_BYTES", 0)


async def test_some_room_stays_for_others(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(BIG)
    with opened(disk.folder) as store, opened(tmp_path) as origin:
        manifest = (await origin.ingest(path, nothing)).manifest
        disk.fill(leave=files.RESERVE_BYTES + len(BIG) // 2)
        room = free(disk.folder)
        with pytest.raises(StoreFull, match=r"3,000,000 bytes are needed.*make room"):
            await store.ingest(path, nothing)
        with pytest.raises(StoreFull, match=r"bytes are needed.*make room"):
            await copy(origin, store, manifest.digest)
        assert room - free(disk.folder) < 100_000
        disk.free()
        assert await copy(origin, store, manifest.digest) == len(BIG)
        await store.finish(manifest.digest)


@pytest.mark.parametrize("leave", [0, 4096, 65536, 1_000_000, 3_000_000])
async def test_taking_in_leaves_nothing_on_a_disk_that_gets_full(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leave: int
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.txt").write_text(str(number))
    (folder / "weights.bin").write_bytes(BIG)
    with opened(disk.folder) as store:
        kept = await taken_in(store, tmp_path / "other.bin", CHANGED[:500_000])
        disk.fill(leave)
        room = free(disk.folder)
        monkeypatch.setattr(files.Files, "check_room", nothing)
        with pytest.raises(StoreFull, match="no space is left"):
            await store.ingest(folder, nothing)
        assert room - free(disk.folder) < 500_000, "at most the index has grown"
        assert list((disk.folder / "store" / "incoming").iterdir()) == []
        assert len(list((disk.folder / "store" / "files").iterdir())) == 1
        assert len(await read_all(store, kept)) == len(kept.chunks)
        disk.free()
        manifest = (await store.ingest(folder, nothing)).manifest
        assert await damaged(store, manifest.digest, kept.digest) == []


@pytest.mark.usefixtures("to_the_brim")
@pytest.mark.parametrize("leave", [0, 4096, 65536, 1_000_000])
@pytest.mark.parametrize("again", [True, False])
async def test_chunks_that_came_before_the_disk_was_full_are_kept(
    disk: Disk, tmp_path: Path, leave: int, again: bool
) -> None:
    """In the same process and in the next."""
    with opened(tmp_path) as origin:
        manifest = await taken_in(origin, tmp_path / "model.bin", BIG)
        with opened(disk.folder) as store:
            await prepared(origin, store, manifest.digest)
            disk.fill(leave)
            accepted = await until_full(origin, store, manifest.digest)
            assert store.here(manifest.digest) == accepted
            assert set(await read_all(store, manifest)) >= accepted
            if again:
                await goes_on(disk, origin, store, manifest.digest, accepted)
        if not again:
            disk.free()
            with opened(disk.folder) as store:
                disk.fill(8_000_000)
                await goes_on(disk, origin, store, manifest.digest, accepted)


async def until_full(origin: ContentStore, store: ContentStore, digest: str) -> set[int]:
    """Put one chunk after the other; indexes of those that were accepted before the disk was full."""
    manifest = store.manifest(digest)
    assert manifest is not None
    chunks = await read_all(origin, manifest)
    accepted: set[int] = set()
    for index, data in chunks.items():
        try:
            await store.put_chunks(digest, [(index, data)])
        except StoreFull:
            return accepted
        accepted.add(index)
    raise AssertionError("there was room for all")


async def goes_on(disk: Disk, origin: ContentStore, store: ContentStore, digest: str, accepted: set[int]) -> None:
    disk.free()
    _, missing = await prepared(origin, store, digest)
    assert accepted.isdisjoint(missing)
    await copy(origin, store, digest)
    await store.finish(digest)
    release = await store.install("m", 1, digest)
    assert (release / "1" / "model.bin").read_bytes() == BIG
    assert await damaged(store, digest) == []


@pytest.mark.usefixtures("to_the_brim")
async def test_room_can_be_made_on_a_full_disk(disk: Disk, tmp_path: Path) -> None:
    with opened(disk.folder) as store:
        old = await taken_in(store, tmp_path / "model.bin", BIG)
        new = await taken_in(store, tmp_path / "model.bin", CHANGED[:200_000])
        await store.install("m", 1, old.digest)
        await store.install("m", 2, new.digest)
        disk.fill()
        await store.switch("m", None)
        await store.uninstall("m", 1)
        assert await store.collect({new.digest}, fresh_s=0) >= len(BIG)
        assert free(disk.folder) >= len(BIG) - 200_000
        assert not store.is_complete(old.digest)
        assert len(await read_all(store, new)) == len(new.chunks)
    with opened(disk.folder) as store:
        assert store.is_complete(new.digest) and not store.is_complete(old.digest)


@pytest.mark.usefixtures("to_the_brim")
@pytest.mark.parametrize("leave", [0, 1_000_000])
async def test_a_release_on_a_full_disk_is_not_there_at_all(disk: Disk, tmp_path: Path, leave: int) -> None:
    """The store is on another disk: the release is a copy."""
    with opened(tmp_path, disk.folder / "models") as store:
        manifest = await taken_in(store, tmp_path / "model.bin", BIG)
        await store.install("m", 1, manifest.digest)
        await store.switch("m", 1)
        disk.fill(leave)
        with pytest.raises(StoreFull, match="no space is left"):
            await store.install("m", 2, manifest.digest)
        assert store.installed() == [("m", 1)]
        assert [path.name for path in (disk.folder / "models" / "m" / "releases").iterdir()] == ["1"]
        disk.free()
        await store.install("m", 2, manifest.digest)
        await store.switch("m", 2)
        assert (disk.folder / "models" / "m" / "current" / "2" / "model.bin").read_bytes() == BIG


async def test_a_start_on_a_full_disk_is_refused_in_words_or_works(disk: Disk, tmp_path: Path) -> None:
    with opened(disk.folder) as store:
        manifest = await taken_in(store, tmp_path / "model.bin", BIG)
    disk.fill()
    with pytest.raises(StoreFull, match="no space is left"), opened(disk.folder):
        pass
    with pytest.raises(StoreFull, match="no space is left"), opened(disk.folder / "new"):
        pass
    disk.free()
    with opened(disk.folder) as store:
        assert store.is_complete(manifest.digest)
        assert await damaged(store, manifest.digest) == []

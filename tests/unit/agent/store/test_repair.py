"""What a kill between any two steps, a crash or a damaged disk leaves: put right, and nothing moved twice."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from primacy_agent.store import ContentStore, Manifest, StoreError

from tests.unit.agent.store.stores import (
    BIG,
    CHANGED,
    copy,
    damaged,
    flip,
    nothing,
    opened,
    prepared,
    read_all,
    taken_in,
)

REST = "weights.bin"


@pytest.fixture
async def model(tmp_path: Path) -> Manifest:
    """A content that the store `origin` has."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "small.txt").write_text("salt")
    (folder / REST).write_bytes(BIG)
    with opened(tmp_path / "origin") as origin:
        return (await origin.ingest(folder, nothing)).manifest


def id_of(manifest: Manifest, path: str) -> str:
    return next(file.id for file in manifest.files if file.path == path)


async def whole(folder: Path, tmp_path: Path, manifest: Manifest) -> None:
    """A store at `folder` has all of it, and an installed version."""
    with opened(tmp_path / "origin") as origin, opened(folder) as store:
        await copy(origin, store, manifest.digest)
        await store.finish(manifest.digest)
        await store.install("m", 1, manifest.digest)
        await store.switch("m", 1)


async def mended(folder: Path, tmp_path: Path, manifest: Manifest) -> int:
    """Bytes that it took until the store had all of it again, in its releases, too."""
    with opened(tmp_path / "origin") as origin, opened(folder) as store:
        moved = await copy(origin, store, manifest.digest)
        await store.finish(manifest.digest)
        assert store.is_complete(manifest.digest)
        assert manifest.digest not in store.damaged()
        release = await store.install("m", 1, manifest.digest)
        assert (release / "1" / REST).read_bytes() == BIG
        assert (release / "1" / "small.txt").read_bytes() == b"salt"
        assert await damaged(store, manifest.digest) == []
    return moved


async def test_a_kill_while_it_is_finished_moves_nothing_again(tmp_path: Path, model: Manifest) -> None:
    """Between the rename and the mark in the index."""
    folder = tmp_path / "victim"
    with opened(tmp_path / "origin") as origin, opened(folder) as store:
        await copy(origin, store, model.digest)
    file_id = id_of(model, REST)
    os.replace(folder / "store" / "incoming" / file_id, folder / "store" / "files" / file_id)
    with opened(folder) as store:
        assert not store.is_complete(model.digest)
    assert await mended(folder, tmp_path, model) == 0


async def test_a_lost_mark_of_an_installed_file_moves_nothing_again_and_writes_through_no_link(
    tmp_path: Path, model: Manifest
) -> None:
    folder = tmp_path / "victim"
    await whole(folder, tmp_path, model)
    file_id = id_of(model, REST)
    with sqlite3.connect(folder / "store" / "index.db") as db:
        db.execute("UPDATE files SET complete = 0 WHERE id = ?", (file_id,))
    db.close()
    flip(folder / "store" / "files" / file_id, 1_500_000)
    inside = folder / "models" / "m" / "current" / "1" / REST
    before = inside.read_bytes()
    with opened(tmp_path / "origin") as origin, opened(folder) as store:
        assert 0 < await copy(origin, store, model.digest) <= 256 * 1024
        assert inside.read_bytes() == before, "a release is changed by a rename only"
    assert await mended(folder, tmp_path, model) == 0


async def test_files_that_nobody_knows_go(tmp_path: Path, model: Manifest) -> None:
    folder = tmp_path / "victim"
    await whole(folder, tmp_path, model)
    root = folder / "store"
    for left in ("files/" + "ab" * 32, "incoming/ingest-1-0", "incoming/" + "cd" * 32, "manifests/.ef.tmp"):
        (root / left).write_bytes(b"salt")
    (folder / "models" / "m" / "releases" / ".new-2" / "2").mkdir(parents=True)
    (folder / "models" / "m" / "releases" / ".gone-3").mkdir()
    (folder / "models" / "m" / ".new-current").symlink_to("releases/7")
    with opened(folder) as store:
        assert store.is_complete(model.digest)
        assert store.installed() == [("m", 1)]
    assert {path.name for path in (root / "files").iterdir()} == {file.id for file in model.files}
    assert list((root / "incoming").iterdir()) == []
    assert [path.name for path in (root / "manifests").iterdir()] == [model.digest]
    assert sorted(path.name for path in (folder / "models" / "m").iterdir()) == ["current", "releases"]
    assert [path.name for path in (folder / "models" / "m" / "releases").iterdir()] == ["1"]


def _cut(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, 1_000_000)


def _grow(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, len(BIG) + 5)


@pytest.mark.parametrize(
    ("harm", "most"), [(Path.unlink, len(BIG)), (_cut, len(BIG) - 1_000_000 + 256 * 1024), (_grow, 0)]
)
@pytest.mark.parametrize("is_open", [True, False])
async def test_a_harmed_file_costs_what_it_lost(
    tmp_path: Path, model: Manifest, harm: Callable[[Path], None], most: int, is_open: bool
) -> None:
    """Whether it happens while the store is open or not."""
    folder = tmp_path / "victim"
    await whole(folder, tmp_path, model)
    place = folder / "store" / "files" / id_of(model, REST)
    if is_open:
        with opened(folder) as store:
            harm(place)
            assert await damaged(store, model.digest) == [(model.digest, REST)]
            assert store.damaged() == {model.digest}
    else:
        harm(place)
    with opened(folder) as store:
        assert not store.is_complete(model.digest)
        assert store.damaged() == {model.digest}
        assert await damaged(store, model.digest) == [(model.digest, REST)]
    moved = await mended(folder, tmp_path, model)
    assert moved <= most


async def test_a_byte_that_flipped_is_never_handed_out(tmp_path: Path, model: Manifest) -> None:
    """Found by the reading itself; from then on the content is not whole, and only that chunk is missing."""
    folder = tmp_path / "victim"
    await whole(folder, tmp_path, model)
    flip(folder / "store" / "files" / id_of(model, REST), 2_000_000)
    with opened(folder) as store:
        found = await read_all(store, model)
        assert len(found) == len(model.chunks) - 1
        assert not store.is_complete(model.digest)
        assert await damaged(store, model.digest) == [(model.digest, REST)]
        with pytest.raises(StoreError):
            await store.install("other", 1, model.digest)
    assert 0 < await mended(folder, tmp_path, model) <= 256 * 1024


async def test_a_damaged_content_is_no_obstacle_to_one_that_comes_and_shares_the_file(
    tmp_path: Path, model: Manifest
) -> None:
    """It counted as here when the second one began."""
    folder, second = tmp_path / "victim", tmp_path / "second"
    await whole(folder, tmp_path, model)
    second.mkdir()
    (second / REST).write_bytes(BIG)
    (second / "other.bin").write_bytes(CHANGED[900_000:1_200_000])
    with opened(tmp_path / "origin") as origin, opened(folder) as store:
        two = (await origin.ingest(second, nothing)).manifest
        _, missing = await prepared(origin, store, two.digest)
        shared = [index for index in range(len(two.chunks)) if index not in missing]
        flip(folder / "store" / "files" / id_of(model, REST), 2_000_000)
        assert await damaged(store, model.digest) == [(model.digest, REST)]
        assert len(store.here(two.digest)) == len(shared) - 1
        with pytest.raises(StoreError):
            await store.finish(two.digest)
        await copy(origin, store, two.digest)
        await store.finish(two.digest)
        assert await damaged(store, two.digest) == []
        # What mended one mended the other.
        assert await copy(origin, store, model.digest) == 0
        await store.finish(model.digest)
        release = await store.install("m", 1, model.digest)
        assert (release / "1" / REST).read_bytes() == BIG


async def test_a_manifest_that_is_damaged_is_asked_for_again(tmp_path: Path, model: Manifest) -> None:
    folder = tmp_path / "victim"
    await whole(folder, tmp_path, model)
    flip(folder / "store" / "manifests" / model.digest, 40)
    with opened(folder) as store:
        assert store.manifest(model.digest) is None
        assert await store.manifest_bytes(model.digest) is None
        assert not store.is_complete(model.digest)
    assert await mended(folder, tmp_path, model) == 0


@pytest.mark.parametrize("harm", ["garbage", "header", "pages"])
async def test_a_damaged_index_is_made_anew_from_what_lies_beside_it(
    tmp_path: Path, model: Manifest, harm: str
) -> None:
    folder = tmp_path / "victim"
    await whole(folder, tmp_path, model)
    index = folder / "store" / "index.db"
    content = bytearray(index.read_bytes())
    if harm == "garbage":
        content[:] = b"salt" * 4096
    elif harm == "header":
        content[:50] = bytes(50)
    else:
        content[4096:] = b"\xa5" * (len(content) - 4096)
    index.write_bytes(content)
    with opened(folder) as store:
        assert not store.is_complete(model.digest)
        assert store.installed() == [("m", 1)]
        assert (folder / "models" / "m" / "current" / "1" / REST).read_bytes() == BIG
    assert await mended(folder, tmp_path, model) == 0
    assert (folder / "store" / "index.db.damaged").exists()


async def test_an_index_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "store" / "index.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="schema 99"):
        ContentStore(tmp_path / "store", tmp_path / "models")


async def test_a_crash_that_kept_marks_and_lost_bytes(tmp_path: Path, model: Manifest) -> None:
    folder = tmp_path / "victim"
    with opened(tmp_path / "origin") as origin, opened(folder) as store:
        await copy(origin, store, model.digest)
    place = folder / "store" / "incoming" / id_of(model, REST)
    with place.open("r+b") as file:
        file.truncate(1_000_000)
        file.truncate(len(BIG))
    with opened(tmp_path / "origin") as origin, opened(folder) as store:
        _, missing = await prepared(origin, store, model.digest)
        lost = sum(model.chunks[index].length for index in missing)
        assert len(BIG) - 1_000_000 <= lost <= len(BIG) - 1_000_000 + 256 * 1024
        with pytest.raises(StoreError):
            await store.finish(model.digest)
    assert await mended(folder, tmp_path, model) == lost


async def test_what_was_removed_while_it_came_comes_again(tmp_path: Path, model: Manifest) -> None:
    folder = tmp_path / "victim"
    with opened(tmp_path / "origin") as origin, opened(folder) as store:
        await copy(origin, store, model.digest)
        (folder / "store" / "incoming" / id_of(model, REST)).unlink()
        with pytest.raises(StoreError):
            await store.finish(model.digest)
        assert not store.is_complete(model.digest)
        assert await copy(origin, store, model.digest) == len(BIG)
        await store.finish(model.digest)
        assert await damaged(store, model.digest) == []


async def test_a_store_takes_in_again_what_it_found_damaged(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        manifest = await taken_in(store, tmp_path / REST, BIG)
        flip(tmp_path / "store" / "files" / manifest.files[0].id, 5)
        assert len(await damaged(store, manifest.digest)) == 1
        assert await taken_in(store, tmp_path / REST, BIG) == manifest
        assert store.is_complete(manifest.digest)
        assert await damaged(store, manifest.digest) == []
        assert len(await read_all(store, manifest)) == len(manifest.chunks)

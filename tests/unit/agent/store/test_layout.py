"""Releases: linked or copied, whole or not there, and `current` changed in one step."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from primacy_agent.store import CannotBeModel, ContentStore, NotFound, StoreError

from tests.unit.agent.store.stores import (
    BIG,
    CHANGED,
    contents,
    copy,
    damaged,
    flip,
    mounted,
    nothing,
    opened,
    taken_in,
)

FILES = {"1/model.bin": BIG, "1/deep/words.txt": b"salt", "1/deep/config.pbtxt": b"inner", "config.pbtxt": b"outer"}


@pytest.fixture(params=["linked", "copied"])
def models(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder for models on the store's file system, and one on another."""
    if request.param == "linked":
        yield tmp_path / "models"
        return
    with mounted(tmp_path / "elsewhere", "64m") as why_not:
        if why_not and os.environ.get("PRIMACY_TEST_REQUIRE") == "all":
            pytest.fail(why_not)
        elif why_not:
            pytest.skip(why_not)
        yield tmp_path / "elsewhere" / "models"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for name, content in FILES.items():
        place = folder / name.removeprefix("1/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return folder


async def test_a_release_is_the_same_linked_or_copied(tmp_path: Path, models: Path, source: Path) -> None:
    with opened(tmp_path, models) as store:
        digest = (await store.ingest(source, nothing)).manifest.digest
        release = await store.install("m", 1, digest)
        assert contents(release) == FILES
        assert all(path.stat().st_mode & 0o777 == 0o444 for path in release.rglob("*") if path.is_file())
        links = {path.stat().st_nlink for path in release.rglob("*") if path.is_file()}
        assert links == ({2} if models == tmp_path / "models" else {1})
        assert (await store.install("m", 2, digest)) == models / "m" / "releases" / "2"
        assert store.installed() == store.installed("m") == [("m", 1), ("m", 2)]
        assert store.installed("n") == []


async def test_a_release_that_was_meddled_with_is_found_and_put_right(
    tmp_path: Path, models: Path, source: Path
) -> None:
    with opened(tmp_path, models) as store, opened(tmp_path / "other") as other:
        digest = (await store.ingest(source, nothing)).manifest.digest
        await copy(store, other, digest)
        await other.finish(digest)
        release = await store.install("m", 1, digest)
        flip(release / "1" / "model.bin", 1_234_567)
        (release / "1" / "deep" / "words.txt").unlink()
        (release / "1" / "more.bin").write_bytes(b"pepper")
        (release / "config.pbtxt").unlink()
        (release / "config.pbtxt").symlink_to("/etc/hostname")
        (release / "1" / "away").symlink_to("/etc")
        assert {path for _, path in await damaged(store, digest)} == {"model.bin", "deep/words.txt", "config.pbtxt"}
        if not store.is_complete(digest):
            await copy(other, store, digest)
            await store.finish(digest)
        await store.install("m", 1, digest)
        assert contents(release) == FILES
        assert not (release / "1" / "away").is_symlink()
        assert await damaged(store, digest) == []


async def test_a_damaged_file_of_the_store_is_not_installed_as_a_copy(
    tmp_path: Path, models: Path, source: Path
) -> None:
    """A link to a file of another size is not made either."""
    with opened(tmp_path, models) as store:
        manifest = (await store.ingest(source, nothing)).manifest
        (big,) = [file for file in manifest.files if file.size == len(BIG)]
        place = tmp_path / "store" / "files" / big.id
        place.chmod(0o644)
        os.truncate(place, len(BIG) - 1)
        with pytest.raises(NotFound, match="damaged"):
            await store.install("m", 1, manifest.digest)
        assert not store.is_complete(manifest.digest)
        assert store.installed() == []
        assert list((models / "m" / "releases").iterdir()) == []


async def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, source: Path) -> None:
    with opened(tmp_path) as store:
        digest = (await store.ingest(source, nothing)).manifest.digest
        for name in ("../out", "a/b", "", ".", "..", ".hidden", "a\nb"):
            with pytest.raises(CannotBeModel):
                await store.install(name, 1, digest)
            with pytest.raises(CannotBeModel):
                await store.switch(name, None)
            with pytest.raises(CannotBeModel):
                await store.uninstall(name, 1)
            assert (store.current(name), store.installed(name)) == (None, [])
        assert list((tmp_path / "models").iterdir()) == []


async def test_what_is_in_use_stays(tmp_path: Path, source: Path) -> None:
    with opened(tmp_path) as store:
        digest = (await store.ingest(source, nothing)).manifest.digest
        with pytest.raises(NotFound, match="not installed"):
            await store.switch("m", 1)
        for version in (1, 2):
            await store.install("m", version, digest)
        await store.switch("m", 1)
        with pytest.raises(StoreError, match="in use"):
            await store.uninstall("m", 1)
        await store.uninstall("m", 2)
        await store.uninstall("m", 2)
        assert store.installed() == [("m", 1)]
        await store.switch("m", None)
        await store.uninstall("m", 1)
        assert list((tmp_path / "models").iterdir()) == []


async def test_a_folder_that_somebody_made_is_not_replaced(tmp_path: Path, source: Path) -> None:
    with opened(tmp_path) as store:
        digest = (await store.ingest(source, nothing)).manifest.digest
        await store.install("m", 1, digest)
        mine = tmp_path / "models" / "m" / "current"
        mine.mkdir()
        with pytest.raises(StoreError, match="in the way"):
            await store.switch("m", 1)
        await store.switch("m", None)
        assert mine.is_dir() and store.current("m") is None


async def test_whoever_looks_at_current_sees_one_whole_version(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        path = tmp_path / "model.bin"
        for version, content in enumerate((BIG, CHANGED), start=1):
            await store.install("m", version, (await taken_in(store, path, content)).digest)
        await store.switch("m", 1)
        ended = threading.Event()
        seen: list[int] = []

        def look() -> None:
            current = tmp_path / "models" / "m" / "current"
            while not ended.is_set():
                (version,) = [int(name) for name in os.listdir(current) if name.isdecimal()]
                seen.append(version)

        looker = threading.Thread(target=look)
        looker.start()
        try:
            while len(set(seen)) < 2 or len(seen) < 200:
                for version in (2, 1):
                    await store.switch("m", version)
                assert looker.is_alive()
        finally:
            ended.set()
            looker.join()
        assert set(seen) == {1, 2}


def test_a_folder_that_cannot_be_used_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("salt")
    with pytest.raises(StoreError, match="store"):
        ContentStore(tmp_path / "store", tmp_path / "models")

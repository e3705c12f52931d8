"""Where a model's versions lie for its users, as Triton's model repository has it.

    MODELS/NAME/current -> releases/3
    MODELS/NAME/releases/3/config.pbtxt
    MODELS/NAME/releases/3/3/model.onnx

A release is built beside and renamed, so it is there as a whole or not at all; `current` changes in one step. Files are
links to the store's own where both lie on one file system, and copies elsewhere.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from primacy_agent.store.errors import disk
from primacy_agent.store.manifest import Manifest

CURRENT, RELEASES = "current", "releases"
BESIDE = ".new-"
CONFIG_FILE = "config.pbtxt"


class Layout:
    """Blocking: called from threads."""

    def __init__(self, models: Path) -> None:
        self._models = models

    def clean(self) -> None:
        """Remove what a kill left half built."""
        for left in self._models.glob(f"*/{RELEASES}/{BESIDE}*"):
            shutil.rmtree(left, ignore_errors=True)
        for link in self._models.glob(f"*/{BESIDE}*"):
            link.unlink(missing_ok=True)

    def release(self, name: str, version: int) -> Path:
        return self._models / name / RELEASES / str(version)

    def install(self, name: str, version: int, manifest: Manifest, file_of: Callable[[str], Path]) -> Path:
        """The release's folder. What is there already is made the same as the manifest, file by file."""
        release = self.release(name, version)
        with disk(release):
            if release.exists():
                self._mend(release, version, manifest, file_of)
                return release
            beside = release.with_name(f"{BESIDE}{version}")
            shutil.rmtree(beside, ignore_errors=True)
            for file in manifest.files:
                place = beside / _name(file.path, version)
                place.parent.mkdir(parents=True, exist_ok=True)
                _link(file_of(file.id), place)
            (beside / str(version)).mkdir(exist_ok=True)
            os.replace(beside, release)
            _sync(release.parent)
        return release

    def _mend(self, release: Path, version: int, manifest: Manifest, file_of: Callable[[str], Path]) -> None:
        wanted = {release / _name(file.path, version): file_of(file.id) for file in manifest.files}
        for place, source in wanted.items():
            if place.exists() and os.path.samefile(place, source):
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            beside = place.with_name(f"{BESIDE}{place.name}"[:255])
            beside.unlink(missing_ok=True)
            _link(source, beside)
            os.replace(beside, place)
        for place in release.rglob("*"):
            if not place.is_dir() and place not in wanted:
                place.unlink()

    def switch(self, name: str, version: int | None) -> None:
        """Let `current` be that release; None: let there be none."""
        link = self._models / name / CURRENT
        with disk(link):
            if version is None:
                link.unlink(missing_ok=True)
            elif self.current(name) != version:
                beside = link.with_name(f"{BESIDE}{CURRENT}")
                beside.unlink(missing_ok=True)
                beside.symlink_to(Path(RELEASES) / str(version))
                os.replace(beside, link)
            else:
                return
            if link.parent.exists():
                _sync(link.parent)

    def current(self, name: str) -> int | None:
        try:
            target = os.readlink(self._models / name / CURRENT)
        except OSError:
            return None
        folder, _, version = target.rpartition("/")
        return int(version) if folder == RELEASES and version.isdecimal() else None

    def uninstall(self, name: str, version: int) -> None:
        release = self.release(name, version)
        beside = release.with_name(f"{BESIDE}gone-{version}")
        with disk(release):
            try:
                os.replace(release, beside)
            except FileNotFoundError:
                return
            shutil.rmtree(beside)
            for folder in (release.parent, release.parent.parent):
                try:
                    folder.rmdir()
                except OSError:
                    break

    def installed(self, name: str | None = None) -> list[tuple[str, int]]:
        """(name, version), sorted."""
        pattern = f"{name or '*'}/{RELEASES}/*"
        return sorted(
            (place.parent.parent.name, int(place.name))
            for place in self._models.glob(pattern)
            if place.name.isdecimal()
        )


def _name(path: str, version: int) -> Path:
    return Path(path) if path == CONFIG_FILE else Path(str(version)) / path


def _link(source: Path, place: Path) -> None:
    try:
        os.link(source, place)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        shutil.copyfile(source, place)
        shutil.copymode(source, place)
        with place.open("rb") as file:
            os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

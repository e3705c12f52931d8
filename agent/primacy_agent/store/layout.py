"""Where a model's versions lie for its users, as Triton's model repository has it.

    MODELS/NAME/current -> releases/3
    MODELS/NAME/releases/3/config.pbtxt
    MODELS/NAME/releases/3/3/model.onnx

A release is built beside and renamed, so it is there as a whole or not at all; `current` changes in one step. Files are
links to the store's own where both lie on one file system, and verified copies elsewhere.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from primacy_agent.store.errors import CannotBeModel, NotFound, StoreError, disk
from primacy_agent.store.files import sync
from primacy_agent.store.manifest import Manifest, ManifestFile, path_problem

CURRENT, RELEASES = "current", "releases"
BESIDE = ".new-"
GONE = ".gone-"
CONFIG_FILE = "config.pbtxt"

Provide = Callable[[ManifestFile, Path], None]
"""Puts a file of the store at a path where there is none. Raises StoreError."""
IsSame = Callable[[ManifestFile, Path], bool]
"""Whether the file at the path is that one."""


class Layout:
    """Blocking: called from threads. Every method raises StoreFull, StoreError."""

    def __init__(self, models: Path) -> None:
        self._models = models
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        """Of each model: one change at a time."""

    def clean(self) -> None:
        """Remove what a kill left half built or half removed."""
        for prefix in (BESIDE, GONE):
            for left in self._models.glob(f"*/{RELEASES}/{prefix}*"):
                _remove(left)
            for left in self._models.glob(f"*/{prefix}*"):
                _remove(left)

    def _model(self, name: str) -> Path:
        """Raises CannotBeModel for a name that leads elsewhere."""
        if "/" in name or name.startswith(".") or path_problem(name):
            raise CannotBeModel(f"{name!r} cannot be the name of a model")
        return self._models / name

    def _one(self, name: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(name, threading.Lock())

    def release(self, name: str, version: int) -> Path:
        return self._model(name) / RELEASES / str(version)

    def install(self, name: str, version: int, manifest: Manifest, provide: Provide, is_same: IsSame) -> Path:
        """The release's folder. What is there already is made the same as the manifest, file by file."""
        release = self.release(name, version)
        with self._one(name), disk(release):
            if release.exists():
                self._mend(release, version, manifest, provide, is_same)
                return release
            beside = release.with_name(f"{BESIDE}{version}")
            _remove(beside)
            try:
                for file in manifest.files:
                    place = beside / name_of(file.path, version)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    provide(file, place)
                (beside / str(version)).mkdir(exist_ok=True)
                _sync_all(beside)
                os.replace(beside, release)
            except BaseException:
                _remove(beside)
                raise
            for folder in (release.parent, release.parent.parent, self._models):
                sync(folder)
        return release

    def _mend(self, release: Path, version: int, manifest: Manifest, provide: Provide, is_same: IsSame) -> None:
        wanted = {release / name_of(file.path, version): file for file in manifest.files}
        beside = release.with_name(f"{BESIDE}file")
        for place in list(release.rglob("*")):
            if place.is_symlink() or not place.is_dir():
                if place not in wanted:
                    place.unlink()
            elif place in wanted:
                shutil.rmtree(place)
        for place, file in wanted.items():
            if is_same(file, place):
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            _remove(beside)
            try:
                provide(file, beside)
                os.replace(beside, place)
            except BaseException:
                _remove(beside)
                raise
        _sync_all(release)

    def differing(self, name: str, version: int, manifest: Manifest, is_same: IsSame) -> list[str]:
        """Paths of files that are not what the manifest says; nothing when the release is not there."""
        release = self.release(name, version)
        if not release.exists():
            return []
        return [file.path for file in manifest.files if not is_same(file, release / name_of(file.path, version))]

    def switch(self, name: str, version: int | None) -> None:
        """Let `current` be that release; None: let there be none. Raises NotFound without the release."""
        link = self._model(name) / CURRENT
        with self._one(name), disk(link):
            if version is None:
                if not link.is_symlink():
                    return
                link.unlink()
            elif not self.release(name, version).is_dir():
                raise NotFound(f"{name}/{version} is not installed")
            elif self.current(name) == version:
                return
            elif link.exists() and not link.is_symlink():
                raise StoreError(f"{link} is in the way: it is not a link that Primacy made")
            else:
                beside = link.with_name(f"{BESIDE}{CURRENT}")
                beside.unlink(missing_ok=True)
                beside.symlink_to(Path(RELEASES) / str(version))
                os.replace(beside, link)
            sync(link.parent)

    def current(self, name: str) -> int | None:
        try:
            target = os.readlink(self._model(name) / CURRENT)
        except (OSError, CannotBeModel):
            return None
        folder, _, version = target.rpartition("/")
        return _version(version) if folder == RELEASES else None

    def uninstall(self, name: str, version: int) -> None:
        """Raises StoreError for the version that is current."""
        release = self.release(name, version)
        with self._one(name), disk(release):
            if self.current(name) == version and release.exists():
                raise StoreError(f"{name}/{version} is in use")
            gone = release.with_name(f"{GONE}{version}")
            _remove(gone)
            try:
                os.replace(release, gone)
            except FileNotFoundError:
                return
            shutil.rmtree(gone)
            for folder in (release.parent, release.parent.parent):
                try:
                    folder.rmdir()
                except OSError:
                    break

    def installed(self, name: str | None = None) -> list[tuple[str, int]]:
        """(name, version), sorted."""
        found = []
        for model in [name] if name is not None else _names(self._models):
            with suppress(CannotBeModel):
                versions = [_version(one) for one in _names(self._model(model) / RELEASES)]
                found += [(model, version) for version in versions if version is not None]
        return sorted(found)


def name_of(path: str, version: int) -> Path:
    """Where a model's file lies in a release."""
    return Path(path) if path == CONFIG_FILE else Path(str(version)) / path


def _version(name: str) -> int | None:
    return int(name) if name.isascii() and name.isdecimal() and str(int(name)) == name else None


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


def _sync_all(folder: Path) -> None:
    """The names in it and below it. Raises OSError."""
    for path, _, _ in os.walk(folder):
        sync(Path(path))

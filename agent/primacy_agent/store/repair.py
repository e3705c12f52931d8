"""What a kill, a crash or a damaged index left, put right before anybody uses the store."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from blake3 import blake3

from primacy_agent.store.errors import BadManifest
from primacy_agent.store.files import Files, sync
from primacy_agent.store.index import Index, IndexDamaged, State, rows_of
from primacy_agent.store.manifest import decode_manifest

ASIDE = ".damaged"


def open_index(path: Path) -> tuple[Index, bool]:
    """The index, and whether it had to begin anew because the old one could not be read. Raises StoreError, OSError."""
    try:
        return Index(path), False
    except IndexDamaged:
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        os.replace(path, path.with_name(path.name + ASIDE))
        return Index(path), True


def repair(index: Index, files: Files, manifests: Path, is_new: bool) -> None:
    """Let the index and the folders say the same. `is_new`: the index is empty; hints for it come from the rest.

    Nothing is read as a whole here: what is doubtful becomes unfinished, and whoever fills it reads it. Raises
    StoreError, OSError.
    """
    readable = _readable(manifests)
    if is_new:
        _hint(index, files, (manifests / digest for digest in readable))
    known = index.manifests()
    index.drop_manifests(known.keys() - readable)
    for digest in readable - index.manifests().keys():
        (manifests / digest).unlink()
    sizes = {path.name: path.stat().st_size for path in files.whole.iterdir()}
    rows = index.files()
    for file_id, (size, complete) in rows.items():
        if complete and sizes.get(file_id) != size:
            files.take_back(file_id, ())
        elif not complete and file_id in sizes:
            os.replace(files.whole / file_id, files.coming / file_id)
    for name in sizes.keys() - rows.keys():
        (files.whole / name).unlink()
    for path in files.coming.iterdir():
        if path.name not in rows:
            path.unlink()
    sync(files.whole)
    index.doubt()


def _readable(folder: Path) -> set[str]:
    """Digests of the manifests that are what their names say; others are removed."""
    found = set()
    for path in folder.iterdir():
        if blake3(path.read_bytes()).hexdigest() == path.name:
            found.add(path.name)
        else:
            path.unlink()
    return found


def _hint(index: Index, files: Files, paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            manifest = decode_manifest(path.read_bytes())
        except BadManifest:
            continue
        index.put_manifest(manifest, State.DAMAGED)
        for file in manifest.files:
            if (files.whole / file.id).exists() or (files.coming / file.id).exists():
                index.begin_file(file.id, file.size)
                index.add_chunks(file.id, rows_of(file))

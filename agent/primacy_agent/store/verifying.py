"""Reads what is stored again, and finds what is damaged: in the store, and in releases that are copies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from primacy_agent.store.files import Files, read_chunk
from primacy_agent.store.index import Index
from primacy_agent.store.layout import Layout
from primacy_agent.store.manifest import Chunk, Manifest, ManifestFile, offsets
from primacy_agent.store.placing import is_same

PIECE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Verified:
    bytes_done: int
    bytes_total: int
    damaged: tuple[tuple[str, str], ...] = ()
    """(digest of the manifest, path) of what was found damaged since the last one."""


class Verification:
    """`steps` is blocking work, some megabytes each."""

    def __init__(self, manifests: Sequence[Manifest], files: Files, index: Index, layout: Layout) -> None:
        self._manifests = manifests
        self._files = files
        self._index = index
        self._layout = layout
        self._by_id = {file.id: file for manifest in manifests for file in manifest.files}
        self._paths: dict[str, list[tuple[str, str]]] = {}
        for manifest in manifests:
            for file in manifest.files:
                self._paths.setdefault(file.id, []).append((manifest.digest, file.path))
        self._total = sum(file.size for file in self._by_id.values())
        self._done = 0

    def steps(self) -> Iterator[Verified]:
        """Raises StoreError."""
        for file in self._by_id.values():
            yield from self._file(file)
        for manifest in self._manifests:
            for name, version in self._index.releases(manifest.digest):
                differing = self._layout.differing(name, version, manifest, self._is_same)
                if differing:
                    yield Verified(self._done, self._total, tuple((manifest.digest, path) for path in differing))
        yield Verified(self._total, self._total)

    def _file(self, file: ManifestFile) -> Iterator[Verified]:
        if not self._index.is_file_complete(file.id):
            # Known to be damaged, or dropped since: what nobody needs is not looked for.
            self._done += file.size
            if self._index.is_held(file.id, ()):
                yield self._seen(file)
            return
        place = self._files.whole / file.id
        bad: list[int] = []
        is_sized = _size(place) == file.size
        for piece in _pieces(file):
            bad += [offset for chunk, offset in piece if read_chunk(place, offset, chunk) is None]
            self._done += sum(chunk.length for chunk, _ in piece)
            yield Verified(self._done, self._total)
        if (bad or not is_sized) and self._index.is_file_complete(file.id):
            self._files.take_back(file.id, bad)
            yield self._seen(file)

    def _is_same(self, file: ManifestFile, place: Path) -> bool:
        """What is damaged in the store was said already."""
        return not self._index.is_file_complete(file.id) or is_same(self._files, file, place)

    def _seen(self, file: ManifestFile) -> Verified:
        return Verified(self._done, self._total, tuple(self._paths[file.id]))


def _size(place: Path) -> int | None:
    try:
        return place.stat().st_size
    except OSError:
        return None


def _pieces(file: ManifestFile) -> Iterator[list[tuple[Chunk, int]]]:
    """The chunks of a file with their offsets, some megabytes at a time."""
    piece: list[tuple[Chunk, int]] = []
    size = 0
    for chunk, offset in zip(file.chunks, offsets(file.chunks), strict=True):
        piece.append((chunk, offset))
        size += chunk.length
        if size >= PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece

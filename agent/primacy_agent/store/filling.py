"""A content that is being put together: which of its chunks are here, and how those get here that are on this disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from blake3 import blake3

from primacy_agent.store.errors import BadChunk
from primacy_agent.store.files import Files, size_of
from primacy_agent.store.manifest import Chunk, Manifest, ManifestFile, offsets

SHOWN_BYTES = 16 << 20

Spot = tuple[str, int]
"""File id and offset: where a chunk belongs."""


class Filling:
    """`here` is changed on the event loop only, and after the chunks are on the disk."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.here: set[int] = set()
        """Indexes of chunks."""
        self._spots: dict[bytes, list[Spot]] = {}
        """Of each digest, all of them: a chunk that came once is not asked for again."""
        self._indexes: dict[Spot, list[int]] = {}
        """More than one where the same file lies at several paths."""
        index = 0
        for file in manifest.files:
            for chunk, offset in zip(file.chunks, offsets(file.chunks), strict=True):
                spot = file.id, offset
                if spot not in self._indexes:
                    self._spots.setdefault(chunk.digest, []).append(spot)
                self._indexes.setdefault(spot, []).append(index)
                index += 1
        self.count = index

    @property
    def missing(self) -> set[int]:
        """What to ask for: the first of each chunk, for with it the others are here, too."""
        firsts = (self._indexes[spots[0]][0] for spots in self._spots.values())
        return {index for index in firsts if index not in self.here}

    def add(self, spots: Iterable[Spot]) -> None:
        for spot in spots:
            self.here.update(self._indexes.get(spot, ()))

    def lose(self, spots: Iterable[Spot]) -> None:
        for spot in spots:
            self.here.difference_update(self._indexes.get(spot, ()))

    def is_here(self, spot: Spot) -> bool:
        return self._indexes[spot][0] in self.here

    def spots(self, digest: bytes) -> list[Spot]:
        return self._spots[digest]


def fill(filling: Filling, files: Files, on_progress: Callable[[int, int], None]) -> tuple[set[Spot], set[Spot]]:
    """Take what the unfinished files have, and what lies elsewhere in the store: what is here, and what is not.

    What an earlier process wrote is read again before it counts. `on_progress(here, total)` in bytes. Raises StoreFull,
    StoreError.
    """
    manifest = filling.manifest
    here: set[Spot] = set()
    missing: set[Spot] = set()
    done = shown = needed = 0
    seen = set()
    for file in manifest.files:
        spots = [(file.id, offset) for offset in offsets(file.chunks)]
        marks = files.begin(file) if file.id not in seen else None
        if marks is not None:
            files.check_room(file.size - size_of(files.coming / file.id))
        known = files.known(file.chunks) if marks is not None else set()
        for spot, chunk in zip(spots, file.chunks, strict=True):
            if file.id in seen:
                done += chunk.length if spot in here else 0
            elif marks is None or _take(filling, files, file, chunk, spot[1], marks, known):
                here.add(spot)
                done += chunk.length
            else:
                missing.add(spot)
                needed += chunk.length
            if done - shown >= SHOWN_BYTES:
                shown = done
                on_progress(done, manifest.size)
        seen.add(file.id)
    on_progress(done, manifest.size)
    if needed:
        files.check_room(needed)
    return here, missing


def _take(
    filling: Filling, files: Files, file: ManifestFile, chunk: Chunk, offset: int, marks: set[int], known: set[bytes]
) -> bool:
    """Whether the chunk is in its unfinished file now: from before, or from another place on this disk."""
    if offset in marks and (
        filling.is_here((file.id, offset)) or files.read_coming(file.id, offset, chunk) is not None
    ):
        return True
    data = files.read(chunk.digest) if chunk.digest in known else None
    if data is None or len(data) != chunk.length:
        return False
    files.write(file.id, [(chunk, offset, data)])
    return True


def put(filling: Filling, files: Files, chunks: Sequence[tuple[int, bytes | memoryview]]) -> list[Spot]:
    """Keep what came, wherever it belongs. Raises BadChunk for the first that lies, before anything is kept; NotFound
    when the content was dropped meanwhile; StoreFull, StoreError.
    """
    wanted = filling.manifest.chunks
    for index, data in chunks:
        if not 0 <= index < len(wanted) or len(data) != wanted[index].length:
            raise BadChunk(index)
        if blake3(data).digest() != wanted[index].digest:
            raise BadChunk(index)
    rows: dict[str, list[tuple[Chunk, int, bytes | memoryview]]] = {}
    put: list[Spot] = []
    for index, data in chunks:
        chunk = wanted[index]
        for spot in filling.spots(chunk.digest):
            put.append(spot)
            if not filling.is_here(spot):
                rows.setdefault(spot[0], []).append((chunk, spot[1], data))
    for file_id, of_file in rows.items():
        files.write(file_id, of_file)
    return put

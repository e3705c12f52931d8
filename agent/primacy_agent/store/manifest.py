"""What a model is made of: its files, and the chunks of each. The digest of a manifest names the content for good.

Chunks are cut by content (FastCDC: Xia et al., USENIX ATC 2016) and named by their BLAKE3 digest, so that versions that
differ a little share most of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec
from blake3 import blake3

from primacy_agent.store.errors import BadManifest

CHUNK_BYTES_MIN, CHUNK_BYTES_AVERAGE, CHUNK_BYTES_MAX = 16 * 1024, 64 * 1024, 256 * 1024
DIGEST_BYTES = 32
ROW_BYTES = DIGEST_BYTES + 4
FILES_MAX = 100_000
PATH_BYTES_MAX = 1_024
PART_BYTES_MAX = 255
MANIFEST_BYTES_MAX = 256 << 20
FORMAT = 1
CACHED_CHUNKS_MAX = 200_000
"""Some 15 GiB of models, and 30 MB of memory."""


@dataclass(frozen=True, slots=True)
class Chunk:
    digest: bytes
    """BLAKE3, 32 bytes."""
    length: int


@dataclass(frozen=True)
class ManifestFile:
    path: str
    """Relative, parts with `/` between them."""
    size: int
    executable: bool
    chunks: tuple[Chunk, ...]

    @cached_property
    def id(self) -> str:
        """The same for the same content and mode, in hexadecimal."""
        return file_id(self.executable, self.chunks)


@dataclass(frozen=True)
class Manifest:
    """Files sorted by path."""

    files: tuple[ManifestFile, ...]

    @cached_property
    def digest(self) -> str:
        return blake3(self.encode()).hexdigest()

    @cached_property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @cached_property
    def chunks(self) -> tuple[Chunk, ...]:
        """Of all files, in order: their index here is what peers ask by."""
        return tuple(chunk for file in self.files for chunk in file.chunks)

    def encode(self) -> bytes:
        """The same bytes for the same content."""
        files = [[file.path, file.size, file.executable, _rows(file.chunks)] for file in self.files]
        return msgspec.msgpack.encode([FORMAT, files])


def file_id(executable: bool, chunks: Sequence[Chunk]) -> str:
    return blake3((b"x" if executable else b"-") + _rows(chunks)).hexdigest()


def decode_manifest(content: bytes) -> Manifest:
    """Raises BadManifest: what comes from a peer is not trusted with any path or length."""
    try:
        number, rows = msgspec.msgpack.decode(content, type=tuple[int, list[tuple[str, int, bool, bytes]]])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadManifest(f"it is no manifest: {error}") from error
    if number != FORMAT:
        raise BadManifest(f"it has the format {number}, and this version knows {FORMAT}")
    if not 0 < len(rows) <= FILES_MAX:
        raise BadManifest(f"it has {len(rows)} files; from 1 to {FILES_MAX:,} are taken")
    manifest = Manifest(tuple(_file(*row) for row in rows))
    _check_paths([file.path for file in manifest.files])
    lengths: dict[bytes, int] = {}
    if any(lengths.setdefault(chunk.digest, chunk.length) != chunk.length for chunk in manifest.chunks):
        raise BadManifest("a chunk has two lengths")
    if manifest.encode() != content:
        raise BadManifest("it is not written the way manifests are")
    return manifest


def _file(path: str, size: int, executable: bool, rows: bytes) -> ManifestFile:
    if problem := path_problem(path):
        raise BadManifest(f"{path!r} {problem}")
    if len(rows) % ROW_BYTES:
        raise BadManifest(f"the chunks of {path} are cut off")
    chunks = tuple(
        Chunk(rows[at : at + DIGEST_BYTES], int.from_bytes(rows[at + DIGEST_BYTES : at + ROW_BYTES], "big"))
        for at in range(0, len(rows), ROW_BYTES)
    )
    if any(not 0 < chunk.length <= CHUNK_BYTES_MAX for chunk in chunks):
        raise BadManifest(f"a chunk of {path} is empty or longer than {CHUNK_BYTES_MAX} bytes")
    if sum(chunk.length for chunk in chunks) != size:
        raise BadManifest(f"the chunks of {path} are not {size} bytes together")
    return ManifestFile(path, size, executable, chunks)


def path_problem(path: str) -> str:
    """Why no file of a model may be called so; nothing when it may."""
    try:
        raw = path.encode()
    except UnicodeEncodeError:
        return "is no UTF-8 name"
    if not 0 < len(raw) <= PATH_BYTES_MAX:
        return f"must have 1 to {PATH_BYTES_MAX} bytes"
    parts = path.split("/")
    if any(part in ("", ".", "..") or len(part.encode()) > PART_BYTES_MAX for part in parts):
        return "must be a relative path without `.`, `..` and empty parts"
    if any(character < " " or character == "\x7f" for character in path):
        return "has a control character"
    return ""


def _check_paths(paths: list[str]) -> None:
    """Sorted, none twice, and none both a file and a folder."""
    if paths != sorted(paths) or len(set(paths)) != len(paths):
        raise BadManifest("its files are not sorted, or one is there twice")
    known = set(paths)
    for path in paths:
        parts = path.split("/")
        if any("/".join(parts[:count]) in known for count in range(1, len(parts))):
            raise BadManifest(f"{path}: a folder of it is a file, too")


def _rows(chunks: Sequence[Chunk]) -> bytes:
    return b"".join(chunk.digest + chunk.length.to_bytes(4, "big") for chunk in chunks)


def offsets(chunks: Sequence[Chunk]) -> list[int]:
    """Where each chunk begins in its file."""
    found, at = [], 0
    for chunk in chunks:
        found.append(at)
        at += chunk.length
    return found


class ManifestCache:
    """Those used last, up to a bound on their chunks: a store of many models need not have all in memory."""

    def __init__(self, chunks_max: int = CACHED_CHUNKS_MAX) -> None:
        self._chunks_max = chunks_max
        self._kept: dict[str, Manifest] = {}
        self._chunks = 0

    def get(self, digest: str) -> Manifest | None:
        found = self._kept.pop(digest, None)
        if found is not None:
            self._kept[digest] = found
        return found

    def add(self, manifest: Manifest) -> None:
        self.drop(manifest.digest)
        self._kept[manifest.digest] = manifest
        self._chunks += len(manifest.chunks)
        while self._chunks > self._chunks_max and len(self._kept) > 1:
            self.drop(next(iter(self._kept)))

    def drop(self, digest: str) -> None:
        gone = self._kept.pop(digest, None)
        if gone is not None:
            self._chunks -= len(gone.chunks)

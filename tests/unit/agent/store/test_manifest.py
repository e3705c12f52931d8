"""Manifests: one form for one content, and nothing in them that would lead a peer astray."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_agent.store.errors import BadManifest
from primacy_agent.store.manifest import (
    CHUNK_BYTES_MAX,
    Chunk,
    Manifest,
    ManifestCache,
    ManifestFile,
    decode_manifest,
    file_id,
    offsets,
    path_problem,
)

chunks = st.lists(
    st.binary(min_size=32, max_size=32).map(
        lambda digest: Chunk(digest, 1 + int.from_bytes(digest[:4], "big") % CHUNK_BYTES_MAX)
    ),
    max_size=5,
).map(tuple)
parts = st.text("abcXYZ019._- é", min_size=1, max_size=8).filter(lambda part: part not in (".", ".."))
paths = st.lists(parts, min_size=1, max_size=3).map("/".join)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    names = draw(st.sets(paths, min_size=1, max_size=6))
    free = sorted(name for name in names if not any(other.startswith(f"{name}/") for other in names))
    files = []
    for name in free:
        cut = draw(chunks)
        files.append(ManifestFile(name, sum(chunk.length for chunk in cut), draw(st.booleans()), cut))
    return Manifest(tuple(files))


@given(manifests())
def test_what_is_written_is_read(manifest: Manifest) -> None:
    read = decode_manifest(manifest.encode())
    assert read == manifest
    assert (read.digest, read.size, read.chunks) == (manifest.digest, manifest.size, manifest.chunks)


@given(manifests(), st.data())
def test_no_other_bytes_say_the_same(manifest: Manifest, data: st.DataObject) -> None:
    content = bytearray(manifest.encode())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    try:
        read = decode_manifest(bytes(content))
    except BadManifest:
        return
    assert read.encode() == content


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../up", "a/../b", "a//b", "", ".", "a/", "a\nb", "x" * 300, "./a", "a/./b"]
)
def test_no_path_leads_astray(path: str) -> None:
    with pytest.raises(BadManifest, match=r"must|has"):
        decode_manifest(encoded([path, 0, False, b""]))


def encoded(*rows: list[Any]) -> bytes:
    return msgspec.msgpack.encode([1, list(rows)])


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([], "files"),
        ([["b", 0, False, b""], ["a", 0, False, b""]], "sorted"),
        ([["a", 0, False, b""], ["a", 0, False, b""]], "twice"),
        ([["a", 0, False, b""], ["a/b", 0, False, b""]], "a file, too"),
        ([["a", 5, False, b""]], "not 5 bytes"),
        ([["a", 5, False, b"x" * 35]], "cut off"),
        ([["a", 0, False, b"x" * 32 + bytes(4)]], "empty or longer"),
        ([["a", 3, False, b"x" * 32 + b"\0\0\0\1" + b"x" * 32 + b"\0\0\0\2"]], "two lengths"),
        ([["a", CHUNK_BYTES_MAX + 1, False, b"x" * 32 + (CHUNK_BYTES_MAX + 1).to_bytes(4, "big")]], "empty or longer"),
    ],
)
def test_what_cannot_be_is_refused(rows: list[list[Any]], why: str) -> None:
    with pytest.raises(BadManifest, match=why):
        decode_manifest(encoded(*rows))


def test_formats_of_other_versions_are_refused() -> None:
    with pytest.raises(BadManifest, match="format 2"):
        decode_manifest(msgspec.msgpack.encode([2, [["a", 0, False, b""]]]))
    with pytest.raises(BadManifest, match="no manifest"):
        decode_manifest(b"salt")


def test_the_mode_is_part_of_the_content() -> None:
    cut = (Chunk(b"x" * 32, 3),)
    assert file_id(True, cut) != file_id(False, cut)
    assert offsets((*cut, *cut)) == [0, 3]


def test_a_manifest_of_nothing_is_refused() -> None:
    with pytest.raises(BadManifest, match="0 files"):
        decode_manifest(Manifest(()).encode())


@given(st.binary(max_size=200))
def test_bytes_are_one_manifest_or_none(content: bytes) -> None:
    try:
        manifest = decode_manifest(content)
    except BadManifest:
        return
    assert manifest.encode() == content


@given(st.text(max_size=30))
def test_a_path_that_is_taken_stays_inside(path: str) -> None:
    if not path_problem(path):
        assert os.path.normpath(os.path.join("/inside", path)) == f"/inside/{path}"
        decode_manifest(encoded([path, 0, False, b""]))


def test_the_last_manifests_are_at_hand_within_a_bound() -> None:
    cut = tuple(Chunk(bytes([number]) * 32, 1) for number in range(4))
    made = [Manifest((ManifestFile(str(number), 4, False, cut),)) for number in range(4)]
    cache = ManifestCache(chunks_max=8)
    for manifest in made[:2]:
        cache.add(manifest)
    assert cache.get(made[0].digest) is made[0]
    cache.add(made[2])
    assert [cache.get(manifest.digest) is not None for manifest in made] == [True, False, True, False]
    cache.drop(made[0].digest)
    cache.add(made[3])
    assert [cache.get(manifest.digest) is not None for manifest in made] == [False, False, True, True]

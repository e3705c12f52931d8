"""`FetchChunksResponse` read and written by hand: the generated code copies every byte several times.

The bytes are those of the message in `peer_service.proto`: any other reader of it gets the same, and whatever another
writer of it may send is read, fields of a later version included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_DATA, _FIRST, _LENGTHS = 1, 2, 3
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Kinds of fields on the wire."""


class BadFrame(ValueError):
    """The bytes are no such message."""


@dataclass(frozen=True, slots=True)
class Frame:
    data: bytes | memoryview
    first: int
    """Which of the digests that were asked for the first chunk is."""
    lengths: tuple[int, ...]

    def chunks(self) -> list[tuple[int, memoryview]]:
        """(index into what was asked for, bytes). Raises BadFrame."""
        if not self.lengths or sum(self.lengths) != len(self.data) or min(self.lengths) < 1:
            raise BadFrame("the lengths of its chunks are not those of its bytes")
        view, at = memoryview(self.data), 0
        found = []
        for number, length in enumerate(self.lengths):
            found.append((self.first + number, view[at : at + length]))
            at += length
        return found


def encode(first: int, chunks: Sequence[bytes | memoryview]) -> bytes:
    """The frame of consecutive chunks."""
    lengths = b"".join(_varint(len(chunk)) for chunk in chunks)
    size = sum(len(chunk) for chunk in chunks)
    head = _tag(_DATA, _BYTES) + _varint(size)
    tail = _tag(_FIRST, _VARINT) + _varint(first) + _tag(_LENGTHS, _BYTES) + _varint(len(lengths)) + lengths
    return b"".join((head, *chunks, tail))


def decode(raw: bytes) -> Frame:
    """Its data are a view of `raw`. Raises BadFrame."""
    view = memoryview(raw)
    data = memoryview(b"")
    first, at = 0, 0
    lengths: list[int] = []
    while at < len(raw):
        tag, at = _read(raw, at)
        field, kind = tag >> 3, tag & 7
        begin, end = _extent(raw, at, kind)
        if field == _DATA and kind == _BYTES:
            data = view[begin:end]
        elif field == _FIRST and kind == _VARINT:
            first = _read(raw, at)[0]
        elif field == _LENGTHS and kind in (_BYTES, _VARINT):
            while begin < end:
                length, begin = _read(raw, begin)
                lengths.append(length)
            if begin != end:
                raise BadFrame("a number in it is cut off")
        at = end
    return Frame(data, first, tuple(lengths))


def _extent(raw: bytes, at: int, kind: int) -> tuple[int, int]:
    """Where the value of a field begins and ends. Raises BadFrame."""
    if kind == _VARINT:
        begin, end = at, _read(raw, at)[1]
    elif kind == _BYTES:
        size, begin = _read(raw, at)
        end = begin + size
    elif kind in (_FIXED32, _FIXED64):
        begin, end = at, at + (4 if kind == _FIXED32 else 8)
    else:
        raise BadFrame(f"it has a field of the unknown kind {kind}")
    if end > len(raw):
        raise BadFrame("it is cut off")
    return begin, end


def _tag(field: int, kind: int) -> bytes:
    return bytes((field << 3 | kind,))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read(raw: bytes, at: int) -> tuple[int, int]:
    """(the number at `at`, what is behind it). Raises BadFrame."""
    value = shift = 0
    while at < len(raw) and shift < 64:
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise BadFrame("a number in it is cut off")

"""`FetchChunksResponse` read and written by hand: the generated code copies every byte several times.

The bytes are those of the message in `peer_service.proto`; any other reader of it gets the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_DATA, _FIRST, _LENGTHS = 0x0A, 0x10, 0x1A
"""Tags: field 1, 2 and 3 (packed)."""


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
        if sum(self.lengths) != len(self.data) or min(self.lengths, default=1) < 1:
            raise BadFrame("the lengths of its chunks are not those of its bytes")
        view, at = memoryview(self.data), 0
        found = []
        for number, length in enumerate(self.lengths):
            found.append((self.first + number, view[at : at + length]))
            at += length
        return found


def encode(first: int, chunks: Sequence[bytes]) -> bytes:
    """The frame of consecutive chunks."""
    lengths = b"".join(_varint(len(chunk)) for chunk in chunks)
    size = sum(len(chunk) for chunk in chunks)
    head = bytes((_DATA,)) + _varint(size)
    tail = bytes((_FIRST,)) + _varint(first) + bytes((_LENGTHS,)) + _varint(len(lengths)) + lengths
    return b"".join((head, *chunks, tail))


def decode(raw: bytes) -> Frame:
    """Raises BadFrame."""
    view = memoryview(raw)
    data: memoryview = memoryview(b"")
    first, lengths, at = 0, [], 0
    while at < len(raw):
        tag, at = _read(raw, at)
        if tag in (_DATA, _LENGTHS):
            size, at = _read(raw, at)
            if at + size > len(raw):
                raise BadFrame("it is cut off")
            if tag == _DATA:
                data = view[at : at + size]
            else:
                end, inner = at + size, at
                while inner < end:
                    length, inner = _read(raw, inner)
                    lengths.append(length)
            at += size
        elif tag == _FIRST:
            first, at = _read(raw, at)
        else:
            raise BadFrame(f"it has the unknown tag {tag}")
    return Frame(data, first, tuple(lengths))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(raw) and shift < 64:
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise BadFrame("a number in it is cut off")

"""What peers fetch and announce: runs of chunks of about a megabyte, cut the same way by everybody."""

from __future__ import annotations

from collections.abc import Sequence

PIECE_BYTES_MIN, PIECE_BYTES_MAX = 64 * 1024, 1 << 20
PIECES = 256
"""A small content is cut into about so many, so that several peers have something to do at its end."""
PIECE_CHUNKS_MAX = 256
"""Many small files have many small chunks, and a request names each of them."""


def cut_pieces(lengths: Sequence[int]) -> list[range]:
    """Index ranges of chunks, each of about the same size. `lengths`: of all chunks, in bytes."""
    wanted = min(max(sum(lengths) // PIECES, PIECE_BYTES_MIN), PIECE_BYTES_MAX)
    found: list[range] = []
    begin = size = 0
    for index, length in enumerate(lengths):
        if size and (size + length > wanted or index - begin >= PIECE_CHUNKS_MAX):
            found.append(range(begin, index))
            begin, size = index, 0
        size += length
    if lengths:
        found.append(range(begin, len(lengths)))
    return found

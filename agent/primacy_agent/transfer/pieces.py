"""What peers fetch and announce: runs of chunks of about a megabyte, cut the same way by everybody."""

from __future__ import annotations

from collections.abc import Sequence

PIECE_BYTES_MIN, PIECE_BYTES_MAX = 64 * 1024, 1 << 20
PIECES = 256
"""A small content is cut into about so many, so that several peers have something to do at its end."""
GOLDEN = 0.6180339887498949


def cut_pieces(lengths: Sequence[int]) -> list[range]:
    """Index ranges of chunks, each of about the same size. `lengths`: of all chunks, in bytes."""
    wanted = min(max(sum(lengths) // PIECES, PIECE_BYTES_MIN), PIECE_BYTES_MAX)
    found: list[range] = []
    begin = size = 0
    for index, length in enumerate(lengths):
        if size and size + length > wanted:
            found.append(range(begin, index))
            begin, size = index, 0
        size += length
    if lengths:
        found.append(range(begin, len(lengths)))
    return found


def share_out(count: int, shares: Sequence[tuple[str, int]]) -> list[str]:
    """The owner of each of `count` pieces, in proportion to (agent, weight); a weight of 0 is not known, and counts as
    the mean of those that are. The same everywhere, and every owner's pieces are spread evenly over the content.

    Golden ratio sequence: its points fill the unit interval evenly at every length.
    """
    known = [weight for _, weight in shares if weight > 0]
    mean = sum(known) / len(known) if known else 1.0
    ends: list[tuple[float, str]] = []
    end = 0.0
    for agent, weight in sorted(shares):
        end += weight if weight > 0 else mean
        ends.append((end, agent))
    return [_owner(ends, (number + 0.5) * GOLDEN % 1.0 * end) for number in range(count)] if ends else [""] * count


def _owner(ends: Sequence[tuple[float, str]], at: float) -> str:
    return next((agent for end, agent in ends if at < end), ends[-1][1])

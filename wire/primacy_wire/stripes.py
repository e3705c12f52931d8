"""Who of several agents takes which pieces of a content from its holders: by weight, and the same everywhere.

The pieces of each owner lie spread evenly over the content, and the share of each is met within a piece or two at any
length: the places are multiples of the golden ratio (Fibonacci hashing: Knuth, The Art of Computer Programming 3, 6.4).
Whole numbers only, so that no two machines round differently.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

GOLDEN = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio."""
SMALLEST_SHARE = 64
"""Nobody weighs less than this part of the mean: what was measured while little was sent says little."""


def share_out(pieces: Iterable[int], shares: Sequence[tuple[str, int]]) -> dict[int, str]:
    """The owner of each piece. `shares`: (agent, weight); a weight below 1 is not known, and counts as the mean of
    those that are. Nobody there: nobody owns anything.
    """
    agents = sorted(shares)
    if not agents:
        return {}
    known = [weight for _, weight in agents if weight > 0]
    mean = max(1, sum(known) // len(known)) if known else 1
    least = max(1, mean // SMALLEST_SHARE)
    ends = list(accumulate(max(weight, least) if weight > 0 else mean for _, weight in agents))
    return {piece: agents[bisect_right(ends, _place(piece) * ends[-1] >> 64)][0] for piece in pieces}


def share_out_again(pieces: Iterable[int], shares: Sequence[tuple[str, int]], away: Iterable[str]) -> dict[int, str]:
    """The same while some bring nothing: what they own is shared out among the others, who keep what is theirs."""
    gone = set(away)
    owners = share_out(pieces, shares)
    orphans = [piece for piece, agent in owners.items() if agent in gone]
    # Orphans are numbered anew: by their own numbers they would all fall to few of the others.
    others = share_out(range(len(orphans)), [share for share in shares if share[0] not in gone])
    return owners | {piece: others[number] for number, piece in enumerate(orphans) if number in others}


def _place(piece: int) -> int:
    """0 to 2**64 - 1."""
    return (piece + 1) * GOLDEN & 0xFFFFFFFFFFFFFFFF

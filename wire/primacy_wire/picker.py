"""From a row of weights to one region: at random by share, or always the same one for a key.

Pure: randomness comes in as a number. Agents use it for their picks, the coordinator for `Route`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from hashlib import blake2b as _blake2b
from itertools import accumulate
from math import log as _log

_BITS = 2**64 - 1
_UNIT = 2.0**-52
_HALF = 2.0**-53
"""Half a unit above 0: the logarithm is of no use at 0 and at 1. With 52 bits and a half nothing rounds up to 1."""
_SHARE_MIN = 1e-300
"""Smaller ones have no reciprocal."""

Row = Iterable[tuple[str, float]]
"""(region, share)."""


class Picker:
    """One row, made ready for many picks. Immutable."""

    __slots__ = ("_bounds", "_names", "_scales", "_shares")

    def __init__(self, row: Row) -> None:
        positive = [(name, share) for name, share in row if share > 0]
        self._names = tuple(name for name, _ in positive)
        self._shares = tuple(share for _, share in positive)
        self._bounds = tuple(accumulate(self._shares))
        self._scales = tuple(sorted((name, _digest(name), 1 / max(share, _SHARE_MIN)) for name, share in positive))
        """(name, its digest, how much its logarithms weigh), in an order that no row changes."""

    def __bool__(self) -> bool:
        """Whether there is anybody to pick."""
        return bool(self._names)

    def pick(self, unit: float) -> str:
        """The region at `unit` of the way through the row, 0 <= unit < 1; about a microsecond.

        Raises LookupError when every share is 0.
        """
        if not self._names:
            raise LookupError("every share of the row is 0")
        place = bisect_right(self._bounds, unit * self._bounds[-1])
        return self._names[min(place, len(self._names) - 1)]

    def pick_affine(self, key: str) -> str:
        """The region of a key: by shares over many keys, and when shares change only as many keys move as must.

        Weighted rendezvous hashing by the logarithmic method: J. Resch, "New Hashing Algorithms for Data Storage"
        (SNIA SDC 2015): each region draws a number from the key, its logarithm is divided by the region's share, and
        the highest wins. Half a microsecond for each region, and one for the key. Raises LookupError when every share
        is 0.
        """
        if not self._names:
            raise LookupError("every share of the row is 0")
        digest = _digest(key)
        best, chosen = -math.inf, self._scales[0][0]
        for name, seed, scale in self._scales:
            # The finalizer of SplitMix64: every bit of key and name reaches every bit of the number.
            mixed = digest ^ seed
            mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _BITS
            mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _BITS
            score = _log(((mixed ^ (mixed >> 31)) >> 12) * _UNIT + _HALF) * scale
            if score > best:
                best, chosen = score, name
        return chosen

    def alternatives(self, chosen: str) -> tuple[str, ...]:
        """The other regions with a share, the largest first."""
        others = sorted(zip(self._shares, self._names, strict=True), key=lambda entry: (-entry[0], entry[1]))
        return tuple(name for _, name in others if name != chosen)


def _digest(text: str) -> int:
    # A key is whatever bytes a client sent: what is no valid text must not fail the pick.
    return int.from_bytes(_blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())

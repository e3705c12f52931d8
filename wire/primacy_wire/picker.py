"""From a row of weights to one region: at random by share, or always the same one for a key.

Pure: randomness comes in as a number. Agents use it for their picks, the coordinator for `Route`.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate

Row = Iterable[tuple[str, float]]
"""(region, share)."""


class Picker:
    """One row, made ready for many picks. Immutable."""

    __slots__ = ("_bounds", "_names", "_shares")

    def __init__(self, row: Row) -> None:
        positive = [(name, share) for name, share in row if share > 0]
        self._names = tuple(name for name, _ in positive)
        self._shares = tuple(share for _, share in positive)
        self._bounds = tuple(accumulate(self._shares))

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
        (SNIA SDC 2015). O(regions), about a microsecond for each. Raises LookupError when every share is 0.
        """
        if not self._names:
            raise LookupError("every share of the row is 0")
        return max(zip(self._names, self._shares, strict=True), key=lambda entry: _score(key, *entry))[0]

    def alternatives(self, chosen: str) -> tuple[str, ...]:
        """The other regions with a share, the largest first."""
        others = sorted(zip(self._shares, self._names, strict=True), key=lambda entry: (-entry[0], entry[1]))
        return tuple(name for _, name in others if name != chosen)


def _score(key: str, name: str, share: float) -> tuple[float, str]:
    # A key is whatever bytes a client sent: what is no valid text must not fail the pick.
    text = f"{len(key)}:{key}{name}".encode("utf-8", "surrogatepass")
    return -share / math.log(open_unit(hashlib.blake2b(text, digest_size=8).digest())), name


def open_unit(digest: bytes) -> float:
    """Eight bytes as a number above 0 and below 1, the two places where the logarithm is of no use.

    52 bits and a half are exact in a float, so nothing rounds up to 1.
    """
    return ((int.from_bytes(digest) >> 12) + 0.5) / 2**52

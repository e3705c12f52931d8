"""Counts lengths of time into fixed buckets, in the form in which Prometheus wants them."""

from __future__ import annotations

from bisect import bisect_left

from primacy_wire.instant import MILLISECOND_NS, SECOND_NS

BOUNDS_NS = tuple(int(ms * MILLISECOND_NS) for ms in (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 1000, 5000))


class Latency:
    """A histogram of one thing's latency."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_NS) + 1)
        self.sum_ns = 0

    def observe(self, length_ns: int) -> None:
        self._counts[bisect_left(BOUNDS_NS, length_ns)] += 1
        self.sum_ns += length_ns

    @property
    def count(self) -> int:
        return sum(self._counts)

    def buckets(self) -> list[tuple[str, int]]:
        """(upper bound in seconds or `+Inf`, how many were not longer), as Prometheus counts them."""
        names = [repr(bound / SECOND_NS) for bound in BOUNDS_NS] + ["+Inf"]
        total, cumulated = 0, []
        for name, count in zip(names, self._counts, strict=True):
            total += count
            cumulated.append((name, total))
        return cumulated

"""Virtual time: what happens next, and when."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Timeline:
    """Work in the order of its instants; what falls on one instant comes in the order in which it was put there."""

    def __init__(self) -> None:
        self.time_ns = 0
        self._heap: list[tuple[int, int, object, str, Callable[..., None], tuple[object, ...]]] = []
        self._order = 0

    def at(self, time_ns: int, owner: object, who: str, work: Callable[..., None], *values: object) -> None:
        """`owner` and `who` name the work for `forget`."""
        self._order += 1
        heapq.heappush(self._heap, (max(time_ns, self.time_ns), self._order, owner, who, work, values))

    def run_for(self, length_ns: int) -> None:
        end_ns = self.time_ns + length_ns
        while self._heap and self._heap[0][0] <= end_ns:
            self.time_ns, _, _, _, work, values = heapq.heappop(self._heap)
            work(*values)
        self.time_ns = end_ns

    def forget(self, owner: object, who: str) -> None:
        """Drop what `who` of `owner` still had to do."""
        self._heap = [entry for entry in self._heap if entry[2] is not owner or entry[3] != who]
        heapq.heapify(self._heap)

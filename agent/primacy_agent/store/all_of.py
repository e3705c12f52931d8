"""The set {0, ..., n - 1}, without its elements in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet


class AllOf(AbstractSet[int]):
    """Equal to the plain set of the same numbers."""

    def __init__(self, count: int) -> None:
        self._range = range(count)

    @classmethod
    def _from_iterable(cls, numbers: Iterable[int]) -> AbstractSet[int]:  # type: ignore[override]
        return frozenset(numbers)

    def __contains__(self, number: object) -> bool:
        return number in self._range

    def __iter__(self) -> Iterator[int]:
        return iter(self._range)

    def __len__(self) -> int:
        return len(self._range)

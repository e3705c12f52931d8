"""The brake over groups: how many of one coordinator's groups may fail over at once.

Groups that fail for one reason would otherwise all move at the same time. First come, first let through; what is let
through ends by itself, for every move of a group ends.
"""

from __future__ import annotations

from collections.abc import Callable


class Brake:
    """Permits, at most `limit` at once; 0: no limit. `let` of a waiter is called as soon as there is one for it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._moving: set[str] = set()
        self._waiting: dict[str, Callable[[], None]] = {}
        """First come, first served: dicts keep their order."""

    @property
    def moving(self) -> int:
        return len(self._moving)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def ask(self, group: str, let: Callable[[], None]) -> None:
        """Wait for a permit; one that the group still holds is taken back first."""
        self._moving.discard(group)
        self._waiting[group] = let
        self._serve()

    def give_back(self, group: str) -> None:
        """The group's permit, or its place in the line, is free again."""
        self._waiting.pop(group, None)
        self._moving.discard(group)
        self._serve()

    def _serve(self) -> None:
        while self._waiting and (not self.limit or len(self._moving) < self.limit):
            group = next(iter(self._waiting))
            let = self._waiting.pop(group)
            self._moving.add(group)
            let()

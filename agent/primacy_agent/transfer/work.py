"""Which piece of a content is asked of whom next. Plain bookkeeping: no I/O, no clock.

A piece is open while it has not come and nobody is asked for it. Queues may hold pieces that are not open any more:
they are passed over when they are met, so that every choice is cheap however many pieces there are.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Collection, Iterable, Mapping

from primacy_agent.transfer.sources import Source


class Work:
    """What is left to be brought here."""

    def __init__(self, key: str, todo: Iterable[int], draw: random.Random) -> None:
        """`key`: the agent that fetches."""
        self.todo = set(todo)
        """Pieces that have not come."""
        self._key = key
        self._draw = draw
        self._asked: dict[int, int] = {}
        """piece -> how many are asked for it."""
        self._owners: Mapping[int, str] = {}
        self._mine: deque[int] = deque()
        """Pieces that a holder may be asked for."""
        self._rest: deque[int] = deque()
        """Pieces that others own, or have by now."""

    def own(self, owners: Mapping[int, str]) -> None:
        """Who asks holders for which piece."""
        self._owners = owners
        self._mine.clear()
        self._rest.clear()
        for piece in sorted(self.todo):
            if self.is_open(piece):
                self._queue_of(piece).append(piece)

    def owner(self, piece: int) -> str:
        return self._owners[piece]

    def _queue_of(self, piece: int) -> deque[int]:
        return self._mine if self._owners[piece] == self._key else self._rest

    def is_open(self, piece: int) -> bool:
        return piece in self.todo and piece not in self._asked

    # ---- what happens

    def heard(self, source: Source, pieces: Collection[int], complete: bool) -> None:
        """A source that fetches it, too, says what it has got."""
        news = [piece for piece in pieces if piece in self.todo and piece not in source.has]
        source.has.update(news)
        source.lacks.difference_update(pieces)
        source.offers += [piece for piece in news if self.is_open(piece)]
        if complete:
            source.complete = True
            source.lacks.clear()

    def asked(self, piece: int) -> None:
        self._asked[piece] = self._asked.get(piece, 0) + 1

    def came(self, piece: int) -> None:
        self.todo.discard(piece)

    def returned(self, piece: int, sources: Iterable[Source]) -> None:
        """One that was asked for it is not asked any more; if it has not come, others may be."""
        left = self._asked.get(piece, 0) - 1
        if left > 0:
            self._asked[piece] = left
            return
        self._asked.pop(piece, None)
        if piece in self.todo:
            self._queue_of(piece).appendleft(piece)
            for source in sources:
                if piece in source.has:
                    source.offers.append(piece)

    # ---- what is next

    def next_for(self, source: Source, peers: Collection[Source], anything: bool) -> int | None:
        """An open piece that the source has. `peers`: those that are no holders; `anything`: holders may be asked for
        what others own, or have.
        """
        if not source.complete:
            return self._offered(source)
        if not source.holder:
            found = self._first(self._rest, source)
            return found if found is not None else self._first(self._mine, source)
        found = self._first(self._mine, source, () if anything else peers)
        return self._first(self._rest, source) if found is None and anything else found

    def _offered(self, source: Source) -> int | None:
        """At random, so that those who fetch have different ones to give each other."""
        offers = source.offers
        while offers:
            at = self._draw.randrange(len(offers))
            offers[at], offers[-1] = offers[-1], offers[at]
            piece = offers.pop()
            if self.is_open(piece) and piece not in source.lacks:
                return piece
        return None

    def _first(self, queue: deque[int], source: Source, peers: Collection[Source] = ()) -> int | None:
        """The first that the source has. What one of `peers` has by now is left to it."""
        passed: list[int] = []
        found = None
        while queue and found is None:
            piece = queue.popleft()
            if not self.is_open(piece):
                continue
            if piece in source.lacks:
                passed.append(piece)
            elif any(peer.gives(piece) for peer in peers):
                self._rest.append(piece)
            else:
                found = piece
        queue.extendleft(reversed(passed))
        return found

    def may_take_over(self, source: Source, piece: int, anything: bool) -> bool:
        """Whether a source may be asked for what another one is quiet about."""
        allowed = not source.holder or anything or self._owners[piece] == self._key
        return allowed and piece in self.todo and self._asked.get(piece, 0) < 2 and source.gives(piece)

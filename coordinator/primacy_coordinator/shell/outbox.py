"""The order in which effects leave: what follows a `Persist` waits until that batch is on disk (I7).

Only an answer to a report overtakes, for the machine puts nothing into an answer that is not durable already.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from primacy_wire.messages import Answer

from primacy_coordinator.core.effects import Effect, Persist, Send


class Outbox:
    """Effects of one machine on their way out. `submit` and `perform` must not call back into the outbox."""

    def __init__(self, submit: Callable[[Persist], None], perform: Callable[[Effect], None]) -> None:
        self._submit = submit
        self._perform = perform
        self._entries: deque[Effect] = deque()
        """Begins with the oldest batch not on disk, when not empty."""
        self.submitted = 0
        """The newest batch that was handed to the store."""
        self.durable = 0
        """The newest batch on disk."""

    def push(self, effects: tuple[Effect, ...]) -> None:
        """Performs what may leave now and queues the rest."""
        for effect in effects:
            if type(effect) is Persist:
                self.submitted = effect.batch
                self._entries.append(effect)
                self._submit(effect)
            elif not self._entries or (type(effect) is Send and type(effect.message) is Answer):
                self._perform(effect)
            else:
                self._entries.append(effect)

    def settle(self, batch: int) -> None:
        """The batch is on disk: performs what waited for it alone. Batches settle in order."""
        head = self._entries.popleft()
        assert isinstance(head, Persist), f"batch {batch} settled, but the oldest that waits is {head}"
        assert head.batch == batch, f"batch {batch} settled before {head.batch}"
        self.durable = batch
        while self._entries and type(self._entries[0]) is not Persist:
            self._perform(self._entries.popleft())

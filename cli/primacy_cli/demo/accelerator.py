"""The scarce part of an inference service: a few slots, each busy for a while with every prediction.

More requests than the slots can take wait in line, so load raises latency and utilisation as it does for real.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PREDICTION_S = 0.020
"""How long one prediction holds a slot."""
WAITING_S_MAX = 2.0
"""A line longer than this is refused: the caller should go elsewhere."""
_MEMORY_S = 1.0
"""Time constant of the average."""


class Overloaded(Exception):
    """The line is too long."""


class Accelerator:
    """Serves `capacity` predictions per second. Belongs to one event loop."""

    def __init__(self, capacity: float) -> None:
        self.slots = max(1, round(capacity * PREDICTION_S))
        self.prediction_s = self.slots / capacity
        self.capacity = capacity
        self._free = asyncio.Semaphore(self.slots)
        self._inside = 0
        self._average = 0.0
        self._at = time.monotonic()

    @property
    def utilisation(self) -> float:
        """Mean of those at work and in line over the slots, over about a second; above 1 there is a line."""
        self._advance()
        return self._average / self.slots

    @property
    def in_flight(self) -> int:
        """Predictions at work and in line."""
        return self._inside

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot, then hold it for one prediction. Raises Overloaded."""
        if (self._inside + 1) / self.capacity > WAITING_S_MAX + self.prediction_s:
            raise Overloaded
        self._advance()
        self._inside += 1
        try:
            async with self._free:
                await asyncio.sleep(self.prediction_s)
                yield
        finally:
            self._advance()
            self._inside -= 1

    def _advance(self) -> None:
        """Let the average follow what was inside since the last look."""
        now = time.monotonic()
        kept = math.exp((self._at - now) / _MEMORY_S)
        self._average = kept * self._average + (1 - kept) * self._inside
        self._at = now

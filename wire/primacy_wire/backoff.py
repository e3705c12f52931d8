"""How long to wait before trying again."""

from __future__ import annotations

import random


class Backoff:
    """Exponential backoff with full jitter: each delay is drawn from 0 to a ceiling that doubles up to `most_ns`.

    Full jitter spreads many clients that lost the same server at the same instant.
    """

    def __init__(self, draw: random.Random, first_ns: int, most_ns: int) -> None:
        if not 0 < first_ns <= most_ns:
            raise ValueError(f"backoff needs 0 < first <= most, got {first_ns} and {most_ns}")
        self._draw = draw
        self._first_ns = first_ns
        self._most_ns = most_ns
        self._ceiling_ns = first_ns

    def next_ns(self) -> int:
        """The next delay in nanoseconds; the ceiling doubles."""
        delay_ns = self._draw.randint(0, self._ceiling_ns)
        self._ceiling_ns = min(self._ceiling_ns * 2, self._most_ns)
        return delay_ns

    def reset(self) -> None:
        """It worked: the next delay is short again."""
        self._ceiling_ns = self._first_ns

"""How fast bytes may come, and how fast they go."""

from __future__ import annotations

import asyncio
import time
from collections import deque

BURST_S = 0.25
"""So long at full speed is allowed at once after a pause."""


class Limiter:
    """A token bucket for everything that this agent fetches, or for everything that it sends. 0: no limit.

    What is fetched is paid for when it has come: who has not paid reads nothing more, and what is on its way fills
    HTTP/2's windows. What is sent is paid for before.
    """

    def __init__(self, bytes_per_s: int) -> None:
        self._rate = bytes_per_s
        self._free_at = 0.0

    async def spend(self, count: int) -> None:
        """Wait until so many bytes more may pass. Callers are served in the order in which they ask."""
        if not self._rate:
            return
        now = time.monotonic()
        self._free_at = max(self._free_at, now - BURST_S) + count / self._rate
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)


class Meter:
    """Bytes per second over the last seconds."""

    def __init__(self, window_s: float = 5.0) -> None:
        self._window_s = window_s
        self._seen: deque[tuple[float, int]] = deque()
        self._total = 0
        self.bytes_ever = 0

    def add(self, count: int) -> None:
        now = time.monotonic()
        self._seen.append((now, count))
        self._total += count
        self.bytes_ever += count
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._seen and self._seen[0][0] < now - self._window_s:
            self._total -= self._seen.popleft()[1]

    @property
    def rate(self) -> int:
        now = time.monotonic()
        self._forget(now)
        if not self._seen:
            return 0
        return int(self._total / max(now - self._seen[0][0], 0.1))


class Uplink:
    """What this agent could send lately: bytes over the time in which at least one transfer was being sent.

    Weakness: a receiver that reads slowly makes it look slow. So the best of late counts, and fades as others follow.
    """

    WINDOW_BYTES = 8 << 20
    FADES = 0.9

    def __init__(self) -> None:
        self._sending = 0
        self._began = 0.0
        self._busy_s = 0.0
        self._bytes = 0
        self.rate = 0
        """Bytes per second; 0: not measured."""

    def begin(self) -> None:
        if not self._sending:
            self._began = time.monotonic()
        self._sending += 1

    def sent(self, count: int) -> None:
        """Between `begin` and `end`."""
        self._bytes += count
        if self._bytes >= self.WINDOW_BYTES:
            now = time.monotonic()
            self._busy_s += now - self._began
            self._began = now
            measured = self._bytes / max(self._busy_s, 1e-6)
            self.rate = int(max(measured, self.FADES * self.rate))
            self._bytes, self._busy_s = 0, 0.0

    def end(self) -> None:
        self._sending -= 1
        if not self._sending:
            self._busy_s += time.monotonic() - self._began

"""Notices that this process stood still, before anything is concluded from the silence (a beat that comes late).

The beat compares CLOCK_BOOTTIME with what was due, so it sees a stopped process, a loop that was blocked, and a machine
that slept. After a stall the agents' reports lie unread in sockets: `Stalls` says so to every group at once, and holds
their `TimePassed` until the loop has gone quiet, that is until what had arrived is handled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from primacy_wire.clock import read_now
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS, Now

logger = logging.getLogger(__name__)

BEAT_NS = 100 * MILLISECOND_NS
STALL_NS_MIN = 250 * MILLISECOND_NS
"""How late a beat must be to count as a stall: well under the silence that makes the fastest region suspect."""
QUIET_LOOK_NS = 20 * MILLISECOND_NS
QUIET_LOOKS = 3
"""So many looks in a row without a message mean that what had arrived is handled."""
QUIET_NS_MAX = 500 * MILLISECOND_NS
"""How long deadlines are held at most: agents that go on reporting must not hold them for ever."""


class Stallable(Protocol):
    """A group's runner, as seen from here."""

    heard_count: int
    """Messages from agents so far."""

    def stalled(self, length_ns: int) -> None:
        """Tells the machine, and holds `TimePassed` until `resume`."""

    def resume(self) -> None:
        """Lets time pass again."""


class Stalls:
    """One per process. `runners` gives every group's runner."""

    def __init__(self, runners: Callable[[], Iterable[Stallable]]) -> None:
        self._runners = runners
        self._overdue_ns = 0
        self._timer: asyncio.TimerHandle | None = None
        self._wait: asyncio.Task[None] | None = None
        self.count = 0
        self.longest_ns = 0

    def start(self) -> None:
        self._beat()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._wait is not None:
            self._wait.cancel()

    def notice(self, now: Now) -> None:
        """Must be asked before any event is handled: the first to come after a stall finds it."""
        if now.mono_ns <= self._overdue_ns or not self._overdue_ns:
            return
        length_ns = now.mono_ns - self._overdue_ns + STALL_NS_MIN
        self._overdue_ns = now.mono_ns + BEAT_NS + STALL_NS_MIN
        self.count += 1
        self.longest_ns = max(self.longest_ns, length_ns)
        logger.warning("this process stood still", extra={"seconds": length_ns / SECOND_NS})
        for runner in self._runners():
            runner.stalled(length_ns)
        if self._wait is None or self._wait.done():
            self._wait = asyncio.get_running_loop().create_task(self._until_quiet())

    def _beat(self) -> None:
        now = read_now()
        self.notice(now)
        self._overdue_ns = now.mono_ns + BEAT_NS + STALL_NS_MIN
        self._timer = asyncio.get_running_loop().call_later(BEAT_NS / SECOND_NS, self._beat)

    async def _until_quiet(self) -> None:
        began_ns = read_now().mono_ns
        heard, quiet = self._heard(), 0
        while quiet < QUIET_LOOKS and read_now().mono_ns - began_ns < QUIET_NS_MAX:
            await asyncio.sleep(QUIET_LOOK_NS / SECOND_NS)
            before, heard = heard, self._heard()
            quiet = quiet + 1 if heard == before else 0
        for runner in self._runners():
            runner.resume()

    def _heard(self) -> int:
        return sum(runner.heard_count for runner in self._runners())

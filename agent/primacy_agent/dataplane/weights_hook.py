"""A program that is run when the weights file has changed: to reload what reads it.

It never runs twice at a time, nor more often than an interval allows; what changes meanwhile is handed on by the next
run. A run that fails is repeated, at growing distance, until one succeeds: a proxy that was not reloaded has old
weights.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from primacy_wire.backoff import Backoff
from primacy_wire.clock import read_now
from primacy_wire.instant import SECOND_NS

from primacy_agent.core.traffic import Traffic
from primacy_agent.dataplane.outputs import Figure, Tell
from primacy_agent.leftover import Leftover
from primacy_agent.programs import Ended, How, NotStarted, run
from primacy_agent.tasks import Tasks

logger = logging.getLogger(__name__)

NOTE_FILE = "weights-hook.json"
AGAIN_FIRST_NS, AGAIN_MOST_NS = 2 * SECOND_NS, 60 * SECOND_NS
"""After a failed run; weights that changed are tried as soon as the interval allows."""
SAID_CHARACTERS_MAX = 300
"""Of the last line that a failed run printed."""


class WeightsHook:
    """Output `hook`. It takes weights from `file_written`, when they are in place."""

    name = "hook"

    def __init__(
        self,
        argv: Sequence[str],
        file: Path,
        timeout_s: float,
        interval_s: float,
        state_folder: Path,
        tell: Tell,
        tasks: Tasks,
    ) -> None:
        self.address = argv[0]
        self.version = 0
        self.trouble = ""
        self.counts: Counter[str] = Counter()
        """Runs by how they ended."""
        self._argv = tuple(argv)
        self._file = file
        self._leftover = Leftover(state_folder / NOTE_FILE, "weights hook")
        self._timeout_s = timeout_s
        self._interval_ns = int(interval_s * SECOND_NS)
        self._tell = tell
        self._tasks = tasks
        self._wanted: Traffic | None = None
        self._changed = asyncio.Event()
        self._started_ns = -self._interval_ns
        self._length_ns = 0
        self._backoff = Backoff(random.Random(), AGAIN_FIRST_NS, AGAIN_MOST_NS)

    def apply(self, traffic: Traffic) -> None:
        """Nothing yet: its file comes first."""

    def file_written(self, traffic: Traffic) -> None:
        """The file has these weights now."""
        self._wanted = traffic
        self._changed.set()

    def figures(self) -> Iterator[Figure]:
        for outcome in ("succeeded", "failed"):
            yield Figure("weights_hook_runs_total", self.counts[outcome], {"outcome": outcome})
        if self._length_ns:
            yield Figure("weights_hook_seconds", self._length_ns / SECOND_NS)

    async def start(self) -> None:
        self._leftover.end()
        self._tasks.start(self._run(), name="weights hook")

    async def close(self) -> None:
        """Its task was cancelled before, and killed what ran."""

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(max(0, self._started_ns + self._interval_ns - read_now().mono_ns) / SECOND_NS)
            self._changed.clear()
            traffic = self._wanted
            assert traffic is not None
            if await self._run_once(traffic):
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self._backoff.next_ns() / SECOND_NS):
                    await self._changed.wait()
            self._changed.set()

    async def _run_once(self, traffic: Traffic) -> bool:
        self._started_ns = read_now().mono_ns
        environ = {
            "PRIMACY_GROUP": traffic.group,
            "PRIMACY_REGION": traffic.region,
            "PRIMACY_VERSION": str(traffic.version),
            "PRIMACY_WEIGHTS_FILE": str(self._file),
        }
        try:
            ended = await run(self._argv, self._timeout_s, environ, started=self._leftover.note)
        except NotStarted as error:
            fault = str(error)
        else:
            fault = _fault(self._argv[0], ended, self._timeout_s)
        finally:
            self._leftover.forget()
        self._length_ns = read_now().mono_ns - self._started_ns
        if fault:
            self.counts["failed"] += 1
            if fault != self.trouble:
                self.trouble = fault
                self._tell("weights-hook-failed", fault, True)
            return False
        self.counts["succeeded"] += 1
        self._backoff.reset()
        self.version = traffic.version
        logger.debug("weights hook succeeded", extra={"version": traffic.version})
        if self.trouble:
            self.trouble = ""
            self._tell("weights-hook-succeeded", f"{self._argv[0]} succeeds again", False)
        return True


def _fault(program: str, ended: Ended, timeout_s: float) -> str:
    """Why a run counts as failed; empty: it does not."""
    if ended.how is How.EXITED and ended.exit_code == 0:
        return ""
    if ended.how is How.TIMED_OUT:
        how = f"did not end within {timeout_s:g} s, and was killed"
    elif ended.exit_code < 0:
        how = f"was ended by signal {-ended.exit_code}"
    else:
        how = f"exited with {ended.exit_code}"
    lines = ended.output.decode(errors="replace").strip().splitlines()
    said = f": {lines[-1][:SAID_CHARACTERS_MAX]}" if lines else ""
    return f"{program} {how}{said}"

"""Runs the service's hooks: the operator's programs, one at a time, bounded in time, killed with their whole group."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence

from primacy_wire.clock import read_now
from primacy_wire.instant import SECOND_NS

from primacy_agent.core.promotion import Hook, HookDone, RunHook
from primacy_agent.programs import How, NotStarted, run
from primacy_agent.tasks import Tasks

logger = logging.getLogger(__name__)

OUTPUT_LENGTH_MAX = 4_000
"""Of what a hook prints, so much of the end goes into the failover's history."""
KILLED = -1


def problem_of(argv: Sequence[str]) -> str:
    """Why a hook could not be started; empty when it can."""
    return "" if shutil.which(argv[0]) else f"{argv[0]!r} is not an executable file: give its path, and chmod +x it"


class HookRunner:
    """Starts what the lease holder asks for, and says how it ended."""

    def __init__(
        self,
        argv: Mapping[Hook, Sequence[str]],
        timeouts_s: Mapping[Hook, float],
        environ: Mapping[str, str],
        done: Callable[[HookDone], None],
        tasks: Tasks,
    ) -> None:
        """`environ`: what every hook gets besides PRIMACY_EPOCH, _FROM and _REASON. `done` is called once for each."""
        self._argv = argv
        self._timeouts_s = timeouts_s
        self._environ = environ
        self._done = done
        self._tasks = tasks
        self._running: asyncio.Task[tuple[str, int, str]] | None = None

    def configured(self) -> list[tuple[Hook, Sequence[str]]]:
        return [(hook, argv) for hook, argv in self._argv.items() if argv]

    def run(self, wanted: RunHook) -> None:
        self._tasks.start(self._follow(wanted), name=wanted.hook.value)

    def kill(self) -> None:
        """End the one that runs."""
        if self._running is not None:
            self._running.cancel()

    async def _follow(self, wanted: RunHook) -> None:
        began_ns = read_now().mono_ns
        logger.info("hook starts", extra={"hook": wanted.hook.value, "epoch": wanted.epoch, "why": wanted.reason})
        self._running = running = asyncio.ensure_future(self._run(wanted))
        try:
            await asyncio.wait((running,))
        finally:
            self._running = None
            if not running.done():  # The agent stops: what it started must not outlive it unnoticed.
                running.cancel()
                await asyncio.wait((running,))
        length_ns = read_now().mono_ns - began_ns
        if running.cancelled():
            outcome, exit_code, output = "failed", KILLED, "killed: its lease is gone"
        else:
            outcome, exit_code, output = running.result()
        level = logging.INFO if outcome == "succeeded" else logging.ERROR
        extra = {"hook": wanted.hook.value, "epoch": wanted.epoch, "outcome": outcome, "s": length_ns / SECOND_NS}
        logger.log(level, "hook ended", extra=extra)
        self._done(HookDone(wanted.hook, wanted.epoch, outcome, exit_code, output, length_ns))

    async def _run(self, wanted: RunHook) -> tuple[str, int, str]:
        environ = {
            **self._environ,
            "PRIMACY_EPOCH": str(wanted.epoch),
            "PRIMACY_FROM": wanted.from_region,
            "PRIMACY_REASON": wanted.reason,
        }
        timeout_s = self._timeouts_s[wanted.hook]
        try:
            ended = await run(self._argv[wanted.hook], timeout_s, environ)
        except NotStarted as error:
            return "not started", KILLED, str(error)
        output = ended.output.decode(errors="replace")[-OUTPUT_LENGTH_MAX:]
        if ended.how is How.TIMED_OUT:
            return "timed out", KILLED, f"{output}\nkilled after {timeout_s:g} s".lstrip("\n")
        return ("succeeded" if ended.exit_code == 0 else "failed"), ended.exit_code, output

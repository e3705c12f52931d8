"""Runs the hooks that the core asks for: it decides when they run and when they are killed, this file how.

A hook runs in a process group of its own, which is killed when the hook has ended, when the core says so, and when the
agent stops. An agent that is itself killed cannot do that: the file `hook.json` in the state folder names the hook
that runs, so that the next life of the agent kills it before anything else.

Weakness: a process that a hook put into a session of its own (a database server, say) outlives it, as it is meant to.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from primacy_wire.clock import read_now
from primacy_wire.instant import SECOND_NS

from primacy_agent.core.effects import KillHook, RunHook
from primacy_agent.core.events import HookDone
from primacy_agent.core.hooks import HookKind
from primacy_agent.leftover import Leftover
from primacy_agent.programs import NotStarted, Running
from primacy_agent.tasks import Tasks

logger = logging.getLogger(__name__)

HOOK_FILE = "hook.json"


class HookRunner:
    """Performs `RunHook` and `KillHook`; `done` hears of each end once."""

    def __init__(
        self,
        argv: Mapping[HookKind, Sequence[str]],
        folder: Path,
        done: Callable[[HookDone], None],
        tasks: Tasks,
    ) -> None:
        self._argv = argv
        self._leftover = Leftover(folder / HOOK_FILE, "hook")
        self._done = done
        self._tasks = tasks
        self._killed = asyncio.Event()

    def run(self, wanted: RunHook) -> None:
        self._killed = killed = asyncio.Event()
        self._tasks.start(self._follow(wanted, killed), name=wanted.kind.value)

    def kill(self, unwanted: KillHook) -> None:
        logger.warning("hook is killed", extra={"hook": unwanted.kind.value, "epoch": unwanted.epoch})
        self._killed.set()

    async def _follow(self, wanted: RunHook, killed: asyncio.Event) -> None:
        began_ns = read_now().mono_ns
        environ = dict(wanted.environment)
        logger.info(
            "hook starts",
            extra={"hook": wanted.kind.value, "epoch": wanted.epoch, "why": environ.get("PRIMACY_REASON", "")},
        )
        try:
            running = Running(self._argv[wanted.kind], environ)
        except NotStarted as error:
            self._say(HookDone(wanted.kind, wanted.epoch, -1, str(error), 0, started=False))
            return
        stop = asyncio.create_task(killed.wait())
        try:
            self._leftover.note(running.pid)
            await asyncio.wait((running.over, stop), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            await running.end()
            self._leftover.forget()
        length_ns = read_now().mono_ns - began_ns
        output = running.output.kept.decode(errors="replace")
        self._say(HookDone(wanted.kind, wanted.epoch, running.exit_code, output, length_ns))

    def _say(self, ended: HookDone) -> None:
        seconds = round(ended.length_ns / SECOND_NS, 3)
        extra = {"hook": ended.kind.value, "epoch": ended.epoch, "exit": ended.exit_code, "seconds": seconds}
        if ended.exit_code == 0:
            logger.info("hook succeeded", extra=extra)
        else:
            logger.error("hook failed", extra=extra | {"output": ended.output})
        self._done(ended)

    def end_leftover(self) -> None:
        """Kill the hook that an earlier life started and did not see end. Waits for its end: then another may start."""
        self._leftover.end()

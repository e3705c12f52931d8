"""A program that the agent runs, noted on disk: the next life of an agent that was killed meanwhile ends it first."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
from contextlib import suppress
from pathlib import Path

from primacy_wire.clock import boot_id
from primacy_wire.daemon import start_ticks

logger = logging.getLogger(__name__)

LEFTOVER_MS = 1_000
"""A killed program of an earlier life is waited for so long; only the kernel can hold it longer."""


class Leftover:
    """The note of the one program that may run at a time."""

    def __init__(self, file: Path, what: str) -> None:
        """`what`: for people, such as `hook`."""
        self._file = file
        self._what = what

    def note(self, pid: int) -> None:
        """This process group runs now."""
        noted = {"pid": pid, "start_ticks": start_ticks(pid), "boot_id": boot_id()}
        try:
            self._file.write_text(json.dumps(noted) + "\n")
        except OSError as error:
            logger.warning("the %s that runs cannot be noted", self._what, extra={"reason": str(error)})

    def forget(self) -> None:
        """It has ended."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)

    def end(self) -> None:
        """Kill what an earlier life started and did not see end. Waits for its end: then another may start."""
        try:
            noted = json.loads(self._file.read_bytes())
            pid, ticks, boot = int(noted["pid"]), noted["start_ticks"], noted["boot_id"]
        except (OSError, ValueError, KeyError, TypeError):
            return  # None, or one that was killed while it was noted: it had hardly begun.
        if boot == boot_id() and ticks is not None and start_ticks(pid) == ticks:
            logger.warning("a %s of an earlier life still runs: it is killed", self._what, extra={"pid": pid})
            with suppress(ProcessLookupError, PermissionError):
                descriptor = os.pidfd_open(pid)
                try:
                    os.killpg(pid, signal.SIGKILL)
                    poll = select.poll()
                    poll.register(descriptor, select.POLLIN)
                    poll.poll(LEFTOVER_MS)
                finally:
                    os.close(descriptor)
        self.forget()

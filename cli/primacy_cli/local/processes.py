"""Starts, watches and ends the processes of a local cluster. None of them is ever left behind.

Each child has a session of its own, so that Ctrl-C reaches only the one that ends them in order, and is told its
parent's pid, so that it dies when the parent is killed. What somebody started again by its command is no child: its
pid file tells who it is.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from primacy_wire.daemon import PARENT_VARIABLE, PID_FILE, PidFile, read_pid_file

from primacy_cli.local.plan import ProcessPlan

STOP_S_MAX = 4.0
"""A process that takes longer to stop is killed."""
_LOOK_S = 0.02
_OTHERS_SETTINGS = ("PRIMACY_COORDINATOR_", "PRIMACY_AGENT_")


class Child:
    """One running process."""

    def __init__(self, plan: ProcessPlan) -> None:
        """Start it. From the main thread only: the kernel ties the child's life to the thread that forks."""
        self.plan = plan
        self.told = False
        """Whether its end was told to the user."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS_SETTINGS)}
        environment[PARENT_VARIABLE] = str(os.getpid())
        with plan.log.open("ab") as log:
            self._process = subprocess.Popen(
                plan.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ending(self) -> str:
        """How it ended; empty while it runs."""
        code = self._process.poll()
        if code is None:
            return ""
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)


def pid_files(folder: Path) -> Iterator[tuple[Path, PidFile]]:
    """(state folder, process) of every daemon under `folder` that runs now."""
    for path in sorted((*folder.glob(f"*/{PID_FILE}"), *folder.glob(f"*/*/{PID_FILE}"))):
        found = read_pid_file(path)
        if found is not None and found.program.startswith("primacy-") and found.is_running():
            yield path.parent, found


def stop_all(children: Iterable[Child], folder: Path) -> None:
    """End every child, and whatever the pid files under `folder` name. Returns when all are gone."""
    alive = list(children)
    for number, patience_s in ((signal.SIGTERM, STOP_S_MAX), (signal.SIGKILL, STOP_S_MAX)):
        for child in alive:
            child.signal(number)
        for _, other in pid_files(folder):
            if other.pid not in {child.pid for child in alive}:
                _signal(other, number)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            alive = [child for child in alive if not child.ending()]
            if not alive and not any(pid_files(folder)):
                return
            time.sleep(_LOOK_S)


def _signal(process: PidFile, number: signal.Signals) -> None:
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        # Looked at again with the handle held: the number cannot become another process any more.
        if process.is_running():
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        pass  # It ended meanwhile, which is what was wanted.
    finally:
        os.close(handle)

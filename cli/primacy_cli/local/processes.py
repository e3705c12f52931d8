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
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from primacy_wire.clock import boot_id
from primacy_wire.daemon import PARENT_VARIABLE, PID_FILE, PidFile, read_pid_file, start_ticks

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
    """End every child, and whoever restarted one of them by its command. Returns when all are gone."""
    alive = list(children)
    commands = {child.plan.command: child.plan.title for child in alive}
    for number, patience_s in ((signal.SIGTERM, STOP_S_MAX), (signal.SIGKILL, STOP_S_MAX)):
        for child in alive:
            child.signal(number)
            child.signal(signal.SIGCONT)  # A stopped one does not hear the first.
        for other in _others(folder, commands, alive):
            _signal(other, number)
            _signal(other, signal.SIGCONT)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            alive = [child for child in alive if not child.ending()]
            if not alive and not _others(folder, commands, alive):
                return
            time.sleep(_LOOK_S)


def _others(folder: Path, commands: Mapping[tuple[str, ...], str], children: Iterable[Child]) -> list[PidFile]:
    """The cluster's processes that are not these children: named by a pid file or, before they wrote one, known by
    their command line, word for word.
    """
    own = {child.pid for child in children}
    found = {process.pid: process for _, process in pid_files(folder)}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
        except OSError:
            continue  # Gone meanwhile, or not ours to see.
        title = commands.get(tuple(words[:-1]))
        ticks = start_ticks(int(name)) if title else None
        if title and ticks is not None:
            found[int(name)] = PidFile(int(name), ticks, boot_id(), title)
    return [process for pid, process in found.items() if pid not in own]


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

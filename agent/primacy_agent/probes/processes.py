"""Finding a process, and hearing of its death from the kernel.

A pid alone may be another process by now: the start time that was seen with it must still be the same. A pidfd becomes
readable in the instant in which its process ends, so a crash is known within a millisecond and not at the next look.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

from primacy_wire.daemon import start_ticks

from primacy_agent.probe_config import ProcessProbe

_LISTENING = "0A"
"""TCP state in /proc/net/tcp."""


def find(probe: ProcessProbe) -> tuple[int, int] | None:
    """(pid, start in ticks) of the process that the probe means, or None."""
    if probe.pid_file:
        pid, ticks = _from_pid_file(Path(probe.pid_file))
    elif probe.listen:
        pid, ticks = _from_port(probe.listen), None
    else:
        pid, ticks = _from_command(probe.command), None
    if not pid:
        return None
    started = start_ticks(pid)
    return (pid, started) if started is not None and ticks in (None, started) else None


def _from_pid_file(path: Path) -> tuple[int, int | None]:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return 0, None
    if text.isascii() and text.isdigit():
        return int(text), None
    try:
        kept = json.loads(text)
        return int(kept["pid"]), int(kept["start_ticks"])
    except (ValueError, KeyError, TypeError):
        return 0, None


def _from_port(port: int) -> int:
    """The process that listens on the port; needs the right to read its descriptors (same user, or root)."""
    wanted = f":{port:04X}"
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[1].endswith(wanted) and columns[3] == _LISTENING:
                sockets.add(f"socket:[{columns[9]}]")
    for pid in _pids() if sockets else ():
        try:
            for entry in os.scandir(f"/proc/{pid}/fd"):
                if os.readlink(entry.path) in sockets:
                    return pid
        except OSError:
            continue  # Gone meanwhile, or not ours to see.
    return 0


def _from_command(text: str) -> int:
    own = os.getpid()
    for pid in _pids():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in command and pid != own:
            return pid
    return 0


def _pids() -> list[int]:
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


class Watch:
    """Calls back once when the process ends."""

    def __init__(self, pid: int, ticks: int, ended: Callable[[], None]) -> None:
        """Raises ProcessLookupError when it is gone already."""
        self.pid = pid
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._fd = os.pidfd_open(pid)
        if start_ticks(pid) != ticks:
            os.close(self._fd)
            raise ProcessLookupError(pid)
        self._loop.add_reader(self._fd, self._on_end)

    def _on_end(self) -> None:
        self.close()
        self._ended()

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

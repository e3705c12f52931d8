"""What both daemons do before anything else: follow their parent into death, and take their state folder.

A state folder belongs to one process at a time: it holds a lock for as long as it lives, which the kernel takes back
whatever way it ends.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from primacy_wire.clock import boot_id

PARENT_VARIABLE = "PRIMACY_PARENT_PID"
PID_FILE = "pid"
_LOCK_FILE = "lock"
_PR_SET_PDEATHSIG = 1


def follow_parent() -> None:
    """If a parent gave its pid in the environment, die with it; raise SystemExit if it is dead already.

    First thing in `main`, before threads or children. SIGKILL, for it ends a stopped process too, and every daemon can
    be killed at any instant.
    """
    text = os.environ.pop(PARENT_VARIABLE, "")
    if not text:
        return
    if not text.isascii() or not text.isdigit():
        raise SystemExit(f"{PARENT_VARIABLE} must be a process id, got {text!r}")
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl(PR_SET_PDEATHSIG): {os.strerror(code)}")
    if os.getppid() != int(text):
        raise SystemExit(f"the parent process {text} is gone")


class FolderError(Exception):
    """A state folder cannot be used. The message names the folder and the fix."""


class FolderLocked(FolderError):
    """Another process has it."""

    def __init__(self, message: str, owner_pid: int | None) -> None:
        super().__init__(message)
        self.owner_pid = owner_pid


@dataclass(frozen=True, slots=True)
class PidFile:
    """Which process has a state folder. A pid alone may be another process by now; with its start it cannot."""

    pid: int
    start_ticks: int
    """Since boot, as in /proc/PID/stat."""
    boot_id: str
    program: str

    def is_running(self) -> bool:
        """Whether that very process still lives (a zombie does not)."""
        return boot_id() == self.boot_id and start_ticks(self.pid) == self.start_ticks


def read_pid_file(path: Path) -> PidFile | None:
    """What a daemon wrote into its state folder, or None if there is nothing readable."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return PidFile(int(found["pid"]), int(found["start_ticks"]), str(found["boot_id"]), str(found["program"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(rest[18])


class StateFolder:
    """A folder with the state of one daemon, locked by this process until `close` or its end."""

    def __init__(self, path: Path, program: str) -> None:
        """Make the folder if there is none, lock it, and write the pid file. Raises FolderError, FolderLocked."""
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Not truncated here: until the lock is ours, the file tells whose it is.
            self._lock = os.open(path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            self._take(program)
        except BaseException:
            os.close(self._lock)
            raise

    def _take(self, program: str) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise _unusable(self.path, error) from error
            owner = _owner(self._lock)
            who = f"process {owner}" if owner else "another process"
            raise FolderLocked(
                f"{self.path}: {who} has this state folder: stop it, or give this one a folder of its own", owner
            ) from error
        ticks = start_ticks(os.getpid())
        if ticks is None:
            raise FolderError("/proc does not show this process: it must be mounted")
        self.pid_file = PidFile(os.getpid(), ticks, boot_id(), program)
        try:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, str(os.getpid()).encode(), 0)
            write_file(self.path / PID_FILE, json.dumps(asdict(self.pid_file)).encode() + b"\n")
        except OSError as error:
            raise _unusable(self.path, error) from error

    def close(self) -> None:
        """Remove the pid file and give the lock back. Only the first call does anything."""
        if self._lock >= 0:
            (self.path / PID_FILE).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> StateFolder:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()


def write_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file as a whole, durably: after a crash it has the old content or the new. Raises OSError."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _owner(lock: int) -> int | None:
    text = os.pread(lock, 32, 0)
    return int(text) if text.isdigit() else None


def _unusable(path: Path, error: OSError) -> FolderError:
    return FolderError(f"{path}: {error.strerror}: the state folder must be a folder that this user can write to")

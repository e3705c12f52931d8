"""Runs a program that the operator named: in a process group of its own, bounded in time and in what it prints.

It is started on the loop's thread by vfork and exec, without `preexec_fn`: gRPC's threads never see a fork. A pidfd
tells of its end. Its whole group is killed then, also what it left behind, and before it is reaped: until then nobody
else can be given its number.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

TAIL_BYTES = 8 * 1024
"""Of what a program prints, so much of the end is kept where not all of it is wanted."""
READ_BYTES = 64 * 1024
KILL_S = 1.0
"""A killed process is gone within so long, unless the kernel holds it (a dead network disk)."""
_GRPC_OWN = {"GRPC_ENABLE_FORK_SUPPORT": "0", "GRPC_VERBOSITY": "NONE"}
"""What this process told its own gRPC: nothing that a program of the operator's should inherit."""


class NotStarted(Exception):
    """The program cannot be started. The message says why."""


class How(Enum):
    """How a run ended."""

    EXITED = "exited"
    TIMED_OUT = "timed out"
    TOO_MUCH = "printed too much"


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that is over."""

    how: How
    exit_code: int
    """As the program chose; minus the signal's number when a signal ended it."""
    output: bytes
    """What it wrote to stdout (all, or the end of it with stderr's lines between, see `run`)."""
    errors: bytes
    """The end of what it wrote to stderr; empty where that went into `output`."""
    reaped: bool = True
    """False: it was killed, but the kernel does not let it end."""


async def run(
    argv: Sequence[str],
    timeout_s: float,
    more_environ: Mapping[str, str] | None = None,
    keep_bytes: int = 0,
    bytes_max: int | None = None,
    started: Callable[[int], None] | None = None,
) -> Ended:
    """Run it to its end, or kill it with its group. Raises NotStarted; when cancelled, the group is killed first.

    `keep_bytes`: keep so much of stdout from its beginning, apart from stderr; 0: keep the end of both, mixed as they
    came. A program that writes more than `bytes_max` to one of them is killed. `started` hears its pid.
    """
    running = Running(argv, more_environ or {}, keep_bytes, bytes_max)
    how = How.TIMED_OUT
    try:
        if started is not None:
            started(running.pid)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                how = await running.over
    finally:
        reaped = await running.end()
    return Ended(how, running.exit_code, bytes(running.output.kept), bytes(running.errors.kept), reaped)


class Running:
    """One process, its pidfd and its pipes; `end` must be called. `run` is what most callers want."""

    def __init__(
        self, argv: Sequence[str], more_environ: Mapping[str, str], keep_bytes: int = 0, bytes_max: int | None = None
    ) -> None:
        """Start it. Raises NotStarted."""
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[How] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        try:
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if keep_bytes else subprocess.STDOUT,
                env=_environ() | dict(more_environ),
                start_new_session=True,
                bufsize=0,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise NotStarted(f"{argv[0]} cannot be started: {reason}") from error
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._on_end)
        too_much = lambda: self._say(How.TOO_MUCH)  # noqa: E731
        self.output = _Pipe(self._process.stdout.fileno(), keep_bytes, bytes_max, too_much)  # type: ignore[union-attr]
        self.errors = (
            _Pipe(self._process.stderr.fileno(), 0, bytes_max, too_much) if self._process.stderr else _NoPipe()
        )

    @property
    def pid(self) -> int:
        """Also the number of its process group and of its session."""
        return self._process.pid

    @property
    def exit_code(self) -> int:
        return self._process.returncode if self._process.returncode is not None else -signal.SIGKILL

    def _say(self, how: How) -> None:
        if not self.over.done():
            self.over.set_result(how)

    def _on_end(self) -> None:
        """The leader is a zombie now: kill what is left of its group while the number is still its own."""
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._kill()
        self._process.wait()
        self._say(How.EXITED)
        if not self._gone.done():
            self._gone.set_result(None)

    def _kill(self) -> None:
        # PermissionError: all of the group runs as somebody else by now (sudo); it ends by itself or not at all.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def end(self) -> bool:
        """Kill the group if it still runs, and take what is in the pipes. False: the kernel does not let it end.

        In that case it is reaped when it does.
        """
        if not self._gone.done():
            self._kill()
            await asyncio.wait((self._gone,), timeout=KILL_S)
        for pipe in (self.output, self.errors):
            pipe.close()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        return self._gone.done()


class _NoPipe:
    kept = b""

    def close(self) -> None:
        """There is nothing to close."""


class _Pipe:
    """Reads what comes, keeps a bounded part of it."""

    def __init__(self, descriptor: int, keep_bytes: int, bytes_max: int | None, too_much: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._keep_bytes = keep_bytes
        self._bytes_max = bytes_max
        self._too_much = too_much
        self._count = 0
        self._open = True
        self.kept = bytearray()
        os.set_blocking(descriptor, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(descriptor, self._read)

    def _read(self) -> bool:
        """Whether there may be more."""
        try:
            chunk = os.read(self._descriptor, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            chunk = b""
        if not chunk:
            self._stop()
            return False
        self._count += len(chunk)
        if self._keep_bytes:
            self.kept += chunk[: max(0, self._keep_bytes - len(self.kept))]
        else:
            self.kept += chunk
            del self.kept[:-TAIL_BYTES]
        if self._bytes_max is not None and self._count > self._bytes_max:
            self._stop()
            self._too_much()
            return False
        return True

    def _stop(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._descriptor)

    def close(self) -> None:
        """Take what the pipe still holds; who left the group and writes on is not waited for."""
        for _ in range(64):
            if not self._open or not self._read():
                break
        self._stop()


def _environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if _GRPC_OWN.get(name) != value}

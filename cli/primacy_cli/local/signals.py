"""Waits for signals without missing one."""

from __future__ import annotations

import select
import signal
import socket
from types import FrameType, TracebackType

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """While entered: SIGINT, SIGTERM and SIGHUP ask to stop, and the end of a child wakes `wait`."""

    def __init__(self) -> None:
        self.stopping = False

    def __enter__(self) -> Signals:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._old_descriptor = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._old = {number: signal.signal(number, self._handle) for number in (*_STOPPING, signal.SIGCHLD)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_descriptor)
        self._reader.close()
        self._writer.close()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number in _STOPPING:
            self.stopping = True

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until a signal comes; whether to stop."""
        if not self.stopping:
            select.select([self._reader], [], [], seconds)
        try:
            while self._reader.recv(4096):
                pass
        except BlockingIOError:
            pass
        return self.stopping

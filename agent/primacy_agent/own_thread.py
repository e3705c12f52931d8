"""A thread for work that may hang in the kernel: the event loop goes on, and so does the end of the process."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable


class OwnThread:
    """Does one piece of work after another. A daemon, and nobody waits for its end: what hangs in it may hang."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._work: queue.SimpleQueue[tuple[Callable[[], None], asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def call(self, work: Callable[[], None]) -> asyncio.Future[None]:
        """Have it done. The future is the loop's."""
        if not self._thread.is_alive():
            self._thread.start()
        done: asyncio.Future[None] = self._loop.create_future()
        self._work.put((work, done))
        return done

    def end(self) -> None:
        self._work.put(None)

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            work, done = item
            error: Exception | None = None
            try:
                work()
            except Exception as raised:  # noqa: BLE001 (raised again where the future is awaited)
                error = raised
            if self._loop.is_closed():
                return
            self._loop.call_soon_threadsafe(_finish, done, error)


def _finish(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():
        return  # Whoever waited was cancelled.
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(None)

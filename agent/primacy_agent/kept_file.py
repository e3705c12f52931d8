"""A small JSON file with the newest of what changes fast, written off the event loop."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from primacy_wire.daemon import write_file

from primacy_agent.tasks import Tasks

logger = logging.getLogger(__name__)

GAP_S = 1.0
"""Between two writes: of what changes faster, the newest is kept."""

Render = Callable[[], object]
"""Makes what is written, as JSON knows it; called on the writing thread."""


class KeptFile:
    """Everything but the write itself runs on the event loop's thread."""

    def __init__(self, path: Path, noun: str, tasks: Tasks) -> None:
        """`noun` is what it keeps, for the log: "the weights"."""
        self.path = path
        self._noun = noun
        self._tasks = tasks
        self._newest: tuple[int, Render] | None = None
        """(number, content) that waits to be written."""
        self._count = 0
        self._writing: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        self._written = 0
        """Number of what is on the disk."""
        self._trouble = ""

    def keep(self, render: Render) -> None:
        """Write it soon, unless something newer comes first."""
        self._count += 1
        self._newest = (self._count, render)
        if self._writing is None:
            self._writing = self._tasks.start(self._write_all(), name=f"keep {self._noun}")

    async def _write_all(self) -> None:
        try:
            while self._newest is not None:
                newest = self._newest
                # Left in its place until it is written: a write that is cancelled may not have begun, and `close` makes
                # up for it.
                await asyncio.to_thread(self._write, *newest)
                if self._newest is newest:
                    self._newest = None
                await asyncio.sleep(GAP_S)
        finally:
            self._writing = None

    def close(self) -> None:
        """Write what waits. The task that writes has ended."""
        if self._newest is not None:
            self._write(*self._newest)
            self._newest = None

    def _write(self, number: int, render: Render) -> None:
        with self._lock:
            if number <= self._written:
                return
            try:
                write_file(self.path, json.dumps(render(), indent=1).encode() + b"\n")
            except OSError as error:
                # Nothing rests on it while this life goes on, and the next change tries again.
                if str(error) != self._trouble:
                    self._trouble = str(error)
                    logger.warning("%s cannot be kept", self._noun, extra={"reason": str(error)})
                return
            self._trouble = ""
            self._written = number

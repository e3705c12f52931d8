"""Who waits for a reply of one group's machine, and how many may.

Appends wait long (for another region) and there are many of them, so they have a bound of their own: however many
wait, an operator's command finds room.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from primacy_coordinator.core.effects import Refusal
from primacy_coordinator.core.log_model import Appended
from primacy_coordinator.shell.failures import CommandRefused, Overloaded, ShellError

COMMANDS_COUNT_MAX = 256
"""Commands of operators that may wait for their reply."""
APPENDS_COUNT_MAX = 4096
APPENDS_BYTES_MAX = 64 << 20
"""Documents of the appends that may wait for their reply."""

Waiting = asyncio.Future[object]


class Requests:
    """The requests of one group, by number. Numbers are unique in the life of the process."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._newest = 0
        self._commands: dict[int, Waiting] = {}
        self._appends: dict[int, Waiting] = {}
        self._append_bytes = 0
        self.append_outcomes: Counter[str] = Counter()
        """How appends ended, in lower case: the outcome, the rule that refused them, `overloaded`, `unanswered` (the
        store or the group went away) or `abandoned` (the caller did)."""

    @property
    def next_number(self) -> int:
        """The number that the next request will have."""
        return self._newest + 1

    @property
    def append_count(self) -> int:
        """Appends that wait for their reply."""
        return len(self._appends)

    @contextmanager
    def command(self) -> Iterator[tuple[int, Waiting]]:
        """A number, and what the reply to it will be. Raises Overloaded."""
        if len(self._commands) >= COMMANDS_COUNT_MAX:
            raise Overloaded(f"{COMMANDS_COUNT_MAX} commands of group {self._group!r} wait already; try again")
        self._newest = number = self._newest + 1
        waiting = self._commands[number] = asyncio.get_running_loop().create_future()
        try:
            yield number, waiting
        finally:
            del self._commands[number]

    @contextmanager
    def append(self, content_bytes: int) -> Iterator[tuple[int, Waiting]]:
        """The same for an append that brings a document of so many bytes. Raises Overloaded."""
        if len(self._appends) >= APPENDS_COUNT_MAX or self._append_bytes + content_bytes > APPENDS_BYTES_MAX:
            self.append_outcomes["overloaded"] += 1
            raise Overloaded(f"{len(self._appends)} appends of group {self._group!r} wait already; try again")
        self._newest = number = self._newest + 1
        waiting = self._appends[number] = asyncio.get_running_loop().create_future()
        self._append_bytes += content_bytes
        try:
            yield number, waiting
        except asyncio.CancelledError:
            self.append_outcomes["abandoned"] += 1
            raise
        finally:
            del self._appends[number]
            self._append_bytes -= content_bytes

    def waiting(self, number: int) -> Waiting | None:
        """What waits for the reply to that number; None: nobody does any more."""
        waiting = self._appends.get(number)
        if waiting is None:
            waiting = self._commands.get(number)
        return None if waiting is None or waiting.done() else waiting

    def reply(self, number: int, value: object, refusal: Refusal | None) -> None:
        """Answers whoever waits."""
        waiting = self.waiting(number)
        if waiting is None:
            return
        if number in self._appends:
            outcome = value.outcome.name if isinstance(value, Appended) else refusal.rule if refusal else ""
            self.append_outcomes[outcome.lower()] += 1
        if refusal is not None:
            waiting.set_exception(CommandRefused(refusal))
        else:
            waiting.set_result(value)

    def fail(self, error: ShellError) -> None:
        """Tells everybody who waits that there will be no reply."""
        for waiting in self._commands.values():
            if not waiting.done():
                waiting.set_exception(error)
        for waiting in self._appends.values():
            if not waiting.done():
                waiting.set_exception(error)
                self.append_outcomes["unanswered"] += 1

"""How far something long is: a bar on a terminal, a line now and then elsewhere. Always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from primacy_cli.session import Session

LINE_S = 5.0
"""Lines come no more often, and one at each new stage."""


class Progress(Protocol):
    def __enter__(self) -> Progress: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def at(self, stage: str, done: int, total: int, note: str = "") -> None:
        """`done` of `total` bytes; a stage without a total takes as long as it takes."""


def progress_of(session: Session) -> Progress:
    """The one that fits where standard error goes; machines get none."""
    if sys.stderr.isatty():
        return Bar()
    return Lines(session.note) if session.for_people else Silent()


class _Shown:
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Silent(_Shown):
    def __enter__(self) -> Silent:
        return self

    def at(self, stage: str, done: int, total: int, note: str = "") -> None:
        pass


class Lines(_Shown):
    """`reading: 1.2 GB of 4 GB (30 %), 240 MB/s, 12 s left`."""

    def __init__(self, note: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._note = note
        self._clock = clock
        self._stage = ""
        self._began_s = self._said_s = 0.0

    def __enter__(self) -> Lines:
        return self

    def at(self, stage: str, done: int, total: int, note: str = "") -> None:
        now_s = self._clock()
        if stage != self._stage:
            self._stage, self._began_s, self._said_s = stage, now_s, now_s
            self._note(stage)
        elif total and now_s - self._said_s >= LINE_S:
            self._said_s = now_s
            self._note(f"{stage}: {pace(done, total, now_s - self._began_s)}{f', {note}' if note else ''}")


def pace(done: int, total: int, seconds: float) -> str:
    """`1.2 GB of 4 GB (30 %), 240 MB/s, 12 s left`."""
    from primacy_cli.words import size, span

    text = f"{size(done)} of {size(total)} ({done * 100 // total} %)"
    if done and seconds > 0:
        rate = done / seconds
        text += f", {size(round(rate))}/s, {span(round((total - done) / rate * 1e9))} left"
    return text


class Bar(_Shown):
    """A bar with amount, rate and time left, gone when it is done."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as RichProgress

        text = TextColumn("{task.description}", markup=False)
        amounts = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        noted = TextColumn("{task.fields[note]}", markup=False)
        console = Console(stderr=True, highlight=False)
        self._counted = RichProgress(SpinnerColumn(), text, *amounts, noted, console=console, transient=True)
        self._open = RichProgress(SpinnerColumn(), text, TimeElapsedColumn(), noted, console=console, transient=True)
        self._live: RichProgress | None = None
        self._stage = ""

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self._live is not None:
            self._live.stop()
            for task in self._live.task_ids:
                self._live.remove_task(task)
            self._live = None

    def at(self, stage: str, done: int, total: int, note: str = "") -> None:
        wanted = self._counted if total else self._open
        if stage != self._stage or wanted is not self._live:
            self._end()
            self._stage, self._live = stage, wanted
            wanted.add_task(stage, total=total or None, note=note)
            wanted.start()
        wanted.update(wanted.task_ids[0], completed=done, total=total or None, note=note)

"""What `primacy up` shows while it runs: a live table on a terminal, a line for each event elsewhere."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol

from primacy.v1.status_service_pb2 import GetStatusResponse
from rich.console import Console
from rich.live import Live
from rich.text import Text

from primacy_cli.group_screen import status_screen
from primacy_cli.local.plan import COORDINATOR_GRPC, ClusterPlan, ProcessPlan
from primacy_cli.local.ports import HOST
from primacy_cli.missed import missed_text
from primacy_cli.tables import Renderable, Safe, facts, is_screen, lines, safe_text, stack
from primacy_cli.words import clock

_NOTES_MAX = 4
_EVENTS_SHOWN = 6
_ROWS_EVERY_S = 60.0
"""So often a line says how a demonstration goes, where nothing can be drawn again."""


class Screen(Protocol):
    interval_s: float

    def __enter__(self) -> Screen: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def update(self, status: GetStatusResponse | None, rows: Sequence[tuple[str, str]] = ()) -> None:
        """Show the group; None while the coordinator does not answer. `rows`: (name, text) of a demonstration."""

    def announce(self, text: str) -> None:
        """Something happens on purpose."""

    def process_ended(self, process: ProcessPlan, pid: int, ending: str) -> None: ...


def _ended(process: ProcessPlan, pid: int, ending: str) -> tuple[str, str]:
    return f"the {process.title} (pid {pid}) {ending}", f"start it again: {shlex.join(process.command)}"


class PlainScreen:
    """A line for each event of the journal."""

    interval_s = 0.5

    def __init__(self) -> None:
        self._sequence = -1
        self._answers = True
        self._rows_at_s = time.monotonic()

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def update(self, status: GetStatusResponse | None, rows: Sequence[tuple[str, str]] = ()) -> None:
        if status is None:
            if self._answers:
                print("the coordinator does not answer", flush=True)
            self._answers = False
            return
        self._answers = True
        fresh = [event for event in status.events if event.sequence > self._sequence]
        if missed := missed_text(fresh, self._sequence):
            print(missed, flush=True)
        for event in reversed(fresh):
            self._sequence = event.sequence
            print(f"{clock(event.time)}  {safe_text(event.message)}", flush=True)
        if time.monotonic() - self._rows_at_s >= _ROWS_EVERY_S:
            self._rows_at_s = time.monotonic()
            for name, text in rows:
                print(f"{name}: {text}", flush=True)

    def announce(self, text: str) -> None:
        print(text, flush=True)

    def process_ended(self, process: ProcessPlan, pid: int, ending: str) -> None:
        for line in _ended(process, pid, ending):
            print(line, flush=True)


class LiveScreen:
    """The table of `primacy status`, drawn again twice a second below the lines printed so far."""

    interval_s = 0.5

    def __init__(self) -> None:
        self._live = Live(console=Console(highlight=False), auto_refresh=False)
        self._stack = ExitStack()
        self._notes: deque[Text] = deque(maxlen=_NOTES_MAX)

    def __enter__(self) -> Screen:
        self._stack.enter_context(self._live)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def update(self, status: GetStatusResponse | None, rows: Sequence[tuple[str, str]] = ()) -> None:
        if status is None:
            group: Renderable = Text("the coordinator does not answer", style="bold red")
        else:
            group = status_screen(status, _EVENTS_SHOWN)
        shown = stack(group, facts(rows) if rows else None, self._ended_notes())
        self._live.update(Safe(shown), refresh=True)

    def announce(self, text: str) -> None:
        pass  # A row of the demonstration says it, and the journal what it leads to.

    def _ended_notes(self) -> Renderable:
        return lines(self._notes) if self._notes else Text("Ctrl-C ends everything.", style="dim")

    def process_ended(self, process: ProcessPlan, pid: int, ending: str) -> None:
        what, again = _ended(process, pid, ending)
        self._notes += (Text(what, style="yellow"), Text(f"  {again}", style="dim", overflow="fold"))


def make_screen() -> Screen:
    return LiveScreen() if is_screen() else PlainScreen()


def three_things(plan: ClusterPlan, pids: dict[str, int], active: str) -> list[str]:
    """Commands to try, as they have to be typed here."""
    region = next((each for each in plan.regions if each.place.name == active), plan.regions[0])
    address = plan.coordinator.grpc
    primacy = _program("primacy")
    if address != f"{HOST}:{COORDINATOR_GRPC}":
        primacy = f"PRIMACY_ADDRESS={address} {primacy}"
    service = pids[region.services[0].title]
    return [
        f"kill -9 {service}    # the service of {active}, the active region: watch another one take over",
        f"{primacy} explain    # why that one; then `{primacy} failover` to choose yourself",
        f"{_program('grpcurl')} -plaintext {address} primacy.v1.ElectionService/GetActiveRegion",
    ]


def _program(name: str) -> str:
    """How to call a program of this installation from a shell."""
    beside = Path(sys.executable).with_name(name)
    return name if shutil.which(name) or not beside.exists() else str(beside)

"""Runs a local cluster from its start to its end, and shows it meanwhile."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from primacy_cli.demo.counts import counts_text, read_counts
from primacy_cli.failures import REFUSED, CommandFailed
from primacy_cli.local import cluster_file
from primacy_cli.local.plan import ClusterPlan, ProcessPlan
from primacy_cli.local.ports import is_free
from primacy_cli.local.processes import Child
from primacy_cli.local.signals import Signals

if TYPE_CHECKING:
    from primacy_cli.local.chaos import Chaos
    from primacy_cli.local.screen import Screen
    from primacy_cli.local.watch import Watch

READY_S_MAX = 90.0
_LOG_LINES = 8


class PortTaken(Exception):
    """Somebody took a chosen port before the process that it was for."""


class Stopped(Exception):
    """A signal asked to stop before the cluster was ready."""


class Cluster:
    """The running processes of one plan."""

    def __init__(self, folder: Path, plan: ClusterPlan) -> None:
        self.folder = folder
        self.plan = plan
        self.children: list[Child] = []
        self._begun = time.monotonic()

    def start(self) -> None:
        """Start every process. Raises OSError."""
        for process in self.plan.processes:
            self.children.append(Child(process))

    def wait_until_ready(self, watch: Watch, signals: Signals) -> float:
        """Seconds from the start. Raises CommandFailed, PortTaken, Stopped."""
        missing = watch.missing(watch.status())
        while missing:
            if signals.stopping:
                raise Stopped
            self._check_children()
            if time.monotonic() - self._begun > READY_S_MAX:
                text = "; ".join(missing)
                raise CommandFailed(f"not ready after {READY_S_MAX:g} s: {text}", REFUSED, f"look at {self.folder}")
            signals.wait(0.1)
            missing = watch.missing(watch.status())
        return time.monotonic() - self._begun

    def _check_children(self) -> None:
        """Raises CommandFailed or PortTaken when one has ended."""
        for child in self.children:
            ending = child.ending()
            if not ending:
                continue
            if not all(is_free(port) for port in child.plan.ports):
                raise PortTaken
            raise CommandFailed(f"the {child.plan.title} {ending}{_last_lines(child.plan)}", REFUSED)

    def write_file(self) -> Path:
        pids = {child.plan.title: child.pid for child in self.children}
        return cluster_file.write(self.folder, self.plan, pids)

    def start_again(self, title: str) -> None:
        """Start a process of the plan that has ended, as a child like before. Raises OSError."""
        for index, child in enumerate(self.children):
            if child.plan.title == title and child.ending():
                self.children[index] = Child(child.plan)
        self.write_file()

    def show(self, watch: Watch, signals: Signals, screen: Screen, chaos: Chaos | None = None) -> None:
        """Show the cluster until a signal asks to stop."""
        while not signals.stopping:
            for child in self.children:
                ending = child.ending()
                if ending and not child.told:
                    child.told = True
                    screen.process_ended(child.plan, child.pid, ending)
            status = watch.status()
            announced = chaos.step(status) if chaos is not None else ""
            if announced:
                screen.announce(announced)
            screen.update(status, self._demo_rows(chaos))
            signals.wait(screen.interval_s)

    def _demo_rows(self, chaos: Chaos | None) -> list[tuple[str, str]]:
        """What the demonstration does, for the screen."""
        rows = []
        if self.plan.traffic is not None:
            counts = read_counts(self.plan.traffic.state_dir)
            rows.append(("traffic", counts_text(counts) if counts else "none yet"))
        if chaos is not None:
            rows.append(("chaos", chaos.line()))
        return rows


def _last_lines(process: ProcessPlan) -> str:
    """What it wrote last, below the message."""
    written = process.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    return "".join(f"\n    {line}" for line in written) + f"\n    ({process.log})"

"""Carries out a demonstration's faults, one at a time, in the process that owns the cluster's processes.

What was killed is started again as a child like before, so it cannot outlive `primacy up`; what was frozen is thawed,
also when the demonstration ends in between. The next fault waits until the group is well and has been for a while.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from primacy.v1 import override_pb2, region_pb2
from primacy.v1.status_service_pb2 import GetStatusResponse
from primacy_wire.daemon import PARENT_VARIABLE, write_file

from primacy_cli.demo.faults import (
    OWNER,
    Act,
    Decide,
    Fault,
    Faults,
    Freeze,
    Kill,
    Primacy,
    Push,
    Start,
    Surge,
    Target,
    Thaw,
)
from primacy_cli.demo.model import make_model
from primacy_cli.local.plan import DEMO_MODEL, ClusterPlan
from primacy_cli.local.processes import Child

LOG = "chaos.log"
LOG_BYTES_MAX = 256 * 1024
"""Of what its commands said; nobody reads more of a demonstration."""
ENDED_S_MAX = 5.0
LIVES_S, AGAIN_S = 1.0, 2.0
"""What was started again has succeeded when it lives for so long; else it is started once more after so long."""


class Processes(Protocol):
    """Whose faults these are."""

    folder: Path
    plan: ClusterPlan
    children: list[Child]

    def start_again(self, title: str) -> None:
        """Raises OSError."""


class Chaos:
    """Stepped from the main thread, which alone may start children."""

    def __init__(
        self,
        processes: Processes,
        seed: int,
        every_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seed = seed
        self._processes = processes
        self._every_s = every_s
        self._clock = clock
        self._faults = Faults(seed)
        self._targets = _targets(processes.plan)
        self._fault: Fault | None = None
        self._begun_s = 0.0
        self._done = 0
        """Steps of the fault."""
        self._well_since_s: float | None = None
        self._commands: list[subprocess.Popen[bytes]] = []
        self._frozen: set[str] = set()
        self._starting: dict[str, float] = {}
        """Title -> when it was started last. Somebody may have taken its port meanwhile."""
        self._log = processes.folder / LOG
        self._folder = processes.folder / "chaos"
        self._count = 0

    def step(self, status: GetStatusResponse | None) -> str:
        """Do what is due. Returns what is to be announced, if anything is."""
        now = self._clock()
        self._commands = [command for command in self._commands if command.poll() is None]
        if self._fault is not None:
            return self._go_on(self._fault, now)
        if status is None or not self._is_well(status):
            self._well_since_s = None
            return ""
        if self._well_since_s is None:
            self._well_since_s = now
        if now - self._well_since_s < self._every_s:
            return ""
        self._count += 1
        self._fault = self._faults.next(self._targets, status.active_region)
        self._begun_s, self._done = now, 0
        self._note(self._fault.said)
        return f"chaos: {self._fault.said}{self._go_on(self._fault, now)}"

    def line(self) -> str:
        """For the screen: what goes on, or when something will."""
        if self._fault is not None:
            left = max(0.0, self._fault.length_s - (self._clock() - self._begun_s))
            return f"{self._fault.said} (fault {self._count}, {left:.0f} s left)"
        if self._well_since_s is None:
            return f"{self._count} faults so far; waits until all is well"
        left = max(0.0, self._every_s - (self._clock() - self._well_since_s))
        return f"{self._count} faults so far; the next one in {left:.0f} s (seed {self.seed})"

    def close(self) -> None:
        """Thaw what is frozen, and end the commands. The cluster's processes are ended by whoever has them."""
        for title in self._frozen:
            self._signal(title, signal.SIGCONT)
        for command in self._commands:
            with suppress(OSError):
                command.terminate()
        for command in self._commands:
            try:
                command.wait(ENDED_S_MAX)
            except subprocess.TimeoutExpired:
                command.kill()
                command.wait()
        self._commands = []

    def _go_on(self, fault: Fault, now: float) -> str:
        troubles = []
        while self._done < len(fault.steps) and now - self._begun_s >= fault.steps[self._done][0]:
            act = fault.steps[self._done][1]
            self._done += 1
            try:
                self._act(act)
            except OSError as error:
                troubles.append(f"; that failed: {error}")
                self._note(f"failed: {error}")
        troubles += self._look_after_started(now)
        waits = self._commands or self._starting
        if self._done == len(fault.steps) and now - self._begun_s >= fault.length_s and not waits:
            self._fault, self._well_since_s = None, None
            self._note("over")
        return "".join(troubles)

    def _look_after_started(self, now: float) -> list[str]:
        """What ended again is started again, until it lives."""
        troubles = []
        for title, began_s in list(self._starting.items()):
            if self._child(title) is not None:
                if now - began_s >= LIVES_S:
                    del self._starting[title]
            elif now - began_s >= AGAIN_S:
                self._starting[title] = now
                self._note(f"the {title} ended again: once more")
                try:
                    self._processes.start_again(title)
                except OSError as error:
                    troubles.append(f"; that failed: {error}")
        return troubles

    def _act(self, act: Act) -> None:
        """Raises OSError."""
        match act:
            case Kill():
                child = self._child(act.title)
                if child is not None:
                    child.told = True
                    child.signal(signal.SIGKILL)
            case Freeze():
                self._frozen.add(act.title)
                self._signal(act.title, signal.SIGSTOP)
            case Thaw():
                self._frozen.discard(act.title)
                self._signal(act.title, signal.SIGCONT)
            case Start():
                self._starting[act.title] = self._clock()
                self._processes.start_again(act.title)
            case Primacy():
                self._command("primacy_cli.main", *act.words)
            case Push():
                self._folder.mkdir(exist_ok=True)
                path = self._folder / "model.json"
                write_file(path, make_model(act.seed))
                words = ("model", "push", DEMO_MODEL, str(path), "--agent", act.agent_address)
                self._command("primacy_cli.main", *words, "-m", "a demonstration")
            case Decide():
                coordinator = self._processes.plan.coordinator.grpc
                self._command("primacy_cli.demo.decide", "--address", coordinator, "--key", act.key, "--owner", OWNER)
            case Surge():
                numbers = ("--clients", str(act.clients), "--seconds", f"{act.seconds:g}")
                self._command("primacy_cli.demo.surge", "--address", act.address, *numbers)

    def _command(self, module: str, *words: str) -> None:
        """Begin it; what it says goes into the log."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PRIMACY_")}
        environment[PARENT_VARIABLE] = str(os.getpid())
        environment["PRIMACY_ADDRESS"] = self._processes.plan.coordinator.grpc
        with self._log.open("ab") as log:
            command = subprocess.Popen(
                (sys.executable, "-P", "-m", module, *words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        self._commands.append(command)

    def _child(self, title: str) -> Child | None:
        """The living process."""
        return next(
            (child for child in self._processes.children if child.plan.title == title and not child.ending()), None
        )

    def _signal(self, title: str, number: signal.Signals) -> None:
        child = self._child(title)
        if child is not None:
            child.signal(number)

    def _is_well(self, status: GetStatusResponse) -> bool:
        """Everything lives and is healthy, nothing moves, and nobody has taken a region out."""
        names = {region.name for region in status.regions}
        return (
            bool(status.active_region)
            and names >= {target.name for target in self._targets}
            and all(region.status == region_pb2.REGION_STATUS_HEALTHY for region in status.regions)
            and all(agent.connected for region in status.regions for agent in region.agents)
            and not status.HasField("failover")
            and not status.HasField("doubt")
            and not any(each.kind == override_pb2.OVERRIDE_KIND_DRAIN for each in status.overrides)
            and not any(child.ending() for child in self._processes.children)
        )

    def _note(self, text: str) -> None:
        with suppress(OSError):
            if self._log.exists() and self._log.stat().st_size > LOG_BYTES_MAX:
                self._log.unlink()
            with self._log.open("a", encoding="utf-8") as log:
                log.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} fault {self._count}: {text}\n")


def _targets(plan: ClusterPlan) -> tuple[Target, ...]:
    return tuple(
        Target(
            each.place.name,
            tuple(service.title for service in each.services),
            tuple(agent.title for agent in each.agents),
            each.agents[0].grpc,
            tuple(service.http for service in each.services),
            each.place.capacity / len(each.services),
        )
        for each in plan.regions
    )

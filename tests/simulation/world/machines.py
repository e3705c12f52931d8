"""Machines that agents run on: clocks, disks, the service beside an agent, and the hooks that change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from primacy_agent.core.effects import KillHook, RunHook
from primacy_agent.core.events import HookDone
from primacy_agent.core.hooks import HookKind, HookSettings
from primacy_agent.core.memory import Memory
from primacy_wire.messages import Lag, Load, ServiceHealth, ServiceState

from tests.simulation.world.clock import Clock
from tests.simulation.world.copies import Shelf
from tests.simulation.world.options import HookPlan

if TYPE_CHECKING:
    from tests.simulation.world.agents import Life

EXIT_KILLED = -9


class Machine:
    """Where lives of one agent run one after another: its clock, its disk, its region's service."""

    def __init__(self, region: str, agent: str, clock: Clock) -> None:
        self.region = region
        self.agent = agent
        self.key = f"{region}/{agent}"
        self.clock = clock
        self.memory = Memory()
        self.healthy = True
        """The service works: its users and peers reach it."""
        self.probes_pass = True
        """What the agent's own probes find of a service that works; False: they alone think that it is down."""
        self.instances = 2
        self.instances_well = 2
        self.lag = Lag()
        self.in_flight = -1.0
        self.promoted_epoch = 0
        """The epoch that a hook has promoted the service for, with no `on_demote` begun since."""
        self.is_touched = False
        """A hook has begun to promote the service, and no `on_demote` has ended since."""
        self.shelf = Shelf()

    def health(self) -> ServiceHealth:
        if self.healthy and self.probes_pass:
            return ServiceHealth(ServiceState.UP, self.instances_well, self.instances)
        return ServiceHealth(ServiceState.DOWN, 0, self.instances, "it crashed")

    def load(self) -> Load:
        return Load(in_flight=self.in_flight)


def settings_of(plan: HookPlan | None) -> HookSettings:
    if plan is None:
        return HookSettings()
    return HookSettings("default", plan.promote, plan.demote, plan.promote_timeout_ns, plan.demote_timeout_ns)


class HookRunner:
    """What a shell owes the core of one life: it runs one hook at a time, and says how it ended."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._number = 0
        self.running: RunHook | None = None
        self.began_ns = 0

    def start(self, order: RunHook) -> None:
        life, world = self._life, self._life.world
        plan = world.hooks
        assert plan is not None
        if self.running is not None:
            world.fail("hooks", f"{life.name} starts {order.kind.value} beside {self.running.kind.value}")
        promotes = order.kind is HookKind.ON_PROMOTE
        machine = life.machine
        if promotes:
            machine.is_touched = True
        else:
            machine.promoted_epoch = 0
        self._number += 1
        self.running, self.began_ns = order, world.time_ns
        world.note(life.name, f"{order.kind.value} begins for epoch {order.epoch}")
        timeout_ns = plan.promote_timeout_ns if promotes else plan.demote_timeout_ns
        draw = world.draw.random()
        if draw < plan.hangs:
            world.count("hook hangs")
        elif draw < plan.hangs + plan.fails:
            world.after(world.draw.randint(0, plan.usual_ns), life.name, self._end, self._number, 1)
        elif draw < plan.hangs + plan.fails + plan.late:
            world.count("hook late")
            world.after(timeout_ns * 3 // 4, life.name, self._end, self._number, 0)
        else:
            world.after(world.draw.randint(0, plan.usual_ns), life.name, self._end, self._number, 0)

    def kill(self, order: KillHook) -> None:
        running = self.running
        if running is not None and (running.kind, running.epoch) == (order.kind, order.epoch):
            self._life.world.count("hook killed")
            self._life.world.after(1, self._life.name, self._end, self._number, EXIT_KILLED)

    def _end(self, number: int, exit_code: int) -> None:
        """The program ends whether its agent runs or is frozen; nobody hears of it when the agent is dead."""
        life, order = self._life, self.running
        if number != self._number or order is None or life.dead:
            return
        self.running = None
        machine = life.machine
        if exit_code == 0 and order.kind is HookKind.ON_PROMOTE:
            machine.promoted_epoch = order.epoch
        if exit_code == 0 and order.kind is HookKind.ON_DEMOTE:
            machine.is_touched = False
        word = {0: "succeeded", EXIT_KILLED: "killed"}.get(exit_code, "failed")
        life.world.count(f"{order.kind.value} {word}")
        life.world.note(life.name, f"{order.kind.value} for epoch {order.epoch} {word}")
        length_ns = life.world.time_ns - self.began_ns
        life.run(life.post, HookDone(order.kind, order.epoch, exit_code, "what it printed", length_ns))

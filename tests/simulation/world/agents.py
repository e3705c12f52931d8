"""An agent's process in the world: one life of the real lease holder, its disk, its connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from primacy_agent.core import lease as core
from primacy_agent.core.lease import LeaseHolder, Memory
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS, Now
from primacy_wire.messages import (
    Accept,
    Answer,
    FromAgent,
    Load,
    Offer,
    PeerSight,
    RegionSpec,
    ServiceHealth,
    ServiceState,
    ToAgent,
)

from tests.simulation.world.clock import Clock

if TYPE_CHECKING:
    from tests.simulation.world.world import World

SILENCE_NS_MAX = 3 * SECOND_NS
RECONNECT_NS = 700 * MILLISECOND_NS
UP = ServiceHealth(ServiceState.UP, 1, 1)
DOWN = ServiceHealth(ServiceState.DOWN, 0, 1, "it crashed")


class Machine:
    """Where lives of one agent run one after another: its clock, its disk, its region's service."""

    def __init__(self, region: str, agent: str, clock: Clock) -> None:
        self.region = region
        self.agent = agent
        self.key = f"{region}/{agent}"
        self.clock = clock
        self.memory = Memory()
        self.healthy = True


class Life:
    """One process."""

    def __init__(self, world: World, machine: Machine, number: int) -> None:
        self.world = world
        self.machine = machine
        self.name = machine.key
        self.incarnation = f"life-{number}"
        self.holder = LeaseHolder(machine.region, machine.agent, self.incarnation, machine.memory)
        self.dead = False
        self.paused_until = 0
        self.connection = 0
        self.heard_ns = 0
        self._writing: list[core.Persist | core.Send] = []
        self._busy = False

    # ---- the loop

    def begin(self) -> None:
        self.world.after(self.world.draw.randint(0, SECOND_NS), self.name, self._connect)
        self.world.after(self.world.draw.randint(0, SECOND_NS), self.name, self._tick)

    def now(self) -> Now:
        return self.machine.clock.now(self.world.time_ns)

    def run(self, work: object, *values: object) -> None:
        """Do something unless this process is dead; later when it is paused."""
        if self.dead:
            return
        if self.paused_until > self.world.time_ns:
            self.world.at(self.paused_until + 1, self.name, self.run, work, *values)
            return
        work(*values)  # type: ignore[operator]

    def _connect(self) -> None:
        self.run(self._connect_now)

    def _connect_now(self) -> None:
        if self.connection or self.holder.superseded:
            return
        self.connection = self.world.next_connection()
        self.heard_ns = self.world.time_ns
        hello = self.holder.hello("default", f"host-{self.name}", f"{self.name}:1", RegionSpec())
        self.world.to_coordinator(self, self.connection, hello)

    def _tick(self) -> None:
        self.run(self._tick_now)
        if not self.dead:
            self.world.after(self.world.report_ns, self.name, self._tick)

    def _tick_now(self) -> None:
        self.post(core.TimePassed())
        if self.connection and self.world.time_ns - self.heard_ns > SILENCE_NS_MAX:
            self.lose("silence")
        if self.connection:
            self.report()
        elif not self.holder.superseded:
            self._connect_now()

    def report(self) -> None:
        health = UP if self.machine.healthy else DOWN
        report = self.holder.report(self.now(), health, Load(), self._sights(), ())
        self.world.to_coordinator(self, self.connection, report)

    def _sights(self) -> tuple[PeerSight, ...]:
        seen = []
        for region in self.world.regions:
            if region != self.machine.region:
                machines = self.world.machines_of(region)
                reached = any(m.healthy and self.world.network.is_open(self.name, m.key) for m in machines)
                seen.append(PeerSight(region, "", reached, 5 * MILLISECOND_NS, 200 * MILLISECOND_NS))
        return tuple(seen)

    def lose(self, reason: str, superseded: bool = False) -> None:
        """The stream is over."""
        if not self.connection:
            return
        self.connection = 0
        self.post(core.LinkDown(superseded, reason))
        if not superseded:
            self.world.after(self.world.draw.randint(0, 2 * RECONNECT_NS), self.name, self._connect)

    def receive(self, message: ToAgent) -> None:
        self.run(self._receive_now, message)

    def _receive_now(self, message: ToAgent) -> None:
        self.heard_ns = self.world.time_ns
        was = self.holder.active(self.now()).remaining_ns > 0
        self.post(core.Received(message))
        if not was and isinstance(message, Answer) and self.holder.active(self.now()).remaining_ns > 0:
            self.world.count("revival")
        if isinstance(message, Answer) and message.renews:
            self.world.count("renewal")
        if isinstance(message, Offer) and message.epoch in self.holder._accepting:
            self.world.count("offer taken")

    # ---- the core

    def post(self, event: core.AgentEvent) -> None:
        frozen = self.holder._freeze is not None
        for effect in self.holder.handle(self.now(), event):
            match effect:
                case core.Persist() | core.Send() if self._writing or isinstance(effect, core.Persist):
                    self._writing.append(effect)
                    self._write()
                case core.Send(message):
                    self._say(message)
                case core.ReportSoon():
                    if self.connection:
                        self.report()
                case _:
                    pass
        if frozen and isinstance(event, core.TimePassed) and self.holder._freeze is None:
            self.world.count("freeze ended by itself")
        self.world.check_active(self.name)

    def _say(self, message: FromAgent) -> None:
        """I7: nothing is accepted that the disk does not know."""
        if isinstance(message, Accept) and message.epoch > self.machine.memory.accepted_epoch:
            self.world.fail("I7", f"{self.name} accepts epoch {message.epoch} before it is durable")
        self.world.to_coordinator(self, self.connection, message)

    def _write(self) -> None:
        if not self._busy and self._writing:
            self._busy = True
            self.world.after(self.world.disk_ns(), self.name, self._written)

    def _written(self) -> None:
        self.run(self._written_now)

    def _written_now(self) -> None:
        self._busy = False
        head = self._writing.pop(0)
        assert isinstance(head, core.Persist)
        self.machine.memory = head.memory
        while self._writing and isinstance(self._writing[0], core.Send):
            self._say(self._writing.pop(0).message)  # type: ignore[union-attr]
        self.post(core.Durable(head.batch))
        self._write()

"""An agent's process in the world: one life of the real lease holder, its disk, its connection."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from primacy_agent.core import effects, events
from primacy_agent.core.hooks import HookKind
from primacy_agent.core.lease import LeaseHolder
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS, Now
from primacy_wire.log_messages import Entries, RetryParked, TransferPlan
from primacy_wire.messages import (
    Accept,
    Answer,
    FromAgent,
    HookRan,
    Offer,
    PeerSight,
    Phase,
    RegionSpec,
    Released,
    RouteCount,
    ToAgent,
)

from tests.simulation.world.copies import Copy
from tests.simulation.world.machines import HookRunner, Machine, settings_of

if TYPE_CHECKING:
    from tests.simulation.world.world import World

SILENCE_NS_MAX = 3 * SECOND_NS
RECONNECT_NS = 700 * MILLISECOND_NS
IDLE_NS_MAX = 5 * SECOND_NS
"""Nobody holds a lease for so long while no hook runs and nothing is written, without its service being active."""


class Life:
    """One process."""

    def __init__(self, world: World, machine: Machine, number: int) -> None:
        self.world = world
        self.machine = machine
        self.name = machine.key
        self.incarnation = f"life-{number}"
        hooks = settings_of(world.hooks)
        self.holder = LeaseHolder(machine.region, machine.agent, self.incarnation, machine.memory, hooks)
        self.hooks = HookRunner(self)
        self.copy = Copy(self)
        self.dead = False
        self.paused_until = 0
        self.connection = 0
        self.heard_ns = 0
        self._writing: list[effects.Persist | effects.Send] = []
        self._busy = False
        self._timer_ns = 0
        self._idle_ns = 0
        """Since when it holds a lease without being active, and nothing is under way that would make it so; 0: no."""

    # ---- the loop

    def begin(self) -> None:
        self.copy.begin()
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
        hello = self.holder.hello("default", f"host-{self.name}", f"{self.name}:1", self.spec())
        self.world.to_coordinator(self, self.connection, hello)
        self.copy.link_up()
        self.copy.submit()

    def _tick(self) -> None:
        self.run(self._tick_now)
        if not self.dead:
            self.world.after(self.world.report_ns, self.name, self._tick)

    def _tick_now(self) -> None:
        self.post(events.TimePassed())
        if self.connection and self.world.time_ns - self.heard_ns > SILENCE_NS_MAX:
            self.lose("silence")
        if self.connection:
            self.report()
        elif not self.holder.superseded:
            self._connect_now()

    def report(self) -> None:
        machine = self.machine
        report = self.holder.report(self.now(), machine.health(), machine.load(), self.sights(), self.routed())
        report = replace(report, lag=machine.lag)
        self.world.to_coordinator(self, self.connection, report)
        self.copy.say()

    def spec(self) -> RegionSpec:
        """What its configuration says of its region."""
        return RegionSpec(priority=self.world.options.priorities.get(self.machine.region))

    def routed(self) -> tuple[RouteCount, ...]:
        """What it routed in this life."""
        return ()

    def sights(self) -> tuple[PeerSight, ...]:
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
        self.post(events.LinkDown(superseded, reason))
        if not superseded:
            self.world.after(self.world.draw.randint(0, 2 * RECONNECT_NS), self.name, self._connect)

    def receive(self, message: ToAgent) -> None:
        self.run(self._receive_now, message)

    def _receive_now(self, message: ToAgent) -> None:
        self.heard_ns = self.world.time_ns
        if isinstance(message, Entries | RetryParked | TransferPlan):
            self.copy.receive(message)
            return
        was = self.holder.active(self.now()).remaining_ns > 0
        self.post(events.Received(message))
        if not was and isinstance(message, Answer) and self.holder.active(self.now()).remaining_ns > 0:
            self.world.count("revival")
        if isinstance(message, Answer) and message.renews:
            self.world.count("renewal")
        if isinstance(message, Offer) and message.epoch in self.holder._accepting:
            self.world.count("offer taken")

    # ---- the core

    def post(self, event: events.AgentEvent) -> None:
        frozen = self.holder._freeze is not None
        for effect in self.holder.handle(self.now(), event):
            match effect:
                case effects.Persist() | effects.Send() if self._writing or isinstance(effect, effects.Persist):
                    self._writing.append(effect)
                    self._write()
                case effects.Send(message):
                    self._say(message)
                case effects.ReportSoon():
                    if self.connection:
                        self.report()
                case effects.RunHook():
                    self.hooks.start(effect)
                case effects.KillHook():
                    self.hooks.kill(effect)
                case _:
                    pass
        if frozen and isinstance(event, events.TimePassed) and self.holder._freeze is None:
            self.world.count("freeze ended by itself")
        self._check_service()
        self._arm()
        self.world.check_active(self.name)

    def _arm(self) -> None:
        """Wake the core when it asked to be."""
        due_ns = self.holder.next_deadline()
        if due_ns is None:
            self._timer_ns = 0
            return
        at_ns = max(self.machine.clock.world_ns(due_ns), self.world.time_ns + MILLISECOND_NS)
        if at_ns != self._timer_ns:
            self._timer_ns = at_ns
            self.world.at(at_ns, self.name, self._ring, at_ns)

    def _ring(self, at_ns: int) -> None:
        if at_ns == self._timer_ns:
            self._timer_ns = 0
            self.run(self.post, events.TimePassed())

    def _check_service(self) -> None:
        """Nobody is active before its hook has promoted the service, nor holds a lease for nothing."""
        plan, machine, view = self.world.hooks, self.machine, self.holder.active(self.now())
        if plan is None:
            return
        if view.active and plan.promote and machine.promoted_epoch != view.epoch:
            self.world.fail(
                "hooks", f"{self.name} is active at {view.epoch}, its service was promoted for {machine.promoted_epoch}"
            )
        if view.active and self.hooks.running is not None and self.hooks.running.kind is HookKind.ON_DEMOTE:
            self.world.fail("hooks", f"{self.name} is active at {view.epoch} while its service is being demoted")
        idle = view.remaining_ns > 0 and view.phase is Phase.PROMOTING and self.hooks.running is None
        if not idle or self._writing:
            self._idle_ns = 0
        elif not self._idle_ns:
            self._idle_ns = self.world.time_ns
        elif self.world.time_ns - self._idle_ns > IDLE_NS_MAX:
            self.world.fail("hooks", f"{self.name} holds epoch {view.epoch}, and nothing promotes its service")

    def _say(self, message: FromAgent) -> None:
        """I7: nothing is accepted that the disk does not know."""
        if isinstance(message, Accept) and message.epoch > self.machine.memory.accepted_epoch:
            self.world.fail("I7", f"{self.name} accepts epoch {message.epoch} before it is durable")
        if isinstance(message, Released) and self.hooks.running is not None:
            self.world.fail("hooks", f"{self.name} says that it released {message.epoch} while a hook runs")
        if isinstance(message, HookRan):
            self.world.count(f"told: {message.hook} {message.outcome}")
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
        assert isinstance(head, effects.Persist)
        self.machine.memory = head.memory
        while self._writing and isinstance(self._writing[0], effects.Send):
            self._say(self._writing.pop(0).message)  # type: ignore[union-attr]
        self.post(events.Durable(head.batch))
        self._write()

"""The world: one group's processes and messages; the invariants are checked at every step that could break them."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable

from primacy_agent.core.views import ActiveView
from primacy_coordinator.core.effects import Journal
from primacy_coordinator.core.log_model import Draft
from primacy_coordinator.core.model import PolicyRecord
from primacy_coordinator.shell.brake import Brake
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.messages import FromAgent, Hello, ToAgent

from tests.simulation.world.agents import Life
from tests.simulation.world.clock import Clock
from tests.simulation.world.coordinator import NAME, Coordinator, Disk
from tests.simulation.world.faults import FAULTS
from tests.simulation.world.machines import Machine
from tests.simulation.world.network import Network
from tests.simulation.world.options import Broken, Options
from tests.simulation.world.telling import brief
from tests.simulation.world.timeline import Timeline

FIRST_FAULT_NS = 8 * SECOND_NS


def is_believed(view: ActiveView, life: Life) -> bool:
    """Whether a service that was told of this life's lease may act on it: it compares BOOTTIME with the deadline."""
    return view.remaining_ns > 0 or view.deadline_mono_ns > life.now().mono_ns


class World:
    """One group. Several share a timeline and a brake: they are groups of one coordinator (see `fleet`)."""

    life_type: type[Life] = Life
    """What an agent's process is; a benchmark gives its agents more to see and to report."""

    def __init__(
        self, seed: int, options: Options, timeline: Timeline | None = None, brake: Brake | None = None, name: str = "g"
    ) -> None:
        self.seed = seed
        self.name = name
        self.options = options
        self.hooks = options.hooks
        self.draw = random.Random(seed)
        self.timeline = timeline or Timeline()
        self.brake = brake or Brake(options.failovers_max)
        self.counts: Counter[str] = Counter()
        self.trace: deque[str] = deque(maxlen=options.trace_kept)
        self._numbers = 0
        self.policy = options.policy()
        self.report_ns = self.policy.report_interval_ns
        self.network = Network(self.draw, options.weather)
        self.regions = sorted(options.regions)
        self.machines = [
            Machine(region, f"a{number}", self.clock())
            for region, count in sorted(options.regions.items())
            for number in range(1, count + 1)
        ]
        self.late = self.draw.choice(self.machines) if "late" in options.faults and len(self.machines) > 2 else None
        self.lives: list[Life] = []
        self.ghosts: list[Life] = []
        self.coordinator = Coordinator(self, self.clock(), Disk("store-0"))
        self.backup: Disk | None = None
        self.forgotten_above: int | None = None
        """Epochs above this one were forgotten with a store: until an agent speaks of them they may come again."""
        self.granted: dict[int, str] = {}
        self.late_ns = 0
        self._last_active: dict[str, int] = {}
        self.written: dict[str, Draft] = {}
        """Every document that any service wrote, by id."""
        self.acknowledged: set[str] = set()
        """Those whose writer was told that the group has them, in the log or as a conflict."""

    def clock(self) -> Clock:
        # Each rate is within the bound of the world's, and often at it: then no margin is to spare on either side.
        bound = max(self.options.drift_ppm - 1, 0)
        rate = self.draw.choice([-bound, bound, self.draw.randint(-bound, bound)])
        return Clock(rate, self.draw.randint(0, 10**15), 1_700_000_000 * SECOND_NS + self.draw.randint(0, 10**12))

    # ---- time

    @property
    def time_ns(self) -> int:
        return self.timeline.time_ns

    def at(self, time_ns: int, who: str, work: Callable[..., None], *values: object) -> None:
        self.timeline.at(time_ns, self, who, work, *values)

    def after(self, delay_ns: int, who: str, work: Callable[..., None], *values: object) -> None:
        self.at(self.time_ns + delay_ns, who, work, *values)

    def run_for(self, length_ns: int) -> None:
        self.timeline.run_for(length_ns)

    def disk_ns(self) -> int:
        if self.draw.random() < self.options.slow_disk:
            return self.draw.randint(0, 3 * SECOND_NS)
        return self.draw.randint(MILLISECOND_NS // 10, 5 * MILLISECOND_NS)

    def next_connection(self) -> int:
        self._numbers += 1
        return self._numbers

    # ---- processes

    def begin(self) -> None:
        # The drift bound must be the world's from the start: a store that refuses the policy would forget it.
        self.coordinator.disk.apply((PolicyRecord(self.policy),))
        self.coordinator.start()
        for machine in self.machines:
            if machine is not self.late:
                self.boot(machine)
        if self.options.faults:
            self.after(FIRST_FAULT_NS, "fault", self._fault)

    def _fault(self) -> None:
        name = self.draw.choice(self.options.faults)
        self.note("fault", name)
        FAULTS[name](self)
        self.after(int(self.draw.expovariate(1 / self.options.fault_every_ns)), "fault", self._fault)

    def boot(self, machine: Machine) -> Life:
        life = self.life_type(self, machine, self.next_connection())
        self.lives.append(life)
        self.note(life.name, f"{life.incarnation} begins")
        life.begin()
        return life

    def kill(self, life: Life) -> None:
        """The process is gone; what it told its service lives on until the lease that it told of ends."""
        life.dead = True
        self.note(life.name, f"{life.incarnation} is killed")
        self.lives.remove(life)
        if is_believed(life.holder.active(life.now()), life):
            self.count("ghost")
            self.ghosts.append(life)
        number = life.connection
        if number and self.draw.random() < 0.5 and (life.name, NAME) not in self.network.cuts:
            self.after(
                self.draw.randint(0, SECOND_NS // 2), NAME, self.coordinator.run, self.coordinator.drop_session, number
            )

    def machines_of(self, region: str) -> list[Machine]:
        return [m for m in self.machines if m.region == region and m is not self.late]

    # ---- messages

    def to_coordinator(self, life: Life, connection: int, message: FromAgent) -> None:
        if not connection:
            return
        for delay_ns in self.network.delays_ns(life.name, NAME):
            if isinstance(message, Hello):
                delay_ns = min(delay_ns, SECOND_NS)  # noqa: PLW2901  (a stream opens soon or not at all)
            self.after(delay_ns, NAME, self._arrive, life, connection, message)

    def _arrive(self, life: Life, connection: int, message: FromAgent) -> None:
        self.note(f"{life.name} -> coordinator", brief(message))
        self.coordinator.receive(life, connection, message)

    def to_agent(self, life: Life, message: ToAgent) -> None:
        for delay_ns in self.network.delays_ns(NAME, life.name):
            self.after(delay_ns, life.name, self._deliver, life, message)

    def _deliver(self, life: Life, message: ToAgent) -> None:
        self.note(f"coordinator -> {life.name}", brief(message))
        # A late message may meet the agent's next life: it must know that it is not meant.
        targets = [other for other in self.lives if other.name == life.name]
        for target in targets or [life]:
            target.receive(message)

    def to_agent_close(self, life: Life, number: int, reason: str, superseded: bool) -> None:
        for delay_ns in self.network.delays_ns(NAME, life.name)[:1]:
            self.after(delay_ns, life.name, self._close, life, number, reason, superseded)

    def _close(self, life: Life, number: int, reason: str, superseded: bool) -> None:
        if life.connection == number:
            life.run(life.lose, reason, superseded)

    # ---- what is checked

    def check_active(self, cause: str) -> None:
        """I1: no two regions are active, each by its own clock; steps of the wall clock excuse nothing."""
        active: dict[str, int] = {}
        for life in [*self.lives, *self.ghosts]:
            view = life.holder.active(life.now())
            if is_believed(view, life):
                if view.epoch > life.machine.memory.accepted_epoch:
                    self.fail("I7", f"{life.name} holds epoch {view.epoch}, and its disk does not know")
                active[life.machine.region] = view.epoch
                owner = self.granted.setdefault(view.epoch, life.machine.region)
                again = self.forgotten_above is not None and view.epoch > self.forgotten_above
                if owner != life.machine.region and not again:
                    self.fail("I2", f"epoch {view.epoch} belongs to {owner} and to {life.machine.region}")
        self.ghosts = [g for g in self.ghosts if is_believed(g.holder.active(g.now()), g)]
        if active != self._last_active:
            self._last_active = active
            self.note("ACTIVE", ", ".join(f"{region} epoch {epoch}" for region, epoch in active.items()) or "nobody")
        if len(active) > 1:
            self.fail("I1", f"{active} after {cause}")

    def fail(self, name: str, what: str) -> None:
        """Give up, with the way there: the message's first line says what, the rest is the trace."""
        head = f"{name} is broken in seed {self.seed} at {self.time_ns / SECOND_NS:.3f} s: {what}"
        raise Broken(name, "\n".join([head, *self.trace]))

    def note(self, who: str, what: object) -> None:
        self.trace.append(f"{self.time_ns / SECOND_NS:10.4f} {who:>22}  {what}")

    def journal(self, entry: Journal) -> None:
        self.count(entry.kind)
        self.note("journal", f"{entry.kind}: {entry.message}")

    def count(self, what: str) -> None:
        self.counts[what] += 1

    # ---- who is active

    def active(self) -> set[str]:
        """Regions with an agent that says so; one that is frozen does not."""
        return {life.machine.region for life in self.lives if life.holder.active(life.now()).active}

    def known(self) -> str:
        group = self.coordinator.group
        return group.lease_view(self.coordinator.now()).active_region if group is not None else ""

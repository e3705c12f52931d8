"""The world: time, faults, and the invariants, checked at every step at which they could break."""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from primacy_agent.core.lease import ActiveView, ReleaseNow
from primacy_coordinator.core import events
from primacy_coordinator.core.effects import Journal
from primacy_coordinator.core.model import Policy, PolicyRecord
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.messages import FromAgent, Hello, ToAgent

from tests.simulation.world.agents import Life, Machine
from tests.simulation.world.clock import Clock
from tests.simulation.world.coordinator import NAME, Coordinator, Disk
from tests.simulation.world.network import FAIR, Network, Weather
from tests.simulation.world.telling import brief

DRIFT_PPM = 100_000
"""Ten times the product's bound, so that a forgotten margin shows."""
TTLS_NS = (5 * SECOND_NS, 4 * SECOND_NS, 12 * SECOND_NS)
TRACE_KEPT = 120
SETTLED_NS_MAX = 60 * SECOND_NS
"""Within so long after the healing one region is active; a doubt about the store has its own wait before that."""
DOUBTS_MAX = 3


@dataclass(frozen=True)
class Options:
    """What may happen in a schedule."""

    regions: dict[str, int]
    weather: Weather = FAIR
    faults: tuple[str, ...] = ()
    fault_every_ns: int = 4 * SECOND_NS
    refuse: float = 0.0
    """Share of batches that the store refuses."""
    slow_disk: float = 0.02
    drift_ppm: int = DRIFT_PPM
    grace_ns: int = SECOND_NS
    brake_ns: int = SECOND_NS // 100
    """How long the coordinator's brake over groups holds a failover."""
    trace_kept: int | None = TRACE_KEPT
    """How many lines of the trace a failure prints; None: all."""


class Broken(AssertionError):
    """An invariant does not hold. The message has the seed and the way there."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


def is_believed(view: ActiveView, life: Life) -> bool:
    """Whether a service that was told of this life's lease may act on it: it compares BOOTTIME with the deadline."""
    return view.remaining_ns > 0 or view.deadline_mono_ns > life.now().mono_ns


def _links(cuts: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{source} -> {target}" for source, target in sorted(cuts))


class World:
    def __init__(self, seed: int, options: Options) -> None:
        self.seed = seed
        self.options = options
        self.draw = random.Random(seed)
        self.time_ns = 0
        self.counts: Counter[str] = Counter()
        self.trace: deque[str] = deque(maxlen=options.trace_kept)
        self._heap: list[tuple[int, int, str, Callable[..., None], tuple[object, ...]]] = []
        self._order = 0
        self._numbers = 0
        self.policy = Policy(
            lease_ttl_ns=TTLS_NS[0],
            drift_ppm=options.drift_ppm,
            grace_ns=options.grace_ns,
            first_wait_ns=SECOND_NS,
            stable_for_ns=5 * SECOND_NS,
            switchover_timeout_ns=6 * SECOND_NS,
        )
        self.report_ns = self.policy.report_interval_ns
        self.network = Network(self.draw, options.weather)
        self.regions = sorted(options.regions)
        self.machines = [
            Machine(region, f"a{number}", self._clock())
            for region, count in sorted(options.regions.items())
            for number in range(1, count + 1)
        ]
        self.late = self.draw.choice(self.machines) if "late" in options.faults and len(self.machines) > 2 else None
        self.lives: list[Life] = []
        self.ghosts: list[Life] = []
        self.coordinator = Coordinator(self, self._clock(), Disk("store-0"))
        self.backup: Disk | None = None
        self.forgotten_above: int | None = None
        """Epochs above this one were forgotten with a store: until an agent speaks of them they may come again."""
        self.granted: dict[int, str] = {}
        self.late_ns = 0
        self._last_active: dict[str, int] = {}

    def _clock(self) -> Clock:
        # Each rate is within the bound of the world's, and often at it: then no margin is to spare on either side.
        bound = self.options.drift_ppm - 1
        rate = self.draw.choice([-bound, bound, self.draw.randint(-bound, bound)])
        return Clock(rate, self.draw.randint(0, 10**15), 1_700_000_000 * SECOND_NS + self.draw.randint(0, 10**12))

    # ---- time

    def at(self, time_ns: int, who: str, work: Callable[..., None], *values: object) -> None:
        self._order += 1
        heapq.heappush(self._heap, (max(time_ns, self.time_ns), self._order, who, work, values))

    def after(self, delay_ns: int, who: str, work: Callable[..., None], *values: object) -> None:
        self.at(self.time_ns + delay_ns, who, work, *values)

    def run_for(self, length_ns: int) -> None:
        end_ns = self.time_ns + length_ns
        while self._heap and self._heap[0][0] <= end_ns:
            self.time_ns, _, _, work, values = heapq.heappop(self._heap)
            work(*values)
        self.time_ns = end_ns

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
            self.after(8 * SECOND_NS, "fault", self._fault)

    def boot(self, machine: Machine) -> Life:
        life = Life(self, machine, self.next_connection())
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

    # ---- faults

    def _fault(self) -> None:
        name = self.draw.choice(self.options.faults)
        self.note("fault", name)
        getattr(self, f"fault_{name}")()
        self.after(int(self.draw.expovariate(1 / self.options.fault_every_ns)), "fault", self._fault)

    def fault_late(self) -> None:
        if self.late is not None:
            machine, self.late = self.late, None
            self.boot(machine)
            self.count("late agent")

    def fault_cut(self) -> None:
        """A region loses the coordinator, in one direction or both, and perhaps its peers, for a while."""
        machines = self.machines_of(self.draw.choice(self.regions))
        if self.draw.random() < 0.3:
            machines = machines[:1]
        ways = self.draw.choice([("out",), ("in",), ("out", "in"), ("out", "in")])
        cuts = set()
        for machine in machines:
            cuts |= {(machine.key, NAME)} if "out" in ways else set()
            cuts |= {(NAME, machine.key)} if "in" in ways else set()
        if self.draw.random() < 0.5:
            cuts |= {(m.key, o.key) for m in machines for o in self.machines if o.region != m.region}
        self.count("one-way cut" if len(ways) == 1 else "cut")
        self.network.cuts |= cuts
        self.note("fault", f"cut {_links(cuts)}")
        self.after(self.draw.randint(SECOND_NS, 20 * SECOND_NS), "fault", self._mend, frozenset(cuts))

    def _mend(self, cuts: frozenset[tuple[str, str]]) -> None:
        self.network.cuts -= cuts
        self.note("fault", f"mended {_links(cuts)}")

    def fault_pause(self) -> None:
        length_ns = self.draw.randint(SECOND_NS // 2, 15 * SECOND_NS)
        if self.draw.random() < 0.3 and self.coordinator.group is not None:
            self.count("coordinator pause")
            self.note("fault", f"the coordinator stands still for {length_ns / SECOND_NS:.1f} s")
            self.coordinator.paused_since = self.coordinator.paused_since or self.time_ns
            self.coordinator.paused_until = self.time_ns + length_ns
        elif self.lives:
            self.count("agent pause")
            life = self.draw.choice(self.lives)
            life.paused_until = self.time_ns + length_ns
            self.note("fault", f"{life.name} {life.incarnation} stands still for {length_ns / SECOND_NS:.1f} s")

    def fault_restart(self) -> None:
        if not self.lives:
            return
        life = self.draw.choice(self.lives)
        self.kill(life)
        self.count("agent restart")
        self.after(self.draw.randint(0, 6 * SECOND_NS), life.name, self._reboot, life.machine)

    def _reboot(self, machine: Machine) -> None:
        if not any(life.name == machine.key for life in self.lives):
            self.boot(machine)

    def fault_leave(self) -> None:
        """An agent gives up what it holds, by itself."""
        if self.lives:
            life = self.draw.choice(self.lives)
            self.count("release by itself")
            life.run(life.post, ReleaseNow("it leaves"))

    def fault_twin(self) -> None:
        """Somebody copies a machine, state folder and all: two processes with one identity, each on its own clock."""
        if self.lives:
            self.count("twin")
            original = self.draw.choice(self.lives).machine
            copy = Machine(original.region, original.agent, self._clock())
            copy.memory = original.memory
            self.boot(copy)

    def fault_crash(self) -> None:
        if self.coordinator.group is not None:
            self.coordinator.crash()
            self.after(self.draw.randint(0, 12 * SECOND_NS), NAME, self._restart_coordinator)

    def _restart_coordinator(self) -> None:
        if self.coordinator.group is None:
            self.coordinator.paused_until = self.coordinator.paused_since = 0
            self.coordinator.start()

    def fault_health(self) -> None:
        region = self.draw.choice(self.regions)
        for machine in self.machines_of(region):
            machine.healthy = not machine.healthy or self.draw.random() < 0.3
        self.count("service fault")

    def fault_move(self) -> None:
        target = self.draw.choice([*self.regions, ""])
        forced = self.draw.random() < 0.4
        self.coordinator.ask(events.MoveActive(0, target, forced=forced))

    def fault_ttl(self) -> None:
        ttl_ns = self.draw.choice(TTLS_NS)
        self.count("ttl longer" if ttl_ns > self.policy.lease_ttl_ns else "ttl shorter")
        self.policy = Policy(
            **{**{f: getattr(self.policy, f) for f in Policy.__dataclass_fields__}, "lease_ttl_ns": ttl_ns}
        )
        self.coordinator.ask(events.SetPolicy(0, self.policy))

    def fault_wall(self) -> None:
        """Somebody sets a clock."""
        clocks = [m.clock for m in self.machines] + [self.coordinator.clock]
        self.draw.choice(clocks).wall_ns += self.draw.randint(-3600, 3600) * SECOND_NS
        self.count("wall clock step")
        self.check_active("a step of a wall clock")

    def fault_store(self) -> None:
        """Copies of the store are made, and put back; or it is lost."""
        what = self.draw.random()
        if self.backup is None or what < 0.4:
            self.backup = self.coordinator.disk.copy()
            return
        self.coordinator.crash()
        if what < 0.8:
            self.count("store put back")
            self.coordinator.disk = self.backup.copy()
        else:
            self.count("store lost")
            self.coordinator.disk = Disk(f"store-{self.next_connection()}")
            self.coordinator.disk.apply((PolicyRecord(self.policy),))
        known = self.coordinator.disk.lease.epoch
        self.forgotten_above = known if self.forgotten_above is None else min(known, self.forgotten_above)
        self.after(self.draw.randint(0, 8 * SECOND_NS), NAME, self._restart_coordinator)
        self.after(self.draw.randint(0, 80 * SECOND_NS), "fault", self._recover)

    def _recover(self) -> None:
        """The operator has had enough, whoever is missing."""
        self.coordinator.ask(events.Recover(0, confirm=True, owner="ops"))

    # ---- the end

    def heal(self) -> None:
        """No more faults; everybody is there, and hears everybody."""
        self.options = Options(self.options.regions, drift_ppm=self.options.drift_ppm, slow_disk=0.0)
        self._heap = [entry for entry in self._heap if entry[2] != "fault"]
        heapq.heapify(self._heap)
        self.network.cuts.clear()
        self.late_ns = self.network.weather.late_ns if self.network.weather.late else 0
        self.network.weather = FAIR
        self.coordinator.paused_until = min(self.coordinator.paused_until, self.time_ns)
        for life in self.lives:
            life.paused_until = min(life.paused_until, self.time_ns)
        for machine in self.machines:
            machine.healthy = True
        for machine in self.machines:
            alive = [life for life in self.lives if life.name == machine.key and not life.holder.superseded]
            if machine is not self.late and not alive:
                # The state folder is locked: a process that is refused for good makes room for the next.
                for life in [life for life in self.lives if life.machine is machine]:
                    self.kill(life)
                self.boot(machine)
        self._restart_coordinator()

    def expect_settled(self) -> None:
        """Liveness: one region becomes active, the coordinator agrees, and it stays so."""
        end_ns = self.time_ns + SETTLED_NS_MAX
        doubts: set[str] = set()
        # What was sent before the healing may still be on its way, and may raise a doubt.
        self.run_for(max(3 * SECOND_NS, self.late_ns))
        while not self._is_settled():
            if self.time_ns >= end_ns:
                self.fail("liveness", f"{self.active()} active, coordinator says {self.known()}")
            self.run_for(SECOND_NS)
            group = self.coordinator.group
            assert group is not None
            plan = group.recovery_plan(self.coordinator.now())
            if plan.needed:
                if not plan.confirmed:
                    self.coordinator.ask(events.Recover(0, confirm=True, owner="ops"))
                if plan.reason not in doubts and len(doubts) < DOUBTS_MAX:
                    doubts.add(plan.reason)
                    end_ns = self.time_ns + 5 * plan.wait_ns // 4 + SETTLED_NS_MAX
        self.run_for(10 * SECOND_NS)
        if not self._is_settled():
            self.fail("liveness", f"not stable: {self.active()} active, coordinator says {self.known()}")

    def _is_settled(self) -> bool:
        group = self.coordinator.group
        active = self.active()
        if group is None or len(active) != 1:
            return False
        now = self.coordinator.now()
        lease = group.lease_view(now)
        # In the wait after a start a lease may lapse that will be given back.
        return lease.active_region in active and not lease.wait_ns and not group.recovery_plan(now).needed

    def active(self) -> set[str]:
        """Regions with an agent that says so; one that is frozen does not."""
        return {life.machine.region for life in self.lives if life.holder.active(life.now()).active}

    def known(self) -> str:
        group = self.coordinator.group
        return group.lease_view(self.coordinator.now()).active_region if group is not None else ""

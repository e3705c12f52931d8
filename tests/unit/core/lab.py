"""A group and its agents on one table: real cores, one clock, messages that arrive at once. Faults are set by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from primacy_agent.core import effects as agent_effects
from primacy_agent.core import events as agent_events
from primacy_agent.core.lease import LeaseHolder
from primacy_agent.core.memory import Memory
from primacy_coordinator.core import effects, events
from primacy_coordinator.core.effects import Journal, Reply
from primacy_coordinator.core.group import Group
from primacy_coordinator.core.model import Loaded, Policy, Record
from primacy_coordinator.core.views import MovePlan
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS, Now
from primacy_wire.messages import (
    Accept,
    Lag,
    Load,
    PeerSight,
    Phase,
    RegionSpec,
    RouteCount,
    ServiceHealth,
    ServiceState,
    WeightsUpdate,
)

UP = ServiceHealth(ServiceState.UP, 1, 1)
DOWN = ServiceHealth(ServiceState.DOWN, 0, 1, "connection refused")


@dataclass
class Node:
    """One life of an agent, with the faults that a test puts on it."""

    holder: LeaseHolder
    session: int | None = None
    health: ServiceHealth = UP
    cut: bool = False
    deaf: bool = False
    """Hears nothing, but is heard."""
    sees: dict[str, bool] = field(default_factory=dict)
    load: Load = Load()
    lag: Lag = Lag()
    routed: tuple[RouteCount, ...] = ()
    weights: WeightsUpdate | None = None
    """The last that it was told."""
    promoting: bool = False
    """Its service is still being promoted: it accepts and reports so."""
    due_ns: int = 0
    disk: Memory = Memory()


class Lab:
    """Runs a group with agents in steps of a tenth of the report interval."""

    def __init__(self, regions: dict[str, int], policy: Policy | None = None) -> None:
        self.now = Now(1_000 * SECOND_NS, 1_700_000_000 * SECOND_NS)
        self.policy = policy or Policy(
            lease_ttl_ns=5 * SECOND_NS, grace_ns=SECOND_NS, first_wait_ns=SECOND_NS, stable_for_ns=3 * SECOND_NS
        )
        self.records: dict[tuple[str, str], Record] = {}
        self.store_id = "store-1"
        self.runs: list[str] = []
        self.journal: list[Journal] = []
        self.replies: dict[int, Reply] = {}
        self.nodes: dict[str, Node] = {}
        self.sessions = 0
        self.requests = 0
        self.incarnations = 0
        self.hold_disk = False
        self.refused_before = False
        """The store refused a batch of the machine before the next one."""
        self.brake_asked = False
        self.brake_said: list[str] = []
        self.brake_held = False
        """Others fail over: the coordinator's brake lets nobody through."""
        self.waiting: list[int] = []
        self.held: list[Record] = []
        """What the held disk was asked to write."""
        self.durables: list[int] = []
        self.group: Group | None = None
        self.start()
        self.ask(events.SetPolicy(self.request(), self.policy))
        for region, count in regions.items():
            for number in range(1, count + 1):
                self.add(region, f"a{number}")

    # ---- processes

    def start(self) -> None:
        self.runs.append(f"run-{len(self.runs) + 1}")
        loaded = Loaded(
            self.store_id,
            self.runs[-1],
            frozenset(self.runs),
            len(self.runs),
            tuple(self.records.values()),
            self.journal[-1].sequence if self.journal else 0,
            self.refused_before,
        )
        self.group = Group("default", loaded, self.now)
        for node in self.nodes.values():
            node.session = None
        self._perform(self.group.start(self.now))

    def stop(self) -> None:
        self.group = None
        self.waiting.clear()

    def add(self, region: str, agent: str) -> Node:
        self.incarnations += 1
        key = f"{region}/{agent}"
        memory = self.nodes[key].disk if key in self.nodes else Memory()
        node = Node(LeaseHolder(region, agent, f"life-{self.incarnations}", memory), disk=memory)
        self.nodes[key] = node
        return node

    def restart(self, key: str) -> Node:
        old = self.nodes[key]
        if old.session is not None and self.group is not None:
            session, old.session = old.session, None
            self._perform(self.group.handle(self.now, events.SessionClosed(session)))
        return self.add(*key.split("/"))

    # ---- time

    def run(self, seconds: float) -> None:
        end_ns = self.now.mono_ns + int(seconds * SECOND_NS)
        while self.now.mono_ns < end_ns:
            self.now = self.now.plus(self.policy.report_interval_ns // 10)
            self.step()

    def step(self) -> None:
        if self.group is not None and self.now.mono_ns >= self.group.next_deadline():
            self._perform(self.group.handle(self.now, events.TimePassed()))
        for node in list(self.nodes.values()):
            self._drive(node)

    def _drive(self, node: Node) -> None:
        if self.group is None or node.cut:
            if node.session is not None and self.group is not None:
                session, node.session = node.session, None
                self._perform(self.group.handle(self.now, events.SessionClosed(session)))
        elif node.session is None and not node.holder.superseded:
            self.sessions += 1
            node.session = self.sessions
            hello = node.holder.hello("default", "host", f"{node.holder.region}:1", RegionSpec())
            self._perform(self.group.handle(self.now, events.SessionOpened(node.session, hello)))
        self._agent(node, agent_events.TimePassed())
        if self.now.mono_ns >= node.due_ns:
            node.due_ns = self.now.mono_ns + node.holder.report_interval_ns
            self.report(node)

    def report(self, node: Node) -> None:
        sights = tuple(PeerSight(region, "", reachable, 5 * MILLISECOND_NS) for region, reachable in node.sees.items())
        report = replace(node.holder.report(self.now, node.health, node.load, sights, node.routed), lag=node.lag)
        if node.promoting and report.phase is Phase.ACTIVE:
            report = replace(report, phase=Phase.PROMOTING)
        if node.session is not None and self.group is not None:
            self._perform(self.group.handle(self.now, events.Heard(node.session, report)))

    def give_up(self, node: Node, reason: str) -> None:
        """The agent releases what it holds by itself."""
        self._agent(node, agent_events.ReleaseNow(reason))

    # ---- effects

    def _follow_brake(self, effect: effects.BrakeAsked | effects.BrakeReturned) -> None:
        self.brake_asked = isinstance(effect, effects.BrakeAsked)
        self.brake_said.append("asked" if self.brake_asked else "returned")
        if self.brake_asked and not self.brake_held and self.group is not None:
            self._perform(self.group.handle(self.now, events.BrakeReleased()))

    def _perform(self, found: tuple[effects.Effect, ...]) -> None:
        for effect in found:
            match effect:
                case effects.Persist(batch, writes):
                    if self.hold_disk:
                        self.waiting.append(batch)
                        self.held += [write for write in writes if not isinstance(write, effects.Drop)]
                        continue
                    for write in writes:
                        if isinstance(write, effects.Drop):
                            self.records.pop((write.kind, write.key), None)
                        else:
                            self.records[write.kind, write.key] = write
                    assert self.group is not None
                    self._later(batch)
                case effects.BrakeAsked() | effects.BrakeReturned():
                    self._follow_brake(effect)
                case effects.Send(number, message):
                    for node in self.nodes.values():
                        if node.session == number and not node.cut and not node.deaf:
                            node.weights = message if isinstance(message, WeightsUpdate) else node.weights
                            self._agent(node, agent_events.Received(message))
                case effects.CloseSession(number, reason, _, message):
                    for node in self.nodes.values():
                        if node.session == number:
                            node.session = None
                            twin = reason is effects.CloseReason.SUPERSEDED
                            self._agent(node, agent_events.LinkDown(twin, message))
                case Journal():
                    self.journal.append(effect)
                case Reply(request):
                    self.replies[request] = effect
                case effects.Changed():
                    pass
        while self.durables:
            batch = self.durables.pop(0)
            if self.group is not None:
                self._perform(self.group.handle(self.now, events.Durable(batch)))

    def _later(self, batch: int) -> None:
        self.durables.append(batch)

    def _agent(self, node: Node, event: agent_events.AgentEvent) -> None:
        for effect in node.holder.handle(self.now, event):
            match effect:
                case agent_effects.Persist(batch, memory):
                    node.disk = memory
                    self._agent(node, agent_events.Durable(batch))
                case agent_effects.Send(message):
                    if node.promoting and isinstance(message, Accept):
                        message = replace(message, promoting=True)
                    if node.session is not None and self.group is not None and not node.cut:
                        self._perform(self.group.handle(self.now, events.Heard(node.session, message)))
                case agent_effects.ReportSoon():
                    node.due_ns = 0
                case _:
                    pass

    # ---- asking

    def request(self) -> int:
        self.requests += 1
        return self.requests

    def ask(self, command: events.Event) -> Reply:
        assert self.group is not None
        self._perform(self.group.handle(self.now, command))
        return self.replies[command.request]  # type: ignore[union-attr]

    def move(self, target: str = "", **how: object) -> Reply:
        return self.ask(events.MoveActive(self.request(), target, **how))  # type: ignore[arg-type]

    def moved(self, target: str = "", **how: object) -> MovePlan:
        reply = self.move(target, **how)
        assert reply.refusal is None, reply.refusal
        assert isinstance(reply.value, MovePlan)
        return reply.value

    def active(self) -> set[str]:
        """Regions that believe themselves active, frozen ones included."""
        return {node.holder.region for node in self.nodes.values() if node.holder.active(self.now).remaining_ns > 0}

    def known(self) -> tuple[str, int]:
        """(active region, epoch) as the coordinator says."""
        assert self.group is not None
        view = self.group.lease_view(self.now)
        return view.active_region, view.epoch

    def of(self, region: str) -> list[Node]:
        return [node for node in self.nodes.values() if node.holder.region == region]

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.journal]

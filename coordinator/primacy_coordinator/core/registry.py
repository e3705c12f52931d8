"""Who is in the group: regions, agents and their lives, sessions, and the membership that they are told.

An agent's lives are ordered by their first hello. A newer life closes the session of an older one, which is refused
from then on; what the older one holds is waited out like everything that cannot be asked any more.
"""

from __future__ import annotations

from dataclasses import replace

from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import (
    PROTOCOL_VERSION,
    Directory,
    Hello,
    Membership,
    PeerAddress,
    RegionSpec,
    Report,
    RouteCount,
    ServiceState,
    agent_key,
)

from primacy_coordinator.core import authority, lineage, observation, overrides, weighing
from primacy_coordinator.core.effects import CloseReason, Severity, Topic
from primacy_coordinator.core.model import (
    AgentRecord,
    DampingRecord,
    MembershipRecord,
    RegionRecord,
    RegionSettings,
    RegionStatus,
    Registration,
    VerdictRecord,
)
from primacy_coordinator.core.state import Agent, Region, Session, State
from primacy_coordinator.core.turn import Turn

SUPERSEDED_KEPT_NS = 3600 * SECOND_NS
PEERS_PER_REGION_MAX = 3
"""How many agents of every other region an agent looks at: more observers, not more probes."""


def open_session(state: State, turn: Turn, number: int, hello: Hello) -> None:
    """Take a hello: register, order the lives, welcome; or close with the rule that refuses it."""
    if abs(hello.protocol_version - PROTOCOL_VERSION) > 1:
        turn.close(
            number,
            CloseReason.REFUSED,
            "PROTOCOL_VERSION",
            f"the agent speaks protocol version {hello.protocol_version}, this coordinator {PROTOCOL_VERSION}: "
            "upgrade the older of the two",
        )
        return
    key = agent_key(hello.region, hello.agent)
    region = state.regions.get(hello.region)
    if region is None and state.policy.registration is Registration.CLOSED:
        turn.close(
            number,
            CloseReason.REFUSED,
            "REGISTRATION_CLOSED",
            f"region {hello.region} is not registered and the policy closes registration: run "
            f"`primacy regions register {hello.region}` first",
        )
        return
    agent = state.agents.get(key)
    if agent is not None and _is_superseded(agent.record, hello.incarnation, turn.now.wall_ns):
        turn.close(number, CloseReason.SUPERSEDED, "TWIN", _twin_message(key, agent.record.host, hello.host))
        return
    if region is None:
        region = register(state, turn, hello.region, RegionSettings())
    _follow_spec(state, turn, region, hello.spec)
    agent = _follow_life(state, turn, region, agent, hello)
    session = Session(number, hello, key, turn.now.mono_ns, heard_ns=turn.now.mono_ns)
    state.sessions[number] = session
    agent.session = session
    agent.lost_ns = None
    agent.seen_ns = turn.now.mono_ns
    lineage.check(state, turn, session, hello.lineage, hello.heard_epoch)
    _greet(state, turn, session)
    observation.look_soon(state, region, turn)
    turn.changed(Topic.REGIONS)


def _greet(state: State, turn: Turn, session: Session) -> None:
    turn.send(session.number, lineage.welcome(state, session))
    turn.send(session.number, directory(state, session.region))
    weighing.push(state, turn, session)


def _is_superseded(record: AgentRecord, incarnation: str, wall_ns: int) -> bool:
    return any(life == incarnation and wall_ns < until_ns for life, until_ns in record.superseded)


def _twin_message(key: str, known_host: str, other_host: str) -> str:
    return (
        f"{key} runs on {known_host} with a newer life; the one on {other_host} is refused: "
        "give each agent a name and a state folder of its own"
    )


def _follow_life(state: State, turn: Turn, region: Region, agent: Agent | None, hello: Hello) -> Agent:
    """The agent's record after this hello; an older life loses its session and is remembered as superseded."""
    key = agent_key(hello.region, hello.agent)
    if agent is None:
        record = AgentRecord(hello.region, hello.agent, hello.peer_address, hello.host, hello.incarnation)
        agent = Agent(record, turn.now.mono_ns)
        state.agents[key] = region.agents[key] = agent
        turn.write(record)
        turn.journal("agent-joined", f"{key} on {hello.host}", region=hello.region)
        _renew_membership(state, turn)
        return agent
    old = agent.record
    record = replace(old, peer_address=hello.peer_address, host=hello.host, incarnation=hello.incarnation)
    if old.incarnation != hello.incarnation:
        now_ns = turn.now.wall_ns
        kept = tuple((life, until) for life, until in old.superseded if until > now_ns)
        record = replace(record, superseded=(*kept, (old.incarnation, now_ns + SUPERSEDED_KEPT_NS)))
        _add_up_routes(agent)
        agent.report = None
        turn.journal("agent-restarted", f"a new life of {key} on {hello.host}", region=hello.region)
    if agent.session is not None:
        same = old.incarnation == hello.incarnation
        turn.close(
            agent.session.number,
            CloseReason.RECONNECTED if same else CloseReason.SUPERSEDED,
            "RECONNECTED" if same else "TWIN",
            f"{key} opened another session" if same else _twin_message(key, hello.host, old.host),
        )
        del state.sessions[agent.session.number]
        agent.session = None
    if record != old:
        agent.record = record
        turn.write(record)
        if record.peer_address != old.peer_address:
            state.directory_dirty = True
    return agent


def _add_up_routes(agent: Agent) -> None:
    for count in agent.routed_now:
        key = route_key(count)
        agent.routed[key] = agent.routed.get(key, 0) + count.count
    agent.routed_now = ()


def route_key(count: RouteCount) -> tuple[str, str, int, int, str]:
    return count.client_region, count.target_region, count.traffic_class, count.strategy, count.outcome


def close_session(state: State, turn: Turn, number: int) -> None:
    """A stream ended: evidence, not a verdict."""
    session = state.sessions.pop(number, None)
    if session is None:
        return
    agent = state.agents.get(session.key)
    if agent is not None and agent.session is session:
        agent.session = None
        agent.lost_ns = turn.now.mono_ns
        observation.look_again(state, state.regions[session.region], turn)
        turn.changed(Topic.REGIONS)


def on_report(state: State, turn: Turn, session: Session, report: Report) -> None:
    """Take a report: O(1) unless it changes what is believed."""
    if report.incarnation != session.hello.incarnation:
        return
    last = session.report
    if last is not None and report.number <= last.number:
        return
    now_ns = turn.now.mono_ns
    if last is None or report.answered > last.answered:
        session.heard_ns = now_ns
    elif authority.is_deaf(state, session, now_ns):
        turn.close(
            session.number, CloseReason.DEAF, "DEAF", f"none of our answers reaches {session.key}: connect again"
        )
        close_session(state, turn, session.number)
        return
    agent = state.agents[session.key]
    before = agent.report
    silent_ns = now_ns - agent.seen_ns
    session.report = agent.report = report
    session.report_ns = agent.report_ns = agent.seen_ns = now_ns
    agent.routed_now = report.routed
    agent.wall_offset_ns = report.wall_ns - turn.now.wall_ns if report.wall_ns else 0
    lineage.check(state, turn, session, report.lineage, report.heard_epoch)
    if report.lineage.store_id != state.store_id and state.doubt is None:
        # It does not follow this store: its welcome was lost, or a recovery took over its own store since.
        turn.send(session.number, lineage.welcome(state, session))
    elif last is not None and last.lineage.store_id != state.store_id:
        # It left aside what it was told before it followed.
        turn.send(session.number, directory(state, session.region))
        weighing.push(state, turn, session)
    authority.on_report(state, turn, session, report)
    region = state.regions[session.region]
    region.restored = False
    if before is not None and _is_news(before, report):
        observation.look_again(state, region, turn)
    elif (
        last is None
        or before is None
        or before.health != report.health
        or silent_ns > 2 * state.policy.report_interval_ns
    ):
        observation.look_soon(state, region, turn)
    if report.sights != (before.sights if before else ()):
        _look_at_suspects(state, turn, before, report)


def _is_news(before: Report, report: Report) -> bool:
    """Whether an agent says what cannot wait: its service fell, or its part in a move has changed."""
    was, now = before.health, report.health
    fell = was.state is not now.state and now.state is not ServiceState.UP
    return fell or now.healthy < was.healthy or before.phase is not report.phase


def _look_at_suspects(state: State, turn: Turn, before: Report | None, report: Report) -> None:
    """A peer sees a region otherwise than before: its verdict may rest on that."""
    seen = {(s.region, s.agent): s.reachable for s in before.sights} if before else {}
    for sight in report.sights:
        if seen.get((sight.region, sight.agent)) is not sight.reachable:
            region = state.regions.get(sight.region)
            if region is not None:
                observation.look_soon(state, region, turn)


# ---- regions


def register(state: State, turn: Turn, name: str, operated: RegionSettings) -> Region:
    record = RegionRecord(name, turn.now.wall_ns, operated=operated)
    verdict = VerdictRecord(name, RegionStatus.UNKNOWN, "nothing was heard of it yet", (), turn.now.wall_ns)
    region = Region(record, verdict, turn.now.mono_ns, availability_ns=turn.now.mono_ns)
    state.regions[name] = region
    turn.write(record)
    turn.write(verdict)
    turn.journal("region-registered", f"region {name} is registered", region=name)
    _settings_changed(state, turn, region)
    return region


def _follow_spec(state: State, turn: Turn, region: Region, spec: RegionSpec) -> None:
    """What an agent's configuration says of its region, below what an operator set."""
    configured = RegionSettings(
        latitude=spec.latitude,
        longitude=spec.longitude,
        priority=spec.priority,
        capacity=spec.capacity,
        endpoint=spec.endpoint,
        labels=spec.labels,
    )
    if configured != region.record.configured:
        region.record = replace(region.record, configured=configured, version=region.record.version + 1)
        turn.write(region.record)
        _settings_changed(state, turn, region)


def operate(state: State, turn: Turn, region: Region, operated: RegionSettings) -> None:
    """Values that an operator sets win until they are cleared."""
    region.record = replace(region.record, operated=operated, version=region.record.version + 1)
    turn.write(region.record)
    turn.journal(
        "region-updated",
        f"region {region.record.name} was changed by an operator",
        region=region.record.name,
        inputs=region.record,
    )
    _settings_changed(state, turn, region)


def _settings_changed(state: State, turn: Turn, region: Region) -> None:
    state.weights_dirty = True
    state.directory_dirty = True
    turn.changed(Topic.REGIONS)
    observation.look_again(state, region, turn)


def deregister(state: State, turn: Turn, region: Region) -> None:
    """Forget a region and its agents; `commands` checked that nothing depends on it."""
    name = region.record.name
    for key, agent in region.agents.items():
        if agent.session is not None:
            turn.close(agent.session.number, CloseReason.DEREGISTERED, "DEREGISTERED", f"region {name} is deregistered")
            del state.sessions[agent.session.number]
        del state.agents[key]
        turn.drop(AgentRecord.kind, key)
    del state.regions[name]
    turn.drop(RegionRecord.kind, name)
    if region.damping.at_wall_ns or region.damping.hold_until_wall_ns:
        turn.drop(DampingRecord.kind, name)
    for override in [o for o in state.overrides.values() if name in (o.record.region, *dict(o.record.shares))]:
        overrides.lift(state, turn, override, "override-expired", "the region is deregistered")
    turn.drop(VerdictRecord.kind, name)
    turn.journal("region-deregistered", f"region {name} is gone", Severity.WARNING, region=name)
    _renew_membership(state, turn)
    state.weights_dirty = True
    turn.changed(Topic.REGIONS)
    turn.unsettled = True


# ---- membership and directory


def _renew_membership(state: State, turn: Turn) -> None:
    state.membership = MembershipRecord(state.membership.version + 1)
    turn.write(state.membership)
    name_members(state)
    state.directory_dirty = True
    state.settle_by(max(state.directory_due_ns, turn.now.mono_ns + 1))


def name_members(state: State) -> None:
    state.names = Membership(state.membership.version, tuple(sorted(state.agents)))


def directory(state: State, region: str) -> Directory:
    """Whom agents of `region` look at."""
    peers = []
    for name, other in sorted(state.regions.items()):
        if name == region:
            continue
        addressed = [a.record for _, a in sorted(other.agents.items()) if a.record.peer_address]
        peers += [PeerAddress(name, record.key, record.peer_address) for record in addressed[:PEERS_PER_REGION_MAX]]
    endpoints = tuple(
        (name, other.record.endpoint)
        for name, other in sorted(state.regions.items())
        if name != region and other.record.endpoint
    )
    return Directory(state.names, tuple(peers), endpoints)


def refresh_directory(state: State, turn: Turn) -> None:
    """Tell everybody who is in the group; at most once a report interval, for many may join at once."""
    now_ns = turn.now.mono_ns
    if not state.directory_dirty or now_ns < state.directory_due_ns:
        return
    state.directory_dirty = False
    state.directory_due_ns = now_ns + state.policy.report_interval_ns
    cache: dict[str, Directory] = {}
    for session in state.sessions.values():
        if session.region not in cache:
            cache[session.region] = directory(state, session.region)
        turn.send(session.number, cache[session.region])

"""From what agents say to what is believed: verdicts on regions, and the figures that rankings and weights use.

`judge_due` gathers the evidence of every region whose verdict may have changed and asks `health.judge`. Verdicts are
durable before they are told, so that a restart neither forgets nor repeats them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Container, Iterable
from dataclasses import replace
from statistics import median_low

from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.messages import Lag, Load, ServiceState

from primacy_coordinator.core import authority, damping, selfdoubt
from primacy_coordinator.core.effects import Severity, Topic
from primacy_coordinator.core.health import AgentEvidence, HealthInput, Vote, is_unreached, judge
from primacy_coordinator.core.model import RegionStatus, VerdictRecord
from primacy_coordinator.core.state import Agent, Region, State
from primacy_coordinator.core.turn import Turn

AVAILABILITY_HALF_LIFE_NS = 300 * SECOND_NS
"""A region's past counts half after five minutes."""
SERVING = frozenset({RegionStatus.HEALTHY, RegionStatus.DEGRADED, RegionStatus.RECOVERING, RegionStatus.SUSPECT})
GATHERED_NS = 20 * MILLISECOND_NS
RECHECK_NS_MAX = 3600 * SECOND_NS
FALLEN = (RegionStatus.SUSPECT, RegionStatus.UNKNOWN, RegionStatus.DOWN)
"""What silence makes of a region, ever worse."""

Votes = dict[str, list[Vote]]
"""Region -> what agents of other regions see of it."""


def gather_votes(state: State, now_ns: int) -> Votes:
    """One pass over what every connected agent sees; O(agents · sights)."""
    votes: Votes = defaultdict(list)
    for session in state.sessions.values():
        report = session.report
        if report is None or not report.sights:
            continue
        key, own, age_ns = session.key, session.region, now_ns - session.report_ns
        for sight in report.sights:
            if sight.region != own:
                votes[sight.region].append(Vote(key, own, sight.agent, sight.reachable, sight.age_ns + age_ns))
    return votes


def judge_due(state: State, turn: Turn) -> None:
    """Look again at every region whose time has come."""
    now_ns = turn.now.mono_ns
    due = [region for region in state.regions.values() if now_ns >= region.recheck_ns]
    if not due:
        return
    votes = gather_votes(state, now_ns)
    for region in due:
        _judge(state, turn, region, votes.get(region.record.name, []))


def is_corroborated(state: State, region: Region, now_ns: int) -> bool:
    """Whether most of the other regions that look at a region do not reach it."""
    votes = gather_votes(state, now_ns).get(region.record.name, [])
    return is_unreached(tuple(votes), state.policy.report_interval_ns)


def look_again(state: State, region: Region, turn: Turn) -> None:
    """Something was heard that may change the verdict at once; not over and over, when all of a region fails."""
    if turn.now.mono_ns - region.judged_ns < GATHERED_NS:
        look_soon(state, region, turn)
        return
    region.recheck_ns = turn.now.mono_ns
    turn.unsettled = True


def look_soon(state: State, region: Region, turn: Turn) -> None:
    """Somebody joined, got better, or changed its mind about a region. Many may at once: judged together, in a moment.

    All regions at one instant, so that however many speak, the work is one pass over them in every such moment.
    """
    now_ns = turn.now.mono_ns
    if state.gather_ns <= now_ns:
        state.gather_ns = now_ns + GATHERED_NS
    region.recheck_ns = min(region.recheck_ns, state.gather_ns)
    state.settle_by(region.recheck_ns)


def _judge(state: State, turn: Turn, region: Region, votes: Iterable[Vote]) -> None:
    now_ns = turn.now.mono_ns
    region.judged_ns = now_ns
    given = HealthInput(
        region=region.record.name,
        previous=region.verdict.status,
        previous_reason=region.verdict.reason,
        since_ns=now_ns - region.since_ns,
        restored=region.restored,
        recovering=region.recovering,
        well_ns=now_ns - region.well_since_ns if region.well_since_ns is not None else 0,
        agents=tuple(_evidence(state, agent, now_ns) for _, agent in sorted(region.agents.items())),
        votes=tuple(sorted(votes, key=lambda v: (v.observer, v.target_agent))),
        report_interval_ns=state.policy.report_interval_ns,
        stable_for_ns=state.policy.stable_for_ns,
        agents_healthy_min=state.policy.agents_healthy_min,
    )
    judgement = judge(given)
    if _is_put_off(state, region, judgement.status):
        # Silence that may be ours is no evidence; what was believed stays until the doubt is over.
        region.recheck_ns = now_ns + state.policy.report_interval_ns
        return
    _follow_recovery(region, judgement.status, now_ns)
    region.recheck_ns = now_ns + max(1, min(judgement.recheck_ns or RECHECK_NS_MAX, RECHECK_NS_MAX))
    _keep_availability(region, now_ns)
    if judgement.status is region.verdict.status:
        if (judgement.reason, judgement.evidence) != (region.verdict.reason, region.verdict.evidence):
            region.verdict = replace(region.verdict, reason=judgement.reason, evidence=judgement.evidence)
            turn.changed(Topic.REGIONS)
        return
    before = region.verdict.status
    region.verdict = VerdictRecord(
        region.record.name,
        judgement.status,
        judgement.reason,
        judgement.evidence,
        turn.now.wall_ns,
        region.recovering,
    )
    active = state.authority.record.accepted_region == region.record.name and authority.is_serving(state, now_ns)
    if judgement.status is RegionStatus.DOWN or (judgement.status is RegionStatus.SUSPECT and active):
        damping.note_fall(state, turn, region, judgement.reason)
    region.since_ns = now_ns
    turn.write(region.verdict)
    bad = judgement.status in (RegionStatus.DOWN, RegionStatus.SUSPECT, RegionStatus.UNKNOWN)
    turn.journal(
        "region-status",
        f"{region.record.name}: {before.name} -> {judgement.status.name}: {judgement.reason}",
        Severity.WARNING if bad else Severity.INFO,
        region=region.record.name,
        inputs=given,
    )
    turn.changed(Topic.REGIONS)
    state.weights_dirty = True
    turn.unsettled = True


def _is_put_off(state: State, region: Region, status: RegionStatus) -> bool:
    """Whether a worse verdict waits for the end of a self-doubt: one that rests on silence alone."""
    doubt = state.self_doubt
    if doubt is None or not _is_worse(status, region.verdict.status):
        return False
    heard = any(
        a.session is not None and a.report is not None and a.report_ns > doubt.began_ns for a in region.agents.values()
    )
    return not heard and selfdoubt.puts_off(state, region.record.name)


def _is_worse(status: RegionStatus, before: RegionStatus) -> bool:
    return status in FALLEN and (before not in FALLEN or FALLEN.index(status) > FALLEN.index(before))


def _follow_recovery(region: Region, status: RegionStatus, now_ns: int) -> None:
    """A region that was down is recovering until it was well, without a break, for as long as the policy asks."""
    if status is RegionStatus.DOWN:
        region.recovering = True
        if region.verdict.status is not RegionStatus.DOWN:
            region.recovery = ()
        region.well_since_ns = region.ramp_since_ns = None
    elif status is RegionStatus.RECOVERING:
        region.recovering = True
        region.recovery = region.recovery or ()
        if region.well_since_ns is None:
            region.well_since_ns = now_ns
    elif status in (RegionStatus.HEALTHY, RegionStatus.DEGRADED):
        if region.recovering:
            region.ramp_since_ns = now_ns
        region.recovering = False
        region.well_since_ns = None
    else:
        region.well_since_ns = None
        if region.recovering:
            region.recovery = (region.recovery or ())[:1]


def _evidence(state: State, agent: Agent, now_ns: int) -> AgentEvidence:
    report = agent.report
    session = agent.session
    return AgentEvidence(
        agent=agent.record.key,
        connected=session is not None,
        silence_ns=now_ns - agent.seen_ns,
        state=report.health.state if report else None,
        healthy=report.health.healthy if report else 0,
        total=report.health.total if report else 0,
        reason=report.health.reason if report else "",
        deaf=session is not None and authority.is_deaf(state, session, now_ns),
    )


def _keep_availability(region: Region, now_ns: int) -> None:
    """Fold the time since the last look into the decayed share of time served."""
    up = 1.0 if region.verdict.status in SERVING else 0.0
    if region.verdict.status is RegionStatus.UNKNOWN or region.verdict.status is RegionStatus.JOINING:
        region.availability_ns = now_ns
        return
    if region.availability < 0:
        region.availability = up
    else:
        kept = math.exp2(-(now_ns - region.availability_ns) / AVAILABILITY_HALF_LIFE_NS)
        region.availability = region.availability * kept + up * (1 - kept)
    region.availability_ns = now_ns


# ---- figures


def is_heard(state: State, region: Region, now_ns: int) -> bool:
    """Whether an offer could reach the region: one of its agents has a session, reports, and hears us."""
    fresh_ns = 4 * state.policy.report_interval_ns
    return any(
        agent.session is not None
        and agent.session.report is not None
        and now_ns - agent.session.report_ns < max(fresh_ns, SECOND_NS)
        and not authority.is_deaf(state, agent.session, now_ns)
        for agent in region.agents.values()
    )


def healthy_share(region: Region) -> float:
    """Share of the region's instances that its agents call healthy; 1 when nothing is known."""
    healthy = total = 0
    for agent in region.agents.values():
        if agent.report is not None and agent.report.health.total:
            total += agent.report.health.total
            healthy += agent.report.health.healthy if agent.session is not None else 0
    return healthy / total if total else 1.0


def load_of(region: Region) -> Load:
    """The region's load, merged over agents that are connected and whose instances run."""
    loads = _loads(region)
    rate = _total(load.request_rate for load in loads)
    return Load(
        request_rate=rate,
        error_rate=_mean((load.error_rate, load.request_rate) for load in loads),
        latency_ns=round(_mean((load.latency_ns, load.request_rate) for load in loads)),
        utilisation=_mean((load.utilisation, load.capacity) for load in loads),
        capacity=_total(load.capacity for load in loads),
        in_flight=_total(load.in_flight for load in loads),
    )


def _loads(region: Region) -> list[Load]:
    return [
        a.report.load
        for a in region.agents.values()
        if a.session is not None and a.report is not None and a.report.health.state is not ServiceState.DOWN
    ]


def last_rate(region: Region) -> float:
    """Requests per second that it served as far as its agents last said, also those that are silent now; -1: never."""
    return _total(agent.report.load.request_rate for agent in region.agents.values() if agent.report is not None)


def _total(values: Iterable[float]) -> float:
    known = [value for value in values if value >= 0]
    return sum(known) if known else -1.0


def _mean(pairs: Iterable[tuple[float, float]]) -> float:
    """Mean of the known values, weighted where weights are known; -1 when none is."""
    known = [(value, max(weight, 0.0)) for value, weight in pairs if value >= 0]
    if not known:
        return -1.0
    total = sum(weight for _, weight in known)
    if total <= 0:
        return sum(value for value, _ in known) / len(known)
    return sum(value * weight for value, weight in known) / total


def lag_of(region: Region) -> Lag:
    """Of its agent that is least behind: the one that would take over."""
    lags = [
        a.report.lag
        for a in region.agents.values()
        if a.session is not None and a.report is not None and a.report.lag != Lag()
    ]
    return min(lags, key=lambda lag: (lag.age_ns, lag.entries, lag.bytes), default=Lag())


def in_flight(region: Region, since_ns: int) -> float | None:
    """Requests that its instances work on; negative: not measured; None: an agent has not reported since then."""
    heard = [agent for agent in region.agents.values() if agent.session is not None and agent.report is not None]
    if any(agent.report_ns < since_ns for agent in heard):
        return None
    return _total(agent.report.load.in_flight for agent in heard if agent.report is not None)


def capacity_of(region: Region) -> float:
    """What an operator or the configuration says, else what the healthy instances can serve; 0: not known."""
    return region.record.capacity or whole_capacity_of(region) * healthy_share(region)


def whole_capacity_of(region: Region) -> float:
    """What the region can serve when all of its instances are well; 0: not known.

    Agents report that of all their instances, and those that are silent now have reported it: whoever takes health into
    account does so once.
    """
    reports = [agent.report for agent in region.agents.values() if agent.report is not None]
    return region.record.capacity or max(0.0, _total(report.load.capacity for report in reports))


def round_trips(state: State, looking: Container[str] | None = None) -> tuple[tuple[str, str, int], ...]:
    """(from region, to region, ns): the median over agents, the endpoint's before the agents'; sorted.

    `looking`: only what is seen from these regions.
    """
    by_endpoint: dict[tuple[str, str], list[int]] = defaultdict(list)
    by_agent: dict[tuple[str, str], list[int]] = defaultdict(list)
    for agent in state.agents.values():
        if agent.report is None or agent.session is None:
            continue
        if looking is not None and agent.record.region not in looking:
            continue
        for sight in agent.report.sights:
            if sight.reachable and sight.rtt_ns >= 0 and sight.region in state.regions:
                pair = (agent.record.region, sight.region)
                (by_agent if sight.agent else by_endpoint)[pair].append(sight.rtt_ns)
    pairs = sorted({*by_endpoint, *by_agent})
    return tuple((a, b, median_low(by_endpoint.get((a, b)) or by_agent[a, b])) for a, b in pairs)

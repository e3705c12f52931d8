"""Is a region well? One pure function from evidence to a verdict (I9).

Three witnesses speak: the region's own agents (their probes, after rise and fall), the coordinator's sessions with
them (silence), and agents of other regions (votes). Their weight:

- What a region says of itself counts first: its agents look at the instances themselves.
- Silence alone is not death: a broken link to the coordinator looks the same. Silence makes a region SUSPECT; DOWN
  needs that its peers do not reach it either, or that nobody is left to ask.
- A vote on the endpoint, the way in that users take, outweighs votes on agents.

More observers beat more retries: a majority of observing *regions* decides, however many agents each has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from primacy_wire.instant import MILLISECOND_NS
from primacy_wire.messages import ServiceState

from primacy_coordinator.core.model import RegionStatus

SUSPECT_AFTER_INTERVALS = 2.5
LOST_AFTER_INTERVALS = 4.0
SUSPECT_AFTER_NS_MIN = 250 * MILLISECOND_NS
LOST_AFTER_NS_MIN = 400 * MILLISECOND_NS
"""Bounds for very short report intervals: a busy event loop is not a dead region."""
VOTE_AGE_INTERVALS = 3.0
VOTE_AGE_NS_MIN = 1_500 * MILLISECOND_NS
SETTLE_INTERVALS = 8.0
"""How long a restarted agent's probes may take to settle before its region is no longer taken to be as it was."""

KNOWN_WELL = frozenset({RegionStatus.HEALTHY, RegionStatus.DEGRADED, RegionStatus.SUSPECT, RegionStatus.RECOVERING})


@dataclass(frozen=True, slots=True)
class AgentEvidence:
    """One agent of the region, as the coordinator knows it."""

    agent: str
    connected: bool
    silence_ns: int
    """Since its last report or hello; since the start of the machine when never heard in this one's life."""
    state: ServiceState | None
    """What it last said of its instances; None: nothing in this life."""
    healthy: int
    total: int
    reason: str
    deaf: bool
    """Its reports arrive, but our answers do not reach it."""


@dataclass(frozen=True, slots=True)
class Vote:
    """What an agent of another region last saw."""

    observer: str
    observer_region: str
    target_agent: str
    """Empty: the region's endpoint."""
    reachable: bool
    age_ns: int


@dataclass(frozen=True, slots=True)
class HealthInput:
    """Everything that a verdict rests on."""

    region: str
    previous: RegionStatus
    previous_reason: str
    since_ns: int
    """How long `previous` has stood."""
    restored: bool
    """`previous` comes from the store, and no agent has reported since the start."""
    recovering: bool
    """The region was down, and has not been well for `stable_for_ns` since."""
    well_ns: int
    """How long its own reports have been good without a break."""
    agents: tuple[AgentEvidence, ...]
    votes: tuple[Vote, ...]
    report_interval_ns: int
    stable_for_ns: int
    agents_healthy_min: int


@dataclass(frozen=True, slots=True)
class Judgement:
    status: RegionStatus
    reason: str
    evidence: tuple[str, ...]
    recheck_ns: int | None
    """After how long time alone may change it; None: only news can."""


def suspect_after_ns(interval_ns: int) -> int:
    """Silence from which on an agent is suspect."""
    return max(int(interval_ns * SUSPECT_AFTER_INTERVALS), SUSPECT_AFTER_NS_MIN)


def lost_after_ns(interval_ns: int) -> int:
    """Silence from which on an agent is lost."""
    return max(int(interval_ns * LOST_AFTER_INTERVALS), LOST_AFTER_NS_MIN)


def judge(given: HealthInput) -> Judgement:
    """The verdict on one region."""
    suspect_ns = suspect_after_ns(given.report_interval_ns)
    lost_ns = lost_after_ns(given.report_interval_ns)
    speaking = [a for a in given.agents if a.connected and not a.deaf and a.silence_ns < suspect_ns]
    if given.restored and given.agents and all(a.silence_ns < lost_ns for a in given.agents):
        left_ns = min(lost_ns - a.silence_ns for a in given.agents)
        return Judgement(given.previous, given.previous_reason, ("as before the coordinator's start",), left_ns)
    if speaking:
        return _from_own_reports(given, speaking, suspect_ns)
    return _from_silence(given)


def _from_own_reports(given: HealthInput, speaking: list[AgentEvidence], suspect_ns: int) -> Judgement:
    """At least one agent is heard: what it says of its instances counts."""
    up = [a for a in speaking if a.state is ServiceState.UP]
    evidence = tuple(_describe(agent) for agent in given.agents)
    recheck_ns = max(1, suspect_ns - max(a.silence_ns for a in speaking))
    if not up and not any(a.state is ServiceState.DOWN for a in speaking):
        return _starting(given, evidence, recheck_ns)
    if len(up) < given.agents_healthy_min:
        return _too_few(given, speaking, evidence, recheck_ns)
    blocked = _unreached_from_outside(given)
    if given.previous is RegionStatus.DOWN or given.recovering:
        left_ns = given.stable_for_ns - given.well_ns
        if left_ns > 0:
            return Judgement(
                RegionStatus.RECOVERING,
                f"well again after it was down; it must stay so for {given.stable_for_ns / 1e9:g} s",
                evidence,
                min(recheck_ns, max(1, left_ns)),
            )
    if blocked:
        return Judgement(
            RegionStatus.DEGRADED,
            "its own probes pass, but other regions do not reach its endpoint",
            (*evidence, *blocked),
            recheck_ns,
        )
    return _healthy_or_degraded(given, up, evidence, recheck_ns)


def _too_few(
    given: HealthInput, speaking: list[AgentEvidence], evidence: tuple[str, ...], recheck_ns: int
) -> Judgement:
    """Agents are heard, and fewer of them than the policy asks for say that their instances are up."""
    up = [a for a in speaking if a.state is ServiceState.UP]
    down = [a for a in speaking if a.state is ServiceState.DOWN]
    starting = len(speaking) - len(up) - len(down)
    lost_ns = lost_after_ns(given.report_interval_ns)
    # Silence is not death: an agent that restarts said of its instances what it said last.
    heard = {a.agent for a in speaking}
    absent = [
        a for a in given.agents if a.agent not in heard and a.silence_ns < lost_ns and a.state is not ServiceState.DOWN
    ]
    need = f"{len(up)} of {given.agents_healthy_min} agents needed are up"
    if down:
        what = f"{down[0].agent}: {down[0].reason or 'its instances are down'}"
        what += f" ({need})" if given.agents_healthy_min > 1 else ""
    else:
        what = need
    hoped = len(up) + starting + len(absent)
    unreached = _majority(given, lambda vote: not vote.target_agent) is False
    if hoped >= given.agents_healthy_min and _may_settle(given) and not unreached:
        waited = [f"{starting} more starting"] if starting else []
        waited += [f"{', '.join(a.agent for a in absent)} not heard"] if absent else []
        left_ns = min((lost_ns - a.silence_ns for a in absent), default=recheck_ns)
        return Judgement(
            RegionStatus.SUSPECT, f"{what}; {' and '.join(waited)}", evidence, max(1, min(recheck_ns, left_ns))
        )
    if not down and given.previous in (RegionStatus.UNKNOWN, RegionStatus.JOINING):
        return Judgement(RegionStatus.JOINING, what, evidence, recheck_ns)
    return Judgement(RegionStatus.DOWN, what, evidence, recheck_ns)


def _healthy_or_degraded(
    given: HealthInput, up: list[AgentEvidence], evidence: tuple[str, ...], recheck_ns: int
) -> Judgement:
    lost_ns = lost_after_ns(given.report_interval_ns)
    healthy = sum(a.healthy for a in up)
    total = sum(a.total for a in given.agents)
    up_names = {a.agent for a in up}
    missing = [a for a in given.agents if a.agent not in up_names]
    if healthy >= total and missing and given.previous is RegionStatus.HEALTHY:
        # After a start of the coordinator agents are heard one by one: those that it never heard are no news yet.
        awaited = [a for a in missing if a.state is None and a.silence_ns < lost_ns]
        if awaited == missing:
            return Judgement(
                RegionStatus.HEALTHY,
                f"its probes pass; {', '.join(a.agent for a in missing)} has not reported yet",
                evidence,
                min(recheck_ns, *(lost_ns - a.silence_ns for a in missing)),
            )
    if missing or healthy < total:
        names = ", ".join(a.agent for a in missing)
        what = f"{healthy} of {total} instances are healthy" if healthy < total else f"{names} not up"
        return Judgement(RegionStatus.DEGRADED, what, evidence, recheck_ns)
    return Judgement(
        RegionStatus.HEALTHY,
        f"all {total} instances are healthy" if total > 1 else "its probes pass",
        evidence,
        recheck_ns,
    )


def _may_settle(given: HealthInput) -> bool:
    """Whether agents that start may still find the region as well as it was; they get so long, and no longer."""
    if given.previous is RegionStatus.SUSPECT:
        return given.since_ns < int(given.report_interval_ns * SETTLE_INTERVALS)
    return given.previous in KNOWN_WELL


def _starting(given: HealthInput, evidence: tuple[str, ...], recheck_ns: int) -> Judgement:
    """Agents are heard, and none has settled on a verdict of its own yet."""
    if given.previous is RegionStatus.DOWN:
        return Judgement(RegionStatus.DOWN, "down before, and its probes have not settled yet", evidence, recheck_ns)
    if _may_settle(given):
        # An agent that restarts says nothing of the service that it watches.
        return Judgement(
            RegionStatus.SUSPECT,
            "its agents have restarted, and their probes have not settled yet",
            evidence,
            recheck_ns,
        )
    return Judgement(RegionStatus.JOINING, "its agents' first probes have not settled yet", evidence, recheck_ns)


def _from_silence(given: HealthInput) -> Judgement:
    """No agent is heard: ask the peers."""
    if not given.agents:
        return Judgement(RegionStatus.UNKNOWN, "no agent of it was ever heard", (), None)
    lost_ns = lost_after_ns(given.report_interval_ns)
    suspect_ns = suspect_after_ns(given.report_interval_ns)
    silence_ns = min(a.silence_ns for a in given.agents)
    evidence = tuple(_describe(agent) for agent in given.agents) + _describe_votes(given)
    reached = _majority(given, lambda vote: not vote.target_agent)
    if reached is None:
        reached = _majority(given, lambda vote: bool(vote.target_agent))
    gone = not any(a.connected and not a.deaf for a in given.agents)
    recheck_ns = max(
        1, min(n for n in (suspect_ns - silence_ns, lost_ns - silence_ns, given.report_interval_ns) if n > 0)
    )
    if given.previous in (RegionStatus.UNKNOWN, RegionStatus.JOINING) and reached is not True:
        return Judgement(RegionStatus.UNKNOWN, "no agent of it is heard", evidence, recheck_ns)
    if given.previous is RegionStatus.DOWN and reached is not True:
        return Judgement(RegionStatus.DOWN, given.previous_reason, evidence, given.report_interval_ns)
    if reached is False and (gone or silence_ns >= suspect_ns):
        return Judgement(
            RegionStatus.DOWN,
            "no agent of it is heard, and other regions do not reach it",
            evidence,
            given.report_interval_ns,
        )
    if reached is True:
        return Judgement(
            RegionStatus.DOWN if given.previous is RegionStatus.DOWN else RegionStatus.SUSPECT,
            "no agent of it is heard, but other regions reach it: the link to the coordinator, or the "
            "agent alone, is broken",
            evidence,
            recheck_ns,
        )
    if silence_ns >= lost_ns:
        return Judgement(
            RegionStatus.DOWN,
            f"nothing heard for {silence_ns / 1e9:.1f} s, and no other region sees it",
            evidence,
            given.report_interval_ns,
        )
    return Judgement(
        RegionStatus.SUSPECT,
        _why_silent(given),
        evidence,
        recheck_ns,
    )


def _why_silent(given: HealthInput) -> str:
    if any(a.connected and a.deaf for a in given.agents):
        return "its agents report, but do not hear the coordinator"
    if any(a.connected for a in given.agents):
        return "no agent of it is heard"
    return "its last session has ended"


def _fresh_votes(given: HealthInput) -> list[Vote]:
    return _fresh(given.votes, given.report_interval_ns)


def _fresh(votes: tuple[Vote, ...], report_interval_ns: int) -> list[Vote]:
    limit_ns = max(int(report_interval_ns * VOTE_AGE_INTERVALS), VOTE_AGE_NS_MIN)
    return [vote for vote in votes if vote.age_ns <= limit_ns]


def is_unreached(votes: tuple[Vote, ...], report_interval_ns: int) -> bool:
    """Whether there are fresh votes on a region and most observing regions do not reach it in any way."""
    return _reached(_fresh(votes, report_interval_ns)) is False


def _majority(given: HealthInput, counts: Callable[[Vote], bool]) -> bool | None:
    return _reached([vote for vote in _fresh_votes(given) if counts(vote)])


def _reached(votes: list[Vote]) -> bool | None:
    """Whether most observing regions reach the region; None: no vote. A tie counts as reached."""
    by_region: dict[str, list[bool]] = defaultdict(list)
    for vote in votes:
        by_region[vote.observer_region].append(vote.reachable)
    if not by_region:
        return None
    reaching = sum(1 for votes in by_region.values() if any(votes))
    return reaching * 2 >= len(by_region)


def _unreached_from_outside(given: HealthInput) -> tuple[str, ...]:
    """Evidence that the way in is broken: at least two other regions look at the endpoint and most do not reach it."""
    looking = {vote.observer_region for vote in _fresh_votes(given) if not vote.target_agent}
    if len(looking) < 2 or _majority(given, lambda vote: not vote.target_agent) is not False:
        return ()
    return _describe_votes(given)


def _describe(agent: AgentEvidence) -> str:
    if agent.deaf:
        return f"{agent.agent}: reports, but does not hear our answers"
    if not agent.connected:
        return f"{agent.agent}: no session"
    state = agent.state.name.lower() if agent.state is not None else "no report yet"
    return f"{agent.agent}: {state}, {agent.healthy}/{agent.total} healthy" + (
        f", {agent.reason}" if agent.reason else ""
    )


def _describe_votes(given: HealthInput) -> tuple[str, ...]:
    return tuple(
        f"{vote.observer} {'reaches' if vote.reachable else 'does not reach'} {vote.target_agent or 'its endpoint'}"
        for vote in _fresh_votes(given)
    )

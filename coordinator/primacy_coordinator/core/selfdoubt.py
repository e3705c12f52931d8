"""When most sessions are lost at once, or this process stood still, the fault is more likely here than everywhere else.

Then verdicts that rest on silence, and elections, are put off; renewals are not. It ends when half of the lost are
back, when those that remain do not reach the lost ones either (then it is not us), or after the policy's `doubt_max`.
"""

from __future__ import annotations

from primacy_coordinator.core.effects import Severity, Topic
from primacy_coordinator.core.health import suspect_after_ns
from primacy_coordinator.core.state import Agent, SelfDoubt, State
from primacy_coordinator.core.turn import Turn

LOST_COUNT_MIN = 2
WINDOW_INTERVALS = 1.5
"""Losses within so many report intervals are one: agents do not report at the same instant."""


def note_stall(state: State, turn: Turn, length_ns: int) -> None:
    """Our own loop stood still for so long."""
    if length_ns < suspect_after_ns(state.policy.report_interval_ns):
        return
    lost = {session.key for session in state.sessions.values()}
    if lost:
        _begin(state, turn, "STALLED", f"this coordinator stood still for {length_ns / 1e9:.1f} s", lost)


def on_time(state: State, turn: Turn) -> None:
    """Begin to doubt, or see whether a doubt is over."""
    if state.self_doubt is None:
        _consider(state, turn)
    else:
        _look(state, turn, state.self_doubt)


def _consider(state: State, turn: Turn) -> None:
    now_ns = turn.now.mono_ns
    interval_ns = state.policy.report_interval_ns
    window_ns = int(interval_ns * WINDOW_INTERVALS)
    living = 0
    lost: set[str] = set()
    for key, agent in state.agents.items():
        at_ns = _lost_at_ns(state, agent, now_ns)
        if at_ns is None:
            living += agent.session is not None
        elif now_ns - at_ns <= window_ns and at_ns > state.doubted_ns:
            lost.add(key)
    if len(lost) >= LOST_COUNT_MIN and 2 * len(lost) > living + len(lost):
        _begin(
            state,
            turn,
            "SESSIONS_LOST",
            f"{len(lost)} of {living + len(lost)} agents were lost within {window_ns / 1e9:.1f} s",
            lost,
        )


def _lost_at_ns(state: State, agent: Agent, now_ns: int) -> int | None:
    """When the agent was lost, by the end of its session or by silence; None: it was not."""
    at_ns = agent.seen_ns + suspect_after_ns(state.policy.report_interval_ns)
    if agent.session is None:
        return None if agent.lost_ns is None else min(agent.lost_ns, at_ns)
    return at_ns if now_ns >= at_ns else None


def _begin(state: State, turn: Turn, name: str, reason: str, lost: set[str]) -> None:
    if state.policy.doubt_max_ns <= 0 or state.self_doubt is not None:
        return
    now_ns = turn.now.mono_ns
    state.self_doubt = SelfDoubt(name, reason, now_ns, now_ns + state.policy.doubt_max_ns, lost)
    turn.journal(
        "self-doubt-began",
        f"{name}: {reason}; verdicts and elections are put off for at most {state.policy.doubt_max_ns / 1e9:g} s",
        Severity.CRITICAL,
        inputs=(name, tuple(sorted(lost))),
    )
    turn.changed(Topic.ACTIVE)
    turn.changed(Topic.REGIONS)


def _look(state: State, turn: Turn, doubt: SelfDoubt) -> None:
    now_ns = turn.now.mono_ns
    lost = [state.agents[key] for key in doubt.lost if key in state.agents]
    back = [a for a in lost if a.session is not None and a.session.report_ns > doubt.began_ns]
    if 2 * len(back) >= len(lost):
        _end(state, turn, "half of what was lost is back")
    elif _not_ours(state, doubt):
        _end(state, turn, "the agents that remain do not reach the lost ones either")
    elif now_ns >= doubt.end_ns:
        _end(state, turn, "it lasted as long as the policy allows")


def _not_ours(state: State, doubt: SelfDoubt) -> bool:
    """Whether those that are still heard saw, since it began, that every region lost with all its agents is gone."""
    gone = {
        name
        for name, region in state.regions.items()
        if region.agents and all(key in doubt.lost for key in region.agents)
    }
    if not gone:
        return False
    seen: dict[str, list[bool]] = {name: [] for name in gone}
    for session in state.sessions.values():
        report = session.report
        if report is None or session.key in doubt.lost:
            continue
        for sight in report.sights:
            if sight.region in gone and session.report_ns - sight.age_ns >= doubt.began_ns:
                seen[sight.region].append(sight.reachable)
    return all(looks and not any(looks) for looks in seen.values())


def _end(state: State, turn: Turn, why: str) -> None:
    doubt = state.self_doubt
    assert doubt is not None
    state.self_doubt = None
    state.doubted_ns = turn.now.mono_ns
    length_s = (turn.now.mono_ns - doubt.began_ns) / 1e9
    turn.journal("self-doubt-ended", f"{doubt.name}: after {length_s:.1f} s, {why}", Severity.WARNING)
    turn.changed(Topic.ACTIVE)
    turn.changed(Topic.REGIONS)
    for region in state.regions.values():
        region.recheck_ns = turn.now.mono_ns
    turn.unsettled = True


def puts_off(state: State, region: str) -> bool:
    """Whether a verdict on the region that rests on silence waits: all of its agents are among the lost."""
    doubt = state.self_doubt
    agents = state.regions[region].agents
    return doubt is not None and any(key in doubt.lost for key in agents)


def deadlines(state: State) -> list[int]:
    return [state.self_doubt.end_ns] if state.self_doubt is not None else []

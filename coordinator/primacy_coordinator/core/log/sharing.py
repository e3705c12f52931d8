"""What agents measured, merged for each region and handed to every agent: latest wins, never in the log or the store.

One region is merged in a settle at most, and all that are new go out together: with a thousand agents neither a report
nor a reader waits for it.
"""

from __future__ import annotations

from primacy_wire.instant import SECOND_NS
from primacy_wire.log_messages import GroupMetrics, MetricsSnapshot
from primacy_wire.sketch import merged

from primacy_coordinator.core.state import Session, State
from primacy_coordinator.core.turn import Turn

SHARE_NS = 10 * SECOND_NS
"""Agents hear no more often."""
STALE_NS = 60 * SECOND_NS
"""What an agent has not renewed for so long is not merged any more."""
MESSAGE_REGIONS_MAX = 32


def on_snapshot(state: State, turn: Turn, session: Session, message: MetricsSnapshot) -> None:
    """An agent's own word of its newest window; another's is nobody's to say here."""
    agent = state.agents.get(session.key)
    own = (message.region, message.agent, message.incarnation) == (
        session.region,
        session.key,
        session.hello.incarnation,
    )
    if agent is None or not own:
        return
    before = agent.metrics
    if before is not None and before.incarnation == message.incarnation and message.version <= before.version:
        return
    agent.metrics, agent.metrics_ns = message, turn.now.mono_ns
    state.metrics.dirty.add(session.region)


def on_time(state: State, turn: Turn) -> None:
    """Merge one region that has news, and tell everybody when it is time."""
    metrics, now_ns = state.metrics, turn.now.mono_ns
    for name in metrics.merged.keys() - state.regions.keys():
        del metrics.merged[name]
    if metrics.dirty:
        name = min(metrics.dirty)
        metrics.dirty.discard(name)
        _merge(state, name, now_ns)
    if now_ns - metrics.told_ns < SHARE_NS:
        return
    everything = [metrics.merged[name] for name in sorted(metrics.merged)]
    news = [metrics.merged[name] for name in sorted(metrics.fresh & metrics.merged.keys())]
    told = False
    for session in state.sessions.values():
        wanted = news if session.shared_ns >= session.opened_ns else everything
        if wanted:
            session.shared_ns, told = now_ns, True
            for at in range(0, len(wanted), MESSAGE_REGIONS_MAX):
                turn.send(session.number, GroupMetrics(tuple(wanted[at : at + MESSAGE_REGIONS_MAX])))
    if told:
        metrics.told_ns = now_ns
        metrics.fresh.clear()


def _merge(state: State, name: str, now_ns: int) -> None:
    region = state.regions.get(name)
    if region is None:
        return
    found = [
        agent.metrics
        for agent in region.agents.values()
        if agent.metrics is not None and now_ns - agent.metrics_ns <= STALE_NS
    ]
    if found:
        series = merged(one for snapshot in found for one in snapshot.series)
        window_ns = max(snapshot.window_ns for snapshot in found)
        wall_ns = max(snapshot.wall_ns for snapshot in found)
        state.metrics.merged[name] = MetricsSnapshot(name, "", "", 0, window_ns, wall_ns, series)
        state.metrics.fresh.add(name)

"""What agents measured, merged for each region and handed to every agent: latest wins, never in the log or the store.

It goes in rounds, a few seconds apart: first every region with news is merged, then every session gets the regions that
it has not had in their newest state. Both in slices of a turn each, so that with a thousand agents neither a report nor
a reader waits for them. Agents that know the same get the very same messages, which are rendered once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.log_messages import GroupMetrics, MetricsSnapshot, SeriesSketch
from primacy_wire.sketch import fitting, series_bytes

from primacy_coordinator.core.state import Agent, MergingRegion, Session, State
from primacy_coordinator.core.turn import Turn

ROUND_NS = 5 * SECOND_NS
"""Rounds follow each other no faster,"""
RATE = 16 * 1024 * 1024
"""and take no more than so many bytes per second, all sessions together."""
GATHER_NS = SECOND_NS
"""The first news wait so long for others."""
SLICE_NS = 20 * MILLISECOND_NS
"""Between two slices."""
SLICE_BYTES = 32 * 1024
"""Of what agents measured, merged in one slice, or a whole snapshot more."""
SLICE_SESSIONS = 64
STALE_NS = 60 * SECOND_NS
"""What an agent has not renewed for so long is not merged any more; its region's last word stays."""
KEPT_BYTES_MAX = 32 * 1024 * 1024
"""Of all agents' snapshots: beyond it nothing larger is taken."""
MESSAGE_BYTES_MAX = 256 * 1024


def on_snapshot(state: State, turn: Turn, session: Session, message: MetricsSnapshot) -> None:
    """An agent's own word of its newest window; another's is nobody's to say here."""
    agent = state.agents.get(session.key)
    said = message.region, message.agent, message.incarnation
    if agent is None or said != (session.region, session.key, session.hello.incarnation):
        return
    before = agent.metrics
    if before is not None and before.incarnation == message.incarnation and message.version <= before.version:
        return
    if before is None or before.incarnation != message.incarnation:
        agent.metrics_dropped = agent.metrics_dropped_told = 0
    metrics = state.metrics
    series = fitting(message.series)
    _count_dropped(agent, message, series)
    kept_bytes = metrics.kept_bytes + _bytes_of(series) - (_bytes_of(before.series) if before is not None else 0)
    if not series or kept_bytes > KEPT_BYTES_MAX:
        return
    metrics.kept_bytes = kept_bytes
    agent.metrics = MetricsSnapshot(*said, message.version, message.window_ns, message.wall_ns, series, message.dropped)
    agent.metrics_ns = turn.now.mono_ns
    metrics.news[session.region] = None
    _begin_by(state, turn.now.mono_ns + GATHER_NS)


def _count_dropped(agent: Agent, message: MetricsSnapshot, kept: Sequence[SeriesSketch]) -> None:
    """What the agent left out grows with its life; what is left out here is added to it."""
    cut = 0
    if len(kept) < len(message.series):
        cut = sum(one.count for one in message.series) - sum(one.count for one in kept)
    agent.metrics_dropped += cut + max(0, message.dropped - agent.metrics_dropped_told)
    agent.metrics_dropped_told = message.dropped


def on_session(state: State, turn: Turn) -> None:
    """Who is new here gets what there is, with the next round."""
    if state.metrics.merged:
        _begin_by(state, turn.now.mono_ns + GATHER_NS)


def on_wake(state: State, turn: Turn) -> None:
    """Do the next slice, if it is due: often, so nothing else is looked at."""
    metrics, now_ns = state.metrics, turn.now.mono_ns
    if metrics.due_ns is None or now_ns < metrics.due_ns:
        return
    metrics.due_ns = now_ns + SLICE_NS
    if metrics.unmerged is None:
        # What comes from now on is for the next round: this one ends, however much comes.
        metrics.unmerged, metrics.news = deque(metrics.news), {}
    if metrics.untold is None:
        if _merge(state, turn, metrics.unmerged):
            _forget(state)
            behind = (session.number for session in state.sessions.values() if session.shared < metrics.version)
            metrics.untold = deque(behind)
        return
    _tell(state, turn, metrics.untold)
    if metrics.untold:
        return
    metrics.due_ns, metrics.unmerged, metrics.untold = None, None, None
    metrics.rest_until_ns = now_ns + max(ROUND_NS, metrics.told_bytes * SECOND_NS // RATE)
    metrics.told_bytes = 0
    metrics.messages.clear()
    if metrics.news or any(session.shared < metrics.version for session in state.sessions.values()):
        _begin_by(state, now_ns)


def deadlines(state: State) -> list[int]:
    return [state.metrics.due_ns] if state.metrics.due_ns is not None else []


def _begin_by(state: State, at_ns: int) -> None:
    metrics = state.metrics
    if metrics.due_ns is None:
        metrics.due_ns = max(at_ns, metrics.rest_until_ns)
        state.wake_ns = min(state.wake_ns, metrics.due_ns)


# ---- merging


def _merge(state: State, turn: Turn, unmerged: deque[str]) -> bool:
    """One slice of it. Returns whether nothing is left to merge."""
    metrics = state.metrics
    left = SLICE_BYTES
    while left > 0:
        if metrics.merging is None:
            if not unmerged:
                return True
            metrics.merging = _begin(state, unmerged.popleft(), turn.now.mono_ns)
            continue
        merging = metrics.merging
        while merging.waiting and left > 0:
            snapshot = merging.waiting.pop()
            merging.found.add(snapshot.series)
            left -= _bytes_of(snapshot.series)
        if not merging.waiting:
            metrics.merging = None
            _keep(state, merging, turn.now.wall_ns)
    return False


def _begin(state: State, name: str, now_ns: int) -> MergingRegion | None:
    region = state.regions.get(name)
    if region is None:
        return None
    waiting = [
        agent.metrics
        for _, agent in sorted(region.agents.items(), reverse=True)
        if agent.metrics is not None and now_ns - agent.metrics_ns <= STALE_NS
    ]
    if not waiting:
        return None
    window_ns = max(snapshot.window_ns for snapshot in waiting)
    wall_ns = max(snapshot.wall_ns for snapshot in waiting)
    return MergingRegion(name, window_ns, wall_ns, waiting)


def _keep(state: State, done: MergingRegion, wall_ns: int) -> None:
    if done.name not in state.regions:
        return  # It was deregistered meanwhile.
    metrics = state.metrics
    metrics.version += 1
    metrics.merged[done.name] = MetricsSnapshot(
        done.name,
        "",
        state.run_id,
        metrics.version,
        done.window_ns,
        # An agent whose clock runs ahead does not make the view one of the future.
        min(wall_ns, done.wall_ns),
        done.found.series(),
    )


def _forget(state: State) -> None:
    """Regions and agents that are gone take no place."""
    metrics = state.metrics
    for name in metrics.merged.keys() - state.regions.keys():
        del metrics.merged[name]
    metrics.kept_bytes = sum(_bytes_of(agent.metrics.series) for agent in state.agents.values() if agent.metrics)


# ---- telling


def _tell(state: State, turn: Turn, untold: deque[int]) -> None:
    """One slice of the sessions."""
    metrics = state.metrics
    for _ in range(min(SLICE_SESSIONS, len(untold))):
        session = state.sessions.get(untold.popleft())
        if session is None:
            continue
        messages = metrics.messages.get(session.shared)
        if messages is None:
            messages = metrics.messages[session.shared] = _messages(state, session.shared)
        for message, size in messages:
            turn.send(session.number, message)
            metrics.told_bytes += size
        session.shared = metrics.version


def _messages(state: State, had: int) -> tuple[tuple[GroupMetrics, int], ...]:
    """(message, about its bytes) of what is newer than what somebody had."""
    found: list[tuple[GroupMetrics, int]] = []
    taken: list[MetricsSnapshot] = []
    size = 0
    for _, snapshot in sorted(state.metrics.merged.items()):
        if snapshot.version <= had:
            continue
        more = _bytes_of(snapshot.series)
        if taken and size + more > MESSAGE_BYTES_MAX:
            found.append((GroupMetrics(tuple(taken)), size))
            taken, size = [], 0
        taken.append(snapshot)
        size += more
    if taken:
        found.append((GroupMetrics(tuple(taken)), size))
    return tuple(found)


def _bytes_of(series: Sequence[SeriesSketch]) -> int:
    return sum(series_bytes(one) for one in series)

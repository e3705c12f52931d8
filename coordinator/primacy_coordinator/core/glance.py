"""The copy of the state that monitoring looks at every second: no dearer than the agents and regions are many."""

from __future__ import annotations

from dataclasses import dataclass, field

from primacy_wire.instant import Now

from primacy_coordinator.core import observation, readings
from primacy_coordinator.core.monitor.seen import Seen, share_of
from primacy_coordinator.core.monitor.tiers import Measured
from primacy_coordinator.core.state import Agent, State

Routed = dict[tuple[str, str], int]
"""(client region, target region) -> requests."""


@dataclass(slots=True)
class Looks:
    """What the onlooker remembers from one look to the next."""

    number: int = 0
    metrics_ns: int = -1
    """Up to when agents' snapshots were seen."""
    dropped: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Agent -> (life, values that it has left out)."""
    routed: dict[str, Routed] = field(default_factory=dict)
    """Agent -> what it had routed so far at the last look."""
    routed_seen: Routed = field(default_factory=dict)
    """What all of them routed since they were first seen."""


def glance(state: State, now: Now, looks: Looks) -> Seen:
    """One look. What agents measured is seen once."""
    share = share_of(looks.number, len(state.regions))
    looks.number += 1
    measured = _measured(state, looks)
    looking = {name for at, name in enumerate(sorted(state.regions)) if share.has(at)}
    return Seen(
        view=readings.group_view(state, now, for_monitoring=True),
        measured=measured,
        round_trips=observation.round_trips(state, looking),
        routed=_routed(state, looks) if share.first else None,
    )


def _measured(state: State, looks: Looks) -> tuple[Measured, ...]:
    since_ns = looks.metrics_ns
    found: list[Measured] = []
    for key, agent in sorted(state.agents.items()):
        snapshot = agent.metrics
        if snapshot is None or agent.metrics_ns <= since_ns:
            continue
        looks.metrics_ns = max(looks.metrics_ns, agent.metrics_ns)
        dropped = agent.metrics_dropped
        # What an agent left out before it was first seen is not news.
        life, before = looks.dropped.get(key, (snapshot.incarnation, dropped))
        if life != snapshot.incarnation:
            before = 0
        looks.dropped[key] = snapshot.incarnation, dropped
        found.append(Measured(agent.record.region, key, snapshot.series, max(0, dropped - before)))
    if len(looks.dropped) > len(state.agents):
        for gone in looks.dropped.keys() - state.agents.keys():
            del looks.dropped[gone]
    return tuple(found)


def _routed(state: State, looks: Looks) -> tuple[tuple[str, str, int], ...]:
    """Between regions of the group. What an agent had routed before it was first seen, in this life of the coordinator,
    is not news.
    """
    seen = {pair: count for pair, count in looks.routed_seen.items() if _is_between(state, pair)}
    newest: dict[str, Routed] = {}
    for key, agent in state.agents.items():
        if agent.report is None:
            continue
        mine, before = _routed_by(agent), looks.routed.get(key)
        newest[key] = mine
        for pair, count in mine.items():
            if _is_between(state, pair):
                more = count - before.get(pair, 0) if before is not None else 0
                seen[pair] = seen.get(pair, 0) + max(0, more)
    looks.routed, looks.routed_seen = newest, seen
    return tuple((client, target, count) for (client, target), count in sorted(seen.items()))


def _routed_by(agent: Agent) -> Routed:
    found: Routed = {}
    for (client, target, *_), count in agent.routed.items():
        found[client, target] = found.get((client, target), 0) + count
    for one in agent.routed_now:
        pair = one.client_region, one.target_region
        found[pair] = found.get(pair, 0) + one.count
    return found


def _is_between(state: State, pair: tuple[str, str]) -> bool:
    """Other names are whatever clients told the agent. Without a target: there was nowhere to go."""
    client, target = pair
    return client in state.regions and (not target or target in state.regions)

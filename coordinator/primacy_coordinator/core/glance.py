"""The copy of the state that monitoring looks at every second: no dearer than the agents and regions are many."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from primacy_wire.instant import Now

from primacy_coordinator.core import observation, readings
from primacy_coordinator.core.monitor.seen import Seen, share_of
from primacy_coordinator.core.monitor.tiers import Measured
from primacy_coordinator.core.state import State


@dataclass(slots=True)
class Looks:
    """What the onlooker remembers from one look to the next."""

    number: int = 0
    metrics_ns: int = -1
    """Up to when agents' snapshots were seen."""
    dropped: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Agent -> (life, values that it has left out)."""


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
        routed=_routed(state) if share.first else None,
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


def _routed(state: State) -> tuple[tuple[str, str, int], ...]:
    totals: dict[tuple[str, str], int] = defaultdict(int)
    for agent in state.agents.values():
        for (client, target, *_), count in agent.routed.items():
            totals[client, target] += count
        for one in agent.routed_now:
            totals[one.client_region, one.target_region] += one.count
    return tuple((client, target, count) for (client, target), count in sorted(totals.items()))

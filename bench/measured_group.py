"""A made-up group that is looked at: regions, agents and what they measure, in virtual time."""

from __future__ import annotations

import random
from dataclasses import replace

from primacy_coordinator.core.model import (
    LeasePhase,
    Policy,
    RegionRecord,
    RegionStatus,
    RoutingStrategy,
    VerdictRecord,
)
from primacy_coordinator.core.monitor.model import Slo, SloIndicator
from primacy_coordinator.core.monitor.seen import Seen, share_of
from primacy_coordinator.core.monitor.tiers import Measured
from primacy_coordinator.core.views import AgentView, GroupView, LeaseView, RegionView, WeightsView
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.log_messages import SeriesSketch
from primacy_wire.messages import Lag, Load, Phase, ServiceState
from primacy_wire.sketch import Sketch

WINDOW_S = 10
SAMPLES = 10
"""Values of each series in a window: one a second."""
POOL = 64
POLICY = Policy(
    slos=(
        Slo("serving", SloIndicator.AVAILABILITY, 0.999, per_region=True),
        Slo("success", SloIndicator.SUCCESS, 0.999, per_region=True),
        Slo("quick", SloIndicator.LATENCY, 0.99, threshold_ns=250 * MILLISECOND_NS, per_region=True),
    )
)


class MeasuredGroup:
    """What `glance` would return, second after second."""

    def __init__(self, regions: int, agents: int, series: int, seed: int = 1) -> None:
        self._draw = random.Random(seed)
        self._names = [f"region-{number:02}" for number in range(regions)]
        self._agents = [(self._names[number % regions], f"agent-{number}") for number in range(agents)]
        self._series = [f"own_{number:03}" for number in range(max(0, series - 1))]
        self._sketches = [_sketched(self._draw) for _ in range(POOL)]
        self._number = 0
        shares = tuple((name, 1.0 / regions) for name in self._names)
        self._weights = WeightsView(
            1, RoutingStrategy.ROUND_ROBIN, tuple((name, shares) for name in self._names), (), False
        )
        self._routed = {(one, other): 0 for one in self._names for other in self._names}
        self._views = {
            name: tuple(_agent(region, agent) for region, agent in self._agents if region == name)
            for name in self._names
        }

    def look(self) -> Seen:
        """The next second."""
        number = self._number
        self._number += 1
        share = share_of(number, len(self._names))
        looking = [name for at, name in enumerate(self._names) if share.has(at)]
        routed = None
        if share.first:
            for pair in self._routed:
                self._routed[pair] += 7
            routed = tuple((one, other, count) for (one, other), count in self._routed.items())
        return Seen(
            view=self._view(number),
            measured=tuple(
                Measured(region, f"{region}/{agent}", self._measure())
                for at, (region, agent) in enumerate(self._agents)
                if (at + number) % WINDOW_S == 0
            ),
            round_trips=tuple(
                (one, other, 10_000_000 + 1000 * (number % 97))
                for one in looking
                for other in self._names
                if one != other
            ),
            routed=routed,
        )

    def _measure(self) -> tuple[SeriesSketch, ...]:
        draw, pool = self._draw, self._sketches
        return tuple(replace(pool[draw.randrange(POOL)], name=name) for name in ("latency_seconds", *self._series))

    def _view(self, number: int) -> GroupView:
        load = Load(1000.0 + number % 13, 0.001, 20_000_000, 0.4 + number % 7 / 100, 2500.0, 20.0)
        return GroupView(
            "default",
            "store",
            "run",
            1,
            LeaseView(
                self._names[0], 1, 1, self._names[0], self._names[0], LeasePhase.ACCEPTED, SECOND_NS, SECOND_NS, 0
            ),
            None,
            POLICY,
            1,
            tuple(
                RegionView(
                    RegionRecord(name, 0),
                    VerdictRecord(name, RegionStatus.HEALTHY, "", (), 0),
                    name == self._names[0],
                    load,
                    self._views[name],
                    lag=Lag(SECOND_NS * (number % 3), number % 5, 1000),
                )
                for name in self._names
            ),
            self._weights,
            None,
            (),
            (),
        )


def _agent(region: str, agent: str) -> AgentView:
    return AgentView(
        region, agent, "life", "host", "", True, 0, Phase.STANDBY, 0, False, ServiceState.UP, 1, 1, "", Load()
    )


def _sketched(draw: random.Random) -> SeriesSketch:
    """Ten values with a heavy tail."""
    sketch = Sketch()
    scale = draw.uniform(-5, 0)
    for _ in range(SAMPLES):
        sketch.add(draw.lognormvariate(scale, 1.0))
    return sketch.to_series("")

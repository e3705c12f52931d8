"""Several groups of one coordinator process: each its own world, all under one timeline and one brake."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from primacy_coordinator.core.model import FailoverKind, FailoverState
from primacy_coordinator.core.state import Brake as Place
from primacy_coordinator.shell.brake import Brake
from primacy_wire.instant import MILLISECOND_NS

from tests.simulation.world.options import Options
from tests.simulation.world.settling import expect_settled, heal
from tests.simulation.world.timeline import Timeline
from tests.simulation.world.world import World

STEP_NS = 20 * MILLISECOND_NS
UNDER_WAY = frozenset({FailoverState.RELEASING, FailoverState.OFFERING, FailoverState.PROMOTING})


class Fleet:
    def __init__(self, seed: int, options: Options) -> None:
        self.timeline = Timeline()
        self.brake = Brake(options.failovers_max)
        self.worlds = [
            World(seed * 1000 + number, replace(options, groups=1), self.timeline, self.brake, f"g{number}")
            for number in range(options.groups)
        ]
        self.most_at_once = 0

    def begin(self) -> None:
        for world in self.worlds:
            world.begin()

    def run(self, length_ns: int) -> Counter[str]:
        """One schedule, healed at its end."""
        self.begin()
        self.run_for(length_ns)
        for world in self.worlds:
            heal(world)
        counts: Counter[str] = Counter()
        for world in self.worlds:
            expect_settled(world)
            counts += world.counts
        return counts

    def run_for(self, length_ns: int) -> None:
        end_ns = self.timeline.time_ns + length_ns
        while self.timeline.time_ns < end_ns:
            self.timeline.run_for(min(STEP_NS, end_ns - self.timeline.time_ns))
            self.most_at_once = max(self.most_at_once, self.braked())

    def braked(self) -> int:
        """How many groups fail over by the brake's leave; never more than it lets."""
        let = [
            world
            for world in self.worlds
            if world.coordinator.group is not None and world.coordinator.group._state.brake is Place.LET
        ]
        if self.brake.limit and len(let) > self.brake.limit:
            let[-1].fail("brake", f"{len(let)} groups fail over at once, {self.brake.limit} may")
        return len(let)

    def moving(self) -> int:
        """How many groups fail over by themselves, by whatever leave."""
        found = 0
        for world in self.worlds:
            move = world.coordinator.group._state.move if world.coordinator.group is not None else None
            if move is not None and move.record.move is FailoverKind.AUTOMATIC and move.record.state in UNDER_WAY:
                found += 1
        return found

    def crash(self) -> None:
        """The process dies, and with it every group and the brake."""
        for world in self.worlds:
            world.coordinator.crash()

    def restart(self) -> None:
        for world in self.worlds:
            world.coordinator.start()

"""Alerts over whole schedules of faults: the same each time, decided again from the journal, true to the end. [I9]"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from primacy_coordinator.core.monitor.alerts.evaluate import AlertState, decide
from primacy_wire.instant import SECOND_NS

from tests.simulation.test_stories import THREE, cut, settled
from tests.simulation.world.schedules import options_of
from tests.simulation.world.settling import expect_settled, heal
from tests.simulation.world.world import World
from tests.unit.core.monitor.watching import Watcher

SEEDS = (4, 11, 23, 42)
LASTING = {"conflict-waiting", "parked-entry", "content-at-risk", "lag", "would-not-survive"}
"""What a schedule may leave behind for people to decide."""


@dataclass
class Watched:
    """A world that is looked at once a second; a coordinator that is down looks at nothing."""

    world: World
    watcher: Watcher = field(default_factory=Watcher)
    run_id: str = ""

    def run_for(self, seconds: int) -> None:
        for _ in range(seconds):
            self.world.run_for(SECOND_NS)
            coordinator = self.world.coordinator
            if coordinator.group is None:
                continue
            if coordinator.run_id != self.run_id:
                self.run_id, self.watcher.uptime_ns = coordinator.run_id, 0
            self.watcher.look(coordinator.group, coordinator.now())


def run(seed: int) -> Watched:
    world = World(seed, options_of(seed))
    world.begin()
    watched = Watched(world)
    watched.run_for(90)
    heal(world)
    expect_settled(world)
    # Longer than anything unknown is held for.
    watched.run_for(700)
    return watched


@pytest.mark.parametrize("seed", SEEDS)
def test_a_schedule_of_faults(seed: int) -> None:
    watched = run(seed)
    watcher = watched.watcher
    for transition in watcher.transitions:
        assert decide(transition.decided.step) == transition.decided.after
    left = [alert_id for alert_id in watcher.firing() if alert_id.partition("/")[0].partition(":")[0] not in LASTING]
    assert left == [], [watcher.alert(alert_id).summary for alert_id in left]
    by_id: dict[str, list[str]] = {}
    for message in watcher.messages:
        state, _, alert_id = message.partition(" ")
        by_id.setdefault(alert_id, []).append(state)
    for alert_id, states in by_id.items():
        changes = [state for number, state in enumerate(states) if number == 0 or state != states[number - 1]]
        assert changes[::2] == ["firing"] * len(changes[::2]), alert_id
        last = watcher.book.find(alert_id)
        assert last is None or (last.state is AlertState.FIRING) == (changes[-1] == "firing"), alert_id


def test_a_schedule_gives_the_same_alerts_again() -> None:
    first, second = run(SEEDS[0]), run(SEEDS[0])
    assert [repr(one) for one in first.watcher.transitions] == [repr(one) for one in second.watcher.transitions]


def test_a_region_that_goes_dark_is_one_message_also_when_the_coordinator_is_killed_meanwhile() -> None:
    world = settled(THREE)
    watched = Watched(world)
    watched.run_for(70)
    assert watched.watcher.messages == []
    cut(world, "ap", peers=True)
    watched.run_for(30)
    world.coordinator.crash()
    watched.run_for(5)
    world.coordinator.start()
    watched.run_for(120)
    assert watched.watcher.messages == ["firing region-down/ap"]
    world.network.cuts.clear()
    watched.run_for(120)
    assert watched.watcher.messages == ["firing region-down/ap", "resolved region-down/ap"]
    assert watched.watcher.firing() == []

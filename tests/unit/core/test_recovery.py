"""A region's way back, step by step; how many join at once; and since when a store is doubted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from primacy_coordinator.core import events, observation
from primacy_coordinator.core.model import Limits, Policy, RegionStatus
from primacy_coordinator.core.state import State
from primacy_coordinator.core.views import RegionView
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.messages import Lag

from tests.unit.core.lab import DOWN, UP, Lab

POLICY = Policy(
    lease_ttl_ns=5 * SECOND_NS,
    grace_ns=SECOND_NS,
    first_wait_ns=SECOND_NS,
    stable_for_ns=3 * SECOND_NS,
    slow_start_ns=6 * SECOND_NS,
    hold_down_ns=30 * SECOND_NS,
    doubt_max_ns=0,
)


def settled(**policy: object) -> Lab:
    lab = Lab({"ap": 1, "eu": 1, "us": 1}, replace(POLICY, **policy))  # type: ignore[arg-type]
    lab.run(6)
    assert lab.known() == ("ap", 1)
    return lab


def region(lab: Lab, name: str) -> RegionView:
    assert lab.group is not None
    view = lab.group.region_view(lab.now, name)
    assert view is not None
    return view


def steps(lab: Lab, name: str) -> list[str]:
    return [e.message.split(": ")[1] for e in lab.journal if e.kind == "recovery-step" and e.region == name]


def test_every_step_of_the_way_back_is_in_the_journal_in_order() -> None:
    lab = settled()
    node = lab.of("us")[0]
    node.health = DOWN
    lab.run(2)
    assert steps(lab, "us") == ["returned"], "its agent is heard all the while"
    node.health = UP
    lab.run(1.5)
    assert steps(lab, "us") == ["returned", "probes pass"]
    lab.run(4)
    assert steps(lab, "us") == ["returned", "probes pass", "stable", "eligible"]
    assert "its reads still grow" in region(lab, "us").verdict.reason
    lab.run(8)
    assert steps(lab, "us") == ["returned", "probes pass", "stable", "eligible", "ramped"]
    assert region(lab, "us").verdict.reason == "its probes pass"


def test_a_region_that_was_silent_returns_when_it_is_heard() -> None:
    lab = settled()
    node = lab.of("us")[0]
    node.cut = True
    lab.run(6)
    assert region(lab, "us").verdict.status is RegionStatus.DOWN and steps(lab, "us") == []
    node.cut = False
    lab.run(1.5)
    assert steps(lab, "us") == ["returned", "probes pass"]


def test_a_region_that_stays_down_returns_once_and_again_after_it_was_silent() -> None:
    lab = settled()
    node = lab.of("us")[0]
    node.health = DOWN
    for count in range(10):
        node.health = replace(DOWN, reason=f"connection refused {count} times")
        lab.run(1)
    assert steps(lab, "us") == ["returned"]
    node.cut = True
    lab.run(6)
    node.cut = False
    lab.run(1)
    assert steps(lab, "us") == ["returned", "returned"]
    assert region(lab, "us").verdict.status is RegionStatus.DOWN


def test_a_region_is_caught_up_when_its_data_is() -> None:
    lab = settled(max_lag=Limits(entries=10))
    node = lab.of("us")[0]
    node.health, node.lag = DOWN, Lag(entries=500)
    lab.run(2)
    node.health = UP
    lab.run(2)
    assert "caught up" not in steps(lab, "us") and "not caught up yet" in region(lab, "us").verdict.reason
    lab.run(4)
    assert "eligible" not in steps(lab, "us") and "LAG" in region(lab, "us").verdict.reason
    node.lag = Lag(entries=3)
    lab.run(2)
    assert steps(lab, "us")[-2:] == ["caught up", "eligible"]


def test_a_region_that_lost_the_lease_is_eligible_when_its_hold_down_is_over() -> None:
    lab = settled()
    lab.of("ap")[0].health = DOWN
    lab.run(3)
    lab.of("ap")[0].health = UP
    lab.run(15)
    assert steps(lab, "ap")[-1] == "ramped" and "HOLD_DOWN" in region(lab, "ap").verdict.reason
    lab.stop()
    lab.start()
    lab.run(20)
    assert steps(lab, "ap")[-1] == "eligible"


def test_a_relapse_begins_the_way_back_anew() -> None:
    lab = settled()
    node = lab.of("us")[0]
    for _ in range(2):
        node.health = DOWN
        lab.run(2)
        node.health = UP
        lab.run(1.5)
    assert steps(lab, "us") == ["returned", "probes pass"] * 2


def test_a_restart_does_not_forget_that_a_silent_region_was_recovering() -> None:
    lab = settled(stable_for_ns=20 * SECOND_NS)
    node = lab.of("us")[0]
    node.health = DOWN
    lab.run(2)
    node.health = UP
    lab.run(2)
    for name in ("ap", "eu"):
        lab.of(name)[0].sees = {"us": True}
    node.cut = True
    lab.run(5)
    assert region(lab, "us").verdict.status is RegionStatus.SUSPECT
    lab.stop()
    lab.start()
    node.cut = False
    lab.run(3)
    assert region(lab, "us").verdict.status is RegionStatus.RECOVERING
    lab.run(22)
    assert region(lab, "us").verdict.status is RegionStatus.HEALTHY


def test_agents_that_join_at_once_are_judged_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """What peers see is gathered once in a moment, however many agents join in it."""
    gathered: list[int] = []
    gather = observation.gather_votes

    def counted(state: State, now_ns: int) -> observation.Votes:
        gathered.append(now_ns)
        return gather(state, now_ns)

    monkeypatch.setattr(observation, "gather_votes", counted)
    lab = Lab({}, POLICY)
    for number in range(40):
        for name in ("ap", "eu", "us"):
            lab.now = lab.now.plus(MILLISECOND_NS)
            lab.add(name, f"a{number}")
            lab.step()
    assert len(lab.nodes) == 120 and all(node.session is not None for node in lab.nodes.values())
    assert 0 < len(gathered) <= 120 // 20 + 3, "once in 20 ms, and once for each region that is new"
    lab.run(6)
    assert {region(lab, name).verdict.status for name in ("ap", "eu", "us")} == {RegionStatus.HEALTHY}


def test_the_doubt_about_a_store_says_since_when() -> None:
    lab = settled()
    copy = dict(lab.records)
    lab.moved("us")
    lab.run(2)
    lab.stop()
    lab.records = copy
    lab.start()
    lab.run(2)
    assert lab.group is not None
    plan = lab.group.recovery_plan(lab.now)
    assert plan.needed and lab.now.wall_ns - 2 * SECOND_NS <= plan.since_wall_ns <= lab.now.wall_ns
    lab.stop()
    lab.start()
    lab.run(1)
    assert lab.group is not None
    assert lab.group.recovery_plan(lab.now).since_wall_ns == plan.since_wall_ns
    assert lab.ask(events.Recover(lab.request(), confirm=False)).refusal is None

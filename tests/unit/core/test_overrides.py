"""Drains, cordons, pauses and pins: what they do, what refuses them, and how they end."""

from __future__ import annotations

import pytest
from primacy_coordinator.core import events
from primacy_coordinator.core.events import Command
from primacy_coordinator.core.model import DrainState, Policy, RoutingStrategy
from primacy_coordinator.core.views import DrainPlan, OverrideView, RegionView
from primacy_wire.instant import SECOND_NS, Now

from tests.unit.core.lab import DOWN, UP, Lab

HOUR_NS = 3600 * SECOND_NS


def settled(strategy: RoutingStrategy = RoutingStrategy.ROUND_ROBIN, **policy: object) -> Lab:
    lab = Lab(
        {"ap": 1, "eu": 1, "us": 1},
        Policy(  # type: ignore[arg-type]
            lease_ttl_ns=5 * SECOND_NS,
            grace_ns=SECOND_NS,
            first_wait_ns=SECOND_NS,
            stable_for_ns=3 * SECOND_NS,
            read_strategy=strategy,
            drain_time_ns=4 * SECOND_NS,
            slow_start_ns=10 * SECOND_NS,
            weight_slew=1.0,
            **policy,
        ),
    )
    lab.run(8)
    assert lab.known() == ("ap", 1)
    return lab


def region(lab: Lab, name: str) -> RegionView:
    assert lab.group is not None
    view = lab.group.region_view(lab.now, name)
    assert view is not None
    return view


def reads(lab: Lab, client: str = "eu") -> dict[str, float]:
    assert lab.group is not None
    return dict(dict(lab.group.weights_view().read)[client])


def drain(lab: Lab, name: str, **how: object) -> DrainPlan:
    reply = lab.ask(events.DrainRegion(lab.request(), name, "maintenance", "ops", **how))  # type: ignore[arg-type]
    assert reply.refusal is None, reply.refusal
    assert isinstance(reply.value, DrainPlan)
    return reply.value


def test_a_drained_region_loses_its_reads_in_steps_and_can_take_no_lease() -> None:
    lab = settled()
    drain(lab, "eu")
    seen = []
    for _ in range(30):
        lab.run(0.2)
        seen.append(reads(lab, "us")["eu"])
    assert seen == sorted(seen, reverse=True) and len(set(seen)) > 3 and seen[-1] == 0
    lab.run(6)
    assert region(lab, "eu").drain_state is DrainState.DRAINED
    refusal = lab.move("eu").refusal
    assert refusal is not None and refusal.rule == "DRAINED"
    reply = lab.ask(events.UndrainRegion(lab.request(), "eu", "ops"))
    assert reply.refusal is None
    first = reads(lab, "us")["eu"]
    lab.run(12)
    assert 0 < first < 0.2 and reads(lab, "us")["eu"] > 0.3, "its reads grow again"


def test_draining_the_active_region_moves_the_lease_first() -> None:
    lab = settled()
    plan = drain(lab, "ap")
    assert plan.failover is not None and "eu" in plan.steps[0]
    lab.run(2)
    assert lab.known() == ("eu", 2)
    lab.run(12)
    assert region(lab, "ap").drain_state is DrainState.DRAINED
    lab.ask(events.UndrainRegion(lab.request(), "ap"))
    lab.run(10)
    assert lab.known() == ("eu", 2), "undraining never moves authority back"


def test_a_drain_of_the_active_region_without_a_target_changes_nothing_unless_overridden() -> None:
    lab = settled()
    for name in ("eu", "us"):
        lab.of(name)[0].health = DOWN
    lab.run(3)
    before = dict(lab.records)
    refusal = lab.ask(events.DrainRegion(lab.request(), "ap", "fire", "ops")).refusal
    assert refusal is not None and refusal.rule == "NO_TARGET" and lab.records == before
    drain(lab, "ap", override_rules=("NO_TARGET",))
    lab.run(10)
    assert lab.known() == ("ap", 1) and "drained-while-active" in lab.kinds()


def test_no_drain_leaves_too_few_regions() -> None:
    lab = settled(undrained_regions_min=2)
    drain(lab, "eu")
    refusal = lab.ask(events.DrainRegion(lab.request(), "us", "more", "ops")).refusal
    assert refusal is not None and refusal.rule == "MIN_UNDRAINED"
    drain(lab, "us", override_rules=("MIN_UNDRAINED",))


def test_a_dry_run_of_a_drain_changes_nothing() -> None:
    lab = settled()
    before = dict(lab.records)
    plan = drain(lab, "ap", validate_only=True)
    assert len(plan.steps) == 2 and lab.records == before
    lab.run(5)
    assert lab.known() == ("ap", 1)


def test_a_cordoned_region_is_not_elected_and_not_moved_away_from() -> None:
    lab = settled()
    for name in ("ap", "eu"):
        reply = lab.ask(events.CordonRegion(lab.request(), name, "suspicious", "ops"))
        assert reply.refusal is None
    lab.run(5)
    assert lab.known() == ("ap", 1)
    lab.of("ap")[0].health = DOWN
    lab.run(4)
    assert lab.known() == ("us", 2)
    lab.ask(events.UncordonRegion(lab.request(), "eu"))
    assert not region(lab, "eu").cordoned


def test_a_pause_puts_off_elections_and_not_renewals_and_ends_by_itself() -> None:
    lab = settled()
    wall_ns = lab.now.wall_ns
    reply = lab.ask(events.PauseElection(lab.request(), "migration", "ops", wall_ns + 60 * SECOND_NS))
    assert isinstance(reply.value, OverrideView)
    lab.run(20)
    assert lab.known() == ("ap", 1)
    lab.of("ap")[0].cut = True
    lab.run(20)
    assert lab.known() == ("", 1) and "paused-without-active" in lab.kinds()
    lab.run(25)
    assert lab.known() == ("eu", 2), "the pause has expired"
    assert "override-expiring" in lab.kinds() and "override-expired" in lab.kinds()


def test_a_paused_group_without_an_active_region_can_be_moved_by_hand() -> None:
    lab = settled()
    lab.ask(events.PauseElection(lab.request(), "migration", "ops"))
    lab.of("ap")[0].cut = True
    lab.run(10)
    lab.moved("us")
    lab.run(3)
    assert lab.known() == ("us", 2)


def test_the_same_epoch_is_revived_while_paused() -> None:
    lab = settled()
    lab.ask(events.PauseElection(lab.request(), "migration", "ops"))
    lab.of("ap")[0].cut = True
    lab.run(10)
    lab.of("ap")[0].cut = False
    lab.run(3)
    assert lab.known() == ("ap", 1)


def test_a_pin_sets_reads_and_death_wins_over_it() -> None:
    lab = settled()
    shares = (("eu", 0.75), ("us", 0.25))
    reply = lab.ask(events.PinWeights(lab.request(), "", shares, "experiment", "ops"))
    assert isinstance(reply.value, OverrideView)
    lab.run(1)
    assert reads(lab, "ap") == {"ap": 0.0, "eu": 0.75, "us": 0.25}
    lab.of("eu")[0].health = DOWN
    lab.run(2)
    assert reads(lab, "ap") == {"ap": 0.0, "eu": 0.0, "us": 1.0} and "pin-dead" in lab.kinds()
    lab.ask(events.UnpinWeights(lab.request(), ""))
    lab.run(1)
    assert reads(lab, "ap")["ap"] > 0


BAD: list[tuple[Command, str, str]] = [
    (events.DrainRegion(1, "eu", " "), "reason", "OVERRIDE"),
    (events.CordonRegion(1, "eu", "why", "", 5), "expireTime", "OVERRIDE"),
    (events.PauseElection(1, "why", "", 10**19), "expireTime", "OVERRIDE"),
    (events.PinWeights(1, "", (("eu", 0.5),), "why"), "weights", "WEIGHTS"),
    (events.PinWeights(1, "", (("eu", float("nan")),), "why"), "weights.eu", "WEIGHTS"),
    (events.DrainRegion(1, "eu", "why", override_rules=("NONSENSE",)), "overrideRules[0]", "OVERRIDE_RULES"),
    (events.DrainRegion(1, "mars", "why"), "", "REGION_NOT_FOUND"),
    (events.PinWeights(1, "", (("mars", 1.0),), "why"), "", "REGION_NOT_FOUND"),
    (events.UndrainRegion(1, "eu"), "", "NOT_DRAINED"),
    (events.UncordonRegion(1, "eu"), "", "NOT_CORDONED"),
    (events.ResumeElection(1), "", "NOT_PAUSED"),
    (events.UnpinWeights(1, ""), "", "NOT_PINNED"),
]


@pytest.mark.parametrize(("command", "field", "rule"), BAD)
def test_what_cannot_be_is_refused_by_name_and_changes_nothing(command: Command, field: str, rule: str) -> None:
    lab = settled()
    before = dict(lab.records)
    refusal = lab.ask(command).refusal
    assert refusal is not None and refusal.rule == rule
    assert field == "" or field in dict(refusal.fields)
    assert lab.records == before


def test_overrides_survive_a_restart() -> None:
    lab = settled()
    drain(lab, "eu")
    lab.run(12)
    lab.stop()
    lab.start()
    lab.run(8)
    assert region(lab, "eu").drain_state is DrainState.DRAINED and reads(lab, "us")["eu"] == 0
    assert lab.known()[0] == "ap"


def test_a_step_of_the_wall_clock_makes_no_override_longer_or_shorter() -> None:
    lab = settled()
    lab.ask(events.PauseElection(lab.request(), "migration", "ops", lab.now.wall_ns + 60 * SECOND_NS))
    lab.run(10)
    lab.now = Now(lab.now.mono_ns, lab.now.wall_ns + 5 * HOUR_NS)
    lab.run(40)
    assert lab.group is not None
    (view,) = lab.group.view(lab.now).overrides
    assert 9 * SECOND_NS < view.remaining_ns < 11 * SECOND_NS
    assert abs(view.record.expire_wall_ns - lab.now.wall_ns - view.remaining_ns) < SECOND_NS
    assert "clock-stepped" in lab.kinds()
    lab.run(12)
    assert lab.group.view(lab.now).overrides == ()


def test_setting_an_override_again_sets_its_end_anew() -> None:
    lab = settled()
    drain(lab, "eu")
    lab.run(12)
    drain(lab, "eu", expire_wall_ns=lab.now.wall_ns + 2 * HOUR_NS)
    (view,) = region(lab, "eu").overrides
    assert view.remaining_ns == 2 * HOUR_NS and region(lab, "eu").drain_state is DrainState.DRAINED
    assert UP is lab.of("eu")[0].health

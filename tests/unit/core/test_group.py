"""Stories of one group: real cores of both sides, faults by hand. Names in brackets are DESIGN's invariants."""

from __future__ import annotations

import pytest
from primacy_coordinator.core import events
from primacy_coordinator.core.model import (
    FailoverKind,
    FailoverState,
    LeaseRecord,
    Policy,
    RegionSettings,
    RegionStatus,
)
from primacy_wire.instant import SECOND_NS

from tests.unit.core.lab import DOWN, UP, Lab

THREE = {"ap": 1, "eu": 1, "us": 1}


def settled(regions: dict[str, int] | None = None, policy: Policy | None = None) -> Lab:
    lab = Lab(regions or THREE, policy)
    lab.run(6)
    return lab


def status(lab: Lab, region: str) -> RegionStatus:
    assert lab.group is not None
    view = lab.group.region_view(lab.now, region)
    assert view is not None
    return view.verdict.status


def test_the_first_election_waits_for_better_candidates_then_grants_epoch_one() -> None:
    lab = Lab(THREE)
    lab.run(0.5)
    assert lab.known() == ("", 0)
    lab.run(5)
    assert lab.known() == ("ap", 1) and lab.active() == {"ap"}
    assert lab.group is not None
    (record,) = lab.group.view(lab.now).failovers
    assert record.move is FailoverKind.INITIAL and record.state is FailoverState.SUCCEEDED


def test_a_lease_that_is_renewed_lasts() -> None:
    lab = settled()
    lab.run(60)
    assert lab.known() == ("ap", 1) and lab.active() == {"ap"}


def test_a_dead_service_moves_the_lease_by_release_without_waiting_for_the_ttl() -> None:
    lab = settled()
    lab.of("ap")[0].health = DOWN
    lab.run(1.5)  # grace is 1 s; the TTL of 5 s is not waited out
    assert lab.known() == ("eu", 2) and lab.active() == {"eu"}
    assert lab.group is not None
    record = lab.group.view(lab.now).failovers[0]
    assert record.move is FailoverKind.AUTOMATIC and record.from_region == "ap" and record.to_region == "eu"
    assert [p.name for p in record.phases] == ["down", "release", "offer"]
    assert status(lab, "ap") is RegionStatus.DOWN


def test_without_anybody_to_take_over_a_dead_region_keeps_the_lease() -> None:
    """[I8] what works is kept."""
    lab = settled({"ap": 1})
    lab.of("ap")[0].health = DOWN
    lab.run(20)
    assert lab.known() == ("ap", 1)


def test_a_silent_region_is_replaced_only_when_its_lease_ran_out() -> None:
    """[I1]"""
    lab = settled()
    lab.of("ap")[0].cut = True
    for _ in range(80):
        lab.run(0.1)
        assert len(lab.active()) <= 1
    assert lab.known() == ("eu", 2) and lab.active() == {"eu"}


def test_a_region_whose_coordinator_link_alone_is_cut_is_not_down_but_loses_the_lease() -> None:
    lab = settled()
    lab.of("ap")[0].cut = True
    for region in ("eu", "us"):
        lab.of(region)[0].sees = {"ap": True}
    lab.run(12)
    assert status(lab, "ap") is RegionStatus.SUSPECT
    assert lab.known() == ("eu", 2)


def test_all_agents_of_the_old_region_are_waited_for() -> None:
    """[I1] a release speaks for one life only."""
    lab = settled({"ap": 2, "eu": 1})
    assert len([n for n in lab.of("ap") if n.holder.active(lab.now).active]) == 2
    first, second = lab.of("ap")
    first.health = second.health = DOWN
    second.deaf = True  # it is heard, but the order never reaches it
    for _ in range(200):
        lab.run(0.1)
        assert len(lab.active()) <= 1
    assert lab.known() == ("eu", 2)


def test_restarting_every_agent_of_the_active_region_moves_nothing() -> None:
    lab = settled({"ap": 2, "eu": 1})
    for key in ("ap/a1", "ap/a2"):
        lab.restart(key)
    lab.run(3)
    assert lab.known() == ("ap", 1) and lab.active() == {"ap"}
    assert lab.active() == {"ap"}


def test_a_restarted_coordinator_renews_at_once_and_repeats_no_epoch() -> None:
    """[I2, I7]"""
    lab = settled()
    lab.stop()
    lab.run(2)
    lab.start()
    lab.run(1)
    assert lab.known() == ("ap", 1) and lab.active() == {"ap"}
    lab.run(30)
    assert lab.known() == ("ap", 1)
    assert lab.group is not None
    assert len(lab.group.view(lab.now).failovers) == 1


def test_after_a_restart_nothing_is_granted_before_the_recorded_ttl() -> None:
    """[I1]"""
    lab = settled()
    lab.stop()
    lab.of("ap")[0].cut = True
    lab.start()
    lab.run(4.9)
    assert lab.known()[1] == 1
    lab.run(4)
    assert lab.known() == ("eu", 2)


def test_a_coordinator_that_was_away_for_longer_than_the_ttl_gives_the_epoch_back() -> None:
    lab = settled()
    lab.stop()
    lab.run(10)
    assert lab.active() == set()
    lab.start()
    lab.run(8)
    assert lab.known() == ("ap", 1) and lab.active() == {"ap"}


def test_a_planned_switchover_freezes_releases_and_grants() -> None:
    lab = settled()
    plan = lab.moved("us", reason="maintenance", owner="ops")
    assert plan.move is FailoverKind.PLANNED
    lab.run(0.5)
    assert lab.known() == ("us", 2) and lab.active() == {"us"}
    assert lab.group is not None
    record = lab.group.failover(plan.failover.id)
    assert record is not None and record.state is FailoverState.SUCCEEDED
    assert [p.name for p in record.phases] == ["freeze", "release", "offer"]
    assert record.reason == "maintenance" and record.owner == "ops"


def test_a_switchover_without_a_target_leaves_even_the_best_region() -> None:
    lab = settled()
    lab.moved()
    lab.run(0.5)
    assert lab.known() == ("eu", 2) and lab.active() == {"eu"}
    lab.moved()
    lab.run(0.5)
    assert lab.known() == ("ap", 3) and lab.active() == {"ap"}


def test_a_freeze_that_cannot_be_completed_is_given_up_without_trace() -> None:
    lab = settled(
        {"ap": 1, "eu": 1},
        Policy(
            lease_ttl_ns=5 * SECOND_NS, grace_ns=SECOND_NS, first_wait_ns=SECOND_NS, switchover_timeout_ns=2 * SECOND_NS
        ),
    )
    node = lab.of("ap")[0]
    node.deaf = True
    plan = lab.moved("eu")
    lab.run(1.0)
    node.deaf = False
    lab.run(5)
    assert lab.group is not None
    record = lab.group.failover(plan.failover.id)
    assert record is not None and record.state is FailoverState.ABORTED
    assert lab.known() == ("ap", 1) and lab.active() == {"ap"}
    assert not node.holder.active(lab.now).frozen


def test_a_freeze_ends_by_itself_when_the_coordinator_dies() -> None:
    lab = settled()
    lab.hold_disk = False
    node = lab.of("ap")[0]
    lab.moved("us")
    lab.stop()
    lab.start()
    lab.run(40)
    assert len(lab.active()) == 1
    assert not node.holder.active(lab.now).frozen


def test_a_forced_failover_still_waits_for_the_lease() -> None:
    """[I1]"""
    lab = settled()
    lab.of("ap")[0].cut = True
    lab.moved("us", forced=True)
    lab.run(2)
    assert lab.known()[1] == 1
    lab.run(5)
    assert lab.known() == ("us", 2)


def test_a_holder_that_the_operator_fenced_is_not_waited_for() -> None:
    lab = settled()
    lab.of("ap")[0].cut = True
    lab.moved("us", forced=True, holder_fenced="ap", owner="ops", reason="pulled the plug")
    lab.run(0.5)
    assert lab.known() == ("us", 2)
    assert "holder-fenced" in lab.kinds()


def test_a_dry_run_changes_nothing() -> None:
    lab = settled()
    before = dict(lab.records)
    plan = lab.moved("us", validate_only=True)
    assert plan.failover.to_region == "us" and plan.steps
    lab.run(3)
    assert lab.known() == ("ap", 1) and {k: v for k, v in lab.records.items() if k[0] == "lease"} == {
        k: v for k, v in before.items() if k[0] == "lease"
    }


@pytest.mark.parametrize(
    ("how", "rule"),
    [
        ({"target": "mars"}, "REGION_NOT_FOUND"),
        ({"target": "ap"}, "ALREADY_ACTIVE"),
        ({"target": "us", "if_epoch": 7}, "EPOCH_MISMATCH"),
        ({"target": "us", "override_rules": ("NONSENSE",)}, "OVERRIDE_RULES"),
        ({"target": "us", "holder_fenced": "ap"}, "HOLDER_FENCED"),
        ({"target": "us", "holder_fenced": "eu", "forced": True}, "NOT_THE_HOLDER"),
    ],
)
def test_a_move_that_cannot_be_is_refused_with_its_rule(how: dict[str, object], rule: str) -> None:
    lab = settled()
    before = dict(lab.records)
    refusal = lab.move(**how).refusal  # type: ignore[arg-type]
    assert refusal is not None and refusal.rule == rule
    assert lab.records == before


def test_a_down_region_cannot_be_the_target() -> None:
    lab = settled()
    lab.of("us")[0].health = DOWN
    lab.run(1)
    refusal = lab.move("us").refusal
    assert refusal is not None and refusal.rule == "DOWN"


def test_a_longer_ttl_is_durable_before_it_is_told() -> None:
    """[I7]"""
    lab = settled()
    assert lab.group is not None
    lab.hold_disk = True
    longer = Policy(lease_ttl_ns=20 * SECOND_NS, grace_ns=SECOND_NS)
    lab._perform(lab.group.handle(lab.now, events.SetPolicy(lab.request(), longer)))
    lab.run(2)
    assert max(n.holder.active(lab.now).remaining_ns for n in lab.nodes.values()) <= 5 * SECOND_NS


def test_a_shorter_ttl_shortens_nothing_that_is_counted() -> None:
    lab = settled(policy=Policy(lease_ttl_ns=20 * SECOND_NS, grace_ns=SECOND_NS, first_wait_ns=SECOND_NS))
    lab.ask(events.SetPolicy(lab.request(), Policy(lease_ttl_ns=5 * SECOND_NS, grace_ns=SECOND_NS)))
    lab.run(1)
    lab.of("ap")[0].cut = True
    for _ in range(240):
        lab.run(0.1)
        assert len(lab.active()) <= 1
    assert lab.known() == ("eu", 2)


def test_a_ttl_recorded_in_between_does_not_hide_leases_that_are_still_out() -> None:
    """[I1] From 5 s over 12 s, of which nobody was told, to 4 s: a restart must go on waiting for 5 s."""
    lab = settled()
    lab.hold_disk = True
    assert lab.group is not None

    def wish(seconds: int) -> None:
        policy = Policy(lease_ttl_ns=seconds * SECOND_NS, grace_ns=SECOND_NS)
        lab._perform(lab.group.handle(lab.now, events.SetPolicy(lab.request(), policy)))  # type: ignore[union-attr]

    def written() -> set[int]:
        return {record.ttl_ns // SECOND_NS for record in lab.held if isinstance(record, LeaseRecord)}

    wish(12)
    lab.run(2)
    wish(4)
    lab.run(4)
    assert written() == {12}
    lab.run(2)
    assert written() == {12, 4}


def test_a_longer_ttl_is_not_told_while_a_shorter_one_may_still_be_found_on_disk() -> None:
    """[I1]"""
    lab = settled(policy=Policy(lease_ttl_ns=12 * SECOND_NS, grace_ns=SECOND_NS, first_wait_ns=SECOND_NS))
    assert lab.group is not None
    lab.hold_disk = True
    for seconds, wait in ((4, 13), (12, 1)):
        policy = Policy(lease_ttl_ns=seconds * SECOND_NS, grace_ns=SECOND_NS)
        lab._perform(lab.group.handle(lab.now, events.SetPolicy(lab.request(), policy)))
        lab.run(wait)
    assert max(n.holder.active(lab.now).remaining_ns for n in lab.nodes.values()) <= 4 * SECOND_NS


def test_an_empty_store_decides_nothing_until_the_operator_recovers() -> None:
    """[I2]"""
    lab = settled()
    lab.stop()
    lab.records.clear()
    lab.store_id = "store-2"
    lab.runs = []
    lab.start()
    lab.run(90)
    assert lab.group is not None
    plan = lab.group.recovery_plan(lab.now)
    assert plan.needed and plan.operator_needed and lab.active() == set()
    reply = lab.ask(events.Recover(lab.request(), confirm=True, owner="ops"))
    assert reply.refusal is None
    lab.run(10)
    region, epoch = lab.known()
    assert region and epoch > 1 and lab.active() == {region}
    assert all(node.disk.lineage.store_id == "store-2" for node in lab.nodes.values())


def test_an_older_copy_of_the_store_is_noticed_and_recovers_by_itself_when_everybody_reported() -> None:
    """[I2]"""
    lab = settled()
    copy = dict(lab.records)
    lab.moved("us")
    lab.run(2)
    assert lab.known() == ("us", 2)
    lab.stop()
    lab.records = copy
    lab.start()
    lab.run(5)
    assert lab.group is not None and lab.group.recovery_plan(lab.now).needed
    lab.run(70)
    region, epoch = lab.known()
    assert region and epoch > 2 and lab.active() == {region}


def test_a_twin_is_refused_and_keeps_what_it_holds_until_that_runs_out() -> None:
    lab = settled()
    old = lab.nodes["ap/a1"]
    lab.nodes["twin"] = old
    lab.add("ap", "a1")
    lab.run(1)
    assert old.holder.superseded
    lab.run(10)
    assert lab.known() == ("ap", 1)
    assert not old.holder.active(lab.now).active


def test_a_region_that_holds_the_lease_cannot_be_deregistered() -> None:
    lab = settled()
    refusal = lab.ask(events.DeregisterRegion(lab.request(), "ap")).refusal
    assert refusal is not None and refusal.rule == "ACTIVE_REGION"
    refusal = lab.ask(events.DeregisterRegion(lab.request(), "us")).refusal
    assert refusal is not None and refusal.rule == "LIVE_SESSIONS"


def test_what_an_operator_sets_wins_over_the_configuration() -> None:
    lab = settled()
    reply = lab.ask(events.UpdateRegion(lab.request(), "us", RegionSettings(priority=500), ("priority",)))
    assert reply.refusal is None
    lab.restart("us/a1")
    lab.run(2)
    assert lab.group is not None
    view = lab.group.region_view(lab.now, "us")
    assert view is not None and view.record.priority == 500
    stale = lab.ask(events.UpdateRegion(lab.request(), "us", RegionSettings(), ("priority",), etag="1")).refusal
    assert stale is not None and stale.rule == "ETAG_MISMATCH"


def test_a_recovered_region_serves_again_after_being_stable() -> None:
    lab = settled()
    node = lab.of("us")[0]
    node.health = DOWN
    lab.run(1)
    assert status(lab, "us") is RegionStatus.DOWN
    node.health = UP
    lab.run(1)
    assert status(lab, "us") is RegionStatus.RECOVERING
    lab.run(4)
    assert status(lab, "us") is RegionStatus.HEALTHY


def test_a_stalled_coordinator_judges_nobody_by_its_own_silence() -> None:
    lab = settled()
    assert lab.group is not None
    lab.now = lab.now.plus(4 * SECOND_NS)
    lab._perform(lab.group.handle(lab.now, events.Stalled(4 * SECOND_NS)))
    lab._perform(lab.group.handle(lab.now, events.TimePassed()))
    assert all(status(lab, region) is RegionStatus.HEALTHY for region in THREE)


def test_explain_names_the_winner_if_the_active_region_died() -> None:
    lab = settled()
    assert lab.group is not None
    view = lab.group.explain(lab.now, if_down="ap")
    assert view.winner == "eu" and view.would_move
    assert {c.region: c.rule for c in view.candidates}["ap"] == "DOWN"

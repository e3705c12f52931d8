"""A real group with agents, watched once a second: what fires, what explains it, and what a sink is told. [I9]"""

from __future__ import annotations

from dataclasses import replace

from primacy_coordinator.core import events
from primacy_coordinator.core.log_model import ConflictState
from primacy_coordinator.core.model import OverrideKind, Policy, RoutingStrategy
from primacy_coordinator.core.monitor.alerts import builtin
from primacy_coordinator.core.monitor.alerts.book import Book, Moment, acknowledge, step
from primacy_coordinator.core.monitor.alerts.evaluate import AlertState, decide
from primacy_coordinator.core.monitor.alerts.facts import Process
from primacy_coordinator.core.monitor.alerts.finding import Finding, Looked
from primacy_coordinator.core.monitor.alerts.rules import rules_of
from primacy_coordinator.core.monitor.model import AlertRule, Threshold
from primacy_coordinator.core.severity import Severity
from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Lag, Load

from tests.unit.core.lab import DOWN, Lab
from tests.unit.core.monitor.watching import Watcher, facts_of

assert ConflictState and OverrideKind


def run(lab: Lab, watcher: Watcher, seconds: int) -> None:
    for _ in range(seconds):
        lab.run(1.0)
        watcher.look(lab.group, lab.now)


def settled(regions: dict[str, int] | None = None, policy: Policy | None = None) -> tuple[Lab, Watcher]:
    lab = Lab(regions or {"ap": 1, "eu": 1, "us": 1}, policy)
    lab.run(6.0)
    watcher = Watcher()
    run(lab, watcher, 70)
    return lab, watcher


def kill(lab: Lab, region: str) -> None:
    for node in lab.of(region):
        node.cut = True
    for other in lab.nodes.values():
        other.sees[region] = False


def heal(lab: Lab, region: str) -> None:
    for node in lab.of(region):
        node.cut = False
    for other in lab.nodes.values():
        other.sees[region] = True


def test_a_group_that_is_well_has_no_alerts() -> None:
    _, watcher = settled()
    assert watcher.firing() == [] and watcher.messages == []


def test_one_dead_region_is_one_message() -> None:
    lab, watcher = settled()
    (active,) = lab.active()
    kill(lab, active)
    run(lab, watcher, 120)
    assert watcher.messages == [f"firing region-down/{active}"]
    heal(lab, active)
    run(lab, watcher, 120)
    assert watcher.messages == [f"firing region-down/{active}", f"resolved region-down/{active}"]
    assert watcher.firing() == []


def test_a_region_without_a_heir_is_two_messages_for_nobody_writes() -> None:
    lab, watcher = settled({"eu": 1, "us": 1})
    (active,) = lab.active()
    other = "eu" if active == "us" else "us"
    lab.ask(events.CordonRegion(lab.request(), other, "test", "somebody", lab.now.wall_ns + 3600 * SECOND_NS))
    run(lab, watcher, 70)
    assert watcher.firing() == ["no-standby"]
    assert "CORDONED" in watcher.alert("no-standby").summary
    kill(lab, active)
    run(lab, watcher, 90)
    said = [message for message in watcher.messages if message != "firing no-standby"]
    assert said == [f"firing region-down/{active}", "firing no-active-region"], watcher.messages


def test_a_region_that_its_peers_reach_has_lost_its_link() -> None:
    lab, watcher = settled()
    (active,) = lab.active()
    standby = next(region for region in ("ap", "eu", "us") if region != active)
    for node in lab.of(standby):
        node.cut = True
    for other in lab.nodes.values():
        other.sees[standby] = True
    run(lab, watcher, 40)
    assert watcher.messages == [f"firing link-lost/{standby}"]


def test_nobody_heard_is_one_message() -> None:
    lab, watcher = settled({"a": 1, "b": 1, "c": 1, "d": 1})
    for node in lab.nodes.values():
        node.cut = True
    run(lab, watcher, 120)
    assert watcher.messages == ["firing coordinator-alone"], watcher.messages
    down = [alert for alert in watcher.book.alerts if alert.rule == "region-down"]
    assert all(alert.cause_id == "coordinator-alone" for alert in down)


def test_the_transitions_can_be_decided_again_from_what_the_journal_keeps() -> None:
    lab, watcher = settled()
    (active,) = lab.active()
    kill(lab, active)
    run(lab, watcher, 60)
    heal(lab, active)
    run(lab, watcher, 120)
    assert len(watcher.transitions) >= 2
    for transition in watcher.transitions:
        assert decide(transition.decided.step) == transition.decided.after
        assert transition.decided.finding.id == transition.alert.id


def test_the_same_group_gives_the_same_alerts() -> None:
    def story() -> list[str]:
        lab, watcher = settled()
        (active,) = lab.active()
        kill(lab, active)
        run(lab, watcher, 60)
        return [repr(transition) for transition in watcher.transitions]

    assert story() == story()


def test_a_drained_region_that_goes_down_is_only_a_warning() -> None:
    lab, watcher = settled()
    (active,) = lab.active()
    standby = next(region for region in ("ap", "eu", "us") if region != active)
    lab.ask(events.DrainRegion(lab.request(), standby, "new kernel", "somebody", lab.now.wall_ns + 3600 * SECOND_NS))
    run(lab, watcher, 30)
    for node in lab.of(standby):
        node.health = DOWN
    run(lab, watcher, 30)
    alert = watcher.alert(f"region-down/{standby}")
    assert alert.severity is Severity.WARNING and "drained" in alert.summary


def test_lag_beyond_the_bound_fires_and_ends() -> None:
    lab, watcher = settled()
    (active,) = lab.active()
    standby = next(region for region in ("ap", "eu", "us") if region != active)
    for node in lab.of(standby):
        node.lag = Lag(age_ns=60 * SECOND_NS, entries=100)
    run(lab, watcher, 50)
    assert f"lag/{standby}" in watcher.firing()
    assert watcher.alert(f"lag/{standby}").finding.value == 60
    for node in lab.of(standby):
        node.lag = Lag(0, 0, 0)
    run(lab, watcher, 40)
    assert f"lag/{standby}" not in watcher.firing()


def test_capacity_that_does_not_suffice_without_a_region() -> None:
    policy = Policy(read_strategy=RoutingStrategy.WEIGHTED)
    lab, watcher = settled(policy=policy)
    for node in lab.nodes.values():
        node.load = Load(request_rate=90.0, capacity=100.0)
    run(lab, watcher, 90)
    fired = [alert for alert in watcher.firing() if alert.startswith("would-not-survive/")]
    assert len(fired) == 3
    assert "270 come" in watcher.alert(fired[0]).summary


def test_a_group_that_cannot_be_read_keeps_its_alerts_and_says_so() -> None:
    lab, watcher = settled()
    (active,) = lab.active()
    kill(lab, active)
    run(lab, watcher, 60)
    assert f"region-down/{active}" in watcher.firing()
    for _ in range(60):
        watcher.look(None, lab.now, store_trouble="no space left on device")
    assert watcher.firing() == [f"region-down/{active}", "store-trouble"]
    assert "no space left" in watcher.alert("store-trouble").summary
    # Nobody is told that it is over because nobody can look, however long that lasts.
    for _ in range(700):
        watcher.look(None, lab.now, metrics_trouble="the same")
    assert watcher.firing() == ["metrics-trouble", f"region-down/{active}"], "what is known of the process goes on"
    assert [message for message in watcher.messages if "resolved" in message] == ["resolved store-trouble"]


def test_a_rule_of_the_policys_own_goes_on_until_the_policy_is_known_again() -> None:
    lab, _ = settled()
    own = Finding("errors", "eu")
    rules = rules_of((AlertRule("errors", threshold=Threshold("error_rate", above=0.1)),), ())
    book, _ = step(Book(), rules, Looked((own,)), Moment(SECOND_NS, lab.now.wall_ns, "default"))
    again = Watcher(uptime_ns=0, book=book)
    for _ in range(60):
        again.look(None, lab.now)
    assert again.firing() == ["errors/eu"]


def test_a_restart_neither_fires_again_nor_resolves() -> None:
    lab, watcher = settled()
    (active,) = lab.active()
    kill(lab, active)
    run(lab, watcher, 60)
    sent = list(watcher.messages)
    lab.stop()
    lab.start()
    again = Watcher(uptime_ns=0, book=watcher.book, told=watcher.told)
    again.look(lab.group, lab.now)
    run(lab, again, 90)
    assert again.messages == [] and sent == [f"firing region-down/{active}"]
    assert again.firing() == [f"region-down/{active}"]
    assert again.alert(f"region-down/{active}").fire_wall_ns == watcher.alert(f"region-down/{active}").fire_wall_ns


def test_an_acknowledged_alert_is_not_told_again_until_it_ended() -> None:
    lab, watcher = settled()
    (active,) = lab.active()
    kill(lab, active)
    run(lab, watcher, 60)
    watcher.book, said = acknowledge(watcher.book, f"region-down/{active}", "ann", "on it")
    assert said is not None and said.acknowledged_by == "ann"
    watcher.told.clear()  # A sink that forgot is not told anew either.
    run(lab, watcher, 10)
    assert watcher.messages == [f"firing region-down/{active}"]
    assert acknowledge(watcher.book, "region-down/nowhere", "ann", "on it")[1] is None


def test_a_rule_of_the_policy_changes_a_built_in_one() -> None:
    lab, watcher = settled()
    policy = replace(
        lab.policy,
        alert_rules=(
            AlertRule(
                "region-down",
                severity=Severity.WARNING,
                labels=(("team", "edge"),),
                annotations=(("summary", "{region} of {group} is gone"),),
            ),
            AlertRule("no-standby", disabled=True),
        ),
    )
    lab.ask(events.SetPolicy(lab.request(), policy))
    (active,) = lab.active()
    kill(lab, active)
    run(lab, watcher, 60)
    alert = watcher.alert(f"region-down/{active}")
    assert alert.severity is Severity.WARNING and alert.labels == (("team", "edge"),)
    assert alert.summary == f"{active} of default is gone"
    policy = replace(policy, alert_rules=(AlertRule("region-down", disabled=True),))
    lab.ask(events.SetPolicy(lab.request(), policy))
    run(lab, watcher, 2)
    assert watcher.alert(f"region-down/{active}").state is AlertState.RESOLVED


def test_a_stalled_log_is_neither_told_nor_over_before_it_can_be_seen_after_a_start() -> None:
    lab, watcher = settled()
    watcher.look(lab.group, lab.now)
    (active,) = lab.active()
    stall_ns = lab.group.view(lab.now).policy.stall_after_ns
    for uptime_ns, unknown in ((stall_ns + SECOND_NS, True), (stall_ns + 60 * SECOND_NS, False)):
        looked = builtin.look(facts_of(lab.group, lab.now, Process(uptime_ns)))
        assert looked.is_unknown("silent-stall", active) is unknown and not looked.blind

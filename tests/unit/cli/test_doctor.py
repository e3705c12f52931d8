"""What the doctor finds, and what it says to do."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable

import grpc
import pytest
from primacy.v1 import (
    election_pb2,
    election_service_pb2,
    override_pb2,
    policy_pb2,
    policy_service_pb2,
    routing_pb2,
    status_service_pb2,
)
from primacy_cli.checkup import agents, links, placement, settings
from primacy_cli.checkup.checks import Check, Level

from tests.unit.cli.calls import Run, info

OK, WARN, FAIL = Level.OK, Level.WARN, Level.FAIL
HOSTS = {"ap": "host-ap", "eu": "host-eu", "us": "host-us"}


def well() -> status_service_pb2.GetStatusResponse:
    """Three regions on three machines, and a coordinator on a fourth."""
    found = status_service_pb2.GetStatusResponse(group="default", active_region="us")
    found.coordinator.version, found.coordinator.host, found.coordinator.store_id = "1.2", "host-witness", "store-1"
    found.policy.report_interval.FromSeconds(1)
    for name, host in HOSTS.items():
        region = found.regions.add(name=name, active=name == "us", endpoint=f"{name}:80", priority=100, capacity=9)
        region.location.latitude = 1
        agent = region.agents.add(agent="one", connected=True, host=host, peer_address=f"{host}:7410")
        agent.last_report_age.FromMilliseconds(300)
        agent.clock_offset.FromMilliseconds(-20)
        agent.detail.version = "1.2"
        for other in HOSTS:
            if other != name:
                for target in (f"{other}/one", ""):
                    sight = found.sights.add(observer=f"{name}/one", region=other, agent=target, reachable=True)
                    sight.rtt.FromMilliseconds(40)
                    sight.age.FromMilliseconds(500)
    return found


def levels(checks: Iterable[Check]) -> list[Level]:
    return [check.level for check in checks]


def bad(checks: Iterable[Check]) -> Check:
    """The one that is not well."""
    (found,) = [check for check in checks if check.level is not OK]
    assert found.advice
    return found


# ---- links


def test_pairs_that_get_through_both_ways_are_one_line() -> None:
    pairs, ways_in = links.links(well())
    assert (pairs.level, ways_in.level) == (OK, OK)
    assert "3 pairs" in pairs.found and "40 ms" in pairs.found
    assert "3 regions" in ways_in.found


def test_a_link_that_works_one_way_only_is_named_with_its_direction() -> None:
    status = well()
    for sight in status.sights:
        if sight.observer == "eu/one" and sight.agent == "us/one":
            sight.reachable = False
    found = bad(links.links(status))
    assert found.level is FAIL
    assert "from eu to us" in found.found and "us to eu" not in found.found


def test_one_agent_that_gets_through_is_enough_for_a_link() -> None:
    status = well()
    status.sights.add(observer="eu/two", region="us", agent="us/one", reachable=False)
    assert set(levels(links.links(status))) == {OK}


def test_a_look_that_is_old_counts_as_none() -> None:
    status = well()
    for sight in status.sights:
        if sight.observer == "ap/one" and sight.agent == "eu/one":
            sight.age.FromSeconds(60)
    found = bad(links.links(status))
    assert found.level is WARN and "ap at eu" in found.found


def test_a_region_without_agents_is_no_broken_link() -> None:
    status = well()
    status.regions[0].agents[0].connected = False
    assert set(levels(links.links(status))) == {OK}


def test_ways_in_that_are_not_reached_or_not_named() -> None:
    status = well()
    for sight in status.sights:
        if sight.region == "eu" and not sight.agent:
            sight.reachable = False
    found = bad(links.links(status))
    assert found.level is FAIL and "eu:80" in found.found
    status.regions[1].endpoint = ""
    found = bad(links.links(status))
    assert found.level is WARN and "primacy regions update eu --endpoint" in found.advice


# ---- agents


def test_agents_that_are_there_alike_and_on_time() -> None:
    for check in (agents.sessions, agents.versions, agents.clocks, agents.ports):
        assert levels(check(well())) == [OK], check


def test_sessions_that_are_missing_or_silent() -> None:
    status = well()
    status.regions[0].agents[0].connected = False
    assert bad(agents.sessions(status)).level is FAIL
    status = well()
    status.regions[0].agents.add(agent="two")
    assert bad(agents.sessions(status)).level is WARN
    status = well()
    status.regions[0].agents[0].last_report_age.FromSeconds(5)
    found = bad(agents.sessions(status))
    assert found.level is FAIL and "ap/one has not reported for 5 s" in found.found
    del status.regions[:]
    assert levels(agents.sessions(status)) == [FAIL]


def test_versions_that_differ() -> None:
    status = well()
    status.regions[2].agents[0].detail.version = "1.1"
    found = bad(agents.versions(status))
    assert found.level is WARN and "us/one: 1.1" in found.found


@pytest.mark.parametrize(
    ("offset_s", "level", "text"), [(2, WARN, "2 s ahead of"), (-2, WARN, "2 s behind"), (60, FAIL, "1 min ahead")]
)
def test_clocks_that_differ(offset_s: int, level: Level, text: str) -> None:
    status = well()
    status.regions[1].agents[0].clock_offset.FromSeconds(offset_s)
    found = bad(agents.clocks(status))
    assert found.level is level and text in found.found and "eu/one" in found.found


def test_addresses_at_which_nobody_can_be_found() -> None:
    status = well()
    status.regions[0].agents[0].peer_address = ""
    assert bad(agents.ports(status)).level is FAIL
    status = well()
    status.regions[0].agents[0].peer_address = "127.0.0.1:7410"
    assert "ap/one is on another machine" in bad(agents.ports(status)).found
    status = well()
    status.regions[0].agents[0].peer_address = status.regions[1].agents[0].peer_address
    assert "ap/one and eu/one name the same address" in bad(agents.ports(status)).found


def test_on_one_machine_loopback_is_well() -> None:
    status = well()
    for number, region in enumerate(status.regions):
        region.agents[0].host, region.agents[0].peer_address = "here", f"127.0.0.1:{7410 + number}"
    assert levels(agents.ports(status)) == [OK]


def test_hooks_that_cannot_run_or_did_not_go_well() -> None:
    status = well()
    assert levels(agents.hooks(status, [])) == []
    hook = status.regions[0].agents[0].detail.hooks.add(hook="on_promote", program="/opt/promote")
    assert levels(agents.hooks(status, [])) == [OK]
    hook.problem = "is not executable"
    found = bad(agents.hooks(status, []))
    assert found.level is FAIL and "/opt/promote" in found.found
    hook.problem = ""
    newest, older = election_pb2.Failover(id="fo-2"), election_pb2.Failover(id="fo-1")
    older.hooks.add(agent="ap/one", hook="on_promote", outcome="failed")
    assert "primacy history fo-1" in bad(agents.hooks(status, [newest, older])).advice
    newest.hooks.add(agent="ap/one", hook="on_promote", outcome="failed")
    newest.hooks.add(agent="ap/one", hook="on_promote", outcome="succeeded")
    assert levels(agents.hooks(status, [newest, older])) == [OK], "the newest run counts"


def test_agents_of_one_region_with_and_without_hooks() -> None:
    status = well()
    status.regions[0].agents.add(agent="two", connected=True)
    status.regions[0].agents[0].detail.hooks.add(hook="on_promote", program="/opt/promote")
    assert "some agents of ap" in bad(agents.hooks(status, [])).found


# ---- where the coordinator stands


def test_a_coordinator_beside_a_main_region() -> None:
    status = well()
    assert levels(placement.placement(status, "10.0.0.1:7400")) == [OK]
    status.coordinator.host = "host-us"
    assert "beside agents of us" in bad(placement.placement(status, "10.0.0.1:7400")).found
    status.regions[1].priority = 50
    status.coordinator.host = "host-eu"
    assert levels(placement.placement(status, "10.0.0.1:7400")) == [OK], "eu is not a main region"
    status.coordinator.host = ""
    assert levels(placement.placement(status, "10.0.0.1:7400")) == [WARN]
    status.regions[2].agents[0].host = socket.gethostname()
    assert "beside agents of us" in bad(placement.placement(status, "127.0.0.1:7400")).found


# ---- store, lease, overrides, policy


def test_a_store_in_doubt_or_without_a_journal() -> None:
    status = well()
    assert levels(settings.store(status, "")) == [OK]
    assert bad(settings.store(status, "the disk is full")).level is FAIL
    status.self_doubt.reason = "it stalled for 3 s"
    assert bad(settings.store(status, "")).level is WARN
    status.ClearField("self_doubt")
    status.doubt.reason = "an older copy"
    assert bad(settings.store(status, "")).advice == "primacy recover"


def test_a_group_without_an_active_region() -> None:
    status = well()
    assert levels(settings.lease(status)) == [OK]
    status.active_region = ""
    assert levels(settings.lease(status)) == [FAIL]
    status.lease.restart_wait.FromSeconds(3)
    assert levels(settings.lease(status)) == [WARN]
    status.overrides.add(kind=override_pb2.OVERRIDE_KIND_PAUSE).remaining.FromSeconds(4000)
    assert bad(settings.overrides(status)).advice == "primacy resume"


def test_overrides_that_end_soon() -> None:
    status = well()
    assert levels(settings.overrides(status)) == []
    drain = status.overrides.add(kind=override_pb2.OVERRIDE_KIND_DRAIN, region="eu", owner="kim")
    drain.remaining.FromSeconds(4000)
    assert levels(settings.overrides(status)) == [OK]
    drain.remaining.FromSeconds(200)
    assert "the drain of eu by kim ends in 3 min 20 s" in bad(settings.overrides(status)).found


def policy_check(status: status_service_pb2.GetStatusResponse) -> list[Check]:
    response = policy_service_pb2.GetPolicyResponse()
    response.worst_case.terms.add()
    response.worst_case.total.FromSeconds(8)
    return list(settings.policy(status, response))


def test_a_policy_that_fits_the_group() -> None:
    (check,) = policy_check(well())
    assert check.level is OK and "at most 8 s" in check.found


def test_policies_that_miss_what_they_are_for() -> None:
    status = well()
    status.policy.region_weights["uk"] = 1
    assert "uk" in bad(policy_check(status)).found
    status = well()
    status.policy.min_undrained_regions = 3
    assert "minUndrainedRegions" in bad(policy_check(status)).found
    status = well()
    status.policy.read_strategy = routing_pb2.ROUTING_STRATEGY_GEOGRAPHIC
    status.regions[1].ClearField("location")
    assert "primacy regions update eu --location" in bad(policy_check(status)).advice
    status = well()
    status.policy.strategy = policy_pb2.ELECTION_STRATEGY_CAPACITY
    status.regions[1].capacity = 0
    assert "primacy regions update eu --capacity" in bad(policy_check(status)).advice
    status = well()
    status.policy.max_loss.entries = 10
    assert "maxLoss" in bad(policy_check(status)).found
    status.regions[0].lag.entries = 0
    assert levels(policy_check(status)) == [OK]
    status = well()
    del status.regions[1:]
    assert "there is one region" in bad(policy_check(status)).found


# ---- the command


def examine(running: Run, status: status_service_pb2.GetStatusResponse) -> None:
    running.answer("StatusService/GetStatus", status)
    running.answer("PolicyService/GetPolicy", policy_service_pb2.GetPolicyResponse())
    running.answer("ElectionService/ListFailovers", election_service_pb2.ListFailoversResponse())


def test_a_group_that_is_well_is_exit_code_0() -> None:
    with Run("doctor") as running:
        examine(running, well())
        running.answer("StatusService/ListEvents", status_service_pb2.ListEventsResponse())
        result = running.result()
    assert result.exit_code == 0
    found = [line.split()[:2] for line in result.stdout.splitlines()[1:]]
    names = ["store", "lease", "agents", "versions", "clocks", "ports", "links", "endpoint", "placement", "policy"]
    assert found == [["ok", name] for name in names]


def test_a_failed_check_is_exit_code_1_and_a_warning_is_not() -> None:
    warned = well()
    warned.coordinator.host = "host-us"
    with Run("doctor") as running:
        examine(running, warned)
        running.answer("StatusService/ListEvents", status_service_pb2.ListEventsResponse())
        result = running.result()
    assert result.exit_code == 0
    assert "→ run it at a third place" in result.stdout
    with Run("doctor", "-o", "json") as running:
        examine(running, warned)
        running.fail(
            "StatusService/ListEvents", grpc.StatusCode.UNAVAILABLE, "the disk is full", [info("JOURNAL_UNAVAILABLE")]
        )
        result = running.result()
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["failed"], found["warned"]) == (1, 1)
    assert [each["name"] for each in found["checks"] if each["level"] == "FAIL"] == ["store"]
    assert "1 of " in result.stderr

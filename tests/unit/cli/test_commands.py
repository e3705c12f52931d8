"""What commands ask, print and refuse, against a server that the test plays."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest
import yaml
from primacy.agent.v1 import local_service_pb2
from primacy.v1 import (
    election_pb2,
    election_service_pb2,
    group_service_pb2,
    policy_pb2,
    policy_service_pb2,
    region_pb2,
    region_service_pb2,
    routing_service_pb2,
    status_service_pb2,
)

from tests.unit.cli.calls import Run, bad, info, run

HEALTHY = region_pb2.REGION_STATUS_HEALTHY


def region(name: str, **fields: object) -> region_pb2.Region:
    return region_pb2.Region(name=name, status=HEALTHY, status_reason="its probes pass", etag="7", **fields)  # type: ignore[arg-type]


def status(active: str = "eu", epoch: int = 3) -> status_service_pb2.GetStatusResponse:
    lease = election_pb2.Lease(
        active_region=active, epoch=epoch, accepted_epoch=epoch, phase=election_pb2.LEASE_PHASE_ACCEPTED
    )
    return status_service_pb2.GetStatusResponse(
        group="default", active_region=active, epoch=epoch, lease=lease, regions=[region("eu"), region("us")]
    )


def plan() -> election_service_pb2.FailoverResponse:
    response = election_service_pb2.FailoverResponse(steps=["stop writes in eu", "grant epoch 4 to us"])
    response.failover.from_region, response.failover.to_region = "eu", "us"
    response.longest_wait.FromMilliseconds(2_500)
    return response


def ended(state: election_pb2.FailoverState.ValueType) -> election_pb2.Failover:
    failover = election_pb2.Failover(id="fo-9", state=state, from_region="eu", to_region="us", epoch=4)
    failover.end_time.GetCurrentTime()
    return failover


# ---- whom, and how


def test_json_is_the_whole_answer_with_defaults_and_64_bits_as_texts() -> None:
    with Run("status", "-o", "json") as running:
        running.answer("StatusService/GetStatus", status())
        result = running.result()
    found = json.loads(result.stdout)
    assert found["activeRegion"] == "eu"
    assert found["epoch"] == "3"
    assert found["regions"][0]["status"] == "REGION_STATUS_HEALTHY"
    assert found["events"] == [], "defaults are printed, too"
    assert result.stderr == ""


def test_yaml_says_the_same() -> None:
    with Run("-o", "yaml", "status") as running:
        running.answer("StatusService/GetStatus", status())
        assert yaml.safe_load(running.result().stdout)["activeRegion"] == "eu"


def test_a_table_has_no_colour_where_there_is_no_terminal() -> None:
    with Run("status") as running:
        running.answer("StatusService/GetStatus", status())
        result = running.result()
    assert "HEALTHY" in result.stdout and "eu" in result.stdout
    assert "\x1b" not in result.stdout
    assert not any(line != line.rstrip() for line in result.stdout.splitlines())


def test_options_may_stand_on_either_side_and_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIMACY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("PRIMACY_GROUP", "from-environment")
    for words in (("--address", "127.0.0.1:2", "status"), ("status", "--address", "127.0.0.1:2")):
        with Run(*words) as running:
            request = running.answer("StatusService/GetStatus", status())
            assert running.result().exit_code == 0
        assert running.addresses == ["127.0.0.1:2"]
        assert request.group == "from-environment"
    with Run("--group", "left", "status", "--group", "right") as running:
        assert running.answer("StatusService/GetStatus", status()).group == "right"
        running.result()
    assert running.addresses == ["127.0.0.1:1"]


def test_an_agent_is_asked_when_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIMACY_AGENT", "127.0.0.1:9")
    with Run("route", "--class", "write", "-o", "json") as running:
        response = local_service_pb2.RouteResponse(region="eu", endpoint="eu:80", epoch=3)
        request = running.answer("primacy.agent.v1.LocalService/Route", response)
        assert json.loads(running.result().stdout)["epoch"] == "3"
    assert running.addresses == ["127.0.0.1:9"]
    assert request.traffic_class == 2
    monkeypatch.delenv("PRIMACY_AGENT")
    with Run("route", "--location", "48.1,11.6") as running:
        request = running.answer("RoutingService/Route", routing_service_pb2.RouteResponse(region="eu"))
        assert "eu" in running.result().stdout
    assert (request.location.latitude, request.location.longitude) == (48.1, 11.6)


# ---- failures


def test_nobody_there_is_exit_code_3_with_what_to_do() -> None:
    with Run("status", "--address", "10.0.0.1:7400") as running:
        running.fail("StatusService/GetStatus", grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses")
        result = running.result()
    assert result.exit_code == 3
    assert result.stdout == ""
    assert "10.0.0.1:7400" in result.stderr and "primacy up" in result.stderr


def test_not_now_is_not_the_same_as_nobody_there() -> None:
    with Run("route", "--class", "write") as running:
        running.fail(
            "RoutingService/Route", grpc.StatusCode.UNAVAILABLE, "no region is active", [info("NO_ACTIVE_REGION")]
        )
        result = running.result()
    assert result.exit_code == 1
    assert "no region is active" in result.stderr and "primacy wait --for active" in result.stderr


def test_an_agents_port_is_no_coordinators() -> None:
    with Run("status") as running:
        running.fail("StatusService/GetStatus", grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        result = running.result()
    assert result.exit_code == 1
    assert "is no coordinator" in result.stderr and "--address" in result.stderr


def test_every_bad_field_is_named() -> None:
    with Run("regions", "register", "eu", "--capacity", "nan", "--location", "91,0") as running:
        faults = bad(region__capacity="must be a number", region__location__latitude="must be from -90 to 90")
        request = running.fail("RegionService/RegisterRegion", grpc.StatusCode.INVALID_ARGUMENT, "two faults", [faults])
        result = running.result()
    assert request.region.location.latitude == 91
    assert result.exit_code == 2
    assert "region.capacity: must be a number; region.location.latitude: must be from -90 to 90" in result.stderr
    assert "primacy regions register --help" in result.stderr


@pytest.mark.parametrize(
    ("reason", "code", "advice"),
    [
        ("REGION_NOT_FOUND", grpc.StatusCode.NOT_FOUND, "primacy regions"),
        ("STATE_DOUBT", grpc.StatusCode.FAILED_PRECONDITION, "primacy recover"),
        ("EPOCH_MISMATCH", grpc.StatusCode.ABORTED, "primacy status"),
        ("NO_TARGET", grpc.StatusCode.FAILED_PRECONDITION, "primacy explain"),
        ("A_RULE_OF_LATER", grpc.StatusCode.FAILED_PRECONDITION, "primacy explain"),
    ],
)
def test_a_refusal_names_its_rule_and_the_next_command(reason: str, code: grpc.StatusCode, advice: str) -> None:
    with Run("failover", "--to", "us", "--yes") as running:
        running.fail("ElectionService/Failover", code, "it cannot be", [info(reason)])
        result = running.result()
    assert result.exit_code == 1
    why, what = result.stderr.splitlines()
    assert why.startswith("primacy: it cannot be")
    assert what == f"next: {advice}"


@pytest.mark.parametrize(
    "words",
    [
        ("route", "--location", "north"),
        ("regions", "register", "eu", "--location", "1"),
        ("regions", "register", "eu", "--label", "key"),
        ("regions", "update", "eu"),
        ("regions", "update", "eu", "--priority", "1", "--clear", "priority"),
        ("explain", "fo-1", "--if-down", "eu"),
        ("wait", "--for", "nonsense"),
        ("wait", "--for", "status=eu:WELL"),
        ("wait", "--for", "active", "--timeout", "soon"),
        ("policy", "set", "/nowhere/policy.yaml"),
        ("failover", "--if-epoch", "three"),
    ],
)
def test_what_cannot_be_meant_is_exit_code_2_and_asks_nobody(words: tuple[str, ...]) -> None:
    with Run(*words) as running:
        result = running.result()
    assert result.exit_code == 2
    assert result.stdout == "" and result.stderr


# ---- moving


def test_a_move_says_what_it_wants_and_waits_for_its_end() -> None:
    words = ("failover", "--to", "us", "--yes", "--if-epoch", "3", "--override", "degraded", "--reason", "tired")
    with Run(*words, "-o", "json") as running:
        begun = plan()
        begun.failover.id = "fo-9"
        request = running.answer("ElectionService/Failover", begun)
        asked = running.answer("ElectionService/GetFailover", got(ended(election_pb2.FAILOVER_STATE_SUCCEEDED)))
        result = running.result()
    assert (request.target_region, request.if_epoch, request.reason) == ("us", 3, "tired")
    assert list(request.override_rules) == ["DEGRADED"]
    assert request.mode == election_pb2.FAILOVER_MODE_PLANNED
    assert "@" in request.owner
    assert not request.validate_only
    assert asked.id == "fo-9"
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["failover"]["state"] == "FAILOVER_STATE_SUCCEEDED"
    assert found["longestWait"] == "2.500s"


def got(failover: election_pb2.Failover) -> election_service_pb2.GetFailoverResponse:
    return election_service_pb2.GetFailoverResponse(failover=failover)


def test_a_move_outlives_the_coordinator_and_may_fail_all_the_same() -> None:
    with Run("failover", "--forced", "--i-have-fenced", "eu", "--yes") as running:
        begun = plan()
        begun.failover.id = "fo-9"
        request = running.answer("ElectionService/Failover", begun)
        running.fail("ElectionService/GetFailover", grpc.StatusCode.UNAVAILABLE, "connection refused")
        running.answer("ElectionService/GetFailover", got(ended(election_pb2.FAILOVER_STATE_ABORTED)))
        result = running.result()
    assert request.mode == election_pb2.FAILOVER_MODE_FORCED
    assert request.holder_fenced == "eu"
    assert result.exit_code == 1
    assert "primacy history fo-9" in result.stderr


def test_waiting_for_a_move_ends_and_the_move_goes_on() -> None:
    with Run("failover", "--yes", "--timeout", "0.1") as running:
        begun = plan()
        begun.failover.id = "fo-9"
        running.answer("ElectionService/Failover", begun)
        running.answer("ElectionService/GetFailover", got(begun.failover))
        result = running.result()
    assert result.exit_code == 4
    assert "the move goes on" in result.stderr


def test_without_wait_nothing_is_looked_at_again() -> None:
    with Run("failover", "--yes", "--no-wait", "-o", "json") as running:
        running.answer("ElectionService/Failover", plan())
        assert json.loads(running.result().stdout)["failover"]["toRegion"] == "us"


def test_a_dry_run_shows_the_plan_and_its_cost() -> None:
    with Run("failover", "--to", "us", "--dry-run") as running:
        request = running.answer("ElectionService/Failover", plan())
        result = running.result()
    assert request.validate_only
    assert result.exit_code == 0
    assert "stop writes in eu" in result.stdout and "2.5 s" in result.stdout


def test_where_nobody_can_be_asked_the_plan_is_shown_and_nothing_done() -> None:
    with Run("failover", "--to", "us") as running:
        active = election_service_pb2.GetActiveRegionResponse(region="eu", epoch=3)
        running.answer("ElectionService/GetActiveRegion", active)
        request = running.answer("ElectionService/Failover", plan())
        result = running.result()
    assert request.validate_only
    assert request.if_epoch == 3, "only what is shown may be moved"
    assert result.exit_code == 2
    assert "grant epoch 4 to us" in result.stderr and "--yes" in result.stderr


def test_a_region_is_removed_only_after_its_price_was_shown() -> None:
    with Run("regions", "deregister", "us", "--override", "live_sessions") as running:
        checked = running.answer("RegionService/DeregisterRegion", region_service_pb2.DeregisterRegionResponse())
        shown = region_service_pb2.GetRegionResponse(region=region("us", capacity=300))
        running.answer("RegionService/GetRegion", shown)
        weights = routing_service_pb2.GetWeightsResponse()
        weights.rows.add(client_region="us", weights={"us": 1.0})
        weights.rows.add(client_region="eu", weights={"eu": 1.0})
        running.answer("RoutingService/GetWeights", weights)
        result = running.result()
    assert checked.validate_only and list(checked.override_rules) == ["LIVE_SESSIONS"]
    assert result.exit_code == 2
    assert "300 requests per second" in result.stderr and "50 %" in result.stderr


def test_an_update_names_what_it_sets_and_what_it_clears() -> None:
    words = ("regions", "update", "us", "--priority", "120", "--label", "a=b", "--clear", "capacity", "--etag", "7")
    with Run(*words) as running:
        response = region_service_pb2.UpdateRegionResponse(region=region("us", priority=120))
        request = running.answer("RegionService/UpdateRegion", response)
        assert "120" in running.result().stdout
    assert sorted(request.update_mask.paths) == ["capacity", "labels", "priority"]
    assert (request.region.priority, dict(request.region.labels), request.region.etag) == (120, {"a": "b"}, "7")
    assert not request.region.HasField("capacity")


def test_all_pages_of_regions_make_one_list() -> None:
    with Run("regions", "-o", "json") as running:
        first = region_service_pb2.ListRegionsResponse(regions=[region("eu")], next_page_token="more")
        running.answer("RegionService/ListRegions", first)
        request = running.answer(
            "RegionService/ListRegions", region_service_pb2.ListRegionsResponse(regions=[region("us")])
        )
        found = json.loads(running.result().stdout)
    assert request.page_token == "more"
    assert [each["name"] for each in found["regions"]] == ["eu", "us"]
    assert found["nextPageToken"] == ""


# ---- policy


def policies(grace_s: int) -> policy_pb2.Policy:
    policy = policy_pb2.Policy(strategy=policy_pb2.ELECTION_STRATEGY_PRIORITY, etag="5")
    policy.grace.FromSeconds(grace_s)
    return policy


def test_what_policy_get_prints_policy_set_takes(tmp_path: Path) -> None:
    with Run("policy", "get") as running:
        running.answer("PolicyService/GetPolicy", policy_service_pb2.GetPolicyResponse(policy=policies(2)))
        text = running.result().stdout
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with Run("policy", "set", str(file), "--yes", "--etag", "5") as running:
        running.answer("PolicyService/GetPolicy", policy_service_pb2.GetPolicyResponse(policy=policies(2)))
        planned = policy_service_pb2.SetPolicyResponse(policy=policies(2))
        checked = running.answer("PolicyService/SetPolicy", planned)
        request = running.answer("PolicyService/SetPolicy", planned)
        result = running.result()
    assert checked.validate_only and not request.validate_only
    assert request.policy == policies(2)
    assert result.exit_code == 0
    assert "is this already" in result.stderr


def test_policy_diff_shows_only_what_differs(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("strategy: priority\ngrace: 9s\n")
    with Run("policy", "diff", str(file)) as running:
        running.answer("PolicyService/GetPolicy", policy_service_pb2.GetPolicyResponse(policy=policies(2)))
        response = policy_service_pb2.SetPolicyResponse(policy=policies(9))
        assert running.answer("PolicyService/SetPolicy", response).validate_only
        lines = running.result().stdout.splitlines()
    assert lines[2:] == ["-grace: 2s", "+grace: 9s"]


def test_a_faulty_policy_file_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("strategy: priority\nlease_ttl: 2s\n")
    result = run("policy", "set", str(file), "--yes")
    assert result.exit_code == 2
    assert f"{file}:2" in result.stderr and "leaseTtl" in result.stderr


# ---- waiting


@pytest.mark.parametrize(
    "condition", ["active", "active=eu", "epoch=3", "healthy", "healthy=us", "status=us:healthy", "status=eu:HEALTHY"]
)
def test_what_is_so_is_not_waited_for(condition: str) -> None:
    with Run("wait", "--for", condition) as running:
        running.answer("StatusService/GetStatus", status())
        assert running.result().exit_code == 0


def test_wait_looks_until_all_is_so_and_forgives_an_absent_coordinator() -> None:
    with Run("wait", "--for", "active=us", "--for", "epoch=4", "--timeout", "30s") as running:
        running.answer("StatusService/GetStatus", status("eu", 3))
        running.fail("StatusService/GetStatus", grpc.StatusCode.UNAVAILABLE, "connection refused")
        running.answer("StatusService/GetStatus", status("us", 3))
        running.answer("StatusService/GetStatus", status("us", 4))
        assert running.result().exit_code == 0


def test_wait_out_of_time_says_how_it_is_instead() -> None:
    with Run("wait", "--for", "active=us", "--timeout", "0s") as running:
        running.answer("StatusService/GetStatus", status("eu", 3))
        result = running.result()
    assert result.exit_code == 4
    assert "active=us: not within 0s; eu is active" in result.stderr


def test_wait_for_nobody_at_all_is_unreachable() -> None:
    with Run("wait", "--for", "active", "--timeout", "0s") as running:
        running.fail("StatusService/GetStatus", grpc.StatusCode.UNAVAILABLE, "connection refused")
        assert running.result().exit_code == 3


def test_a_wrong_group_is_not_waited_for() -> None:
    with Run("wait", "--for", "active", "--group", "typo") as running:
        running.fail("StatusService/GetStatus", grpc.StatusCode.NOT_FOUND, "no group 'typo'", [info("GROUP_NOT_FOUND")])
        assert running.result().exit_code == 1


# ---- recovery


def recovery(needed: bool) -> group_service_pb2.RecoverGroupResponse:
    response = group_service_pb2.RecoverGroupResponse()
    response.plan.needed = needed
    if needed:
        response.plan.reason = "us/agent-1 heard of epoch 9"
        response.plan.next_epoch = 10
        response.plan.missing_agents.append("eu/agent-1")
    return response


def test_a_sound_store_needs_no_recovery() -> None:
    with Run("recover", "--yes") as running:
        assert running.answer("GroupService/RecoverGroup", recovery(needed=False)).validate_only
        assert "Nothing to recover" in running.result().stdout


def test_recovery_shows_who_was_not_heard_before_it_asks() -> None:
    with Run("recover") as running:
        assert running.answer("GroupService/RecoverGroup", recovery(needed=True)).validate_only
        result = running.result()
    assert result.exit_code == 2
    assert "us/agent-1 heard of epoch 9" in result.stdout
    assert "eu/agent-1" in result.stderr and "two regions could be active" in result.stderr


def test_recovery_with_yes_is_confirmed_by_name() -> None:
    with Run("recover", "--yes", "-o", "json") as running:
        running.answer("GroupService/RecoverGroup", recovery(needed=True))
        request = running.answer("GroupService/RecoverGroup", recovery(needed=True))
        assert json.loads(running.result().stdout)["plan"]["nextEpoch"] == "10"
    assert not request.validate_only and "@" in request.owner

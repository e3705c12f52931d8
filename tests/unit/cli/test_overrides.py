"""What is set against the policy for a time: asked for in full, shown before it is agreed to, and undone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from primacy.v1 import (
    election_pb2,
    election_service_pb2,
    override_pb2,
    region_pb2,
    region_service_pb2,
    routing_service_pb2,
    status_service_pb2,
)
from primacy_cli.overriding import _instant

from tests.unit.cli.calls import Run, bad, info, run

DRAINING, DRAINED = override_pb2.DRAIN_STATE_DRAINING, override_pb2.DRAIN_STATE_DRAINED
WHY = ("--reason", "new kernel")


def override(kind: str, region: str = "", seconds: int = 600, **fields: object) -> override_pb2.Override:
    made = override_pb2.Override(
        kind=override_pb2.OverrideKind.Value(f"OVERRIDE_KIND_{kind}"),
        region=region,
        reason="new kernel",
        owner="kim@desk",
        **fields,  # type: ignore[arg-type]
    )
    made.remaining.FromSeconds(seconds)
    made.expire_time.GetCurrentTime()
    return made


def region(name: str, state: override_pb2.DrainState.ValueType, active: bool = False) -> region_pb2.Region:
    found = region_pb2.Region(
        name=name, status=region_pb2.REGION_STATUS_HEALTHY, drain_state=state, capacity=200, active=active
    )
    if state != override_pb2.DRAIN_STATE_NONE:
        found.overrides.append(override("DRAIN", name, drain_state=state))
    return found


def drain_plan() -> region_service_pb2.DrainRegionResponse:
    response = region_service_pb2.DrainRegionResponse(
        region=region("us", override_pb2.DRAIN_STATE_NONE, active=True),
        steps=["move the lease to eu", "take 100 % of the reads off us"],
    )
    response.failover.to_region = "eu"
    response.failover.price.at_risk.age.FromSeconds(0)
    response.failover.price.added_latency.FromMilliseconds(80)
    return response


def weights() -> routing_service_pb2.GetWeightsResponse:
    response = routing_service_pb2.GetWeightsResponse()
    response.rows.add(client_region="eu", weights={"us": 0.25, "eu": 0.75})
    response.rows.add(client_region="us", weights={"us": 0.75, "eu": 0.25})
    return response


# ---- what all of them ask for


@pytest.mark.parametrize(
    ("words", "next_command"),
    [
        (("drain", "us"), 'primacy drain us --reason "why"'),
        (("cordon", "us", "--reason", "  "), 'primacy cordon us --reason "why"'),
        (("pause", "--yes"), 'primacy pause --reason "why"'),
        (("pin", "us=1", "eu=0"), 'primacy pin us=1 eu=0 --reason "why"'),
    ],
)
def test_without_a_reason_nothing_is_asked_and_one_line_helps(words: tuple[str, ...], next_command: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    why, what = result.stderr.splitlines()
    assert "reason" in why
    assert what == f"next: {next_command}"


@pytest.mark.parametrize(
    "words",
    [
        ("pause", *WHY, "--for", "30m", "--until", "18:00"),
        ("pause", *WHY, "--for", "soon"),
        ("pause", *WHY, "--for", "-5m"),
        ("pause", *WHY, "--until", "tonight"),
        ("pause", *WHY, "--until", "25:00"),
        ("pin", "us", *WHY),
        ("pin", "us=all", *WHY),
        ("pin", "us=0.5", "us=50%", *WHY),
        ("pin", *WHY),
        ("drain", *WHY),
        ("failover", "--approve", "a", "--cancel", "b"),
        ("failover", "--approve", "a", "--to", "us"),
        ("policy", "check", "--offline"),
    ],
)
def test_what_cannot_be_meant_is_exit_code_2_and_asks_nobody(words: tuple[str, ...]) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert result.stdout == "" and result.stderr


def test_the_terms_travel_with_the_request() -> None:
    before = datetime.now(UTC)
    with Run("pause", *WHY, "--for", "1h30m", "--owner", "ops team", "--yes", "-o", "json") as running:
        response = election_service_pb2.PauseElectionResponse(pause=override("PAUSE"))
        request = running.answer("ElectionService/PauseElection", response)
        found = json.loads(running.result().stdout)
    assert (request.reason, request.owner, request.validate_only) == ("new kernel", "ops team", False)
    expire = request.expire_time.ToDatetime(tzinfo=UTC)
    assert before + timedelta(minutes=90) <= expire <= datetime.now(UTC) + timedelta(minutes=90)
    assert found["pause"]["owner"] == "kim@desk"


def test_without_an_end_the_coordinator_decides_and_the_owner_is_who_asks() -> None:
    with Run("pause", *WHY, "--yes") as running:
        response = election_service_pb2.PauseElectionResponse(pause=override("PAUSE"))
        request = running.answer("ElectionService/PauseElection", response)
        assert "10 min" in running.result().stdout
    assert not request.HasField("expire_time")
    assert "@" in request.owner


def test_a_time_of_day_is_the_next_one() -> None:
    now = datetime.fromisoformat("2030-01-31T18:00:00+02:00")
    assert _instant("18:30", now) == datetime(2030, 1, 31, 16, 30, tzinfo=UTC)
    assert _instant("17:30", now) == datetime(2030, 2, 1, 15, 30, tzinfo=UTC)
    assert _instant("2030-01-31T20:00+00:00", now) == datetime(2030, 1, 31, 20, tzinfo=UTC)
    local = _instant("2030-06-01T12:00", now)
    assert local == datetime(2030, 6, 1, 12).astimezone(UTC)


def test_an_end_that_is_refused_is_named() -> None:
    with Run("drain", "us", *WHY, "--for", "100h", "--yes") as running:
        fault = bad(expireTime="must be at most 72 h from now")
        running.fail("RegionService/DrainRegion", grpc.StatusCode.INVALID_ARGUMENT, "one fault", [fault])
        result = running.result()
    assert result.exit_code == 2
    assert "expireTime: must be at most 72 h from now" in result.stderr


# ---- drains


def test_a_drain_shows_what_it_costs_before_anybody_agrees() -> None:
    with Run("drain", "us", *WHY) as running:
        checked = running.answer("RegionService/DrainRegion", drain_plan())
        running.answer("RoutingService/GetWeights", weights())
        result = running.result()
    assert checked.validate_only
    assert result.exit_code == 2, "nobody can be asked here"
    for text in (
        "us is HEALTHY and active",
        "200 requests per second",
        "50 %",
        "to eu: loses nothing, 80 ms slower",
        "1. move the lease to eu",
        "2. take 100 % of the reads off us",
        "--yes",
    ):
        assert text in result.stderr, text


def test_a_dry_run_of_a_drain_changes_nothing() -> None:
    with Run("drain", "us", *WHY, "--dry-run") as running:
        checked = running.answer("RegionService/DrainRegion", drain_plan())
        running.answer("RoutingService/GetWeights", weights())
        result = running.result()
    assert checked.validate_only
    assert result.exit_code == 0
    assert "move the lease to eu" in result.stdout


def test_a_drain_waits_until_the_traffic_is_gone_also_over_a_restart() -> None:
    with Run("drain", "us", *WHY, "--override", "min_undrained", "--yes", "-o", "json") as running:
        begun = region_service_pb2.DrainRegionResponse(region=region("us", DRAINING))
        request = running.answer("RegionService/DrainRegion", begun)
        looking = region_service_pb2.GetRegionResponse(region=region("us", DRAINING))
        running.answer("RegionService/GetRegion", looking)
        running.fail("RegionService/GetRegion", grpc.StatusCode.UNAVAILABLE, "connection refused")
        done = region_service_pb2.GetRegionResponse(region=region("us", DRAINED))
        asked = running.answer("RegionService/GetRegion", done)
        result = running.result()
    assert (request.name, list(request.override_rules), request.validate_only) == ("us", ["MIN_UNDRAINED"], False)
    assert asked.name == "us"
    assert result.exit_code == 0
    assert json.loads(result.stdout)["region"]["drainState"] == "DRAIN_STATE_DRAINED"


def test_a_drain_that_was_taken_back_is_refused() -> None:
    with Run("drain", "us", *WHY, "--yes") as running:
        running.answer(
            "RegionService/DrainRegion", region_service_pb2.DrainRegionResponse(region=region("us", DRAINING))
        )
        none = region_service_pb2.GetRegionResponse(region=region("us", override_pb2.DRAIN_STATE_NONE))
        running.answer("RegionService/GetRegion", none)
        result = running.result()
    assert result.exit_code == 1
    assert "taken back" in result.stderr and "primacy events --region us" in result.stderr


def test_waiting_for_a_drain_ends_and_the_drain_goes_on() -> None:
    with Run("drain", "us", *WHY, "--yes", "--timeout", "0.1") as running:
        begun = region_service_pb2.DrainRegionResponse(region=region("us", DRAINING))
        running.answer("RegionService/DrainRegion", begun)
        running.answer("RegionService/GetRegion", region_service_pb2.GetRegionResponse(region=region("us", DRAINING)))
        result = running.result()
    assert result.exit_code == 4
    assert "the drain goes on" in result.stderr


def test_without_wait_the_drain_is_only_begun() -> None:
    with Run("drain", "us", *WHY, "--yes", "--no-wait") as running:
        begun = region_service_pb2.DrainRegionResponse(region=region("us", DRAINING))
        running.answer("RegionService/DrainRegion", begun)
        result = running.result()
    assert result.exit_code == 0
    assert "draining" in result.stdout and "primacy undrain us" in result.stdout and "10 min" in result.stdout


@pytest.mark.parametrize(
    ("words", "method", "rule", "advice"),
    [
        (("drain", "us", *WHY, "--yes"), "RegionService/DrainRegion", "NO_TARGET", "primacy explain"),
        (("drain", "us", *WHY, "--yes"), "RegionService/DrainRegion", "MIN_UNDRAINED", "primacy overrides"),
        (("undrain", "us"), "RegionService/UndrainRegion", "NOT_DRAINED", "primacy overrides"),
        (("uncordon", "us"), "RegionService/UncordonRegion", "NOT_CORDONED", "primacy overrides"),
        (("resume",), "ElectionService/ResumeElection", "NOT_PAUSED", "primacy overrides"),
        (("unpin",), "RoutingService/UnpinWeights", "NOT_PINNED", "primacy overrides"),
        (
            ("failover", "--approve", "f", "--yes"),
            "ElectionService/ApproveFailover",
            "FAILOVER_ENDED",
            "primacy history",
        ),
        (("failover", "--cancel", "f", "--yes"), "ElectionService/CancelFailover", "PAST_RETURN", "primacy history"),
    ],
)
def test_a_refusal_names_its_rule_and_the_next_command(
    words: tuple[str, ...], method: str, rule: str, advice: str
) -> None:
    with Run(*words) as running:
        running.fail(method, grpc.StatusCode.FAILED_PRECONDITION, "it cannot be", [info(rule)])
        result = running.result()
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [f"primacy: it cannot be ({rule})", f"next: {advice}"]


def test_undoing_asks_nobody_and_says_who_did_it() -> None:
    with Run("undrain", "us") as running:
        response = region_service_pb2.UndrainRegionResponse(region=region("us", override_pb2.DRAIN_STATE_NONE))
        request = running.answer("RegionService/UndrainRegion", response)
        assert running.result().exit_code == 0
    assert request.name == "us" and "@" in request.owner
    with Run("resume", "--owner", "ops") as running:
        request = running.answer("ElectionService/ResumeElection", election_service_pb2.ResumeElectionResponse())
        assert running.result().exit_code == 0
    assert request.owner == "ops"


# ---- cordons, pauses, pins


def candidates(*names: str) -> list[election_pb2.Candidate]:
    return [election_pb2.Candidate(region=name, eligible=True, rank=rank) for rank, name in enumerate(names, 1)]


@pytest.mark.parametrize(("left", "said"), [(("ap", "eu"), "ap can take over"), (("eu",), "NO region can take over")])
def test_a_cordon_says_who_is_left_to_take_over(left: tuple[str, ...], said: str) -> None:
    with Run("cordon", "eu", *WHY, "--dry-run") as running:
        planned = region_service_pb2.CordonRegionResponse(region=region("eu", override_pb2.DRAIN_STATE_NONE))
        checked = running.answer("RegionService/CordonRegion", planned)
        now = election_service_pb2.ExplainElectionResponse(active_region="us")
        running.answer("ElectionService/ExplainElection", now)
        then = election_service_pb2.ExplainElectionResponse(candidates=candidates(*left))
        asked = running.answer("ElectionService/ExplainElection", then)
        result = running.result()
    assert checked.validate_only and asked.if_down == "us"
    assert said in result.stdout


def test_a_pause_says_what_is_at_stake() -> None:
    with Run("pause", *WHY, "--dry-run") as running:
        running.answer(
            "ElectionService/PauseElection", election_service_pb2.PauseElectionResponse(pause=override("PAUSE"))
        )
        running.answer("ElectionService/GetActiveRegion", election_service_pb2.GetActiveRegionResponse(region="us"))
        result = running.result()
    assert "If us fails meanwhile" in result.stdout and "primacy resume" in result.stdout


def test_a_pin_takes_numbers_and_percents_and_shows_the_change() -> None:
    words = ("pin", "us=80%", "eu=0.2", "--from", "eu", *WHY)
    with Run(*words, "--dry-run") as running:
        pin = override("PIN", "eu", weights={"us": 0.8, "eu": 0.2})
        checked = running.answer("RoutingService/PinWeights", routing_service_pb2.PinWeightsResponse(pin=pin))
        shown = weights()
        del shown.rows[1]
        asked = running.answer("RoutingService/GetWeights", shown)
        result = running.result()
    assert checked.validate_only and asked.client_region == "eu"
    assert dict(checked.weights) == {"us": 0.8, "eu": 0.2}
    assert "eu 75 % → 20 %, us 25 % → 80 %" in result.stdout
    with Run(*words, "--yes") as running:
        request = running.answer("RoutingService/PinWeights", routing_service_pb2.PinWeightsResponse(pin=pin))
        said = running.result().stdout
    assert request.client_region == "eu" and not request.validate_only
    assert "primacy unpin --from eu" in said and "us 80 %, eu 20 %" in said


# ---- what is in force


def test_overrides_are_listed_with_what_is_left_of_them() -> None:
    with Run("overrides") as running:
        listed = [
            override("DRAIN", "us", 59, drain_state=DRAINING, failover_id="fo-1"),
            override("PIN", "", 7260, weights={"eu": 1.0}),
        ]
        running.answer("StatusService/ListOverrides", status_service_pb2.ListOverridesResponse(overrides=listed))
        heads, drain, pin = running.result().stdout.splitlines()
    assert heads.split() == ["OVERRIDE", "REGION", "ENDS", "IN", "OWNER", "WHY"]
    assert drain.startswith("drain     us") and "59 s" in drain and "primacy history fo-1" in drain
    assert "all" in pin and "2 h 1 min" in pin and "eu 100 %" in pin and "kim@desk" in pin
    with Run("overrides") as running:
        running.answer("StatusService/ListOverrides", status_service_pb2.ListOverridesResponse())
        assert "Nothing is overridden" in running.result().stdout


def test_status_shows_drains_pauses_self_doubt_and_a_move_that_waits_for_somebody() -> None:
    status = status_service_pb2.GetStatusResponse(
        group="default",
        regions=[region("us", DRAINED, active=False), region("eu", override_pb2.DRAIN_STATE_NONE)],
        overrides=[override("PAUSE", seconds=120), override("DRAIN", "us", drain_state=DRAINED)],
    )
    status.regions[1].cordoned = True
    status.self_doubt.name, status.self_doubt.reason = "SESSIONS_LOST", "2 of 3 sessions were lost at once"
    status.self_doubt.remaining.FromSeconds(9)
    status.failover.id, status.failover.from_region, status.failover.to_region = "fo-7", "us", "eu"
    status.failover.state = election_pb2.FAILOVER_STATE_AWAITING_APPROVAL
    with Run("status") as running:
        running.answer("StatusService/GetStatus", status)
        said = running.result().stdout
    for text in (
        "standby, drained",
        "standby, cordoned",
        "no automatic moves for 2 min: new kernel (kim@desk)",
        "no region is active: `primacy resume`",
        "SESSIONS_LOST: 2 of 3 sessions were lost at once",
        "awaiting approval",
        "`primacy failover --approve fo-7`",
    ):
        assert text in said, text


def test_status_shows_a_promotion() -> None:
    status = status_service_pb2.GetStatusResponse(group="default")
    status.failover.from_region, status.failover.to_region = "us", "eu"
    status.failover.state = election_pb2.FAILOVER_STATE_PROMOTING
    with Run("status") as running:
        running.answer("StatusService/GetStatus", status)
        assert "us → eu: promoting" in running.result().stdout


def test_weights_are_explained_as_sums() -> None:
    response = routing_service_pb2.GetWeightsResponse()
    row = response.rows.add(client_region="us", weights={"us": 0.625, "eu": 0.375})
    row.causes["us"].causes.add(name="policy", share=0.5)
    row.causes["us"].causes.add(name="status", share=0.25)
    row.causes["us"].causes.add(name="slew", share=-0.125)
    with Run("weights", "--explain") as running:
        running.answer("RoutingService/GetWeights", response)
        lines = running.result().stdout.splitlines()
    assert any("us" in line and line.endswith("62.5 %  policy 50 % + status 25 % − slew 12.5 %") for line in lines)


def test_regions_that_are_only_too_far_away_are_explained_to_those_who_ask() -> None:
    response = routing_service_pb2.GetWeightsResponse()
    row = response.rows.add(client_region="us", weights={"us": 1.0, "eu": 0.0, "ap": 0.0})
    row.causes["eu"].causes.add(name="policy", share=0.5)
    row.causes["eu"].causes.add(name="latency", share=-0.5)
    row.causes["ap"].causes.add(name="policy", share=0.5)
    row.causes["ap"].causes.add(name="slow_start", share=-0.5)
    for wide, told in (((), {"ap", "us"}), (("-o", "wide"), {"ap", "eu", "us"})):
        with Run("weights", "--explain", *wide) as running:
            running.answer("RoutingService/GetWeights", response)
            lines = running.result().stdout.splitlines()
        assert {words[1] for line in lines if (words := line.split())[:1] == ["us"]} == told
        assert any(line.endswith("0 %  policy 50 % − slow start 50 %") for line in lines)

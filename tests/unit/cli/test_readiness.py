"""Who takes over if a region dies now, and what is in the way."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from primacy.v1 import (
    election_pb2,
    election_service_pb2,
    override_pb2,
    policy_pb2,
    policy_service_pb2,
    region_pb2,
    status_service_pb2,
)
from primacy_cli.prospects import Outcome, Prospect, is_dear, prospect

from tests.unit.cli.calls import Run

ALL = ("ap", "eu", "us")


def status(active: str = "us") -> status_service_pb2.GetStatusResponse:
    found = status_service_pb2.GetStatusResponse(group="default", active_region=active)
    for name in ALL:
        found.regions.add(name=name, status=region_pb2.REGION_STATUS_HEALTHY, active=name == active)
    return found


def candidate(region: str, rule: str = "", soft: bool = False, **price: Any) -> election_pb2.Candidate:
    found = election_pb2.Candidate(region=region, rule=rule, soft=soft, eligible=not rule or soft)
    if price:
        found.price.capacity_short = price.get("short", 0.0)
        if "age_s" in price:
            found.price.at_risk.age.FromSeconds(price["age_s"])
    return found


def explained(*candidates: election_pb2.Candidate, active: str = "us") -> election_service_pb2.ExplainElectionResponse:
    return election_service_pb2.ExplainElectionResponse(candidates=candidates, active_region=active)


DEAD = candidate("us", "DOWN")


def look(
    then: election_service_pb2.ExplainElectionResponse, found: status_service_pb2.GetStatusResponse | None = None
) -> dict[str, Prospect]:
    found = found or status()
    return {name: prospect(found, name, then) for name in ALL}


def test_the_best_takes_over_and_others_losses_change_nothing() -> None:
    then = explained(candidate("eu", age_s=2), candidate("ap", "DAMPED", soft=True), DEAD)
    found = look(then)
    assert (found["us"].outcome, found["us"].target, found["us"].behind) == (Outcome.MOVES, "eu", ("ap",))
    assert found["us"].price is not None and found["us"].price.at_risk.age.seconds == 2
    assert [each.region for each in found["us"].refused] == ["ap"]
    assert (found["eu"].outcome, found["eu"].target, found["eu"].behind) == (Outcome.STAYS, "us", ("ap",))
    assert found["eu"].price is None
    assert all(each.ready for each in found.values())


def test_a_region_that_nobody_can_replace() -> None:
    then = explained(candidate("ap", "CORDONED"), candidate("eu", "LAG"), DEAD)
    found = look(then)
    assert (found["us"].outcome, found["us"].ready, found["us"].target) == (Outcome.NOBODY, False, "")
    assert [each.rule for each in found["us"].refused] == ["CORDONED", "LAG"]
    assert found["eu"].ready, "us stays"


def test_a_pause_and_a_price_need_a_hand() -> None:
    paused = status()
    pause = paused.overrides.add(kind=override_pb2.OVERRIDE_KIND_PAUSE, reason="rack move")
    pause.remaining.FromSeconds(60)
    found = look(explained(candidate("eu"), DEAD), paused)["us"]
    assert (found.outcome, found.target, found.ready) == (Outcome.BY_HAND, "eu", True)
    assert "rack move" in found.obstacles[0]
    dear = status()
    dear.policy.max_loss.age.FromSeconds(5)
    then = explained(candidate("eu", age_s=6), DEAD)
    assert look(then, dear)["us"].outcome is Outcome.BY_HAND
    dear.policy.approval_action = policy_pb2.APPROVAL_ACTION_MOVE
    assert look(then, dear)["us"].outcome is Outcome.MOVES


def test_a_doubted_store_lets_nobody_take_over() -> None:
    doubted = status()
    doubted.doubt.reason = "an older copy"
    found = look(explained(candidate("eu"), DEAD), doubted)["us"]
    assert found.outcome is Outcome.NOBODY
    assert "an older copy" in found.obstacles[0]


@pytest.mark.parametrize(
    ("risk", "limit", "dear"),
    [
        ({"entries": 5}, {"entries": 5}, False),
        ({"entries": 6}, {"entries": 5}, True),
        ({"entries": 6}, {"bytes": 5}, False),
        ({}, {"entries": 0}, False),
        ({"entries": 1}, {"entries": 0}, True),
        ({"bytes": 9}, {"entries": 100, "bytes": 8}, True),
    ],
)
def test_a_price_is_dear_above_any_bound(risk: dict[str, Any], limit: dict[str, Any], dear: bool) -> None:
    assert is_dear(override_pb2.Lag(**risk), policy_pb2.Limits(**limit)) is dear


# ---- the command


def answer(running: Run, then: election_service_pb2.ExplainElectionResponse) -> Any:
    running.answer("StatusService/GetStatus", status())
    policy = policy_service_pb2.GetPolicyResponse()
    policy.worst_case.terms.add(name="grace")
    policy.worst_case.total.FromMilliseconds(8_050)
    running.answer("PolicyService/GetPolicy", policy)
    asked = running.answer("ElectionService/ExplainElection", then)
    assert asked.if_down == "us"
    return asked


def test_one_line_for_each_region() -> None:
    with Run("readiness") as running:
        answer(running, explained(candidate("eu", age_s=2), candidate("ap", "DAMPED", soft=True), DEAD))
        running.answer("StatusService/ListEvents", status_service_pb2.ListEventsResponse())
        result = running.result()
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.stdout.splitlines()[1:4]}
    assert set(rows) == set(ALL)
    assert "moves" in rows["us"] and "may lose the last 2 s" in rows["us"] and "ap: DAMPED (soft)" in rows["us"]
    assert "stays" in rows["eu"]
    assert "at most 8.05 s" in result.stdout


def test_a_loss_that_leaves_no_one_is_exit_code_1() -> None:
    with Run("readiness", "-o", "json") as running:
        answer(running, explained(candidate("ap", "DOWN"), candidate("eu", "CORDONED"), DEAD))
        running.answer("StatusService/ListEvents", status_service_pb2.ListEventsResponse())
        result = running.result()
    assert result.exit_code == 1
    assert "without us no region could be active" in result.stderr
    assert "primacy explain --if-down us" in result.stderr
    found = json.loads(result.stdout)
    assert found["ready"] is False
    (us,) = [each for each in found["regions"] if each["region"] == "us"]
    assert (us["outcome"], us["target"], us["price"]) == ("NOBODY", "", None)
    assert [each["rule"] for each in us["rules"]] == ["DOWN", "CORDONED"]
    assert found["worstCase"]["total"] == "8.050s"


def test_a_better_region_that_is_fit_again_is_named() -> None:
    said = status_service_pb2.ListEventsResponse()
    said.events.add(kind="failback-possible", region="eu").time.FromSeconds(2_000)
    for moved_s, named in ((1_000, True), (3_000, False)):
        with Run("readiness") as running:
            answer(running, explained(candidate("eu"), DEAD))
            request = running.answer("StatusService/ListEvents", said)
            moves = election_service_pb2.ListFailoversResponse()
            moves.failovers.add().start_time.FromSeconds(moved_s)
            running.answer("ElectionService/ListFailovers", moves)
            if named:
                running.answer("ElectionService/ExplainElection", explained(candidate("eu")))
            result = running.result()
        assert list(request.kinds) == ["failback-possible"]
        assert ("primacy failover --to eu" in result.stdout) is named


def test_a_journal_in_trouble_spoils_no_readiness() -> None:
    with Run("readiness") as running:
        answer(running, explained(candidate("eu"), DEAD))
        running.fail("StatusService/ListEvents", grpc.StatusCode.UNAVAILABLE, "the journal cannot be read")
        assert running.result().exit_code == 0

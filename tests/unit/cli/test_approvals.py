"""Moves that wait for somebody because of their price, and what is told of prices and hooks."""

from __future__ import annotations

from primacy.v1 import election_pb2, election_service_pb2

from tests.unit.cli.calls import Run


def candidates(*names: str) -> list[election_pb2.Candidate]:
    return [election_pb2.Candidate(region=name, eligible=True, rank=rank) for rank, name in enumerate(names, 1)]


def awaiting() -> election_pb2.Failover:
    move = election_pb2.Failover(
        id="fo-7",
        from_region="us",
        to_region="eu",
        cause="us is down",
        state=election_pb2.FAILOVER_STATE_AWAITING_APPROVAL,
    )
    move.price.at_risk.age.FromSeconds(40)
    move.price.at_risk.entries = 12
    move.price.capacity_short = 150
    return move


def ended(state: election_pb2.FailoverState.ValueType) -> election_pb2.Failover:
    move = awaiting()
    move.state, move.approved_by = state, "kim@desk"
    move.end_time.GetCurrentTime()
    move.hooks.add(agent="eu/one", hook="on_promote", outcome="failed", exit_code=3, output="no such slot\nbye")
    return move


def test_a_price_is_shown_before_it_is_approved() -> None:
    with Run("failover", "--approve", "fo-7") as running:
        response = election_service_pb2.GetFailoverResponse(failover=awaiting())
        running.answer("ElectionService/GetFailover", response)
        result = running.result()
    assert result.exit_code == 2
    assert "From us to eu: us is down" in result.stderr
    assert "may lose the last 40 s (12 changes), 150 requests per second short" in result.stderr


def test_an_approved_move_is_waited_for() -> None:
    with Run("failover", "--approve", "fo-7", "--reason", "the disk is gone", "--yes") as running:
        response = election_service_pb2.ApproveFailoverResponse(failover=awaiting())
        request = running.answer("ElectionService/ApproveFailover", response)
        done = election_service_pb2.GetFailoverResponse(failover=ended(election_pb2.FAILOVER_STATE_SUCCEEDED))
        running.answer("ElectionService/GetFailover", done)
        result = running.result()
    assert (request.id, request.reason) == ("fo-7", "the disk is gone") and "@" in request.owner
    assert result.exit_code == 0
    assert "SUCCEEDED" in result.stdout


def test_a_move_is_cancelled_by_its_id() -> None:
    with Run("failover", "--cancel", "fo-7", "--yes") as running:
        response = election_service_pb2.CancelFailoverResponse(failover=ended(election_pb2.FAILOVER_STATE_ABORTED))
        request = running.answer("ElectionService/CancelFailover", response)
        result = running.result()
    assert request.id == "fo-7"
    assert result.exit_code == 0, "it is what was asked for"
    assert "ABORTED" in result.stdout


def test_history_shows_the_price_who_approved_it_and_what_hooks_printed() -> None:
    with Run("history", "fo-7") as running:
        done = election_service_pb2.GetFailoverResponse(failover=ended(election_pb2.FAILOVER_STATE_FAILED))
        running.answer("ElectionService/GetFailover", done)
        said = running.result().stdout
    for text in (
        "may lose the last 40 s",
        "kim@desk",
        "on_promote of eu/one failed, exit code 3",
        "no such slot",
        "bye",
    ):
        assert text in said, text
    with Run("history", "fo-7") as running:
        running.answer("ElectionService/GetFailover", election_service_pb2.GetFailoverResponse(failover=awaiting()))
        assert "primacy failover --approve fo-7" in running.result().stdout


def test_explain_shows_the_price_of_each_candidate() -> None:
    response = election_service_pb2.ExplainElectionResponse(winner="eu", candidates=candidates("eu", "ap"))
    response.candidates[0].price.added_latency.FromMilliseconds(-30)
    with Run("explain") as running:
        running.answer("ElectionService/ExplainElection", response)
        said = running.result().stdout
    assert "PRICE" in said and "loss not measured, 30 ms faster" in said

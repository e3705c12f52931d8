"""Lists that come in pages, and watches that outlive the coordinator that they began with."""

from __future__ import annotations

import json

import grpc
import pytest
from primacy.v1 import election_pb2, election_service_pb2, event_pb2, routing_service_pb2, status_service_pb2

from tests.unit.cli.calls import Run


def test_following_events_loses_none_and_shows_none_twice() -> None:
    """An event that comes between the first look and the list is in the list and again in the watch."""
    one, two, three, other = (
        event_pb2.Event(sequence=number, message=f"event number {number}", region=region)
        for number, region in ((5, "eu"), (6, "eu"), (7, "eu"), (8, "us"))
    )
    with Run("events", "--follow", "--region", "eu") as running:
        running.answer("StatusService/ListEvents", status_service_pb2.ListEventsResponse(events=[one]))
        running.answer("StatusService/ListEvents", status_service_pb2.ListEventsResponse(events=[two, one]))
        watched = status_service_pb2.WatchEventsResponse(events=[two, three, other])
        request = running.stream("StatusService/WatchEvents", [watched])
        running.fail("StatusService/ListEvents", grpc.StatusCode.NOT_FOUND, "the group was deleted")
        result = running.result()
    assert request.after_sequence == 5
    assert [line[-1] for line in result.stdout.splitlines()] == ["5", "6", "7"]
    assert result.exit_code == 1


def event(number: int) -> event_pb2.Event:
    return event_pb2.Event(sequence=number, message=f"event number {number}")


def events(*numbers: int, token: str = "") -> status_service_pb2.ListEventsResponse:
    return status_service_pb2.ListEventsResponse(events=[event(number) for number in numbers], next_page_token=token)


def test_following_goes_on_where_it_was_when_the_coordinator_is_back() -> None:
    with Run("events", "--follow") as running:
        running.answer("StatusService/ListEvents", events(5))
        running.answer("StatusService/ListEvents", events(5))
        running.stream("StatusService/WatchEvents", [status_service_pb2.WatchEventsResponse(events=[event(6)])])
        running.fail("StatusService/ListEvents", grpc.StatusCode.UNAVAILABLE, "connection refused")
        running.answer("StatusService/ListEvents", events(8))
        again = running.stream(
            "StatusService/WatchEvents", [status_service_pb2.WatchEventsResponse(events=[event(7), event(8)])]
        )
        running.answer("StatusService/ListEvents", events(2))
        other = running.stream("StatusService/WatchEvents", [status_service_pb2.WatchEventsResponse(events=[event(1)])])
        running.fail("StatusService/ListEvents", grpc.StatusCode.NOT_FOUND, "the group was deleted")
        result = running.result()
    assert again.after_sequence == 6
    assert other.after_sequence == 0, "another store's journal is read from its start"
    assert [line[-1] for line in result.stdout.splitlines()] == ["5", "6", "7", "8", "1"]
    assert "is gone" in result.stderr and "answers again" in result.stderr and "another journal" in result.stderr


def test_a_watch_that_nobody_answers_ends_at_once() -> None:
    with Run("weights", "--watch") as running:
        running.stream("RoutingService/WatchWeights", [routing_service_pb2.WatchWeightsResponse(version=1)])
        running.stream("RoutingService/WatchWeights", [routing_service_pb2.WatchWeightsResponse(version=2)])
        running.answer_end("RoutingService/WatchWeights", grpc.StatusCode.NOT_FOUND)
        result = running.result()
    assert result.exit_code == 1
    with Run("weights", "--watch") as running:
        running.answer_end("RoutingService/WatchWeights", grpc.StatusCode.UNAVAILABLE)
        assert running.result().exit_code == 3


@pytest.mark.parametrize(
    ("words", "method", "field", "item"),
    [
        (("events",), "StatusService/ListEvents", "events", event(1)),
        (("history",), "ElectionService/ListFailovers", "failovers", election_pb2.Failover(id="fo-9")),
    ],
)
def test_lists_follow_pages_up_to_the_limit(words: tuple[str, ...], method: str, field: str, item: object) -> None:
    kind = {"events": status_service_pb2.ListEventsResponse, "failovers": election_service_pb2.ListFailoversResponse}
    with Run(*words, "--limit", "450", "-o", "json") as running:
        sizes, tokens = [], []
        for count, token in ((200, "a"), (200, "b"), (50, "c")):
            request = running.answer(method, kind[field](**{field: [item] * count}, next_page_token=token))
            sizes.append(request.page_size)
            tokens.append(request.page_token)
        found = json.loads(running.result().stdout)
    assert (sizes, tokens) == ([200, 200, 50], ["", "a", "b"])
    assert len(found[field]) == 450
    assert found["nextPageToken"] == "c", "there is more than what was asked for"

"""The state-of-the-world protocol, request by request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_agent.dataplane.xds.kinds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SHORT
from primacy_agent.dataplane.xds.serving import NO_LISTENERS
from primacy_agent.dataplane.xds.snapshot import Snapshot
from primacy_agent.dataplane.xds.subscriptions import NAMES_MAX, TYPES_MAX, Heard, Rejection
from primacy_agent.dataplane.xds.world import WorldRequest, WorldResponse, WorldStream
from primacy_wire.errors import InvalidRequest

from tests.unit.agent.xds.made import nowhere, row, snapshot

FIRST = snapshot()
SECOND = snapshot(row(us=1.0))
OTHER_CLUSTERS = snapshot(panic=0.25)


def drain(stream: WorldStream) -> list[WorldResponse]:
    found = []
    while (response := stream.take()) is not None:
        found.append(response)
        assert len(found) < 20
    return found


def names(responses: list[WorldResponse]) -> list[tuple[str, list[str]]]:
    return [(SHORT[one.type_url], [resource.name for resource in one.resources]) for one in responses]


def ask(stream: WorldStream, type_url: str, *wanted: str, nonce: str = "", error: str | None = None) -> Heard:
    heard, _ = stream.heard(WorldRequest(type_url, wanted, nonce, error))
    return heard


def accept(stream: WorldStream, response: WorldResponse, *wanted: str) -> None:
    assert ask(stream, response.type_url, *wanted, nonce=response.nonce) is Heard.ACK


def follow(stream: WorldStream) -> dict[str, WorldResponse]:
    """As Envoy does: clusters, then their endpoints, then routes."""
    ask(stream, CLUSTER)
    (clusters,) = drain(stream)
    accept(stream, clusters)
    ask(stream, ENDPOINTS, "shop", "shop.write")
    (endpoints,) = drain(stream)
    accept(stream, endpoints, "shop", "shop.write")
    ask(stream, ROUTES, "shop")
    (routes,) = drain(stream)
    accept(stream, routes, "shop")
    assert drain(stream) == []
    return {CLUSTER: clusters, ENDPOINTS: endpoints, ROUTES: routes}


def test_a_client_is_sent_what_it_asks_for_once() -> None:
    sent = follow(WorldStream(FIRST))
    assert names(list(sent.values())) == [
        ("cds", ["shop", "shop.write"]),
        ("eds", ["shop", "shop.write"]),
        ("rds", ["shop"]),
    ]


def test_who_asks_before_there_are_weights_waits_for_them() -> None:
    stream = WorldStream(None)
    ask(stream, CLUSTER)
    assert drain(stream) == []
    stream.snapshot = FIRST
    assert names(drain(stream)) == [("cds", ["shop", "shop.write"])]


def test_only_what_changed_is_pushed() -> None:
    stream = WorldStream(FIRST)
    follow(stream)
    stream.snapshot = SECOND
    (pushed,) = drain(stream)
    assert pushed.type_url == ENDPOINTS and len(pushed.resources) == 2


def test_changed_clusters_are_followed_by_their_endpoints_though_these_are_the_same() -> None:
    stream = WorldStream(FIRST)
    follow(stream)
    stream.snapshot = OTHER_CLUSTERS
    assert [kind for kind, _ in names(drain(stream))] == ["cds", "eds"]


def test_a_slow_client_is_sent_the_newest_and_nothing_between() -> None:
    stream = WorldStream(FIRST)
    follow(stream)
    for one in (SECOND, OTHER_CLUSTERS, SECOND, FIRST, SECOND):
        stream.snapshot = one
    (pushed,) = drain(stream)
    assert {one.name: one for one in pushed.resources} == SECOND.of(ENDPOINTS)


def test_a_push_that_was_taken_back_is_not_sent() -> None:
    stream = WorldStream(FIRST)
    follow(stream)
    stream.snapshot = SECOND
    stream.snapshot = FIRST
    assert drain(stream) == []


def test_a_rejected_push_is_not_repeated_and_the_next_one_is_sent() -> None:
    stream = WorldStream(FIRST)
    follow(stream)
    stream.snapshot = SECOND
    (pushed,) = drain(stream)
    heard, rejection = stream.heard(
        WorldRequest(ENDPOINTS, ("shop", "shop.write"), pushed.nonce, "the port must be at most 65535")
    )
    assert heard is Heard.NACK
    assert rejection == Rejection(ENDPOINTS, pushed.version, "the port must be at most 65535")
    assert drain(stream) == []
    # Envoy's later requests carry the nonce of what it rejected: they are no ACK, and no call for it.
    assert ask(stream, ENDPOINTS, "shop", "shop.write", nonce=pushed.nonce) is Heard.SUBSCRIBED
    assert drain(stream) == []
    (view,) = [one for one in stream.views(stream.subscriptions) if one.type_url == ENDPOINTS]
    assert view.rejection == "the port must be at most 65535"
    assert (view.acks, view.nacks) == (1, 1)
    assert view.sent_version == pushed.version != view.acked_version
    stream.snapshot = FIRST
    (back,) = drain(stream)
    accept(stream, back, "shop", "shop.write")
    assert stream.subscriptions[ENDPOINTS].rejection == ""


def test_an_older_nonce_is_ignored_and_so_is_one_that_was_never_sent() -> None:
    stream = WorldStream(FIRST)
    sent = follow(stream)
    stream.snapshot = SECOND
    (pushed,) = drain(stream)
    assert ask(stream, ENDPOINTS, nonce=sent[ENDPOINTS].nonce) is Heard.STALE
    for bogus in ("eds-99", "cds-1", "eds-", "eds-0", "eds--1", "eds-²", "eds-" + "9" * 40, "\0", "x" * 10_000):
        assert ask(stream, ENDPOINTS, "other", nonce=bogus) is Heard.BOGUS
        assert ask(stream, ENDPOINTS, "other", nonce=bogus, error="no") is Heard.BOGUS
    assert drain(stream) == []
    accept(stream, pushed, "shop", "shop.write")
    assert stream.subscriptions[ENDPOINTS].nacks == 0


def test_who_asks_again_for_what_it_accepted_is_answered() -> None:
    stream = WorldStream(FIRST)
    sent = follow(stream)
    ask(stream, ENDPOINTS, "shop", "shop.write", nonce=sent[ENDPOINTS].nonce)
    (again,) = drain(stream)
    assert again.resources == sent[ENDPOINTS].resources
    assert again.nonce != sent[ENDPOINTS].nonce
    accept(stream, again, "shop", "shop.write")
    assert drain(stream) == []


def test_a_stream_is_answered_though_its_client_has_it_all_from_before() -> None:
    stream = WorldStream(FIRST)
    stream.heard(WorldRequest(CLUSTER, (), "cds-7"))
    assert names(drain(stream)) == [("cds", ["shop", "shop.write"])]


def test_names_may_come_and_go() -> None:
    stream = WorldStream(FIRST)
    ask(stream, ENDPOINTS, "shop")
    (one,) = drain(stream)
    accept(stream, one, "shop", "shop.write")
    (both,) = drain(stream)
    assert names([both]) == [("eds", ["shop", "shop.write"])]
    accept(stream, both, "shop.write")
    (less,) = drain(stream)
    accept(stream, less, "shop.write")
    assert drain(stream) == []
    stream.snapshot = SECOND
    assert drain(stream) == [], "the endpoints for writes have not changed"


def test_no_names_mean_all_until_some_were_named() -> None:
    stream = WorldStream(FIRST)
    ask(stream, CLUSTER, "shop")
    (one,) = drain(stream)
    assert names([one]) == [("cds", ["shop"])]
    accept(stream, one)
    (none,) = drain(stream)
    assert names([none]) == [("cds", [])]
    accept(stream, none, "*")
    assert names(drain(stream)) == [("cds", ["shop", "shop.write"])]
    other = WorldStream(FIRST)
    ask(other, ENDPOINTS)
    assert names(drain(other)) == [("eds", [])]


def test_what_there_is_not_is_answered_with_nothing_and_shown() -> None:
    stream = WorldStream(FIRST)
    ask(stream, ENDPOINTS, "other", "shop")
    assert names(drain(stream)) == [("eds", ["shop"])]
    ask(stream, LISTENER, "shopp")
    assert names(drain(stream)) == [("lds", [])]
    ask(stream, "type.googleapis.com/envoy.Secret", "key")
    assert drain(stream) == []
    unknown = {one.type_url: one.unknown for one in stream.views(stream.subscriptions)}
    assert unknown == {ENDPOINTS: ("other",), LISTENER: ("shopp",), "type.googleapis.com/envoy.Secret": ("key",)}


def test_who_asks_for_endpoints_that_are_not_known_yet_waits() -> None:
    stream = WorldStream(nowhere())
    ask(stream, ENDPOINTS, "shop")
    assert drain(stream) == []
    assert all(not one.unknown for one in stream.views(stream.subscriptions))
    stream.snapshot = FIRST
    assert names(drain(stream)) == [("eds", ["shop"])]


def test_envoy_is_told_of_no_listener_and_hears_that_there_is_none() -> None:
    stream = WorldStream(FIRST)
    stream.hidden = NO_LISTENERS
    ask(stream, LISTENER)
    assert names(drain(stream)) == [("lds", [])]
    stream = WorldStream(FIRST)
    ask(stream, LISTENER, "shop")
    assert names(drain(stream)) == [("lds", ["shop"])]


@pytest.mark.parametrize(
    "request_",
    [
        WorldRequest(""),
        WorldRequest("t" * 10_000),
        WorldRequest(ENDPOINTS, tuple(f"n{number}" for number in range(NAMES_MAX + 1))),
        WorldRequest(ENDPOINTS, ("n" * 10_000,)),
        WorldRequest(ENDPOINTS, ("",)),
    ],
)
def test_what_is_malformed_is_refused_and_changes_nothing(request_: WorldRequest) -> None:
    stream = WorldStream(FIRST)
    sent = follow(stream)
    with pytest.raises(InvalidRequest):
        stream.heard(request_)
    assert drain(stream) == []
    assert ask(stream, CLUSTER, nonce=sent[CLUSTER].nonce) is Heard.SUBSCRIBED


def test_types_are_bounded() -> None:
    stream = WorldStream(FIRST)
    for number in range(TYPES_MAX):
        ask(stream, f"type-{number}", "x")
    with pytest.raises(InvalidRequest):
        ask(stream, "type-more", "x")


SNAPSHOTS = [FIRST, SECOND, OTHER_CLUSTERS, snapshot(row(eu=1.0), panic=0.1)]
LAST_BUT_ONE = snapshot(row(eu=0.5, ap=0.5), row(eu=1.0))
LAST = snapshot(row(ap=1.0), row(ap=1.0))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(SNAPSHOTS)),
        st.tuples(st.just("send"), st.none()),
        st.tuples(st.just("answer"), st.booleans()),
        st.tuples(st.just("want"), st.sets(st.sampled_from(["shop", "shop.write", "other"]), min_size=1)),
        st.tuples(st.just("bogus"), st.text(max_size=5)),
    ),
    max_size=40,
)


@given(STEPS)
def test_however_requests_and_pushes_cross_a_client_ends_up_with_the_newest(steps: list[tuple[str, object]]) -> None:
    """A client that answers late, and in order; whatever it rejects, it takes the last push of all."""
    stream = WorldStream(FIRST)
    wanted: set[str] = {"shop"}
    unread: list[WorldResponse] = []
    nonce = ""
    ask(stream, ENDPOINTS, *sorted(wanted))
    held: dict[str, str] = {}

    def answer(accepts: bool) -> None:
        nonlocal nonce
        response = unread.pop(0)
        nonce = response.nonce
        if accepts:
            held.update({one.name: one.version for one in response.resources})
        ask(stream, ENDPOINTS, *sorted(wanted), nonce=nonce, error=None if accepts else "no")

    for kind, value in steps:
        if kind == "publish":
            assert isinstance(value, Snapshot)
            stream.snapshot = value
        elif kind == "send" and (response := stream.take()) is not None:
            unread.append(response)
        elif kind == "answer" and unread:
            answer(bool(value))
        elif kind == "want":
            assert isinstance(value, set)
            wanted = value
            ask(stream, ENDPOINTS, *sorted(wanted), nonce=nonce)
        elif kind == "bogus":
            ask(stream, ENDPOINTS, "never", nonce=f"eds-9{value}")
    # Then nothing that was rejected is left as it was, and the world stands still.
    for last in (LAST_BUT_ONE, LAST):
        stream.snapshot = last
        for _ in range(20):
            unread += drain(stream)
            if not unread:
                break
            while unread:
                answer(True)
        assert not unread, "it goes on for ever"
    assert {name: held.get(name) for name in wanted - {"other"}} == {
        name: one.version for name, one in LAST.of(ENDPOINTS).items() if name in wanted
    }

"""The incremental protocol, request by request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_agent.dataplane.xds.incremental import DeltaRequest, DeltaResponse, DeltaStream
from primacy_agent.dataplane.xds.kinds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SHORT
from primacy_agent.dataplane.xds.serving import NO_LISTENERS
from primacy_agent.dataplane.xds.snapshot import Snapshot
from primacy_agent.dataplane.xds.subscriptions import NAMES_MAX, Heard
from primacy_wire.errors import InvalidRequest

from tests.unit.agent.xds.made import nowhere, row, snapshot

FIRST = snapshot()
SECOND = snapshot(row(us=1.0))
OTHER_CLUSTERS = snapshot(panic=0.25)
SECRET = "type.googleapis.com/envoy.Secret"


def drain(stream: DeltaStream) -> list[DeltaResponse]:
    found = []
    while (response := stream.take()) is not None:
        found.append(response)
        assert len(found) < 20
    return found


def shown(responses: list[DeltaResponse]) -> list[tuple[str, list[str], list[str]]]:
    return [
        (SHORT.get(one.type_url, "other"), [resource.name for resource in one.resources], list(one.removed))
        for one in responses
    ]


def ask(stream: DeltaStream, type_url: str, *subscribe: str, **fields: object) -> Heard:
    heard, _ = stream.heard(DeltaRequest(type_url, subscribe, **fields))  # type: ignore[arg-type]
    return heard


def accept(stream: DeltaStream, *responses: DeltaResponse) -> None:
    for response in responses:
        assert ask(stream, response.type_url, nonce=response.nonce) is Heard.ACK


def follow(stream: DeltaStream) -> None:
    """As Envoy does: clusters, then their endpoints, then routes."""
    ask(stream, CLUSTER)
    accept(stream, *drain(stream))
    ask(stream, ENDPOINTS, "shop", "shop.write")
    accept(stream, *drain(stream))
    ask(stream, ROUTES, "shop")
    accept(stream, *drain(stream))
    assert drain(stream) == []


def held(snapshot: Snapshot, type_url: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, one.version) for name, one in snapshot.of(type_url).items())


def test_a_client_is_sent_what_changed_and_no_more() -> None:
    stream = DeltaStream(FIRST)
    ask(stream, CLUSTER)
    assert shown(drain(stream)) == [("cds", ["shop", "shop.write"], [])]
    ask(stream, ENDPOINTS, "shop")
    ask(stream, ENDPOINTS, "shop.write")
    assert shown(drain(stream)) == [("eds", ["shop", "shop.write"], [])]
    stream.snapshot = SECOND
    assert shown(drain(stream)) == [("eds", ["shop"], [])]


def test_who_asks_before_there_are_weights_waits_for_them() -> None:
    stream = DeltaStream(None)
    ask(stream, ENDPOINTS, "shop", "other")
    assert drain(stream) == []
    stream.snapshot = FIRST
    assert shown(drain(stream)) == [("eds", ["shop"], ["other"])]


def test_changed_clusters_are_followed_by_their_endpoints_which_nobody_asks_for() -> None:
    stream = DeltaStream(FIRST)
    follow(stream)
    stream.snapshot = OTHER_CLUSTERS
    assert shown(drain(stream)) == [("cds", ["shop", "shop.write"], []), ("eds", ["shop", "shop.write"], [])]


def test_who_has_it_all_from_a_stream_before_is_sent_nothing() -> None:
    stream = DeltaStream(snapshot())  # Another life of the server.
    ask(stream, CLUSTER, held=held(FIRST, CLUSTER))
    ask(stream, ENDPOINTS, "shop", "shop.write", held=held(FIRST, ENDPOINTS))
    assert drain(stream) == []
    stream.snapshot = SECOND
    assert shown(drain(stream)) == [("eds", ["shop"], [])]


def test_who_has_some_of_it_is_sent_the_rest_and_told_what_is_gone() -> None:
    stream = DeltaStream(SECOND)
    ask(stream, CLUSTER, held=(*held(SECOND, CLUSTER), ("old", "1")))
    ask(stream, ENDPOINTS, "shop", "shop.write", held=held(FIRST, ENDPOINTS))
    assert shown(drain(stream)) == [("cds", [], ["old"]), ("eds", ["shop"], [])]


def test_a_rejected_push_is_not_repeated_and_the_next_one_is_sent() -> None:
    stream = DeltaStream(FIRST)
    follow(stream)
    stream.snapshot = SECOND
    (pushed,) = drain(stream)
    heard, rejection = stream.heard(DeltaRequest(ENDPOINTS, nonce=pushed.nonce, error="no such port"))
    assert heard is Heard.NACK and rejection is not None and rejection.reason == "no such port"
    assert drain(stream) == []
    stream.snapshot = FIRST
    (back,) = drain(stream)
    accept(stream, back)
    assert stream.subscriptions[ENDPOINTS].rejection == ""


def test_what_there_is_not_is_told_once_and_sent_when_there_is() -> None:
    stream = DeltaStream(nowhere())
    ask(stream, ENDPOINTS, "shop", "other")
    assert shown(drain(stream)) == [("eds", [], ["other"])], "nothing is said of what is not known yet"
    ask(stream, SECRET, "key")
    assert shown(drain(stream)) == [("other", [], ["key"])]
    unknown = {one.type_url: one.unknown for one in stream.views(stream.subscriptions)}
    assert unknown == {ENDPOINTS: ("other",), SECRET: ("key",)}
    stream.snapshot = FIRST
    assert shown(drain(stream)) == [("eds", ["shop"], [])]
    ask(stream, ENDPOINTS, "other")
    assert shown(drain(stream)) == [("eds", [], ["other"])], "who asks again is told again"


def test_who_asks_again_is_sent_again_and_who_no_longer_asks_nothing() -> None:
    stream = DeltaStream(FIRST)
    follow(stream)
    ask(stream, ENDPOINTS, "shop")
    (again,) = drain(stream)
    assert shown([again]) == [("eds", ["shop"], [])]
    accept(stream, again)
    ask(stream, ENDPOINTS, unsubscribe=("shop",))
    stream.snapshot = SECOND
    assert drain(stream) == []
    ask(stream, ENDPOINTS, "shop")
    assert shown(drain(stream)) == [("eds", ["shop"], [])]


def test_all_may_be_asked_for_and_given_up() -> None:
    stream = DeltaStream(FIRST)
    ask(stream, CLUSTER, "*")
    assert shown(drain(stream)) == [("cds", ["shop", "shop.write"], [])]
    ask(stream, CLUSTER, "shop", unsubscribe=("*",))
    assert shown(drain(stream)) == [("cds", ["shop"], [])]
    stream.snapshot = OTHER_CLUSTERS
    assert shown(drain(stream)) == [("cds", ["shop"], [])]
    some = DeltaStream(FIRST)
    ask(some, CLUSTER, "shop")
    assert shown(drain(some)) == [("cds", ["shop"], [])]


def test_who_follows_all_of_nothing_hears_that_this_is_all() -> None:
    stream = DeltaStream(FIRST)
    stream.hidden = NO_LISTENERS
    ask(stream, LISTENER)
    assert shown(drain(stream)) == [("lds", [], [])]
    assert drain(stream) == []


def test_nonces_that_were_never_sent_are_counted_and_do_no_harm() -> None:
    stream = DeltaStream(FIRST)
    follow(stream)
    assert ask(stream, ENDPOINTS, nonce="eds-99", error="no") is Heard.BOGUS
    assert ask(stream, ENDPOINTS, nonce="cds-1") is Heard.BOGUS
    assert stream.subscriptions[ENDPOINTS].nacks == 0
    assert drain(stream) == []


@pytest.mark.parametrize(
    "request_",
    [
        DeltaRequest(""),
        DeltaRequest(ENDPOINTS, tuple(f"n{number}" for number in range(NAMES_MAX))),
        DeltaRequest(ENDPOINTS, ("n" * 10_000,)),
        DeltaRequest(ENDPOINTS, unsubscribe=("",)),
        DeltaRequest(ENDPOINTS, held=(("shop", "v" * 10_000),)),
    ],
)
def test_what_is_malformed_is_refused_and_changes_nothing(request_: DeltaRequest) -> None:
    stream = DeltaStream(FIRST)
    follow(stream)
    with pytest.raises(InvalidRequest):
        stream.heard(request_)
    assert drain(stream) == []


SNAPSHOTS = [FIRST, SECOND, OTHER_CLUSTERS, snapshot(row(eu=1.0), row(eu=1.0), panic=0.1)]
LAST = snapshot(row(ap=1.0), row(ap=1.0))
NAMES = st.sets(st.sampled_from(["shop", "shop.write", "other"]), min_size=1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(SNAPSHOTS)),
        st.tuples(st.just("send"), st.none()),
        st.tuples(st.just("answer"), st.booleans()),
        st.tuples(st.sampled_from(["subscribe", "unsubscribe"]), NAMES),
        st.tuples(st.just("reconnect"), st.none()),
    ),
    max_size=40,
)


@given(STEPS)
def test_however_requests_and_pushes_cross_a_client_ends_up_with_the_newest(steps: list[tuple[str, object]]) -> None:
    """A client that answers late, loses its stream, and changes its mind; the last push is new in every part."""
    stream = DeltaStream(FIRST)
    wanted: set[str] = {"shop"}
    client: dict[str, str] = {}
    unread: list[DeltaResponse] = []
    ask(stream, ENDPOINTS, "shop")

    def answer(accepts: bool) -> None:
        response = unread.pop(0)
        if accepts:
            client.update({one.name: one.version for one in response.resources if one.name in wanted})
            for name in response.removed:
                client.pop(name, None)
        ask(stream, ENDPOINTS, nonce=response.nonce, error=None if accepts else "no")

    for kind, value in steps:
        if kind == "publish":
            assert isinstance(value, Snapshot)
            stream.snapshot = value
        elif kind == "send" and (response := stream.take()) is not None:
            unread.append(response)
        elif kind == "answer" and unread:
            answer(bool(value))
        elif kind == "subscribe":
            assert isinstance(value, set)
            wanted |= value
            ask(stream, ENDPOINTS, *sorted(value))
        elif kind == "unsubscribe":
            assert isinstance(value, set)
            wanted -= value
            for name in value:
                client.pop(name, None)
            ask(stream, ENDPOINTS, unsubscribe=tuple(value))
        elif kind == "reconnect" and wanted:
            unread.clear()
            stream = DeltaStream(stream.snapshot)
            ask(stream, ENDPOINTS, *sorted(wanted), held=tuple(client.items()))
    stream.snapshot = LAST
    for _ in range(20):
        unread += drain(stream)
        if not unread:
            break
        while unread:
            answer(True)
    assert not unread, "it goes on for ever"
    assert client == {name: one.version for name, one in LAST.of(ENDPOINTS).items() if name in wanted}

"""Whatever the cores say survives the wire, and what cannot be is named field by field."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from primacy.v1 import agent_pb2, agent_service_pb2
from primacy_wire import messages as m
from primacy_wire.errors import InvalidRequest
from primacy_wire.hlc import HybridTime
from primacy_wire.log_messages import (
    Entries,
    Entry,
    EntryKind,
    Fetching,
    GroupMetrics,
    MetricsSnapshot,
    ParkedNote,
    Progress,
    RetryParked,
    SeriesSketch,
    TransferPlan,
)
from primacy_wire.session_codec import (
    from_agent_from_proto,
    from_agent_to_proto,
    to_agent_from_proto,
    to_agent_to_proto,
)
from primacy_wire.sketch import INDEX_MAX, INDEX_MIN

COUNTS = st.integers(0, 2**63 - 1)
EPOCHS = st.integers(1, 2**63 - 1)
SMALL = st.integers(0, 2**31 - 1)
TEXTS = st.text(max_size=20)
IDS = st.text(min_size=1, max_size=20)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,8}[a-z0-9])?", fullmatch=True)
AGENTS = st.builds("{}/{}".format, NAMES, NAMES)
SHARES = st.floats(0, 1)
MEASURES = st.just(-1.0) | st.floats(0, 1e300)
LINEAGES = st.builds(m.Lineage, TEXTS, TEXTS, COUNTS)
MEMBERSHIPS = st.builds(m.Membership, COUNTS, st.lists(AGENTS, max_size=4).map(tuple))


def pairs(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(NAMES, values, max_size=4).map(lambda found: tuple(sorted(found.items())))


@st.composite
def specs(draw: st.DrawFn) -> m.RegionSpec:
    located = draw(st.booleans())
    return m.RegionSpec(
        draw(st.floats(-90, 90)) if located else None,
        draw(st.floats(-180, 180)) if located else None,
        draw(st.none() | st.integers(-(2**31), 2**31 - 1)),
        draw(st.none() | st.floats(0, 1e300)),
        draw(TEXTS),
        draw(pairs(TEXTS)),
    )


@st.composite
def healths(draw: st.DrawFn) -> m.ServiceHealth:
    total = draw(SMALL)
    return m.ServiceHealth(draw(st.sampled_from(m.ServiceState)), draw(st.integers(0, total)), total, draw(TEXTS))


HELLOS = st.builds(
    m.Hello, NAMES, NAMES, NAMES, IDS, TEXTS, st.integers(1, 9), LINEAGES, COUNTS, MEMBERSHIPS, TEXTS, specs()
)
LOADS = st.builds(
    m.Load,
    MEASURES,
    st.just(-1.0) | SHARES,
    st.integers(-1, 2**63 - 1),
    MEASURES,
    MEASURES,
)
SIGHTS = st.builds(m.PeerSight, NAMES, st.just("") | AGENTS, st.booleans(), st.integers(-1, 2**63 - 1), COUNTS)
ROUTES = st.builds(
    m.RouteCount, NAMES, st.just("") | NAMES, st.integers(1, 2), st.integers(1, 6), st.just("ok"), COUNTS
)
REPORTS = st.builds(
    m.Report,
    IDS,
    EPOCHS,
    COUNTS,
    st.booleans(),
    st.sampled_from(m.Phase),
    COUNTS,
    LINEAGES,
    COUNTS,
    COUNTS,
    COUNTS,
    TEXTS,
    healths(),
    LOADS,
    st.lists(SIGHTS, max_size=3).map(tuple),
    st.lists(ROUTES, max_size=3).map(tuple),
)
CHAINS = COUNTS
DIGESTS = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
PARTS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,8}", fullmatch=True)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def entries_from(draw: st.DrawFn, sequence: int) -> Entry:
    """An entry that a coordinator could have sequenced under that number."""
    kind = draw(st.sampled_from(EntryKind))
    bare = kind is EntryKind.HEARTBEAT or draw(st.booleans())
    content = b"" if bare or kind is not EntryKind.CONFIG else draw(st.binary(max_size=30))
    return Entry(
        sequence,
        draw(IDS),
        kind,
        {EntryKind.HEARTBEAT: "", EntryKind.MODEL: draw(PARTS), EntryKind.CONFIG: f"{draw(PARTS)}/{draw(PARTS)}"}[kind],
        "" if bare else draw(DIGESTS),
        draw(COUNTS) if kind is EntryKind.MODEL and not bare else len(content),
        draw(COUNTS),
        draw(COUNTS),
        HybridTime(draw(COUNTS), draw(SMALL), draw(TEXTS)),
        draw(COUNTS),
        draw(TEXTS),
        draw(TEXTS),
        draw(COUNTS),
        content,
        "" if bare or kind is not EntryKind.CONFIG else draw(st.sampled_from(["json", "yaml"])),
        bare and kind is not EntryKind.HEARTBEAT,
        draw(TEXTS),
        draw(st.booleans()),
        draw(TEXTS),
    )


@st.composite
def batches(draw: st.DrawFn) -> Entries:
    after = draw(st.integers(0, 1000))
    numbers = sorted(draw(st.sets(st.integers(after + 1, after + 50), max_size=4)))
    upto = draw(st.integers(numbers[-1] if numbers else after, after + 50))
    found = tuple(draw(entries_from(number)) for number in numbers)
    return Entries(
        draw(IDS), after, draw(CHAINS), upto, draw(CHAINS), found, draw(COUNTS), draw(st.booleans()), draw(COUNTS)
    )


@st.composite
def sketches(draw: st.DrawFn) -> SeriesSketch:
    buckets = tuple(draw(st.lists(SMALL, max_size=5)))
    zeros = draw(SMALL)
    first = draw(st.integers(INDEX_MIN, INDEX_MAX - len(buckets)))
    return SeriesSketch(
        draw(IDS),
        zeros + sum(buckets),
        draw(st.floats(-1e300, 1e300)),
        draw(FINITE),
        draw(FINITE),
        draw(FINITE),
        zeros,
        first,
        buckets,
    )


@st.composite
def snapshots(draw: st.DrawFn, of_region: bool = False) -> MetricsSnapshot:
    region = draw(NAMES)
    series = tuple(draw(st.lists(sketches(), max_size=3)))
    agent = "" if of_region else f"{region}/{draw(NAMES)}"
    return MetricsSnapshot(region, agent, draw(IDS), draw(EPOCHS), draw(EPOCHS), draw(COUNTS), series)


PROGRESS = st.builds(
    Progress,
    IDS,
    TEXTS,
    COUNTS,
    CHAINS,
    COUNTS,
    st.lists(st.builds(ParkedNote, EPOCHS, TEXTS, TEXTS, SMALL), max_size=3).map(tuple),
    st.lists(EPOCHS, max_size=3).map(tuple),
    COUNTS,
    st.dictionaries(PARTS, EPOCHS, max_size=3).map(lambda found: tuple(sorted(found.items()))),
    st.lists(st.builds(Fetching, EPOCHS, COUNTS, COUNTS), max_size=3).map(tuple),
)
PLANS = st.builds(
    TransferPlan,
    EPOCHS,
    DIGESTS,
    st.lists(AGENTS, max_size=3).map(tuple),
    st.lists(st.tuples(AGENTS, COUNTS), max_size=3).map(tuple),
    COUNTS,
)
FROM_AGENT = st.one_of(
    PROGRESS,
    snapshots(),
    HELLOS,
    REPORTS,
    st.builds(m.Accept, IDS, EPOCHS),
    st.builds(m.Refuse, IDS, EPOCHS, TEXTS),
    st.builds(m.Released, IDS, EPOCHS, TEXTS),
    st.builds(m.ReleaseRefused, IDS, EPOCHS, TEXTS),
    st.builds(m.Frozen, IDS, EPOCHS, TEXTS, COUNTS),
)
DRIFTS = st.integers(0, 999_999)
STORES = st.builds(m.Lineage, IDS, IDS, COUNTS)
TO_AGENT = st.one_of(
    batches(),
    PLANS,
    st.builds(RetryParked, st.lists(EPOCHS, max_size=3).map(tuple)),
    st.builds(GroupMetrics, st.lists(snapshots() | snapshots(of_region=True), max_size=2).map(tuple)),
    st.builds(m.Welcome, STORES, st.booleans(), COUNTS, EPOCHS, MEMBERSHIPS),
    st.builds(m.Answer, IDS, EPOCHS, STORES, COUNTS, st.booleans(), COUNTS, DRIFTS, COUNTS, EPOCHS),
    st.builds(m.Offer, IDS, EPOCHS, STORES, EPOCHS, COUNTS, DRIFTS, MEMBERSHIPS, TEXTS, TEXTS),
    st.builds(m.Release, IDS, EPOCHS, TEXTS, TEXTS, TEXTS),
    st.builds(m.Freeze, IDS, EPOCHS, TEXTS, TEXTS, COUNTS),
    st.builds(m.Thaw, TEXTS, TEXTS),
    st.builds(
        m.WeightsUpdate,
        COUNTS,
        st.integers(1, 7),
        pairs(SHARES),
        pairs(SHARES),
        TEXTS,
        COUNTS,
        pairs(TEXTS),
        pairs(st.tuples(st.floats(-90, 90), st.floats(-180, 180))),
        st.lists(NAMES, max_size=3).map(tuple),
        st.lists(NAMES, max_size=3).map(sorted).map(tuple),
        SHARES,
        st.floats(1, 3),
        SHARES,
        pairs(SHARES),
    ),
    st.builds(
        m.Directory,
        MEMBERSHIPS,
        st.lists(st.builds(m.PeerAddress, NAMES, AGENTS, TEXTS), max_size=3).map(tuple),
        pairs(TEXTS),
    ),
)


@given(FROM_AGENT)
def test_what_an_agent_says_survives_the_wire(message: m.FromAgent) -> None:
    wire = from_agent_to_proto(message).SerializeToString()
    assert from_agent_from_proto(agent_service_pb2.SessionRequest.FromString(wire)) == message


@given(TO_AGENT)
def test_what_a_coordinator_says_survives_the_wire(message: m.ToAgent) -> None:
    wire = to_agent_to_proto(message).SerializeToString()
    assert to_agent_from_proto(agent_service_pb2.SessionResponse.FromString(wire)) == message


def test_every_kind_of_message_has_its_place() -> None:
    for union, proto in (
        (m.FromAgent, agent_service_pb2.SessionRequest),
        (m.ToAgent, agent_service_pb2.SessionResponse),
    ):
        fields: list[Any] = list(proto.DESCRIPTOR.oneofs_by_name["message"].fields)
        places = {field.message_type.name for field in fields}
        assert places == {kind.__name__ for kind in get_args(union)}


def test_the_numbers_of_the_enums_are_those_on_the_wire() -> None:
    for kind, wrapper, prefix in (
        (m.Phase, agent_pb2.Phase, "PHASE_"),
        (m.ServiceState, agent_pb2.ServiceState, "SERVICE_STATE_"),
    ):
        ours = {prefix + member.name: int(member) for member in kind}
        assert {**ours, prefix + "UNSPECIFIED": 0} == dict(wrapper.items())


def test_detail_stays_the_message_it_came_as() -> None:
    detail = agent_pb2.ReportDetail(
        probes=[agent_pb2.ProbeResult(name="http", kind="http", healthy=True)],
        series=[agent_pb2.Series(name="rps", labels={"a": "b"}, value=3.5)],
    )
    sound = m.Report(
        "life",
        1,
        0,
        False,
        m.Phase.STANDBY,
        0,
        m.Lineage(),
        0,
        0,
        0,
        "",
        m.ServiceHealth(m.ServiceState.UP),
        detail=detail,
    )
    wire = from_agent_to_proto(sound).SerializeToString()
    back = from_agent_from_proto(agent_service_pb2.SessionRequest.FromString(wire))
    assert isinstance(back, m.Report)
    assert back.detail == detail


SOUND_REPORT: dict[str, Any] = {
    "incarnation": "life",
    "number": "1",
    "phase": "PHASE_STANDBY",
    "health": {"state": "SERVICE_STATE_UP", "healthy": 1, "total": 1},
}
SOUND_HELLO: dict[str, Any] = {"region": "eu", "agent": "a", "incarnation": "life", "protocolVersion": 1}


def put(message: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with the value at the JSON path; `None` removes."""
    head, *rest = re.findall(r"[^.\[\]]+", path)
    copy: Any = dict(message)
    if not rest:
        copy[head] = value
    elif rest[0].isdigit():
        copy[head] = [put({}, ".".join(rest[1:]), value)]
    else:
        copy[head] = put(copy.get(head, {}), ".".join(rest), value)
    return {key: each for key, each in copy.items() if each is not None}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("load.requestRate", "NaN"),
        ("load.requestRate", -0.5),
        ("load.requestRate", "Infinity"),
        ("load.errorRate", 1.5),
        ("load.errorRate", -1),
        ("load.latencyNs", "-1"),
        ("load.utilisation", "-Infinity"),
        ("load.capacity", "Infinity"),
        ("incarnation", None),
        ("number", "0"),
        ("number", "-3"),
        ("epoch", "-1"),
        ("heardEpoch", "-1"),
        ("releasedEpoch", "-1"),
        ("answered", "-1"),
        ("membershipVersion", "-1"),
        ("lineage.revision", "-1"),
        ("phase", None),
        ("phase", 77),
        ("health.state", 9),
        ("health.healthy", 2),
        ("health.healthy", -1),
        ("sights[0].region", ""),
        ("sights[0].ageNs", "-1"),
        ("sights[0].rttNs", "-2"),
        ("routed[0].count", "-1"),
        ("routed[0].trafficClass", 5),
        ("routed[0].strategy", 99),
    ],
)
def test_a_report_that_cannot_be_names_its_field(path: str, value: Any) -> None:
    request = json_format.ParseDict({"report": put(SOUND_REPORT, path, value)}, agent_service_pb2.SessionRequest())
    with pytest.raises(InvalidRequest) as caught:
        from_agent_from_proto(request)
    assert f"report.{path}" in [field.path for field in caught.value.fields]


def test_what_was_routed_before_the_first_weights_came_is_no_fault_of_the_report() -> None:
    routed = {"clientRegion": "eu", "trafficClass": "TRAFFIC_CLASS_READ", "outcome": "no_weight", "count": "1"}
    asked = {**SOUND_REPORT, "routed": [routed]}
    report = from_agent_from_proto(json_format.ParseDict({"report": asked}, agent_service_pb2.SessionRequest()))
    assert isinstance(report, m.Report) and report.routed[0].strategy == 0


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("region", None),
        ("region", "EU"),
        ("region", "a/b"),
        ("region", "-eu"),
        ("region", "x" * 64),
        ("region", "eu\n"),
        ("agent", None),
        ("group", "no group"),
        ("incarnation", None),
        ("incarnation", "x" * 2000),
        ("protocolVersion", None),
        ("heardEpoch", "-1"),
        ("spec.latitude", 91),
        ("spec.latitude", "NaN"),
        ("spec.longitude", -181),
        ("spec.capacity", "NaN"),
        ("spec.capacity", -1),
        ("membership.version", "-1"),
    ],
)
def test_a_hello_that_cannot_be_names_its_field(path: str, value: Any) -> None:
    request = json_format.ParseDict({"hello": put(SOUND_HELLO, path, value)}, agent_service_pb2.SessionRequest())
    with pytest.raises(InvalidRequest) as caught:
        from_agent_from_proto(request)
    assert f"hello.{path}" in [field.path for field in caught.value.fields]


def test_half_a_location_is_refused() -> None:
    request = json_format.ParseDict({"hello": put(SOUND_HELLO, "spec.latitude", 5)}, agent_service_pb2.SessionRequest())
    with pytest.raises(InvalidRequest, match=r"hello\.spec\.longitude: must be set together"):
        from_agent_from_proto(request)


def test_the_sound_examples_are_sound() -> None:
    for kind, sound in (("report", SOUND_REPORT), ("hello", SOUND_HELLO)):
        request = json_format.ParseDict({kind: sound}, agent_service_pb2.SessionRequest())
        assert from_agent_from_proto(request) is not None


def test_an_empty_group_is_the_default() -> None:
    request = json_format.ParseDict({"hello": SOUND_HELLO}, agent_service_pb2.SessionRequest())
    hello = from_agent_from_proto(request)
    assert isinstance(hello, m.Hello)
    assert hello.group == "default"


def test_all_bad_fields_are_named_at_once() -> None:
    message = put(put(SOUND_REPORT, "load.requestRate", "NaN"), "epoch", "-1")
    request = json_format.ParseDict({"report": message}, agent_service_pb2.SessionRequest())
    with pytest.raises(InvalidRequest) as caught:
        from_agent_from_proto(request)
    assert [field.path for field in caught.value.fields] == ["report.epoch", "report.load.requestRate"]


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"accept": {"epoch": "1"}},
        {"accept": {"incarnation": "life"}},
        {"released": {"incarnation": "life", "epoch": "-4"}},
        {"frozen": {"incarnation": "life", "epoch": "1", "position": "-1"}},
    ],
    ids=str,
)
def test_a_word_that_cannot_be_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        from_agent_from_proto(json_format.ParseDict(message, agent_service_pb2.SessionRequest()))


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"answer": {"incarnation": "life", "reportIntervalNs": "1"}},
        {"answer": {"incarnation": "life", "report": "1", "reportIntervalNs": "1", "ttlNs": "-1"}},
        {"answer": {"incarnation": "life", "report": "1", "reportIntervalNs": "1", "driftPpm": 1_000_000}},
        {"offer": {"incarnation": "life", "report": "1"}},
        {"welcome": {"reportIntervalNs": "1"}},
        {"weights": {"read": {"eu": "NaN"}}},
        {"weights": {"write": {"eu": 1.5}}},
        {"directory": {"peers": [{"region": "", "agent": "a"}]}},
        {"freeze": {"incarnation": "life", "epoch": "1", "durationNs": "-1"}},
    ],
    ids=str,
)
def test_an_agent_refuses_what_cannot_be(message: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        to_agent_from_proto(json_format.ParseDict(message, agent_service_pb2.SessionResponse()))

"""What cannot be in the words of the log is named field by field; keys and names that lead astray never pass."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from primacy.v1 import agent_service_pb2
from primacy_wire.codec_log import metrics_to_proto, shared_from_proto
from primacy_wire.errors import InvalidRequest
from primacy_wire.log_messages import KEY_LENGTH_MAX, MODEL_NAME_LENGTH_MAX, Entries, GroupMetrics, Progress
from primacy_wire.names import is_key, is_model_name
from primacy_wire.session_codec import from_agent_from_proto, to_agent_from_proto, to_agent_to_proto

DIGEST = "ab" * 32
LIFE = {"incarnation": "life"}
ENTRY: dict[str, Any] = {
    "sequence": "3",
    "id": "a-1",
    "kind": "ENTRY_KIND_CONFIG",
    "key": "app/limits",
    "digest": DIGEST,
    "size": "2",
    "version": "1",
    "content": "e30=",
    "format": "json",
    "sequenceTime": "2026-01-01T00:00:00Z",
}
MODEL = {**ENTRY, "kind": "ENTRY_KIND_MODEL", "key": "resnet", "content": "", "format": ""}
SERIES = {"name": "rps", "count": "3", "sum": 1.0, "zeros": "1", "buckets": ["2"]}
SNAPSHOT: dict[str, Any] = {
    **LIFE,
    "region": "eu",
    "agent": "eu/a",
    "version": "1",
    "windowNs": "10",
    "series": [SERIES],
}
FROM_AGENT: dict[str, dict[str, Any]] = {"progress": LIFE, "metrics": SNAPSHOT}
TO_AGENT: dict[str, dict[str, Any]] = {
    "entries": {"storeId": "store", "after": "2", "upto": "5", "head": "9", "entries": [ENTRY]},
    "transferPlan": {"sequence": "1", "digest": DIGEST, "holders": ["eu/a"], "shares": [{"agent": "eu/a"}]},
    "retryParked": {"sequences": ["1"]},
    "groupMetrics": {"snapshots": [SNAPSHOT]},
}


def read(kind: str, message: dict[str, Any]) -> object:
    if kind in FROM_AGENT:
        return from_agent_from_proto(json_format.ParseDict({kind: message}, agent_service_pb2.SessionRequest()))
    return to_agent_from_proto(json_format.ParseDict({kind: message}, agent_service_pb2.SessionResponse()))


def bad_fields(kind: str, message: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        read(kind, message)
    return [field.path for field in caught.value.fields]


@pytest.mark.parametrize("kind", [*FROM_AGENT, *TO_AGENT])
def test_the_sound_examples_are_sound(kind: str) -> None:
    assert read(kind, {**FROM_AGENT, **TO_AGENT}[kind]) is not None


@pytest.mark.parametrize(
    ("kind", "change", "path"),
    [
        ("progress", {"incarnation": ""}, "incarnation"),
        ("progress", {"storeId": "x" * 2000}, "storeId"),
        ("progress", {"received": "-1"}, "received"),
        ("progress", {"settled": "-1"}, "settled"),
        ("progress", {"uplink": "-1"}, "uplink"),
        ("progress", {"chain": str(2**63)}, "chain"),
        ("progress", {"parked": [{"sequence": "0"}]}, "parked[0].sequence"),
        ("progress", {"parked": [{"sequence": "1", "attempts": -1}]}, "parked[0].attempts"),
        ("progress", {"verified": ["1", "0"]}, "verified[1]"),
        ("progress", {"models": {"../up": "1"}}, "models.../up"),
        ("progress", {"models": {"m": "0"}}, "models.m"),
        ("metrics", {"region": "EU"}, "region"),
        ("metrics", {"agent": "eu"}, "agent"),
        ("metrics", {"agent": "us/a"}, "agent"),
        ("metrics", {"incarnation": ""}, "incarnation"),
        ("metrics", {"version": "0"}, "version"),
        ("metrics", {"windowNs": "0"}, "windowNs"),
        ("metrics", {"wallNs": "-1"}, "wallNs"),
        ("metrics", {"series": [{**SERIES, "name": ""}]}, "series[0].name"),
        ("metrics", {"series": [{**SERIES, "sum": "NaN"}]}, "series[0].sum"),
        ("metrics", {"series": [{**SERIES, "min": "-Infinity"}]}, "series[0].min"),
        ("metrics", {"series": [{**SERIES, "last": "Infinity"}]}, "series[0].last"),
        ("metrics", {"series": [{**SERIES, "zeros": "-1"}]}, "series[0].zeros"),
        ("metrics", {"series": [{**SERIES, "buckets": ["-2"]}]}, "series[0].buckets"),
        ("metrics", {"series": [{**SERIES, "buckets": ["0"] * 9000}]}, "series[0].buckets"),
        ("metrics", {"series": [{**SERIES, "count": "4"}]}, "series[0].count"),
        ("metrics", {"series": [{**SERIES, "firstBucket": 2**31 - 1}]}, "series[0].buckets"),
        ("metrics", {"series": [{**SERIES, "firstBucket": -(2**31)}]}, "series[0].buckets"),
        ("metrics", {"series": [{**SERIES, "sum": -1e301}]}, "series[0].sum"),
        (
            "metrics",
            {"series": [{**SERIES, "zeros": "0", "count": str(2**49), "buckets": [str(2**49)]}]},
            "series[0].count",
        ),
        ("metrics", {"agent": ""}, "agent"),
        ("entries", {"storeId": ""}, "storeId"),
        ("entries", {"after": "-1"}, "after"),
        ("entries", {"upto": "1", "entries": []}, "upto"),
        ("entries", {"head": "-1"}, "head"),
        ("entries", {"afterChain": str(2**63)}, "afterChain"),
        ("entries", {"uptoChain": str(2**64 - 1)}, "uptoChain"),
        ("entries", {"snapshotUpto": "-1"}, "snapshotUpto"),
        ("entries", {"entries": [{**ENTRY, "sequence": "2"}]}, "entries[0].sequence"),
        ("entries", {"entries": [{**ENTRY, "sequence": "6"}]}, "entries[0].sequence"),
        ("entries", {"entries": [{**ENTRY, "sequence": "4"}, ENTRY]}, "entries[1].sequence"),
        ("entries", {"entries": [ENTRY, ENTRY]}, "entries[1].sequence"),
        ("entries", {"entries": [{**ENTRY, "kind": 7}]}, "entries[0].kind"),
        ("entries", {"entries": [{**ENTRY, "id": ""}]}, "entries[0].id"),
        ("entries", {"entries": [{**ENTRY, "key": "../etc/passwd"}]}, "entries[0].key"),
        ("entries", {"entries": [{**ENTRY, "digest": DIGEST.upper()}]}, "entries[0].digest"),
        ("entries", {"entries": [{**ENTRY, "size": "3"}]}, "entries[0].size"),
        ("entries", {"entries": [{**ENTRY, "format": "xml"}]}, "entries[0].format"),
        ("entries", {"entries": [{**ENTRY, "version": "-1"}]}, "entries[0].version"),
        ("entries", {"entries": [{**ENTRY, "parent": "-1"}]}, "entries[0].parent"),
        ("entries", {"entries": [{**ENTRY, "epoch": "-1"}]}, "entries[0].epoch"),
        ("entries", {"entries": [{**ENTRY, "time": {"wallNs": "-1"}}]}, "entries[0].time.wallNs"),
        ("entries", {"entries": [{**ENTRY, "time": {"counter": -1}}]}, "entries[0].time.counter"),
        ("entries", {"entries": [{**ENTRY, "sequenceTime": "1969-01-01T00:00:00Z"}]}, "entries[0].sequenceTime"),
        ("entries", {"entries": [{**ENTRY, "message": "x" * 2000}]}, "entries[0].message"),
        ("entries", {"entries": [{**ENTRY, "removed": True}]}, "entries[0].content"),
        ("entries", {"entries": [{**MODEL, "key": "a/b"}]}, "entries[0].key"),
        ("entries", {"entries": [{**MODEL, "content": "e30="}]}, "entries[0].content"),
        ("entries", {"entries": [{**MODEL, "size": "-1"}]}, "entries[0].size"),
        ("entries", {"entries": [{**MODEL, "kind": "ENTRY_KIND_HEARTBEAT"}]}, "entries[0].key"),
        ("transferPlan", {"sequence": "0"}, "sequence"),
        ("transferPlan", {"digest": "abc"}, "digest"),
        ("transferPlan", {"holders": ["eu"]}, "holders[0]"),
        ("transferPlan", {"shares": [{"agent": "a/b/c"}]}, "shares[0].agent"),
        ("transferPlan", {"shares": [{"agent": "eu/a", "weight": "-1"}]}, "shares[0].weight"),
        ("transferPlan", {"version": "-1"}, "version"),
        ("retryParked", {"sequences": ["1", "0"]}, "sequences[1]"),
        ("groupMetrics", {"snapshots": [SNAPSHOT, {**SNAPSHOT, "version": "0"}]}, "snapshots[1].version"),
        (
            "groupMetrics",
            {"snapshots": [{**SNAPSHOT, "series": [{**SERIES, "max": "NaN"}]}]},
            "snapshots[0].series[0].max",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_is_named(kind: str, change: dict[str, Any], path: str) -> None:
    message = {**copy.deepcopy({**FROM_AGENT, **TO_AGENT}[kind]), **change}
    assert f"{kind}.{path}" in bad_fields(kind, message)


def test_a_region_counts_what_its_agents_counted() -> None:
    series = {**SERIES, "sum": 1e301, "count": str(2**59), "zeros": "0", "buckets": [str(2**59)]}
    found = read("groupMetrics", {"snapshots": [{**SNAPSHOT, "agent": "", "series": [series]}]})
    assert isinstance(found, GroupMetrics) and found.snapshots[0].series[0].count == 2**59
    assert to_agent_from_proto(to_agent_to_proto(found)) == found


def test_what_other_agents_share_is_named_by_its_place() -> None:
    protos = [json_format.ParseDict(one, agent_service_pb2.MetricsSnapshot()) for one in (SNAPSHOT, SNAPSHOT)]
    assert [metrics_to_proto(one) for one in shared_from_proto(protos)] == protos
    protos[1].agent = ""
    with pytest.raises(InvalidRequest) as caught:
        shared_from_proto(protos)
    assert {field.path for field in caught.value.fields} == {"snapshots[1].agent"}


def test_a_long_reason_of_a_parked_entry_is_cut_and_its_agent_heard() -> None:
    found = read("progress", {**LIFE, "parked": [{"sequence": "1", "key": "k", "reason": "x" * 5000}]})
    assert isinstance(found, Progress)
    assert found.parked[0].reason == "x" * 1024


def test_a_removal_carries_nothing_but_its_key() -> None:
    removal = {**ENTRY, "removed": True, "content": "", "digest": "", "size": "0", "format": ""}
    found = read("entries", {**TO_AGENT["entries"], "entries": [removal]})
    assert isinstance(found, Entries)
    assert found.entries[0].removed
    assert to_agent_from_proto(to_agent_to_proto(found)) == found


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/..",
        "a/../b",
        ".hidden",
        "a/.hidden",
        "a\\b",
        "a b",
        "a\nb",
        "a\0",
        "k\n",
        "é",
        "x" * 129,
        "/".join(["xx"] * 100),
        "-rf",
        "a:b",
        "a*",
    ],
)
def test_keys_that_could_lead_astray_are_refused(key: str) -> None:
    assert not is_key(key)
    assert not is_model_name(key)


@pytest.mark.parametrize("key", ["a", "app/limits.yaml", "A-1_b", "_x/y/z", "x" * 128, "1"])
def test_ordinary_keys_pass(key: str) -> None:
    assert is_key(key)
    assert is_model_name(key) == ("/" not in key)


@given(st.text(alphabet="ab1_-./\\ \n\0", max_size=300))
def test_a_key_is_a_path_that_stays_below_its_folder(text: str) -> None:
    if is_key(text):
        parts = text.split("/")
        assert all(part and not part.startswith((".", "-")) for part in parts)
        assert len(text) <= KEY_LENGTH_MAX
    if is_model_name(text):
        assert "/" not in text
        assert 0 < len(text) <= MODEL_NAME_LENGTH_MAX

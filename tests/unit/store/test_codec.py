"""Records as JSON: nothing is lost on the way, and nothing unknown is passed over."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from primacy_coordinator.core.model import (
    RECORD_TYPES,
    FailoverRecord,
    LeasePhase,
    LeaseRecord,
    MembershipRecord,
    Policy,
    PolicyRecord,
    Record,
    RegionRecord,
    RegionSettings,
)
from primacy_coordinator.store.codec import BadRecord, NewerRecord, decode_record, encode_inputs, encode_record

st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
st.register_type_strategy(int, st.integers(-(2**63), 2**63 - 1))


@pytest.mark.parametrize("record_type", RECORD_TYPES, ids=lambda record_type: record_type.kind)
def test_what_is_written_is_read_again(record_type: type[Record]) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.from_type(record_type))
    def check(record: Record) -> None:
        assert decode_record(record.kind, record.key, encode_record(record)) == record

    check()


@pytest.mark.parametrize("record_type", RECORD_TYPES, ids=lambda record_type: record_type.kind)
def test_a_record_may_grow_by_fields_with_a_default(record_type: type[Record]) -> None:
    """An older version's record has fewer fields: what has a default takes it."""

    @settings(max_examples=10, deadline=None)
    @given(st.from_type(record_type))
    def check(record: Record) -> None:
        body = json.loads(encode_record(record))
        optional = [field for field in fields(record_type) if not _needed(field)]
        for field in optional:
            del body[field.name]
        read = decode_record(record.kind, record.key, json.dumps(body))
        for field in fields(record_type):
            wanted = field.default if field in optional else getattr(record, field.name)
            assert getattr(read, field.name) == wanted

    check()


def _needed(field: Any) -> bool:
    return repr(field.default) == repr(fields(FailoverRecord)[0].default)  # Both are dataclasses.MISSING.


def test_a_field_of_a_newer_version_is_refused_however_deep() -> None:
    body = json.loads(encode_record(MembershipRecord(3)))
    with pytest.raises(NewerRecord, match="colour"):
        decode_record("membership", "", json.dumps({**body, "colour": 1}))
    body = json.loads(encode_record(PolicyRecord(Policy())))
    body["policy"]["colour"] = 1
    with pytest.raises(NewerRecord, match=r"policy\.colour"):
        decode_record("policy", "", json.dumps(body))
    body = json.loads(encode_record(RegionRecord("eu", 1, 1, RegionSettings(labels=(("a", "b"),)))))
    body["configured"]["labels"] = [["a", "b"]]
    assert decode_record("region", "eu", json.dumps(body)).key == "eu"
    body["operated"]["shade"] = None
    with pytest.raises(NewerRecord, match=r"operated\.shade"):
        decode_record("region", "eu", json.dumps(body))


def test_a_field_of_a_newer_version_inside_a_list_is_refused() -> None:
    body = {
        "id": "f", "move": 2, "state": 5, "from_region": "", "to_region": "eu", "epoch": 1, "cause": "c",
        "start_wall_ns": 1, "phases": [{"name": "a", "start_wall_ns": 1}, {"name": "b", "start_wall_ns": 1, "new": 1}],
    }  # fmt: skip
    with pytest.raises(NewerRecord, match=r"phases\[1\]\.new"):
        decode_record("failover", "f", json.dumps(body))


@pytest.mark.parametrize(
    ("kind", "key", "body", "error"),
    [
        ("mood", "", "{}", NewerRecord),
        ("lease", "", '{"epoch": "seven"}', BadRecord),
        ("lease", "", '{"epoch": 7.5}', BadRecord),
        ("lease", "", '{"phase": 99}', BadRecord),
        ("lease", "", '{"epoch": 7', BadRecord),
        ("lease", "", "", BadRecord),
        ("lease", "", "[]", BadRecord),
        ("lease", "x", "{}", BadRecord),
        ("region", "eu", '{"name": "eu"}', BadRecord),
        ("region", "eu", '{"name": "us", "created_wall_ns": 1}', BadRecord),
        ("lease", "", "[" * 100_000, BadRecord),
    ],
)
def test_what_is_not_a_record_is_refused(kind: str, key: str, body: str, error: type[BadRecord]) -> None:
    with pytest.raises(error) as caught:
        decode_record(kind, key, body)
    assert type(caught.value) is error


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_a_number_that_json_lacks_is_not_written(number: float) -> None:
    with pytest.raises(BadRecord, match="policy"):
        encode_record(PolicyRecord(Policy(panic_threshold=number)))


def test_text_that_is_not_text_is_not_written() -> None:
    with pytest.raises(BadRecord, match="lease"):
        encode_record(LeaseRecord(holder="\ud800"))


@dataclass(frozen=True)
class _Inputs:
    phase: LeasePhase
    rows: tuple[tuple[str, float], ...]
    by_phase: dict[LeasePhase, frozenset[str]]
    record: LeaseRecord


def test_inputs_are_written_with_names() -> None:
    inputs = _Inputs(
        LeasePhase.OFFERED, (("eu", 0.5),), {LeasePhase.NONE: frozenset({"b", "a"})}, LeaseRecord(phase=LeasePhase.NONE)
    )
    found = json.loads(encode_inputs(inputs))
    assert found["phase"] == "OFFERED"
    assert found["rows"] == [["eu", 0.5]]
    assert found["by_phase"] == {"NONE": ["a", "b"]}
    assert found["record"]["phase"] == "NONE"
    assert encode_inputs(None) == ""


@pytest.mark.parametrize("inputs", [object(), "\ud800", lambda: None])
def test_inputs_that_cannot_be_written_say_so(inputs: object) -> None:
    assert type(inputs).__name__ in json.loads(encode_inputs(inputs))["unwritable"]

"""What becomes of a request's JSON, and of failures, without a coordinator behind."""

from __future__ import annotations

import json
import re
from contextlib import suppress

import primacy_coordinator.services  # noqa: F401  # registers every service of the API
import pytest
from google.protobuf import descriptor_pool
from hypothesis import given
from hypothesis import strategies as st
from primacy.v1.election_service_pb2 import FailoverRequest
from primacy.v1.policy_service_pb2 import SetPolicyRequest
from primacy.v1.status_service_pb2 import ListEventsRequest
from primacy_coordinator.web.answers import STATUSES, error_answer
from primacy_coordinator.web.gateway import ACTIONS, READS, _parse
from primacy_wire.errors import BadField, Exhausted, InvalidRequest, NotFound, PrimacyError, Refused
from primacy_wire.rpc_errors import CODES

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["group", "pageSize", "kinds", "odd", "minSeverity"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def test_reads_and_actions_are_what_their_names_say() -> None:
    pool = descriptor_pool.Default()
    for table, words in ((READS, "Get|List|Query|Explain|Route"), (ACTIONS, "(?!Get|List|Set|Delete)")):
        for service, names in table.items():
            methods = pool.FindServiceByName(f"primacy.v1.{service}Service").methods_by_name
            for name in names:
                assert re.match(words, name)
                assert not methods[name].client_streaming
                assert not methods[name].server_streaming


@pytest.mark.parametrize(
    ("body", "path", "advice"),
    [
        ("{", "", "is not the JSON"),
        ("{\xff}", "", "is not the JSON"),
        ("", "", "must be a JSON object"),
        ('["group"]', "", "must be a JSON object"),
        ("null", "", "must be a JSON object"),
        ('{"grup": "a"}', "grup", "no such field"),
        ('{"group": 7}', "group", "string"),
        ('{"pageSize": "x"}', "pageSize", "x"),
        ('{"minSeverity": "LOUD"}', "minSeverity", "LOUD"),
        ('{"group": "a", "group": "b"}', "", "duplicate"),
        ('{"kinds": ' + "[" * 50_000, "", "is not the JSON"),
        ('{"pageSize": 1e999}', "pageSize", ""),
    ],
)
def test_json_that_is_no_request_names_what_is_wrong(body: str, path: str, advice: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _parse(ListEventsRequest, body.encode("latin-1"))
    (field,) = caught.value.fields
    assert field.path == path
    assert advice in field.advice
    assert "\n" not in field.advice


def test_a_field_deep_inside_is_named_whole() -> None:
    with pytest.raises(InvalidRequest) as caught:
        _parse(SetPolicyRequest, b'{"policy": {"leaseTtl": "5s", "odd": 1}}')
    assert caught.value.fields[0].path == "policy.odd"


@given(JSON | st.text() | st.binary())
def test_no_body_ends_but_as_a_request_or_a_refusal(body: object) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with suppress(InvalidRequest):
        assert isinstance(_parse(ListEventsRequest, raw), ListEventsRequest)


def test_a_request_in_either_spelling_and_with_lengths() -> None:
    assert _parse(FailoverRequest, b'{"targetRegion": "eu", "validateOnly": true}') == FailoverRequest(
        target_region="eu", validate_only=True
    )
    assert _parse(FailoverRequest, b'{"target_region": "eu"}') == FailoverRequest(target_region="eu")


def test_every_failure_has_a_status() -> None:
    from google.rpc import code_pb2

    assert {code_pb2.Code.Name(code) for code in CODES.values()} <= set(STATUSES)


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (
            NotFound("region", "eu", "ListRegions shows them"),
            404,
            {"code": "NOT_FOUND", "reason": "REGION_NOT_FOUND", "metadata": {"region": "eu"}, "fields": []},
        ),
        (Refused("LAST_REGION", "no", {"a": "b"}), 400, {"code": "FAILED_PRECONDITION", "reason": "LAST_REGION"}),
        (
            InvalidRequest(BadField("a.b", "must be 1", "ODD")),
            400,
            {"fields": [{"path": "a.b", "advice": "must be 1", "reason": "ODD"}], "message": "a.b: must be 1"},
        ),
        (Exhausted("too much", "OVERLOADED", 1_200_000_000), 429, {"reason": "OVERLOADED"}),
    ],
)
def test_failures_as_json(error: PrimacyError, status: int, body: dict[str, object]) -> None:
    answer = error_answer(error)
    assert answer.status_code == status
    found = json.loads(bytes(answer.body))
    assert set(found) == {"code", "message", "reason", "metadata", "fields"}
    assert {key: found[key] for key in body} == body
    assert answer.headers.get("retry-after") == ("2" if status == 429 else None)

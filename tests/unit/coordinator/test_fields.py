"""Requests are read whole: every bad field is named at once, and nothing bad gets through."""

from __future__ import annotations

import math

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st
from primacy.v1 import policy_pb2, region_pb2, replication_pb2
from primacy_coordinator.core.log_model import ConflictPolicy, Durability
from primacy_coordinator.core.model import Policy, PolicyRecord, RoutingStrategy
from primacy_coordinator.rpc.fields import Fields
from primacy_coordinator.rpc.pages import SIZE_DEFAULT, SIZE_MAX, Page
from primacy_coordinator.rpc.policies import parse_policy, render_policy
from primacy_wire.errors import InvalidRequest
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS


def paths(fields: Fields) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        fields.check()
    return [field.path for field in caught.value.fields]


def test_everything_wrong_is_said_at_once() -> None:
    region = region_pb2.Region(name="Odd Name", capacity=math.nan, endpoint="nowhere", labels={"": "x"})
    region.location.latitude = 91
    region.location.longitude = math.inf
    fields = Fields()
    fields.name("region.name", region.name)
    fields.region_settings("region", region)
    assert paths(fields) == [
        "region.name",
        "region.location.latitude",
        "region.location.longitude",
        "region.capacity",
        "region.endpoint",
        "region.labels.",
    ]


@pytest.mark.parametrize("name", ["", "Upper", "-a", "a-", "a b", "a" * 64, "naïve", "a/b"])
def test_odd_names_are_refused(name: str) -> None:
    fields = Fields()
    fields.name("name", name)
    assert paths(fields) == ["name"]


@pytest.mark.parametrize("endpoint", ["", "eu.example:443", "10.0.0.1:8080", "[::1]:80"])
def test_endpoints(endpoint: str) -> None:
    fields = Fields()
    assert fields.endpoint("endpoint", endpoint) == endpoint
    fields.check()


@pytest.mark.parametrize("endpoint", ["eu", "eu:", ":80", "eu:0", "eu:99999", "eu:80/path", "http://eu:80", "::1:80"])
def test_odd_endpoints_are_refused(endpoint: str) -> None:
    fields = Fields()
    fields.endpoint("endpoint", endpoint)
    assert paths(fields) == ["endpoint"]


@given(st.floats())
def test_only_finite_numbers_in_range_pass(value: float) -> None:
    fields = Fields()
    fields.number("capacity", value)
    if math.isfinite(value) and value >= 0:
        fields.check()
    else:
        assert paths(fields) == ["capacity"]


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1))
def test_any_duration_is_read_or_refused(seconds: int, nanos: int) -> None:
    fields = Fields()
    value = fields.length("grace", Duration(seconds=seconds, nanos=nanos))
    assert 0 <= value < 1 << 62


def test_a_policy_comes_back_as_it_went() -> None:
    policy = Policy(
        read_strategy=RoutingStrategy.GEOGRAPHIC,
        lease_ttl_ns=3 * SECOND_NS,
        report_interval_ns=250 * MILLISECOND_NS,
        drift_ppm=100_000,
        grace_ns=0,
        panic_threshold=0.0,
        region_weights=(("eu", 0.5), ("us", 2.0)),
        client_traffic=(("eu", 3.0),),
        durability=Durability.LOCAL,
        conflict_policy=ConflictPolicy.MERGE,
        conflict_policies=(("app/", ConflictPolicy.MANUAL), ("app/x", ConflictPolicy.REJECT)),
        required_models=("bert", "resnet"),
        retry_budget=3,
        retry_wait_max_ns=100 * MILLISECOND_NS,
        stall_after_ns=3 * SECOND_NS,
    )
    rendered = render_policy(PolicyRecord(policy, 7))
    assert rendered.etag == "7"
    assert parse_policy(Fields(), "policy", rendered) == policy


def test_what_a_policy_does_not_say_has_its_default() -> None:
    assert parse_policy(Fields(), "policy", policy_pb2.Policy()) == Policy()


def test_a_bad_policy_names_every_field() -> None:
    message = policy_pb2.Policy(
        drift_bound=math.nan,
        panic_threshold=2,
        min_healthy_agents=0,
        lease_ttl=Duration(seconds=-1),
        region_weights={"eu": -1, "Bad": 1},
        stall_after=Duration(seconds=-1),
    )
    message.strategy = 99  # type: ignore[assignment]
    message.durability = 9  # type: ignore[assignment]
    message.conflict_policies["app/"] = 77  # type: ignore[assignment]
    message.conflict_policies["none"] = replication_pb2.CONFLICT_POLICY_UNSPECIFIED
    with pytest.raises(InvalidRequest) as caught:
        parse_policy(Fields(), "policy", message)
    assert {field.path for field in caught.value.fields} == {
        "policy.strategy",
        "policy.driftBound",
        "policy.panicThreshold",
        "policy.minHealthyAgents",
        "policy.leaseTtl",
        "policy.regionWeights.eu",
        "policy.regionWeights.Bad",
        "policy.stallAfter",
        "policy.durability",
        "policy.conflictPolicies.app/",
        "policy.conflictPolicies.none",
    }


@given(st.sets(st.text("abc", min_size=1, max_size=4)), st.integers(1, 5))
def test_pages_hold_everything_once(names: set[str], size: int) -> None:
    items, seen, token = sorted(names), [], ""
    while True:
        fields = Fields()
        page = Page(fields, size, token, "list", "default")
        fields.check()
        shown, token = page.cut(items, lambda name: name)
        assert len(shown) <= size
        seen += shown
        if not token:
            break
    assert seen == items


@given(st.text())
def test_garbage_tokens_are_refused(token: str) -> None:
    fields = Fields()
    page = Page(fields, 0, token, "list", "default")
    if token:
        assert page.after is None
        assert paths(fields) == ["pageToken"]


def test_a_token_belongs_to_its_list() -> None:
    token = Page(Fields(), 0, "", "regions", "default").token("eu")
    assert Page(Fields(), 0, token, "regions", "default").after == "eu"
    for other in (("regions", "other"), ("events", "default")):
        fields = Fields()
        Page(fields, 0, token, *other)
        assert paths(fields) == ["pageToken"]


def test_page_sizes() -> None:
    assert Page(Fields(), 0, "", "x").size == SIZE_DEFAULT
    assert Page(Fields(), 10**6, "", "x").size == SIZE_MAX
    fields = Fields()
    Page(fields, -1, "", "x")
    assert paths(fields) == ["pageSize"]

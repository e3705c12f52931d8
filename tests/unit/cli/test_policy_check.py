"""How long a failover may take: said by the coordinator, or worked out from the file; both say the same."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy.v1 import policy_pb2, policy_service_pb2
from primacy_cli.failover_time import worst_case
from primacy_coordinator.core.model import ApprovalAction, Limits, Policy
from primacy_coordinator.core.policy import unbounded_waits, worst_case_failover_ns
from primacy_wire.instant import SECOND_NS
from primacy_wire.policy_file import policy_from_text

from tests.unit.cli.calls import Run, bad, run


def answer() -> policy_service_pb2.SetPolicyResponse:
    response = policy_service_pb2.SetPolicyResponse()
    response.worst_case.terms.add(name="leaseTtl·(1+driftBound)").duration.FromMilliseconds(5_050)
    response.worst_case.terms.add(name="grace").duration.FromSeconds(2)
    response.worst_case.total.FromMilliseconds(7_050)
    response.worst_case.unbounded.append("the wait for an approval")
    return response


def test_the_coordinator_says_what_follows_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("grace: 2s\n")
    with Run("policy", "check", str(file)) as running:
        request = running.answer("PolicyService/SetPolicy", answer())
        result = running.result()
    assert request.validate_only and request.policy.grace.seconds == 2
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["leaseTtl·(1+driftBound)", "5.05", "s"] in rows
    assert ["together", "7.05", "s"] in rows
    assert "- the wait for an approval" in result.stdout


def test_without_a_file_the_policy_in_force_is_told() -> None:
    with Run("policy", "check", "-o", "json") as running:
        running.answer("PolicyService/GetPolicy", policy_service_pb2.GetPolicyResponse(worst_case=answer().worst_case))
        assert json.loads(running.result().stdout)["worstCase"]["total"] == "7.050s"


def test_settings_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("reportInterval: 4s\n")
    with Run("policy", "check", str(file)) as running:
        fault = bad(policy__reportInterval="must be at most a third of leaseTtl")
        running.fail("PolicyService/SetPolicy", grpc.StatusCode.INVALID_ARGUMENT, "one fault", [fault])
        result = running.result()
    assert result.exit_code == 2
    assert "policy.reportInterval: must be at most a third of leaseTtl" in result.stderr


def test_offline_asks_nobody(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("leaseTtl: 10s\nmaxLoss: {entries: 5}\n")
    result = run("policy", "check", str(file), "--offline", "-o", "json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)["worstCase"]
    assert found["total"] == "13.100s"
    assert "approval" in found["unbounded"][-1]
    file.write_text("leaseTTL: 10s\n")
    result = run("policy", "check", str(file), "--offline")
    assert result.exit_code == 2
    assert f"{file}:1" in result.stderr and "leaseTtl" in result.stderr


@given(
    st.integers(1_000_000_000, 60_000_000_000),
    st.integers(50_000_000, 10_000_000_000),
    st.integers(0, 100_000),
    st.integers(0, 100_000_000_000),
)
def test_the_file_and_the_coordinator_agree(ttl_ns: int, interval_ns: int, drift_ppm: int, grace_ns: int) -> None:
    policy = policy_pb2.Policy(drift_bound=drift_ppm / 1_000_000)
    policy.lease_ttl.FromNanoseconds(ttl_ns)
    policy.report_interval.FromNanoseconds(interval_ns)
    policy.grace.FromNanoseconds(grace_ns)
    core = Policy(lease_ttl_ns=ttl_ns, report_interval_ns=interval_ns, drift_ppm=drift_ppm, grace_ns=grace_ns)
    assert terms(policy) == worst_case_failover_ns(core)


@pytest.mark.parametrize("text", ["{}", "stableFor: 5s\n"])
def test_they_agree_on_defaults(text: str) -> None:
    assert terms(policy_from_text(text)) == worst_case_failover_ns(Policy())


@pytest.mark.parametrize(
    ("text", "core"),
    [
        ("{}", Policy()),
        ("doubtMax: 2.5s\n", Policy(doubt_max_ns=5 * SECOND_NS // 2)),
        ("maxLoss: {age: 1s}\n", Policy(max_loss=Limits(age_ns=SECOND_NS))),
        (
            "maxLoss: {entries: 0}\napprovalAction: move\n",
            Policy(max_loss=Limits(entries=0), approval_action=ApprovalAction.MOVE),
        ),
    ],
)
def test_they_agree_on_what_may_come_on_top(text: str, core: Policy) -> None:
    assert tuple(worst_case(policy_from_text(text)).unbounded) == unbounded_waits(core)


def terms(policy: policy_pb2.Policy) -> tuple[tuple[str, int], ...]:
    found = worst_case(policy)
    assert found.total.ToNanoseconds() == sum(term.duration.ToNanoseconds() for term in found.terms)
    return tuple((term.name, term.duration.ToNanoseconds()) for term in found.terms)

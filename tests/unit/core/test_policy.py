"""A policy whose parts do not fit is refused with every field that is wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_coordinator.core.log_model import ConflictPolicy
from primacy_coordinator.core.model import TTL_NS_MAX, TTL_NS_MIN, Policy, margin_down
from primacy_coordinator.core.policy import check_policy, worst_case_failover_ns
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS


def test_the_default_policy_fits() -> None:
    assert check_policy(Policy()) == ()


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"lease_ttl_ns": SECOND_NS // 2}, "leaseTtl"),
        ({"lease_ttl_ns": 61 * SECOND_NS}, "leaseTtl"),
        ({"report_interval_ns": 0}, "reportInterval"),
        ({"lease_ttl_ns": 2 * SECOND_NS}, "reportInterval"),
        ({"lease_ttl_ns": 60 * SECOND_NS, "report_interval_ns": 11 * SECOND_NS}, "reportInterval"),
        ({"drift_ppm": 100_001}, "driftBound"),
        ({"grace_ns": -1}, "grace"),
        ({"switchover_timeout_ns": 0}, "switchoverTimeout"),
        ({"panic_threshold": math.nan}, "panicThreshold"),
        ({"panic_threshold": 1.1}, "panicThreshold"),
        ({"agents_healthy_min": 0}, "minHealthyAgents"),
        ({"region_weights": (("eu", -1.0),)}, "regionWeights.eu"),
        ({"region_weights": (("eu", math.inf),)}, "regionWeights.eu"),
        ({"region_weights": (("eu", 0.0),)}, "regionWeights"),
        ({"client_traffic": (("eu", math.nan),)}, "clientTraffic.eu"),
        ({"retry_budget": 0}, "retryBudget"),
        ({"retry_budget": 1001}, "retryBudget"),
        ({"retry_wait_max_ns": 0}, "retryWaitMax"),
        ({"stall_after_ns": 2 * SECOND_NS}, "stallAfter"),
        ({"conflict_policies": (("", ConflictPolicy.MERGE),)}, "conflictPolicies."),
        ({"conflict_policies": (("../x", ConflictPolicy.MERGE),)}, "conflictPolicies.../x"),
        ({"required_models": ("a/b",)}, "requiredModels[0]"),
        ({"required_models": ("a", "a")}, "requiredModels[1]"),
        ({"required_models": tuple(f"m{n:03}" for n in range(101))}, "requiredModels"),
    ],
)
def test_what_does_not_fit_is_named(values: dict[str, object], path: str) -> None:
    problems = check_policy(replace(Policy(), **values))  # type: ignore[arg-type]
    assert path in [where for where, _ in problems]


def test_a_prefix_may_end_where_a_part_of_a_key_does() -> None:
    prefixes = ("app/", "app/limits", "b.")
    policy = Policy(conflict_policies=tuple((prefix, ConflictPolicy.MANUAL) for prefix in prefixes))
    assert check_policy(policy) == ()


@given(st.integers(TTL_NS_MIN, TTL_NS_MAX), st.integers(0, 20 * SECOND_NS), st.integers(0, 100_000))
def test_under_a_policy_that_fits_a_lease_survives_a_lost_report(ttl_ns: int, interval_ns: int, drift: int) -> None:
    policy = Policy(lease_ttl_ns=ttl_ns, report_interval_ns=interval_ns, drift_ppm=drift)
    if not check_policy(policy):
        round_trip_ns = 100 * MILLISECOND_NS
        assert 2 * interval_ns + round_trip_ns < margin_down(ttl_ns, drift)


def test_the_worst_case_is_the_lease_and_then_the_grace() -> None:
    terms = dict(worst_case_failover_ns(Policy()))
    assert sum(terms.values()) == SECOND_NS + 5_050_000_000 + 2 * SECOND_NS

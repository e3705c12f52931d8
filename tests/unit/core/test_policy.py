"""A policy whose parts do not fit is refused with every field that is wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from primacy_coordinator.core.model import Policy
from primacy_coordinator.core.policy import check_policy, worst_case_failover_ns
from primacy_wire.instant import SECOND_NS


def test_the_default_policy_fits() -> None:
    assert check_policy(Policy()) == ()


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"lease_ttl_ns": SECOND_NS // 2}, "leaseTtl"),
        ({"lease_ttl_ns": 61 * SECOND_NS}, "leaseTtl"),
        ({"report_interval_ns": 0}, "reportInterval"),
        ({"lease_ttl_ns": 2 * SECOND_NS}, "reportInterval"),
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
    ],
)
def test_what_does_not_fit_is_named(values: dict[str, object], path: str) -> None:
    problems = check_policy(replace(Policy(), **values))  # type: ignore[arg-type]
    assert path in [where for where, _ in problems]


def test_the_worst_case_is_the_lease_and_then_the_grace() -> None:
    terms = dict(worst_case_failover_ns(Policy()))
    assert sum(terms.values()) == SECOND_NS + 5_050_000_000 + 2 * SECOND_NS

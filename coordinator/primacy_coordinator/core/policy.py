"""Does a policy fit together, and how long could a failover take under it?"""

from __future__ import annotations

import math
from collections.abc import Callable

from primacy_wire.instant import MILLISECOND_NS, SECOND_NS

from primacy_coordinator.core.health import lost_after_ns
from primacy_coordinator.core.model import TTL_NS_MAX, TTL_NS_MIN, Policy, margin_up

DRIFT_PPM_MAX = 100_000
REPORT_INTERVAL_NS_MIN = 50 * MILLISECOND_NS
REPORT_INTERVAL_NS_MAX = 10 * SECOND_NS
REPORTS_PER_TTL_MIN = 3
"""A lease must survive a lost report: the next is answered after two intervals and a round trip, well before
`leaseTtl·(1-driftBound)`. (Surviving two in a row takes a quarter: after three thirds the holder has stopped.)"""
LENGTH_NS_MAX = 24 * 3600 * SECOND_NS

Problems = tuple[tuple[str, str], ...]
"""(path as in the policy's JSON, what was expected)."""


def check_policy(policy: Policy) -> Problems:
    """Everything that is wrong with it; empty when it can be used."""
    found: list[tuple[str, str]] = []

    def need(holds: bool, path: str, expected: str) -> None:
        if not holds:
            found.append((path, expected))

    need(TTL_NS_MIN <= policy.lease_ttl_ns <= TTL_NS_MAX, "leaseTtl", "must be from 1s to 60s")
    need(
        REPORT_INTERVAL_NS_MIN <= policy.report_interval_ns <= REPORT_INTERVAL_NS_MAX,
        "reportInterval",
        "must be from 0.05s to 10s",
    )
    need(
        policy.report_interval_ns * REPORTS_PER_TTL_MIN <= policy.lease_ttl_ns,
        "reportInterval",
        f"must be at most a third of leaseTtl ({policy.lease_ttl_ns / 1e9:g}s): a lease survives a lost report",
    )
    need(0 <= policy.drift_ppm <= DRIFT_PPM_MAX, "driftBound", "must be from 0 to 0.1")
    for path, length_ns, least_ns in (
        ("grace", policy.grace_ns, 0),
        ("firstWait", policy.first_wait_ns, 0),
        ("stableFor", policy.stable_for_ns, 0),
        ("switchoverTimeout", policy.switchover_timeout_ns, 100 * MILLISECOND_NS),
    ):
        need(least_ns <= length_ns <= LENGTH_NS_MAX, path, f"must be from {least_ns / 1e9:g}s to 24h")
    need(
        math.isfinite(policy.panic_threshold) and 0 <= policy.panic_threshold <= 1,
        "panicThreshold",
        "must be from 0 to 1",
    )
    need(1 <= policy.agents_healthy_min <= 1000, "minHealthyAgents", "must be from 1 to 1000")
    _check_shares(need, "regionWeights", policy.region_weights)
    _check_shares(need, "clientTraffic", policy.client_traffic)
    return tuple(found)


def _check_shares(need: Callable[[bool, str, str], None], path: str, shares: tuple[tuple[str, float], ...]) -> None:
    for name, share in shares:
        need(math.isfinite(share) and share >= 0, f"{path}.{name}", "must be a finite number, 0 or more")
    total = sum(share for _, share in shares if math.isfinite(share))
    need(not shares or total > 0, path, "must have one value above 0")


def worst_case_failover_ns(policy: Policy) -> tuple[tuple[str, int], ...]:
    """Terms of the longest time from the loss of the active region to a new lease, besides round trips.

    The worst loss is that of its coordinator link alone: the lease must run out, and `grace` begins only then.
    """
    lease_ns = margin_up(policy.lease_ttl_ns, policy.drift_ppm)
    detection_ns = lost_after_ns(policy.report_interval_ns)
    wait = ("leaseTtl·(1+driftBound)", lease_ns) if lease_ns >= detection_ns else ("detection", detection_ns)
    return (("reportInterval", policy.report_interval_ns), wait, ("grace", policy.grace_ns))

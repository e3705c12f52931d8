"""Does a policy fit together, and how long could a failover take under it?"""

from __future__ import annotations

import math
from collections.abc import Callable

from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.names import KEY_RULE, MODEL_NAME_RULE, is_key, is_model_name

from primacy_coordinator.core.health import lost_after_ns
from primacy_coordinator.core.model import (
    TTL_NS_MAX,
    TTL_NS_MIN,
    ApprovalAction,
    Failback,
    Limits,
    Policy,
    margin_up,
)
from primacy_coordinator.core.monitor.checking import check_monitoring

DRIFT_PPM_MAX = 100_000
REPORT_INTERVAL_NS_MIN = 50 * MILLISECOND_NS
REPORT_INTERVAL_NS_MAX = 10 * SECOND_NS
REPORTS_PER_TTL_MIN = 3
"""A lease must survive a lost report: the next is answered after two intervals and a round trip, well before
`leaseTtl·(1-driftBound)`. (Surviving two in a row takes a quarter: after three thirds the holder has stopped.)"""
HEARTBEAT_NS = SECOND_NS
"""An active region that has written nothing for so long writes a heartbeat with its next report."""
RETRIES_MAX = 1000
REQUIRED_MODELS_MAX = 100
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
        ("approvalTimeout", policy.approval_timeout_ns, SECOND_NS),
        ("holdDown", policy.hold_down_ns, 0),
        ("coolDown", policy.cool_down_ns, 0),
        ("flapHalfLife", policy.flap_half_life_ns, SECOND_NS),
        ("doubtMax", policy.doubt_max_ns, 0),
        ("failbackAfter", policy.failback_after_ns, 0),
        ("drainTime", policy.drain_time_ns, 0),
        ("slowStart", policy.slow_start_ns, 0),
        ("retryWaitMax", policy.retry_wait_max_ns, 100 * MILLISECOND_NS),
        ("stallAfter", policy.stall_after_ns, SECOND_NS),
    ):
        need(least_ns <= length_ns <= LENGTH_NS_MAX, path, f"must be from {least_ns / 1e9:g}s to 24h")
    need(
        math.isfinite(policy.panic_threshold) and 0 <= policy.panic_threshold <= 1,
        "panicThreshold",
        "must be from 0 to 1",
    )
    need(1 <= policy.agents_healthy_min <= 1000, "minHealthyAgents", "must be from 1 to 1000")
    _check_damping(need, policy)
    _check_shares(need, "regionWeights", policy.region_weights)
    _check_shares(need, "clientTraffic", policy.client_traffic)
    _check_replication(need, policy)
    check_monitoring(need, policy.alert_rules, policy.slos)
    return tuple(found)


def _check_damping(need: Callable[[bool, str, str], None], policy: Policy) -> None:
    need(math.isfinite(policy.flap_limit) and policy.flap_limit > 1, "flapLimit", "must be above 1: one fall is none")
    need(0 <= policy.undrained_regions_min <= 1000, "minUndrainedRegions", "must be from 0 to 1000")
    need(0 < policy.weight_slew <= 1, "weightSlew", "must be above 0, and at most 1")
    need(0 <= policy.weight_hysteresis <= 0.5, "weightHysteresis", "must be from 0 to 0.5")
    need(1 <= policy.overprovisioning <= 100, "overprovisioning", "must be from 1 to 100")
    need(0 <= policy.local_shift_max <= 1, "localShiftMax", "must be from 0 to 1")
    need(
        policy.failback is not Failback.AUTO or policy.failback_after_ns >= policy.hold_down_ns,
        "failbackAfter",
        f"must be at least holdDown ({policy.hold_down_ns / 1e9:g}s) with failback AUTO: the lease would go back to a "
        "region that is still held down",
    )
    need(
        policy.approval_action is not ApprovalAction.MOVE or policy.max_loss != Limits(),
        "approvalAction",
        "MOVE needs maxLoss: without it no failover awaits approval",
    )


def _check_replication(need: Callable[[bool, str, str], None], policy: Policy) -> None:
    need(1 <= policy.retry_budget <= RETRIES_MAX, "retryBudget", f"must be from 1 to {RETRIES_MAX}")
    period_ns = HEARTBEAT_NS + policy.report_interval_ns
    need(
        policy.stall_after_ns > period_ns,
        "stallAfter",
        f"must be above {period_ns / 1e9:g}s: an idle region writes a heartbeat that often, one second and a "
        "reportInterval apart",
    )
    for prefix, _ in policy.conflict_policies:
        # A prefix may end where a part of the key does.
        need(is_key(prefix.removesuffix("/")), f"conflictPolicies.{prefix}", f"the prefix {KEY_RULE}")
    for index, name in enumerate(policy.required_models):
        need(is_model_name(name), f"requiredModels[{index}]", MODEL_NAME_RULE)
        need(name not in policy.required_models[:index], f"requiredModels[{index}]", f"names {name!r} twice")
    need(
        len(policy.required_models) <= REQUIRED_MODELS_MAX,
        "requiredModels",
        f"must be at most {REQUIRED_MODELS_MAX} models",
    )


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


def unbounded_waits(policy: Policy) -> tuple[str, ...]:
    """What may add to the worst case, in words."""
    found = [
        f"self-doubt, when most agents are lost at once: at most doubtMax ({policy.doubt_max_ns / 1e9:g}s)",
        "the brake over groups, while several others fail over for a reason that peers do not confirm",
        "a pause, until it ends or is lifted",
        "on_promote, as long as the new region's hook runs (promoteTimeout in the agent's settings)",
    ]
    if policy.max_loss != Limits():
        what = f"at most approvalTimeout ({policy.approval_timeout_ns / 1e9:g}s)"
        if policy.approval_action is ApprovalAction.WAIT:
            what = "until an operator decides"
        found.append(f"the wait for approval, when more than maxLoss may be lost: {what}")
    return tuple(found)

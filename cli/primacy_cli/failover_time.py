"""How long a failover may take under a policy file, without asking a coordinator.

The coordinator says the same of its policy (`WorstCase`); a test holds both together.
"""

from __future__ import annotations

from primacy.v1.policy_pb2 import APPROVAL_ACTION_MOVE, Limits, Policy
from primacy.v1.policy_service_pb2 import WorstCase
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS

LEASE_TTL_NS, REPORT_INTERVAL_NS, GRACE_NS, DRIFT_BOUND = 5 * SECOND_NS, SECOND_NS, 2 * SECOND_NS, 0.01
DOUBT_MAX_NS, APPROVAL_NS = 15 * SECOND_NS, 900 * SECOND_NS
"""Defaults of the contract."""
LOST_AFTER_INTERVALS, LOST_AFTER_NS_MIN = 4, 400 * MILLISECOND_NS
"""Silence from which on the coordinator counts an agent as lost."""


def worst_case(policy: Policy) -> WorstCase:
    """The longest time from the loss of the active region to a new lease, besides round trips.

    The worst loss is that of its coordinator link alone: the lease must run out, and `grace` begins only then.
    """
    interval_ns = policy.report_interval.ToNanoseconds() if policy.HasField("report_interval") else REPORT_INTERVAL_NS
    ttl_ns = policy.lease_ttl.ToNanoseconds() if policy.HasField("lease_ttl") else LEASE_TTL_NS
    grace_ns = policy.grace.ToNanoseconds() if policy.HasField("grace") else GRACE_NS
    drift_ppm = round((policy.drift_bound if policy.HasField("drift_bound") else DRIFT_BOUND) * 1_000_000)
    lease_ns = ttl_ns - -ttl_ns * drift_ppm // 1_000_000
    lost_ns = max(LOST_AFTER_INTERVALS * interval_ns, LOST_AFTER_NS_MIN)
    wait = ("leaseTtl·(1+driftBound)", lease_ns) if lease_ns >= lost_ns else ("detection", lost_ns)
    terms = (("reportInterval", interval_ns), wait, ("grace", grace_ns))
    found = WorstCase()
    for name, length_ns in terms:
        found.terms.add(name=name).duration.FromNanoseconds(length_ns)
    found.total.FromNanoseconds(sum(length_ns for _, length_ns in terms))
    found.unbounded.extend(_on_top(policy))
    return found


def _on_top(policy: Policy) -> list[str]:
    """What may add to it."""
    doubt_ns = policy.doubt_max.ToNanoseconds() if policy.HasField("doubt_max") else DOUBT_MAX_NS
    found = [
        f"self-doubt, when most agents are lost at once: at most doubtMax ({doubt_ns / SECOND_NS:g}s)",
        "the brake over groups, while several others fail over for a reason that peers do not confirm",
        "a pause, until it ends or is lifted",
        "on_promote, as long as the new region's hook runs (promoteTimeout in the agent's settings)",
    ]
    if bounds(policy.max_loss):
        wait_ns = policy.approval_timeout.ToNanoseconds() if policy.HasField("approval_timeout") else APPROVAL_NS
        moves = policy.approval_action == APPROVAL_ACTION_MOVE
        what = f"at most approvalTimeout ({wait_ns / SECOND_NS:g}s)" if moves else "until an operator decides"
        found.append(f"the wait for approval, when more than maxLoss may be lost: {what}")
    return found


def bounds(limits: Limits) -> bool:
    """Whether there is any bound."""
    return limits.HasField("age") or limits.HasField("entries") or limits.HasField("bytes")

"""PolicyService, and the policy between its message and the core's value."""

from __future__ import annotations

from typing import Any, Literal

from primacy.v1 import policy_pb2, replication_pb2, routing_pb2
from primacy.v1 import policy_service_pb2 as pb
from primacy.v1.policy_service_pb2_grpc import PolicyServiceServicer
from primacy_wire.reflection import json_name

from primacy_coordinator.core.events import SetPolicy
from primacy_coordinator.core.log_model import ConflictPolicy, Durability
from primacy_coordinator.core.model import (
    ApprovalAction,
    ElectionStrategy,
    Failback,
    FailsafeMode,
    Limits,
    Policy,
    PolicyRecord,
    Registration,
    RoutingStrategy,
)
from primacy_coordinator.core.policy import check_policy, unbounded_waits, worst_case_failover_ns
from primacy_coordinator.rpc.calls import Calls, Context
from primacy_coordinator.rpc.fields import Fields
from primacy_coordinator.rpc.lengths import render_length
from primacy_coordinator.rpc.promises import parse_rules, parse_slos, render_rule, render_slo

PPM = 1_000_000
DRIFT_MAX = 0.1
LENGTHS = (
    "approval_timeout",
    "hold_down",
    "cool_down",
    "flap_half_life",
    "doubt_max",
    "failback_after",
    "drain_time",
    "slow_start",
    "retry_wait_max",
    "stall_after",
)
"""Fields of the policy that are lengths of time, named in the core with `_ns`."""


def parse_policy(fields: Fields, path: str, message: policy_pb2.Policy) -> Policy:
    """The policy that a message means: what is not set has its default.

    Raises `InvalidRequest` for values that cannot be, or do not fit together, and for what `fields` knows already.
    """
    base = Policy()
    given: Any = message  # its stub wants each field's name as a literal

    def length(name: str, otherwise_ns: int) -> int:
        field = json_name(name)
        if not given.HasField(name):
            return otherwise_ns
        return fields.length(f"{path}.{field}", getattr(given, name))

    strategy = fields.known(f"{path}.strategy", message.strategy, ElectionStrategy)
    read_strategy = fields.known(f"{path}.readStrategy", message.read_strategy, RoutingStrategy)
    failback = fields.known(f"{path}.failback", message.failback, Failback)
    registration = fields.known(f"{path}.registration", message.registration, Registration)
    failsafe = fields.known(f"{path}.failsafe", message.failsafe, FailsafeMode)
    drift_ppm, panic, agents_min = base.drift_ppm, base.panic_threshold, base.agents_healthy_min
    if message.HasField("drift_bound"):
        drift = fields.number(f"{path}.driftBound", message.drift_bound, 0, DRIFT_MAX)
        drift_ppm = round(drift * PPM) if 0 <= drift <= DRIFT_MAX else 0
    if message.HasField("panic_threshold"):
        panic = fields.number(f"{path}.panicThreshold", message.panic_threshold, 0, 1)
    if message.HasField("min_healthy_agents"):
        agents_min = message.min_healthy_agents
        if agents_min < 1:
            fields.add(f"{path}.minHealthyAgents", "OUT_OF_RANGE", "must be 1 or more")
    lease_ttl_ns = length("lease_ttl", base.lease_ttl_ns)
    report_interval_ns = length("report_interval", base.report_interval_ns)
    grace_ns = length("grace", base.grace_ns)
    first_wait_ns = length("first_wait", base.first_wait_ns)
    stable_for_ns = length("stable_for", base.stable_for_ns)
    switchover_timeout_ns = length("switchover_timeout", base.switchover_timeout_ns)
    approval_action = fields.known(f"{path}.approvalAction", message.approval_action, ApprovalAction)
    numbers = {
        "flap_limit": (base.flap_limit, 1.0, 1e6),
        "weight_slew": (base.weight_slew, 1e-6, 1.0),
        "weight_hysteresis": (base.weight_hysteresis, 0.0, 0.5),
        "overprovisioning": (base.overprovisioning, 1.0, 100.0),
        "local_shift_max": (base.local_shift_max, 0.0, 1.0),
    }
    found = {name: otherwise for name, (otherwise, _, _) in numbers.items()}
    for name, (_, low, high) in numbers.items():
        if given.HasField(name):
            found[name] = fields.number(f"{path}.{json_name(name)}", getattr(given, name), low, high)
    undrained_min = base.undrained_regions_min
    if message.HasField("min_undrained_regions"):
        undrained_min = message.min_undrained_regions
        if undrained_min < 0:
            fields.add(f"{path}.minUndrainedRegions", "OUT_OF_RANGE", "must be 0 or more")
    lengths = {name: length(name, getattr(base, f"{name}_ns")) for name in LENGTHS}
    max_lag = _parse_limits(fields, f"{path}.maxLag", message, "max_lag", base.max_lag)
    max_loss = _parse_limits(fields, f"{path}.maxLoss", message, "max_loss", base.max_loss)
    region_weights = fields.shares(f"{path}.regionWeights", message.region_weights)
    client_traffic = fields.shares(f"{path}.clientTraffic", message.client_traffic)
    durability = fields.known(f"{path}.durability", message.durability, Durability)
    conflict_policy = fields.known(f"{path}.conflictPolicy", message.conflict_policy, ConflictPolicy)
    for prefix, number in message.conflict_policies.items():
        if not fields.known(f"{path}.conflictPolicies.{prefix}", number, ConflictPolicy):
            fields.add(f"{path}.conflictPolicies.{prefix}", "REQUIRED", "must be a policy")
    retry_budget = message.retry_budget if message.HasField("retry_budget") else base.retry_budget
    alert_rules = parse_rules(fields, f"{path}.alertRules", message.alert_rules)
    slos = parse_slos(fields, f"{path}.slos", message.slos)
    fields.check()
    policy = Policy(
        strategy=ElectionStrategy(strategy or base.strategy),
        read_strategy=RoutingStrategy(read_strategy or base.read_strategy),
        lease_ttl_ns=lease_ttl_ns,
        report_interval_ns=report_interval_ns,
        drift_ppm=drift_ppm,
        grace_ns=grace_ns,
        first_wait_ns=first_wait_ns,
        failback=Failback(failback or base.failback),
        stable_for_ns=stable_for_ns,
        switchover_timeout_ns=switchover_timeout_ns,
        panic_threshold=panic,
        agents_healthy_min=agents_min,
        registration=Registration(registration or base.registration),
        failsafe=FailsafeMode(failsafe or base.failsafe),
        region_weights=region_weights,
        client_traffic=client_traffic,
        max_lag=max_lag,
        max_loss=max_loss,
        approval_timeout_ns=lengths["approval_timeout"],
        approval_action=ApprovalAction(approval_action or base.approval_action),
        hold_down_ns=lengths["hold_down"],
        cool_down_ns=lengths["cool_down"],
        flap_half_life_ns=lengths["flap_half_life"],
        flap_limit=found["flap_limit"],
        doubt_max_ns=lengths["doubt_max"],
        failback_after_ns=lengths["failback_after"],
        undrained_regions_min=undrained_min,
        drain_time_ns=lengths["drain_time"],
        slow_start_ns=lengths["slow_start"],
        weight_slew=found["weight_slew"],
        weight_hysteresis=found["weight_hysteresis"],
        overprovisioning=found["overprovisioning"],
        durability=Durability(durability or base.durability),
        conflict_policy=ConflictPolicy(conflict_policy or base.conflict_policy),
        conflict_policies=tuple(
            (prefix, ConflictPolicy(number)) for prefix, number in sorted(message.conflict_policies.items())
        ),
        required_models=tuple(sorted(message.required_models)),
        retry_budget=retry_budget,
        retry_wait_max_ns=lengths["retry_wait_max"],
        stall_after_ns=lengths["stall_after"],
        local_shift_max=found["local_shift_max"],
        alert_rules=alert_rules,
        slos=slos,
    )
    for field, advice in check_policy(policy):
        fields.add(f"{path}.{field}", "POLICY", advice)
    fields.check()
    return policy


def _parse_limits(
    fields: Fields, path: str, message: policy_pb2.Policy, name: Literal["max_lag", "max_loss"], otherwise: Limits
) -> Limits:
    """Bounds: what is not set within them has none."""
    if not message.HasField(name):
        return otherwise
    limits: policy_pb2.Limits = getattr(message, name)
    for part in ("entries", "bytes"):
        if limits.HasField(part) and getattr(limits, part) < 0:
            fields.add(f"{path}.{part}", "OUT_OF_RANGE", "must be 0 or more")
    return Limits(
        fields.length(f"{path}.age", limits.age) if limits.HasField("age") else -1,
        limits.entries if limits.HasField("entries") else -1,
        limits.bytes if limits.HasField("bytes") else -1,
    )


def _render_limits(limits: Limits) -> policy_pb2.Limits:
    rendered = policy_pb2.Limits(
        entries=limits.entries if limits.entries >= 0 else None, bytes=limits.bytes if limits.bytes >= 0 else None
    )
    if limits.age_ns >= 0:
        rendered.age.CopyFrom(render_length(limits.age_ns))
    return rendered


def render_worst_case(policy: Policy) -> pb.WorstCase:
    """The longest failover that follows from a policy."""
    terms = worst_case_failover_ns(policy)
    return pb.WorstCase(
        terms=[pb.FailoverTerm(name=name, duration=render_length(length_ns)) for name, length_ns in terms],
        total=render_length(sum(length_ns for _, length_ns in terms)),
        unbounded=unbounded_waits(policy),
    )


def render_policy(record: PolicyRecord) -> policy_pb2.Policy:
    """Every value, defaults included."""
    policy = record.policy
    return policy_pb2.Policy(
        strategy=policy_pb2.ElectionStrategy.ValueType(policy.strategy),
        read_strategy=routing_pb2.RoutingStrategy.ValueType(policy.read_strategy),
        lease_ttl=render_length(policy.lease_ttl_ns),
        report_interval=render_length(policy.report_interval_ns),
        drift_bound=policy.drift_ppm / PPM,
        grace=render_length(policy.grace_ns),
        first_wait=render_length(policy.first_wait_ns),
        failback=policy_pb2.Failback.ValueType(policy.failback),
        stable_for=render_length(policy.stable_for_ns),
        switchover_timeout=render_length(policy.switchover_timeout_ns),
        panic_threshold=policy.panic_threshold,
        min_healthy_agents=policy.agents_healthy_min,
        registration=policy_pb2.Registration.ValueType(policy.registration),
        failsafe=policy_pb2.FailsafeMode.ValueType(policy.failsafe),
        region_weights=dict(policy.region_weights),
        client_traffic=dict(policy.client_traffic),
        max_lag=_render_limits(policy.max_lag),
        max_loss=_render_limits(policy.max_loss),
        approval_timeout=render_length(policy.approval_timeout_ns),
        approval_action=policy_pb2.ApprovalAction.ValueType(policy.approval_action),
        hold_down=render_length(policy.hold_down_ns),
        cool_down=render_length(policy.cool_down_ns),
        flap_half_life=render_length(policy.flap_half_life_ns),
        flap_limit=policy.flap_limit,
        doubt_max=render_length(policy.doubt_max_ns),
        failback_after=render_length(policy.failback_after_ns),
        min_undrained_regions=policy.undrained_regions_min,
        drain_time=render_length(policy.drain_time_ns),
        slow_start=render_length(policy.slow_start_ns),
        weight_slew=policy.weight_slew,
        weight_hysteresis=policy.weight_hysteresis,
        overprovisioning=policy.overprovisioning,
        durability=replication_pb2.Durability.ValueType(policy.durability),
        conflict_policy=replication_pb2.ConflictPolicy.ValueType(policy.conflict_policy),
        conflict_policies={
            prefix: replication_pb2.ConflictPolicy.ValueType(rule) for prefix, rule in policy.conflict_policies
        },
        required_models=policy.required_models,
        retry_budget=policy.retry_budget,
        retry_wait_max=render_length(policy.retry_wait_max_ns),
        stall_after=render_length(policy.stall_after_ns),
        local_shift_max=policy.local_shift_max,
        alert_rules=[render_rule(rule) for rule in policy.alert_rules],
        slos=[render_slo(slo) for slo in policy.slos],
        etag=str(record.version),
    )


class PolicyService(PolicyServiceServicer):
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def GetPolicy(self, request: pb.GetPolicyRequest, context: Context) -> pb.GetPolicyResponse:
        record = await self._calls.read(request.group, lambda machine, _: machine.policy_record)
        return pb.GetPolicyResponse(policy=render_policy(record), worst_case=render_worst_case(record.policy))

    async def SetPolicy(self, request: pb.SetPolicyRequest, context: Context) -> pb.SetPolicyResponse:
        fields = Fields()
        fields.required("policy", request, "policy")
        owner = fields.text("owner", request.owner)
        policy = parse_policy(fields, "policy", request.policy)
        record = await self._calls.command(
            request.group,
            lambda number: SetPolicy(number, policy, request.policy.etag, request.validate_only, owner),
        )
        assert isinstance(record, PolicyRecord)
        return pb.SetPolicyResponse(policy=render_policy(record), worst_case=render_worst_case(record.policy))

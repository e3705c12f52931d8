"""The lease and its moves as the API shows them."""

from __future__ import annotations

from primacy.v1 import election_pb2, group_service_pb2
from primacy_wire.instant import Now

from primacy_coordinator.core.model import (
    CandidateResult,
    FailoverKind,
    FailoverPhase,
    FailoverRecord,
    FailoverState,
)
from primacy_coordinator.core.views import LeaseView, RecoveryAgent, RecoveryPlan
from primacy_coordinator.rpc.lengths import render_instant, render_length
from primacy_coordinator.rpc.render_override import render_hook, render_price

PENALTY = "penalty"
"""The score that says what soft rules cost."""

ASKED_FOR = frozenset({FailoverKind.PLANNED, FailoverKind.FORCED})


def render_lease(view: LeaseView, now: Now) -> election_pb2.Lease:
    lease = election_pb2.Lease(
        active_region=view.active_region,
        epoch=view.epoch,
        holder=view.holder,
        phase=election_pb2.LeasePhase.ValueType(view.phase),
        accepted_epoch=view.accepted_epoch,
        accepted_region=view.accepted_region,
        remaining=render_length(view.remaining_ns),
        ttl=render_length(view.ttl_ns),
        restart_wait=render_length(view.wait_ns),
    )
    if view.remaining_ns:
        lease.expire_time.CopyFrom(render_instant(now.wall_ns + view.remaining_ns))
    return lease


def render_failover(record: FailoverRecord) -> election_pb2.Failover:
    failover = election_pb2.Failover(
        id=record.id,
        kind=election_pb2.FailoverKind.ValueType(record.move),
        state=election_pb2.FailoverState.ValueType(record.state),
        from_region=record.from_region,
        to_region=record.to_region,
        epoch=record.epoch,
        cause=record.cause,
        start_time=render_instant(record.start_wall_ns),
        phases=[_render_phase(phase) for phase in record.phases],
        candidates=[render_candidate(candidate) for candidate in record.candidates],
        explanation=record.explanation,
        evidence=record.evidence,
        reason=record.reason,
        owner=record.owner,
        requested_region=record.requested_target,
        policy_version=record.policy_version,
        price=render_price(record.price) if record.price is not None else None,
        approved_by=record.approved_by,
        hooks=[render_hook(run) for run in record.hooks],
        override_rules=record.override_rules,
    )
    if record.approval_until_wall_ns and record.state is FailoverState.AWAITING_APPROVAL:
        failover.approval_expire_time.CopyFrom(render_instant(record.approval_until_wall_ns))
    if record.end_wall_ns:
        failover.end_time.CopyFrom(render_instant(record.end_wall_ns))
    if record.move in ASKED_FOR:
        failover.mode = election_pb2.FAILOVER_MODE_FORCED if record.forced else election_pb2.FAILOVER_MODE_PLANNED
    return failover


def _render_phase(phase: FailoverPhase) -> election_pb2.FailoverPhase:
    rendered = election_pb2.FailoverPhase(
        name=phase.name, start_time=render_instant(phase.start_wall_ns), note=phase.note
    )
    if phase.end_wall_ns:
        rendered.end_time.CopyFrom(render_instant(phase.end_wall_ns))
        rendered.duration.CopyFrom(render_length(phase.length_ns))
    return rendered


def render_candidate(result: CandidateResult) -> election_pb2.Candidate:
    scores = dict(result.scores)
    return election_pb2.Candidate(
        region=result.region,
        rank=result.rank,
        eligible=result.rank > 0,
        rule=result.rule,
        detail=result.detail,
        soft=result.soft,
        penalty=scores.pop(PENALTY, 0.0),
        scores=scores,
        price=render_price(result.price) if result.price is not None else None,
    )


def render_recovery(plan: RecoveryPlan, now: Now) -> group_service_pb2.RecoveryPlan:
    rendered = group_service_pb2.RecoveryPlan(
        needed=plan.needed,
        reason=plan.reason,
        operator_needed=plan.operator_needed,
        confirmed=plan.confirmed,
        agents=[_render_recovery_agent(agent) for agent in plan.agents],
        missing_agents=plan.missing,
        next_epoch=plan.next_epoch,
        wait=render_length(plan.wait_ns),
    )
    if plan.since_wall_ns:
        rendered.since_time.CopyFrom(render_instant(plan.since_wall_ns))
    if plan.needed:
        rendered.earliest_time.CopyFrom(render_instant(now.wall_ns + plan.wait_ns))
    return rendered


def _render_recovery_agent(agent: RecoveryAgent) -> group_service_pb2.RecoveryAgent:
    rendered = group_service_pb2.RecoveryAgent(
        agent=agent.agent,
        store_id=agent.store_id,
        run_id=agent.run_id,
        heard_epoch=agent.heard_epoch,
        held_epoch=agent.held_epoch,
    )
    if agent.report_age_ns >= 0:
        rendered.last_report_age.CopyFrom(render_length(agent.report_age_ns))
    return rendered

"""Regions as the API shows them."""

from __future__ import annotations

from primacy.v1 import agent_pb2, override_pb2, region_pb2
from primacy_wire.messages import Load

from primacy_coordinator.core.model import RegionRecord
from primacy_coordinator.core.views import AgentView, RegionView
from primacy_coordinator.rpc.lengths import render_instant, render_length
from primacy_coordinator.rpc.render_override import render_lag, render_override


def render_record(record: RegionRecord) -> region_pb2.Region:
    """What can be set of a region, and what follows from that."""
    region = region_pb2.Region(
        name=record.name,
        priority=record.priority,
        capacity=record.capacity,
        endpoint=record.endpoint,
        labels=dict(record.labels),
        etag=str(record.version),
        create_time=render_instant(record.created_wall_ns),
    )
    if record.location is not None:
        region.location.latitude, region.location.longitude = record.location
    return region


def render_region(view: RegionView) -> region_pb2.Region:
    region = render_record(view.record)
    region.status = region_pb2.RegionStatus.ValueType(view.verdict.status)
    region.status_reason = view.verdict.reason
    region.status_since_time.CopyFrom(render_instant(view.verdict.since_wall_ns))
    region.evidence.extend(view.verdict.evidence)
    region.active = view.active
    region.agents.extend(render_agent(agent) for agent in view.agents)
    region.load.CopyFrom(render_load(view.load))
    region.drain_state = override_pb2.DrainState.ValueType(view.drain_state)
    region.cordoned = view.cordoned
    region.overrides.extend(render_override(override) for override in view.overrides)
    region.lag.CopyFrom(render_lag(view.lag))
    region.flap_penalty = round(view.penalty, 3)
    return region


def render_agent(view: AgentView) -> agent_pb2.RegionAgent:
    agent = agent_pb2.RegionAgent(
        agent=view.agent,
        incarnation=view.incarnation,
        connected=view.connected,
        phase=agent_pb2.Phase.ValueType(view.phase),
        held_epoch=view.held_epoch,
        lease_valid=view.lease_valid,
        service_state=agent_pb2.ServiceState.ValueType(view.service),
        healthy=view.healthy,
        total=view.total,
        reason=view.reason,
        peer_address=view.peer_address,
        host=view.host,
        load=render_load(view.load),
        shunned=view.shunned,
    )
    if view.report_age_ns >= 0:
        agent.last_report_age.CopyFrom(render_length(view.report_age_ns))
    agent.lag.CopyFrom(render_lag(view.lag))
    if view.wall_offset_ns:  # Never 0 when it was told: no two clocks agree to the nanosecond.
        agent.clock_offset.CopyFrom(render_length(view.wall_offset_ns))
    if view.detail is not None:
        agent.detail.CopyFrom(view.detail)
    return agent


def render_load(load: Load) -> agent_pb2.Load:
    """What was not measured is not set."""
    return agent_pb2.Load(
        request_rate=load.request_rate if load.request_rate >= 0 else None,
        error_rate=load.error_rate if load.error_rate >= 0 else None,
        latency_ns=load.latency_ns if load.latency_ns >= 0 else None,
        utilisation=load.utilisation if load.utilisation >= 0 else None,
        capacity=load.capacity if load.capacity >= 0 else None,
        in_flight=load.in_flight if load.in_flight >= 0 else None,
    )

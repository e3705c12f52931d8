"""Reports, the message of the hot path, between `messages` and their protobuf form.

What is sound is checked at one go; only when something is not, every field is looked at to say which.
"""

from __future__ import annotations

from typing import cast

from primacy.v1 import agent_pb2, agent_service_pb2, routing_pb2

from primacy_wire.codec_parts import (
    INFINITY,
    Checks,
    lineage_from_proto,
    lineage_to_proto,
)
from primacy_wire.errors import BadField, InvalidRequest
from primacy_wire.messages import (
    Lag,
    Lineage,
    Load,
    PeerSight,
    Phase,
    Report,
    RouteCount,
    ServiceHealth,
    ServiceState,
)

_PHASES = {int(phase): phase for phase in Phase}
_STATES = {int(state): state for state in ServiceState}
_TRAFFIC_CLASSES = frozenset(routing_pb2.TrafficClass.values()) - {0}
_STRATEGIES = frozenset(routing_pb2.RoutingStrategy.values())
"""0, too: what was asked before the first weights came."""
_UNMEASURED = Load()
_LAG_UNMEASURED = Lag()


def report_to_proto(report: Report) -> agent_service_pb2.Report:
    health, load, lag = report.health, report.load, report.lag
    return agent_service_pb2.Report(
        incarnation=report.incarnation,
        number=report.number,
        epoch=report.epoch,
        valid=report.valid,
        phase=cast("agent_pb2.Phase.ValueType", report.phase),
        heard_epoch=report.heard_epoch,
        lineage=lineage_to_proto(report.lineage),
        membership_version=report.membership_version,
        released_epoch=report.released_epoch,
        answered=report.answered,
        freeze_id=report.freeze_id,
        health=agent_service_pb2.ServiceHealth(
            state=cast("agent_pb2.ServiceState.ValueType", health.state),
            healthy=health.healthy,
            total=health.total,
            reason=health.reason,
        ),
        load=load_to_proto(load),
        sights=[
            agent_service_pb2.PeerSight(
                region=sight.region,
                agent=sight.agent,
                reachable=sight.reachable,
                rtt_ns=sight.rtt_ns if sight.rtt_ns >= 0 else None,
                age_ns=sight.age_ns,
            )
            for sight in report.sights
        ],
        routed=[route_count_to_proto(count) for count in report.routed],
        detail=report.detail,
        lag_age_ns=lag.age_ns if lag.age_ns >= 0 else None,
        lag_entries=lag.entries if lag.entries >= 0 else None,
        lag_bytes=lag.bytes if lag.bytes >= 0 else None,
        wall_ns=report.wall_ns,
        shunned=report.shunned,
    )


def load_to_proto(load: Load) -> agent_pb2.Load:
    """What was not measured stays unset."""
    return agent_pb2.Load(
        request_rate=load.request_rate if load.request_rate >= 0 else None,
        error_rate=load.error_rate if load.error_rate >= 0 else None,
        latency_ns=load.latency_ns if load.latency_ns >= 0 else None,
        utilisation=load.utilisation if load.utilisation >= 0 else None,
        capacity=load.capacity if load.capacity >= 0 else None,
        in_flight=load.in_flight if load.in_flight >= 0 else None,
    )


def route_count_to_proto(count: RouteCount) -> agent_service_pb2.RouteCount:
    return agent_service_pb2.RouteCount(
        client_region=count.client_region,
        target_region=count.target_region,
        traffic_class=cast("routing_pb2.TrafficClass.ValueType", count.traffic_class),
        strategy=cast("routing_pb2.RoutingStrategy.ValueType", count.strategy),
        outcome=count.outcome,
        count=count.count,
        rate=count.rate,
    )


def report_from_proto(proto: agent_service_pb2.Report) -> Report:
    phase = _PHASES.get(proto.phase)
    word = proto.health
    state = _STATES.get(word.state)
    if phase is None or state is None:
        raise InvalidRequest(*_bad_report_fields(proto))
    lineage = proto.lineage
    report = Report(
        proto.incarnation,
        proto.number,
        proto.epoch,
        proto.valid,
        phase,
        proto.heard_epoch,
        Lineage(lineage.store_id, lineage.run_id, lineage.revision),
        proto.membership_version,
        proto.released_epoch,
        proto.answered,
        proto.freeze_id,
        ServiceHealth(state, word.healthy, word.total, word.reason),
        _load_from_proto(proto.load) if proto.HasField("load") else _UNMEASURED,
        tuple([_sight_from_proto(sight) for sight in proto.sights]),
        tuple([_route_count_from_proto(count) for count in proto.routed]),
        _lag_from_proto(proto),
        proto.wall_ns,
        tuple(proto.shunned) if proto.shunned else (),
        proto.detail if proto.HasField("detail") else None,
    )
    if not _is_sound(report):
        raise InvalidRequest(*_bad_report_fields(proto))
    load = report.load
    if load is not _UNMEASURED and not _is_sound_load(proto.load, load):
        raise InvalidRequest(*_bad_report_fields(proto))
    return report


def _load_from_proto(proto: agent_pb2.Load) -> Load:
    has = proto.HasField
    return Load(
        proto.request_rate if has("request_rate") else -1.0,
        proto.error_rate if has("error_rate") else -1.0,
        proto.latency_ns if has("latency_ns") else -1,
        proto.utilisation if has("utilisation") else -1.0,
        proto.capacity if has("capacity") else -1.0,
        proto.in_flight if has("in_flight") else -1.0,
    )


def _lag_from_proto(proto: agent_service_pb2.Report) -> Lag:
    has = proto.HasField
    if not (has("lag_age_ns") or has("lag_entries") or has("lag_bytes")):
        return _LAG_UNMEASURED
    return Lag(
        proto.lag_age_ns if has("lag_age_ns") else -1,
        proto.lag_entries if has("lag_entries") else -1,
        proto.lag_bytes if has("lag_bytes") else -1,
    )


def _sight_from_proto(proto: agent_service_pb2.PeerSight) -> PeerSight:
    rtt_ns = proto.rtt_ns if proto.HasField("rtt_ns") else -1
    return PeerSight(proto.region, proto.agent, proto.reachable, rtt_ns, proto.age_ns)


def _route_count_from_proto(proto: agent_service_pb2.RouteCount) -> RouteCount:
    return RouteCount(
        proto.client_region,
        proto.target_region,
        proto.traffic_class,
        proto.strategy,
        proto.outcome,
        proto.count,
        proto.rate,
    )


def _is_sound(report: Report) -> bool:
    """All of a report but its load, at one go."""
    return (
        report.incarnation != ""
        and report.number >= 1
        and report.epoch >= 0
        and report.heard_epoch >= 0
        and report.lineage.revision >= 0
        and report.membership_version >= 0
        and report.released_epoch >= 0
        and report.answered >= 0
        and report.wall_ns >= 0
        and min(report.lag.age_ns, report.lag.entries, report.lag.bytes) >= -1
        and 0 <= report.health.healthy <= report.health.total
        and all(sight.region != "" and sight.rtt_ns >= -1 and sight.age_ns >= 0 for sight in report.sights)
        and all(
            count.count >= 0
            and 0.0 <= count.rate < INFINITY
            and count.traffic_class in _TRAFFIC_CLASSES
            and count.strategy in _STRATEGIES
            for count in report.routed
        )
    )


def _is_sound_load(proto: agent_pb2.Load, load: Load) -> bool:
    """Finite, and negative only where it is not set. NaN fails every comparison."""
    return (
        -1.0 <= load.request_rate < INFINITY
        and -1.0 <= load.error_rate <= 1.0
        and load.latency_ns >= -1
        and -1.0 <= load.utilisation < INFINITY
        and -1.0 <= load.capacity < INFINITY
        and -1.0 <= load.in_flight < INFINITY
        and not (
            (load.request_rate < 0 and proto.HasField("request_rate"))
            or (load.error_rate < 0 and proto.HasField("error_rate"))
            or (load.latency_ns < 0 and proto.HasField("latency_ns"))
            or (load.utilisation < 0 and proto.HasField("utilisation"))
            or (load.capacity < 0 and proto.HasField("capacity"))
            or (load.in_flight < 0 and proto.HasField("in_flight"))
        )
    )


def _bad_report_fields(proto: agent_service_pb2.Report) -> list[BadField]:
    """Every field that keeps the report from being one. Slow, and needed only when there is one."""
    checks = Checks("report")
    checks.text("incarnation", proto.incarnation, required=True)
    checks.count("number", proto.number, least=1)
    checks.count("epoch", proto.epoch)
    if proto.phase not in _PHASES:
        checks.refuse("phase", f"must be a known phase, got {proto.phase}")
    checks.count("heardEpoch", proto.heard_epoch)
    checks.lineage("lineage", lineage_from_proto(proto.lineage))
    checks.count("membershipVersion", proto.membership_version)
    checks.count("releasedEpoch", proto.released_epoch)
    checks.count("answered", proto.answered)
    if proto.health.state not in _STATES:
        checks.refuse("health.state", f"must be a known state, got {proto.health.state}")
    if not 0 <= proto.health.healthy <= proto.health.total:
        checks.refuse("health.healthy", f"must be 0 to the total of {proto.health.total}")
    checks.count("wallNs", proto.wall_ns)
    if proto.HasField("lag_age_ns"):
        checks.count("lagAgeNs", proto.lag_age_ns)
    if proto.HasField("lag_entries"):
        checks.count("lagEntries", proto.lag_entries)
    if proto.HasField("lag_bytes"):
        checks.count("lagBytes", proto.lag_bytes)
    _check_load(checks, proto.load)
    for index, sight in enumerate(proto.sights):
        checks.text(f"sights[{index}].region", sight.region, required=True)
        if sight.HasField("rtt_ns"):
            checks.count(f"sights[{index}].rttNs", sight.rtt_ns)
        checks.count(f"sights[{index}].ageNs", sight.age_ns)
    for index, count in enumerate(proto.routed):
        checks.count(f"routed[{index}].count", count.count)
        checks.number(f"routed[{index}].rate", count.rate)
        if count.traffic_class not in _TRAFFIC_CLASSES:
            checks.refuse(f"routed[{index}].trafficClass", f"must be a known class, got {count.traffic_class}")
        if count.strategy not in _STRATEGIES:
            checks.refuse(f"routed[{index}].strategy", f"must be a known strategy, got {count.strategy}")
    return checks.bad


def _check_load(checks: Checks, load: agent_pb2.Load) -> None:
    if load.HasField("request_rate"):
        checks.number("load.requestRate", load.request_rate)
    if load.HasField("error_rate"):
        checks.number("load.errorRate", load.error_rate, most=1.0)
    if load.HasField("latency_ns"):
        checks.count("load.latencyNs", load.latency_ns)
    if load.HasField("utilisation"):
        checks.number("load.utilisation", load.utilisation)
    if load.HasField("capacity"):
        checks.number("load.capacity", load.capacity)
    if load.HasField("in_flight"):
        checks.number("load.inFlight", load.in_flight)

"""What an agent says, as `SessionRequest` and back."""

from __future__ import annotations

import re

from primacy.v1 import agent_service_pb2

from primacy_wire.codec_log import metrics_from_proto, metrics_to_proto, progress_from_proto, progress_to_proto
from primacy_wire.codec_parts import (
    Checks,
    lineage_from_proto,
    lineage_to_proto,
    membership_from_proto,
    membership_to_proto,
)
from primacy_wire.codec_report import report_from_proto, report_to_proto
from primacy_wire.errors import BadField, InvalidRequest
from primacy_wire.log_messages import MetricsSnapshot, Progress
from primacy_wire.messages import (
    Accept,
    FromAgent,
    Frozen,
    Hello,
    HookRan,
    Notice,
    Refuse,
    RegionSpec,
    Released,
    ReleaseRefused,
    Report,
)
from primacy_wire.names import DEFAULT_GROUP

_Request = agent_service_pb2.SessionRequest

HOOKS = frozenset({"on_promote", "on_demote"})
OUTCOMES = frozenset({"succeeded", "failed", "timed out", "not started"})
HOOK_OUTPUT_LENGTH_MAX = 8_192
NOTICE_LENGTH_MAX = 2_000
NOTICE_NAME = re.compile(r"(?=.{1,64}$)[a-z0-9]+(-[a-z0-9]+)*")


def from_agent_to_proto(message: FromAgent) -> agent_service_pb2.SessionRequest:
    """What the agent puts on the wire."""
    match message:
        case Report():
            return _Request(report=report_to_proto(message))
        case Progress():
            return _Request(progress=progress_to_proto(message))
        case MetricsSnapshot():
            return _Request(metrics=metrics_to_proto(message))
        case Hello():
            return _Request(hello=_hello_to_proto(message))
        case Accept(incarnation, epoch, promoting):
            accept = agent_service_pb2.Accept(incarnation=incarnation, epoch=epoch, promoting=promoting)
            return _Request(accept=accept)
        case HookRan():
            return _Request(hook_ran=_hook_ran_to_proto(message))
        case Notice(incarnation, name, text, warning, age_ns):
            notice = agent_service_pb2.Notice(
                incarnation=incarnation, name=name, text=text, warning=warning, age_ns=age_ns
            )
            return _Request(notice=notice)
        case Refuse(incarnation, epoch, reason):
            refuse = agent_service_pb2.Refuse(incarnation=incarnation, epoch=epoch, reason=reason)
            return _Request(refuse=refuse)
        case Released(incarnation, epoch, reason):
            released = agent_service_pb2.Released(incarnation=incarnation, epoch=epoch, reason=reason)
            return _Request(released=released)
        case ReleaseRefused(incarnation, epoch, freeze_id):
            refused = agent_service_pb2.ReleaseRefused(incarnation=incarnation, epoch=epoch, freeze_id=freeze_id)
            return _Request(release_refused=refused)
        case Frozen(incarnation, epoch, freeze_id, position):
            frozen = agent_service_pb2.Frozen(
                incarnation=incarnation, epoch=epoch, freeze_id=freeze_id, position=position
            )
            return _Request(frozen=frozen)


def _hook_ran_to_proto(ran: HookRan) -> agent_service_pb2.HookRan:
    return agent_service_pb2.HookRan(
        incarnation=ran.incarnation,
        epoch=ran.epoch,
        hook=ran.hook,
        exit_code=ran.exit_code,
        outcome=ran.outcome,
        output=ran.output,
        length_ns=ran.length_ns,
    )


def _hello_to_proto(hello: Hello) -> agent_service_pb2.Hello:
    spec = hello.spec
    return agent_service_pb2.Hello(
        group=hello.group,
        region=hello.region,
        agent=hello.agent,
        incarnation=hello.incarnation,
        host=hello.host,
        protocol_version=hello.protocol_version,
        lineage=lineage_to_proto(hello.lineage),
        heard_epoch=hello.heard_epoch,
        membership=membership_to_proto(hello.membership),
        peer_address=hello.peer_address,
        spec=agent_service_pb2.RegionSpec(
            latitude=spec.latitude,
            longitude=spec.longitude,
            priority=spec.priority,
            capacity=spec.capacity,
            endpoint=spec.endpoint,
            labels=dict(spec.labels),
        ),
    )


def from_agent_from_proto(request: agent_service_pb2.SessionRequest) -> FromAgent:
    """What the coordinator takes off the wire. Raises InvalidRequest."""
    kind = request.WhichOneof("message")
    match kind:
        case "report":
            return report_from_proto(request.report)
        case "progress":
            return progress_from_proto(request.progress)
        case "metrics":
            return metrics_from_proto(request.metrics)
        case "hello":
            return _hello_from_proto(request.hello)
        case "accept":
            accept = request.accept
            _check_word(kind, accept.incarnation, accept.epoch)
            return Accept(accept.incarnation, accept.epoch, accept.promoting)
        case "refuse":
            refuse = request.refuse
            _check_word(kind, refuse.incarnation, refuse.epoch, refuse.reason)
            return Refuse(refuse.incarnation, refuse.epoch, refuse.reason)
        case "released":
            released = request.released
            _check_word(kind, released.incarnation, released.epoch, released.reason)
            return Released(released.incarnation, released.epoch, released.reason)
        case "release_refused":
            refused = request.release_refused
            _check_word("releaseRefused", refused.incarnation, refused.epoch, refused.freeze_id)
            return ReleaseRefused(refused.incarnation, refused.epoch, refused.freeze_id)
        case "frozen":
            frozen = request.frozen
            _check_word(kind, frozen.incarnation, frozen.epoch, frozen.freeze_id, frozen.position)
            return Frozen(frozen.incarnation, frozen.epoch, frozen.freeze_id, frozen.position)
        case "hook_ran":
            return _hook_ran_from_proto(request.hook_ran)
        case "notice":
            return _notice_from_proto(request.notice)
        case _:
            raise InvalidRequest(BadField("message", "must be set: is the agent newer than this coordinator?"))


def _hook_ran_from_proto(proto: agent_service_pb2.HookRan) -> HookRan:
    checks = Checks("hookRan")
    checks.text("incarnation", proto.incarnation, required=True)
    checks.count("epoch", proto.epoch, least=1)
    checks.count("lengthNs", proto.length_ns)
    if proto.hook not in HOOKS:
        checks.refuse("hook", f"must be one of {', '.join(sorted(HOOKS))}")
    if proto.outcome not in OUTCOMES:
        checks.refuse("outcome", f"must be one of {', '.join(sorted(OUTCOMES))}")
    checks.finish()
    # A longer output is cut, not refused: history is better off with a part of it.
    return HookRan(
        proto.incarnation,
        proto.epoch,
        proto.hook,
        proto.exit_code,
        proto.outcome,
        proto.output[-HOOK_OUTPUT_LENGTH_MAX:],
        proto.length_ns,
    )


def _notice_from_proto(proto: agent_service_pb2.Notice) -> Notice:
    checks = Checks("notice")
    checks.text("incarnation", proto.incarnation, required=True)
    checks.count("ageNs", proto.age_ns)
    if not NOTICE_NAME.fullmatch(proto.name):
        checks.refuse("name", "must be lower-case words joined by `-`, at most 64 characters")
    checks.finish()
    # A longer text is cut, not refused: the journal is better off with a part of it.
    return Notice(proto.incarnation, proto.name, proto.text[:NOTICE_LENGTH_MAX], proto.warning, proto.age_ns)


def _check_word(kind: str, incarnation: str, epoch: int, text: str = "", position: int = 0) -> None:
    checks = Checks(kind)
    checks.text("incarnation", incarnation, required=True)
    checks.count("epoch", epoch, least=1)
    checks.text("freezeId" if kind in ("releaseRefused", "frozen") else "reason", text)
    checks.count("position", position)
    checks.finish()


def _hello_from_proto(proto: agent_service_pb2.Hello) -> Hello:
    spec = proto.spec
    hello = Hello(
        group=proto.group or DEFAULT_GROUP,
        region=proto.region,
        agent=proto.agent,
        incarnation=proto.incarnation,
        host=proto.host,
        protocol_version=proto.protocol_version,
        lineage=lineage_from_proto(proto.lineage),
        heard_epoch=proto.heard_epoch,
        membership=membership_from_proto(proto.membership),
        peer_address=proto.peer_address,
        spec=RegionSpec(
            latitude=spec.latitude if spec.HasField("latitude") else None,
            longitude=spec.longitude if spec.HasField("longitude") else None,
            priority=spec.priority if spec.HasField("priority") else None,
            capacity=spec.capacity if spec.HasField("capacity") else None,
            endpoint=spec.endpoint,
            labels=tuple(sorted(spec.labels.items())),
        ),
    )
    checks = Checks("hello")
    checks.name("group", hello.group)
    checks.name("region", hello.region)
    checks.name("agent", hello.agent)
    checks.text("incarnation", hello.incarnation, required=True)
    checks.text("host", hello.host)
    checks.count("protocolVersion", hello.protocol_version, least=1)
    checks.lineage("lineage", hello.lineage)
    checks.count("heardEpoch", hello.heard_epoch)
    checks.membership("membership", hello.membership)
    checks.text("peerAddress", hello.peer_address)
    _check_spec(checks, hello.spec)
    checks.finish()
    return hello


def _check_spec(checks: Checks, spec: RegionSpec) -> None:
    if spec.latitude is not None:
        checks.number("spec.latitude", spec.latitude, -90, 90)
    if spec.longitude is not None:
        checks.number("spec.longitude", spec.longitude, -180, 180)
    if (spec.latitude is None) != (spec.longitude is None):
        missing = "latitude" if spec.latitude is None else "longitude"
        checks.refuse(f"spec.{missing}", "must be set together with the other coordinate")
    if spec.capacity is not None:
        checks.number("spec.capacity", spec.capacity)
    checks.text("spec.endpoint", spec.endpoint)

"""Entries of the log as `primacy.v1.Entry`, and back: for the session and for the API alike.

Whether an entry's origin was active when it was numbered (`by_active`) is the coordinator's own note: it stays there.
"""

from __future__ import annotations

from typing import cast

from google.protobuf.timestamp_pb2 import Timestamp
from primacy.v1 import replication_pb2 as pb

from primacy_wire.codec_parts import Checks
from primacy_wire.hlc import HybridTime
from primacy_wire.instant import SECOND_NS
from primacy_wire.log_messages import CONTENT_BYTES_MAX, Entry, EntryKind
from primacy_wire.names import DIGEST_RULE, KEY_RULE, MODEL_NAME_RULE, is_digest, is_key, is_model_name

FORMATS = frozenset({"json", "yaml"})
_KINDS = {int(kind): kind for kind in EntryKind}
_SECONDS_MAX = 253_402_300_799
"""The last second that a Timestamp can say: the end of the year 9999."""


def entry_to_proto(entry: Entry, with_content: bool = True) -> pb.Entry:
    """`with_content`: whether a document comes with it. `safety` is left to whoever knows it."""
    time = entry.time
    return pb.Entry(
        sequence=entry.sequence,
        id=entry.id,
        kind=cast("pb.EntryKind.ValueType", entry.kind),
        key=entry.key,
        digest=entry.digest,
        size=entry.size,
        version=entry.version,
        parent=entry.parent,
        time=pb.HybridTime(wall_ns=time.wall_ns, counter=time.counter, node=time.node),
        time_clamped=entry.time_clamped,
        epoch=entry.epoch,
        origin=entry.origin,
        agent=entry.agent,
        sequence_time=Timestamp(
            seconds=entry.sequenced_wall_ns // SECOND_NS, nanos=entry.sequenced_wall_ns % SECOND_NS
        ),
        content=entry.content if with_content else b"",
        format=entry.format,
        removed=entry.removed,
        conflict_id=entry.conflict_id,
        message=entry.message,
    )


def entry_from_proto(proto: pb.Entry, checks: Checks, path: str) -> Entry:
    """What the message says; what cannot be goes to `checks` under `path`, and the value then counts for nothing."""
    kind = _KINDS.get(proto.kind)
    if kind is None:
        checks.refuse(f"{path}.kind", f"must be a known kind, got {proto.kind}")
        kind = EntryKind.HEARTBEAT
    else:
        _check_content(kind, proto, checks, path)
    checks.count(f"{path}.sequence", proto.sequence, least=1)
    checks.text(f"{path}.id", proto.id, required=True)
    for name, value in (("version", proto.version), ("parent", proto.parent), ("epoch", proto.epoch)):
        checks.count(f"{path}.{name}", value)
    for name, text in (
        ("time.node", proto.time.node),
        ("origin", proto.origin),
        ("agent", proto.agent),
        ("conflictId", proto.conflict_id),
        ("message", proto.message),
    ):
        checks.text(f"{path}.{name}", text)
    time, at = proto.time, proto.sequence_time
    checks.count(f"{path}.time.wallNs", time.wall_ns)
    checks.count(f"{path}.time.counter", time.counter)
    if not (0 <= at.seconds <= _SECONDS_MAX and 0 <= at.nanos < SECOND_NS):
        checks.refuse(f"{path}.sequenceTime", "must be an instant from 1970 to 9999")
    return Entry(
        sequence=proto.sequence,
        id=proto.id,
        kind=kind,
        key=proto.key,
        digest=proto.digest,
        size=proto.size,
        version=proto.version,
        parent=proto.parent,
        time=HybridTime(time.wall_ns, time.counter, time.node),
        epoch=proto.epoch,
        origin=proto.origin,
        agent=proto.agent,
        sequenced_wall_ns=at.seconds * SECOND_NS + at.nanos,
        content=proto.content,
        format=proto.format,
        removed=proto.removed,
        conflict_id=proto.conflict_id,
        time_clamped=proto.time_clamped,
        message=proto.message,
    )


def _check_content(kind: EntryKind, proto: pb.Entry, checks: Checks, path: str) -> None:
    """Key, digest, size and document of an entry of that kind. Keys become paths at agents: none may lead astray."""
    bare = kind is EntryKind.HEARTBEAT or proto.removed
    if kind is EntryKind.HEARTBEAT:
        if proto.key:
            checks.refuse(f"{path}.key", "must be empty for a heartbeat")
    elif kind is EntryKind.MODEL and not is_model_name(proto.key):
        checks.refuse(f"{path}.key", MODEL_NAME_RULE)
    elif kind is EntryKind.CONFIG and not is_key(proto.key):
        checks.refuse(f"{path}.key", KEY_RULE)
    checks.count(f"{path}.size", proto.size)
    if not bare and not is_digest(proto.digest):
        checks.refuse(f"{path}.digest", DIGEST_RULE)
    if kind is EntryKind.CONFIG and not bare:
        if len(proto.content) > CONTENT_BYTES_MAX:
            checks.refuse(f"{path}.content", f"must be at most {CONTENT_BYTES_MAX} bytes")
        if proto.size != len(proto.content):
            checks.refuse(f"{path}.size", f"must be the {len(proto.content)} bytes of the content")
        if proto.format not in FORMATS:
            checks.refuse(f"{path}.format", f"must be one of {', '.join(sorted(FORMATS))}")
    elif proto.content:
        checks.refuse(f"{path}.content", "must be empty but for a document")

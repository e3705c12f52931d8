"""The log, its conflicts and the regions' progress as messages."""

from __future__ import annotations

from primacy.v1 import replication_pb2
from primacy.v1 import replication_service_pb2 as pb
from primacy_wire.entries import entry_to_proto
from primacy_wire.log_messages import Entry
from primacy_wire.messages import Lag

from primacy_coordinator.core.log_model import Appended, ConflictRecord
from primacy_coordinator.core.views import LogView, RegionLogView, Safety
from primacy_coordinator.rpc.lengths import render_instant, render_length


def render_entry(entry: Entry, safety: Safety | None = None, with_content: bool = False) -> replication_pb2.Entry:
    """An entry as operators see it. A write that did not enter the log has no number and no version."""
    rendered = entry_to_proto(entry, with_content)
    if not entry.sequence:
        for field in ("sequence", "version", "sequence_time"):
            rendered.ClearField(field)
    if safety is not None:
        rendered.safety = replication_pb2.EntrySafety.ValueType(safety)
    return rendered


def render_appended(appended: Appended) -> pb.AppendResponse:
    return pb.AppendResponse(
        sequence=appended.sequence,
        version=appended.version,
        outcome=pb.AppendOutcome.ValueType(appended.outcome),
        conflict_id=appended.conflict_id,
        at_risk=appended.at_risk,
    )


def render_conflict(conflict: ConflictRecord, with_content: bool = False) -> replication_pb2.Conflict:
    rendered = replication_pb2.Conflict(
        id=conflict.id,
        key=conflict.entry_key,
        kind=replication_pb2.EntryKind.ValueType(conflict.entry_kind),
        state=replication_pb2.ConflictState.ValueType(conflict.state),
        decided_by=conflict.decided_by,
        cause=conflict.cause,
        incoming=render_entry(conflict.incoming, with_content=with_content),
        result=conflict.result,
        clashes=conflict.clashes,
        create_time=render_instant(conflict.created_wall_ns),
        owner=conflict.owner,
    )
    if conflict.base is not None:
        rendered.base.CopyFrom(render_entry(conflict.base, with_content=with_content))
    if conflict.current is not None:
        rendered.current.CopyFrom(render_entry(conflict.current, with_content=with_content))
    if conflict.decided_wall_ns:
        rendered.decide_time.CopyFrom(render_instant(conflict.decided_wall_ns))
    return rendered


def render_status(group: str, view: LogView) -> pb.GetReplicationStatusResponse:
    response = pb.GetReplicationStatusResponse(
        group=group,
        head=view.head,
        first=view.first,
        regions=[_render_region(region) for region in view.regions],
        at_risk=[render_entry(entry, safety) for entry, safety in view.at_risk],
        at_risk_count=view.at_risk_count,
        open_conflicts=view.open_conflicts,
        stalled=view.stalled_ns >= 0,
    )
    if view.head_wall_ns:
        response.head_time.CopyFrom(render_instant(view.head_wall_ns))
    if view.stalled_ns >= 0:
        response.stalled_for.CopyFrom(render_length(view.stalled_ns))
    return response


def _render_region(view: RegionLogView) -> replication_pb2.RegionReplication:
    """A region that is not heard shows no figures: there are none that would be true."""
    rendered = replication_pb2.RegionReplication(region=view.region, heard=view.heard)
    if not view.heard:
        return rendered
    rendered.settled = view.settled
    rendered.uplink = view.uplink
    rendered.missing_models.extend(view.missing_models)
    rendered.parked.extend(
        replication_pb2.ParkedEntry(
            sequence=note.sequence, key=note.key, reason=note.reason, attempts=note.attempts, agent=agent
        )
        for agent, note in view.parked
    )
    rendered.transfers.extend(
        replication_pb2.Transfer(
            sequence=one.sequence, key=one.key, agent=one.agent, received=one.received, size=one.size
        )
        for one in view.transfers
    )
    if view.lag != Lag():
        rendered.lag_entries = view.lag.entries
        rendered.lag_bytes = view.lag.bytes
        rendered.lag_age.CopyFrom(render_length(view.lag.age_ns))
    return rendered

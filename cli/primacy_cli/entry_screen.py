"""One entry of the log, and which region has it."""

from __future__ import annotations

from primacy.v1 import replication_pb2
from primacy.v1.replication_pb2 import Entry, RegionReplication
from primacy.v1.replication_service_pb2 import GetReplicationStatusResponse
from rich.text import Text

from primacy_cli.tables import Renderable, facts, stack, table
from primacy_cli.words import clock, plural, size, word


def entry_screen(entry: Entry, status: GetReplicationStatusResponse) -> Renderable:
    kind = word(replication_pb2.EntryKind, entry.kind).lower()
    what = "removed" if entry.removed else size(entry.size)
    return stack(
        facts(
            [
                ("entry", str(entry.sequence)),
                ("key", f"{entry.key} ({kind}), version {entry.version}, {what}"),
                ("made from", f"entry {entry.parent}" if entry.parent else "nothing"),
                ("written by", f"{entry.agent}, believing in epoch {entry.epoch}"),
                ("sequenced", clock(entry.sequence_time) if entry.HasField("sequence_time") else ""),
                ("message", entry.message),
                ("conflict", f"`primacy conflict show {entry.conflict_id}`" if entry.conflict_id else ""),
                ("content", _safety(entry)),
                ("clock", "was too far ahead and was set back" if entry.time_clamped else ""),
                ("id", entry.id),
                ("digest", entry.digest),
            ]
        ),
        table(("REGION", "STATE"), [(region.region, _state(entry, region)) for region in status.regions])
        if status.regions
        else None,
    )


def _safety(entry: Entry) -> Text:
    return {
        replication_pb2.ENTRY_SAFETY_SAFE: Text("two regions or more have it"),
        replication_pb2.ENTRY_SAFETY_AT_RISK: Text("one region alone has it", style="yellow"),
        replication_pb2.ENTRY_SAFETY_UNAVAILABLE: Text("no region that is heard has it", style="bold red"),
    }.get(entry.safety, Text(""))


def _state(entry: Entry, region: RegionReplication) -> Text:
    for one in region.parked:
        if one.sequence == entry.sequence:
            return Text(f"parked after {plural(one.attempts, 'try')}: {one.reason}", style="bold red")
    if not region.heard:
        return Text("not heard", style="bold red")
    if region.settled >= entry.sequence:
        return Text("applied", style="green")
    return Text(f"not yet: {plural(entry.sequence - region.settled, 'entry')} to go", style="yellow")

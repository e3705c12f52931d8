"""`primacy replication`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.v1.replication_pb2 import RegionReplication
    from primacy.v1.replication_service_pb2 import GetReplicationStatusResponse


@click.command("replication")
@with_session
def command(session: Session) -> None:
    """Show how far each region has come in the log, and what is put aside or at risk.

    \b
    Examples:
        primacy replication
        primacy replication -o json
    """
    from primacy.v1.replication_service_pb2 import GetReplicationStatusRequest
    from primacy.v1.replication_service_pb2_grpc import ReplicationServiceStub

    request = GetReplicationStatusRequest(group=session.group)
    response = session.ask(ReplicationServiceStub(session.channel).GetReplicationStatus, request)
    session.show(response, lambda: _shown(response, session.wide))


def _shown(response: GetReplicationStatusResponse, wide: bool) -> Any:
    from primacy_cli.tables import facts, stack, table
    from primacy_cli.words import clock, length, plural

    head = f"entry {response.head}" if response.head else "the log is empty"
    if response.HasField("head_time") and response.head:
        head += f", sequenced {clock(response.head_time)}"
    notes = [("newest", head)]
    if response.stalled:
        notes.append(("stalled", f"the active region has written nothing for {length(response.stalled_for)}"))
    if response.open_conflicts:
        notes.append(("conflicts", f"{response.open_conflicts} open: primacy conflict list --state open"))
    if response.at_risk_count:
        some = ", ".join(f"{entry.key} ({entry.sequence})" for entry in response.at_risk[:5])
        more = ", …" if response.at_risk_count > 5 else ""
        notes.append(("at risk", f"{plural(response.at_risk_count, 'entry')} in fewer than two regions: {some}{more}"))
    rows = [_row(region, wide) for region in response.regions]
    heads = ("REGION", "APPLIED", "LAG", "BYTES", "AGE", "PARKED", *(("UPLINK",) if wide else ()), "NOTE")
    regions = table(heads, rows, right=("APPLIED", "LAG", "BYTES", "AGE", "PARKED", "UPLINK"))
    parked = [
        (str(one.sequence), one.key, one.agent, str(one.attempts), one.reason)
        for region in response.regions
        for one in region.parked
    ]
    aside = table(("ENTRY", "KEY", "AGENT", "TRIES", "PUT ASIDE BECAUSE"), parked, right=("ENTRY", "TRIES"))
    return stack(facts(notes), regions, aside if parked else None)


def _row(region: RegionReplication, wide: bool) -> list[str]:
    from primacy_cli.words import length, size

    notes = [] if region.heard else ["not heard: as far as it had come"]
    if region.missing_models:
        notes.append(f"lacks {', '.join(region.missing_models)}")
    row = [
        region.region,
        str(region.settled),
        str(region.lag_entries),
        size(region.lag_bytes),
        length(region.lag_age) if region.lag_entries else "-",
        str(len(region.parked)) if region.parked else "-",
    ]
    if wide:
        row.append(f"{size(region.uplink)}/s" if region.uplink else "-")
    return [*row, "; ".join(notes)]

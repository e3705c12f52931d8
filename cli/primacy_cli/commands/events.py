"""`primacy events`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.v1.status_service_pb2 import Event, ListEventsRequest

    from primacy_cli.tables import Renderable

SEVERITIES = {"info": 1, "warning": 2, "critical": 3}
"""Word -> Severity."""


@click.command("events")
@click.option("-f", "--follow", is_flag=True, help="Then print each new one as it happens, until Ctrl-C.")
@click.option(
    "-n", "--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="Newest events to show."
)
@click.option("--region", metavar="NAME", default="", help="Only about this region.")
@click.option("--kind", "kinds", multiple=True, help="Only of this kind. May be repeated.")
@click.option("--severity", type=click.Choice(list(SEVERITIES)), help="Only of at least this severity.")
@click.option("--failover", "move", metavar="ID", default="", help="Only of this move.")
@with_session
def command(
    session: Session,
    follow: bool,
    limit: int,
    region: str,
    kinds: tuple[str, ...],
    severity: str | None,
    move: str,
) -> None:
    """Show the journal: every decision, and every fact that one rests on. The newest stand last.

    \b
    Examples:
        primacy events -n 20
        primacy events --follow --severity warning
    """
    from primacy.v1.status_service_pb2 import ListEventsRequest, Severity
    from primacy.v1.status_service_pb2_grpc import StatusServiceStub

    request = ListEventsRequest(
        group=session.group,
        page_size=limit,
        region=region,
        kinds=kinds,
        min_severity=Severity.ValueType(SEVERITIES[severity] if severity else 0),
        failover_id=move,
    )
    if follow:
        _follow(session, request)
        return
    response = session.ask(StatusServiceStub(session.channel).ListEvents, request)
    session.show(response, lambda: _table(reversed(response.events), session.wide))


def _follow(session: Session, request: ListEventsRequest) -> None:
    from primacy.v1.status_service_pb2 import ListEventsRequest, WatchEventsRequest
    from primacy.v1.status_service_pb2_grpc import StatusServiceStub

    stub = StatusServiceStub(session.channel)
    # The watch goes on from the newest event before the list, so that none falls between; some then come twice.
    newest = session.ask(stub.ListEvents, ListEventsRequest(group=session.group, page_size=1))
    listed = session.ask(stub.ListEvents, request)
    _print(session, reversed(listed.events))
    printed = {event.sequence for event in listed.events}
    after = newest.events[0].sequence if newest.events else 0
    with session.failures():
        for batch in stub.WatchEvents(WatchEventsRequest(group=session.group, after_sequence=after)):
            fresh = (event for event in batch.events if event.sequence not in printed and _wanted(event, request))
            _print(session, fresh)


def _wanted(event: Event, request: ListEventsRequest) -> bool:
    return (
        (not request.region or event.region == request.region)
        and (not request.kinds or event.kind in request.kinds)
        and event.severity >= request.min_severity
        and (not request.failover_id or event.failover_id == request.failover_id)
    )


def _print(session: Session, events: Iterable[Event]) -> None:
    from primacy_cli.words import clock

    for event in events:
        if session.for_people:
            click.echo(f"{clock(event.time)}  {event.kind:<22}  {event.region:<14}  {event.message}")
        else:
            session.print_message(event, one_line=True)


def _table(events: Iterable[Event], wide: bool) -> Renderable:
    from primacy.v1 import status_service_pb2
    from rich.text import Text

    from primacy_cli.tables import table
    from primacy_cli.words import clock, word

    styles = {"WARNING": "yellow", "CRITICAL": "bold red"}
    rows = []
    for event in events:
        severity = word(status_service_pb2.Severity, event.severity)
        row: list[str | Text] = [
            clock(event.time),
            Text(severity, style=styles.get(severity, "")),
            event.kind,
            event.region,
        ]
        if wide:
            row += [str(event.sequence), str(event.epoch) if event.epoch else "", event.failover_id, event.inputs]
        rows.append([*row, event.message])
    wide_heads = ("SEQUENCE", "EPOCH", "MOVE", "INPUTS") if wide else ()
    heads = ("TIME", "SEVERITY", "KIND", "REGION", *wide_heads, "MESSAGE")
    return table(heads, rows, right=("SEQUENCE", "EPOCH")) if rows else "No such events."

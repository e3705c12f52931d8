"""`primacy events`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.v1.event_pb2 import Event
    from primacy.v1.status_service_pb2 import ListEventsRequest, WatchEventsResponse

    from primacy_cli.tables import Renderable

SEVERITIES = {"info": 1, "warning": 2, "critical": 3}
"""Word -> Severity."""


@click.command("events")
@click.option("-f", "--follow", is_flag=True, help="Then print each new one as it happens, until Ctrl-C.")
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1), help="Newest events to show.")
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
    from primacy.v1.event_pb2 import Severity
    from primacy.v1.status_service_pb2 import ListEventsRequest
    from primacy.v1.status_service_pb2_grpc import StatusServiceStub

    from primacy_cli.paging import all_pages

    request = ListEventsRequest(
        group=session.group,
        region=region,
        kinds=kinds,
        min_severity=Severity.ValueType(SEVERITIES[severity] if severity else 0),
        failover_id=move,
    )
    if follow:
        with suppress(KeyboardInterrupt):
            _follow(session, request, limit)
        return
    response = all_pages(session, StatusServiceStub(session.channel).ListEvents, request, "events", limit)
    session.show(response, lambda: _table(reversed(response.events), session.wide))


def _follow(session: Session, request: ListEventsRequest, limit: int) -> None:
    from primacy.v1.status_service_pb2 import ListEventsRequest, WatchEventsRequest
    from primacy.v1.status_service_pb2_grpc import StatusServiceStub

    from primacy_cli.paging import all_pages, watched

    stub = StatusServiceStub(session.channel)

    def newest() -> int:
        found = session.ask(stub.ListEvents, ListEventsRequest(group=session.group, page_size=1)).events
        return found[0].sequence if found else 0

    # The watch goes on from the newest event before the list, so that none falls between; some then come twice.
    after, began = newest(), False
    listed = all_pages(session, stub.ListEvents, request, "events", limit)
    _print(session, reversed(listed.events))
    printed = {event.sequence for event in listed.events}

    def begin() -> Iterator[WatchEventsResponse]:
        nonlocal after, began
        if began and newest() < after:
            session.note("this is another journal: it begins anew")
            after = 0
            printed.clear()
        began = True
        return stub.WatchEvents(WatchEventsRequest(group=session.group, after_sequence=after))

    for batch in watched(session, begin):
        _print(session, (event for event in batch.events if event.sequence not in printed and _wanted(event, request)))
        after = max([after, *(event.sequence for event in batch.events)])


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
    from primacy.v1 import event_pb2
    from rich.text import Text

    from primacy_cli.tables import table
    from primacy_cli.words import clock, word

    styles = {"WARNING": "yellow", "CRITICAL": "bold red"}
    rows = []
    for event in events:
        severity = word(event_pb2.Severity, event.severity)
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

"""`primacy watch`."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from primacy_cli.failures import CommandFailed
from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.v1.status_service_pb2 import GetStatusResponse

    from primacy_cli.watch_screen import Details

ANSWER_S_MAX = 2.0


@click.command("watch")
@click.option("--once", is_flag=True, help="Show the screen once and end.")
@click.option("--interval", default=1.0, show_default=True, type=click.FloatRange(0.1), help="Seconds between looks.")
@click.option("--events", default=15, show_default=True, type=click.IntRange(0, 20), help="Newest events, at most.")
@with_session
def command(session: Session, once: bool, interval: float, events: int) -> None:
    """Keep the whole group on one screen until Ctrl-C: the lease and what is left of it, alerts, regions, reads, round
    trips, replication, overrides, a move under way, and the newest events. A small terminal shows what matters most.

    Where there is no terminal it prints a line for each change instead; with -o json the whole status at each look.
    When the coordinator goes away it says since when, and goes on when it is back.

    \b
    Examples:
        primacy watch
        primacy watch --once
        primacy watch -o json --interval 5
    """
    status = _look(session)
    if once:
        _once(session, status, events)
        return
    with suppress(KeyboardInterrupt):
        _keep(session, status, interval, events)


def _look(session: Session) -> GetStatusResponse:
    from primacy.v1.status_service_pb2 import GetStatusRequest
    from primacy.v1.status_service_pb2_grpc import StatusServiceStub

    request = GetStatusRequest(group=session.group)
    return session.ask(StatusServiceStub(session.channel).GetStatus, request, seconds=ANSWER_S_MAX)


def _details(session: Session) -> Details:
    """What the status has not. A coordinator that cannot say is no reason to show nothing."""
    from primacy.v1.replication_service_pb2 import GetReplicationStatusRequest, GetReplicationStatusResponse
    from primacy.v1.replication_service_pb2_grpc import ReplicationServiceStub
    from primacy.v1.status_service_pb2 import ListAlertsRequest, ListAlertsResponse
    from primacy.v1.status_service_pb2_grpc import StatusServiceStub

    from primacy_cli.watch_screen import Details

    alerts: ListAlertsResponse | None = None
    replication: GetReplicationStatusResponse | None = None
    faults = ["", ""]
    asked = ListAlertsRequest(group=session.group)
    try:
        alerts = session.ask(StatusServiceStub(session.channel).ListAlerts, asked, seconds=ANSWER_S_MAX)
    except CommandFailed as failed:
        faults[0] = failed.message
    about = GetReplicationStatusRequest(group=session.group)
    stub = ReplicationServiceStub(session.channel)
    try:
        replication = session.ask(stub.GetReplicationStatus, about, seconds=ANSWER_S_MAX)
    except CommandFailed as failed:
        faults[1] = failed.message
    return Details(alerts, faults[0], replication, faults[1])


def _once(session: Session, status: GetStatusResponse, events: int) -> None:
    """For people all that the live screen has, however high it gets."""
    from primacy_cli.watching import Seen, screen

    if not session.for_people:
        session.print_message(status)
        return
    seen = Seen(status, time.monotonic(), details=_details(session))
    session.show(status, lambda: screen(seen, seen.at_s, session.address, events))


def _keep(session: Session, status: GetStatusResponse, interval_s: float, events: int) -> None:
    from primacy_cli.tables import is_screen
    from primacy_cli.watch_screen import Details
    from primacy_cli.watching import JsonLines, LiveScreen, PlainLines, Seen

    live = session.for_people and is_screen()
    view: JsonLines | LiveScreen | PlainLines
    if live:
        view = LiveScreen(session.address, events)
    else:
        view = PlainLines(session.address, events) if session.for_people else JsonLines(session)
    seen = Seen(status, time.monotonic(), details=_details(session) if live else Details())
    with view:
        while True:
            next_look_s = time.monotonic() + interval_s
            view.looked(seen)
            while (left_s := next_look_s - time.monotonic()) > 0:
                time.sleep(min(left_s, view.redraw_s))
                view.draw(seen, time.monotonic())
            try:
                status = _look(session)
                seen = Seen(status, time.monotonic(), details=_details(session) if live else Details())
            except CommandFailed as failed:
                if not failed.lost:
                    raise
                seen = seen.lost(failed.message)

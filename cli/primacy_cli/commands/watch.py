"""`primacy watch`."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from primacy_cli.failures import CommandFailed
from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.v1.status_service_pb2 import GetStatusResponse

    from primacy_cli.tables import Renderable

ANSWER_S_MAX = 2.0


@click.command("watch")
@click.option("--once", is_flag=True, help="Show the screen once and end.")
@click.option("--interval", default=1.0, show_default=True, type=click.FloatRange(0.1), help="Seconds between looks.")
@click.option("--events", default=8, show_default=True, type=click.IntRange(0, 20), help="Newest events to show.")
@with_session
def command(session: Session, once: bool, interval: float, events: int) -> None:
    """Keep the whole group on one screen until Ctrl-C: the lease and what is left of it, regions, reads, overrides, a
    move under way, and the newest events.

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
        session.show(status, lambda: _screen(status, events, session.wide))
        return
    with suppress(KeyboardInterrupt):
        _keep(session, status, interval, events)


def _look(session: Session) -> GetStatusResponse:
    from primacy.v1.status_service_pb2 import GetStatusRequest
    from primacy.v1.status_service_pb2_grpc import StatusServiceStub

    request = GetStatusRequest(group=session.group)
    return session.ask(StatusServiceStub(session.channel).GetStatus, request, seconds=ANSWER_S_MAX)


def _screen(status: GetStatusResponse, events: int, wide: bool) -> Renderable:
    from primacy_cli.group_screen import status_screen

    return status_screen(status, events, wide)


def _keep(session: Session, status: GetStatusResponse, interval_s: float, events: int) -> None:
    from primacy_cli.watching import JsonLines, LiveScreen, PlainLines, Seen

    seen = Seen(status, time.monotonic())
    view: JsonLines | LiveScreen | PlainLines
    if not session.for_people:
        view = JsonLines(session)
    elif sys.stdout.isatty():
        view = LiveScreen(session.address, events, session.wide)
    else:
        view = PlainLines(session.address, events)
    with view:
        while True:
            next_look_s = time.monotonic() + interval_s
            view.looked(seen)
            while (left_s := next_look_s - time.monotonic()) > 0:
                time.sleep(min(left_s, view.redraw_s))
                view.draw(seen, time.monotonic())
            try:
                seen = Seen(_look(session), time.monotonic())
            except CommandFailed as failed:
                if not failed.lost:
                    raise
                seen = seen.lost(failed.message)

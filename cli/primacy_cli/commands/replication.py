"""`primacy replication`."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from primacy_cli.failures import CommandFailed
from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.v1.replication_service_pb2 import GetReplicationStatusResponse

    from primacy_cli.tables import Renderable

ANSWER_S_MAX = 2.0


@click.command("replication")
@click.option("--watch", is_flag=True, help="Keep it up to date, until Ctrl-C.")
@click.option("--interval", default=1.0, show_default=True, type=click.FloatRange(0.1), help="Seconds between looks.")
@with_session
def command(session: Session, watch: bool, interval: float) -> None:
    """Show how far each region has come in the log, and what is parked or at risk.

    LAG counts the entries that a region has not applied yet, parked ones among them; AGE is how long the oldest of them
    has been in the log. A region that is not heard has no figures: none would be true.

    Where there is no terminal, --watch prints a line for each change instead; with -o json all of it at each look.

    \b
    Examples:
        primacy replication
        primacy replication --watch
        primacy replication -o json
    """
    status = _look(session)
    if not watch:
        session.show(status, lambda: _screen(status, session.wide))
        return
    with suppress(KeyboardInterrupt):
        if not session.for_people:
            _documents(session, status, interval)
        elif sys.stdout.isatty():
            _live(session, status, interval)
        else:
            _changes(session, status, interval)


def _look(session: Session) -> GetReplicationStatusResponse:
    from primacy.v1.replication_service_pb2 import GetReplicationStatusRequest
    from primacy.v1.replication_service_pb2_grpc import ReplicationServiceStub

    request = GetReplicationStatusRequest(group=session.group)
    return session.ask(ReplicationServiceStub(session.channel).GetReplicationStatus, request, seconds=ANSWER_S_MAX)


def _again(session: Session, interval_s: float) -> GetReplicationStatusResponse | CommandFailed:
    """The next look, or why there was no answer. Raises CommandFailed for a refusal."""
    time.sleep(interval_s)
    try:
        return _look(session)
    except CommandFailed as failed:
        if not failed.lost:
            raise
        return failed


def _screen(status: GetReplicationStatusResponse, wide: bool) -> Renderable:
    from primacy_cli.replication_table import replication_screen

    return replication_screen(status, wide)


def _documents(session: Session, status: GetReplicationStatusResponse, interval_s: float) -> None:
    found: GetReplicationStatusResponse | CommandFailed = status
    while True:
        if isinstance(found, CommandFailed):
            session.note(f"stale: {found.message}")
        else:
            session.print_message(found, one_line=True)
        found = _again(session, interval_s)


def _changes(session: Session, status: GetReplicationStatusResponse, interval_s: float) -> None:
    """A line for whatever is another than before."""
    from datetime import UTC, datetime

    from primacy_cli.replication_table import state_lines

    known: list[str] = []
    found: GetReplicationStatusResponse | CommandFailed = status
    while True:
        shown = [f"STALE: {found.message}"] if isinstance(found, CommandFailed) else state_lines(found)
        for line in shown:
            if line not in known:
                click.echo(f"{datetime.now(UTC).astimezone():%H:%M:%S}  {line}")
        known = shown
        found = _again(session, interval_s)


def _live(session: Session, status: GetReplicationStatusResponse, interval_s: float) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from primacy_cli.tables import stack
    from primacy_cli.words import span

    seen_s, fault = time.monotonic(), ""
    with Live(console=Console(highlight=False), auto_refresh=False, screen=True, vertical_overflow="crop") as live:
        while True:
            age = span(round((time.monotonic() - seen_s) * 1e9))
            head = Text(f"{session.address}. Ctrl-C ends this.", style="dim")
            if fault:
                head = Text(f"STALE: {fault}. What follows was so {age} ago.", style="bold red")
            live.update(stack(head, _screen(status, session.wide)), refresh=True)
            found = _again(session, interval_s)
            if isinstance(found, CommandFailed):
                fault = found.message
            else:
                status, seen_s, fault = found, time.monotonic(), ""

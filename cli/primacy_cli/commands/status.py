"""`primacy status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.v1.status_service_pb2 import GetStatusResponse

    from primacy_cli.tables import Renderable


@click.command("status")
@click.option("--events", default=5, show_default=True, type=click.IntRange(0, 1000), help="Newest events to show.")
@with_session
def command(session: Session, events: int) -> None:
    """Show the whole group on one screen: who is active, each region's health, and the newest events.

    \b
    Example:
        primacy status -o wide
    """
    from primacy.v1.status_service_pb2 import GetStatusRequest
    from primacy.v1.status_service_pb2_grpc import StatusServiceStub

    status = session.ask(StatusServiceStub(session.channel).GetStatus, GetStatusRequest(group=session.group))

    session.show(status, lambda: _screen(status, events, session.wide))


def _screen(status: GetStatusResponse, events: int, wide: bool) -> Renderable:
    from primacy_cli.group_screen import status_screen

    return status_screen(status, events, wide)

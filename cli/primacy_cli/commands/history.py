"""`primacy history`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.v1 import election_pb2, election_service_pb2

    from primacy_cli.tables import Renderable


@click.command("history")
@click.argument("move", metavar="[ID]", default="")
@click.option("-n", "--limit", default=20, show_default=True, type=click.IntRange(1), help="Newest moves to show.")
@with_session
def command(session: Session, move: str, limit: int) -> None:
    """Show past moves of the active lease, or one of them with its phases, evidence and candidates.

    \b
    Examples:
        primacy history
        primacy history ID -o wide
    """
    from primacy.v1.election_service_pb2 import GetFailoverRequest, ListFailoversRequest
    from primacy.v1.election_service_pb2_grpc import ElectionServiceStub

    from primacy_cli.paging import all_pages

    stub = ElectionServiceStub(session.channel)
    if move:
        one = session.ask(stub.GetFailover, GetFailoverRequest(group=session.group, id=move))
        session.show(one, lambda: _one(one.failover, session.wide))
        return
    many = all_pages(session, stub.ListFailovers, ListFailoversRequest(group=session.group), "failovers", limit)
    session.show(many, lambda: _many(many, session.wide))


def _one(failover: election_pb2.Failover, wide: bool) -> Renderable:
    from primacy_cli.elections_table import failover_details

    return failover_details(failover, wide)


def _many(response: election_service_pb2.ListFailoversResponse, wide: bool) -> Renderable:
    from primacy_cli.elections_table import failovers_table

    return failovers_table(response.failovers, wide) if response.failovers else "The lease never moved."

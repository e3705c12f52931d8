"""`primacy explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from primacy_cli.failures import USAGE, CommandFailed
from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.v1.election_service_pb2 import ExplainElectionResponse

    from primacy_cli.tables import Renderable


@click.command("explain")
@click.option("--if-down", metavar="REGION", default="", help="What would happen if this region died now.")
@click.argument("move", metavar="[FAILOVER_ID]", default="")
@with_session
def command(session: Session, if_down: str, move: str) -> None:
    """Explain an election: why this region, and the one rule that refuses each other one. Changes nothing.

    Alone it explains how an election would go now, and with the id of a past move how that one went.

    \b
    Examples:
        primacy explain
        primacy explain FAILOVER_ID         an id as `primacy history -o wide` shows it
        primacy explain --if-down us-east
    """
    from primacy.v1.election_service_pb2 import ExplainElectionRequest
    from primacy.v1.election_service_pb2_grpc import ElectionServiceStub

    if move and if_down:
        raise CommandFailed("FAILOVER_ID and --if-down exclude each other", USAGE, "primacy explain --help")
    request = ExplainElectionRequest(group=session.group, if_down=if_down, failover_id=move)
    response = session.ask(ElectionServiceStub(session.channel).ExplainElection, request)
    session.show(response, lambda: _explained(response, bool(move)))


def _explained(response: ExplainElectionResponse, past: bool) -> Renderable:
    from primacy.v1 import policy_pb2

    from primacy_cli.elections_table import candidates_table
    from primacy_cli.tables import facts, stack
    from primacy_cli.words import word

    moves = "by itself" if response.would_move else "not by itself: `primacy failover` would"
    return stack(
        facts(
            [
                ("active", "" if past else response.active_region or "none"),
                ("winner", response.winner or "none"),
                ("strategy", word(policy_pb2.ElectionStrategy, response.strategy)),
                ("moves", "" if past or response.winner in ("", response.active_region) else moves),
                ("why", response.explanation),
            ]
        ),
        candidates_table(response.candidates),
    )

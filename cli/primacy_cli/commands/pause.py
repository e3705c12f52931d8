"""`primacy pause` and `primacy resume`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from primacy_cli.overriding import Terms, agree, owner_option, owner_or_login, with_terms
from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.v1.override_pb2 import Override


@click.command("pause")
@with_session
@with_terms
def command(session: Session, terms: Terms, dry_run: bool, yes: bool) -> None:
    """Put off automatic moves of the lease. `primacy failover` still works, and the lease goes on being renewed.

    Says what is at stake and asks, unless --yes is given.

    \b
    Examples:
        primacy pause --reason "rack move" --for 20m
    """
    from primacy.v1.election_service_pb2 import PauseElectionRequest
    from primacy.v1.election_service_pb2_grpc import ElectionServiceStub

    request = PauseElectionRequest(group=session.group, validate_only=True)
    terms.fill(request)
    stub = ElectionServiceStub(session.channel)
    if dry_run or not yes:
        planned = session.ask(stub.PauseElection, request)
        lines = _plan_lines(session, planned.pause)
        if dry_run:
            session.show(planned, lambda: "\n".join(lines))
            return
        agree(session, lines, "Pause automatic moves?", yes)
    request.validate_only = False
    response = session.ask(stub.PauseElection, request)
    session.show(
        response, lambda: f"{_until(response.pause)} no lease moves by itself. `primacy resume` ends it sooner."
    )


def _plan_lines(session: Session, pause: Override) -> list[str]:
    from primacy.v1.election_service_pb2 import GetActiveRegionRequest
    from primacy.v1.election_service_pb2_grpc import ElectionServiceStub

    asked = GetActiveRegionRequest(group=session.group)
    active = session.ask(ElectionServiceStub(session.channel).GetActiveRegion, asked).region
    stake = f"If {active} fails meanwhile" if active else "No region is active now"
    return [
        f"{_until(pause)} no region takes over by itself.",
        f"{stake}: the group stays without one until somebody runs `primacy failover` or `primacy resume`.",
    ]


def _until(pause: Override) -> str:
    from primacy_cli.words import clock, length

    return f"For {length(pause.remaining)}, until {clock(pause.expire_time)},"


@click.command("resume")
@owner_option
@with_session
def resume(session: Session, owner: str) -> None:
    """Let the lease move by itself again. A failover that was put off begins now.

    \b
    Example:
        primacy resume
    """
    from primacy.v1.election_service_pb2 import ResumeElectionRequest
    from primacy.v1.election_service_pb2_grpc import ElectionServiceStub

    request = ResumeElectionRequest(group=session.group, owner=owner_or_login(owner))
    response = session.ask(ElectionServiceStub(session.channel).ResumeElection, request)
    session.show(response, lambda: "The lease moves by itself again.")

"""`primacy cordon` and `primacy uncordon`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from primacy_cli.overriding import Terms, agree, owner_option, owner_or_login, with_terms
from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.v1.region_pb2 import Region

    from primacy_cli.tables import Renderable


@click.command("cordon")
@click.argument("name", metavar="REGION")
@with_session
@with_terms
def command(session: Session, name: str, terms: Terms, dry_run: bool, yes: bool) -> None:
    """Forbid a region to become active. Its traffic stays, and so does a lease that it holds.

    Shows who could still take over and asks, unless --yes is given.

    \b
    Examples:
        primacy cordon ap-south --reason "its disk is nearly full" --for 4h
    """
    from primacy.v1.region_service_pb2 import CordonRegionRequest
    from primacy.v1.region_service_pb2_grpc import RegionServiceStub

    request = CordonRegionRequest(group=session.group, name=name, validate_only=True)
    terms.fill(request)
    stub = RegionServiceStub(session.channel)
    if dry_run or not yes:
        planned = session.ask(stub.CordonRegion, request)
        lines = _plan_lines(session, planned.region)
        if dry_run:
            session.show(planned, lambda: "\n".join(lines))
            return
        agree(session, lines, f"Cordon {name}?", yes)
    request.validate_only = False
    response = session.ask(stub.CordonRegion, request)
    session.show(response, lambda: _cordoned(response.region))


def _plan_lines(session: Session, region: Region) -> list[str]:
    """Who is left to take over when the active region fails while this one must not."""
    from primacy.v1.election_service_pb2 import ExplainElectionRequest
    from primacy.v1.election_service_pb2_grpc import ElectionServiceStub

    stub = ElectionServiceStub(session.channel)
    now = session.ask(stub.ExplainElection, ExplainElectionRequest(group=session.group))
    if region.active:
        return [
            f"{region.name} stays active until the lease moves for another reason; then it cannot have it back.",
        ]
    if_down = ExplainElectionRequest(group=session.group, if_down=now.active_region)
    then = session.ask(stub.ExplainElection, if_down) if now.active_region else now
    others = [each.region for each in then.candidates if each.eligible and each.region != region.name]
    event = f"If {now.active_region} fails meanwhile" if now.active_region else "No region is active: now"
    if others:
        return [f"{event}, {others[0]} can take over."]
    return [f"{event}, NO region can take over."]


def _cordoned(region: Region) -> Renderable:
    from primacy_cli.overrides_table import overrides_table
    from primacy_cli.tables import stack

    return stack(overrides_table(region.overrides), f"It ends by itself, or with `primacy uncordon {region.name}`.")


@click.command("uncordon")
@click.argument("name", metavar="REGION")
@owner_option
@with_session
def uncordon(session: Session, name: str, owner: str) -> None:
    """Let a cordoned region become active again. It moves no lease.

    \b
    Example:
        primacy uncordon ap-south
    """
    from primacy.v1.region_service_pb2 import UncordonRegionRequest
    from primacy.v1.region_service_pb2_grpc import RegionServiceStub

    request = UncordonRegionRequest(group=session.group, name=name, owner=owner_or_login(owner))
    response = session.ask(RegionServiceStub(session.channel).UncordonRegion, request)
    session.show(response, lambda: f"{name} may become active again; see `primacy readiness`.")

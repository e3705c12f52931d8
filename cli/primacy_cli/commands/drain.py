"""`primacy drain` and `primacy undrain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from primacy_cli.failures import REFUSED, TIMED_OUT, CommandFailed
from primacy_cli.overriding import Terms, agree, owner_option, owner_or_login, rule_option, with_terms
from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.v1.region_pb2 import Region
    from primacy.v1.region_service_pb2 import DrainRegionRequest, DrainRegionResponse

    from primacy_cli.tables import Renderable


@click.command("drain")
@click.argument("name", metavar="REGION")
@with_session
@with_terms
@rule_option
@click.option("--wait/--no-wait", default=True, show_default=True, help="Return when its traffic is gone.")
@click.option("--timeout", default=300.0, show_default=True, type=click.FloatRange(0.1), help="Seconds to wait for it.")
def command(
    session: Session,
    name: str,
    terms: Terms,
    overrides: tuple[str, ...],
    wait: bool,
    timeout: float,
    dry_run: bool,
    yes: bool,
) -> None:
    """Take traffic off a region, for maintenance. The active region gives its lease to another one first.

    Shows what would happen and asks, unless --yes is given. The drain ends by itself (--for, --until), or with
    `primacy undrain`.

    \b
    Examples:
        primacy drain us-east --reason "new kernel" --for 30m
        primacy drain us-east --reason "fire" --override NO_TARGET --yes
    """
    from primacy.v1.region_service_pb2 import DrainRegionRequest
    from primacy.v1.region_service_pb2_grpc import RegionServiceStub

    request = DrainRegionRequest(
        group=session.group, name=name, override_rules=[rule.upper() for rule in overrides], validate_only=True
    )
    terms.fill(request)
    stub = RegionServiceStub(session.channel)
    if dry_run or not yes:
        planned = session.ask(stub.DrainRegion, request)
        lines = _plan_lines(session, planned)
        if dry_run:
            session.show(planned, lambda: "\n".join(lines))
            return
        agree(session, lines, f"Drain {name}?", yes)
    request.validate_only = False
    response = session.ask(stub.DrainRegion, request)
    if wait:
        _await_drained(session, request, response, timeout)
    session.show(response, lambda: _drained(response.region))


def _plan_lines(session: Session, planned: DrainRegionResponse) -> list[str]:
    from primacy_cli.costs import traffic_lines

    lines = traffic_lines(session, planned.region)
    if planned.HasField("failover") and planned.failover.HasField("price"):
        from primacy_cli.prices import price_text

        lines.append(f"Moving the lease to {planned.failover.to_region}: {price_text(planned.failover.price)}.")
    return lines + [f"  {index}. {step}" for index, step in enumerate(planned.steps, 1)]


def _await_drained(
    session: Session, request: DrainRegionRequest, response: DrainRegionResponse, seconds: float
) -> None:
    from primacy.v1 import override_pb2

    from primacy_cli.costs import get_region
    from primacy_cli.waiting import look_until

    name = request.name
    region = look_until(
        response.region,
        lambda: get_region(session, name),
        lambda seen: seen.drain_state != override_pb2.DRAIN_STATE_DRAINING,
        _progress_line,
        seconds,
        CommandFailed(f"{name} is not drained after {seconds:g} s; the drain goes on", TIMED_OUT, "primacy overrides"),
    )
    response.region.CopyFrom(region)
    if region.drain_state != override_pb2.DRAIN_STATE_DRAINED:
        raise CommandFailed(f"the drain of {name} was taken back", REFUSED, f"primacy events --region {name}")


def _progress_line(region: Region) -> str:
    from primacy.v1 import override_pb2

    from primacy_cli.overrides_table import override_note

    notes = [override_note(each) for each in region.overrides if each.kind == override_pb2.OVERRIDE_KIND_DRAIN]
    return f"{region.name}: {notes[0] if notes else 'draining'}"


def _drained(region: Region) -> Renderable:
    from primacy_cli.overrides_table import overrides_table
    from primacy_cli.tables import stack

    undo = f"It ends by itself, or with `primacy undrain {region.name}`."
    return stack(overrides_table(region.overrides), undo)


@click.command("undrain")
@click.argument("name", metavar="REGION")
@owner_option
@with_session
def undrain(session: Session, name: str, owner: str) -> None:
    """Give a drained region its traffic back, slowly. The lease stays where it is.

    \b
    Example:
        primacy undrain us-east
    """
    from primacy.v1.region_service_pb2 import UndrainRegionRequest
    from primacy.v1.region_service_pb2_grpc import RegionServiceStub

    request = UndrainRegionRequest(group=session.group, name=name, owner=owner_or_login(owner))
    response = session.ask(RegionServiceStub(session.channel).UndrainRegion, request)
    session.show(response, lambda: f"{name} gets its traffic back; see `primacy weights`.")

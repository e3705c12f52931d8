"""`primacy regions`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from primacy_cli.failures import USAGE, CommandFailed
from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.v1.region_pb2 import Region
    from primacy.v1.region_service_pb2 import DeregisterRegionRequest, ListRegionsResponse

    from primacy_cli.tables import Renderable

CLEARABLE = ("location", "priority", "capacity", "endpoint", "labels")


@click.group("regions", invoke_without_command=True)
@with_session
@click.pass_context
def command(context: click.Context, session: Session) -> None:
    """Show and change the regions of the group. Alone, it lists them.

    \b
    Examples:
        primacy regions
        primacy regions show us-east
        primacy regions update us-east --priority 120
    """
    if context.invoked_subcommand is None:
        _list(session)


@command.command("list")
@with_session
def list_regions(session: Session) -> None:
    """List every region with its health.

    \b
    Example:
        primacy regions list -o wide
    """
    _list(session)


def _list(session: Session) -> None:
    from primacy.v1.region_service_pb2 import ListRegionsRequest
    from primacy.v1.region_service_pb2_grpc import RegionServiceStub

    from primacy_cli.paging import all_pages

    stub = RegionServiceStub(session.channel)
    response = all_pages(session, stub.ListRegions, ListRegionsRequest(group=session.group), "regions")
    session.show(response, lambda: _listed(response, session.wide))


def _listed(response: ListRegionsResponse, wide: bool) -> Renderable:
    from primacy_cli.regions_table import regions_table

    return regions_table(response.regions, wide=wide) if response.regions else "No region is registered."


@command.command("show")
@click.argument("name", metavar="REGION")
@with_session
def show(session: Session, name: str) -> None:
    """Show one region with its agents, their probes, and what its status rests on.

    \b
    Example:
        primacy regions show us-east
    """
    from primacy.v1.region_service_pb2 import GetRegionRequest
    from primacy.v1.region_service_pb2_grpc import RegionServiceStub

    request = GetRegionRequest(group=session.group, name=name)
    response = session.ask(RegionServiceStub(session.channel).GetRegion, request)
    session.show(response, lambda: _details(response.region))


def _settings(function: Callable[..., None]) -> Callable[..., None]:
    """What can be set of a region."""
    for option in reversed(
        (
            click.option("--priority", type=int, metavar="N", help="The higher, the more preferred."),
            click.option("--capacity", type=float, metavar="N", help="Requests per second; 0: not known."),
            click.option("--location", metavar="LAT,LON", help="Degrees north and east, e.g. 38.9,-77.4."),
            click.option("--endpoint", metavar="HOST:PORT", help="Where clients of its service go."),
            click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="May be repeated."),
            click.option("--dry-run", is_flag=True, help="Check everything, and change nothing."),
        )
    ):
        function = option(function)
    return function


@command.command("register")
@click.argument("name", metavar="REGION")
@_settings
@with_session
def register(session: Session, name: str, dry_run: bool, **settings: Any) -> None:
    """Register a region, also one whose agents have not come yet.

    \b
    Example:
        primacy regions register eu-west --priority 90 --location 53.3,-6.3
    """
    from primacy.v1.region_service_pb2 import RegisterRegionRequest
    from primacy.v1.region_service_pb2_grpc import RegionServiceStub

    region, _ = _region(name, **settings)
    request = RegisterRegionRequest(group=session.group, region=region, validate_only=dry_run)
    response = session.ask(RegionServiceStub(session.channel).RegisterRegion, request)
    session.show(response, lambda: _details(response.region))


@command.command("update")
@click.argument("name", metavar="REGION")
@_settings
@click.option(
    "--clear",
    multiple=True,
    type=click.Choice(CLEARABLE),
    help="Forget what was set: the agents' own configuration counts again. May be repeated.",
)
@click.option("--etag", default="", help="Only if this is still the region's etag.")
@with_session
def update(session: Session, name: str, dry_run: bool, clear: tuple[str, ...], etag: str, **settings: Any) -> None:
    """Set values of a region; they win over what its agents say. What is not named stays. Labels are set as a whole.

    \b
    Examples:
        primacy regions update us-east --priority 120
        primacy regions update us-east --clear priority
    """
    from google.protobuf.field_mask_pb2 import FieldMask
    from primacy.v1.region_service_pb2 import UpdateRegionRequest
    from primacy.v1.region_service_pb2_grpc import RegionServiceStub

    region, given = _region(name, **settings)
    region.etag = etag
    both = sorted(set(given) & set(clear))
    if both:
        raise CommandFailed(f"{', '.join(both)}: given and cleared at once", USAGE, "primacy regions update --help")
    if not given and not clear:
        raise CommandFailed("nothing to set or to clear was given", USAGE, "primacy regions update --help")
    mask = FieldMask(paths=[*given, *clear])
    request = UpdateRegionRequest(group=session.group, region=region, update_mask=mask, validate_only=dry_run)
    response = session.ask(RegionServiceStub(session.channel).UpdateRegion, request)
    session.show(response, lambda: _details(response.region))


@command.command("deregister")
@click.argument("name", metavar="REGION")
@click.option("--override", "overrides", multiple=True, metavar="RULE", help="Pass over a rule, e.g. LIVE_SESSIONS.")
@click.option("--etag", default="", help="Only if this is still the region's etag.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_session
def deregister(session: Session, name: str, overrides: tuple[str, ...], etag: str, dry_run: bool, yes: bool) -> None:
    """Remove a region and its agents from the group.

    Shows what would be lost and asks, unless --yes is given. Refused for the active region, and while its agents are
    connected.

    \b
    Example:
        primacy regions deregister ap-south
    """
    from primacy.v1.region_service_pb2 import DeregisterRegionRequest
    from primacy.v1.region_service_pb2_grpc import RegionServiceStub

    request = DeregisterRegionRequest(
        group=session.group, name=name, etag=etag, override_rules=[rule.upper() for rule in overrides]
    )
    stub = RegionServiceStub(session.channel)
    if dry_run or not yes:
        checked = DeregisterRegionRequest()
        checked.CopyFrom(request)
        checked.validate_only = True
        answer = session.ask(stub.DeregisterRegion, checked)
        _cost(session, request)
        if dry_run:
            session.show(answer, lambda: f"{name} would be removed.")
            return
        session.confirm(f"Remove region {name}?")
    response = session.ask(stub.DeregisterRegion, request)
    session.show(response, lambda: f"{name} is removed.")


def _cost(session: Session, request: DeregisterRegionRequest) -> None:
    """Say what the group loses, and pin the request to what was said."""
    from primacy_cli.costs import get_region, traffic_lines
    from primacy_cli.words import plural

    region = get_region(session, request.name)
    for line in traffic_lines(session, region):
        session.note(line)
    connected = sum(agent.connected for agent in region.agents)
    if connected:
        session.note(f"{plural(connected, 'agent')} of it would be sent away, and may register it again.")
    request.etag = request.etag or region.etag


def _region(
    name: str,
    priority: int | None,
    capacity: float | None,
    location: str | None,
    endpoint: str | None,
    labels: tuple[str, ...],
) -> tuple[Region, list[str]]:
    """The region with what was given, and which fields that is. The coordinator judges the values."""
    from primacy.v1.region_pb2 import Region

    region = Region(name=name, priority=priority, capacity=capacity)
    given = [field for field, value in (("priority", priority), ("capacity", capacity)) if value is not None]
    if location is not None:
        try:
            latitude, longitude = (float(part) for part in location.split(","))
        except ValueError as error:
            raise click.BadParameter("must be LAT,LON, e.g. 38.9,-77.4", param_hint="--location") from error
        region.location.latitude, region.location.longitude = latitude, longitude
        given.append("location")
    if endpoint is not None:
        region.endpoint = endpoint
        given.append("endpoint")
    for label in labels:
        key, equals, value = label.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"must be KEY=VALUE, got {label!r}", param_hint="--label")
        region.labels[key] = value
    if labels:
        given.append("labels")
    return region, given


def _details(region: Region) -> Renderable:
    from primacy.v1 import agent_pb2

    from primacy_cli.group_screen import shunning
    from primacy_cli.overrides_table import overrides_table
    from primacy_cli.prices import lag_text
    from primacy_cli.regions_table import role_text, status_text
    from primacy_cli.tables import facts, lines, stack, table
    from primacy_cli.words import clock, length, number, word

    place = region.location
    agents = [
        (
            agent.agent,
            "yes" if agent.connected else "no",
            word(agent_pb2.Phase, agent.phase).lower(),
            str(agent.held_epoch) if agent.held_epoch else "",
            f"{agent.healthy}/{agent.total}",
            length(agent.last_report_age) if agent.HasField("last_report_age") else "",
            agent.host,
            agent.peer_address,
            agent.reason,
        )
        for agent in region.agents
    ]
    probes = [
        (agent.agent, probe.name, probe.kind, _verdict(probe), probe.target, probe.message)
        for agent in region.agents
        for probe in agent.detail.probes
    ]
    return stack(
        facts(
            [
                ("region", region.name),
                ("status", status_text(region.status)),
                ("why", region.status_reason),
                ("since", clock(region.status_since_time) if region.HasField("status_since_time") else ""),
                ("role", role_text(region)),
                ("data is behind by", lag_text(region.lag)),
                (
                    "fell lately",
                    f"{number(region.flap_penalty)} times, older ones count less" if region.flap_penalty else "",
                ),
                ("priority", str(region.priority)),
                ("capacity", f"{number(region.capacity)}/s" if region.capacity else "not known"),
                ("location", f"{place.latitude:g},{place.longitude:g}" if region.HasField("location") else ""),
                ("endpoint", region.endpoint),
                ("labels", ", ".join(f"{key}={value}" for key, value in sorted(region.labels.items()))),
                ("etag", region.etag),
                ("local shift", shunning([region])),
            ]
        ),
        overrides_table(region.overrides) if region.overrides else None,
        lines(region.evidence) if region.evidence else None,
        table(("AGENT", "CONNECTED", "PHASE", "EPOCH", "HEALTHY", "REPORT", "HOST", "ADDRESS", "WHY"), agents)
        if agents
        else "No agent of it has come yet.",
        table(("AGENT", "PROBE", "KIND", "HEALTHY", "LOOKS AT", "SAW"), probes) if probes else None,
    )


def _verdict(probe: Any) -> str:
    if not probe.HasField("healthy"):
        return "?"
    return "yes" if probe.healthy else "no"

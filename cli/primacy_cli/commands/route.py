"""`primacy route`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from primacy_cli.commands.weights import CLASSES
from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.v1.routing_pb2 import TrafficClass
    from primacy.v1.routing_service_pb2 import GetRoutingStatsResponse

    from primacy_cli.tables import Renderable


@click.command("route")
@click.option("--from", "client", metavar="REGION", default="", help="The region that the request comes from.")
@click.option("--location", metavar="LAT,LON", help="Where it comes from, when no region is named.")
@click.option("--key", default="", help="Requests with the same key go to the same region.")
@click.option("--class", "traffic", type=click.Choice(list(CLASSES)), default="read", show_default=True)
@click.option("--stats", is_flag=True, help="Show instead how agents have routed so far.")
@click.option("--agent", metavar="HOST:PORT", help="Ask this agent, which answers without the coordinator.")
@with_session
def command(
    session: Session, client: str, location: str | None, key: str, traffic: str, stats: bool, agent: str | None
) -> None:
    """Ask where one request should go.

    \b
    Examples:
        primacy route --from us-east
        primacy route --location 48.1,11.6 --class write
        primacy route --agent 127.0.0.1:7410
    """
    from primacy.v1.region_pb2 import Location
    from primacy.v1.routing_pb2 import TrafficClass

    session.agent = agent or session.agent
    if stats:
        _stats(session, client)
        return
    place = None
    if location is not None:
        latitude, longitude = _numbers(location)
        place = Location(latitude=latitude, longitude=longitude)
    wanted = {"client_region": client, "location": place, "affinity_key": key}
    response = _ask(session, TrafficClass.ValueType(CLASSES[traffic]), wanted)
    session.show(response, lambda: _picked(response))


def _numbers(location: str) -> tuple[float, float]:
    try:
        latitude, longitude = location.split(",")
        return float(latitude), float(longitude)
    except ValueError as error:
        raise click.BadParameter("must be LATITUDE,LONGITUDE, e.g. 48.1,11.6", param_hint="--location") from error


def _ask(session: Session, kind: TrafficClass.ValueType, wanted: dict[str, Any]) -> Any:
    """The coordinator's answer or, when one is named, the agent's."""
    from primacy.agent.v1 import local_service_pb2
    from primacy.agent.v1.local_service_pb2_grpc import LocalServiceStub
    from primacy.v1 import routing_service_pb2
    from primacy.v1.routing_service_pb2_grpc import RoutingServiceStub

    if session.agent:
        local = local_service_pb2.RouteRequest(group=session.group, traffic_class=kind, **wanted)
        return session.ask(LocalServiceStub(session.agent_channel).Route, local, at_agent=True)
    request = routing_service_pb2.RouteRequest(group=session.group, traffic_class=kind, **wanted)
    return session.ask(RoutingServiceStub(session.channel).Route, request)


def _picked(response: Any) -> Renderable:
    from primacy_cli.tables import facts

    return facts(
        [
            ("region", response.region),
            ("endpoint", response.endpoint or "none is known"),
            ("why", response.reason),
            ("alternatives", ", ".join(response.alternatives)),
            ("epoch", str(response.epoch) if response.epoch else ""),
        ]
    )


def _stats(session: Session, client: str) -> None:
    from primacy.v1.routing_service_pb2 import GetRoutingStatsRequest
    from primacy.v1.routing_service_pb2_grpc import RoutingServiceStub

    request = GetRoutingStatsRequest(group=session.group, client_region=client)
    response = session.ask(RoutingServiceStub(session.channel).GetRoutingStats, request)
    session.show(response, lambda: _stats_shown(response))


def _stats_shown(response: GetRoutingStatsResponse) -> Renderable:
    from primacy.v1 import routing_pb2

    from primacy_cli.tables import table
    from primacy_cli.words import word

    rows = [
        (
            stat.agent,
            stat.client_region,
            stat.target_region or "-",
            word(routing_pb2.TrafficClass, stat.traffic_class).lower(),
            word(routing_pb2.RoutingStrategy, stat.strategy),
            stat.outcome,
            str(stat.count),
            f"{stat.rate:.1f}/s" if stat.rate else "",
        )
        for stat in response.stats
    ]
    heads = ("AGENT", "FROM", "TO", "CLASS", "STRATEGY", "OUTCOME", "COUNT", "RATE")
    return table(heads, rows, right=("COUNT", "RATE")) if rows else "Nothing was routed yet."

"""`primacy weights`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.v1.routing_service_pb2 import GetWeightsResponse, WatchWeightsResponse

    from primacy_cli.tables import Renderable

CLASSES = {"read": 1, "write": 2}
"""Word -> TrafficClass."""


@click.command("weights")
@click.option("--class", "traffic", type=click.Choice(list(CLASSES)), default="read", show_default=True)
@click.option("--from", "client", metavar="REGION", default="", help="Only traffic from this region.")
@click.option("--watch", is_flag=True, help="Print again at every change, until Ctrl-C.")
@with_session
def command(session: Session, traffic: str, client: str, watch: bool) -> None:
    """Show how traffic is spread: a row for each region that it comes from, a column for each that it goes to.

    \b
    Examples:
        primacy weights --from us-east
        primacy weights --class write
    """
    from primacy.v1.routing_pb2 import TrafficClass
    from primacy.v1.routing_service_pb2 import GetWeightsRequest, WatchWeightsRequest
    from primacy.v1.routing_service_pb2_grpc import RoutingServiceStub

    stub = RoutingServiceStub(session.channel)
    kind = TrafficClass.ValueType(CLASSES[traffic])
    if not watch:
        request = GetWeightsRequest(group=session.group, client_region=client, traffic_class=kind)
        response = session.ask(stub.GetWeights, request)
        session.show(response, lambda: _matrix(response, session.wide))
        return
    from primacy_cli.paging import watched

    wanted = WatchWeightsRequest(group=session.group, client_region=client, traffic_class=kind)
    for change in watched(session, lambda: stub.WatchWeights(wanted)):
        _show_change(session, change)


def _show_change(session: Session, change: WatchWeightsResponse) -> None:
    if session.for_people:
        session.show(change, lambda: _matrix(change, session.wide))
        click.echo()
    else:
        session.print_message(change, one_line=True)


def _matrix(response: GetWeightsResponse | WatchWeightsResponse, wide: bool) -> Renderable:
    from primacy.v1 import routing_pb2

    from primacy_cli.tables import facts, stack, table
    from primacy_cli.words import share, word

    regions = sorted({region for row in response.rows for region in row.weights})
    rows = [(row.client_region, *(share(row.weights.get(region, 0.0)) for region in regions)) for row in response.rows]
    strategy = word(routing_pb2.RoutingStrategy, response.strategy) or "to the active region"
    reasons = sorted(response.reasons.items())
    return stack(
        facts(
            [
                ("strategy", strategy),
                ("version", str(response.version)),
                ("panic", "so few regions look healthy that reads ignore health" if response.panic else ""),
            ]
        ),
        table(("FROM \\ TO", *regions), rows, right=regions) if rows else "No region is registered.",
        table(("REGION", "WHY"), reasons) if wide and reasons else None,
    )

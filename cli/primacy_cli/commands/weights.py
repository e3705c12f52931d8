"""`primacy weights`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import click

from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from collections.abc import Iterable

    from primacy.v1.routing_pb2 import ShareCauses, WeightsRow
    from primacy.v1.routing_service_pb2 import GetWeightsResponse, WatchWeightsResponse

    from primacy_cli.tables import Renderable

CLASSES = {"read": 1, "write": 2}
"""Word -> TrafficClass."""


@click.command("weights")
@click.option("--class", "traffic", type=click.Choice(list(CLASSES)), default="read", show_default=True)
@click.option("--from", "client", metavar="REGION", default="", help="Only traffic from this region.")
@click.option("--explain", is_flag=True, help="Each share as the sum of what gives to it and takes from it.")
@click.option("--watch", is_flag=True, help="Print again at every change, until Ctrl-C.")
@with_session
def command(session: Session, traffic: str, client: str, explain: bool, watch: bool) -> None:
    """Show how traffic is spread: a row for each region that it comes from, a column for each that it goes to.

    \b
    Examples:
        primacy weights --from us-east
        primacy weights --explain
        primacy weights --explain -o wide   (also the regions that get nothing because others are nearer)
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
        session.show(response, lambda: _shown(response, explain, session.wide))
        return
    from primacy_cli.paging import watched

    wanted = WatchWeightsRequest(group=session.group, client_region=client, traffic_class=kind)
    with suppress(KeyboardInterrupt):
        for change in watched(session, lambda: stub.WatchWeights(wanted)):
            _show_change(session, change, explain)


def _show_change(session: Session, change: WatchWeightsResponse, explain: bool) -> None:
    if session.for_people:
        session.show(change, lambda: _shown(change, explain, session.wide))
        click.echo()
    else:
        session.print_message(change, one_line=True)


def _shown(response: GetWeightsResponse | WatchWeightsResponse, explain: bool, wide: bool) -> Renderable:
    from primacy.v1 import routing_pb2

    from primacy_cli.tables import facts, stack, table
    from primacy_cli.words import word

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
        _sums(response.rows, wide) if explain else _matrix(response.rows),
        table(("REGION", "WHY"), reasons) if (wide or explain) and reasons else None,
    )


def _matrix(given: Iterable[WeightsRow]) -> Renderable:
    from primacy_cli.tables import table
    from primacy_cli.words import share

    known = list(given)
    regions = sorted({region for row in known for region in row.weights})
    rows = [(row.client_region, *(share(row.weights.get(region, 0.0)) for region in regions)) for row in known]
    return table(("FROM \\ TO", *regions), rows, right=regions) if rows else "No region is registered."


def _sums(given: Iterable[WeightsRow], wide: bool) -> Renderable:
    """A line for each share: the causes add up to it. A region that is only too far away has none, unless `wide`."""
    from primacy_cli.tables import table

    rows = [
        (row.client_region, region, _points(value), _sum(row.causes[region]) if region in row.causes else "")
        for row in given
        for region, value in sorted(row.weights.items())
        if value or _is_told(row.causes.get(region), wide)
    ]
    return table(("FROM", "TO", "SHARE", "BECAUSE"), rows, right=("SHARE",)) if rows else "No region is registered."


def _is_told(causes: ShareCauses | None, wide: bool) -> bool:
    """Whether a share of nothing has a story."""
    names = {cause.name for cause in causes.causes} if causes is not None else set()
    return bool(names) and (wide or not names <= {"policy", "latency"})


def _sum(causes: ShareCauses) -> str:
    """`policy 50 % + status 16.7 % − slew 3 %`."""
    text = ""
    for cause in causes.causes:
        if not text:
            text = f"{_cause(cause.name)} {_points(cause.share)}"
        else:
            text += f" {'−' if cause.share < 0 else '+'} {_cause(cause.name)} {_points(abs(cause.share))}"
    return text


def _cause(name: str) -> str:
    """`slow_start` as people say it."""
    return name.replace("_", " ")


def _points(value: float) -> str:
    """A share to a tenth of a percent, so that the sums can be checked by eye."""
    return f"{value * 100:.1f}".removesuffix(".0") + " %"

"""`primacy pin` and `primacy unpin`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from primacy_cli.overriding import Terms, agree, owner_option, owner_or_login, with_terms
from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.v1.override_pb2 import Override

    from primacy_cli.tables import Renderable


@click.command("pin")
@click.argument("shares", nargs=-1, required=True, metavar="REGION=SHARE…")
@click.option("--from", "client", metavar="REGION", default="", help="Only reads from this region. Default: from all.")
@with_session
@with_terms
def command(session: Session, shares: tuple[str, ...], client: str, terms: Terms, dry_run: bool, yes: bool) -> None:
    """Set the shares of reads by hand, as numbers or percents that add up to 1. A region not named gets none.

    Shows the change and asks, unless --yes is given. Writes are not touched: they follow the lease.

    \b
    Examples:
        primacy pin us-east=80% eu-west=20% --reason "canary" --for 30m
        primacy pin eu-west=1 --from us-east --reason "cable cut"
    """
    from primacy.v1.routing_service_pb2 import PinWeightsRequest
    from primacy.v1.routing_service_pb2_grpc import RoutingServiceStub

    wanted = _shares(shares)
    request = PinWeightsRequest(group=session.group, client_region=client, weights=wanted, validate_only=True)
    terms.fill(request)
    stub = RoutingServiceStub(session.channel)
    if dry_run or not yes:
        planned = session.ask(stub.PinWeights, request)
        lines = _plan_lines(session, client, planned.pin)
        if dry_run:
            session.show(planned, lambda: "\n".join(lines))
            return
        agree(session, lines, "Pin these shares?", yes)
    request.validate_only = False
    response = session.ask(stub.PinWeights, request)
    session.show(response, lambda: _pinned(response.pin))


def _shares(texts: tuple[str, ...]) -> dict[str, float]:
    """The coordinator judges the values. Raises click.BadParameter for what is no share."""
    found: dict[str, float] = {}
    for text in texts:
        region, equals, value = text.rpartition("=")
        try:
            share = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
        except ValueError:
            equals = ""
            share = 0.0
        if not equals or not region:
            raise click.BadParameter(f'must be like "us-east=80%" or "us-east=0.8", got {text!r}', param_hint="SHARE")
        if region in found:
            raise click.BadParameter(f"{region!r} is given twice", param_hint="SHARE")
        found[region] = share
    return found


def _plan_lines(session: Session, client: str, pin: Override) -> list[str]:
    from primacy.v1.routing_service_pb2 import GetWeightsRequest
    from primacy.v1.routing_service_pb2_grpc import RoutingServiceStub

    from primacy_cli.words import length, share

    request = GetWeightsRequest(group=session.group, client_region=client)
    rows = session.ask(RoutingServiceStub(session.channel).GetWeights, request).rows
    lines = []
    for row in rows:
        names = sorted(name for name in {*row.weights, *pin.weights} if row.weights.get(name) or pin.weights.get(name))
        changes = [
            f"{name} {share(row.weights.get(name, 0.0))} → {share(pin.weights.get(name, 0.0))}" for name in names
        ]
        lines.append(f"Reads from {row.client_region}: {', '.join(changes)}.")
    return [
        *lines,
        f"It stays so for {length(pin.remaining)}, whatever the load; a dead region's share goes to others.",
    ]


def _pinned(pin: Override) -> Renderable:
    from primacy_cli.overrides_table import overrides_table
    from primacy_cli.tables import stack

    undo = "primacy unpin" + (f" --from {pin.region}" if pin.region else "")
    return stack(overrides_table([pin]), f"It ends by itself, or with `{undo}`.")


@click.command("unpin")
@click.option("--from", "client", metavar="REGION", default="", help="The pin of this region. Default: that of all.")
@owner_option
@with_session
def unpin(session: Session, client: str, owner: str) -> None:
    """Let the policy spread reads again.

    \b
    Examples:
        primacy unpin
        primacy unpin --from us-east
    """
    from primacy.v1.routing_service_pb2 import UnpinWeightsRequest
    from primacy.v1.routing_service_pb2_grpc import RoutingServiceStub

    request = UnpinWeightsRequest(group=session.group, client_region=client, owner=owner_or_login(owner))
    response = session.ask(RoutingServiceStub(session.channel).UnpinWeights, request)
    session.show(response, lambda: "The policy spreads reads again; see `primacy weights`.")

"""`primacy perf`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from primacy_cli.session import Session, with_session
from primacy_cli.spans import Span

if TYPE_CHECKING:
    from primacy.v1 import status_service_pb2 as pb

    from primacy_cli.tables import Renderable


@click.command("perf")
@click.option("--window", type=Span(), default="1h", show_default=True, help="Length of the window that ends now.")
@click.option("--before", type=Span(), help="How long before it the window ends that it is compared with.")
@with_session
def command(session: Session, window: float, before: float | None) -> None:
    """Show how the group and each region did, beside an earlier window, and how objectives are met.

    Compares with the window just before, unless --before says otherwise.

    \b
    Examples:
        primacy perf
        primacy perf --window 24h --before 7d
        primacy perf --window 10m -o json
    """
    from primacy.v1.status_service_pb2 import GetPerformanceRequest
    from primacy.v1.status_service_pb2_grpc import StatusServiceStub

    request = GetPerformanceRequest(group=session.group)
    request.window.FromNanoseconds(round(window * 1e9))
    if before is not None:
        request.compare_before.FromNanoseconds(round(before * 1e9))
    found = session.ask(StatusServiceStub(session.channel).GetPerformance, request)
    session.show(found, lambda: _shown(found))


def _shown(response: pb.GetPerformanceResponse) -> Renderable:
    from primacy_cli.performance_table import performance_screen

    return performance_screen(response)

"""`primacy overrides`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.v1.status_service_pb2 import ListOverridesResponse

    from primacy_cli.tables import Renderable


@click.command("overrides")
@with_session
def command(session: Session) -> None:
    """Show what operators set against the policy, by whom, why, and how long it still lasts.

    \b
    Example:
        primacy overrides -o wide
    """
    from primacy.v1.status_service_pb2 import ListOverridesRequest
    from primacy.v1.status_service_pb2_grpc import StatusServiceStub

    response = session.ask(StatusServiceStub(session.channel).ListOverrides, ListOverridesRequest(group=session.group))
    session.show(response, lambda: _shown(response, session.wide))


def _shown(response: ListOverridesResponse, wide: bool) -> Renderable:
    from primacy_cli.overrides_table import overrides_table

    return overrides_table(response.overrides, wide=wide) if response.overrides else "Nothing is overridden."

"""Commands that speak with an agent: the one beside the files that they are about."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.agent.v1.local_service_pb2_grpc import LocalServiceStub

AGENT_DEFAULT = "127.0.0.1:7410"


def with_agent(function: Callable[..., None]) -> Callable[..., None]:
    """`with_session`, and the option that names the agent."""

    @functools.wraps(function)
    def run(session: Session, *, agent: str | None, **arguments: Any) -> None:
        session.agent = agent or session.agent or AGENT_DEFAULT
        function(session, **arguments)

    option = click.option("--agent", metavar="HOST:PORT", help=f"The agent. [default: $PRIMACY_AGENT, {AGENT_DEFAULT}]")
    return with_session(option(run))


def local(session: Session) -> LocalServiceStub:
    from primacy.agent.v1.local_service_pb2_grpc import LocalServiceStub

    return LocalServiceStub(session.agent_channel)


def group_of_agent(session: Session) -> str:
    """The group to ask a coordinator about: to an agent no name means its own group, to a coordinator `default`.

    Raises CommandFailed.
    """
    if session.group:
        return session.group
    from primacy.agent.v1.local_service_pb2 import GetStatusRequest

    return session.ask(local(session).GetStatus, GetStatusRequest(), at_agent=True).group

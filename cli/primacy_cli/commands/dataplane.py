"""`primacy dataplane`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from primacy_cli.agents import local, with_agent
from primacy_cli.failures import REFUSED, USAGE, CommandFailed
from primacy_cli.session import Session

if TYPE_CHECKING:
    from primacy.agent.v1 import local_service_pb2 as pb

    from primacy_cli.tables import Renderable

_WILDCARDS = ("0.0.0.0", "[::]", "::")
_SETTINGS = {
    "xds": ("the xDS server", "dataplane.xds.address"),
    "haproxy": ("answers to agent checks", "dataplane.haproxy.address"),
}


@click.group("dataplane")
def command() -> None:
    """Make proxies and clients follow the weights, and see whether they do.

    Each of these asks the agent beside the proxy or the client.

    \b
    Examples:
        primacy dataplane status
        primacy dataplane envoy-bootstrap --listen 127.0.0.1:7800 > envoy.yaml
        primacy dataplane grpc-bootstrap > bootstrap.json
        primacy dataplane haproxy-config --listen 127.0.0.1:7800 > haproxy.cfg
    """


@command.command("status")
@with_agent
def status(session: Session) -> None:
    """Show how the agent hands its weights on, and who follows.

    \b
    Example:
        primacy dataplane status --agent 127.0.0.1:7411
    """
    response = _status(session)
    session.show(response.data_plane, lambda: _shown(response, session.wide))


def _node(default: str) -> Callable[..., Any]:
    return click.option(
        "--node", metavar="ID", help=f"What it calls itself in `primacy dataplane status` [default: {default}-HOST]."
    )


@command.command("envoy-bootstrap")
@click.option("--listen", metavar="HOST:PORT", required=True, help="Where Envoy takes requests.")
@click.option("--admin", metavar="HOST:PORT", default="", help="Where its admin pages are [default: any free port].")
@click.option("--incremental", is_flag=True, help="Ask for changes only, instead of everything each time.")
@click.option("--json", "as_json", is_flag=True, help="As JSON instead of YAML.")
@_node("envoy")
@with_agent
def envoy_bootstrap(
    session: Session, listen: str, admin: str, incremental: bool, as_json: bool, node: str | None
) -> None:
    """Print what Envoy starts with to follow the agent.

    Requests with the header `Primacy-Class: write` go to the active region, all others by the weights for reads.

    \b
    Example:
        primacy dataplane envoy-bootstrap --listen 127.0.0.1:7800 > envoy.yaml
        envoy -c envoy.yaml
    """
    from primacy_wire.bootstraps import ADMIN
    from primacy_wire.bootstraps import envoy_bootstrap as made

    response = _status(session)
    xds = _address_of(session, response, "xds")
    try:
        content = made(
            xds, response.group, response.region, listen, node or _own_node("envoy"), admin or ADMIN, incremental
        )
    except ValueError as error:
        raise CommandFailed(str(error), USAGE, "the same with --help") from error
    if as_json or session.output == "json":
        session.output = "json"
    else:
        session.output = "yaml"
        click.echo(f"# Envoy for clients in {response.region}: follows the weights of the agent whose xDS is at {xds}.")
    # Read back, so that what stands in several places is written in each, and not as a YAML alias.
    session.print_content(json.loads(json.dumps(content)))


@command.command("grpc-bootstrap")
@_node("grpc")
@with_agent
def grpc_bootstrap(session: Session, node: str | None) -> None:
    """Print what a gRPC client starts with to follow the agent by `xds:///GROUP` (reads) and `xds:///GROUP.write`.

    \b
    Example:
        primacy dataplane grpc-bootstrap > bootstrap.json
        GRPC_XDS_BOOTSTRAP=bootstrap.json my-client
    """
    from primacy_wire.bootstraps import grpc_bootstrap as made

    response = _status(session)
    xds = _address_of(session, response, "xds")
    session.output = "json"
    session.print_content(made(xds, response.group, response.region, node or _own_node("grpc")))


@command.command("haproxy-config")
@click.option("--listen", metavar="HOST:PORT", required=True, help="Where HAProxy takes requests.")
@click.option(
    "--health-path",
    metavar="PATH",
    default="",
    help="A server is healthy while a GET of this page is well, e.g. /healthz.",
)
@with_agent
def haproxy_config(session: Session, listen: str, health_path: str) -> None:
    """Print a configuration of HAProxy that follows the agent, for the regions that the group has now.

    Requests with the header `Primacy-Class: write` go to the active region, all others by the weights for reads.

    \b
    Example:
        primacy dataplane haproxy-config --listen 127.0.0.1:7800 > haproxy.cfg
        haproxy -f haproxy.cfg
    """
    from primacy_wire.server import ListenError, split_address

    from primacy_cli.haproxy_config import Wanted
    from primacy_cli.haproxy_config import haproxy_config as made

    if health_path and (not health_path.startswith("/") or not health_path.isprintable() or " " in health_path):
        raise CommandFailed(f"--health-path: {health_path!r} must begin with / and have no space", USAGE)
    response = _status(session)
    try:
        split_address(listen)
        checks = split_address(_address_of(session, response, "haproxy"))
    except ListenError as error:
        raise CommandFailed(f"--listen: {error}", USAGE, "the same with --help") from error
    endpoints = sorted(response.read_weights.endpoints.items())
    try:
        text = made(Wanted(response.group, response.region, endpoints, checks, listen, health_path))
    except ValueError as error:
        raise CommandFailed(
            f"the agent at {session.agent} knows no region with an endpoint",
            REFUSED,
            "set `endpoint` in the agents' settings, then `primacy regions`",
        ) from error
    click.echo(text, nl=False)


# ---- asking


def _status(session: Session) -> pb.GetStatusResponse:
    from primacy.agent.v1.local_service_pb2 import GetStatusRequest

    return session.ask(local(session).GetStatus, GetStatusRequest(group=session.group), at_agent=True)


def _address_of(session: Session, response: pb.GetStatusResponse, output: str) -> str:
    """Where others reach that output. Raises CommandFailed when it is off."""
    address = next((one.address for one in response.data_plane.outputs if one.name == output), "")
    if not address:
        what, key = _SETTINGS[output]
        raise CommandFailed(
            f"the agent at {session.agent} does not serve {what}",
            REFUSED,
            f"set {key} in its settings (for example 127.0.0.1:{'7440' if output == 'xds' else '7460'}) and restart it",
        )
    host, _, port = address.rpartition(":")
    if host in _WILDCARDS:
        # It listens everywhere: where we found the agent is as good as any.
        return f"{session.agent.rpartition(':')[0]}:{port}"
    return address


def _own_node(program: str) -> str:
    import socket

    return f"{program}-{socket.gethostname()}"


# ---- showing


def _shown(response: pb.GetStatusResponse, wide: bool) -> Renderable:
    from primacy_cli.tables import facts, stack, table
    from primacy_cli.words import length

    weights, session = response.read_weights, response.session
    age = f", {length(weights.age)} old" if weights.version else ""
    outputs = [
        (one.name, one.address, str(one.version or "-"), _state(one, weights.version))
        for one in response.data_plane.outputs
    ]
    clients = [row for client in response.data_plane.xds_clients for row in _client(client, wide)]
    return stack(
        facts(
            [
                ("region", response.region),
                ("weights", f"version {weights.version}{age}" if weights.version else "none came yet"),
                ("shunned", ", ".join(weights.shunned)),
                ("coordinator", session.coordinator if session.connected else f"not heard: {session.last_error}"),
            ]
        ),
        table(("OUTPUT", "WHERE", "WEIGHTS", "STATE"), outputs, right=("WEIGHTS",))
        if outputs
        else "Nothing is switched on: set dataplane.xds, .haproxy or .file in the agent's settings.",
        table(("XDS CLIENT", "PROGRAM", "FROM", "FOLLOWS", "SENT", "TAKEN", "NOTE"), clients) if clients else None,
    )


def _state(output: pb.DataPlaneOutput, version: int) -> str:
    if output.trouble:
        return output.trouble
    if not version:
        return "waits for weights"
    return "ok" if output.version >= version else "not yet"


def _client(client: pb.XdsClient, wide: bool) -> list[tuple[str, ...]]:
    """A line for each type that it follows; who it is stands on the first."""
    who = (client.node or "-", client.user_agent or "-", client.peer)
    rows = [
        (*(who if index == 0 else ("", "", "")), *_subscription(one, wide))
        for index, one in enumerate(client.subscriptions)
    ]
    return rows or [(*who, "nothing yet", "", "", "")]


def _subscription(one: pb.XdsSubscription, wide: bool) -> tuple[str, ...]:
    kind = one.type_url.rpartition(".")[2]
    names = f" {', '.join(one.resources)}" if wide and one.resources else ""
    notes = []
    if one.rejection:
        notes.append(f"REJECTED: {one.rejection}")
    if one.unknown:
        notes.append(f"asks for what there is not: {', '.join(one.unknown)}")
    if one.nacks and not one.rejection:
        notes.append(f"{one.nacks} rejected before")
    if not one.sent_version and not one.unknown:
        notes.append("nothing had to be sent")
    if one.sent_version != one.acked_version and not one.rejection:
        notes.append("has not answered yet")
    return f"{kind}{names}", one.sent_version or "-", one.acked_version or "-", "; ".join(notes)

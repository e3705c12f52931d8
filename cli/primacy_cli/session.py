"""What every command needs: whom to ask, about which group, and how to print."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from primacy_cli.failures import REFUSED, USAGE, CommandFailed, failed_call

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

    from primacy_cli.tables import Renderable

Request = TypeVar("Request")
Response = TypeVar("Response")

ADDRESS_DEFAULT = "127.0.0.1:7400"
FORMATS = ("table", "wide", "json", "yaml")
CALL_S_MAX = 10.0


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files, and the name to expect; all empty: no TLS."""

    ca: str = ""
    certificate: str = ""
    key: str = ""
    server_name: str = ""


class Session:
    """One run of one command."""

    def __init__(
        self,
        address: str,
        agent: str,
        group: str,
        output: str,
        tls: Tls,
        connect: Callable[[str], grpc.Channel] | None = None,
    ) -> None:
        self.address = address
        self.agent = agent
        self.group = group
        self.output = output
        self._tls = tls
        self._connect = connect
        self._channels: dict[str, grpc.Channel] = {}

    # ---- asking

    @property
    def channel(self) -> grpc.Channel:
        """To the coordinator."""
        return self._channel(self.address)

    @property
    def agent_channel(self) -> grpc.Channel:
        return self._channel(self.agent)

    def _channel(self, address: str) -> grpc.Channel:
        if address not in self._channels:
            self._channels[address] = (self._connect or self._dial)(address)
        return self._channels[address]

    def _dial(self, address: str) -> grpc.Channel:
        """Raises CommandFailed for what cannot be an address, or TLS files that cannot be read."""
        from primacy_wire.channel import ClientTls, make_sync_channel
        from primacy_wire.server import ListenError, split_address

        tls = self._tls
        if bool(tls.certificate) != bool(tls.key):
            raise CommandFailed("--tls-certificate and --tls-key belong together", USAGE, "primacy --help")
        try:
            if not address.startswith("unix:"):
                split_address(address)
            files = ClientTls(tls.ca, tls.certificate, tls.key, tls.server_name) if tls != Tls() else None
            return make_sync_channel(address, files)
        except ListenError as error:
            raise CommandFailed(str(error), USAGE, "primacy --help") from error
        except OSError as error:
            raise CommandFailed(f"{error.filename}: {error.strerror}", USAGE, "give readable PEM files") from error

    def ask(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        seconds: float = CALL_S_MAX,
        at_agent: bool = False,
    ) -> Response:
        """One call. Raises CommandFailed."""
        with self.failures(at_agent):
            return method(request, timeout=seconds)

    @contextmanager
    def failures(self, at_agent: bool = False) -> Iterator[None]:
        """Turns failed calls into CommandFailed."""
        import grpc
        from primacy_wire.rpc_errors import from_rpc_error

        try:
            yield
        except grpc.RpcError as error:
            address = self.agent if at_agent else self.address
            context = click.get_current_context(silent=True)
            path = context.command_path if context else "primacy"
            raise failed_call(from_rpc_error(error), address, path, at_agent) from error

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()

    # ---- printing

    @property
    def for_people(self) -> bool:
        return self.output in ("table", "wide")

    @property
    def wide(self) -> bool:
        return self.output == "wide"

    def show(self, message: Message, render: Callable[[], Renderable]) -> None:
        """Print a response: as a table for people, else as the response itself."""
        if self.for_people:
            from primacy_cli.tables import print_tables

            print_tables(render())
        else:
            self.print_message(message)

    def print_message(self, message: Message, one_line: bool = False) -> None:
        """proto3 JSON with defaults, or the same as YAML; with `one_line` as one of a stream."""
        from google.protobuf.json_format import MessageToDict

        self.print_content(MessageToDict(message, always_print_fields_with_no_presence=True), one_line)

    def print_content(self, content: dict[str, Any], one_line: bool = False) -> None:
        """What a command put together itself, as JSON or YAML; with `one_line` as one of a stream."""
        if self.output == "yaml":
            import yaml

            text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
            click.echo(("---\n" if one_line else "") + text, nl=False)
        else:
            import json

            click.echo(json.dumps(content, indent=None if one_line else 2, ensure_ascii=False))

    def note(self, text: str) -> None:
        """A line for people that is no part of the answer."""
        click.echo(text, err=True)

    # ---- asking people

    def confirm(self, question: str) -> None:
        """Go on only if a person says yes. Raises CommandFailed."""
        if not sys.stdin.isatty():
            raise CommandFailed(
                "nobody can be asked here, and --yes is not given; nothing was changed", USAGE, "the same with --yes"
            )
        try:
            agreed = click.confirm(question, default=False, err=True)
        except click.Abort as abort:
            raise CommandFailed("not confirmed; nothing was changed", REFUSED) from abort
        if not agreed:
            raise CommandFailed("not confirmed; nothing was changed", REFUSED)


def with_session(function: Callable[..., None]) -> Callable[..., None]:
    """Gives a command its `Session` as first argument, and the options that every command takes.

    They may stand before the command or after it; the environment is read once, before it.
    """

    @click.pass_context
    def run(
        context: click.Context, /, address: str | None, group: str | None, output: str | None, **arguments: Any
    ) -> None:
        session = context.obj
        assert isinstance(session, Session)
        session.address = address or session.address
        session.group = session.group if group is None else group
        session.output = output or session.output
        context.call_on_close(session.close)
        function(session, **arguments)

    # What `functools.wraps` does for the name, the help text and the options that click found below this one.
    command = functools.update_wrapper(run, function)
    for option in (
        click.option("-o", "--output", type=click.Choice(FORMATS), help="What to print."),
        click.option("--group", metavar="NAME", help="The failover group."),
        click.option("--address", metavar="HOST:PORT", help="The coordinator."),
    ):
        command = option(command)
    return command


def owner() -> str:
    """Who runs this, for histories: `user@host`."""
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"

"""Server set-up that both daemons share: options, errors, health, reflection, and where to listen."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from primacy_wire.channel import MESSAGE_BYTES_MAX, ping_options
from primacy_wire.interceptor import ErrorInterceptor
from primacy_wire.reflection import enable_reflection

PING_INTERVAL_LEAST_MS = 500
"""Clients may ping this often; gRPC's own bound would cut them off."""


class ListenError(Exception):
    """An address cannot be listened on. The message names the address and the fix."""


class PortInUse(ListenError):
    """Another process has the port."""


@dataclass(frozen=True, slots=True)
class ServerTls:
    """PEM files for the server's side of TLS."""

    certificate: str
    key: str
    client_ca: str = ""
    """Who signs clients' certificates. Given, a client without one is refused."""

    def credentials(self) -> grpc.ServerCredentials:
        """Read the files. Raises OSError."""
        pair = (Path(self.key).read_bytes(), Path(self.certificate).read_bytes())
        if not self.client_ca:
            return grpc.ssl_server_credentials([pair])
        return grpc.ssl_server_credentials([pair], Path(self.client_ca).read_bytes(), require_client_auth=True)


def make_server(interceptors: Sequence[grpc.aio.ServerInterceptor] = ()) -> grpc.aio.Server:
    """A server without services or ports yet, whose handlers may raise any `PrimacyError`."""
    server = grpc.aio.server(
        interceptors=[*interceptors, ErrorInterceptor()],
        options=[
            # Else a second process binds the same port without an error and takes part of the connections.
            ("grpc.so_reuseport", 0),
            *ping_options(),
            ("grpc.http2.min_ping_interval_without_data_ms", PING_INTERVAL_LEAST_MS),
            ("grpc.http2.max_ping_strikes", 0),
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ],
    )
    # gRPC 1.85 waits for the next call of every registered method at once, and with each call builds that wait anew: a
    # cost for every call that grows with the number of methods. Found by their names, methods cost no such thing.
    server.add_registered_method_handlers = _register_nothing  # type: ignore[method-assign]
    return server


def _register_nothing(service_name: str, method_handlers: object) -> None:
    """Methods are found through `add_generic_rpc_handlers`, which generated code calls as well."""


class Health:
    """`grpc.health.v1` of a server: of each service, and of all (the empty name)."""

    def __init__(self, service_names: Iterable[str]) -> None:
        self._names = ("", *service_names)
        self.servicer = health_aio.HealthServicer()

    async def set_serving(self, serving: bool) -> None:
        """Say of every service whether it serves."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in self._names:
            await self.servicer.set(name, status)

    async def stop(self) -> None:
        """The server goes down: nothing serves any more, for good."""
        await self.servicer.enter_graceful_shutdown()


async def add_health_and_reflection(server: grpc.aio.Server, service_names: Iterable[str]) -> Health:
    """Serve `grpc.health.v1` and reflection for these services. They are NOT_SERVING until `set_serving(True)`."""
    names = sorted(service_names)
    health = Health(names)
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    enable_reflection(server, names)
    await health.set_serving(False)
    return health


def listen(server: grpc.aio.Server, address: str, tls: ServerTls | None = None, insecure: bool = False) -> int:
    """Bind `host:port` (port 0: any free one) or `unix:PATH`, and return the port (0 for a unix socket).

    Raises ListenError when the address is not loopback and neither `tls` nor `insecure` is given, PortInUse when
    another process has it, and ListenError for whatever else prevents it.
    """
    check_exposure(address, secured=tls is not None, insecure=insecure)
    try:
        if tls is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, tls.credentials())
    except OSError as error:
        raise ListenError(f"{error.filename}: {error.strerror}: the TLS files must be readable PEM files") from error
    except RuntimeError as error:
        raise _why_not(address) from error


@contextmanager
def listening_at(address: str) -> Iterator[None]:
    """Says what is wrong when binding fails inside. Raises ListenError, PortInUse."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            port = address.rpartition(":")[2]
            raise PortInUse(f"{address}: another process has port {port}: stop it or choose another port") from error
        raise ListenError(f"{address}: cannot listen: {error.strerror or error}") from error


def check_exposure(address: str, secured: bool, insecure: bool) -> None:
    """Raise ListenError if plain traffic would be served beyond this machine and nobody said so aloud."""
    if secured or insecure or address.startswith("unix:") or is_loopback(split_address(address)[0]):
        return
    raise ListenError(
        f"{address} can be reached from other machines: configure TLS, or say --insecure if the network is trusted"
    )


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`. Raises ListenError if it is neither."""
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""  # IPv6 needs brackets
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ListenError(f"{address!r} is not an address: write host:port, [v6-address]:port or unix:PATH")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _why_not(address: str) -> ListenError:
    """gRPC says only that it failed: try the plain bind to learn why."""
    if address.startswith("unix:"):
        path = Path(address.removeprefix("unix:"))
        return ListenError(f"{address}: cannot listen: is {path.parent} a folder that this user can write to?")
    host, port = split_address(address)
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        return ListenError(f"{address}: {host!r} cannot be resolved ({error.strerror})")
    for family, kind, protocol, _, target in infos:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(target)
                probe.listen(1)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return PortInUse(f"{address}: another process has port {port}: stop it or choose another port")
                return ListenError(f"{address}: cannot listen: {error.strerror}")
    return ListenError(f"{address}: cannot listen")

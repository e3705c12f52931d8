"""Serves the coordinator's HTTP port on the loop that everything else runs on."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator

import uvicorn
from primacy_wire.server import ListenError, PortInUse, split_address
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

STOP_SECONDS_MAX = 2
"""How long open requests may take once the coordinator stops; without a bound one open stream would hang the stop."""


CONNECTIONS_MAX = 600
"""Open at once. More are ended at once, for they would take the descriptors that agents need."""
FIRST_REQUEST_SECONDS_MAX = 10
"""How long a new connection may say nothing, or not all of its first request's head."""
UNSENT_BYTES_MAX = 64 * 1024
"""What the system takes of a connection's answer ahead of the line."""
ABORT = "abort"
"""In the `state` of a request: ends its connection at once, though what was written is not taken."""


class _Protocol(H11Protocol):
    """uvicorn's, with bounds for who only takes up room."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()
            return
        self.app_state = {**self.app_state, ABORT: transport.abort}
        self._patience = self.loop.call_later(FIRST_REQUEST_SECONDS_MAX, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._patience is not None:
            self._patience.cancel()

    def _give_up(self) -> None:
        cycle: object = self.cycle  # uvicorn says that it is always there
        if cycle is None:
            self.transport.abort()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals to the daemon."""
        yield


class WebServer:
    """uvicorn on a socket that is bound already."""

    def __init__(self, app: ASGIApp, bound: socket.socket) -> None:
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            loop="none",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=STOP_SECONDS_MAX,
        )
        self._server = _Server(config)
        self._socket = bound

    async def serve(self) -> None:
        """Runs until `stop`."""
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        self._server.should_exit = True


def bind_http(address: str) -> socket.socket:
    """A listening socket, so that a port in use is known before anything is served. Raises `ListenError`."""
    host, port = split_address(address)
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise ListenError(f"{address}: {host!r} cannot be resolved ({error.strerror})") from error
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(AttributeError, OSError):  # not every system has it
            # Connections inherit it. Else the system holds megabytes for a slow browser, which then sees what was true
            # minutes ago.
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX)
        bound.bind(target)
        bound.listen(128)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(f"{address}: another process has port {port}: stop it or choose another port") from error
        raise ListenError(f"{address}: cannot listen: {error.strerror}") from error
    return bound

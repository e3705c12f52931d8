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
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

STOP_SECONDS_MAX = 2
"""How long open requests may take once the coordinator stops; without a bound one open stream would hang the stop."""


CONNECTIONS_MAX = 600
"""Open at once. More are ended at once, for they would take the descriptors that agents need."""
REQUEST_SECONDS_MAX = 10
"""How long a connection may take to say the head of a request: its first one, and each one after that."""
UNTAKEN_SECONDS_MAX = 30
"""A connection that takes nothing of its answer for so long is ended. A slow one that takes some may go on: a large
group's status over a poor line takes minutes."""
UNSENT_BYTES_MAX = 64 * 1024
"""What the system takes of a connection's answer ahead of the line."""
ABORT = "abort"
"""In the `state` of a request: ends its connection at once, though what was written is not taken."""


class _Protocol(H11Protocol):
    """uvicorn's, with bounds for who only takes up room."""

    _patience: asyncio.TimerHandle | None = None
    """For the head of the next request."""
    _untaken: asyncio.TimerHandle | None = None
    """For what it does not take."""
    _untaken_bytes = 0
    """How much that was when the timer was set."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()
            return
        self.app_state = {**self.app_state, ABORT: transport.abort}
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._patience, self._untaken):
            if timer is not None:
                timer.cancel()

    def on_response_complete(self) -> None:
        # First: what is in line already is handled within.
        self._await_request()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._untaken is None:
            self._await_taking()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._untaken is not None:
            self._untaken.cancel()
            self._untaken = None

    def _await_taking(self) -> None:
        # Nothing is added while writing is paused, so less means that some was taken.
        self._untaken_bytes = self.transport.get_write_buffer_size()
        self._untaken = self.loop.call_later(UNTAKEN_SECONDS_MAX, self._check_taken)

    def _check_taken(self) -> None:
        if self.transport.get_write_buffer_size() < self._untaken_bytes:
            self._await_taking()
        else:
            self.transport.abort()

    def _await_request(self) -> None:
        """uvicorn ends a connection that is idle, but waits for good once the first byte of a request is there."""
        if self._patience is not None:
            self._patience.cancel()
        self._patience = self.loop.call_later(REQUEST_SECONDS_MAX, self._give_up)

    def _give_up(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn says that it is always there
        if cycle is None or cycle.response_complete:
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

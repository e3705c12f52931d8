"""Serves the coordinator's HTTP port on the loop that everything else runs on."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator

import uvicorn
from primacy_wire.server import ListenError, PortInUse, split_address
from starlette.types import ASGIApp

STOP_SECONDS_MAX = 2
"""How long open requests may take once the coordinator stops; without a bound one open stream would hang the stop."""


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
        bound.bind(target)
        bound.listen(128)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(f"{address}: another process has port {port}: stop it or choose another port") from error
        raise ListenError(f"{address}: cannot listen: {error.strerror}") from error
    return bound

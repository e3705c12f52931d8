"""Ports of this machine that nobody listens on."""

from __future__ import annotations

import random
import socket

HOST = "127.0.0.1"
_FIRST, _LAST = 20_000, 31_999
"""Below the ports that outgoing connections get: a process that ends finds its port free when it starts again."""


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


class Ports:
    """Gives each port once."""

    def __init__(self, defaults: bool = True) -> None:
        """Without `defaults`, the wanted ports are passed over."""
        self._defaults = defaults
        self._given: set[int] = set()

    def take(self, wanted: int) -> str:
        """`host:port`, the wanted one if it is free. Raises OSError when none is."""
        if self._defaults and self._offer(wanted):
            return f"{HOST}:{wanted}"
        for _ in range(1_000):
            port = random.randint(_FIRST, _LAST)
            if self._offer(port):
                return f"{HOST}:{port}"
        raise OSError("no free port was found")

    def _offer(self, port: int) -> bool:
        if port in self._given or not is_free(port):
            return False
        self._given.add(port)
        return True

"""Looks up the names of endpoints, again and again, off the event loop."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterable

from primacy_agent.dataplane.addresses import Found, Places, locate, merged, names_in
from primacy_agent.dataplane.kept_addresses import KeptAddresses

RETRY_S = 2.0
"""After a look-up that failed, or `interval_s` if that is shorter."""

Lookup = Callable[[str], list[str]]
"""IP addresses of a name. Blocks. Raises OSError, or UnicodeError for what cannot be a name."""


def look_up(host: str) -> list[str]:
    """By the system's resolver."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]).partition("%")[0] for *_, address in found]


class Resolver:
    """Knows what names stand for. Everything but the look-ups runs on the event loop's thread."""

    def __init__(
        self,
        interval_s: float,
        changed: Callable[[], None],
        lookup: Lookup = look_up,
        kept: KeptAddresses | None = None,
    ) -> None:
        """`changed` is called when a name stands for something else, or could not be looked up, or could again.

        What an earlier life `kept` of a name serves where its first look-up fails.
        """
        self._interval_s = interval_s
        self._changed = changed
        self._kept = kept
        self._last = dict(kept.earlier) if kept is not None else {}
        """What each name stood for when it was last looked up with success, by this life or an earlier one."""
        self._lookup = lookup
        self._endpoints: tuple[tuple[str, str], ...] = ()
        self._known: dict[str, Found] = {}
        self.places = Places()
        """Where the regions are, as far as is known."""
        self._due: dict[str, asyncio.TimerHandle] = {}
        """By name: when it is looked up again."""
        self._looking: set[str] = set()
        """Never twice at once: a resolver that hangs costs one thread a name."""
        self._wanted: frozenset[str] = frozenset()
        self._closed = False

    def follow(self, endpoints: Iterable[tuple[str, str]]) -> None:
        """Look these up from now on, and no others."""
        wanted = tuple(endpoints)
        if wanted == self._endpoints:
            return
        self._endpoints = wanted
        self._wanted = names_in(self._endpoints)
        for host in self._known.keys() - self._wanted:
            del self._known[host]
        for host in self._due.keys() - self._wanted:
            self._due.pop(host).cancel()
        for host in sorted(self._wanted - self._due.keys() - self._looking):
            self._look(host)
        self.places = locate(self._endpoints, self._known)

    def close(self) -> None:
        self._closed = True
        for timer in self._due.values():
            timer.cancel()
        self._due.clear()
        if self._kept is not None:
            self._kept.close()

    def _look(self, host: str) -> None:
        self._due.pop(host, None)
        self._looking.add(host)
        loop = asyncio.get_running_loop()
        # A thread of its own, that ends with the process: one of a pool would keep a stopped agent waiting for DNS.
        threading.Thread(target=self._ask, args=(loop, host), name=f"lookup {host}", daemon=True).start()

    def _ask(self, loop: asyncio.AbstractEventLoop, host: str) -> None:
        ips: list[str] = []
        problem = ""
        try:
            ips = self._lookup(host)
        except socket.gaierror as error:
            problem = error.strerror or str(error)
        except (OSError, UnicodeError) as error:
            problem = str(error)
        try:
            loop.call_soon_threadsafe(self._answered, host, ips, problem)
        except RuntimeError:
            return  # The agent has stopped.

    def _answered(self, host: str, ips: list[str], problem: str) -> None:
        self._looking.discard(host)
        if self._closed or host not in self._wanted:
            return
        before = self._known.get(host)
        found = merged(before or Found(self._last.get(host, ())), ips, problem)
        wait_s = min(RETRY_S, self._interval_s) if found.problem else self._interval_s
        self._due[host] = asyncio.get_running_loop().call_later(wait_s, self._look, host)
        if found != before:
            self._known[host] = found
            if self._last.get(host, ()) != found.ips:
                self._last = {name: ips for name, ips in self._last.items() if name in self._wanted}
                self._last[host] = found.ips
                if self._kept is not None:
                    self._kept.keep(self._last)
            self.places = locate(self._endpoints, self._known)
            self._changed()

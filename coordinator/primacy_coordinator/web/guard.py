"""Who may ask what of the HTTP port: browsers hand on requests of pages that nobody here wrote.

1. A name that an attacker can make resolve to this machine (DNS rebinding) is refused: `Host` is a numeric address,
   `localhost`, the configured address, or one of `http.hosts`. Health and metrics are not asked for it: probes and
   scrapers use any name, and there is nothing there that a page could harm.
2. The API is for pages of this very origin, and for programs that send no `Origin` at all.
3. What changes something needs the header `Primacy-Request: 1` besides, which no form and no page of another origin can
   send, and it is on only for this machine, unless `dashboard.actions` says otherwise. A request that a proxy handed on
   is not of this machine. Where gRPC refuses whoever has no certificate, this port is no way around that.

Weakness: there are no users. Whoever reaches the port while actions are on may act; see docs/dashboard.md.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from primacy_wire.errors import Denied
from primacy_wire.server import is_loopback, split_address
from starlette.datastructures import Headers

ACTION_HEADER = "Primacy-Request"
FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
"""What proxies add."""
ACTIONS_OFF = "dashboard.actions is false in the coordinator's settings: use the command line"
ACTIONS_LOCAL = (
    "actions over HTTP are for this machine alone, unless the coordinator's settings say dashboard.actions: true; "
    "the command line works from anywhere"
)
ACTIONS_CERTIFIED = (
    "this coordinator asks its clients for certificates (tls.clientCa), and over HTTP nobody shows one: use the "
    "command line, or set dashboard.actions: true in the coordinator's settings"
)


class Guard:
    """Judges requests by their headers. Every method raises `Denied`, which says what to do."""

    def __init__(
        self, address: str, hosts: Iterable[str] = (), actions: bool | None = None, certified: bool = False
    ) -> None:
        """`address`: where HTTP is served. `actions`: always, never, or (None) for this machine alone. `certified`: the
        API over gRPC is for clients with certificates alone, so None means never."""
        bound = split_address(address)[0].lower()
        self._local = is_loopback(bound)
        self._hosts = frozenset({"localhost", bound, *(host.lower().rstrip(".") for host in hosts)})
        self._actions = actions
        self._certified = certified

    def check_host(self, headers: Headers) -> None:
        """The name by which the browser found this port must be one of ours."""
        host = _host_of(headers.get("host", ""))
        if host in self._hosts or host.endswith(".localhost") or _is_numeric(host):
            return
        raise Denied(
            f"this coordinator is not known by the name {host!r}: add it to http.hosts in the coordinator's settings",
            "HOST_UNKNOWN",
            {"host": host},
        )

    def check_origin(self, headers: Headers) -> None:
        """No page of another origin asks."""
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Denied("pages of other origins may not use this API", "CROSS_ORIGIN")
        for origin in headers.getlist("origin"):
            if _origin_place(origin) != _place(headers.get("host", "")):
                raise Denied(
                    f"the request comes from a page of {origin}, which is not the origin that it asks", "CROSS_ORIGIN"
                )

    def check_action(self, headers: Headers, dry_run: bool) -> None:
        """A request that changes something, or with `dry_run` says what it would change."""
        self.check_origin(headers)
        if headers.get(ACTION_HEADER) != "1":
            raise Denied(f"a request that changes something must carry the header {ACTION_HEADER}: 1", "HEADER_MISSING")
        reason = "" if dry_run else self.actions_off(headers)
        if reason:
            raise Denied(reason, "ACTIONS_OFF")

    def actions_off(self, headers: Headers) -> str:
        """Why whoever sent these headers may not change anything; empty: it may."""
        if self._actions is not None:
            return "" if self._actions else ACTIONS_OFF
        if self._certified:
            return ACTIONS_CERTIFIED
        near = self._local and is_loopback(_host_of(headers.get("host", "")))
        return "" if near and not any(name in headers for name in FORWARDED) else ACTIONS_LOCAL


def _host_of(value: str) -> str:
    """The host of a `Host` header: lower case, no port, no brackets, no final dot."""
    return _place(value)[0]


def _place(value: str) -> tuple[str, int | None]:
    """(host, port); None for the port that the scheme implies. A value that is no place has an empty host."""
    try:
        parts = urlsplit(f"//{value}")
        port = parts.port
    except ValueError:
        return "", None
    if parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        return "", None
    return (parts.hostname or "").lower().rstrip("."), None if port in (80, 443) else port


def _origin_place(origin: str) -> tuple[str, int | None] | None:
    """Where an `Origin` header says that a page is from. The scheme does not count: TLS may end at a proxy."""
    scheme, colon, rest = origin.partition("://")
    place = _place(rest)
    return place if colon and scheme in ("http", "https") and place[0] else None


def _is_numeric(host: str) -> bool:
    """An address in figures is no name, so nobody can have made it resolve to here."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

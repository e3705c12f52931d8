"""Regions' endpoints as addresses that a proxy can dial: what is written, and what names were last known to stand for.

Pure: `resolving` looks the names up.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Address: TypeAlias = tuple[str, int]
"""(IP address, port)."""

ADDRESSES_MAX = 64
"""Of one name; more than a load balancer's name has."""
RULE = "write host:port or [v6-address]:port"


class Malformed(ValueError):
    """An endpoint that is not host:port."""


@dataclass(frozen=True, slots=True)
class HostPort:
    host: str
    port: int

    @property
    def is_literal(self) -> bool:
        """Whether there is nothing to look up."""
        return _is_ip(self.host)


@dataclass(frozen=True, slots=True)
class Found:
    """What a name stands for. After a look-up that failed, what it stood for before."""

    ips: tuple[str, ...] = ()
    problem: str = ""
    """Why the last look-up failed; empty: it did not."""


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where the regions are. One is like no other: what is made from it may be kept for as long as it stays."""

    addresses: Mapping[str, tuple[Address, ...]] = field(default_factory=dict)
    """By region; those without any are left out."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """By region: why it has no address, or only old ones."""
    waiting: frozenset[str] = frozenset()
    """Regions whose name is being looked up for the first time."""


def parse_endpoint(text: str) -> HostPort:
    """Raises Malformed."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not colon or not host or (":" in host) != bracketed or not (port.isascii() and port.isdigit() and len(port) < 6):
        raise Malformed(f"{text!r} is not an endpoint: {RULE}")
    if bracketed and not _is_ip(host):
        raise Malformed(f"{text!r} is not an endpoint: {host!r} in brackets is not an IPv6 address; {RULE}")
    if any(not mark.isprintable() or mark in " /@?#%[]" for mark in host):
        raise Malformed(f"{text!r} is not an endpoint: {host!r} is not a host; {RULE}")
    if not 0 < int(port) <= 65_535:
        raise Malformed(f"{text!r} is not an endpoint: the port must be 1 to 65535")
    return HostPort(host, int(port))


def names_in(endpoints: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Hosts among the endpoints that must be looked up."""
    hosts = set()
    for _, text in endpoints:
        try:
            endpoint = parse_endpoint(text)
        except Malformed:
            continue
        if not endpoint.is_literal:
            hosts.add(endpoint.host)
    return frozenset(hosts)


def choose(ips: Iterable[str]) -> tuple[str, ...]:
    """What is used of a name's addresses: IPv4 if there is any, else IPv6, sorted.

    Both kinds side by side would count a service that listens on one of them as half dead.
    """
    parsed = sorted({ipaddress.ip_address(ip) for ip in ips}, key=lambda ip: (ip.version, int(ip)))
    first = [ip for ip in parsed if ip.version == parsed[0].version]
    return tuple(str(ip) for ip in first[:ADDRESSES_MAX])


def merged(before: Found | None, ips: Iterable[str], problem: str) -> Found:
    """What is known of a name after a look-up: a failed one leaves what was known."""
    chosen = choose(ips)
    if chosen and not problem:
        return Found(chosen)
    return Found(before.ips if before is not None else (), problem or "it has no address")


def locate(endpoints: Iterable[tuple[str, str]], known: Mapping[str, Found]) -> Places:
    """Where the regions are, by what is known of the names."""
    addresses: dict[str, tuple[Address, ...]] = {}
    problems: dict[str, str] = {}
    waiting = set()
    for region, text in endpoints:
        if not text:
            problems[region] = "it has no endpoint: set `endpoint` in its agent's settings, or update the region"
            continue
        try:
            endpoint = parse_endpoint(text)
        except Malformed as error:
            problems[region] = str(error)
            continue
        if endpoint.is_literal:
            addresses[region] = ((endpoint.host, endpoint.port),)
            continue
        found = known.get(endpoint.host)
        if found is None:
            waiting.add(region)
            continue
        if found.ips:
            addresses[region] = tuple((ip, endpoint.port) for ip in found.ips)
        if found.problem:
            kept = "; its last addresses are kept" if found.ips else ""
            problems[region] = f"{endpoint.host!r} cannot be looked up: {found.problem}{kept}"
    return Places(addresses, problems, frozenset(waiting))


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

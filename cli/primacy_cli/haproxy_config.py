"""A configuration of HAProxy that follows an agent: the text alone, from values."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

HEALTH_PATH_DEFAULT = ""
_NAMES = """\
# Addresses that are names are looked up again and again, and need not be known at the start.
resolvers system
    parse-resolv-conf
    hold valid 10s

"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the configuration is for."""

    group: str
    region: str
    """The region that its clients are in."""
    endpoints: Sequence[tuple[str, str]]
    """(region, `host:port` or empty) of every region."""
    checks: tuple[str, int]
    """Host and port of the agent's answers to agent checks."""
    listen: str
    health_path: str = HEALTH_PATH_DEFAULT
    """Empty: a server is healthy while it takes connections."""


def haproxy_config(wanted: Wanted) -> str:
    """The whole file. Raises ValueError when no region has an endpoint."""
    named = [(region, endpoint) for region, endpoint in wanted.endpoints if endpoint]
    if not named:
        raise ValueError("no region has an endpoint")
    return "".join(_parts(wanted, named))


def _parts(wanted: Wanted, named: Sequence[tuple[str, str]]) -> Iterator[str]:
    group = wanted.group
    yield (
        f"# HAProxy for clients in {wanted.region}: follows the weights of its agent. Made by\n"
        "# `primacy dataplane haproxy-config`; make it again when a region comes, goes or moves.\n\n"
    )
    if not all(_is_literal(endpoint) for _, endpoint in named):
        yield _NAMES
    yield f"""\
defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    # A try that fails goes to another server.
    retries 5
    option redispatch 1

frontend {group}
    bind {wanted.listen}
    use_backend {group}.write if {{ req.hdr(Primacy-Class) -i write }}
    default_backend {group}

# Reads: by the weights. When no region with a share can be reached, those that the agent names as fallback.
backend {group}
    balance roundrobin
    option allbackups
    # What may have been at work already is sent again only where that does no harm.
    retry-on conn-failure empty-response
    http-request disable-l7-retry unless METH_GET
"""
    yield from _checked(wanted)
    # Else a retry of the only server with a share finds it still up, and no fallback.
    yield "    default-server observe layer4 error-limit 2 on-error mark-down\n"
    yield from _left_out(wanted.endpoints)
    for region, endpoint in named:
        yield _server(region, endpoint, f"{group}/{region}")
    for region, endpoint in named:
        yield _server(
            f"{region}.fallback",
            endpoint,
            f"{group}.fallback/{region}",
            f"backup no-check track {group}/{region}",
        )
    yield f"""
# Writes: to the active region alone. Nothing goes anywhere before the agent was heard.
backend {group}.write
"""
    yield from _checked(wanted, " disabled")
    for region, endpoint in named:
        yield _server(region, endpoint, f"{group}.write/{region}")


def _checked(wanted: Wanted, more: str = "") -> Iterator[str]:
    if wanted.health_path:
        yield f"    option httpchk GET {wanted.health_path}\n"
    host, port = wanted.checks
    yield (
        "    default-server weight 100 check inter 1s fastinter 200ms fall 2 rise 2\n"
        f"    default-server agent-check agent-addr {host} agent-port {port} agent-inter 500ms{more}\n"
    )


def _left_out(endpoints: Iterable[tuple[str, str]]) -> Iterator[str]:
    for region, endpoint in endpoints:
        if not endpoint:
            yield f"    # {region} is left out: it names no endpoint.\n"


def _server(name: str, endpoint: str, question: str, more: str = "") -> str:
    words = ["    server", name, endpoint, f'agent-send "{question}\\n"']
    if more:
        words.append(more)
    if not _is_literal(endpoint):
        words.append("resolvers system init-addr last,libc,none")
    return " ".join(words) + "\n"


def _is_literal(endpoint: str) -> bool:
    host = endpoint.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

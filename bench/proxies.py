"""Real proxies in front of real services: their configuration, their processes, and requests through them.

Every proxy sends most requests to one region, retries nothing, and differs from the others in one thing: who tells it
that the region is dead.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHECK_S = 0.25
"""Interval of health checks; the probes of `primacy up` have the same."""
CHECK_TIMEOUT_S = 0.2
RISE = FALL = 2
READY_S = 15.0
TIMEOUT_S = 1.0
"""So long a client waits for an answer."""
PATH = "/healthz"
NO_RETRIES = {"X-Forwarded-For": "127.0.0.1", "X-Envoy-Max-Retries": "0"}
"""An Envoy that lets its clients say so (see `trusting`) tries a request with these headers once."""

_HTTP = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


@dataclass(frozen=True, slots=True)
class Target:
    """A region as a proxy knows it."""

    region: str
    address: str
    weight: int


def find_envoy() -> str | None:
    """Envoy's program: the environment's PRIMACY_ENVOY, else the one on the path."""
    return shutil.which(os.environ.get("PRIMACY_ENVOY") or "envoy")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def envoy_with_checks(listen: str, targets: Sequence[Target]) -> dict[str, Any]:
    """An Envoy that looks at the services by itself."""
    host, _, port = listen.rpartition(":")
    route = {"match": {"prefix": "/"}, "route": {"cluster": "services"}}
    manager = {
        "@type": _HTTP,
        "stat_prefix": "own",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
    }
    cluster = {
        "name": "services",
        "type": "STATIC",
        "connect_timeout": f"{CHECK_S}s",
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "load_assignment": {
            "cluster_name": "services",
            "endpoints": [
                {
                    "lb_endpoints": [
                        {
                            "endpoint": {"address": _address(target.address)},
                            "load_balancing_weight": target.weight,
                        }
                        for target in targets
                    ]
                }
            ],
        },
        "health_checks": [
            {
                "timeout": f"{CHECK_TIMEOUT_S}s",
                "interval": f"{CHECK_S}s",
                "no_traffic_interval": f"{CHECK_S}s",
                "unhealthy_threshold": FALL,
                "healthy_threshold": RISE,
                "http_health_check": {"path": "/healthz"},
            }
        ],
    }
    listener = {
        "name": "own",
        "address": _address(f"{host}:{port}"),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    return {"node": {"id": "own", "cluster": "own"},
            "static_resources": {"listeners": [listener], "clusters": [cluster]}}  # fmt: skip


def trusting(bootstrap: dict[str, Any]) -> dict[str, Any]:
    """The same Envoy, whose clients may say how often it tries again."""
    (listener,) = bootstrap["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    manager["internal_address_config"] = {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]}
    return bootstrap


def _address(address: str) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def haproxy_section(name: str, listen: str, targets: Sequence[Target], agent: str = "", group: str = "") -> str:
    """A frontend and its servers; with `agent` (`host:port`) it asks that one, else it looks at the services."""
    lines = [f"listen {name}", f"  bind {listen}", "  balance roundrobin"]
    every = f"{CHECK_S * 1000:.0f}ms"
    if not agent:
        lines.append(f"  option httpchk GET {PATH}")
    for target in targets:
        if agent:
            host, _, port = agent.rpartition(":")
            how = f"weight 100 agent-check agent-addr {host} agent-port {port} agent-inter {every} "
            how += f'agent-send "{group}/{target.region}\\n"'
        else:
            how = f"weight {target.weight} check inter {every} fall {FALL} rise {RISE}"
        lines.append(f"  server {target.region} {target.address} {how}")
    return "\n".join(lines) + "\n"


HAPROXY_HEAD = f"""\
global
  maxconn 2000
defaults
  mode http
  retries 0
  timeout connect {CHECK_S * 1000:.0f}ms
  timeout check {CHECK_TIMEOUT_S * 1000:.0f}ms
  timeout client 5s
  timeout server 5s
"""


@contextmanager
def envoy(program: str, bootstrap: Mapping[str, Any], folder: Path, name: str) -> Iterator[None]:
    """A running Envoy."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(bootstrap))
    command = [program, "-c", str(path), "--use-dynamic-base-id", "--concurrency", "1"]
    with _running([*command, "--log-path", str(folder / f"{name}.log"), "--log-level", "warning"]):
        yield


@contextmanager
def haproxy(program: str, sections: Sequence[str], folder: Path) -> Iterator[None]:
    """A running HAProxy."""
    path = folder / "haproxy.cfg"
    path.write_text(HAPROXY_HEAD + "".join(sections))
    with _running([program, "-db", "-q", "-f", str(path)]):
        yield


@contextmanager
def _running(command: Sequence[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
        if process.poll() is not None:
            raise RuntimeError(f"{Path(command[0]).name} ended with {process.returncode}: {' '.join(command)}")
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


# ---- requests


@dataclass(slots=True)
class Asked:
    """What came of the requests on one way."""

    began_s: list[float] = field(default_factory=list)
    """When each request that has ended began; monotonic."""
    regions: list[str] = field(default_factory=list)
    """Who answered it; empty: nobody, in time and well."""

    def add(self, began_s: float, region: str) -> None:
        self.began_s.append(began_s)
        self.regions.append(region)

    def last_lost_s(self, victim: str, since_s: float) -> float:
        """From `since_s` to the begin of the last request that the victim got, or nobody answered; 0: there is none."""
        lost = [
            began_s - since_s
            for began_s, region in zip(self.began_s, self.regions, strict=True)
            if began_s >= since_s and region in ("", victim)
        ]
        return max(lost, default=0.0)

    def count_lost(self, since_s: float) -> int:
        """How many requests that began since then got no good answer."""
        return sum(
            began_s >= since_s and not region for began_s, region in zip(self.began_s, self.regions, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Way:
    """Where requests go in, and with which headers."""

    port: int
    headers: Mapping[str, str] = field(default_factory=dict)


async def ask(way: Way) -> str:
    """One request on a connection of its own. Returns who answered, or nothing."""
    headers = {"Host": "bench", "Connection": "close", **way.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer = None
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", way.port)
            writer.write(f"GET {PATH} HTTP/1.1\r\n{head}\r\n".encode())
            answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return ""
    finally:
        if writer is not None:
            writer.transport.abort()
    status, *lines = answer.split("\r\n")
    if " 200" not in status:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("primacy-region:")), "")


class Load:
    """So many requests a second on each way, whatever becomes of those before."""

    def __init__(self, ways: Mapping[str, Way], rate: float) -> None:
        self.asked = {name: Asked() for name in ways}
        self._ways = ways
        self._rate = rate
        self._tasks: set[asyncio.Task[None]] = set()
        self._drivers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._drivers = [asyncio.create_task(self._drive(name)) for name in self._ways]

    async def stop(self) -> None:
        for task in (*self._drivers, *self._tasks):
            task.cancel()
        await asyncio.gather(*self._drivers, *self._tasks, return_exceptions=True)

    async def _drive(self, name: str) -> None:
        due_s = time.monotonic()
        while True:
            task = asyncio.create_task(self._ask(name))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            due_s += 1 / self._rate
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    async def _ask(self, name: str) -> None:
        began_s = time.monotonic()
        self.asked[name].add(began_s, await ask(self._ways[name]))

    def forget(self) -> None:
        """Begin anew, so that looking back stays cheap."""
        for asked in self.asked.values():
            asked.began_s.clear()
            asked.regions.clear()

    def recent(self, name: str, since_s: float) -> list[str]:
        """Who answered the requests on a way that began since then."""
        asked = self.asked[name]
        return [region for began, region in zip(asked.began_s, asked.regions, strict=True) if began >= since_s]

"""What must hold of a snapshot before anybody is sent it; looks at the messages alone, not at how they were made."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from primacy_agent.dataplane.xds.descriptors import message
from primacy_agent.dataplane.xds.kinds import CLUSTER, LISTENER, ROUTES

Messages = Mapping[str, Sequence[Any]]
"""By type."""
WEIGHTS_SUM_MAX = 2**32 - 1
"""Of one priority: gRPC rejects more."""
PRIORITIES_MAX = 128


def frame_problems(frame: Messages) -> Iterator[str]:
    """What is wrong among clusters, routes and listeners, for people."""
    clusters = {one.name for one in frame[CLUSTER]}
    routes = {one.name for one in frame[ROUTES]}
    for kind, noun in ((CLUSTER, "cluster"), (ROUTES, "route configuration"), (LISTENER, "listener")):
        for name in sorted(_twice(one.name for one in frame[kind])):
            yield f"the {noun} {name!r} is there twice"
    for one in frame[ROUTES]:
        for name in sorted(_clusters_of(one) - clusters):
            yield f"the routes {one.name!r} name the cluster {name!r}, which there is not"
    for one in frame[LISTENER]:
        if _routes_of(one) not in routes:
            yield f"the listener {one.name!r} names the routes {_routes_of(one)!r}, which there are not"


def assignment_problems(assignment: Any) -> Iterator[str]:
    """Everything that Envoy or gRPC would reject a `ClusterLoadAssignment` for, or take for something else."""
    cluster = assignment.cluster_name
    weights: dict[int, int] = {}
    seen = set()
    for group in assignment.endpoints:
        region, priority, weight = group.locality.region, group.priority, group.load_balancing_weight.value
        if (priority, region) in seen:
            yield f"{cluster!r}: the region {region!r} is there twice in priority {priority}"
        seen.add((priority, region))
        if weight < 1:
            yield f"{cluster!r}: the region {region!r} has no weight"
        weights[priority] = weights.get(priority, 0) + weight
        yield from _address_problems(cluster, region, group.lb_endpoints)
    if sorted(weights) != list(range(len(weights))):
        yield f"{cluster!r}: priorities are {sorted(weights)}, not 0 and up without gaps"
    if len(weights) > PRIORITIES_MAX:
        yield f"{cluster!r}: there are {len(weights)} priorities: at most {PRIORITIES_MAX} are taken"
    for priority, total in weights.items():
        if total > WEIGHTS_SUM_MAX:
            yield f"{cluster!r}: the weights of priority {priority} sum up to more than {WEIGHTS_SUM_MAX}"


def _address_problems(cluster: str, region: str, endpoints: Sequence[Any]) -> Iterator[str]:
    if not endpoints:
        yield f"{cluster!r}: the region {region!r} has no address"
    for one in endpoints:
        address = one.endpoint.address.socket_address
        if not 0 < address.port_value <= 65_535:
            yield f"{cluster!r}: the region {region!r} has the port {address.port_value}"
        if not _is_ip(address.address):
            yield f"{cluster!r}: the region {region!r} has the address {address.address!r}, which is not an IP address"


@lru_cache(maxsize=1024)
def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _clusters_of(routes: Any) -> set[str]:
    return {route.route.cluster for host in routes.virtual_hosts for route in host.routes}


def _routes_of(listener: Any) -> str:
    connections = message("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager")()
    listener.api_listener.api_listener.Unpack(connections)
    return str(connections.rds.route_config_name)


def _twice(names: Iterable[Any]) -> set[Any]:
    seen: set[Any] = set()
    return {name for name in names if name in seen or seen.add(name)}  # type: ignore[func-returns-value]

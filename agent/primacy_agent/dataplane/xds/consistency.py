"""What must hold of a snapshot before anybody is sent it; looks at the messages alone, not at how they were made."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from primacy_agent.dataplane.xds.descriptors import message
from primacy_agent.dataplane.xds.kinds import CLUSTER, ENDPOINTS, LISTENER, ROUTES

WEIGHTS_SUM_MAX = 2**32 - 1
"""Of one priority: gRPC rejects more."""
PRIORITY_MAX = 128


def problems_of(messages: Mapping[str, Iterable[Any]], withheld: frozenset[str]) -> list[str]:
    """Everything that is wrong, for people; empty if nothing is."""
    return list(_problems({kind: list(found) for kind, found in messages.items()}, withheld))


def _problems(messages: Mapping[str, list[Any]], withheld: frozenset[str]) -> Iterator[str]:
    clusters = [one.name for one in messages[CLUSTER]]
    assigned = [one.cluster_name for one in messages[ENDPOINTS]]
    routes = [one.name for one in messages[ROUTES]]
    for kind, names in (("cluster", clusters), ("assignment", assigned), ("route configuration", routes)):
        yield from (f"the {kind} {name!r} is there twice" for name in sorted(_twice(names)))
    for name in sorted(set(clusters) - set(assigned) - withheld):
        yield f"the cluster {name!r} has no endpoint assignment"
    for name in sorted((set(assigned) | withheld) - set(clusters)):
        yield f"there are endpoints for {name!r}, which is no cluster"
    for one in messages[ROUTES]:
        for name in sorted(_clusters_of(one) - set(clusters)):
            yield f"the routes {one.name!r} name the cluster {name!r}, which there is not"
    for one in messages[LISTENER]:
        if _routes_of(one) not in routes:
            yield f"the listener {one.name!r} names the routes {_routes_of(one)!r}, which there are not"
    for one in messages[ENDPOINTS]:
        yield from (f"endpoints of {one.cluster_name!r}: {problem}" for problem in assignment_problems(one))


def assignment_problems(assignment: Any) -> Iterator[str]:
    """Everything that Envoy or gRPC would reject a `ClusterLoadAssignment` for, or take for something else."""
    by_priority: dict[int, list[Any]] = {}
    for group in assignment.endpoints:
        by_priority.setdefault(group.priority, []).append(group)
    if sorted(by_priority) != list(range(len(by_priority))):
        yield f"priorities are {sorted(by_priority)}, not 0 and up without gaps"
    if len(by_priority) > PRIORITY_MAX:
        yield f"there are {len(by_priority)} priorities: at most {PRIORITY_MAX} are taken"
    for priority, groups in sorted(by_priority.items()):
        names = [(group.locality.region, group.locality.zone, group.locality.sub_zone) for group in groups]
        for region, *_ in sorted(_twice(names)):
            yield f"the region {region!r} is there twice in priority {priority}"
        if sum(group.load_balancing_weight.value for group in groups) > WEIGHTS_SUM_MAX:
            yield f"the weights of priority {priority} sum up to more than {WEIGHTS_SUM_MAX}"
        for group in groups:
            if group.load_balancing_weight.value < 1:
                yield f"the region {group.locality.region!r} has no weight"
            yield from _address_problems(group)


def _address_problems(group: Any) -> Iterator[str]:
    region = group.locality.region
    if not group.lb_endpoints:
        yield f"the region {region!r} has no address"
    for endpoint in group.lb_endpoints:
        address = endpoint.endpoint.address.socket_address
        if not 0 < address.port_value <= 65_535:
            yield f"the region {region!r} has the port {address.port_value}"
        try:
            ipaddress.ip_address(address.address)
        except ValueError:
            yield f"the region {region!r} has the address {address.address!r}, which is not an IP address"


def _clusters_of(routes: Any) -> set[str]:
    return {route.route.cluster for host in routes.virtual_hosts for route in host.routes}


def _routes_of(listener: Any) -> str:
    connections = message("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager")()
    listener.api_listener.api_listener.Unpack(connections)
    return str(connections.rds.route_config_name)


def _twice(names: Iterable[Any]) -> set[Any]:
    seen: set[Any] = set()
    return {name for name in names if name in seen or seen.add(name)}  # type: ignore[func-returns-value]

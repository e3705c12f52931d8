"""Builds where the requests of a cluster go: localities are regions, and their weights the row's shares.

Who is meant to get nothing is left out. Were such a region listed as draining or unhealthy, Envoy would count it as
lost capacity of its priority and spill to the next one. A weight of 0 is no way either: Envoy rejects it, and when all
are left out it spreads evenly over everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from primacy_agent.core.traffic import Row
from primacy_agent.dataplane.addresses import Address
from primacy_agent.dataplane.xds.descriptors import message

WEIGHT_MAX = 10_000
"""What a share of 1 becomes. The least is 1: a region with a share, however small, has one."""
FALLBACK_MAX = 16
"""Priorities beyond the first; Envoy takes 128."""


def build_endpoints(
    cluster: str,
    row: Row,
    fallback: tuple[str, ...],
    places: Mapping[str, tuple[Address, ...]],
    overprovisioning: float,
) -> Any | None:
    """A `ClusterLoadAssignment`, or None if no region with a share has an address: then what was before stays.

    The first priority has the regions with a share; each of `fallback` follows as a priority of its own. A row that
    is all zero makes an assignment that is empty on purpose.
    """
    assignment = message("envoy.config.endpoint.v3.ClusterLoadAssignment")(
        cluster_name=cluster,
        policy={"overprovisioning_factor": {"value": max(100, round(overprovisioning * 100))}},
    )
    shares = [(region, share) for region, share in row if share > 0]
    if not shares:
        return assignment
    for region, share in shares:
        if region in places:
            _add(assignment, region, weight(share), 0, places[region])
    if not assignment.endpoints:
        return None
    listed = {region for region, _ in shares}
    others = [region for region in dict.fromkeys(fallback) if region in places and region not in listed]
    for priority, region in enumerate(others[:FALLBACK_MAX], start=1):
        _add(assignment, region, WEIGHT_MAX, priority, places[region])
    return assignment


def weight(share: float) -> int:
    """1 to `WEIGHT_MAX`."""
    return min(WEIGHT_MAX, max(1, round(share * WEIGHT_MAX)))


def _add(assignment: Any, region: str, share: int, priority: int, addresses: tuple[Address, ...]) -> None:
    assignment.endpoints.add(
        locality={"region": region},
        load_balancing_weight={"value": share},
        priority=priority,
        lb_endpoints=[
            {
                "endpoint": {"address": {"socket_address": {"address": ip, "port_value": port}}},
                "health_status": "HEALTHY",
            }
            for ip, port in addresses
        ],
    )

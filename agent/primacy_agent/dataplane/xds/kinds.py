"""The types of resources that there are, and in which order they are pushed."""

from __future__ import annotations

_TYPE = "type.googleapis.com/"

CLUSTER = _TYPE + "envoy.config.cluster.v3.Cluster"
ENDPOINTS = _TYPE + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = _TYPE + "envoy.config.listener.v3.Listener"
ROUTES = _TYPE + "envoy.config.route.v3.RouteConfiguration"

SHORT = {CLUSTER: "cds", ENDPOINTS: "eds", LISTENER: "lds", ROUTES: "rds"}
"""In the order in which they are pushed: nothing names what the client has not been sent."""

IN_FULL = frozenset({CLUSTER, LISTENER})
"""Of these a client may ask for all, by naming none; and what a response leaves out does not exist."""


def short(type_url: str) -> str:
    """For people."""
    return SHORT.get(type_url, "other")

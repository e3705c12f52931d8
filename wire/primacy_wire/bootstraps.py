"""What Envoy and gRPC clients start with: where an agent's xDS server is, and what to ask of it.

Envoy gets one listener. Its routes, clusters and endpoints come from the agent: requests with the header
`Primacy-Class: write` go to the cluster `GROUP.write`, all others to `GROUP`. Until the agent has said where requests
go, the listener is closed. gRPC clients dial `xds:///GROUP`, or `xds:///GROUP.write` for writes.
"""

from __future__ import annotations

import ipaddress
from typing import Any

UNIX = "unix:"
CLASS_HEADER = "primacy-class"
WRITE_SUFFIX = ".write"
"""Of the cluster that gets the writes of a group."""
XDS_CLUSTER = "primacy-xds"
"""Envoy's name for the agent."""
ADMIN = "127.0.0.1:0"

_HTTP2 = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_HTTP = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_BY_AGENT = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
"""Wait for the agent as long as it takes: better no answer than a wrong one."""


def envoy_bootstrap(
    xds: str, group: str, region: str, listen: str, node: str, admin: str = ADMIN, incremental: bool = False
) -> dict[str, Any]:
    """An Envoy that listens at `listen` (`host:port`) and follows the agent whose xDS server is at `xds`
    (`host:port` or `unix:PATH`).

    `admin` with port 0 takes any free one, which Envoy logs; empty, there is none. Raises ValueError for an address
    that is none.
    """
    agent = _agent_cluster(xds)
    bootstrap: dict[str, Any] = {
        "node": {"id": node, "cluster": group, "locality": {"region": region}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC" if incremental else "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [_to_agent()],
            },
            "cds_config": _BY_AGENT,
        },
        # What was sent where, for `primacy` to count.
        "cluster_manager": {
            "load_stats_config": {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [_to_agent()]}
        },
        "static_resources": {"listeners": [_listener(group, listen)], "clusters": [agent]},
    }
    if admin:
        bootstrap["admin"] = {"address": _address(admin)}
    return bootstrap


def grpc_bootstrap(xds: str, group: str, region: str, node: str) -> dict[str, Any]:
    """For `GRPC_XDS_BOOTSTRAP` (a file) or `GRPC_XDS_BOOTSTRAP_CONFIG` (its content), set before the first channel."""
    _endpoint(xds)
    return {
        "xds_servers": [
            {"server_uri": xds, "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]},
        ],
        "node": {"id": node, "cluster": group, "locality": {"region": region}},
    }


def _to_agent() -> dict[str, Any]:
    return {
        "envoy_grpc": {
            "cluster_name": XDS_CLUSTER,
            # By default the wait between tries grows to half a minute.
            "retry_policy": {"retry_back_off": {"base_interval": "0.2s", "max_interval": "2s"}},
        }
    }


def _agent_cluster(xds: str) -> dict[str, Any]:
    return {
        "name": XDS_CLUSTER,
        "type": "STATIC" if _is_literal(xds) else "STRICT_DNS",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _HTTP2,
                "explicit_http_config": {
                    # Else an agent that hangs is never noticed.
                    "http2_protocol_options": {"connection_keepalive": {"interval": "5s", "timeout": "2s"}}
                },
            }
        },
        "load_assignment": {
            "cluster_name": XDS_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _endpoint(xds)}}]}],
        },
    }


def _listener(group: str, listen: str) -> dict[str, Any]:
    return {
        "name": group,
        "address": _address(listen),
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": {
                            "@type": _HTTP,
                            "stat_prefix": group,
                            "rds": {"config_source": _BY_AGENT, "route_config_name": group},
                            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
                        },
                    }
                ]
            }
        ],
    }


def _endpoint(address: str) -> dict[str, Any]:
    if address.startswith(UNIX):
        path = address.removeprefix(UNIX)
        if not path:
            raise ValueError(f"{address!r} is not an address: write host:port, [v6-address]:port or unix:PATH")
        return {"pipe": {"path": path}}
    return _address(address)


def _address(address: str) -> dict[str, Any]:
    host, port = _split(address)
    return {"socket_address": {"address": host, "port_value": port}}


def _split(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    wrong = not colon or not host or (":" in host) != bracketed or not (port.isascii() and port.isdigit())
    if wrong or int(port) > 65_535:
        raise ValueError(f"{address!r} is not an address: write host:port or [v6-address]:port")
    return host, int(port)


def _is_literal(xds: str) -> bool:
    if xds.startswith(UNIX):
        return True
    try:
        ipaddress.ip_address(_split(xds)[0])
    except ValueError:
        return False
    return True

"""Builds what a gRPC client finds under the name that it dials: `xds:///GROUP`. Envoy has its listener itself."""

from __future__ import annotations

from typing import Any

from primacy_agent.dataplane.xds.descriptors import message


def build_listener(name: str) -> Any:
    """A `Listener` for the routes of the same name."""
    connections = message("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager")(
        rds={"config_source": {"ads": {}, "resource_api_version": "V3"}, "route_config_name": name}
    )
    router = connections.http_filters.add(name="envoy.filters.http.router")
    router.typed_config.Pack(message("envoy.extensions.filters.http.router.v3.Router")())
    listener = message("envoy.config.listener.v3.Listener")(name=name)
    listener.api_listener.api_listener.Pack(connections)
    return listener

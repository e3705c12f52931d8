"""Builds how a proxy deals with the regions of one traffic class: what it tries again, sets aside, and bounds."""

from __future__ import annotations

from typing import Any

from primacy_agent.dataplane.config import UpstreamProtocol
from primacy_agent.dataplane.xds.descriptors import message

_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

REQUESTS_MAX = 100_000
"""At once, of a proxy: how much regions can bear is for weights to say, not for a proxy's default of 1,024."""
RETRIES_MAX = 1_000
"""At once. Envoy's default of 3 lets nearly all requests fail that a dead region takes with it."""
CONNECT_TIMEOUT_S = 1
FETCH_TIMEOUT_S = 5
"""A new cluster without endpoints holds up a proxy's start, and the other cluster, for no longer."""


def build_cluster(name: str, protocol: UpstreamProtocol, panic_threshold: float, outliers: bool) -> Any:
    """A `Cluster` whose endpoints come from this server. `outliers`: a region that fails is set aside for a moment."""
    cluster = message("envoy.config.cluster.v3.Cluster")(
        name=name,
        type="EDS",
        eds_cluster_config={
            "eds_config": {
                "ads": {},
                "resource_api_version": "V3",
                "initial_fetch_timeout": {"seconds": FETCH_TIMEOUT_S},
            }
        },
        connect_timeout={"seconds": CONNECT_TIMEOUT_S},
        lb_policy="ROUND_ROBIN",
        common_lb_config={
            "healthy_panic_threshold": {"value": min(100.0, max(0.0, panic_threshold * 100))},
            # Without it Envoy does not look at the weights.
            "locality_weighted_lb_config": {},
        },
        circuit_breakers={
            "thresholds": [
                {
                    "max_connections": {"value": REQUESTS_MAX},
                    "max_pending_requests": {"value": REQUESTS_MAX},
                    "max_requests": {"value": REQUESTS_MAX},
                    "max_retries": {"value": RETRIES_MAX},
                }
            ]
        },
        # A region that is cut off answers nothing: without probes a connection to it would seem alive for hours.
        upstream_connection_options={
            "tcp_keepalive": {
                "keepalive_probes": {"value": 3},
                "keepalive_time": {"value": 5},
                "keepalive_interval": {"value": 1},
            }
        },
        # gRPC clients report their load only where they are told to; Envoy has it in its bootstrap.
        lrs_server={"self": {}},
    )
    if outliers:
        cluster.outlier_detection.CopyFrom(_outliers())
    if protocol is UpstreamProtocol.HTTP2:
        options = message(_HTTP)(
            explicit_http_config={
                "http2_protocol_options": {
                    "connection_keepalive": {"interval": {"seconds": 5}, "timeout": {"seconds": 2}},
                }
            }
        )
        cluster.typed_extension_protocol_options[_HTTP].Pack(options)
    return cluster


def _outliers() -> Any:
    """One failing region is set aside at once and looked at again soon: the coordinator has the last word on where
    traffic goes. All of them may be: then the panic threshold, or the next priority, has its say."""
    return message("envoy.config.cluster.v3.OutlierDetection")(
        consecutive_5xx={"value": 10},
        consecutive_gateway_failure={"value": 5},
        enforcing_consecutive_gateway_failure={"value": 100},
        split_external_local_origin_errors=True,
        consecutive_local_origin_failure={"value": 3},
        interval={"seconds": 1},
        base_ejection_time={"seconds": 1},
        max_ejection_time={"seconds": 10},
        max_ejection_percent={"value": 100},
        # By comparison with other hosts: two regions are too few for that.
        enforcing_success_rate={"value": 0},
        enforcing_local_origin_success_rate={"value": 0},
    )

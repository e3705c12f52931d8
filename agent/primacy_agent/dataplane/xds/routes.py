"""Builds which cluster a request goes to, and what is tried again.

Requests that carry the header `Primacy-Class: write` are writes, all others reads. Whoever calls something a read says
that it may be done twice.
"""

from __future__ import annotations

from typing import Any

from primacy_wire.bootstraps import CLASS_HEADER

from primacy_agent.dataplane.xds.descriptors import message

READ_RETRIES = "connect-failure,refused-stream,reset,retriable-status-codes,unavailable"
"""What a region that has just died does to requests, in the words of Envoy (all) and gRPC (the last)."""
WRITE_RETRIES = "connect-failure,refused-stream,reset-before-request"
"""Only what has not reached the region: a write that may have been done is its caller's to repeat."""
RETRIES = 3
SERVICE_UNAVAILABLE = 503
HOSTS_TRIED_MAX = 16
"""How often another host is drawn when the drawn one has failed this request already."""


def build_routes(name: str, read: str, write: str) -> Any:
    """A `RouteConfiguration` for both classes."""
    return message("envoy.config.route.v3.RouteConfiguration")(
        name=name,
        virtual_hosts=[
            {
                "name": name,
                "domains": ["*"],
                "routes": [
                    {
                        "match": {
                            "prefix": "",
                            "headers": [{"name": CLASS_HEADER, "string_match": {"exact": "write"}}],
                        },
                        "route": _to(write, _write_retries()),
                    },
                    {"match": {"prefix": ""}, "route": _to(read, _read_retries())},
                ],
            }
        ],
    )


def build_write_routes(name: str, write: str) -> Any:
    """A `RouteConfiguration` for callers that do nothing but write."""
    return message("envoy.config.route.v3.RouteConfiguration")(
        name=name,
        virtual_hosts=[
            {
                "name": name,
                "domains": ["*"],
                "routes": [{"match": {"prefix": ""}, "route": _to(write, _write_retries())}],
            }
        ],
    )


def _to(cluster: str, retries: Any) -> Any:
    # No bound on how long a request may take (Envoy's own is 15 s): that is for the caller and the service to say.
    return message("envoy.config.route.v3.RouteAction")(cluster=cluster, timeout={}, retry_policy=retries)


def _read_retries() -> Any:
    policy = _retries(READ_RETRIES)
    policy.retriable_status_codes.append(SERVICE_UNAVAILABLE)
    predicate = policy.retry_host_predicate.add(name="envoy.retry_host_predicates.previous_hosts")
    predicate.typed_config.Pack(message("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate")())
    policy.host_selection_retry_max_attempts = HOSTS_TRIED_MAX
    # The first two tries are of the regions with a share, the others of what stands behind them.
    policy.retry_priority.name = "envoy.retry_priorities.previous_priorities"
    policy.retry_priority.typed_config.Pack(
        message("envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig")(update_frequency=2)
    )
    return policy


def _write_retries() -> Any:
    return _retries(WRITE_RETRIES)


def _retries(on: str) -> Any:
    return message("envoy.config.route.v3.RetryPolicy")(
        retry_on=on,
        num_retries={"value": RETRIES},
        retry_back_off={"base_interval": {"nanos": 5_000_000}, "max_interval": {"nanos": 100_000_000}},
    )

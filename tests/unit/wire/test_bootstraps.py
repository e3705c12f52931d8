"""What Envoy and gRPC clients start with. That a real Envoy takes it is tried with a real one."""

from __future__ import annotations

import json

import pytest
from primacy_wire.bootstraps import envoy_bootstrap, grpc_bootstrap


def test_envoy_takes_everything_but_its_listener_from_the_agent() -> None:
    made = envoy_bootstrap("127.0.0.1:7420", "shop", "us-east", "0.0.0.0:80", "envoy-1")
    assert json.loads(json.dumps(made)) == made
    assert made["node"] == {"id": "envoy-1", "cluster": "shop", "locality": {"region": "us-east"}}
    assert made["dynamic_resources"]["ads_config"]["api_type"] == "GRPC"
    (listener,) = made["static_resources"]["listeners"]
    assert listener["address"] == {"socket_address": {"address": "0.0.0.0", "port_value": 80}}
    (agent,) = made["static_resources"]["clusters"]
    assert agent["type"] == "STATIC"
    assert made["admin"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 0}


def test_envoy_may_take_changes_only_and_have_no_admin_page() -> None:
    made = envoy_bootstrap("127.0.0.1:1", "shop", "us-east", "[::]:80", "envoy-1", admin="", incremental=True)
    assert made["dynamic_resources"]["ads_config"]["api_type"] == "DELTA_GRPC"
    assert "admin" not in made
    assert made["static_resources"]["listeners"][0]["address"]["socket_address"]["address"] == "::"


@pytest.mark.parametrize(
    ("xds", "kind", "address"),
    [
        ("unix:/run/agent.sock", "STATIC", {"pipe": {"path": "/run/agent.sock"}}),
        ("[::1]:7420", "STATIC", {"socket_address": {"address": "::1", "port_value": 7420}}),
        ("agent.internal:7420", "STRICT_DNS", {"socket_address": {"address": "agent.internal", "port_value": 7420}}),
    ],
)
def test_the_agent_may_be_anywhere(xds: str, kind: str, address: dict[str, object]) -> None:
    (agent,) = envoy_bootstrap(xds, "shop", "us-east", "127.0.0.1:80", "envoy-1")["static_resources"]["clusters"]
    assert agent["type"] == kind
    (group,) = agent["load_assignment"]["endpoints"]
    assert group["lb_endpoints"] == [{"endpoint": {"address": address}}]


def test_a_grpc_client_is_told_who_it_is_and_whom_to_ask() -> None:
    made = grpc_bootstrap("unix:/run/agent.sock", "shop", "us-east", "client-1")
    assert made["xds_servers"][0]["server_uri"] == "unix:/run/agent.sock"
    assert made["node"]["id"] == "client-1"


@pytest.mark.parametrize(
    "wrong", ["", "here", "here:", ":80", "::1:80", "[here]:80", "here:port", "here:65536", "unix:"]
)
def test_what_is_no_address_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        envoy_bootstrap("127.0.0.1:1", "shop", "us-east", wrong, "envoy-1")
    with pytest.raises(ValueError, match="is not an address"):
        envoy_bootstrap(wrong, "shop", "us-east", "127.0.0.1:1", "envoy-1")
    with pytest.raises(ValueError, match="is not an address"):
        grpc_bootstrap(wrong, "shop", "us-east", "client-1")

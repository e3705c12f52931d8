"""Translates between the messages of the discovery services and the values of the two protocols."""

from __future__ import annotations

from typing import Any

from primacy_agent.dataplane.xds.descriptors import message
from primacy_agent.dataplane.xds.incremental import DeltaRequest, DeltaResponse
from primacy_agent.dataplane.xds.snapshot import Resource
from primacy_agent.dataplane.xds.world import WorldRequest, WorldResponse

TEXT_LENGTH_MAX = 256
"""Of what a client says of itself."""


def parse_world(request: Any, only_type: str) -> WorldRequest:
    """`only_type` is that of a service of one type; its clients need not name it."""
    return WorldRequest(
        request.type_url or only_type,
        tuple(request.resource_names),
        request.response_nonce,
        request.error_detail.message if request.HasField("error_detail") else None,
    )


def parse_delta(request: Any, only_type: str) -> DeltaRequest:
    """As `parse_world`."""
    return DeltaRequest(
        request.type_url or only_type,
        tuple(request.resource_names_subscribe),
        tuple(request.resource_names_unsubscribe),
        tuple(request.initial_resource_versions.items()),
        request.response_nonce,
        request.error_detail.message if request.HasField("error_detail") else None,
    )


def render_world(response: WorldResponse) -> Any:
    built = message("envoy.service.discovery.v3.DiscoveryResponse")(
        type_url=response.type_url, version_info=response.version, nonce=response.nonce
    )
    for one in response.resources:
        built.resources.add(type_url=response.type_url, value=one.body)
    return built


def render_delta(response: DeltaResponse) -> Any:
    built = message("envoy.service.discovery.v3.DeltaDiscoveryResponse")(
        type_url=response.type_url,
        system_version_info=response.version,
        nonce=response.nonce,
        removed_resources=response.removed,
    )
    for one in response.resources:
        _add(built, response.type_url, one)
    return built


def _add(built: Any, type_url: str, one: Resource) -> None:
    built.resources.add(name=one.name, version=one.version, resource={"type_url": type_url, "value": one.body})


def describe_node(node: Any) -> tuple[str, str]:
    """(id, program and version) of a client, as it says."""
    program = node.user_agent_name
    version = node.user_agent_version
    if node.HasField("user_agent_build_version"):
        number = node.user_agent_build_version.version
        version = f"{number.major_number}.{number.minor_number}.{number.patch}"
    return node.id[:TEXT_LENGTH_MAX], f"{program}/{version}"[:TEXT_LENGTH_MAX] if version else program[:TEXT_LENGTH_MAX]

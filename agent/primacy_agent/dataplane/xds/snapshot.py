"""Everything that clients can be sent, at one instant: a frozen value that is published as a whole or not at all.

Versions are hashes of contents: a server that starts anew says the same of the same, so that clients which say what
they hold (the incremental protocol) are sent what they lack and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from primacy_wire.bootstraps import WRITE_SUFFIX

from primacy_agent.core.traffic import Traffic
from primacy_agent.dataplane.addresses import Places
from primacy_agent.dataplane.config import UpstreamProtocol
from primacy_agent.dataplane.xds.clusters import build_cluster
from primacy_agent.dataplane.xds.endpoints import build_endpoints
from primacy_agent.dataplane.xds.kinds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SHORT
from primacy_agent.dataplane.xds.listeners import build_listener
from primacy_agent.dataplane.xds.routes import build_routes, build_write_routes

VERSION_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Resource:
    """One thing that clients can be sent."""

    name: str
    version: str
    body: bytes
    """The message, serialized."""


Named = Mapping[str, Resource]
_NOTHING: Named = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of them. What it names it has, but for what is withheld."""

    weights_version: int
    """The coordinator's."""
    version: str
    resources: Mapping[str, Named]
    """By type and name."""
    withheld: frozenset[str]
    """Names of endpoint assignments that are not known yet: clients that ask for them wait."""

    def of(self, type_url: str) -> Named:
        """By name, sorted."""
        return self.resources.get(type_url, _NOTHING)


def digest(parts: Iterable[bytes]) -> str:
    """Version of what is made of these."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(len(part).to_bytes(8))
        hashed.update(part)
    return hashed.hexdigest()[:VERSION_LENGTH]


def combined_version(resources: Iterable[Resource]) -> str:
    """Version of several resources together."""
    return digest(part.encode() for one in resources for part in (one.name, one.version))


def build_messages(
    traffic: Traffic, places: Places, protocol: UpstreamProtocol, before: Snapshot | None
) -> tuple[dict[str, list[Any]], frozenset[str]]:
    """(messages by type, names of withheld endpoint assignments).

    A row none of whose regions has an address keeps the assignment that it had before; without one it is withheld.
    """
    read, write = traffic.group, traffic.group + WRITE_SUFFIX
    found = {
        read: build_endpoints(read, traffic.read, traffic.fallback, places.addresses, traffic.overprovisioning),
        write: build_endpoints(write, traffic.write, (), places.addresses, traffic.overprovisioning),
    }
    assignments, withheld = [], set()
    for name, assignment in found.items():
        last = before.of(ENDPOINTS).get(name) if before is not None else None
        if assignment is not None:
            assignments.append(assignment)
        elif last is not None:
            assignments.append(_parse_assignment(last.body))
        else:
            withheld.add(name)
    messages = {
        CLUSTER: [
            build_cluster(read, protocol, traffic.panic_threshold, outliers=True),
            # There is nowhere else to send writes to: nobody is set aside.
            build_cluster(write, protocol, traffic.panic_threshold, outliers=False),
        ],
        ENDPOINTS: assignments,
        LISTENER: [build_listener(read), build_listener(write)],
        ROUTES: [build_routes(read, read, write), build_write_routes(write, write)],
    }
    return messages, frozenset(withheld)


def freeze(messages: Mapping[str, Iterable[Any]], withheld: frozenset[str], weights_version: int) -> Snapshot:
    """The value that is published."""
    resources: dict[str, Named] = {}
    for type_url in SHORT:
        made = [_resource(one) for one in messages.get(type_url, ())]
        resources[type_url] = MappingProxyType({one.name: one for one in sorted(made, key=lambda one: one.name)})
    version = digest(
        part.encode() for named in resources.values() for one in named.values() for part in (one.name, one.version)
    )
    return Snapshot(weights_version, version, MappingProxyType(resources), withheld)


def _resource(built: Any) -> Resource:
    name = built.cluster_name if built.DESCRIPTOR.name == "ClusterLoadAssignment" else built.name
    body = built.SerializeToString(deterministic=True)
    return Resource(name, digest([body]), body)


def _parse_assignment(body: bytes) -> Any:
    from primacy_agent.dataplane.xds.descriptors import message

    return message("envoy.config.endpoint.v3.ClusterLoadAssignment").FromString(body)

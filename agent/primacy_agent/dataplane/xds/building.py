"""Builds snapshots from the weights and the regions' addresses, and says what is wrong with one before it is published.

What is costly is done once for the same input: most changes are of one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from primacy_wire.bootstraps import WRITE_SUFFIX

from primacy_agent.core.traffic import Row, Traffic
from primacy_agent.dataplane.addresses import Places
from primacy_agent.dataplane.config import UpstreamProtocol
from primacy_agent.dataplane.xds.clusters import build_cluster
from primacy_agent.dataplane.xds.consistency import Messages, assignment_problems, frame_problems
from primacy_agent.dataplane.xds.endpoints import build_endpoints
from primacy_agent.dataplane.xds.kinds import CLUSTER, ENDPOINTS, LISTENER, ROUTES
from primacy_agent.dataplane.xds.listeners import build_listener
from primacy_agent.dataplane.xds.routes import build_routes, build_write_routes
from primacy_agent.dataplane.xds.snapshot import Named, Resource, Snapshot, combined_version, digest


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """All but the endpoints, which are what changes."""

    resources: Mapping[str, Named]
    version: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where the requests of one cluster go."""

    resource: Resource
    problems: tuple[str, ...] = ()


def build_messages(group: str, protocol: UpstreamProtocol, panic_threshold: float) -> Messages:
    """All but the endpoints."""
    read, write = group, group + WRITE_SUFFIX
    return {
        CLUSTER: (
            build_cluster(read, protocol, panic_threshold, outliers=True),
            # There is nowhere else to send writes to: nobody is set aside.
            build_cluster(write, protocol, panic_threshold, outliers=False),
        ),
        LISTENER: (build_listener(read), build_listener(write)),
        ROUTES: (build_routes(read, read, write), build_write_routes(write, write)),
    }


@lru_cache(maxsize=4)
def build_frame(group: str, protocol: UpstreamProtocol, panic_threshold: float) -> Frame:
    """The same as resources."""
    messages = build_messages(group, protocol, panic_threshold)
    resources = {
        kind: _named(_resource(one.name, one) for one in messages[kind]) for kind in (CLUSTER, LISTENER, ROUTES)
    }
    version = combined_version(one for named in resources.values() for one in named.values())
    return Frame(resources, version, tuple(frame_problems(messages)))


def build_assignments(
    traffic: Traffic, places: Places, before: Snapshot | None
) -> tuple[list[Assignment], frozenset[str]]:
    """(where requests go, names of the clusters of which that is not known yet).

    A row none of whose regions has an address keeps what it had before; if that is nothing, it is withheld.
    """
    read, write = traffic.group, traffic.group + WRITE_SUFFIX
    found = {
        read: _assigned(read, traffic.read, traffic.fallback, places, traffic.overprovisioning),
        write: _assigned(write, traffic.write, (), places, traffic.overprovisioning),
    }
    last = before.of(ENDPOINTS) if before is not None else {}
    assignments, withheld = [], set()
    for name, assignment in found.items():
        if assignment is not None:
            assignments.append(assignment)
        elif name in last:
            assignments.append(Assignment(last[name]))
        else:
            withheld.add(name)
    return assignments, frozenset(withheld)


def assign(message: Any) -> Assignment:
    """A `ClusterLoadAssignment` as a resource."""
    return Assignment(_resource(message.cluster_name, message), tuple(assignment_problems(message)))


def problems_of(frame: Frame, assignments: Sequence[Assignment], withheld: frozenset[str]) -> Iterator[str]:
    """Everything that is wrong, for people; nothing with any of it may be published."""
    yield from frame.problems
    clusters, assigned = frame.resources[CLUSTER].keys(), {one.resource.name for one in assignments}
    for name in sorted(clusters - assigned - withheld):
        yield f"the cluster {name!r} has no endpoint assignment"
    for name in sorted((assigned | withheld) - clusters):
        yield f"there are endpoints for {name!r}, which is no cluster"
    if len(assigned) < len(assignments):
        yield "a cluster has two endpoint assignments"
    for one in assignments:
        yield from one.problems


def freeze(frame: Frame, assignments: Iterable[Assignment], withheld: frozenset[str], weights_version: int) -> Snapshot:
    """The value that is published."""
    resources = {**frame.resources, ENDPOINTS: _named(one.resource for one in assignments)}
    version = digest((frame.version.encode(), combined_version(resources[ENDPOINTS].values()).encode()))
    return Snapshot(weights_version, version, MappingProxyType(resources), withheld)


@lru_cache(maxsize=4)
def _assigned(
    cluster: str, row: Row, fallback: tuple[str, ...], places: Places, overprovisioning: float
) -> Assignment | None:
    built = build_endpoints(cluster, row, fallback, places.addresses, overprovisioning)
    return assign(built) if built is not None else None


def _named(resources: Iterable[Resource]) -> Named:
    """By name, sorted."""
    return MappingProxyType({one.name: one for one in sorted(resources, key=lambda one: one.name)})


def _resource(name: str, message: Any) -> Resource:
    body = message.SerializeToString(deterministic=True)
    return Resource(name, digest([body]), body)

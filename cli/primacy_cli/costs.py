"""What the group loses when a region no longer takes part: said before anybody agrees to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from primacy_cli.session import Session

if TYPE_CHECKING:
    from primacy.v1.region_pb2 import Region


def get_region(session: Session, name: str) -> Region:
    """Raises CommandFailed."""
    from primacy.v1.region_service_pb2 import GetRegionRequest
    from primacy.v1.region_service_pb2_grpc import RegionServiceStub

    request = GetRegionRequest(group=session.group, name=name)
    return session.ask(RegionServiceStub(session.channel).GetRegion, request).region


def traffic_lines(session: Session, region: Region) -> list[str]:
    """Which traffic and capacity would have to be had elsewhere. Raises CommandFailed."""
    from primacy.v1.routing_service_pb2 import GetWeightsRequest
    from primacy.v1.routing_service_pb2_grpc import RoutingServiceStub

    from primacy_cli.regions_table import status_text
    from primacy_cli.words import number, share

    weights = session.ask(RoutingServiceStub(session.channel).GetWeights, GetWeightsRequest(group=session.group))
    reads = sum(row.weights.get(region.name, 0.0) for row in weights.rows) / max(1, len(weights.rows))
    capacity = f"{number(region.capacity)} requests per second" if region.capacity else "an unknown capacity"
    active = " and active" if region.active else ""
    return [
        f"{region.name} is {status_text(region.status).plain}{active}. The group loses {capacity}.",
        f"It serves {share(reads) if reads else 'none'} of the reads; the others take them over.",
    ]

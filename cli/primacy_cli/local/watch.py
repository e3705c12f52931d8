"""Asks a local cluster how it is, and whether it is ready."""

from __future__ import annotations

from types import TracebackType

import grpc
from primacy.agent.v1 import local_service_pb2
from primacy.agent.v1.local_service_pb2_grpc import LocalServiceStub
from primacy.v1 import election_pb2, region_pb2, status_service_pb2
from primacy.v1.status_service_pb2_grpc import StatusServiceStub
from primacy_wire.channel import make_sync_channel

from primacy_cli.local.plan import ClusterPlan

ASK_S_MAX = 1.0


class Watch:
    """Open channels to the coordinator and, until all have weights, to the agents."""

    def __init__(self, plan: ClusterPlan) -> None:
        self._coordinator = make_sync_channel(plan.coordinator.grpc)
        self._agents = {each.place.name: make_sync_channel(each.agent.grpc) for each in plan.regions}
        self._regions = {each.place.name for each in plan.regions}

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channel in (self._coordinator, *self._agents.values()):
            channel.close()

    def status(self) -> status_service_pb2.GetStatusResponse | None:
        """The group, or None while the coordinator does not answer."""
        request = status_service_pb2.GetStatusRequest()
        try:
            return StatusServiceStub(self._coordinator).GetStatus(request, timeout=ASK_S_MAX)
        except grpc.RpcError:
            return None

    def missing(self, status: status_service_pb2.GetStatusResponse | None) -> list[str]:
        """What the cluster still needs to be ready; empty when it is."""
        if status is None:
            return ["the coordinator does not answer"]
        found = []
        regions = {region.name: region for region in status.regions}
        for name in sorted(self._regions):
            region = regions.get(name)
            if region is None or not any(agent.connected for agent in region.agents):
                found.append(f"the agent of {name} has no session")
            elif region.status != region_pb2.REGION_STATUS_HEALTHY:
                word = region_pb2.RegionStatus.Name(region.status).removeprefix("REGION_STATUS_")
                found.append(f"{name} is {word}: {region.status_reason}")
        if status.lease.phase != election_pb2.LEASE_PHASE_ACCEPTED or not status.active_region:
            found.append("no region has accepted the active lease")
        return found or self._without_weights()

    def _without_weights(self) -> list[str]:
        """Agents that got no weights yet; the channels of the others are closed."""
        for name, channel in list(self._agents.items()):
            request = local_service_pb2.GetWeightsRequest()
            try:
                answer = LocalServiceStub(channel).GetWeights(request, timeout=ASK_S_MAX)
            except grpc.RpcError:
                continue
            if answer.HasField("row"):
                channel.close()
                del self._agents[name]
        return [f"the agent of {name} has no weights" for name in sorted(self._agents)]

"""Asks a local cluster how it is, and whether it is ready."""

from __future__ import annotations

from types import TracebackType

import grpc
from primacy.agent.v1 import local_service_pb2
from primacy.agent.v1.local_service_pb2_grpc import LocalServiceStub
from primacy.v1 import election_pb2, policy_service_pb2, region_pb2, region_service_pb2, status_service_pb2
from primacy.v1.policy_service_pb2_grpc import PolicyServiceStub
from primacy.v1.region_service_pb2_grpc import RegionServiceStub
from primacy.v1.status_service_pb2_grpc import StatusServiceStub
from primacy_wire.channel import make_sync_channel
from primacy_wire.policy_file import policy_from_text
from primacy_wire.rpc_errors import from_rpc_error

from primacy_cli.failures import failed_call
from primacy_cli.local.plan import ClusterPlan

ASK_S_MAX = 1.0


class Watch:
    """Open channels to the coordinator and, until all have weights, to the agents."""

    def __init__(self, plan: ClusterPlan) -> None:
        self._address = plan.coordinator.grpc
        self._coordinator = make_sync_channel(plan.coordinator.grpc)
        self._agents = {
            agent.title: make_sync_channel(agent.grpc) for region in plan.regions for agent in region.agents
        }
        self._regions = {each.place.name: len(each.agents) for each in plan.regions}
        """Name -> number of agents."""

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

    def set_policy(self, text: str) -> None:
        """Raises CommandFailed."""
        request = policy_service_pb2.SetPolicyRequest(policy=policy_from_text(text), owner="primacy up")
        try:
            PolicyServiceStub(self._coordinator).SetPolicy(request, timeout=ASK_S_MAX)
        except grpc.RpcError as error:
            raise failed_call(from_rpc_error(error), self._address, "primacy up") from error

    def missing(self, status: status_service_pb2.GetStatusResponse | None) -> list[str]:
        """What the cluster still needs to be ready; empty when it is."""
        if status is None:
            return ["the coordinator does not answer"]
        found = []
        regions = {region.name: region for region in status.regions}
        for name, count in self._regions.items():
            region = regions.get(name)
            connected = sum(agent.connected for agent in region.agents) if region else 0
            if region is None or connected < count:
                found.append(f"{connected} of {count} agents of {name} have a session")
            elif region.status != region_pb2.REGION_STATUS_HEALTHY:
                word = region_pb2.RegionStatus.Name(region.status).removeprefix("REGION_STATUS_")
                found.append(f"{name} is {word}: {region.status_reason}")
        found += [f"{name} is left from an earlier run" for name in sorted(self._deregister(set(regions)))]
        if not _is_held(status):
            found.append("no region holds the active lease")
        return found or self._without_weights()

    def _deregister(self, names: set[str]) -> set[str]:
        """Remove regions that the folder's earlier clusters had and this one has not; those that could not be yet."""
        refused = set()
        for name in names - set(self._regions):
            request = region_service_pb2.DeregisterRegionRequest(name=name)
            try:
                RegionServiceStub(self._coordinator).DeregisterRegion(request, timeout=ASK_S_MAX)
            except grpc.RpcError:
                refused.add(name)  # Its lease may not have run out yet: asked again soon.
        return refused

    def _without_weights(self) -> list[str]:
        """Agents that did not get weights for every region yet; the channels of the others are closed."""
        for title, channel in list(self._agents.items()):
            request = local_service_pb2.GetWeightsRequest()
            try:
                answer = LocalServiceStub(channel).GetWeights(request, timeout=ASK_S_MAX)
            except grpc.RpcError:
                continue
            if set(answer.row.weights) >= set(self._regions):
                channel.close()
                del self._agents[title]
        return [f"the {title} has no weights" for title in sorted(self._agents)]


def _is_held(status: status_service_pb2.GetStatusResponse) -> bool:
    """Whether a live agent holds it: after a restart the coordinator counts leases of agents that are gone, too."""
    lease = status.lease
    return lease.phase == election_pb2.LEASE_PHASE_ACCEPTED and any(
        agent.connected and agent.lease_valid and agent.held_epoch == lease.epoch
        for region in status.regions
        if region.name == status.active_region
        for agent in region.agents
    )

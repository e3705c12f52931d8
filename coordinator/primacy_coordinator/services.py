"""The servicers of the public API, made once and served twice: by gRPC, and as JSON by the HTTP port."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import grpc.aio
from primacy.v1 import agent_service_pb2_grpc as agent_grpc
from primacy.v1 import election_service_pb2_grpc as election_grpc
from primacy.v1 import group_service_pb2_grpc as group_grpc
from primacy.v1 import policy_service_pb2_grpc as policy_grpc
from primacy.v1 import region_service_pb2_grpc as region_grpc
from primacy.v1 import replication_service_pb2_grpc as replication_grpc
from primacy.v1 import routing_service_pb2_grpc as routing_grpc
from primacy.v1 import status_service_pb2_grpc as status_grpc
from primacy.v1.replication_service_pb2 import GetReplicationStatusRequest
from primacy.v1.status_service_pb2 import ListAlertsRequest

from primacy_coordinator.rpc.agents import AgentService
from primacy_coordinator.rpc.calls import Calls
from primacy_coordinator.rpc.elections import ElectionService
from primacy_coordinator.rpc.groups import GroupService
from primacy_coordinator.rpc.policies import PolicyService
from primacy_coordinator.rpc.regions import RegionService
from primacy_coordinator.rpc.replication import ReplicationService
from primacy_coordinator.rpc.routes import RoutingService
from primacy_coordinator.rpc.status import StatusService
from primacy_coordinator.shell.alerting import Alerting
from primacy_coordinator.shell.coordinator import Coordinator
from primacy_coordinator.shell.monitoring import Monitoring
from primacy_coordinator.web.app import Backend
from primacy_coordinator.web.feed import Sources

SERVICES = tuple(
    f"primacy.v1.{name}Service"
    for name in ("Agent", "Election", "Group", "Policy", "Region", "Replication", "Routing", "Status")
)


@dataclass(frozen=True, slots=True)
class Services:
    """One servicer for each service."""

    agent: AgentService
    election: ElectionService
    group: GroupService
    policy: PolicyService
    region: RegionService
    replication: ReplicationService
    routing: RoutingService
    status: StatusService
    calls: Calls

    @staticmethod
    def of(coordinator: Coordinator, monitoring: Monitoring, alerting: Alerting, build: str) -> Services:
        calls = Calls(coordinator, monitoring, alerting)
        return Services(
            agent=AgentService(calls),
            election=ElectionService(calls),
            group=GroupService(calls),
            policy=PolicyService(calls),
            region=RegionService(calls),
            replication=ReplicationService(calls),
            routing=RoutingService(calls, random.Random()),
            status=StatusService(calls, build),
            calls=calls,
        )

    def add_to(self, server: grpc.aio.Server) -> None:
        agent_grpc.add_AgentServiceServicer_to_server(self.agent, server)
        election_grpc.add_ElectionServiceServicer_to_server(self.election, server)
        group_grpc.add_GroupServiceServicer_to_server(self.group, server)
        policy_grpc.add_PolicyServiceServicer_to_server(self.policy, server)
        region_grpc.add_RegionServiceServicer_to_server(self.region, server)
        replication_grpc.add_ReplicationServiceServicer_to_server(self.replication, server)
        routing_grpc.add_RoutingServiceServicer_to_server(self.routing, server)
        status_grpc.add_StatusServiceServicer_to_server(self.status, server)

    def backend(self, coordinator: Coordinator, build: str, grpc_address: str) -> Backend:
        """The same for the HTTP port. No method that it asks looks at its context."""
        nobody: Any = None
        status, replication = self.status, self.replication
        return Backend(
            coordinator=coordinator,
            alerting=self.calls.alerting,
            monitoring=self.calls.monitoring,
            servicers={
                "primacy.v1.ElectionService": self.election,
                "primacy.v1.GroupService": self.group,
                "primacy.v1.PolicyService": self.policy,
                "primacy.v1.RegionService": self.region,
                "primacy.v1.ReplicationService": replication,
                "primacy.v1.RoutingService": self.routing,
                "primacy.v1.StatusService": status,
            },
            sources=Sources(
                status=status.status,
                alerts=lambda group: status.ListAlerts(ListAlertsRequest(group=group), nobody),
                replication=lambda group: replication.GetReplicationStatus(
                    GetReplicationStatusRequest(group=group), nobody
                ),
                events=status.events,
            ),
            find=self.calls.runner,
            version=build,
            grpc_address=grpc_address,
        )

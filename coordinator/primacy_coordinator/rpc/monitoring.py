"""The part of StatusService that is about measurements and alerts."""

from __future__ import annotations

from primacy.v1 import status_service_pb2 as pb
from primacy.v1.status_service_pb2_grpc import StatusServiceServicer
from primacy_wire.errors import Unavailable

from primacy_coordinator.rpc.calls import Context

NOT_YET = "nothing is measured yet: try again"


class MonitoringMethods(StatusServiceServicer):
    """What StatusService answers from the monitor of a group."""

    async def ListMetrics(self, request: pb.ListMetricsRequest, context: Context) -> pb.ListMetricsResponse:
        raise Unavailable(NOT_YET, "NOT_MEASURED")

    async def QueryMetrics(self, request: pb.QueryMetricsRequest, context: Context) -> pb.QueryMetricsResponse:
        raise Unavailable(NOT_YET, "NOT_MEASURED")

    async def GetPerformance(self, request: pb.GetPerformanceRequest, context: Context) -> pb.GetPerformanceResponse:
        raise Unavailable(NOT_YET, "NOT_MEASURED")

    async def ListAlerts(self, request: pb.ListAlertsRequest, context: Context) -> pb.ListAlertsResponse:
        raise Unavailable(NOT_YET, "NOT_MEASURED")

    async def AcknowledgeAlert(
        self, request: pb.AcknowledgeAlertRequest, context: Context
    ) -> pb.AcknowledgeAlertResponse:
        raise Unavailable(NOT_YET, "NOT_MEASURED")

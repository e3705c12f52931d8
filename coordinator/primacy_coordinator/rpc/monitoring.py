"""The part of StatusService that is about measurements and alerts."""

from __future__ import annotations

from primacy.v1 import status_service_pb2 as pb
from primacy.v1.status_service_pb2_grpc import StatusServiceServicer
from primacy_wire.errors import Unavailable

from primacy_coordinator.rpc.calls import Calls, Context
from primacy_coordinator.rpc.metrics import list_metrics, query_metrics
from primacy_coordinator.rpc.performance import get_performance

NOT_YET = "nothing is measured yet: try again"


class MonitoringMethods(StatusServiceServicer):
    """What StatusService answers from the monitor of a group."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def ListMetrics(self, request: pb.ListMetricsRequest, context: Context) -> pb.ListMetricsResponse:
        return await list_metrics(self._calls, request)

    async def QueryMetrics(self, request: pb.QueryMetricsRequest, context: Context) -> pb.QueryMetricsResponse:
        return await query_metrics(self._calls, request)

    async def GetPerformance(self, request: pb.GetPerformanceRequest, context: Context) -> pb.GetPerformanceResponse:
        return await get_performance(self._calls, request)

    async def ListAlerts(self, request: pb.ListAlertsRequest, context: Context) -> pb.ListAlertsResponse:
        raise Unavailable(NOT_YET, "NOT_MEASURED")

    async def AcknowledgeAlert(
        self, request: pb.AcknowledgeAlertRequest, context: Context
    ) -> pb.AcknowledgeAlertResponse:
        raise Unavailable(NOT_YET, "NOT_MEASURED")

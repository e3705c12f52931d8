"""The part of StatusService that is about measurements and alerts."""

from __future__ import annotations

from primacy.v1 import status_service_pb2 as pb
from primacy.v1.status_service_pb2_grpc import StatusServiceServicer

from primacy_coordinator.rpc.alerts import acknowledge_alert, list_alerts, run_sink_test
from primacy_coordinator.rpc.calls import Calls, Context
from primacy_coordinator.rpc.metrics import list_metrics, query_metrics
from primacy_coordinator.rpc.performance import get_performance


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
        return list_alerts(self._calls, request)

    async def AcknowledgeAlert(
        self, request: pb.AcknowledgeAlertRequest, context: Context
    ) -> pb.AcknowledgeAlertResponse:
        return acknowledge_alert(self._calls, request)

    async def TestAlertSinks(self, request: pb.TestAlertSinksRequest, context: Context) -> pb.TestAlertSinksResponse:
        return await run_sink_test(self._calls, request)

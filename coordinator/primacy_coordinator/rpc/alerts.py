"""The part of StatusService that is about alerts."""

from __future__ import annotations

from primacy.v1 import monitoring_pb2
from primacy.v1 import status_service_pb2 as pb
from primacy_wire.errors import NotFound, Unavailable

from primacy_coordinator.core.monitor.alerts.alert import Alert
from primacy_coordinator.core.monitor.alerts.book import Book
from primacy_coordinator.core.monitor.alerts.evaluate import AlertState
from primacy_coordinator.rpc.calls import Calls
from primacy_coordinator.rpc.fields import Fields, group_name
from primacy_coordinator.shell.alerting import Alerting
from primacy_coordinator.sinks.rendering import explained_by, render_alert
from primacy_coordinator.sinks.sink import Sink

ALERT_ID_MAX = 512
_FIRST = {AlertState.FIRING: 0, AlertState.PENDING: 1, AlertState.RESOLVED: 2}


def list_alerts(calls: Calls, request: pb.ListAlertsRequest) -> pb.ListAlertsResponse:
    """What fires or may soon, the worst first; then what was resolved, the newest first."""
    name = calls.runner(request.group).name
    book = _book(calls.alerting, name)
    explained = explained_by(book.alerts)
    return pb.ListAlertsResponse(
        group=name,
        alerts=[
            render_alert(alert, explained.get(alert.id, ()))
            for alert in sorted(book.alerts, key=_order)
            if (request.include_resolved or alert.state is not AlertState.RESOLVED)
            and not (request.causes_only and alert.state is AlertState.FIRING and alert.cause_id)
        ],
        sinks=[_render_sink(sink, sink.figures.trouble) for sink in calls.alerting.sinks],
        broken_rules=dict(book.broken),
    )


def acknowledge_alert(calls: Calls, request: pb.AcknowledgeAlertRequest) -> pb.AcknowledgeAlertResponse:
    fields = Fields()
    reason = fields.text("reason", request.reason)
    owner = fields.text("owner", request.owner)
    if not reason.strip():
        fields.add("reason", "REQUIRED", "must say why, or what is being done: whoever is paged next reads it")
    if not 0 < len(request.id) <= ALERT_ID_MAX:
        fields.add("id", "REQUIRED", "must be the id of an alert, as ListAlerts shows it")
    fields.check()
    name = calls.runner(request.group).name
    _book(calls.alerting, name)
    said = calls.alerting.acknowledge(name, request.id, owner, reason)
    if said is None:
        raise NotFound("alert", request.id, "no alert of that id fires: ListAlerts shows those that do")
    book = _book(calls.alerting, name)
    return pb.AcknowledgeAlertResponse(alert=render_alert(said, explained_by(book.alerts).get(said.id, ())))


async def run_sink_test(calls: Calls, request: pb.TestAlertSinksRequest) -> pb.TestAlertSinksResponse:
    name = calls.runner(request.group).name
    sinks = tuple(sink for sink in calls.alerting.sinks if request.sink in ("", sink.name))
    if not sinks and request.sink:
        known = ", ".join(sink.name for sink in calls.alerting.sinks) or "none"
        raise NotFound("sink", request.sink, f"known are: {known}")
    troubles = await calls.alerting.test(group_name(name), sinks)
    return pb.TestAlertSinksResponse(
        sinks=[_render_sink(sink, trouble) for sink, trouble in zip(sinks, troubles, strict=True)]
    )


def _book(alerting: Alerting, name: str) -> Book:
    book = alerting.book(name)
    if book is None:
        raise Unavailable("alerts of this group are not looked at yet: try again", "NOT_MEASURED")
    return book


def _order(alert: Alert) -> tuple[int, int, int, str]:
    newest_first = -alert.resolve_wall_ns if alert.state is AlertState.RESOLVED else alert.start_wall_ns
    explained = alert.state is AlertState.FIRING and bool(alert.cause_id)
    return _FIRST[alert.state], -alert.severity if not explained else 0, newest_first, alert.id


def _render_sink(sink: Sink, trouble: str) -> monitoring_pb2.AlertSink:
    return monitoring_pb2.AlertSink(
        name=sink.name,
        address=sink.address,
        trouble=trouble,
        waiting=sink.waiting,
        sent=sink.figures.sent,
        failed=sink.figures.failed,
    )

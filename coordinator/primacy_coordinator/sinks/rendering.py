"""Alerts as the API, webhooks and Alertmanager show them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp
from primacy.v1 import event_pb2, monitoring_pb2
from primacy_wire.instant import SECOND_NS

from primacy_coordinator.core.monitor.alerts.alert import Alert
from primacy_coordinator.core.monitor.alerts.evaluate import AlertState
from primacy_coordinator.core.severity import Severity

RESOLVE_AFTER_NS = 300 * SECOND_NS
"""Alertmanager takes an alert for resolved that it has not heard of for so long."""

_NO_LABEL = re.compile(r"[^A-Za-z0-9_]")


def render_alert(alert: Alert, explains: Iterable[str] = ()) -> monitoring_pb2.Alert:
    """As the API shows it."""
    rendered = monitoring_pb2.Alert(
        id=alert.id,
        rule=alert.rule,
        state=monitoring_pb2.AlertState.ValueType(alert.state),
        severity=event_pb2.Severity.ValueType(alert.severity),
        region=alert.region,
        summary=alert.summary,
        advice=alert.advice,
        value=alert.finding.value,
        labels=dict(alert.labels),
        annotations=dict(alert.annotations),
        cause_id=alert.cause_id if alert.state is AlertState.FIRING else "",
        explains=sorted(explains),
        acknowledged_by=alert.acknowledged_by,
        acknowledge_reason=alert.acknowledge_reason,
        start_time=_instant(alert.start_wall_ns),
    )
    if alert.fire_wall_ns:
        rendered.fire_time.CopyFrom(_instant(alert.fire_wall_ns))
    if alert.state is AlertState.RESOLVED:
        rendered.resolve_time.CopyFrom(_instant(alert.resolve_wall_ns))
    return rendered


def explained_by(alerts: Iterable[Alert]) -> dict[str, list[str]]:
    """Id of a cause -> ids of what it explains."""
    found: dict[str, list[str]] = {}
    for alert in alerts:
        if alert.state is AlertState.FIRING and alert.cause_id:
            found.setdefault(alert.cause_id, []).append(alert.id)
    return found


def webhook_message(
    kind: str, group: str, alert: Alert, explains: Iterable[str], external_url: str, wall_ns: int
) -> dict[str, Any]:
    """The body of a webhook. `text` is what chat systems show."""
    glyph = {"resolved": "✓", "test": "•"}.get(kind, "▲" if alert.severity is Severity.CRITICAL else "△")
    where = f" [{alert.region}]" if alert.region else ""
    text = f"{glyph} {kind} {alert.severity.name.lower()}: {alert.summary}{where}"
    if kind == "firing" and alert.advice:
        text += f"\n{alert.advice}"
    return {
        "version": 1,
        "kind": kind,
        "group": group,
        "text": text,
        "alert": MessageToDict(render_alert(alert, explains), always_print_fields_with_no_presence=True),
        "url": link(external_url, group, alert.id),
        "sentTime": rfc3339(wall_ns),
    }


def alertmanager_alert(
    group: str, alert: Alert, explains: Iterable[str], external_url: str, wall_ns: int
) -> dict[str, Any]:
    """As `POST /api/v2/alerts` takes it. Labels name it, so they stay the same while it fires."""
    labels = {
        **dict(alert.labels),
        "alertname": alert.rule,
        "group": group,
        "severity": alert.severity.name.lower(),
    }
    if alert.region:
        labels["region"] = alert.region
    if alert.finding.subject:
        labels["subject"] = alert.finding.subject
    annotations = {**dict(alert.annotations), "summary": alert.summary, "advice": alert.advice}
    others = sorted(explains)
    if others:
        annotations["explains"] = ", ".join(others)
    if alert.acknowledged_by:
        annotations["acknowledged_by"] = alert.acknowledged_by
        annotations["acknowledge_reason"] = alert.acknowledge_reason
    ends_ns = min(alert.resolve_wall_ns, wall_ns) if alert.state is AlertState.RESOLVED else wall_ns + RESOLVE_AFTER_NS
    found: dict[str, Any] = {
        "labels": {_NO_LABEL.sub("_", name): value for name, value in labels.items()},
        "annotations": {name: value for name, value in annotations.items() if value},
        # The clock may have been set back since: nothing that begins after its end is taken.
        "startsAt": rfc3339(min(alert.fire_wall_ns, ends_ns, wall_ns)),
        "endsAt": rfc3339(ends_ns),
    }
    url = link(external_url, group, alert.id)
    if url:
        found["generatorURL"] = url
    return found


def link(external_url: str, group: str, alert_id: str) -> str:
    """Where people look at it; empty: nobody said where the coordinator is reached."""
    if not external_url:
        return ""
    return f"{external_url.rstrip('/')}/?group={quote(group)}#alert={quote(alert_id, safe='')}"


def rfc3339(wall_ns: int) -> str:
    """`2026-01-31T12:00:00.123Z`."""
    at = datetime.fromtimestamp(wall_ns // SECOND_NS, tz=UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{wall_ns % SECOND_NS // 1_000_000:03}Z"


def _instant(wall_ns: int) -> Timestamp:
    return Timestamp(seconds=wall_ns // SECOND_NS, nanos=wall_ns % SECOND_NS)

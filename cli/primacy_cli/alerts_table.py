"""Alerts as a table: the worst first, each with what to do, and beneath it what it explains."""

from __future__ import annotations

from collections.abc import Iterable

from primacy.v1 import event_pb2, monitoring_pb2
from primacy.v1.status_service_pb2 import ListAlertsResponse
from rich.text import Text

from primacy_cli.tables import Renderable, lines, stack, table
from primacy_cli.words import plural, span, word

FIRING, RESOLVED = monitoring_pb2.ALERT_STATE_FIRING, monitoring_pb2.ALERT_STATE_RESOLVED
PENDING = monitoring_pb2.ALERT_STATE_PENDING
GLYPHS = {"CRITICAL": "▲", "WARNING": "△", "INFO": "·"}
STYLES = {"CRITICAL": "bold red", "WARNING": "yellow", "INFO": ""}


def alerts_screen(response: ListAlertsResponse, now_ns: int, everything: bool = False) -> Renderable:
    """`everything`: with what is explained, what may fire soon, what is over, and every sink."""
    shown = [alert for alert in response.alerts if everything or (alert.state == FIRING and not alert.cause_id)]
    waiting = sum(alert.state == PENDING for alert in response.alerts)
    parts: list[Renderable | None] = [
        _table(shown, now_ns) if shown else Text("Nothing is wrong.", style="green"),
        None if everything or not waiting else Text(f"{plural(waiting, 'alert')} may fire soon: see --all"),
        _broken(response),
        _sinks(response.sinks, everything),
    ]
    return stack(*parts)


def _table(alerts: Iterable[monitoring_pb2.Alert], now_ns: int) -> Renderable:
    rows = []
    for alert in alerts:
        severity = word(event_pb2.Severity, alert.severity)
        over, explained = alert.state == RESOLVED, alert.state == FIRING and bool(alert.cause_id)
        style = STYLES.get(severity, "") if alert.state == FIRING and not explained else "dim"
        if over:
            state = Text("✓ over", style=style)
        else:
            state = Text(f"{GLYPHS.get(severity, '?')} {severity.lower()}", style=style)
        row: list[str | Text] = [state, ("  " if explained else "") + alert.id, _since(alert, now_ns), _what(alert)]
        rows.append(row)
    return table(["SEVERITY", "ALERT", "SINCE", "WHAT"], rows, right=("SINCE",))


def _since(alert: monitoring_pb2.Alert, now_ns: int) -> str:
    if alert.state == RESOLVED:
        return f"{_whole(now_ns - alert.resolve_time.ToNanoseconds())} ago"
    return _whole(now_ns - alert.start_time.ToNanoseconds())


def _whole(age_ns: int) -> str:
    return span(max(0, age_ns) // 1_000_000_000 * 1_000_000_000)


def _what(alert: monitoring_pb2.Alert) -> Text:
    notes = []
    if alert.state == PENDING:
        notes.append("may fire soon")
    if alert.acknowledged_by:
        notes.append(f"{alert.acknowledged_by} looks after it: {alert.acknowledge_reason}")
    if alert.explains:
        notes.append(f"explains {', '.join(alert.explains)}")
    if alert.cause_id:
        notes.append(f"explained by {alert.cause_id}")
    text = Text(alert.summary + (f" ({'; '.join(notes)})" if notes else ""))
    if alert.state == FIRING and not alert.cause_id and alert.advice:
        text.append(f"\n  → {alert.advice}", style="dim")
    return text


def _broken(response: ListAlertsResponse) -> Renderable | None:
    if not response.broken_rules:
        return None
    return lines(
        [
            "Rules that cannot be evaluated:",
            *(f"  - {name}: {why}" for name, why in sorted(response.broken_rules.items())),
        ]
    )


def _sinks(sinks: Iterable[monitoring_pb2.AlertSink], everything: bool) -> Renderable | None:
    shown = [sink for sink in sinks if everything or sink.trouble]
    if not shown:
        return None
    return sinks_table(shown)


def sinks_table(sinks: Iterable[monitoring_pb2.AlertSink]) -> Renderable:
    """Who is told of alerts."""
    rows = [
        (
            sink.name,
            sink.address,
            str(sink.sent),
            str(sink.failed),
            str(sink.waiting),
            Text(sink.trouble, style="bold red") if sink.trouble else Text("ok", style="green"),
        )
        for sink in sinks
    ]
    return table(["SINK", "ADDRESS", "SENT", "FAILED", "WAITING", "STATE"], rows, right=("SENT", "FAILED", "WAITING"))

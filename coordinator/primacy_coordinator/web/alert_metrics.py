"""What `/metrics` says of alerts and of those who are told of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from primacy_wire.instant import SECOND_NS
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from primacy_coordinator.core.monitor.alerts.evaluate import AlertState
from primacy_coordinator.shell.alerting import Alerting


def alert_families(alerting: Alerting) -> Iterator[Metric]:
    """Alerts that fire, by rule; and each sink."""
    firing = GaugeMetricFamily(
        "primacy_alerts_firing",
        "Alerts that fire. `explained` ones have a cause that fires, too: nobody is told of them.",
        labels=["group", "rule", "severity", "explained"],
    )
    broken = GaugeMetricFamily("primacy_alert_rules_broken", "Rules that cannot be evaluated.", labels=["group"])
    for name, book in alerting.books():
        counts = Counter(
            (alert.rule, alert.severity.name.lower(), "true" if alert.cause_id else "false")
            for alert in book.alerts
            if alert.state is AlertState.FIRING
        )
        for (rule, severity, explained), count in sorted(counts.items()):
            firing.add_metric([name, rule, severity, explained], count)
        broken.add_metric([name], len(book.broken))
    yield from (firing, broken)
    yield CounterMetricFamily("primacy_alert_evaluations", "Looks at a group's alerts.", value=alerting.evaluations)
    yield CounterMetricFamily(
        "primacy_alert_evaluation_seconds", "Time that they took.", value=alerting.evaluation_ns / SECOND_NS
    )
    sent = CounterMetricFamily("primacy_alert_sink_sent", "Messages that a sink took.", labels=["sink"])
    failed = CounterMetricFamily("primacy_alert_sink_failed", "Tries that failed.", labels=["sink"])
    waiting = GaugeMetricFamily(
        "primacy_alert_sink_waiting", "Alerts that a sink is yet to be told of.", labels=["sink"]
    )
    up = GaugeMetricFamily("primacy_alert_sink_up", "1 unless the last try failed.", labels=["sink"])
    for sink in alerting.sinks:
        sent.add_metric([sink.name], sink.figures.sent)
        failed.add_metric([sink.name], sink.figures.failed)
        waiting.add_metric([sink.name], sink.waiting)
        up.add_metric([sink.name], float(not sink.figures.trouble))
    yield from (sent, failed, waiting, up)

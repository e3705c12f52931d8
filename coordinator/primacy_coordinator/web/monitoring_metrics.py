"""How objectives are met, and what monitoring itself costs, for `/metrics`."""

from __future__ import annotations

from collections.abc import Iterator

from primacy_wire.instant import SECOND_NS
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from primacy_coordinator.core.monitor.budgets import SloFigure
from primacy_coordinator.shell.monitoring import Monitoring


def monitoring_families(monitoring: Monitoring) -> Iterator[Metric]:
    """Objectives of each group, then monitoring itself. What was not measured is left out, never 0."""
    yield from _slo_families(
        [(watched.group, figure) for watched in monitoring.all() for figure in watched.monitor.slos]
    )
    series = GaugeMetricFamily("primacy_monitoring_series", "Series that are kept in memory.", labels=["group"])
    memory = GaugeMetricFamily(
        "primacy_monitoring_memory_bytes", "What figures of the past take in memory.", labels=["group"]
    )
    dropped = CounterMetricFamily(
        "primacy_monitoring_dropped_values",
        "Values that were left out because there were too many series.",
        labels=["group"],
    )
    for watched in monitoring.all():
        group = [watched.group]
        series.add_metric(group, watched.monitor.series_count)
        memory.add_metric(group, watched.monitor.tiers.bytes)
        dropped.add_metric(group, watched.monitor.dropped)
    yield from (series, memory, dropped)
    looks = HistogramMetricFamily("primacy_monitoring_look_seconds", "One look at one group, with its alerts.")
    latency = monitoring.latency
    looks.add_metric([], [(bound, float(count)) for bound, count in latency.buckets()], latency.sum_ns / SECOND_NS)
    yield looks
    yield CounterMetricFamily(
        "primacy_monitoring_lost_seconds",
        "Time, summed over groups, whose figures could not be written to disk.",
        value=60 * monitoring.store.dropped_count,
    )


def _slo_families(figures: list[tuple[str, SloFigure]]) -> Iterator[Metric]:
    where = ["group", "slo", "region"]
    objective = GaugeMetricFamily(
        "primacy_slo_objective_ratio", "Share of time or of requests that should be good.", labels=["group", "slo"]
    )
    achieved = GaugeMetricFamily(
        "primacy_slo_achieved_ratio", "Share that was, in the window of the objective.", labels=where
    )
    left = GaugeMetricFamily(
        "primacy_slo_error_budget_left_ratio", "What is left of the error budget; below 0: overspent.", labels=where
    )
    burn = GaugeMetricFamily(
        "primacy_slo_burn_rate",
        "How fast the error budget is spent; 1 is the pace at which it lasts for the window of the objective.",
        labels=[*where, "window"],
    )
    told: set[tuple[str, str]] = set()
    for group, figure in figures:
        labels = [group, figure.slo.name, figure.region]
        if (group, figure.slo.name) not in told:
            told.add((group, figure.slo.name))
            objective.add_metric(labels[:2], figure.slo.objective)
        if figure.achieved is not None:
            achieved.add_metric(labels, figure.achieved)
        if figure.budget_left is not None:
            left.add_metric(labels, figure.budget_left)
        for one in figure.burns:
            if one.rate is not None:
                burn.add_metric([*labels, _window(one.window_s)], one.rate)
    yield from (objective, achieved, left, burn)


def _window(seconds: int) -> str:
    """`5m`, `6h`, `3d`, as Prometheus writes it."""
    for length, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"

"""Objectives and alert rules between their messages and the core's values."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.duration_pb2 import Duration
from primacy.v1 import event_pb2, monitoring_pb2

from primacy_coordinator.core.monitor.model import (
    Absence,
    Aggregation,
    AlertRule,
    BurnRate,
    Slo,
    SloIndicator,
    Threshold,
)
from primacy_coordinator.core.severity import Severity
from primacy_coordinator.rpc.fields import Fields
from primacy_coordinator.rpc.lengths import render_length

SHORT_WINDOWS = 12
"""A burn rate's short window is this part of the long one, unless it is given."""
FOR = "for"
"""A word of Python: the field is reached by name."""


def parse_slos(fields: Fields, path: str, messages: Iterable[monitoring_pb2.Slo]) -> tuple[Slo, ...]:
    return tuple(_parse_slo(fields, f"{path}[{index}]", slo) for index, slo in enumerate(messages))


def _parse_slo(fields: Fields, path: str, message: monitoring_pb2.Slo) -> Slo:
    indicator = fields.known(f"{path}.indicator", message.indicator, SloIndicator)
    if not indicator:
        fields.add(f"{path}.indicator", "REQUIRED", "must be AVAILABILITY, SUCCESS or LATENCY")
    window_ns = Slo("", SloIndicator.SUCCESS, 0.5).window_ns
    return Slo(
        name=message.name,
        indicator=SloIndicator(indicator) if indicator in set(SloIndicator) else SloIndicator.AVAILABILITY,
        objective=fields.number(f"{path}.objective", message.objective, 0, 1),
        window_ns=fields.length(f"{path}.window", message.window) if message.HasField("window") else window_ns,
        threshold_ns=fields.length(f"{path}.threshold", message.threshold) if message.HasField("threshold") else 0,
        per_region=message.per_region,
    )


def parse_rules(fields: Fields, path: str, messages: Iterable[monitoring_pb2.AlertRule]) -> tuple[AlertRule, ...]:
    return tuple(_parse_rule(fields, f"{path}[{index}]", rule) for index, rule in enumerate(messages))


def _parse_rule(fields: Fields, path: str, message: monitoring_pb2.AlertRule) -> AlertRule:
    severity = fields.known(f"{path}.severity", message.severity, Severity)
    held: Duration = getattr(message, FOR)
    return AlertRule(
        name=message.name,
        threshold=_parse_threshold(fields, f"{path}.threshold", message.threshold)
        if message.HasField("threshold")
        else None,
        absence=_parse_absence(fields, f"{path}.absence", message.absence) if message.HasField("absence") else None,
        burn_rate=_parse_burn(fields, f"{path}.burnRate", message.burn_rate) if message.HasField("burn_rate") else None,
        for_ns=fields.length(f"{path}.for", held) if message.HasField(FOR) else -1,  # type: ignore[arg-type]
        severity=Severity(severity) if severity in set(Severity) else None,
        labels=tuple(sorted(message.labels.items())),
        annotations=tuple(sorted(message.annotations.items())),
        disabled=message.disabled,
    )


def _parse_threshold(fields: Fields, path: str, message: monitoring_pb2.ThresholdCondition) -> Threshold:
    base = Threshold("")
    aggregation = fields.known(f"{path}.aggregation", message.aggregation, Aggregation)
    above = fields.number(f"{path}.above", message.above, float("-inf")) if message.HasField("above") else None
    below = fields.number(f"{path}.below", message.below, float("-inf")) if message.HasField("below") else None
    quantile = base.quantile
    if message.HasField("quantile"):
        quantile = fields.number(f"{path}.quantile", message.quantile, 0, 1)
    return Threshold(
        series=message.series,
        above=above,
        below=below,
        aggregation=Aggregation(aggregation) if aggregation in set(Aggregation) else None,
        quantile=quantile,
        window_ns=fields.length(f"{path}.window", message.window) if message.HasField("window") else base.window_ns,
        all_regions=bool(getattr(message, "global")),
    )


def _parse_absence(fields: Fields, path: str, message: monitoring_pb2.AbsenceCondition) -> Absence:
    after_ns = Absence("").after_ns
    return Absence(
        message.series, fields.length(f"{path}.after", message.after) if message.HasField("after") else after_ns
    )


def _parse_burn(fields: Fields, path: str, message: monitoring_pb2.BurnRateCondition) -> BurnRate:
    long_ns = fields.length(f"{path}.longWindow", message.long_window)
    short_ns = long_ns // SHORT_WINDOWS
    if message.HasField("short_window"):
        short_ns = fields.length(f"{path}.shortWindow", message.short_window)
    return BurnRate(message.slo, fields.number(f"{path}.factor", message.factor), long_ns, short_ns)


def render_slo(slo: Slo) -> monitoring_pb2.Slo:
    """Every value, defaults included."""
    return monitoring_pb2.Slo(
        name=slo.name,
        indicator=monitoring_pb2.SloIndicator.ValueType(slo.indicator),
        objective=slo.objective,
        window=render_length(slo.window_ns),
        threshold=render_length(slo.threshold_ns) if slo.threshold_ns else None,
        per_region=slo.per_region,
    )


def render_rule(rule: AlertRule) -> monitoring_pb2.AlertRule:
    """What the rule sets. What a rule does not say stays unsaid: of a built-in one it means that one's own value."""
    rendered = monitoring_pb2.AlertRule(
        name=rule.name,
        severity=event_pb2.Severity.ValueType(rule.severity or 0),
        labels=dict(rule.labels),
        annotations=dict(rule.annotations),
        disabled=rule.disabled,
    )
    if rule.threshold is not None:
        rendered.threshold.CopyFrom(_render_threshold(rule.threshold))
    if rule.absence is not None:
        rendered.absence.CopyFrom(
            monitoring_pb2.AbsenceCondition(series=rule.absence.series, after=render_length(rule.absence.after_ns))
        )
    if rule.burn_rate is not None:
        burn = rule.burn_rate
        rendered.burn_rate.CopyFrom(
            monitoring_pb2.BurnRateCondition(
                slo=burn.slo,
                factor=burn.factor,
                long_window=render_length(burn.long_ns),
                short_window=render_length(burn.short_ns),
            )
        )
    if rule.for_ns >= 0:
        getattr(rendered, FOR).CopyFrom(render_length(rule.for_ns))
    return rendered


def _render_threshold(threshold: Threshold) -> monitoring_pb2.ThresholdCondition:
    rendered = monitoring_pb2.ThresholdCondition(
        series=threshold.series,
        aggregation=monitoring_pb2.MetricAggregation.ValueType(threshold.aggregation or 0),
        above=threshold.above,
        below=threshold.below,
        window=render_length(threshold.window_ns),
    )
    if threshold.aggregation is Aggregation.QUANTILE or threshold.quantile != Threshold("").quantile:
        rendered.quantile = threshold.quantile
    setattr(rendered, "global", threshold.all_regions)
    return rendered

"""The rules in force: the built-in ones as the policy changes them, and the policy's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from primacy_wire.instant import SECOND_NS

from primacy_coordinator.core.monitor.alerts.catalog import BURNS, BY_NAME, RANK
from primacy_coordinator.core.monitor.model import Absence, AlertRule, BurnRate, Slo, Threshold
from primacy_coordinator.core.severity import Severity

KEEP_NS = 15 * SECOND_NS
"""An alert is resolved when its condition has not held for so long without a break: one that flickers fires once."""
OWN_RANK = len(RANK)


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    severity: Severity
    for_ns: int
    advice: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    threshold: Threshold | None = None
    absence: Absence | None = None
    burns: tuple[BurnRate, ...] = ()
    keep_ns: int = KEEP_NS

    @property
    def rank(self) -> int:
        """A cause has a lower one than what it explains."""
        return RANK.get(self.name, OWN_RANK)


def rules_of(alert_rules: Iterable[AlertRule], slos: Iterable[Slo]) -> Mapping[str, Rule]:
    """By name. Those that are switched off are left out."""
    changes = {rule.name: rule for rule in alert_rules}
    objectives = tuple(slos)
    found: dict[str, Rule] = {}
    for name, built_in in BY_NAME.items():
        burns = tuple(
            BurnRate(slo.name, burn.factor, burn.long_ns, burn.short_ns)
            for burn in BURNS
            if burn.rule == name
            for slo in objectives
        )
        rule = Rule(name, built_in.severity, built_in.for_ns, built_in.advice, burns=burns)
        found[name] = _changed(rule, changes.pop(name)) if name in changes else rule
    for name, own in changes.items():
        rule = Rule(
            name,
            Severity.WARNING,
            0,
            threshold=own.threshold,
            absence=own.absence,
            burns=() if own.burn_rate is None else (own.burn_rate,),
        )
        found[name] = _changed(rule, own)
    off = {rule.name for rule in alert_rules if rule.disabled}
    return {name: rule for name, rule in found.items() if name not in off}


def _changed(rule: Rule, change: AlertRule) -> Rule:
    return Rule(
        rule.name,
        change.severity or rule.severity,
        change.for_ns if change.for_ns >= 0 else rule.for_ns,
        dict(change.annotations).get("advice", rule.advice),
        change.labels,
        change.annotations,
        rule.threshold,
        rule.absence,
        rule.burns,
        rule.keep_ns,
    )

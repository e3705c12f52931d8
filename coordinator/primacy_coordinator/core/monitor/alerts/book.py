"""The alerts of a group, from look to look: a frozen value, and the step to the next one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from primacy_wire.instant import SECOND_NS

from primacy_coordinator.core.monitor.alerts import grouping, templates
from primacy_coordinator.core.monitor.alerts.alert import Alert
from primacy_coordinator.core.monitor.alerts.evaluate import AlertState, Life, Sight, Step, Timing, decide
from primacy_coordinator.core.monitor.alerts.finding import Finding, Looked
from primacy_coordinator.core.monitor.alerts.rules import Rule
from primacy_coordinator.core.severity import Severity

ALERTS_MAX = 1_000
"""Alerts that are followed at once; beyond that the least severe are left out, and counted."""
RESOLVED_MAX = 200
RESOLVED_NS_MAX = 24 * 3600 * SECOND_NS
"""How long, by the wall clock, a resolved one is shown."""
OFF = Timing(0, 0)
"""Of a rule that is not in force any more: its alerts end at once."""


@dataclass(frozen=True, slots=True)
class Book:
    alerts: tuple[Alert, ...] = ()
    """Sorted by id."""
    left_out: int = 0
    """Conditions that hold and are not followed: there are too many."""
    broken: tuple[tuple[str, str], ...] = ()
    """(rule, why it cannot be evaluated)."""

    def find(self, alert_id: str) -> Alert | None:
        return next((alert for alert in self.alerts if alert.id == alert_id), None)


@dataclass(frozen=True, slots=True)
class Decided:
    """What the journal keeps of a transition: `decide(step)` is of `after` (I9)."""

    step: Step
    after: Life | None
    finding: Finding


@dataclass(frozen=True, slots=True)
class Transition:
    """An alert began to fire, or was resolved."""

    alert: Alert
    decided: Decided


@dataclass(frozen=True, slots=True)
class Moment:
    elapsed_ns: int
    """Since the step before."""
    wall_ns: int
    group: str
    owed: frozenset[str] = frozenset()
    """Alerts of whose end some sink has yet to be told: they are kept until it is."""


def step(book: Book, rules: Mapping[str, Rule], looked: Looked, moment: Moment) -> tuple[Book, tuple[Transition, ...]]:
    """The next book, and what changed, causes first."""
    held, left_out = _followed(looked.held, rules)
    alerts: dict[str, Alert] = {}
    changed: list[Transition] = []
    for before in book.alerts:
        finding = held.pop(before.id, None)
        after, transition = _next(before, finding, rules.get(before.rule), looked, moment)
        if after is not None:
            alerts[after.id] = after
        if transition is not None:
            changed.append(transition)
    for alert_id, finding in held.items():
        after, transition = _next(None, finding, rules[finding.rule], looked, moment)
        assert after is not None
        alerts[alert_id] = after
        if transition is not None:
            changed.append(transition)
    grouped = grouping.explain(alerts, rules, moment.elapsed_ns)
    kept = _kept(grouped.values(), moment)
    changed.sort(key=lambda one: grouping.order(one.alert, rules))
    return (
        Book(tuple(sorted(kept, key=lambda one: one.id)), left_out, looked.broken),
        tuple(replace(one, alert=grouped[one.alert.id]) for one in changed),
    )


def acknowledge(book: Book, alert_id: str, owner: str, reason: str) -> tuple[Book, Alert | None]:
    """Somebody looks after it. None: no such alert fires."""
    found = book.find(alert_id)
    if found is None or found.life.state is not AlertState.FIRING:
        return book, None
    said = replace(found, acknowledged_by=owner or "an operator", acknowledge_reason=reason)
    return replace(book, alerts=tuple(said if one is found else one for one in book.alerts)), said


def _followed(held: Iterable[Finding], rules: Mapping[str, Rule]) -> tuple[dict[str, Finding], int]:
    """What holds of the rules in force, by id in order; the worst, if there is too much of it."""
    wanted = {one.id: one for one in held if one.rule in rules}
    if len(wanted) > ALERTS_MAX:
        worst = sorted(wanted.values(), key=lambda one: (-(one.severity or rules[one.rule].severity), one.id))
        wanted = {one.id: one for one in worst[:ALERTS_MAX]}
    return dict(sorted(wanted.items())), max(0, len({one.id for one in held if one.rule in rules}) - len(wanted))


def _next(
    before: Alert | None, finding: Finding | None, rule: Rule | None, looked: Looked, moment: Moment
) -> tuple[Alert | None, Transition | None]:
    """One alert after one look."""
    life = None if before is None else before.life
    elapsed_ns = moment.elapsed_ns
    if before is not None and finding is None and looked.is_blind(before.rule):
        # Also of a rule that is not in force, for the policy may not be known yet.
        sight, timing, elapsed_ns = Sight.UNKNOWN, OFF, 0
    elif rule is None:
        sight, timing = Sight.GONE, OFF
    else:
        timing = Timing(rule.for_ns, rule.keep_ns)
        if finding is not None:
            sight = Sight.HOLDS
        else:
            assert before is not None
            unknown = looked.is_unknown(before.rule, before.region, before.finding.subject)
            sight = Sight.UNKNOWN if unknown else Sight.GONE
    given = Step(life, sight, timing, elapsed_ns)
    after = decide(given)
    if after is None:
        return None, None
    state = after.state
    if life is None or (life.state is AlertState.RESOLVED and state is not AlertState.RESOLVED):
        assert finding is not None
        alert = Alert(finding, after, finding.severity or Severity.INFO, start_wall_ns=moment.wall_ns)
    else:
        assert before is not None
        alert = replace(before, life=after)
    if finding is not None and rule is not None:
        alert = _written(alert, finding, rule, moment.group)
    if life is not None and life.state is state:
        return alert, None
    decided = Decided(given, after, alert.finding)
    if state is AlertState.FIRING:
        alert = replace(alert, fire_wall_ns=moment.wall_ns)
        return alert, Transition(alert, decided)
    if state is AlertState.RESOLVED:
        alert = replace(alert, resolve_wall_ns=moment.wall_ns)
        return alert, Transition(alert, decided)
    return alert, None


def _written(alert: Alert, finding: Finding, rule: Rule, group: str) -> Alert:
    """With what is known of it now. Somebody who looks after it is asked anew when it becomes worse."""
    severity = min(finding.severity, rule.severity) if finding.severity is not None else rule.severity
    values = {
        "region": finding.region,
        "value": templates.figure(finding.value),
        "threshold": templates.figure(finding.threshold),
        "group": group,
        "series": finding.series,
    }
    annotations = tuple((name, templates.fill(text, values)) for name, text in rule.annotations)
    worse = severity > alert.severity and alert.life.state is AlertState.FIRING and alert.acknowledged_by
    return replace(
        alert,
        finding=finding,
        severity=severity,
        summary=dict(annotations).get("summary", finding.summary),
        advice=templates.fill(rule.advice, values),
        labels=rule.labels,
        annotations=annotations,
        acknowledged_by="" if worse else alert.acknowledged_by,
        acknowledge_reason="" if worse else alert.acknowledge_reason,
    )


def _kept(alerts: Iterable[Alert], moment: Moment) -> list[Alert]:
    """Without those that were resolved long ago, and of whose end everybody knows."""
    given = list(alerts)
    live = [alert for alert in given if alert.state is not AlertState.RESOLVED]
    over = [alert for alert in given if alert.state is AlertState.RESOLVED]
    over.sort(key=lambda one: (-one.resolve_wall_ns, one.id))
    owed = [alert for alert in over if alert.id in moment.owed][:ALERTS_MAX]
    others = [
        alert
        for alert in over
        if alert.id not in moment.owed and abs(moment.wall_ns - alert.resolve_wall_ns) <= RESOLVED_NS_MAX
    ]
    return live + owed + others[:RESOLVED_MAX]

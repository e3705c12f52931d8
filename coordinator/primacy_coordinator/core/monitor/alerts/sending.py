"""What a sink that tells people of changes has yet to be told: the difference between what is and what it was told.

Nothing is queued: a sink that was away for an hour is told how things are now. What fired and ended meanwhile is in the
journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from primacy_coordinator.core.monitor.alerts.alert import Alert
from primacy_coordinator.core.monitor.alerts.evaluate import AlertState
from primacy_coordinator.core.severity import Severity


@dataclass(frozen=True, slots=True)
class Word:
    """What a sink was told last of an alert."""

    fire_wall_ns: int
    """Names the life that it is about."""
    resolved: bool
    severity: Severity


Told = Mapping[str, Word]
"""By id of the alert."""


def word_of(alert: Alert) -> Word:
    return Word(alert.fire_wall_ns, alert.state is AlertState.RESOLVED, alert.severity)


def news(alerts: Iterable[Alert], told: Told, severity_min: Severity = Severity.INFO) -> tuple[Alert, ...]:
    """Alerts of which a sink must be told: the worst first, of those that fire before those that ended."""
    found = [alert for alert in alerts if alert.announced and _is_news(alert, told.get(alert.id), severity_min)]
    return tuple(sorted(found, key=lambda one: (one.state, -one.severity, one.fire_wall_ns, one.id)))


def _is_news(alert: Alert, last: Word | None, severity_min: Severity) -> bool:
    if alert.state is AlertState.RESOLVED:
        # Only of what it was told: the end of something unheard-of tells nobody anything.
        return last is not None and not last.resolved and last.fire_wall_ns == alert.fire_wall_ns
    if alert.severity < severity_min:
        return False
    if last is not None and last.fire_wall_ns == alert.fire_wall_ns and not last.resolved:
        return alert.severity > last.severity and not alert.acknowledged_by
    return not alert.acknowledged_by


def still_known(alerts: Iterable[Alert], told: Told) -> dict[str, Word]:
    """What was told, without alerts that are forgotten."""
    known = {alert.id for alert in alerts}
    return {alert_id: word for alert_id, word in told.items() if alert_id in known}

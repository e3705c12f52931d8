"""What explains what: one dead region is one message, not twelve.

1. A firing alert that another one explains is shown with its `cause_id`, and no sink is told of it.
2. Before sinks are told of an alert, it must have stood alone for `SETTLE_NS`: what explains it often comes a moment
   later. While such a cause is pending it waits a little longer, at most `WAIT_NS_MAX`.
3. When the cause is resolved and the alert still fires, it must stand alone for `PROMOTE_NS`: what one fault broke
   rarely heals in the same second. Then sinks are told.
4. What sinks were told stays told until it is really resolved, also when something explains it later: no sink ever
   hears `resolved` of what still fires.
5. Nothing is explained by what matters less.
6. A cause has a lower rank than what it explains (the order of the catalog), so there are no circles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from primacy_wire.instant import SECOND_NS

from primacy_coordinator.core.monitor.alerts.alert import Alert
from primacy_coordinator.core.monitor.alerts.catalog import RANK
from primacy_coordinator.core.monitor.alerts.evaluate import ELAPSED_NS_MAX, AlertState
from primacy_coordinator.core.monitor.alerts.finding import ANY
from primacy_coordinator.core.monitor.alerts.rules import OWN_RANK, Rule

SETTLE_NS = 5 * SECOND_NS
PROMOTE_NS = 60 * SECOND_NS
WAIT_NS_MAX = 60 * SECOND_NS


class Scope(Enum):
    """Which alerts of the other rule count as the cause."""

    ANY = 1
    REGION = 2
    """Those of the same region."""
    TWIN = 3
    """Those of the same region about the same thing."""
    WHOLE = 4
    """Those of the whole group about the same thing."""


@dataclass(frozen=True, slots=True)
class Cause:
    rule: str
    scope: Scope


_ALONE = Cause("coordinator-alone", Scope.ANY)
_DOWN_HERE = Cause("region-down", Scope.REGION)
_DOWN = Cause("region-down", Scope.ANY)
_NOBODY = Cause("no-active-region", Scope.ANY)
_FAST, _QUICK = "budget-burning-fast", "budget-burning"
_HERE = (_ALONE, _DOWN_HERE)

CAUSES: Mapping[str, tuple[Cause, ...]] = {
    "no-active-region": (
        _ALONE,
        Cause("store-trouble", Scope.ANY),
        Cause("store-doubt", Scope.ANY),
        Cause("awaiting-approval", Scope.ANY),
    ),
    "region-down": (_ALONE,),
    "panic": (_ALONE, _DOWN),
    "silent-stall": (_ALONE, _DOWN_HERE),
    _FAST: (_ALONE, _NOBODY, _DOWN, Cause(_FAST, Scope.WHOLE)),
    _QUICK: (_ALONE, _NOBODY, _DOWN, Cause(_FAST, Scope.TWIN), Cause(_QUICK, Scope.WHOLE)),
    "budget-burning-slowly": (
        _ALONE,
        _NOBODY,
        _DOWN,
        Cause(_FAST, Scope.TWIN),
        Cause(_QUICK, Scope.TWIN),
        Cause("budget-burning-slowly", Scope.WHOLE),
    ),
    "no-standby": (_ALONE, Cause("store-doubt", Scope.ANY), _DOWN),
    "would-not-survive": (_ALONE, _DOWN),
    "content-at-risk": (_ALONE, _DOWN),
    "lag": _HERE,
    "link-lost": _HERE,
    "self-doubt": (_ALONE, _DOWN),
    "flapping": (_DOWN_HERE,),
    "drain-stuck": _HERE,
    "parked-entry": (_DOWN_HERE,),
    "dataplane-rejected": (_DOWN_HERE,),
    "dataplane-failing": (_DOWN_HERE,),
    "agents-shifting": _HERE,
    "metrics-absent": (*_HERE, Cause("link-lost", Scope.REGION)),
}
OWN_CAUSES = _HERE
"""Of the policy's own rules about one region."""


def order(alert: Alert, rules: Mapping[str, Rule]) -> tuple[int, str, str]:
    """A cause comes before what it explains; the whole group before its regions."""
    rule = rules.get(alert.rule)
    return RANK.get(alert.rule, OWN_RANK) if rule is None else rule.rank, alert.region, alert.id


def explain(alerts: Mapping[str, Alert], rules: Mapping[str, Rule], elapsed_ns: int) -> dict[str, Alert]:
    """The same alerts, each with what explains it, and whether sinks are told."""
    elapsed_ns = min(max(elapsed_ns, 0), ELAPSED_NS_MAX)
    done: dict[str, Alert] = {}
    live: dict[tuple[str, str], list[Alert]] = {}
    """By rule and region, and by rule alone: those that may explain others. Their own causes are known already."""
    for alert in sorted(alerts.values(), key=lambda one: order(one, rules)):
        found = alert
        if alert.state is AlertState.FIRING:
            found = _explained(alert, live, done, elapsed_ns)
        if found.state is not AlertState.RESOLVED:
            for region in {found.region, ANY}:
                live.setdefault((found.rule, region), []).append(found)
        done[found.id] = found
    return done


def _explained(
    alert: Alert, live: Mapping[tuple[str, str], list[Alert]], done: Mapping[str, Alert], elapsed_ns: int
) -> Alert:
    cause_id, pending = _cause(alert, live, done)
    alert = replace(alert, firing_ns=alert.firing_ns + elapsed_ns)
    if cause_id or (pending and alert.firing_ns < WAIT_NS_MAX and not alert.announced):
        return replace(alert, cause_id=cause_id or _kept(alert, done), alone_ns=0)
    alone_ns = alert.alone_ns + elapsed_ns
    if alone_ns < (PROMOTE_NS if alert.cause_id else SETTLE_NS):
        return replace(alert, alone_ns=alone_ns)
    return replace(alert, alone_ns=alone_ns, cause_id="", announced=True)


def _kept(alert: Alert, done: Mapping[str, Alert]) -> str:
    """What explained it before, unless that goes on and explains it no more: it matters less than it did."""
    before = done.get(alert.cause_id)
    return "" if before is not None and before.state is AlertState.FIRING else alert.cause_id


def _cause(alert: Alert, live: Mapping[tuple[str, str], list[Alert]], done: Mapping[str, Alert]) -> tuple[str, bool]:
    """(id of what explains it at the root, or empty; whether something that would is pending)."""
    pending = False
    own = OWN_CAUSES if alert.rule not in RANK and alert.region else ()
    for cause in CAUSES.get(alert.rule, own):
        for other in live.get((cause.rule, _where(cause.scope, alert)), ()):
            if other.id == alert.id or other.severity < alert.severity or not _fits(cause.scope, alert, other):
                continue
            if other.state is AlertState.FIRING:
                root = done.get(other.cause_id)
                explains = root is not None and root.state is AlertState.FIRING and root.severity >= alert.severity
                return (root.id if root is not None and explains else other.id), pending
            pending = True
    return "", pending


def _where(scope: Scope, alert: Alert) -> str:
    match scope:
        case Scope.ANY:
            return ANY
        case Scope.REGION | Scope.TWIN:
            return alert.region
        case Scope.WHOLE:
            return ""


def _fits(scope: Scope, alert: Alert, other: Alert) -> bool:
    return scope not in (Scope.TWIN, Scope.WHOLE) or other.finding.subject == alert.finding.subject

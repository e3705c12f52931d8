"""Do objectives and alert rules fit together? Said with the path of each fault, as in the policy's JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from primacy_wire.instant import SECOND_NS

from primacy_coordinator.core.monitor.alerts import catalog, templates
from primacy_coordinator.core.monitor.model import DAY_NS, AlertRule, BurnRate, Slo, SloIndicator, Threshold

RULES_MAX = 200
SLOS_MAX = 50
LABELS_MAX = 32
TEXT_MAX = 1024
NAME_RULE = "must be lower-case words joined by `-`, 63 characters at most"
LABEL_RULE = "a label's name is letters, digits and `_`, and begins with none of the digits"
SERIES_RULE = 'must be the name of a series, as `primacy metrics` shows it, e.g. `error_rate` or `jobs{queue="low"}`'
WINDOW_NS_MIN = SECOND_NS
WINDOW_NS_MAX = 31 * DAY_NS
FOR_NS_MAX = DAY_NS
ABSENCE_NS_MAX = 5 * 3600 * SECOND_NS
"""Less than that after which a series that nobody hears is forgotten: it could not be missed."""
RESERVED = frozenset({"alertname", "group", "region", "severity", "subject"})
"""Labels that every alert has; a rule cannot give them."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SERIES = re.compile(r"[A-Za-z_:][A-Za-z0-9_:.]*(\{[^{}\x00-\x1f\x7f]*\})?")

Need = Callable[[bool, str, str], None]


def is_series(name: str) -> bool:
    return len(name) <= 256 and _SERIES.fullmatch(name) is not None


def check_monitoring(need: Need, rules: tuple[AlertRule, ...], slos: tuple[Slo, ...]) -> None:
    """`need(holds, path, expected)` is told of everything that must hold."""
    need(len(slos) <= SLOS_MAX, "slos", f"must be at most {SLOS_MAX}, got {len(slos)}")
    seen: set[str] = set()
    for index, slo in enumerate(slos[:SLOS_MAX]):
        path = f"slos[{index}]"
        _check_name(need, f"{path}.name", slo.name, seen, "slo")
        _check_slo(need, path, slo)
    need(len(rules) <= RULES_MAX, "alertRules", f"must be at most {RULES_MAX}, got {len(rules)}")
    by_name = {slo.name: slo for slo in slos}
    seen = set()
    for index, rule in enumerate(rules[:RULES_MAX]):
        path = f"alertRules[{index}]"
        _check_name(need, f"{path}.name", rule.name, seen, "rule")
        _check_rule(need, path, rule, by_name)


def _check_name(need: Need, path: str, name: str, seen: set[str], what: str) -> None:
    need(len(name) <= 63 and _NAME.fullmatch(name) is not None, path, NAME_RULE)
    need(name not in seen, path, f"{name!r} names two: give each {what} a name of its own")
    seen.add(name)


def _check_slo(need: Need, path: str, slo: Slo) -> None:
    need(
        math.isfinite(slo.objective) and 0 < slo.objective < 1,
        f"{path}.objective",
        "must be above 0 and below 1, e.g. 0.999",
    )
    need(3600 * SECOND_NS <= slo.window_ns <= WINDOW_NS_MAX, f"{path}.window", "must be from 1h to 31d")
    if slo.indicator is SloIndicator.LATENCY:
        need(slo.threshold_ns > 0, f"{path}.threshold", "must be above 0: the longest time of a good request")
    else:
        need(slo.threshold_ns == 0, f"{path}.threshold", "is for the indicator LATENCY alone")


def _check_rule(need: Need, path: str, rule: AlertRule, slos: dict[str, Slo]) -> None:
    conditions = sum(each is not None for each in (rule.threshold, rule.absence, rule.burn_rate))
    if rule.name in catalog.BY_NAME:
        need(
            conditions == 0,
            path,
            f"{rule.name!r} is built in and has its own condition: leave that out, or choose another name",
        )
    else:
        need(conditions == 1, path, "needs exactly one of threshold, absence and burnRate")
    need(-1 <= rule.for_ns <= FOR_NS_MAX, f"{path}.for", "must be from 0s to 24h")
    if rule.threshold is not None:
        _check_threshold(need, f"{path}.threshold", rule.threshold)
    if rule.absence is not None:
        need(is_series(rule.absence.series), f"{path}.absence.series", SERIES_RULE)
        need(5 * SECOND_NS <= rule.absence.after_ns <= ABSENCE_NS_MAX, f"{path}.absence.after", "must be from 5s to 5h")
    if rule.burn_rate is not None:
        _check_burn(need, f"{path}.burnRate", rule.burn_rate, slos)
    _check_texts(need, path, rule)


def _check_threshold(need: Need, path: str, threshold: Threshold) -> None:
    need(is_series(threshold.series), f"{path}.series", SERIES_RULE)
    bounds = [bound for bound in (threshold.above, threshold.below) if bound is not None]
    need(len(bounds) == 1, path, "needs exactly one of above and below")
    for name, bound in (("above", threshold.above), ("below", threshold.below)):
        need(bound is None or math.isfinite(bound), f"{path}.{name}", "must be a number, neither NaN nor infinite")
    need(0 < threshold.quantile <= 1, f"{path}.quantile", "must be above 0, and at most 1")
    need(WINDOW_NS_MIN <= threshold.window_ns <= WINDOW_NS_MAX, f"{path}.window", "must be from 1s to 31d")


def _check_burn(need: Need, path: str, burn: BurnRate, slos: dict[str, Slo]) -> None:
    known = ", ".join(sorted(slos)) or "none are set"
    need(burn.slo in slos, f"{path}.slo", f"names no objective of this policy ({known})")
    slo = slos.get(burn.slo)
    need(
        slo is None or burn.long_ns <= slo.window_ns,
        f"{path}.longWindow",
        f"must be no longer than the window of {burn.slo!r}",
    )
    need(math.isfinite(burn.factor) and burn.factor > 0, f"{path}.factor", "must be a number above 0")
    need(60 * SECOND_NS <= burn.long_ns <= WINDOW_NS_MAX, f"{path}.longWindow", "must be from 1m to 31d")
    need(
        SECOND_NS <= burn.short_ns < burn.long_ns,
        f"{path}.shortWindow",
        "must be 1s or more, and shorter than longWindow",
    )


def _check_texts(need: Need, path: str, rule: AlertRule) -> None:
    for what, pairs in (("labels", rule.labels), ("annotations", rule.annotations)):
        need(len(pairs) <= LABELS_MAX, f"{path}.{what}", f"must be at most {LABELS_MAX}")
        for name, text in pairs:
            below = f"{path}.{what}.{name}"
            need(_LABEL.fullmatch(name) is not None, below, LABEL_RULE)
            need(len(text) <= TEXT_MAX, below, f"must be at most {TEXT_MAX} characters")
            if what == "labels":
                need(name not in RESERVED, below, f"{name!r} is a label that every alert has by itself")
            else:
                fault = templates.faults(text)
                need(not fault, below, fault)

"""Which rules about measurements hold: thresholds, absence, and error budgets that burn.

A rule over a long window is looked at less often than one over a short one, for its figure cannot change quickly; in
between, the last look stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from primacy_wire.instant import SECOND_NS

from primacy_coordinator.core.monitor.alerts.figures import Figures
from primacy_coordinator.core.monitor.alerts.finding import ANY, Finding, Looked
from primacy_coordinator.core.monitor.alerts.rules import Rule
from primacy_coordinator.core.monitor.alerts.templates import figure
from primacy_coordinator.core.monitor.model import Absence, BurnRate, Slo, Threshold

PACE_NS_MAX = 15 * SECOND_NS
LOOKS_PER_WINDOW = 20
FAILURES_MIN = 10
"""Requests that must have failed in the long window before a budget burns: one of two that fail at night is half of
them, and no reason to get up."""
MEASURED = "request_rate"
"""The series whose absence means that a region is not measured any more."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What conditions are decided from, besides the figures."""

    regions: tuple[str, ...]
    """Registered, sorted."""
    slos: tuple[Slo, ...]
    uptime_ns: int
    """Before that nothing was heard because nobody listened."""


class Conditions:
    """Remembers the last look at each rule. No clock of its own: the same calls give the same answers."""

    def __init__(self) -> None:
        self._last: dict[Rule, tuple[int, Looked]] = {}

    def look(self, rules: Mapping[str, Rule], figures: Figures, given: Measured, now_ns: int) -> Looked:
        """Every condition on measurements that holds."""
        fresh: dict[Rule, tuple[int, Looked]] = {}
        found: list[Looked] = []
        for rule in rules.values():
            pace_ns = _pace_ns(rule)
            if pace_ns == 0:
                continue
            last = self._last.get(rule)
            if last is None or now_ns - last[0] >= pace_ns:
                before = last[1] if last is not None else Looked()
                last = now_ns, _with_forgotten(rule, before, look(rule, figures, given), figures, given)
            fresh[rule] = last
            found.append(last[1])
        self._last = fresh
        here = frozenset((*given.regions, ""))
        return Looked(
            tuple(one for looked in found for one in looked.held if one.region in here),
            frozenset().union(*(looked.unknown for looked in found)),
            tuple(sorted(pair for looked in found for pair in looked.broken)),
        )


def _pace_ns(rule: Rule) -> int:
    """How long a look stands; 0: the rule asks for no figures."""
    if rule.threshold is not None:
        window_ns = rule.threshold.window_ns
    elif rule.absence is not None:
        window_ns = rule.absence.after_ns
    elif rule.burns:
        window_ns = min(burn.short_ns for burn in rule.burns)
    elif rule.name == "metrics-absent":
        window_ns = 0
    else:
        return 0
    return min(max(window_ns // LOOKS_PER_WINDOW, SECOND_NS), PACE_NS_MAX)


def look(rule: Rule, figures: Figures, given: Measured) -> Looked:
    """One rule."""
    if rule.threshold is not None:
        return _threshold(rule, rule.threshold, figures, given)
    if rule.absence is not None:
        return _absence(rule, rule.absence, figures, given, expected=True)
    if rule.burns:
        return _burning(rule, rule.burns, figures, given)
    # The condition has a length of its own: what is left of the rule's is waited for by `evaluate`.
    return _absence(rule, Absence(MEASURED, 15 * SECOND_NS), figures, given, expected=False)


def _threshold(rule: Rule, threshold: Threshold, figures: Figures, given: Measured) -> Looked:
    having = figures.regions(threshold.series)
    if not having:
        return Looked(unknown=frozenset({(rule.name, ANY)}), broken=((rule.name, _nobody(threshold.series)),))
    held: list[Finding] = []
    unknown: set[tuple[str, str]] = set()
    regions = ("",) if threshold.all_regions else [region for region in having if region in given.regions]
    for region in regions:
        value = figures.latest(threshold.series, region, threshold.aggregation, threshold.quantile, threshold.window_ns)
        if value is None or math.isnan(value):
            unknown.add((rule.name, region))
        elif threshold.above is not None and value > threshold.above:
            held.append(_beyond(rule, threshold.series, region, value, threshold.above, "above"))
        elif threshold.below is not None and value < threshold.below:
            held.append(_beyond(rule, threshold.series, region, value, threshold.below, "below"))
    return Looked(tuple(held), frozenset(unknown))


def _beyond(rule: Rule, series: str, region: str, value: float, bound: float, side: str) -> Finding:
    shown = value if math.isfinite(value) else None
    where = f" in {region}" if region else ""
    return Finding(
        rule.name,
        region,
        summary=f"{series}{where} is {figure(value)}, {side} {figure(bound)}",
        value=shown,
        threshold=bound,
        series=series,
    )


def _absence(rule: Rule, absence: Absence, figures: Figures, given: Measured, expected: bool) -> Looked:
    having = figures.regions(absence.series)
    if not having:
        broken = ((rule.name, _nobody(absence.series)),) if expected else ()
        return Looked(unknown=frozenset({(rule.name, ANY)}), broken=broken)
    if given.uptime_ns < absence.after_ns:
        return Looked(unknown=frozenset({(rule.name, ANY)}))
    held = [
        Finding(
            rule.name,
            region,
            summary=f"nothing was heard of {absence.series} in {region} for {absence.after_ns / SECOND_NS:g} s",
            series=absence.series,
            threshold=absence.after_ns / SECOND_NS,
        )
        for region in having
        if region in given.regions and figures.latest(absence.series, region, None, 0.5, absence.after_ns) is None
    ]
    return Looked(tuple(held))


def _with_forgotten(rule: Rule, before: Looked, now: Looked, figures: Figures, given: Measured) -> Looked:
    """A series that is absent for so long that it is forgotten is absent still."""
    if rule.absence is None and rule.name != "metrics-absent":
        return now
    having = figures.regions(rule.absence.series if rule.absence is not None else MEASURED)
    gone = tuple(one for one in before.held if one.region not in having and one.region in given.regions)
    return replace(now, held=(*now.held, *gone)) if gone else now


def _burning(rule: Rule, burns: Iterable[BurnRate], figures: Figures, given: Measured) -> Looked:
    slos = {slo.name: slo for slo in given.slos}
    held: list[Finding] = []
    unknown: set[tuple[str, str]] = set()
    for burn in burns:
        slo = slos.get(burn.slo)
        if slo is None:
            continue  # `check_policy` lets no policy have that.
        for region in _judged(slo, given.regions):
            rates = [figures.burn(burn.slo, region, window_ns) for window_ns in (burn.long_ns, burn.short_ns)]
            if any(rate is None or math.isnan(rate) for rate in rates):
                unknown.add((f"{rule.name}:{burn.slo}", region))
                continue
            over_long, over_short = (rate or 0.0 for rate in rates)
            failures = figures.failures(burn.slo, region, burn.long_ns)
            few = failures is not None and failures < FAILURES_MIN
            if over_long > burn.factor and over_short > burn.factor and not few:
                held.append(_burnt(rule, burn, region, over_long, over_short))
    return Looked(tuple(held), frozenset(unknown))


def _judged(slo: Slo, regions: tuple[str, ...]) -> Iterator[str]:
    yield ""
    if slo.per_region:
        yield from regions


def _burnt(rule: Rule, burn: BurnRate, region: str, over_long: float, over_short: float) -> Finding:
    where = f" in {region}" if region else ""
    return Finding(
        rule.name,
        region,
        burn.slo,
        summary=f"the error budget of {burn.slo}{where} burns at {over_long:.3g} times its pace over "
        f"{burn.long_ns / SECOND_NS:g} s, and {over_short:.3g} over {burn.short_ns / SECOND_NS:g} s; {burn.factor:g} "
        "is too fast",
        value=over_long if math.isfinite(over_long) else None,
        threshold=burn.factor,
        series=burn.slo,
    )


def _nobody(series: str) -> str:
    return f"no region has a series {series!r}: `primacy metrics` shows those that exist"

"""Rules about measurements: thresholds, absence, budgets; what cannot be evaluated says so and hurts nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from primacy_coordinator.core.monitor.alerts import templates
from primacy_coordinator.core.monitor.alerts.conditions import Conditions, Measured, look
from primacy_coordinator.core.monitor.alerts.rules import rules_of
from primacy_coordinator.core.monitor.model import (
    MINUTE_NS,
    Absence,
    Aggregation,
    AlertRule,
    BurnRate,
    Slo,
    SloIndicator,
    Threshold,
)
from primacy_wire.instant import SECOND_NS

SLO = Slo("checkout", SloIndicator.SUCCESS, 0.999)
GIVEN = Measured(("eu", "us"), (SLO,), 3600 * SECOND_NS)


@dataclass
class Table:
    """Figures from a table, and how often they were asked for."""

    values: dict[tuple[str, str], float | None] = field(default_factory=dict)
    rates: dict[tuple[str, str, int], float | None] = field(default_factory=dict)
    failed: dict[tuple[str, str, int], float] = field(default_factory=dict)
    asked: int = 0

    def regions(self, series: str, /) -> tuple[str, ...]:
        return tuple(sorted({region for name, region in self.values if name == series and region}))

    def latest(
        self, series: str, region: str, aggregation: Aggregation | None, quantile: float, window_ns: int, /
    ) -> float | None:
        self.asked += 1
        return self.values.get((series, region))

    def burn(self, slo: str, region: str, window_ns: int, /) -> float | None:
        return self.rates.get((slo, region, window_ns))

    def failures(self, slo: str, region: str, window_ns: int, /) -> float | None:
        return self.failed.get((slo, region, window_ns))


def one(rule: AlertRule, figures: Table, given: Measured = GIVEN) -> tuple[list[str], list[str]]:
    """(ids of what holds, (rule, region) of what is unknown)."""
    looked = look(rules_of((rule,), given.slos)[rule.name], figures, given)
    return [each.id for each in looked.held], [f"{name}/{region}" for name, region in sorted(looked.unknown)]


def test_a_threshold_is_judged_by_region() -> None:
    rule = AlertRule("errors", threshold=Threshold("error_rate", above=0.05))
    figures = Table({("error_rate", "eu"): 0.2, ("error_rate", "us"): 0.01})
    assert one(rule, figures) == (["errors/eu"], [])
    figures.values["error_rate", "us"] = None
    assert one(rule, figures) == (["errors/eu"], ["errors/us"])
    figures.values["error_rate", "us"] = math.nan
    assert one(rule, figures) == (["errors/eu"], ["errors/us"])


def test_a_threshold_below_and_one_of_all_regions() -> None:
    figures = Table({("request_rate", "eu"): 2.0, ("request_rate", ""): 2.0})
    assert one(AlertRule("idle", threshold=Threshold("request_rate", below=5.0)), figures)[0] == ["idle/eu"]
    rule = AlertRule("idle", threshold=Threshold("request_rate", below=5.0, all_regions=True))
    looked = look(rules_of((rule,), ())["idle"], figures, GIVEN)
    (found,) = looked.held
    assert found.id == "idle" and found.value == 2.0 and found.summary == "request_rate is 2, below 5"


def test_an_infinite_figure_is_shown_as_none() -> None:
    rule = AlertRule("errors", threshold=Threshold("x", above=0.05))
    (found,) = look(rules_of((rule,), ())["errors"], Table({("x", "eu"): math.inf}), GIVEN).held
    assert found.value is None


def test_a_series_that_nobody_has_breaks_only_its_rule() -> None:
    rules = rules_of(
        (
            AlertRule("errors", threshold=Threshold("eror_rate", above=0.05)),
            AlertRule("slow", threshold=Threshold("latency_seconds", above=0.1)),
        ),
        (),
    )
    figures = Table({("latency_seconds", "eu"): 0.5})
    looked = Conditions().look(rules, figures, GIVEN, 0)
    assert [each.id for each in looked.held] == ["slow/eu"]
    assert [name for name, _ in looked.broken] == ["errors"]
    assert "'eror_rate'" in looked.broken[0][1]


def test_absence_is_of_what_was_heard_before() -> None:
    rule = AlertRule("quiet", absence=Absence("request_rate", MINUTE_NS))
    figures = Table({("request_rate", "eu"): 1.0, ("request_rate", "us"): None, ("request_rate", "gone"): None})
    assert one(rule, figures) == (["quiet/us"], [])
    young = Measured(("eu", "us"), (), 30 * SECOND_NS)
    assert one(rule, figures, young) == ([], ["quiet/*"]), "nothing was heard, for nobody listened"


def test_a_budget_burns_over_both_windows() -> None:
    rule = AlertRule("burn", burn_rate=BurnRate("checkout", 2.0, 60 * MINUTE_NS, 5 * MINUTE_NS))
    figures = Table(rates={("checkout", "", 60 * MINUTE_NS): 3.0, ("checkout", "", 5 * MINUTE_NS): 1.0})
    assert one(rule, figures) == ([], [])
    figures.rates["checkout", "", 5 * MINUTE_NS] = 4.0
    assert one(rule, figures) == (["burn:checkout"], [])
    figures.rates["checkout", "", 5 * MINUTE_NS] = None
    assert one(rule, figures) == ([], ["burn:checkout/"]), "of that objective alone"


def test_a_rule_over_a_long_window_is_looked_at_less_often() -> None:
    rules = rules_of((AlertRule("errors", threshold=Threshold("error_rate", above=0.05, window_ns=MINUTE_NS)),), ())
    figures, conditions = Table({("error_rate", "eu"): 1.0}), Conditions()
    for second in range(9):
        assert [each.id for each in conditions.look(rules, figures, GIVEN, second * SECOND_NS).held] == ["errors/eu"]
    assert figures.asked == 3
    gone = Measured(("us",), (), 3600 * SECOND_NS)
    assert conditions.look(rules, figures, gone, 9 * SECOND_NS).held == (), "a region that left has no alerts"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("plain", ""),
        ("{region}: {value} > {threshold} ({group}, {series}) {{x}}", ""),
        ("{host}", "unknown placeholder {host}"),
        ("{region!r}", "unknown placeholder"),
        ("{value:.2f}", "unknown placeholder"),
        ("{}", "unknown placeholder"),
        ("a { b", "lone '{'"),
        ("a } b", "lone '}'"),
    ],
)
def test_templates(text: str, fault: str) -> None:
    assert fault in templates.faults(text) if fault else not templates.faults(text)


def test_a_value_is_never_read_as_a_template() -> None:
    assert templates.fill("{region} {{x}} {value}", {"region": "{value}", "value": "1"}) == "{value} {x} 1"


def test_one_failed_request_of_two_burns_no_budget() -> None:
    rule = AlertRule("burn", burn_rate=BurnRate("checkout", 2.0, 60 * MINUTE_NS, 5 * MINUTE_NS))
    rates = {("checkout", "", window_ns): 500.0 for window_ns in (60 * MINUTE_NS, 5 * MINUTE_NS)}
    few = Table(rates=dict(rates), failed={("checkout", "", 60 * MINUTE_NS): 1.0})
    assert one(rule, few) == ([], [])
    many = Table(rates=dict(rates), failed={("checkout", "", 60 * MINUTE_NS): 10.0})
    assert one(rule, many) == (["burn:checkout"], [])
    of_time = Table(rates=dict(rates))
    assert one(rule, of_time) == (["burn:checkout"], []), "an objective about time counts no requests"


def test_what_is_absent_for_so_long_that_it_is_forgotten_is_absent_still() -> None:
    conditions, figures = Conditions(), Table({("request_rate", "eu"): None, ("request_rate", "us"): 1.0})
    rules = rules_of((), ())

    def held(at_s: int, given: Measured = GIVEN) -> list[str]:
        return [each.id for each in conditions.look(rules, figures, given, at_s * SECOND_NS).held]

    assert held(0) == ["metrics-absent/eu"]
    del figures.values["request_rate", "eu"]
    assert held(30) == held(60) == ["metrics-absent/eu"]
    assert held(90, Measured(("us",), (), GIVEN.uptime_ns)) == [], "it is deregistered"
    figures.values["request_rate", "eu"] = 2.0
    assert held(120) == []

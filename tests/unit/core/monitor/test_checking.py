"""Alert rules and objectives that do not fit together are refused, each fault with its path."""

from __future__ import annotations

import math

import pytest
from primacy_coordinator.core.model import Policy, PolicyRecord
from primacy_coordinator.core.monitor.checking import RULES_MAX, SLOS_MAX
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
from primacy_coordinator.core.policy import check_policy
from primacy_coordinator.core.severity import Severity
from primacy_coordinator.rpc.fields import Fields
from primacy_coordinator.rpc.policies import parse_policy, render_policy
from primacy_coordinator.store.codec import decode_record, encode_record
from primacy_wire.errors import InvalidRequest
from primacy_wire.policy_file import policy_from_text, policy_to_yaml

SLO = Slo("checkout", SloIndicator.SUCCESS, 0.999)
ERRORS = AlertRule("errors", threshold=Threshold("error_rate", above=0.05))
WHOLE = Policy(
    slos=(SLO, Slo("quick", SloIndicator.LATENCY, 0.99, threshold_ns=300_000_000, per_region=True)),
    alert_rules=(
        AlertRule(
            "errors",
            threshold=Threshold("error_rate", above=0.05, window_ns=5 * MINUTE_NS),
            for_ns=2 * MINUTE_NS,
            severity=Severity.CRITICAL,
            labels=(("area", "edge"), ("team", "web")),
            annotations=(("summary", "{region} fails {value}, more than {threshold}"),),
        ),
        AlertRule(
            "slow",
            threshold=Threshold(
                "latency_seconds", above=0.5, aggregation=Aggregation.QUANTILE, quantile=0.9, all_regions=True
            ),
        ),
        AlertRule("idle", threshold=Threshold('jobs{queue="low"}', below=0.0)),
        AlertRule("quiet", absence=Absence("request_rate", 10 * MINUTE_NS)),
        AlertRule("burn", burn_rate=BurnRate("checkout", 2.0, 60 * MINUTE_NS, 5 * MINUTE_NS)),
        AlertRule("region-down", severity=Severity.WARNING, for_ns=0),
        AlertRule("flapping", disabled=True),
    ),
)


def test_a_whole_policy_goes_through_message_file_and_store() -> None:
    assert check_policy(WHOLE) == ()
    message = render_policy(PolicyRecord(WHOLE))
    assert parse_policy(Fields(), "", message) == WHOLE
    assert parse_policy(Fields(), "", policy_from_text(policy_to_yaml(message))) == WHOLE
    record = PolicyRecord(WHOLE)
    assert decode_record("policy", "", encode_record(record)) == record


def _rules(*rules: AlertRule) -> Policy:
    return Policy(slos=(SLO,), alert_rules=rules)


@pytest.mark.parametrize(
    ("policy", "path"),
    [
        (Policy(slos=(SLO, SLO)), "slos[1].name"),
        (Policy(slos=(Slo("Check out", SloIndicator.SUCCESS, 0.9),)), "slos[0].name"),
        (Policy(slos=(Slo("a", SloIndicator.SUCCESS, 1.0),)), "slos[0].objective"),
        (Policy(slos=(Slo("a", SloIndicator.SUCCESS, math.nan),)), "slos[0].objective"),
        (Policy(slos=(Slo("a", SloIndicator.SUCCESS, 0.9, window_ns=MINUTE_NS),)), "slos[0].window"),
        (Policy(slos=(Slo("a", SloIndicator.LATENCY, 0.9),)), "slos[0].threshold"),
        (Policy(slos=(Slo("a", SloIndicator.SUCCESS, 0.9, threshold_ns=1),)), "slos[0].threshold"),
        (Policy(slos=tuple(Slo(f"a{n}", SloIndicator.SUCCESS, 0.9) for n in range(SLOS_MAX + 1))), "slos"),
        (_rules(ERRORS, ERRORS), "alertRules[1].name"),
        (_rules(*(AlertRule(f"a{n}", absence=Absence("x")) for n in range(RULES_MAX + 1))), "alertRules"),
        (_rules(AlertRule("nothing")), "alertRules[0]"),
        (_rules(AlertRule("both", threshold=Threshold("a", above=1.0), absence=Absence("a"))), "alertRules[0]"),
        (_rules(AlertRule("region-down", absence=Absence("a"))), "alertRules[0]"),
        (_rules(AlertRule("a", threshold=Threshold("a"))), "alertRules[0].threshold"),
        (_rules(AlertRule("a", threshold=Threshold("a", above=1.0, below=2.0))), "alertRules[0].threshold"),
        (_rules(AlertRule("a", threshold=Threshold("a", above=math.inf))), "alertRules[0].threshold.above"),
        (_rules(AlertRule("a", threshold=Threshold("a b", above=1.0))), "alertRules[0].threshold.series"),
        (_rules(AlertRule("a", threshold=Threshold("a", above=1.0, window_ns=0))), "alertRules[0].threshold.window"),
        (_rules(AlertRule("a", threshold=Threshold("a", above=1.0, quantile=0.0))), "alertRules[0].threshold.quantile"),
        (_rules(AlertRule("a", absence=Absence("a\n"))), "alertRules[0].absence.series"),
        (_rules(AlertRule("a", absence=Absence("a", 0))), "alertRules[0].absence.after"),
        (_rules(AlertRule("a", absence=Absence("a", 360 * MINUTE_NS))), "alertRules[0].absence.after"),
        (
            Policy(
                slos=(Slo("day", SloIndicator.SUCCESS, 0.9, 1440 * MINUTE_NS),),
                alert_rules=(AlertRule("a", burn_rate=BurnRate("day", 1, 2880 * MINUTE_NS, MINUTE_NS)),),
            ),
            "alertRules[0].burnRate.longWindow",
        ),
        (_rules(AlertRule("a", burn_rate=BurnRate("other", 2.0, MINUTE_NS, 1))), "alertRules[0].burnRate.slo"),
        (
            _rules(AlertRule("a", burn_rate=BurnRate("checkout", 2.0, MINUTE_NS, MINUTE_NS))),
            "alertRules[0].burnRate.shortWindow",
        ),
        (
            _rules(AlertRule("a", burn_rate=BurnRate("checkout", 0.0, MINUTE_NS, MINUTE_NS // 2))),
            "alertRules[0].burnRate.factor",
        ),
        (_rules(AlertRule("a", absence=Absence("a"), labels=(("group", "x"),))), "alertRules[0].labels.group"),
        (_rules(AlertRule("a", absence=Absence("a"), labels=(("b-c", "x"),))), "alertRules[0].labels.b-c"),
        (
            _rules(AlertRule("a", absence=Absence("a"), annotations=(("summary", "{host} is gone"),))),
            "alertRules[0].annotations.summary",
        ),
        (
            _rules(AlertRule("a", absence=Absence("a"), annotations=(("summary", "100 % {"),))),
            "alertRules[0].annotations.summary",
        ),
    ],
)
def test_what_does_not_fit_is_named(policy: Policy, path: str) -> None:
    assert path in [where for where, _ in check_policy(policy)]


def test_a_request_names_each_fault_with_its_path() -> None:
    text = """
alertRules:
- {name: a, threshold: {series: error_rate, above: .nan}}
- {name: a, burnRate: {slo: gone, factor: 2, longWindow: 1h, shortWindow: 2h}}
slos:
- {name: b, objective: 0.9}
"""
    with pytest.raises(InvalidRequest) as caught:
        parse_policy(Fields(), "policy", policy_from_text(text.replace(".nan", "1")))
    assert [field.path for field in caught.value.fields] == ["policy.slos[0].indicator"]
    text = text.replace("name: b", "name: b, indicator: success").replace(".nan", "1")
    with pytest.raises(InvalidRequest) as caught:
        parse_policy(Fields(), "policy", policy_from_text(text))
    assert [field.path for field in caught.value.fields] == [
        "policy.alertRules[1].name",
        "policy.alertRules[1].burnRate.slo",
        "policy.alertRules[1].burnRate.shortWindow",
    ]

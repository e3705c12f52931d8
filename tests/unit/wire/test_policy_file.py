"""Policies as people write them."""

from __future__ import annotations

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from primacy.v1 import policy_pb2, replication_pb2, routing_pb2
from primacy_wire.policy_file import place_of, policy_from_text, policy_to_yaml
from primacy_wire.yaml_text import ConfigError

WHOLE = """\
strategy: ELECTION_STRATEGY_LATENCY
readStrategy: ROUTING_STRATEGY_GEOGRAPHIC
leaseTtl: 3s
reportInterval: 0.25s
driftBound: 0.02
grace: 0.5s
firstWait: 0s
failback: FAILBACK_MANUAL
stableFor: 60s
switchoverTimeout: 10s
panicThreshold: 0.0
minHealthyAgents: 2
registration: REGISTRATION_CLOSED
failsafe: FAILSAFE_MODE_FENCE
regionWeights:
  eu: 2.0
  us: 1.5
clientTraffic:
  'no': 0.25
durability: DURABILITY_LOCAL
conflictPolicy: CONFLICT_POLICY_MERGE
conflictPolicies:
  app/: CONFLICT_POLICY_MANUAL
  app/limits: CONFLICT_POLICY_REJECT
requiredModels:
- resnet
- 'no'
retryBudget: 3
retryWaitMax: 10s
stallAfter: 5s
"""


def test_a_whole_policy_is_read_and_written_as_it_stands() -> None:
    policy = policy_from_text(WHOLE)
    assert policy.strategy == policy_pb2.ELECTION_STRATEGY_LATENCY
    assert policy.lease_ttl.ToNanoseconds() == 3_000_000_000
    assert policy.HasField("first_wait")
    assert policy.HasField("panic_threshold")
    assert dict(policy.client_traffic) == {"no": 0.25}
    assert policy_to_yaml(policy) == WHOLE


def test_words_of_replication_are_read_as_people_write_them() -> None:
    policy = policy_from_text("durability: local\nconflictPolicies: {app/: last-writer-wins}\nrequiredModels: [a]\n")
    assert policy.durability == replication_pb2.DURABILITY_LOCAL
    assert dict(policy.conflict_policies) == {"app/": replication_pb2.CONFLICT_POLICY_LAST_WRITER_WINS}
    assert list(policy.required_models) == ["a"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("requiredModels: resnet\n", "p.yaml:1: requiredModels: must be a list"),
        ("requiredModels:\n- a\n- 7\n", "p.yaml:3: requiredModels[1]: must be a text, got 7"),
        ("conflictPolicies:\n  app/: mine\n", "p.yaml:2: conflictPolicies.app/: must be one of LAST_WRITER_WINS"),
        ("conflictPolicies: merge\n", "p.yaml:1: conflictPolicies: must be a mapping"),
        ("durability: both\n", "p.yaml:1: durability: must be one of REGIONS, LOCAL"),
    ],
)
def test_words_of_replication_that_cannot_be_are_named_with_their_line(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        policy_from_text(text, "p.yaml")
    (found,) = caught.value.problems
    assert found.startswith(problem)


DURATIONS = st.none() | st.integers(0, 10**15)


@given(
    st.builds(
        policy_pb2.Policy,
        strategy=st.sampled_from(policy_pb2.ElectionStrategy.values()),
        read_strategy=st.sampled_from(routing_pb2.RoutingStrategy.values()),
        drift_bound=st.none() | st.floats(0, 0.1),
        min_healthy_agents=st.none() | st.integers(1, 9),
        region_weights=st.dictionaries(st.from_regex(r"[a-z]{1,3}", fullmatch=True), st.floats(0, 10), max_size=3),
        etag=st.text("0123456789", max_size=3),
    ),
    DURATIONS,
)
def test_what_is_written_is_read_back(policy: policy_pb2.Policy, grace_ns: int | None) -> None:
    if grace_ns is not None:
        policy.grace.FromNanoseconds(grace_ns)
    assert policy_from_text(policy_to_yaml(policy, with_etag=True)) == policy
    assert policy_from_text(json_format.MessageToJson(policy)) == policy


@pytest.mark.parametrize(
    "word", ["geographic", "GEOGRAPHIC", "routing_strategy_geographic", "ROUTING_STRATEGY_GEOGRAPHIC"]
)
def test_enum_values_are_taken_in_every_form(word: str) -> None:
    policy = policy_from_text(f"readStrategy: {word}\n")
    assert policy.read_strategy == routing_pb2.ROUTING_STRATEGY_GEOGRAPHIC


def test_nothing_given_is_an_empty_policy() -> None:
    for text in ("", "{}", "# nothing\n", "grace: null\n"):
        assert policy_from_text(text) == policy_pb2.Policy()
    assert policy_from_text(policy_to_yaml(policy_pb2.Policy())) == policy_pb2.Policy()


def test_every_fault_is_named_with_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        policy_from_text(
            """leaseTTL: 3s
lease_ttl: 3s
strategy: fastest
readStrategy: 3
grace: 2
firstWait: 500 ms
stableFor: soon
driftBound: .nan
panicThreshold: half
minHealthyAgents: 1.5
regionWeights:
  eu: heavy
clientTraffic: [eu]
failsafe: UNSPECIFIED
switchoverTimeout: 1:30
""",
            "policy.yaml",
        )
    strategies = "ACTIVE_ONLY, WEIGHTED, ROUND_ROBIN, HEALTH, LATENCY, GEOGRAPHIC, OPTIMAL"
    assert list(caught.value.problems) == [
        "policy.yaml:1: leaseTTL: unknown key (did you mean leaseTtl?)",
        "policy.yaml:2: lease_ttl: unknown key (did you mean leaseTtl?)",
        "policy.yaml:3: strategy: must be one of PRIORITY, LATENCY, HEALTH, CAPACITY, got 'fastest'",
        f"policy.yaml:4: readStrategy: must be one of {strategies}, got 3",
        'policy.yaml:5: grace: must be a length of time like "2.5s" or "5m", got 2: write "2s"',
        'policy.yaml:6: firstWait: must be a length of time like "2.5s" or "5m", got \'500 ms\'',
        'policy.yaml:7: stableFor: must be a length of time like "2.5s" or "5m", got \'soon\'',
        "policy.yaml:8: driftBound: must be finite, got nan",
        "policy.yaml:9: panicThreshold: must be a number, got 'half'",
        "policy.yaml:10: minHealthyAgents: must be a whole number, got 1.5",
        "policy.yaml:12: regionWeights.eu: must be a number, got 'heavy'",
        "policy.yaml:13: clientTraffic: must be a mapping",
        "policy.yaml:14: failsafe: must be one of FENCE, got 'UNSPECIFIED'",
        'policy.yaml:15: switchoverTimeout: must be a length of time like "2.5s" or "5m", got \'1:30\'',
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- strategy\n", "p:1: must be a mapping"),
        ("grace: 1s\ngrace: 2s\n", "p:2: grace: given twice (first in line 1)"),
        ("minHealthyAgents: 99999999999\n", "p:1: minHealthyAgents: must be a whole number, got 99999999999"),
    ],
)
def test_texts_that_are_no_policy(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        policy_from_text(text, "p")
    assert list(caught.value.problems) == [problem]


RULES = """\
alertRules:
- name: errors
  threshold:
    series: error_rate
    above: 0.05
    window: 300s
  for: 120s
  severity: SEVERITY_CRITICAL
  labels:
    area: edge
    team: web
- name: quiet
  absence:
    series: request_rate
    after: 0.5s
slos:
- name: checkout
  indicator: SLO_INDICATOR_SUCCESS
  objective: 0.999
"""


def test_lists_of_messages_are_read_and_written_as_they_stand() -> None:
    policy = policy_from_text(RULES)
    assert [rule.WhichOneof("condition") for rule in policy.alert_rules] == ["threshold", "absence"]
    assert getattr(policy.alert_rules[0], "for").ToNanoseconds() == 120_000_000_000
    assert policy_to_yaml(policy) == RULES


def test_lengths_of_time_are_read_in_every_unit() -> None:
    policy = policy_from_text("grace: 500ms\nfirstWait: 1m30s\nslos: [{name: a, window: 30d}]\n")
    assert policy.grace.ToNanoseconds() == 500_000_000
    assert policy.first_wait.seconds == 90
    assert policy.slos[0].window.seconds == 30 * 86_400


def test_faults_within_lists_are_named_with_their_line() -> None:
    with pytest.raises(ConfigError) as caught:
        policy_from_text(
            """alertRules:
- name: a
  threshold: {serie: x, above: 1}
  absence: {series: y}
  for: soon
- 7
slos: {name: b}
""",
            "policy.yaml",
        )
    assert list(caught.value.problems) == [
        "policy.yaml:3: alertRules[0].threshold.serie: unknown key (did you mean series?)",
        "policy.yaml:4: alertRules[0].absence: excludes threshold: give one of them",
        'policy.yaml:5: alertRules[0].for: must be a length of time like "2.5s" or "5m", got \'soon\'',
        "policy.yaml:6: alertRules[1]: must be a mapping",
        "policy.yaml:7: slos: must be a list",
    ]


def test_a_path_has_its_place_in_the_text() -> None:
    text = "grace: 1s\nslos:\n- name: a\n  window: 1h\n"
    assert place_of(text, "p", "slos[0].window") == "p:4"
    assert place_of(text, "p", "slos[0].threshold") == "p:3"
    assert place_of(text, "p", "leaseTtl") == "p:1"

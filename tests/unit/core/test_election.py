"""The ranking: total, stable, and honest about why. [I8, I9]"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_coordinator.core.election import RULES, CandidateInput, ElectionInput, rank
from primacy_coordinator.core.model import ElectionStrategy, RegionStatus
from primacy_wire.messages import Load


def candidate(region: str, status: RegionStatus = RegionStatus.HEALTHY, **values: object) -> CandidateInput:
    plain = CandidateInput(region, status, "", True, False, 100, 100.0, Load(), 1.0, (), 0)
    return replace(plain, **values)  # type: ignore[arg-type]


def elect(*candidates: CandidateInput, strategy: ElectionStrategy = ElectionStrategy.PRIORITY, **values: object):  # type: ignore[no-untyped-def]
    plain = ElectionInput(strategy, False, candidates, ())
    return rank(replace(plain, **values))  # type: ignore[arg-type]


CANDIDATES = st.lists(
    st.builds(
        CandidateInput,
        region=st.sampled_from("abcdef"),
        status=st.sampled_from(RegionStatus),
        status_reason=st.just(""),
        heard=st.booleans(),
        is_active=st.just(False),
        priority=st.integers(0, 3),
        capacity=st.floats(0, 1e6),
        load=st.builds(Load, utilisation=st.floats(-1, 2), error_rate=st.floats(-1, 1)),
        availability=st.floats(-1, 1),
        rtts=st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 10**9)), max_size=4).map(tuple),
        unanswered=st.integers(0, 2),
    ),
    max_size=6,
    unique_by=lambda c: c.region,
)
SHARES = st.floats(0, 1) | st.sampled_from([1.7e308, 5e-324])
"""Every share that a policy may name, the largest and the smallest too."""
ELECTIONS = st.builds(
    ElectionInput,
    strategy=st.sampled_from(ElectionStrategy),
    serving=st.booleans(),
    candidates=CANDIDATES.map(tuple),
    client_traffic=st.lists(st.tuples(st.sampled_from("abc"), SHARES), max_size=3).map(tuple),
    target=st.sampled_from(["", "", "a"]),
    exclude=st.sampled_from([(), ("b",)]),
    override_rules=st.lists(st.sampled_from(sorted(RULES)), max_size=2).map(tuple),
    forced=st.booleans(),
)


@given(ELECTIONS, st.randoms())
def test_the_ranking_is_total_and_does_not_depend_on_order(given_: ElectionInput, random: object) -> None:
    shuffled = list(given_.candidates)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    result = rank(given_)
    assert result == rank(replace(given_, candidates=tuple(shuffled)))
    assert sorted(c.region for c in result.candidates) == sorted(c.region for c in given_.candidates)
    ranks = [c.rank for c in result.candidates if c.rank]
    assert ranks == list(range(1, len(ranks) + 1))
    assert all(c.rank or c.rule for c in result.candidates), "whoever is refused is told by which rule"
    assert all(math.isfinite(value) for c in result.candidates for _, value in c.scores)
    assert result.winner in {"", *(c.region for c in result.candidates[:1] if c.rank)}
    assert all(c.region in result.explanation for c in result.candidates if c.rank), "everybody's place is explained"


@given(ELECTIONS)
def test_nobody_wins_who_is_down_or_cannot_be_heard(given_: ElectionInput) -> None:
    given_ = replace(given_, override_rules=tuple(set(given_.override_rules) - {"DOWN", "UNKNOWN", "JOINING"}))
    winner = {c.region: c for c in given_.candidates}.get(rank(given_).winner)
    if winner is not None:
        assert winner.heard and winner.status not in (RegionStatus.DOWN, RegionStatus.UNKNOWN, RegionStatus.JOINING)


@given(ELECTIONS)
def test_without_an_active_region_soft_rules_refuse_nobody(given_: ElectionInput) -> None:
    able = [
        c
        for c in given_.candidates
        if c.heard and c.status not in (RegionStatus.DOWN, RegionStatus.UNKNOWN, RegionStatus.JOINING)
    ]
    result = rank(replace(given_, serving=False, target="", exclude=(), override_rules=()))
    assert bool(result.winner) == bool(able)


@pytest.mark.parametrize("status", [RegionStatus.SUSPECT, RegionStatus.DEGRADED, RegionStatus.RECOVERING])
def test_while_a_region_serves_soft_rules_refuse(status: RegionStatus) -> None:
    result = elect(candidate("a", status), serving=True)
    assert not result.winner and result.candidates[0].rule == status.name
    assert elect(candidate("a", status), serving=True, override_rules=(status.name,)).winner == "a"
    assert elect(candidate("a", status), serving=True, forced=True).winner == "a"


def test_no_override_elects_a_region_that_cannot_be_heard() -> None:
    result = elect(candidate("a", RegionStatus.DOWN, heard=False), override_rules=("DOWN", "UNKNOWN"), forced=True)
    assert not result.winner


def test_each_strategy_ranks_by_what_it_says() -> None:
    far = candidate("far", priority=200, capacity=10, rtts=(("near", 90_000_000),), availability=0.5)
    near = candidate("near", rtts=(("far", 10_000_000),), load=Load(utilisation=0.5), availability=0.99)
    big = candidate("big", capacity=1000.0, rtts=(("near", 50_000_000), ("far", 50_000_000)), availability=0.9)
    field = (far, near, big)
    traffic = (("near", 0.9), ("far", 0.1))
    assert elect(*field).winner == "far"
    assert elect(*field, strategy=ElectionStrategy.LATENCY, client_traffic=traffic).winner == "near"
    assert elect(*field, strategy=ElectionStrategy.HEALTH).winner == "near"
    assert elect(*field, strategy=ElectionStrategy.CAPACITY).winner == "big"


def test_ties_go_to_priority_then_name() -> None:
    assert elect(candidate("b"), candidate("a"), strategy=ElectionStrategy.CAPACITY).winner == "a"
    assert elect(candidate("b", priority=101), candidate("a"), strategy=ElectionStrategy.CAPACITY).winner == "b"


def test_a_region_that_let_an_offer_pass_comes_after_those_that_did_not() -> None:
    assert elect(candidate("a", priority=500, unanswered=1), candidate("b")).winner == "b"


def test_passing_a_rule_lets_a_region_in_but_does_not_put_it_first() -> None:
    dead, well = candidate("a", RegionStatus.DOWN, priority=500), candidate("b")
    both = elect(dead, well, override_rules=("DOWN",))
    assert [(c.region, c.rule) for c in both.candidates] == [("b", ""), ("a", "DOWN")]
    asked = elect(dead, well, override_rules=("DOWN",), target="a")
    assert asked.winner == "a" and "the operator passed that rule" in asked.explanation


def test_a_capacity_that_nobody_knows_comes_last() -> None:
    full = candidate("full", capacity=100.0, priority=1, load=Load(utilisation=1.5))
    unknown = candidate("unknown", capacity=0.0, priority=500)
    assert elect(full, unknown, strategy=ElectionStrategy.CAPACITY).winner == "full"


def test_a_region_without_a_measure_of_its_use_counts_by_its_requests() -> None:
    busy = candidate("busy", capacity=1000.0, load=Load(request_rate=900.0))
    half = candidate("half", capacity=500.0, load=Load(utilisation=0.5))
    assert elect(busy, half, strategy=ElectionStrategy.CAPACITY).winner == "half"


def test_a_past_that_nobody_knows_is_worse_than_a_bad_one() -> None:
    bad, unknown = candidate("bad", availability=0.0, priority=1), candidate("unknown", availability=-1.0)
    result = elect(bad, unknown, strategy=ElectionStrategy.HEALTH)
    assert result.winner == "bad" and "availability not measured against 0" in result.explanation


@pytest.mark.parametrize(
    ("other", "strategy", "why"),
    [
        (candidate("b", priority=90), ElectionStrategy.PRIORITY, "priority 90 against 100"),
        (candidate("b"), ElectionStrategy.PRIORITY, "they are alike, and the name decides"),
        (candidate("b", RegionStatus.SUSPECT, priority=500), ElectionStrategy.PRIORITY, "it is SUSPECT"),
        (candidate("b", unanswered=2), ElectionStrategy.PRIORITY, "it let 2 offers pass, against 0"),
        (candidate("b", rtts=(("a", 3_000_000_000),)), ElectionStrategy.LATENCY, "mean rtt ms 1500 against 500"),
        (candidate("b", capacity=10.0), ElectionStrategy.CAPACITY, "headroom 10 against 100"),
    ],
)
def test_the_explanation_names_what_decided(other: CandidateInput, strategy: ElectionStrategy, why: str) -> None:
    explanation = elect(candidate("a"), other, strategy=strategy).explanation
    assert f"b comes after it: {why}" in explanation

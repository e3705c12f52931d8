"""The ranking: total, stable, and honest about why. [I8, I9]"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_coordinator.core.election import CandidateInput, ElectionInput, rank
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
ELECTIONS = st.builds(
    ElectionInput,
    strategy=st.sampled_from(ElectionStrategy),
    serving=st.booleans(),
    candidates=CANDIDATES.map(tuple),
    client_traffic=st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1)), max_size=3).map(tuple),
    target=st.sampled_from(["", "", "a"]),
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


@given(ELECTIONS)
def test_nobody_wins_who_is_down_or_cannot_be_heard(given_: ElectionInput) -> None:
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
    result = rank(replace(given_, serving=False, target=""))
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

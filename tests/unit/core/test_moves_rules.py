"""Which rules refuse whom, by name, while a region serves and when none does. [I8, I9]"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from primacy_coordinator.core import events
from primacy_coordinator.core.election import (
    HARD,
    PENALTIES,
    RULES,
    SOFT,
    CandidateInput,
    ElectionInput,
    rank,
)
from primacy_coordinator.core.model import (
    ElectionStrategy,
    FailoverKind,
    FailoverState,
    Limits,
    RegionSettings,
    RegionStatus,
)
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.messages import Lag, Load

from tests.unit.core.lab import DOWN, UP, Lab
from tests.unit.core.moving import THREE, newest, only, restart, rules, settled

SECONDS = st.integers(0, 6)


def cordon(lab: Lab, name: str) -> None:
    assert lab.ask(events.CordonRegion(lab.request(), name, "it is being rebuilt", "ops")).refusal is None


def test_the_names_are_those_that_programs_rely_on() -> None:
    assert set(HARD) == {"CORDONED", "DRAINED", "LAG", "MODEL_MISSING", "DOWN", "JOINING", "UNKNOWN"}
    assert set(SOFT) == {"PARKED", "DAMPED", "HOLD_DOWN", "COOL_DOWN", "CAPACITY", "DEGRADED", "SUSPECT", "RECOVERING"}
    assert {"MIN_UNDRAINED", "NO_TARGET", "LIVE_SESSIONS"} == RULES - HARD - SOFT


# ---- one rule a candidate, and the penalties of all

AGAINST = st.lists(st.sampled_from(sorted({*HARD, *SOFT} - {"LAG", "CAPACITY"})), max_size=4, unique=True)


@st.composite
def spoken_against(draw: st.DrawFn) -> tuple[CandidateInput, ...]:
    """Regions with any rules against them, one of which may be their status."""
    found = []
    for name in draw(st.lists(st.sampled_from("abcde"), min_size=1, unique=True)):
        statuses = {status.name for status in RegionStatus}
        said = draw(AGAINST)
        status = next((RegionStatus[rule] for rule in said if rule in statuses), RegionStatus.HEALTHY)
        found.append(
            CandidateInput(
                region=name,
                status=status,
                status_reason="",
                heard=True,
                is_active=False,
                priority=draw(st.integers(0, 3)),
                capacity=0.0,
                load=Load(),
                availability=1.0,
                rtts=(),
                unanswered=0,
                against=tuple((rule, "") for rule in said if rule not in statuses),
            )
        )
    return tuple(found)


def said_of(candidate: CandidateInput) -> set[str]:
    return {rule for rule, _ in candidate.against} | ({candidate.status.name} & {*HARD, *SOFT})


@given(spoken_against(), st.booleans(), st.lists(st.sampled_from(sorted({*HARD, *SOFT})), max_size=3).map(tuple))
def test_a_candidate_shows_its_first_hard_rule_or_its_dearest_soft_one(
    candidates: tuple[CandidateInput, ...], serving: bool, passed: tuple[str, ...]
) -> None:
    result = rank(ElectionInput(ElectionStrategy.PRIORITY, serving, candidates, (), override_rules=passed))
    by_name = {c.region: c for c in candidates}
    for candidate in result.candidates:
        said = said_of(by_name[candidate.region])
        hard, soft = (said & HARD) - {*passed}, (said & SOFT) - {*passed}
        refused = bool(hard) or (serving and bool(soft))
        assert (candidate.rank == 0) is refused, "hard rules always refuse, soft ones while a region serves"
        if hard:
            assert candidate.rule in hard
        elif soft:
            assert candidate.rule == max(soft, key=PENALTIES.__getitem__) and candidate.soft
        if not refused:
            assert dict(candidate.scores)["penalty"] == sum(PENALTIES[rule] for rule in said)
    places = [dict(c.scores)["penalty"] for c in result.candidates if c.rank]
    assert places == sorted(places), "the least penalty comes first, whatever the strategy says"


@pytest.mark.parametrize("rule", sorted(SOFT))
def test_a_soft_rule_weighs_more_than_all_below_it_and_less_than_any_hard_one(rule: str) -> None:
    lighter = [weight for other, weight in PENALTIES.items() if weight < PENALTIES[rule]]
    assert PENALTIES[rule] > sum(lighter)
    assert all(PENALTIES[hard] > PENALTIES[rule] for hard in HARD)


# ---- rules on real groups


def test_a_region_that_lost_the_lease_by_failure_is_held_down_and_moves_cool_down() -> None:
    lab = settled(hold_down_ns=30 * SECOND_NS, cool_down_ns=20 * SECOND_NS)
    lab.of("ap")[0].health = DOWN
    lab.run(3)
    lab.of("ap")[0].health = UP
    lab.run(8)
    assert lab.known() == ("eu", 2)
    assert rules(lab) == {"eu": "ACTIVE", "ap": "HOLD_DOWN", "us": "COOL_DOWN"}
    refusal = lab.move("ap").refusal
    assert refusal is not None and refusal.rule == "HOLD_DOWN"
    refusal = lab.move("ap", override_rules=("HOLD_DOWN",)).refusal
    assert refusal is not None and refusal.rule == "COOL_DOWN", "each rule is passed by its own name"
    lab.moved("ap", override_rules=("HOLD_DOWN", "COOL_DOWN"))
    lab.run(3)
    assert lab.known() == ("ap", 3)


def test_a_forced_failover_does_not_cool_down() -> None:
    lab = settled(cool_down_ns=600 * SECOND_NS)
    lab.of("ap")[0].health = DOWN
    lab.run(3)
    assert rules(lab)["us"] == "COOL_DOWN"
    lab.moved("us", forced=True)
    lab.run(8)
    assert lab.known() == ("us", 3)
    assert newest(lab).move is FailoverKind.FORCED and rules(lab)["eu"] == "COOL_DOWN"


def test_a_move_by_hand_starts_no_cool_down() -> None:
    lab = settled(cool_down_ns=600 * SECOND_NS)
    lab.moved("us")
    lab.run(1)
    lab.moved("eu")
    lab.run(1)
    assert lab.known() == ("eu", 3)


def test_soft_rules_never_keep_a_group_without_an_active_region() -> None:
    """[I8] The only region left was just held down, damped, and moves cool down."""
    lab = settled(hold_down_ns=600 * SECOND_NS, cool_down_ns=600 * SECOND_NS, flap_limit=1.5)
    for _ in range(2):
        lab.of("ap")[0].health = DOWN
        lab.run(4)
        lab.of("ap")[0].health = UP
        lab.run(8)
    active, epoch = lab.known()
    assert active == "eu"
    for name in ("eu", "us"):
        lab.of(name)[0].cut = True
    lab.run(25)  # Losing two of three at once is doubted first.
    assert lab.known() == ("ap", epoch + 1)
    assert newest(lab).explanation.startswith("ap is the only candidate")


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(THREE)), st.booleans(), SECONDS), max_size=8),
    st.sampled_from(["eu", "us"]),
)
def test_whatever_happened_before_the_region_that_is_left_is_elected_in_bounded_time(
    past: list[tuple[str, bool, int]], last: str
) -> None:
    """[I8] Whatever is damped, held down or cooling down: self-doubt, TTL and grace bound the wait, nothing else."""
    policy: dict[str, Any] = {
        "hold_down_ns": 900 * SECOND_NS,
        "cool_down_ns": 900 * SECOND_NS,
        "flap_limit": 1.0,
        "doubt_max_ns": 5 * SECOND_NS,
    }
    lab = settled(**policy)
    for name, up, seconds in past:
        lab.of(name)[0].health = UP if up else DOWN
        lab.run(seconds)
    lab.of(last)[0].health = UP
    only(lab, last)
    lab.run(25)
    assert lab.known()[0] == last and lab.active() == {last}


def test_a_region_that_lags_too_far_is_not_elected_and_a_lesser_lag_decides() -> None:
    lab = settled()
    lab.of("eu")[0].lag = Lag(age_ns=30 * SECOND_NS)
    lab.of("us")[0].lag = Lag(age_ns=SECOND_NS)
    lab.of("ap")[0].lag = Lag(age_ns=0)
    lab.run(2)
    assert rules(lab)["eu"] == "LAG"
    lab.of("ap")[0].health = DOWN
    lab.run(4)
    assert lab.known() == ("us", 2)
    price = newest(lab).price
    assert price is not None and price.age_ns == SECOND_NS


def test_a_region_that_cannot_carry_the_load_is_refused_while_another_serves() -> None:
    lab = settled()
    lab.ask(events.UpdateRegion(lab.request(), "eu", RegionSettings(capacity=50.0), ("capacity",)))
    lab.of("ap")[0].load = Load(request_rate=80.0)
    lab.run(2)
    assert rules(lab)["eu"] == "CAPACITY"
    refusal = lab.move("eu").refusal
    assert refusal is not None and refusal.rule == "CAPACITY" and "30" in refusal.message


def test_what_the_active_region_served_before_it_fell_silent_still_has_to_be_carried() -> None:
    lab = settled()
    lab.ask(events.UpdateRegion(lab.request(), "eu", RegionSettings(capacity=50.0), ("capacity",)))
    lab.ask(events.UpdateRegion(lab.request(), "us", RegionSettings(capacity=100.0), ("capacity",)))
    lab.of("ap")[0].load = Load(request_rate=80.0)
    lab.run(2)
    lab.of("ap")[0].cut = True
    lab.run(12)
    assert lab.known() == ("us", 2), "eu comes first by its name, and cannot carry it"
    prices = {c.region: c.price for c in newest(lab).candidates}
    assert prices["eu"] is not None and prices["eu"].capacity_short == 30.0
    assert prices["us"] is not None and prices["us"].capacity_short == 0.0


def test_what_if_the_active_region_died_has_a_price_for_everybody() -> None:
    lab = settled()
    lab.of("eu")[0].lag = Lag(age_ns=2 * SECOND_NS, entries=7, bytes=900)
    lab.of("eu")[0].sees = {"ap": True, "us": True}
    lab.of("us")[0].sees = {"ap": True}
    lab.run(2)
    assert lab.group is not None
    view = lab.group.explain(lab.now, if_down="ap")
    prices = {c.region: c.price for c in view.candidates}
    assert prices["ap"] is None, "the data is there"
    eu, us = prices["eu"], prices["us"]
    assert eu is not None and (eu.age_ns, eu.entries, eu.bytes) == (2 * SECOND_NS, 7, 900)
    assert us is not None and us.age_ns == -1, "what nobody measures is not called nothing"
    # Clients of eu reach eu in no time and ap in 5 ms; those of us measure only ap.
    assert eu.added_latency_ns == -5 * MILLISECOND_NS


# ---- looked at again before what cannot be undone


def test_a_target_that_was_cordoned_meanwhile_is_found_before_the_release_is_ordered() -> None:
    lab = settled({"ap": 1, "eu": 1})
    lab.of("ap")[0].deaf = True  # So that the freeze takes a while.
    plan = lab.moved("eu")
    cordon(lab, "eu")
    lab.run(1)
    lab.of("ap")[0].deaf = False
    lab.run(3)
    assert newest(lab).id == plan.failover.id and newest(lab).state is FailoverState.ABORTED
    assert lab.known() == ("ap", 1) and "lease-release-ordered" not in lab.kinds()


def test_a_target_that_died_while_the_old_lease_ran_out_is_not_granted_anything() -> None:
    lab = settled()
    lab.of("ap")[0].cut = True
    lab.moved("us", forced=True)
    lab.run(1)
    lab.of("us")[0].health = DOWN
    lab.run(8)
    assert lab.known() == ("eu", 2)
    assert not [e for e in lab.journal if e.kind == "lease-granted" and e.region == "us"]


def test_rules_that_an_operator_passed_are_passed_after_a_restart_too() -> None:
    lab = settled(max_lag=Limits(entries=10))
    for name in ("eu", "us"):
        lab.of(name)[0].lag = Lag(entries=100)
    lab.of("ap")[0].cut = True
    lab.run(1)
    assert lab.move("us", forced=True).refusal is not None
    lab.moved("us", forced=True, override_rules=("LAG",))
    restart(lab)
    lab.run(12)
    assert lab.known() == ("us", 2) and newest(lab).override_rules == ("LAG",)


def test_a_failover_that_finds_nobody_can_be_forced_past_the_rule_in_its_way() -> None:
    lab = settled(max_lag=Limits(entries=10))
    for name in ("eu", "us"):
        lab.of(name)[0].lag = Lag(entries=100)
    lab.of("ap")[0].cut = True
    lab.run(12)
    assert lab.known()[0] == ""
    refusal = lab.move("us", forced=True).refusal
    assert refusal is not None and refusal.rule == "LAG"
    lab.moved("us", forced=True, override_rules=("LAG",), owner="ops")
    lab.run(1)
    assert lab.known() == ("us", 2)


def test_a_move_that_waits_for_anybody_gives_way_to_a_forced_one() -> None:
    lab = settled(max_lag=Limits(entries=10))
    lab.of("ap")[0].deaf = True  # Its release never comes.
    lab.of("ap")[0].health = DOWN
    lab.run(3)
    for name in ("eu", "us"):
        lab.of(name)[0].lag = Lag(entries=100)
    lab.run(8)
    waiting = newest(lab)
    assert waiting.state is FailoverState.WAITING and lab.active() == set()
    refusal = lab.move("us").refusal
    assert refusal is not None and refusal.rule == "MOVE_IN_PROGRESS"
    lab.moved("us", forced=True, override_rules=("LAG",), owner="ops")
    lab.run(1)
    assert lab.known() == ("us", 2) and lab.group is not None
    record = lab.group.failover(waiting.id)
    assert record is not None and record.state is FailoverState.FAILED

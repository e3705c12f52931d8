"""Elections look at the log: who is behind, who lacks a model, and what a move would lose."""

from __future__ import annotations

from typing import Any

from primacy_coordinator.core.log_model import Durability
from primacy_coordinator.core.model import FailoverState, Limits
from primacy_wire.instant import SECOND_NS
from primacy_wire.log_messages import EntryKind

from tests.unit.core.lab import DOWN
from tests.unit.core.log.replicas import LogLab, settled
from tests.unit.core.moving import newest, rules

MODEL: dict[str, Any] = {"kind": EntryKind.MODEL, "content": b"", "format": "", "digest": "m", "size": 1000}


def detail(lab: LogLab, region: str) -> str:
    assert lab.group is not None
    return next(c.detail for c in lab.group.explain(lab.now).candidates if c.region == region)


def stick(lab: LogLab, *keys: str) -> None:
    """These agents take entries, and apply none of them from now on."""
    for key in keys:
        lab.replicas[key].stuck_at = lab.replicas[key].received


def test_a_region_that_is_too_far_behind_cannot_be_elected_and_the_reason_has_the_numbers() -> None:
    lab = settled(keys=["a"], max_lag=Limits(entries=3))
    stick(lab, "eu/a1")
    for _ in range(4):
        lab.append(lab.draft("a"), Durability.LOCAL)
    lab.run(1)
    assert rules(lab)["eu"] == "LAG" and "4 entries, more than 3" in detail(lab, "eu")
    lab.of("ap")[0].health = DOWN
    lab.run(4)
    assert lab.known() == ("us", 2)


def test_lag_by_age_grows_in_an_idle_log_because_of_heartbeats() -> None:
    lab = settled(keys=["a"], max_lag=Limits(age_ns=10 * SECOND_NS))
    stick(lab, "eu/a1")
    lab.run(5)
    assert rules(lab)["eu"] == ""
    lab.run(8)
    assert rules(lab)["eu"] == "LAG"
    assert rules(lab)["us"] == ""


def test_the_price_of_a_move_is_what_the_next_region_has_not_applied() -> None:
    lab = settled(keys=["a"])
    stick(lab, "eu/a1", "us/a1")
    lab.append(lab.draft("a", bytes(500)), Durability.LOCAL)
    lab.run(1)
    assert lab.group is not None
    price = next(c.price for c in lab.group.explain(lab.now).candidates if c.region == "eu")
    assert price is not None and (price.entries, price.bytes) == (1, 500)


def test_a_region_without_a_required_model_cannot_be_elected() -> None:
    lab = settled(required_models=("net",))
    assert rules(lab)["eu"] == "", "there is no such model yet"
    sequence = lab.appended(lab.draft("net", **MODEL)).sequence
    lab.run(1)
    assert rules(lab) == {"ap": "ACTIVE", "eu": "MODEL_MISSING", "us": "MODEL_MISSING"}
    lab.replicas["us/a1"].models = {"net": sequence}
    lab.run(2)
    assert rules(lab)["us"] == ""
    lab.of("ap")[0].health = DOWN
    lab.run(4)
    assert lab.known() == ("us", 2), "eu is better by name"
    assert "current version of net" in detail(lab, "eu")


def test_a_parked_entry_bars_a_planned_move_and_not_a_failover() -> None:
    lab = settled({"ap": 1, "eu": 1}, keys=["a"])
    assert lab.group is not None
    lab.replicas["eu/a1"].refuses = {lab.group._state.log.head + 1}
    lab.append(lab.draft("a"), Durability.LOCAL)
    lab.run(1)
    refusal = lab.move("eu").refusal
    assert refusal is not None and refusal.rule == "PARKED" and "the disk is full" in refusal.message
    lab.of("ap")[0].health = DOWN
    lab.run(4)
    assert lab.known() == ("eu", 2), "no rule of comfort leaves a group alone (I8)"


def test_a_planned_move_waits_until_everything_is_applied_and_loses_nothing() -> None:
    lab = settled(keys=["a"])
    stick(lab, "eu/a1")
    found = lab.appended(lab.draft("a", b"last: word\n"))
    lab.moved("eu")
    lab.run(2)
    assert newest(lab).state is FailoverState.FREEZING and lab.known() == ("ap", 1)
    assert newest(lab).phases[-1].name == "catch up"
    assert lab.refused(lab.draft("a")) == "FROZEN"
    lab.replicas["eu/a1"].stuck_at = None
    lab.run(2)
    assert lab.known() == ("eu", 2) and newest(lab).state is FailoverState.SUCCEEDED
    assert lab.replicas["eu/a1"].received >= found.sequence
    assert [phase.name for phase in newest(lab).phases] == ["freeze", "catch up", "release", "offer"]
    assert lab.appended(lab.draft("a", origin="eu")).version == 3


def test_a_planned_move_to_a_region_that_does_not_catch_up_is_given_up() -> None:
    lab = settled(keys=["a"], switchover_timeout_ns=5 * SECOND_NS)
    stick(lab, "eu/a1")
    lab.appended(lab.draft("a"))
    lab.moved("eu")
    lab.run(8)
    assert newest(lab).state is FailoverState.ABORTED and lab.known() == ("ap", 1)
    assert "did not apply the last 1 entries" in newest(lab).phases[-1].note
    lab.appended(lab.draft("a"))

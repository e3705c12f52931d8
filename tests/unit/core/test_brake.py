"""The brake over groups: who asks, who does not, and that a place in the line is always given back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from primacy_coordinator.core import events
from primacy_coordinator.core.model import FailoverState, Limits
from primacy_wire.messages import Lag

from tests.unit.core.lab import DOWN, UP, Lab
from tests.unit.core.moving import newest, pause, settled


def release(lab: Lab) -> None:
    assert lab.group is not None
    lab._perform(lab.group.handle(lab.now, events.BrakeReleased()))


def test_a_failover_waits_for_the_brake_and_gives_it_back() -> None:
    lab = settled()
    lab.brake_held = True
    lab.of("ap")[0].health = DOWN
    lab.run(10)
    assert lab.known() == ("ap", 1) and lab.brake_said == ["asked"] and lab.kinds().count("failover-braked") == 1
    release(lab)
    lab.run(2)
    assert lab.known() == ("eu", 2) and lab.brake_said == ["asked", "returned"]


def test_who_is_let_through_at_once_has_not_waited() -> None:
    lab = settled()
    lab.of("ap")[0].health = DOWN
    lab.run(10)
    assert lab.known() == ("eu", 2) and lab.brake_said == ["asked", "returned"]
    assert "failover-braked" not in lab.kinds()


def test_a_failover_that_is_not_wanted_any_more_leaves_the_line() -> None:
    lab = settled()
    lab.brake_held = True
    lab.of("ap")[0].health = DOWN
    lab.run(5)
    lab.of("ap")[0].health = UP
    lab.run(5)
    assert lab.known() == ("ap", 1) and lab.brake_said == ["asked", "returned"]


def test_a_pause_leaves_the_line() -> None:
    lab = settled()
    lab.brake_held = True
    lab.of("ap")[0].health = DOWN
    lab.run(5)
    pause(lab)
    assert lab.brake_said == ["asked", "returned"]


def test_a_permit_that_comes_too_late_is_given_back() -> None:
    lab = settled()
    release(lab)
    assert lab.brake_said == ["returned"]


def test_what_the_peers_confirm_is_not_braked() -> None:
    lab = settled()
    lab.brake_held = True
    for name in ("eu", "us"):
        lab.of(name)[0].sees = {"ap": False}
    lab.of("ap")[0].cut = True
    lab.run(12)
    assert lab.known()[0] == "eu" and lab.brake_said == []


def test_moves_by_hand_and_first_elections_are_not_braked() -> None:
    lab = settled()
    lab.brake_held = True
    lab.moved("eu")
    lab.run(1)
    lab.of("eu")[0].cut = True
    lab.moved("us", forced=True)
    lab.run(8)
    assert lab.known() == ("us", 3) and lab.brake_said == []


def test_a_failover_that_awaits_approval_holds_nobody_up() -> None:
    lab = settled(max_loss=Limits(entries=10), max_lag=Limits())
    for name in ("eu", "us"):
        lab.of(name)[0].lag = Lag(entries=100)
    lab.run(2)
    lab.of("ap")[0].health = DOWN
    lab.run(5)
    assert newest(lab).state is FailoverState.AWAITING_APPROVAL and lab.brake_said == []


def test_a_failover_that_gets_too_dear_on_its_way_holds_nobody_up() -> None:
    lab = settled(max_loss=Limits(entries=10), max_lag=Limits())
    lab.of("ap")[0].deaf = True  # Its release never comes.
    lab.of("ap")[0].health = DOWN
    lab.run(3)
    assert newest(lab).state is FailoverState.RELEASING and lab.brake_said == ["asked"]
    for name in ("eu", "us"):
        lab.of(name)[0].lag = Lag(entries=100)
    lab.run(8)
    assert newest(lab).state is FailoverState.AWAITING_APPROVAL and lab.brake_said == ["asked", "returned"]


def test_a_failover_that_finds_nobody_holds_nobody_up() -> None:
    lab = settled()
    lab.of("ap")[0].deaf = True  # Its release never comes.
    lab.of("ap")[0].health = DOWN
    lab.run(3)
    assert newest(lab).state is FailoverState.RELEASING and lab.brake_said == ["asked"]
    for name in ("eu", "us"):
        lab.of(name)[0].health = DOWN
    lab.run(10)
    assert newest(lab).state is FailoverState.WAITING and lab.brake_said == ["asked", "returned"]
    lab.of("us")[0].health = UP
    lab.run(3)
    assert lab.known() == ("us", 2) and lab.brake_said == ["asked", "returned"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["ap", "eu", "us", "let", "hold"]), st.integers(0, 5)), max_size=10))
def test_every_place_is_asked_for_and_given_back_in_turn(story: list[tuple[str, int]]) -> None:
    """A group has one place at most, whatever happens, and none when it is well again."""
    lab = settled()
    lab.brake_held = True
    for what, seconds in story:
        if what == "let" and lab.brake_asked:
            release(lab)
        elif f"{what}/a1" in lab.nodes:
            node = lab.of(what)[0]
            node.health = UP if node.health == DOWN else DOWN
        lab.run(seconds)
    for node in lab.nodes.values():
        node.health = UP
    lab.brake_held = False
    if lab.brake_asked:
        release(lab)
    lab.run(15)
    assert lab.known()[0] and len(lab.active()) == 1
    assert lab.brake_said == ["asked", "returned"] * (len(lab.brake_said) // 2)

"""What holds automatic elections back for a while: self-doubt and a pause. Neither stops what an operator asks for."""

from __future__ import annotations

import pytest
from primacy_coordinator.core.model import FailoverKind, FailoverState, Limits, Policy
from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Lag

from tests.unit.core.lab import DOWN, UP, Lab
from tests.unit.core.moving import BASE, THREE, newest, pause, restart, resume, settled

FIVE = {"ap": 2, "eu": 2, "us": 1}


def lose(lab: Lab, *names: str) -> None:
    for name in names:
        for node in lab.of(name):
            node.cut = True


# ---- self-doubt


def test_losing_most_sessions_at_once_is_doubted_first() -> None:
    lab = settled(FIVE, doubt_max_ns=15 * SECOND_NS)
    lose(lab, "ap", "eu")
    lab.run(10)
    assert lab.known()[0] != "us" and "self-doubt-began" in lab.kinds()
    lab.run(14)
    assert lab.known()[0] == "us" and "self-doubt-ended" in lab.kinds(), "it doubts no longer than the policy says"
    assert lab.kinds().count("self-doubt-began") == 1


def test_the_doubt_ends_when_those_who_remain_do_not_reach_the_lost_either() -> None:
    lab = settled(FIVE, doubt_max_ns=60 * SECOND_NS)
    lose(lab, "ap", "eu")
    lab.of("us")[0].sees = {"ap": False, "eu": False}
    lab.run(12)
    assert lab.known()[0] == "us"


def test_the_doubt_ends_when_half_are_back() -> None:
    lab = settled(FIVE, doubt_max_ns=60 * SECOND_NS)
    lose(lab, "ap", "eu")
    lab.run(3)
    for node in lab.nodes.values():
        node.cut = False
    lab.run(4)
    assert lab.known() == ("ap", 1) and "self-doubt-ended" in lab.kinds()
    assert not [e for e in lab.journal if e.kind == "region-status" and "-> DOWN" in e.message]


def test_one_lost_region_of_three_is_not_doubted() -> None:
    lab = settled()
    lose(lab, "ap")
    lab.run(12)
    assert "self-doubt-began" not in lab.kinds() and lab.known()[0] == "eu"


def test_an_election_that_found_nobody_waits_for_the_end_of_a_doubt() -> None:
    lab = settled({"ap": 1, "eu": 3, "us": 1}, doubt_max_ns=6 * SECOND_NS)
    lab.of("ap")[0].deaf = True  # Its release never comes.
    lab.of("ap")[0].health = DOWN
    lab.run(3)
    for name in ("eu", "us"):
        for node in lab.of(name):
            node.health = DOWN
    lab.run(8)
    assert newest(lab).state is FailoverState.WAITING and lab.active() == set()
    lose(lab, "ap", "eu")
    lab.of("us")[0].health = UP
    lab.run(4)
    assert "self-doubt-began" in lab.kinds() and lab.known()[0] == ""
    lab.run(8)
    assert "self-doubt-ended" in lab.kinds() and lab.known()[0] == "us"


# ---- pause


def test_nobody_is_elected_while_paused_and_somebody_at_once_afterwards() -> None:
    lab = settled()
    pause(lab)
    lose(lab, "ap")
    lab.run(30)
    assert lab.known()[0] == "" and newest(lab).move is FailoverKind.INITIAL
    assert lab.kinds().count("paused-without-active") == 1
    resume(lab)
    lab.run(1)
    assert lab.known() == ("eu", 2)


def test_the_first_election_waits_for_the_end_of_a_pause() -> None:
    lab = Lab(THREE, Policy(**BASE))
    pause(lab)
    lab.run(20)
    assert lab.known() == ("", 0) and lab.kinds().count("paused-without-active") == 1
    resume(lab)
    lab.run(3)
    assert lab.known() == ("ap", 1)


def test_what_had_begun_before_a_pause_goes_through() -> None:
    """The lease was taken from a region already: there is only forward."""
    lab = settled()
    lab.of("ap")[0].deaf = True  # Its lease must run out.
    lab.of("ap")[0].health = DOWN
    lab.run(3)
    assert newest(lab).state is FailoverState.RELEASING
    pause(lab)
    lab.run(8)
    assert lab.known() == ("eu", 2) and "paused-without-active" not in lab.kinds()


@pytest.mark.parametrize("again", [False, True])
def test_an_election_that_found_nobody_gives_way_to_a_pause_and_begins_anew(again: bool) -> None:
    lab = settled()
    lab.of("ap")[0].deaf = True
    lab.of("ap")[0].health = DOWN
    lab.run(3)
    for name in ("eu", "us"):
        lab.of(name)[0].health = DOWN
    lab.run(8)
    waiting = newest(lab)
    assert waiting.state is FailoverState.WAITING
    pause(lab)
    lab.run(1)
    assert newest(lab).id == waiting.id and newest(lab).state is FailoverState.FAILED
    assert "paused-without-active" in lab.kinds()
    if again:
        restart(lab)
    lab.of("us")[0].health = UP
    lab.run(15)
    assert lab.known()[0] == ""
    lab.moved("us") if again else resume(lab)
    lab.run(3)
    assert lab.known() == ("us", 2), "by hand while paused, by itself afterwards"
    assert newest(lab).move is (FailoverKind.PLANNED if again else FailoverKind.AUTOMATIC)


# ---- nobody to elect


def test_a_group_that_nobody_can_take_over_says_so_once_and_is_elected_when_the_rule_ends() -> None:
    """[I8]"""
    lab = settled(max_lag=Limits(entries=10))
    for name in ("eu", "us"):
        lab.of(name)[0].lag = Lag(entries=100)
    lab.run(2)
    lose(lab, "ap")
    lab.run(30)
    (told,) = [entry for entry in lab.journal if entry.kind == "no-candidate"]
    assert "eu is refused by LAG" in told.message and lab.known()[0] == ""
    lab.of("us")[0].lag = Lag(entries=0)
    lab.run(2)
    assert lab.known() == ("us", 2)


def test_a_dead_region_that_nobody_can_replace_says_so_and_keeps_the_lease() -> None:
    """[I8]"""
    lab = settled(max_lag=Limits(entries=10))
    for name in ("eu", "us"):
        lab.of(name)[0].lag = Lag(entries=100)
    lab.run(2)
    for _ in range(2):
        lab.of("ap")[0].health = DOWN
        lab.run(8)
        assert lab.known() == ("ap", 1)
        lab.of("ap")[0].health = UP
        lab.run(8)
    assert lab.kinds().count("no-candidate") == 2, "once each time"

"""The way back: by itself after a hold with proof, by hand and said once, or not at all."""

from __future__ import annotations

from typing import Any

from primacy_coordinator.core import events
from primacy_coordinator.core.model import Failback, FailoverKind, FailoverState, Limits, RegionSettings
from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Lag

from tests.unit.core.lab import DOWN, UP, Lab
from tests.unit.core.moving import newest, pause, restart, resume, settled


def moved_away(failback: Failback, **policy: Any) -> Lab:
    """`ap`, which is preferred, died, and `eu` is active; `ap` is well again in this moment."""
    times: dict[str, Any] = {"failback_after_ns": 5 * SECOND_NS, "hold_down_ns": SECOND_NS, "cool_down_ns": SECOND_NS}
    lab = settled(failback=failback, **{**times, **policy})
    prefer(lab, "ap", 200)
    lab.of("ap")[0].health = DOWN
    lab.run(4)
    assert lab.known() == ("eu", 2)
    lab.of("ap")[0].health = UP
    return lab


def prefer(lab: Lab, name: str, priority: int) -> None:
    reply = lab.ask(events.UpdateRegion(lab.request(), name, RegionSettings(priority=priority), ("priority",)))
    assert reply.refusal is None


def freeze(lab: Lab) -> None:
    """Until a failback has begun, and its freeze cannot end, for `eu` does not hear of it."""
    lab.of("eu")[0].deaf = True
    for _ in range(150):
        lab.run(0.1)
        if newest(lab).move is FailoverKind.FAILBACK:
            break
    assert newest(lab).state is FailoverState.FREEZING


def told(lab: Lab) -> list[str]:
    return [entry.message for entry in lab.journal if entry.kind == "failback-possible"]


def test_failback_by_itself_is_a_planned_move_after_the_hold() -> None:
    lab = moved_away(Failback.AUTO)
    lab.run(7)  # 3 s until it is stable, and not yet 5 s more.
    assert lab.known() == ("eu", 2)
    lab.run(4)
    assert lab.known() == ("ap", 3)
    record = newest(lab)
    assert record.move is FailoverKind.FAILBACK and record.state is FailoverState.SUCCEEDED
    assert [phase.name for phase in record.phases] == ["failback-hold", "freeze", "release", "offer"]
    assert record.phases[0].length_ns >= 5 * SECOND_NS
    assert not told(lab)


def test_failback_by_hand_is_said_once_with_its_command() -> None:
    lab = moved_away(Failback.MANUAL)
    lab.run(40)
    assert lab.known() == ("eu", 2)
    (message,) = told(lab)
    assert "primacy failover --to ap" in message
    lab.moved("ap")
    lab.run(2)
    assert lab.known() == ("ap", 3)


def test_it_is_said_anew_when_the_lease_moved_since() -> None:
    lab = moved_away(Failback.MANUAL)
    lab.run(20)
    lab.moved("us")
    lab.run(20)
    assert len(told(lab)) == 2


def test_no_failback_says_nothing() -> None:
    lab = moved_away(Failback.NEVER)
    lab.run(40)
    assert lab.known() == ("eu", 2) and not told(lab)


def test_nobody_takes_the_lease_back_who_is_only_as_good() -> None:
    lab = moved_away(Failback.AUTO)
    prefer(lab, "eu", 200)
    lab.run(40)
    assert lab.known() == ("eu", 2)


def test_a_region_that_any_rule_speaks_against_takes_nothing_back() -> None:
    lab = moved_away(Failback.AUTO, max_lag=Limits(entries=10))
    lab.of("ap")[0].lag = Lag(entries=100)
    lab.run(30)
    assert lab.known() == ("eu", 2)
    lab.of("ap")[0].lag = Lag(entries=0)
    lab.run(4)
    assert lab.known() == ("eu", 2), "the hold begins when it has caught up"
    lab.run(4)
    assert lab.known() == ("ap", 3)


def test_a_relapse_begins_the_hold_anew() -> None:
    lab = moved_away(Failback.AUTO, flap_limit=100.0)
    lab.run(6)
    lab.of("ap")[0].health = DOWN
    lab.run(1)
    lab.of("ap")[0].health = UP
    lab.run(7)
    assert lab.known() == ("eu", 2)
    lab.run(5)
    assert lab.known() == ("ap", 3)


def test_a_failback_ends_when_its_region_is_not_fit_any_more_whoever_else_is() -> None:
    lab = moved_away(Failback.AUTO)
    freeze(lab)
    assert lab.ask(events.CordonRegion(lab.request(), "ap", "not yet", "ops")).refusal is None
    lab.run(0.5)
    lab.of("eu")[0].deaf = False
    lab.run(3)
    assert newest(lab).state is FailoverState.ABORTED and lab.known() == ("eu", 2)
    assert not lab.of("eu")[0].holder.active(lab.now).frozen


def test_a_failback_that_is_cut_short_after_the_release_gives_the_lease_to_whoever_is_best() -> None:
    """[I8] Only forward."""
    lab = moved_away(Failback.AUTO)
    freeze(lab)
    lab.run(3)
    lab.of("ap")[0].deaf = True  # It reports, and no offer reaches it.
    lab.run(3)  # The lease of eu, which is renewed no more, runs out.
    lab.of("eu")[0].deaf = False
    assert newest(lab).state is FailoverState.OFFERING and newest(lab).to_region == "ap"
    lab.run(8)
    assert newest(lab).move is FailoverKind.FAILBACK and newest(lab).state is FailoverState.SUCCEEDED
    assert len(lab.active()) == 1 and lab.known()[0] in ("eu", "us")


def test_a_pause_puts_a_failback_off() -> None:
    lab = moved_away(Failback.AUTO)
    pause(lab)
    lab.run(30)
    assert lab.known() == ("eu", 2)
    resume(lab)
    lab.run(8)
    assert lab.known() == ("ap", 3)


def test_a_restart_begins_the_hold_anew_and_forgets_nothing_else() -> None:
    lab = moved_away(Failback.AUTO)
    lab.run(6)
    restart(lab)
    lab.run(25)
    assert lab.known() == ("ap", 3) and newest(lab).move is FailoverKind.FAILBACK

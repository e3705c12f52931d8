"""A promotion that failed is over: it is told once, and costs nothing until the next epoch."""

from __future__ import annotations

from primacy_coordinator.core.model import FailoverState

from tests.unit.core.lab import DOWN, Lab


def test_a_failed_promotion_is_told_once_while_nobody_else_can_be_elected() -> None:
    lab = Lab({"ap": 1, "eu": 1})
    lab.start()
    lab.run(20)
    assert lab.active() == {"ap"}
    (eu,) = lab.of("eu")
    eu.promoting = True
    lab.of("ap")[0].health = DOWN
    for _ in range(300):
        lab.run(0.1)
        if lab.active() == {"eu"}:
            lab.give_up(eu, "on_promote exited 1")
    told = [entry.epoch for entry in lab.journal if entry.kind == "promotion-failed"]
    assert len(told) >= 3, "it is tried again"
    assert told == sorted(set(told)), "each epoch once"
    assert lab.group is not None
    newest = lab.group.view(lab.now).failovers[0]
    assert newest.state in (FailoverState.WAITING, FailoverState.PROMOTING)
    assert newest.phases[0].name == "down" and {phase.name for phase in newest.phases} >= {"promote", "wait"}

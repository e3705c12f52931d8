"""What tests of moves share: three regions of which `ap` is active, and short ways to look at what became of it."""

from __future__ import annotations

from typing import Any

from primacy_coordinator.core import events
from primacy_coordinator.core.model import FailoverRecord, OverrideKind, Policy
from primacy_wire.instant import SECOND_NS

from tests.unit.core.lab import Lab

THREE = {"ap": 1, "eu": 1, "us": 1}
BASE: dict[str, Any] = {
    "lease_ttl_ns": 5 * SECOND_NS,
    "grace_ns": SECOND_NS,
    "first_wait_ns": SECOND_NS,
    "stable_for_ns": 3 * SECOND_NS,
}


def settled(regions: dict[str, int] | None = None, **policy: Any) -> Lab:
    """`ap` is active at epoch 1. `policy` is set on top of short times."""
    lab = Lab(regions or THREE, Policy(**{**BASE, **policy}))
    lab.run(6)
    assert lab.known() == ("ap", 1)
    return lab


def newest(lab: Lab) -> FailoverRecord:
    assert lab.group is not None
    return lab.group.view(lab.now).failovers[0]


def rules(lab: Lab, if_down: str = "") -> dict[str, str]:
    """The rule on each candidate, as ExplainElection tells it."""
    assert lab.group is not None
    return {c.region: c.rule for c in lab.group.explain(lab.now, if_down).candidates}


def restart(lab: Lab) -> None:
    """The coordinator dies and comes back at once."""
    lab.stop()
    lab.start()


def pause(lab: Lab) -> None:
    assert lab.ask(events.PauseElection(lab.request(), "we look at it", "ops")).refusal is None
    assert lab.group is not None
    assert [o.record.what for o in lab.group.view(lab.now).overrides] == [OverrideKind.PAUSE]


def resume(lab: Lab) -> None:
    assert lab.ask(events.ResumeElection(lab.request(), "ops")).refusal is None


def only(lab: Lab, *up: str) -> None:
    """Every other region is cut off, and nobody reaches it."""
    for node in lab.nodes.values():
        node.cut = node.holder.region not in up
        node.sees = {name: name in up for name in THREE}

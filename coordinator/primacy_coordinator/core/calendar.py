"""Wall time that no step of the clock disturbs.

What must outlive a restart, perhaps on another machine, is kept in wall time: ends of overrides, damping. While a
machine runs it counts by its own clock, and adds the difference between the two. When the wall clock steps, every
instant that is kept moves along, so that what is left of it stays the same.
"""

from __future__ import annotations

from dataclasses import replace

from primacy_wire.instant import SECOND_NS

from primacy_coordinator.core import damping
from primacy_coordinator.core.effects import Severity, Topic
from primacy_coordinator.core.model import DampingRecord
from primacy_coordinator.core.state import State
from primacy_coordinator.core.turn import Turn

STEP_NS_MIN = SECOND_NS
"""Smaller differences from one event to the next are corrections of a clock that is kept in time: followed, no more."""


def restored_end(until_wall_ns: int, longest_ns: int, now_wall_ns: int) -> int:
    """An instant that the store kept, at a start: after a clock that was set back meanwhile nothing lasts longer than
    it ever could."""
    return min(until_wall_ns, now_wall_ns + longest_ns)


def follow(state: State, turn: Turn) -> None:
    """Compare the two clocks of one event; O(1) unless the wall clock stepped."""
    step_ns = turn.now.wall_ns - state.wall(turn.now.mono_ns)
    state.wall_offset_ns += step_ns
    if -STEP_NS_MIN <= step_ns <= STEP_NS_MIN:
        return
    for override in state.overrides.values():
        override.record = replace(
            override.record,
            start_wall_ns=override.record.start_wall_ns + step_ns,
            expire_wall_ns=override.record.expire_wall_ns + step_ns,
        )
        turn.write(override.record)
    for region in state.regions.values():
        past = region.damping
        if past.at_wall_ns or past.hold_until_wall_ns:
            region.damping = replace(
                past,
                at_wall_ns=past.at_wall_ns + step_ns,
                hold_until_wall_ns=past.hold_until_wall_ns + step_ns if past.hold_until_wall_ns else 0,
            )
            turn.write(region.damping)
    if state.cool_until_wall_ns:
        state.cool_until_wall_ns += step_ns
        turn.write(DampingRecord(damping.COOL_KEY, hold_until_wall_ns=state.cool_until_wall_ns))
    move = state.move
    if move is not None and move.record.approval_until_wall_ns:
        move.record = replace(move.record, approval_until_wall_ns=move.record.approval_until_wall_ns + step_ns)
        state.failovers[move.record.id] = move.record
        turn.write(move.record)
    if state.overrides:
        turn.changed(Topic.OVERRIDES)
    turn.journal(
        "clock-stepped",
        f"the wall clock stepped by {step_ns / 1e9:+.1f} s; what was to last so long still does",
        Severity.WARNING,
    )

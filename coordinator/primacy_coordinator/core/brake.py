"""This group's place before the coordinator's brake over failovers.

When something that all groups rest on breaks, they would all move at once, for one reason that may pass. So an
automatic failover asks first, and the coordinator lets a few through at a time. A move away from a region that its
peers do not reach either is not held: that fault is where it seems to be.
"""

from __future__ import annotations

from primacy_wire.instant import MILLISECOND_NS

from primacy_coordinator.core import observation
from primacy_coordinator.core.effects import BrakeAsked, BrakeReturned
from primacy_coordinator.core.state import Brake, State
from primacy_coordinator.core.turn import Turn

AT_ONCE_NS = 100 * MILLISECOND_NS
"""Who is let through sooner has not waited: nobody need hear of it."""


def may_begin(state: State, turn: Turn) -> bool:
    """Whether an automatic failover may begin now; else it has asked, and `on_released` comes when it may."""
    active = state.regions.get(state.authority.record.accepted_region)
    if state.brake is Brake.LET or (
        active is not None and observation.is_corroborated(state, active, turn.now.mono_ns)
    ):
        return True
    if state.brake is Brake.FREE:
        state.brake = Brake.ASKED
        state.brake_untold_ns = turn.now.mono_ns
        turn.brake(BrakeAsked())
    elif state.brake_untold_ns is not None and turn.now.mono_ns - state.brake_untold_ns >= AT_ONCE_NS:
        state.brake_untold_ns = None
        turn.journal("failover-braked", "a failover waits for the coordinator's brake: others are under way")
    return False


def on_released(state: State, turn: Turn) -> None:
    if state.brake is Brake.ASKED:
        state.brake = Brake.LET
    else:
        turn.brake(BrakeReturned())
    turn.unsettled = True


def hand_back(state: State, turn: Turn) -> None:
    """The failover has ended, or is not wanted any more."""
    if state.brake is not Brake.FREE:
        state.brake = Brake.FREE
        turn.brake(BrakeReturned())

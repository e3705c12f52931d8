"""Which function carries out which command."""

from __future__ import annotations

from typing import assert_never

from primacy_coordinator.core import approval, commands, overriding
from primacy_coordinator.core.events import (
    Append,
    ApproveFailover,
    CancelFailover,
    Command,
    CordonRegion,
    DeregisterRegion,
    DrainRegion,
    MoveActive,
    PauseElection,
    PinWeights,
    PrepareDelete,
    Recover,
    RegisterRegion,
    ResolveConflict,
    ResumeElection,
    RetryEntry,
    SetPolicy,
    UncordonRegion,
    UndrainRegion,
    UnpinWeights,
    UpdateRegion,
)
from primacy_coordinator.core.log import appending, conflicts, streaming
from primacy_coordinator.core.state import State
from primacy_coordinator.core.turn import Turn


def carry_out(state: State, turn: Turn, event: Command) -> None:  # noqa: C901, PLR0912  (a table)
    """Carry out an operator's command, or refuse it; exactly one reply follows, sooner or later."""
    match event:
        case RegisterRegion():
            commands.register(state, turn, event)
        case UpdateRegion():
            commands.update(state, turn, event)
        case DeregisterRegion():
            commands.deregister(state, turn, event)
        case SetPolicy():
            commands.set_policy(state, turn, event)
        case MoveActive():
            commands.move_active(state, turn, event)
        case ApproveFailover():
            approval.approve(state, turn, event)
        case CancelFailover():
            approval.cancel(state, turn, event)
        case DrainRegion():
            overriding.drain(state, turn, event)
        case UndrainRegion():
            overriding.undrain(state, turn, event)
        case CordonRegion():
            overriding.cordon(state, turn, event)
        case UncordonRegion():
            overriding.uncordon(state, turn, event)
        case PauseElection():
            overriding.pause(state, turn, event)
        case ResumeElection():
            overriding.resume(state, turn, event)
        case PinWeights():
            overriding.pin(state, turn, event)
        case UnpinWeights():
            overriding.unpin(state, turn, event)
        case Recover():
            commands.recover(state, turn, event)
        case PrepareDelete():
            commands.prepare_delete(state, turn, event)
        case Append() | ResolveConflict() | RetryEntry():
            _on_log(state, turn, event)
        case _:
            assert_never(event)


def _on_log(state: State, turn: Turn, event: Append | ResolveConflict | RetryEntry) -> None:
    match event:
        case Append():
            appending.append(state, turn, event)
        case ResolveConflict():
            conflicts.resolve(state, turn, event)
        case RetryEntry():
            streaming.retry(state, turn, event)

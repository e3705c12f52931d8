"""A failover that may lose more than the policy's `max_loss` is an operator's to decide.

While it waits nothing is granted and nothing is ordered to be released; a holder that is heard again simply goes on.
"""

from __future__ import annotations

from dataclasses import replace

from primacy_coordinator.core import authority, steps
from primacy_coordinator.core.effects import Refusal, RefusalKind, Severity
from primacy_coordinator.core.election import Ranking, exceeded
from primacy_coordinator.core.events import ApproveFailover, CancelFailover
from primacy_coordinator.core.model import (
    DONE_STATES,
    ApprovalAction,
    FailoverKind,
    FailoverRecord,
    FailoverState,
    LeasePhase,
    RegionStatus,
)
from primacy_coordinator.core.state import Move, State
from primacy_coordinator.core.turn import Turn


def _loss(state: State, best: Ranking) -> str:
    """What the move to the winner may lose too much of, in words; empty: nothing."""
    price = steps.price_of(best)
    return "" if price is None else exceeded(price.age_ns, price.entries, price.bytes, state.policy.max_loss)


def is_dear(state: State, best: Ranking) -> bool:
    return bool(best.winner) and bool(_loss(state, best))


def is_needed(state: State, move: Move, best: Ranking) -> bool:
    """Whether a grant must be approved first: of automatic moves, once."""
    return move.record.move is FailoverKind.AUTOMATIC and not move.record.approved_by and is_dear(state, best)


def ask(state: State, turn: Turn, move: Move, best: Ranking) -> None:
    """Wait for an operator, loudly."""
    move.record = replace(
        move.record,
        to_region=best.winner,
        candidates=best.candidates,
        explanation=best.explanation,
        price=steps.price_of(best),
        approval_until_wall_ns=state.wall(turn.now.mono_ns) + state.policy.approval_timeout_ns,
    )
    steps.enter(state, turn, move, FailoverState.AWAITING_APPROVAL, "approval", "an operator decides")
    _call(turn, move, _loss(state, best))


def _call(turn: Turn, move: Move, loss: str) -> None:
    turn.journal(
        "approval-needed",
        f"a failover to {move.record.to_region} may lose {loss}: `primacy failover --approve {move.record.id}` lets it "
        f"go on, `primacy failover --cancel {move.record.id}` does not",
        Severity.CRITICAL,
        region=move.record.to_region,
        failover_id=move.record.id,
        inputs=move.record.price,
    )


def on_time(state: State, turn: Turn, move: Move) -> None:
    """End the wait: the holder is back, the price has fallen, or the time is over."""
    now_ns = turn.now.mono_ns
    lease = state.authority
    active = state.regions.get(lease.record.accepted_region)
    down = active is None or active.verdict.status is RegionStatus.DOWN
    if lease.record.phase is LeasePhase.ACCEPTED and not authority.is_free(state, now_ns) and not down:
        steps.finish(state, turn, move, FailoverState.ABORTED, f"{lease.record.accepted_region} is there again")
        return
    if state.wall(now_ns) < move.record.approval_until_wall_ns:
        return
    if state.policy.approval_action is ApprovalAction.MOVE:
        _go_on(state, turn, move, "the policy, for nobody answered in time")
        return
    move.record = replace(move.record, approval_until_wall_ns=state.wall(now_ns) + state.policy.approval_timeout_ns)
    state.failovers[move.record.id] = move.record
    turn.write(move.record)
    _call(turn, move, "more than the policy allows")


def _go_on(state: State, turn: Turn, move: Move, owner: str) -> None:
    now_ns = turn.now.mono_ns
    move.record = replace(move.record, approved_by=owner, approval_until_wall_ns=0)
    turn.journal(
        "failover-approved",
        f"{move.record.id} goes on, approved by {owner}",
        Severity.WARNING,
        failover_id=move.record.id,
    )
    if authority.is_free(state, now_ns):
        steps.enter(state, turn, move, FailoverState.WAITING, "wait")
    elif state.authority.record.phase is LeasePhase.RELEASING:
        steps.enter(state, turn, move, FailoverState.RELEASING, "release")
    else:
        steps.enter(state, turn, move, FailoverState.RELEASING, "release")
        authority.decide_release(state, turn, move.record.id, "")


# ---- commands


def approve(state: State, turn: Turn, command: ApproveFailover) -> None:
    move = state.move
    record = state.failovers.get(command.failover_id)
    refusal = _refusal(state, command.failover_id, record)
    if refusal is None and record is not None and record.state is not FailoverState.AWAITING_APPROVAL:
        if record.approved_by:
            turn.reply(command.request, record)
            return
        refusal = Refusal(
            RefusalKind.PRECONDITION,
            "NOT_AWAITING_APPROVAL",
            f"failover {record.id} awaits no approval: it is {record.state.name.lower()}",
        )
    if refusal is not None or move is None:
        turn.reply(command.request, refusal=refusal)
        return
    _go_on(state, turn, move, command.owner or "an operator")
    turn.reply(command.request, move.record)


def cancel(state: State, turn: Turn, command: CancelFailover) -> None:
    move = state.move
    record = state.failovers.get(command.failover_id)
    refusal = _refusal(state, command.failover_id, record)
    if (
        refusal is None
        and record is not None
        and record.state
        not in (
            FailoverState.FREEZING,
            FailoverState.AWAITING_APPROVAL,
        )
    ):
        refusal = Refusal(
            RefusalKind.PRECONDITION,
            "PAST_RETURN",
            f"failover {record.id} is {record.state.name.lower()}: the old lease is being given up, so there is only "
            "forward; move again when it is done",
        )
    if refusal is not None or move is None:
        turn.reply(command.request, refusal=refusal)
        return
    note = f"cancelled by {command.owner or 'an operator'}" + (f": {command.reason}" if command.reason else "")
    if move.record.state is FailoverState.FREEZING:
        steps.thaw(state, turn, move, note)
    else:
        state.cancelled_until_ns = turn.now.mono_ns + state.policy.approval_timeout_ns
        steps.finish(state, turn, move, FailoverState.ABORTED, note)
    turn.reply(command.request, move.record)


def _refusal(state: State, failover_id: str, record: FailoverRecord | None) -> Refusal | None:
    if record is None:
        return Refusal(
            RefusalKind.NOT_FOUND, "FAILOVER_NOT_FOUND", f"there is no failover {failover_id!r}: see `primacy history`"
        )
    if record.state in DONE_STATES or state.move is None or state.move.record.id != failover_id:
        return Refusal(
            RefusalKind.PRECONDITION,
            "FAILOVER_ENDED",
            f"failover {failover_id} is over: it {record.state.name.lower()}",
        )
    return None

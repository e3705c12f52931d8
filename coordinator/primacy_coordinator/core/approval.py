"""A failover that may lose more than the policy's `max_loss` is an operator's to decide.

While it waits nothing is granted and nothing is ordered to be released; a holder that is heard again simply goes on,
and so does the move when it would not lose too much any more.
"""

from __future__ import annotations

from dataclasses import replace

from primacy_coordinator.core import authority, brake, pricing, ranking, steps
from primacy_coordinator.core.effects import Refusal, RefusalKind, Severity
from primacy_coordinator.core.election import Ranking
from primacy_coordinator.core.events import ApproveFailover, CancelFailover
from primacy_coordinator.core.model import (
    DONE_STATES,
    ApprovalAction,
    FailoverKind,
    FailoverRecord,
    FailoverState,
    LeasePhase,
    Price,
    RegionStatus,
)
from primacy_coordinator.core.state import Move, State
from primacy_coordinator.core.turn import Turn

REVOCABLE = frozenset({FailoverState.FREEZING, FailoverState.AWAITING_APPROVAL})
"""States of a move in which nothing was given up yet."""


def _loss(state: State, price: Price | None) -> str:
    """What a move at this price may lose too much of, in words; empty: nothing."""
    return "" if price is None else pricing.exceeded(price, state.policy.max_loss)


def is_dear(state: State, best: Ranking) -> bool:
    return bool(best.winner) and bool(_loss(state, steps.price_of(best)))


def _is_cheap(state: State, price: Price | None) -> bool:
    """Whether a move is known to lose no more than the policy allows: a figure that went missing is no proof of it."""
    if price is None:
        return True
    limits = state.policy.max_loss
    pairs = ((limits.age_ns, price.age_ns), (limits.entries, price.entries), (limits.bytes, price.bytes))
    return all(figure >= 0 for limit, figure in pairs if limit >= 0) and not _loss(state, price)


def _has_grown(state: State, move: Move, price: Price | None) -> bool:
    """Whether a figure that counts is more than twice what was told: an operator decides on what he was told."""
    told, limits = move.record.price, state.policy.max_loss
    if told is None or price is None:
        return False
    return (
        (limits.age_ns >= 0 and price.age_ns > 2 * told.age_ns >= 0)
        or (limits.entries >= 0 and price.entries > 2 * told.entries >= 0)
        or (limits.bytes >= 0 and price.bytes > 2 * told.bytes >= 0)
    )


def is_needed(state: State, move: Move, best: Ranking) -> bool:
    """Whether a grant must be approved first: of automatic moves, once."""
    return move.record.move is FailoverKind.AUTOMATIC and not move.record.approved_by and is_dear(state, best)


def ask(state: State, turn: Turn, move: Move, best: Ranking) -> None:
    """Wait for an operator, loudly, and let other groups fail over meanwhile."""
    brake.hand_back(state, turn)
    move.record = replace(
        move.record, approval_until_wall_ns=state.wall(turn.now.mono_ns) + state.policy.approval_timeout_ns
    )
    _call(state, turn, move, best)


def _call(state: State, turn: Turn, move: Move, best: Ranking) -> None:
    """Say what the move would be now, and how to decide."""
    move.record = replace(
        move.record,
        to_region=best.winner,
        candidates=best.candidates,
        explanation=best.explanation,
        price=steps.price_of(best),
    )
    if move.record.state is FailoverState.AWAITING_APPROVAL:
        steps.keep(state, turn, move)
    else:
        steps.enter(state, turn, move, FailoverState.AWAITING_APPROVAL, "approval", "an operator decides")
    loss = _loss(state, move.record.price) or "what nobody measures"
    turn.journal(
        "approval-needed",
        f"a failover to {best.winner} may lose {loss}: `primacy failover --approve {move.record.id}` lets it go on, "
        f"`primacy failover --cancel {move.record.id}` does not",
        Severity.CRITICAL,
        region=best.winner,
        failover_id=move.record.id,
        inputs=move.record.price,
    )


def on_time(state: State, turn: Turn, move: Move) -> None:
    """End the wait: the holder is back, the price has fallen, or the time is over."""
    now_ns = turn.now.mono_ns
    if _is_back(state):
        note = f"{state.authority.record.accepted_region} is there again"
        steps.finish(state, turn, move, FailoverState.ABORTED, note)
        return
    best = _best(state, now_ns)
    if best.winner and _is_cheap(state, steps.price_of(best)):
        if not steps.is_put_off(state) and brake.may_begin(state, turn):
            turn.journal(
                "approval-not-needed",
                f"{move.record.id} goes on by itself: a failover to {best.winner} loses no more than the policy allows",
                Severity.WARNING,
                region=best.winner,
                failover_id=move.record.id,
                inputs=steps.price_of(best),
            )
            _go_on(state, turn, move)
        return
    if best.winner and (best.winner != move.record.to_region or _has_grown(state, move, steps.price_of(best))):
        _call(state, turn, move, best)
    if state.wall(now_ns) < move.record.approval_until_wall_ns or not best.winner:
        return
    if state.policy.approval_action is ApprovalAction.WAIT:
        ask(state, turn, move, best)
    elif not steps.is_put_off(state) and brake.may_begin(state, turn):
        _approve(state, turn, move, "the policy, for nobody answered in time")


def _is_back(state: State) -> bool:
    """Whether the active region was heard again, got its own epoch back and is not down: there is nothing to move."""
    lease = state.authority
    active = state.regions.get(lease.record.accepted_region)
    down = active is None or active.verdict.status is RegionStatus.DOWN
    return lease.record.phase is LeasePhase.ACCEPTED and bool(lease.holds) and not down


def _best(state: State, now_ns: int) -> Ranking:
    """Who would be elected now; where the lease is still held, somebody else."""
    held = state.authority.record.phase is LeasePhase.ACCEPTED and not authority.is_free(state, now_ns)
    return ranking.rank_now(state, now_ns, exclude=(state.authority.record.accepted_region,) if held else ())


def _approve(state: State, turn: Turn, move: Move, owner: str) -> None:
    move.record = replace(move.record, approved_by=owner)
    turn.journal(
        "failover-approved",
        f"{move.record.id} goes on, approved by {owner}",
        Severity.WARNING,
        failover_id=move.record.id,
    )
    _go_on(state, turn, move)


def _go_on(state: State, turn: Turn, move: Move) -> None:
    """On to the next step. Whoever calls has seen that somebody can take over (I8)."""
    move.record = replace(move.record, approval_until_wall_ns=0)
    if authority.is_free(state, turn.now.mono_ns):
        steps.enter(state, turn, move, FailoverState.WAITING, "wait")
        return
    steps.enter(state, turn, move, FailoverState.RELEASING, "release")
    if state.authority.record.phase is not LeasePhase.RELEASING:
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
    best = _best(state, turn.now.mono_ns)
    if not best.winner:
        refusal = Refusal(
            RefusalKind.PRECONDITION, "NO_TARGET", f"no region can take over any more: {best.explanation}"
        )
        turn.reply(command.request, refusal=refusal)
        return
    _approve(state, turn, move, command.owner or "an operator")
    turn.reply(command.request, move.record)


def cancel(state: State, turn: Turn, command: CancelFailover) -> None:
    move = state.move
    record = state.failovers.get(command.failover_id)
    refusal = _refusal(state, command.failover_id, record)
    if refusal is None and record is not None and record.state not in REVOCABLE:
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
        steps.finish(state, turn, move, FailoverState.ABORTED, note)
    if move.record.move in (FailoverKind.AUTOMATIC, FailoverKind.FAILBACK):
        until_wall_ns = state.wall(turn.now.mono_ns) + state.policy.approval_timeout_ns
        move.record = replace(move.record, quiet_until_wall_ns=until_wall_ns)
        steps.keep(state, turn, move)
        put_off_again(state, move.record)
    turn.reply(command.request, move.record)


def put_off_again(state: State, cancelled: FailoverRecord) -> None:
    """What an operator cancelled does not begin again by itself at once; a restart does not forget that."""
    until_ns = cancelled.quiet_until_wall_ns - state.wall_offset_ns
    if cancelled.move is FailoverKind.AUTOMATIC:
        state.cancelled_until_ns = until_ns
    elif cancelled.move is FailoverKind.FAILBACK:
        state.failback_from_ns = until_ns


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

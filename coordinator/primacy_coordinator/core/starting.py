"""When a move of the active lease begins by itself: first elections, failovers, and the way back.

What holds an automatic election back, each with an end: a pause (until it is lifted or expires), self-doubt (at most
`doubt_max`), the brake over groups (until another failover ends), and an operator who cancelled the last one. No rule
of comfort is among them: without an active region every candidate that only soft rules refuse competes (I8).
"""

from __future__ import annotations

from primacy_coordinator.core import approval, authority, brake, failback, moves, overrides, ranking, steps
from primacy_coordinator.core.effects import Severity
from primacy_coordinator.core.election import Ranking
from primacy_coordinator.core.model import FailoverKind, FailoverState, LeasePhase, RegionStatus
from primacy_coordinator.core.state import State
from primacy_coordinator.core.turn import Turn


def on_time(state: State, turn: Turn) -> None:
    """See whether a move must begin."""
    if state.doubt is not None or state.move is not None:
        return
    lease = state.authority
    if lease.durable != lease.record:
        return
    _tell_of_pause(state, turn)
    if steps.is_put_off(state):
        brake.hand_back(state, turn)
        return
    if lease.record.phase is LeasePhase.NONE:
        _consider_first(state, turn)
        return
    if not _consider_failover(state, turn):
        brake.hand_back(state, turn)
        failback.consider(state, turn)


def _tell_of_pause(state: State, turn: Turn) -> None:
    """A pause without an active region is what somebody must hear of."""
    alone = overrides.is_paused(state) and (
        state.authority.free_since_ns is not None or state.authority.record.phase is LeasePhase.NONE
    )
    if alone and not state.paused_told:
        turn.journal(
            "paused-without-active",
            "no region is active, and automatic elections are paused: `primacy resume`, or `primacy failover`",
            Severity.CRITICAL,
        )
    state.paused_told = alone


def _consider_failover(state: State, turn: Turn) -> bool:
    """Whether a failover is wanted; begins it when it may."""
    now_ns = turn.now.mono_ns
    lease = state.authority
    record = lease.record
    active = state.regions.get(record.accepted_region)
    if lease.free_since_ns is not None:
        waited_ns = now_ns - max(lease.free_since_ns, state.doubted_ns)
        if waited_ns < (state.policy.grace_ns if record.phase is LeasePhase.ACCEPTED else 0):
            return False
        best = ranking.rank_now(state, now_ns)
        if lease.given_back:
            cause, before = f"nobody holds the active lease of {record.holder}: {lease.given_back}", "given-back"
        else:
            cause, before = f"the active lease of {record.holder} ran out and nobody renewed it", "run-out"
        return _begin(state, turn, best, FailoverState.WAITING, cause, (before, waited_ns))
    if record.phase is not LeasePhase.ACCEPTED or active is None or active.verdict.status is not RegionStatus.DOWN:
        # It is there again: the next fault is another one.
        state.cancelled_until_ns = 0
        state.stuck_told = False
        return False
    waited_ns = now_ns - active.since_ns
    if waited_ns < state.policy.grace_ns:
        return False
    # I8: where nobody could take over, what there is stays.
    best = ranking.rank_now(state, now_ns, exclude=(record.accepted_region,))
    cause = f"{record.accepted_region} is down: {active.verdict.reason}"
    return _begin(state, turn, best, FailoverState.RELEASING, cause, ("down", waited_ns))


def _begin(state: State, turn: Turn, best: Ranking, first: FailoverState, cause: str, before: tuple[str, int]) -> bool:
    now_ns = turn.now.mono_ns
    if not best.winner:
        if not state.stuck_told:
            turn.journal("no-candidate", f"{cause}, and nobody can take over: {best.explanation}", Severity.CRITICAL)
        state.stuck_told = True
        return False
    state.stuck_told = False
    dear = approval.is_dear(state, best)
    if dear and now_ns < state.cancelled_until_ns:
        return False
    # What awaits approval moves nothing yet, and must not keep other groups from moving.
    if not dear and not brake.may_begin(state, turn):
        return True
    name = state.authority.record.accepted_region
    active = state.regions.get(name)
    down = active is not None and active.verdict.status is RegionStatus.DOWN
    move = steps.begin(
        state,
        turn,
        FailoverKind.AUTOMATIC,
        FailoverState.AWAITING_APPROVAL if dear else first,
        name,
        cause,
        before,
        best,
        evidence=active.verdict.evidence if active is not None and down else (),
    )
    if dear:
        approval.ask(state, turn, move, best)
    elif first is FailoverState.RELEASING:
        authority.decide_release(state, turn, move.record.id, "")
    else:
        moves.grant_next(state, turn, move)
    return True


def _consider_first(state: State, turn: Turn) -> None:
    """No region was elected at this epoch: wait a little for better candidates, then elect."""
    now_ns = turn.now.mono_ns
    if not ranking.rank_now(state, now_ns).winner:
        state.eligible_since_ns = None
        return
    if state.eligible_since_ns is None:
        state.eligible_since_ns = now_ns
    if now_ns - state.eligible_since_ns < state.policy.first_wait_ns:
        return
    record = state.authority.record
    first = record.accepted_epoch == 0
    move = steps.begin(
        state,
        turn,
        FailoverKind.INITIAL if first else FailoverKind.AUTOMATIC,
        FailoverState.WAITING,
        record.accepted_region,
        "the group's first election" if first else "the group was recovered",
        ("first-wait", now_ns - state.eligible_since_ns),
    )
    moves.grant_next(state, turn, move)


def deadlines(state: State) -> list[int]:
    """When time alone may let a move begin."""
    if state.move is not None:
        return []
    lease = state.authority
    found = [state.cancelled_until_ns] if state.cancelled_until_ns else []
    if lease.free_since_ns is not None:
        found.append(max(lease.free_since_ns, state.doubted_ns) + state.policy.grace_ns)
    active = state.regions.get(lease.record.accepted_region)
    if active is not None and active.verdict.status is RegionStatus.DOWN:
        found.append(active.since_ns + state.policy.grace_ns)
    if state.eligible_since_ns is not None and lease.record.phase is LeasePhase.NONE:
        found.append(state.eligible_since_ns + state.policy.first_wait_ns)
    if state.better is not None:
        found.append(state.better[1] + state.policy.failback_after_ns)
    return found

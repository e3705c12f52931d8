"""The way back: when a region that the policy likes better than the active one is fit again."""

from __future__ import annotations

from primacy_coordinator.core import authority, ranking, steps
from primacy_coordinator.core.election import Ranking, better
from primacy_coordinator.core.model import Failback, FailoverKind, FailoverState, LeasePhase
from primacy_coordinator.core.state import State
from primacy_coordinator.core.turn import Turn


def consider(state: State, turn: Turn) -> None:
    """Follow who could take the lease back; move it, or say so, after the policy's `failback_after`.

    A region qualifies while no rule at all speaks against it (so it has recovered, is caught up, and nothing cools
    down) and the policy's strategy ranks it strictly before the active one.
    """
    now_ns = turn.now.mono_ns
    if now_ns < state.better_due_ns:
        return  # A ranking is too dear for every look at the group, and this one is in no hurry.
    state.better_due_ns = now_ns + state.policy.report_interval_ns
    active = state.authority.record.accepted_region
    best = _best(state, now_ns, active)
    if best is None:
        state.better = None
        return
    if state.better is None or state.better[0] != best.winner:
        state.better = best.winner, now_ns
    if now_ns - state.better[1] < state.policy.failback_after_ns or now_ns < state.failback_from_ns:
        return
    if state.policy.failback is Failback.AUTO:
        move = steps.begin(
            state,
            turn,
            FailoverKind.FAILBACK,
            FailoverState.FREEZING,
            active,
            f"{best.winner} is fit again and comes before {active}",
            ("failback-hold", now_ns - state.better[1]),
            best,
        )
        steps.begin_freeze(state, turn, move)
    elif state.better_told != f"{best.winner} {state.authority.record.epoch}":
        state.better_told = f"{best.winner} {state.authority.record.epoch}"
        turn.journal(
            "failback-possible",
            f"{best.winner} is fit again and comes before {active}: `primacy failover --to {best.winner}` moves back",
            region=best.winner,
        )


def _best(state: State, now_ns: int, active: str) -> Ranking | None:
    if state.policy.failback is Failback.NEVER or state.authority.record.phase is not LeasePhase.ACCEPTED:
        return None
    if not authority.is_serving(state, now_ns) or now_ns < state.authority.wait_until_ns:
        return None
    best = ranking.rank_now(state, now_ns, serving=True)  # Any rule refuses.
    winner = next((c for c in best.candidates if c.region == best.winner), None)
    holder = next((c for c in best.candidates if c.region == active), None)
    if winner is None or holder is None or winner.region == active:
        return None
    return best if better(winner, holder) else None

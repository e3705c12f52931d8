"""Moving the active lease: the steps of a move until another region holds it. When one begins stands in `starting`.

    FREEZING --> RELEASING --> OFFERING --> (PROMOTING) --> SUCCEEDED
       |             |            ^  |           |
       v          (WAITING) ------+  +-----------+--> OFFERING again, with a higher epoch
    ABORTED <-- AWAITING_APPROVAL --> RELEASING or WAITING

Planned moves begin in FREEZING, forced and automatic ones in RELEASING, elections without a holder in WAITING or
OFFERING; an automatic one that may lose too much awaits approval first. Until the release order is decided a move can
be given up without trace; from then on there is only forward: a new epoch, possibly for the same region. Every step is
durable before it is acted on (I7), so a coordinator that restarts goes on where it was; a freeze that it had begun ends
by itself at the agents.

Nobody is granted anything here before `authority.is_free` (I1). Eligibility is looked at again before each step that
cannot be undone.
"""

from __future__ import annotations

from dataclasses import replace

from primacy_wire.instant import Now
from primacy_wire.messages import Freeze, Frozen

from primacy_coordinator.core import approval, authority, brake, calendar, damping, overrides, ranking, steps
from primacy_coordinator.core.effects import Severity
from primacy_coordinator.core.election import ElectionInput, Ranking, rank
from primacy_coordinator.core.events import MoveActive
from primacy_coordinator.core.log import progress
from primacy_coordinator.core.model import (
    DONE_STATES,
    FailoverKind,
    FailoverState,
    LeasePhase,
)
from primacy_coordinator.core.state import Life, Move, Session, State
from primacy_coordinator.core.turn import Turn


def restore(state: State, now: Now) -> None:
    """After a start: take up the move that was under way (`settle_restored` then writes what became of it)."""
    for record in state.failovers.values():
        if record.state not in DONE_STATES:
            longest_ns = state.policy.approval_timeout_ns
            until_ns = calendar.restored_end(record.approval_until_wall_ns, longest_ns, now.wall_ns)
            record = replace(record, approval_until_wall_ns=until_ns)  # noqa: PLW2901
            state.move = Move(record, state.policy, now.mono_ns, override_rules=record.override_rules)
    newest = next(reversed(state.failovers.values()), None)
    if newest is not None and newest.quiet_until_wall_ns > now.wall_ns:
        until_ns = calendar.restored_end(newest.quiet_until_wall_ns, state.policy.approval_timeout_ns, now.wall_ns)
        approval.put_off_again(state, replace(newest, quiet_until_wall_ns=until_ns))


def settle_restored(state: State, turn: Turn) -> None:
    """A move that had not ordered a release is given up; any other goes on."""
    move = state.move
    if move is None:
        return
    if move.record.state is FailoverState.FREEZING:
        note = "the coordinator restarted before the release was ordered"
        steps.finish(state, turn, move, FailoverState.ABORTED, note)


def on_time(state: State, turn: Turn) -> None:
    """Take the move under way a step on."""
    move = state.move
    if move is None:
        return
    if state.doubt is not None:
        steps.finish(state, turn, move, FailoverState.FAILED, "the store is in doubt")
    else:
        _advance(state, turn, move)


# ---- commands


def begin_command(state: State, turn: Turn, command: MoveActive, checked: Ranking) -> Move:
    """Begin the move that an operator asked for; `commands` checked that it may."""
    now_ns = turn.now.mono_ns
    serving = authority.is_serving(state, now_ns)
    active = state.authority.record.accepted_region
    kind = FailoverKind.FORCED if command.forced else FailoverKind.PLANNED
    cause = f"asked for by {command.owner or 'an operator'}" + (f": {command.reason}" if command.reason else "")
    if state.move is not None:
        begun = state.move.record.state not in approval.REVOCABLE
        end = FailoverState.FAILED if begun else FailoverState.ABORTED
        steps.finish(state, turn, state.move, end, "a forced failover took its place")
    if command.forced and command.holder_fenced:
        authority.take_fenced(state, turn, command.holder_fenced, command.owner, command.reason)
    held = not authority.is_free(state, now_ns)
    if command.forced and held:
        first = FailoverState.RELEASING
    elif serving:
        first = FailoverState.FREEZING
    else:
        first = FailoverState.WAITING
    move = steps.begin(state, turn, kind, first, active, cause, None, checked, command)
    if first is FailoverState.RELEASING:
        authority.decide_release(state, turn, move.record.id, "")
    if first is FailoverState.FREEZING:
        steps.begin_freeze(state, turn, move)
    turn.unsettled = True
    return move


def on_frozen(state: State, turn: Turn, session: Session, message: Frozen) -> None:
    move = state.move
    if move is not None and move.freeze_id == message.freeze_id and message.incarnation == session.hello.incarnation:
        move.frozen.add(session.life)
        turn.unsettled = True


# ---- the steps


def _advance(state: State, turn: Turn, move: Move) -> None:
    now_ns = turn.now.mono_ns
    lease = state.authority
    match move.record.state:
        case FailoverState.FREEZING:
            _advance_freeze(state, turn, move)
        case FailoverState.RELEASING | FailoverState.WAITING:
            if authority.is_free(state, now_ns) and lease.durable == lease.record:
                grant_next(state, turn, move)
            elif lease.record.phase is LeasePhase.ACCEPTED and lease.holds:
                _revived(state, turn, move)
        case FailoverState.OFFERING:
            if lease.durable.epoch != lease.record.epoch:
                return
            if lease.accepted - lease.promoting:
                steps.finish(state, turn, move, FailoverState.SUCCEEDED, "")
            elif lease.promoting:
                note = f"{lease.record.holder} is being promoted"
                steps.enter(state, turn, move, FailoverState.PROMOTING, "promote", note)
            elif authority.is_free(state, now_ns):
                _passed_by(state, turn, move)
        case FailoverState.PROMOTING:
            if lease.accepted - lease.promoting:
                steps.finish(state, turn, move, FailoverState.SUCCEEDED, "")
            elif authority.is_free(state, now_ns):
                _passed_by(state, turn, move)
        case FailoverState.AWAITING_APPROVAL:
            approval.on_time(state, turn, move)
        case _:
            pass


def _passed_by(state: State, turn: Turn, move: Move) -> None:
    """The region that was granted the epoch did not take it, or could not be promoted: on to the next epoch."""
    record = state.authority.record
    region = state.regions.get(record.holder)
    if region is not None:
        region.unanswered += 1
        if record.phase is LeasePhase.ACCEPTED:
            # It took the epoch, so an earlier life of a coordinator may have seen what this one did not.
            damping.promotion_failed(state, turn, region, move.failure or damping.LOST)
    move.failure = ""
    grant_next(state, turn, move)
    if state.authority.record == record and move.record.state in (FailoverState.OFFERING, FailoverState.PROMOTING):
        # Put off for a moment: what was passed by is over, and must not be found again.
        steps.enter(state, turn, move, FailoverState.WAITING, "wait", f"{record.holder} passed epoch {record.epoch} by")


def _revived(state: State, turn: Turn, move: Move) -> None:
    """While a move waited, an agent of the region that held the lease last got its own epoch back."""
    record = state.authority.record
    note = f"{record.holder} is heard again at epoch {record.epoch}"
    if move.record.epoch == record.epoch:
        steps.enter(state, turn, move, FailoverState.OFFERING, "offer", note)
    else:
        steps.finish(state, turn, move, FailoverState.ABORTED, note)


def _advance_freeze(state: State, turn: Turn, move: Move) -> None:
    now_ns = turn.now.mono_ns
    if state.batch_durable < move.batch:
        return
    if not move.freeze_sent:
        move.freeze_sent = True
        _send_freeze(state, turn, move)
    best = ranking.rank_now(
        state,
        now_ns,
        serving=True,
        target=_wanted(move),
        exclude=(move.record.from_region,),
        override_rules=move.override_rules,
    )
    if not best.winner:
        steps.thaw(state, turn, move, "no region can take over any more")
    elif now_ns >= move.deadline_ns:
        steps.thaw(state, turn, move, _what_lasted(state, move, best.winner, now_ns))
    elif _unfrozen(state, move, now_ns):
        pass
    elif not progress.is_caught_up(state, best.winner):
        if authority.is_free(state, now_ns):
            # A failover has other rules: what is lost is priced, and may need approval.
            steps.thaw(state, turn, move, f"the active region was lost before {best.winner} had applied everything")
        elif not move.catching_up:
            move.catching_up = True
            note = f"{best.winner} applies the rest of the log"
            steps.enter(state, turn, move, FailoverState.FREEZING, "catch up", note)
    else:
        steps.enter(state, turn, move, FailoverState.RELEASING, "release")
        authority.decide_release(state, turn, move.record.id, move.freeze_id)
        move.freeze_id = ""


def _what_lasted(state: State, move: Move, winner: str, now_ns: int) -> str:
    if _unfrozen(state, move, now_ns):
        return "not every agent of the active region could be frozen in time"
    lag = progress.lag_of(state, winner, now_ns)
    return f"{winner} did not apply the last {lag.entries if lag is not None else 0} entries of the log in time"


def _unfrozen(state: State, move: Move, now_ns: int) -> list[Life]:
    """Lives that may be active and did not say that they stopped writes: frozen or waited out."""
    return [life for life, until_ns in state.authority.holds.items() if until_ns > now_ns and life not in move.frozen]


def _send_freeze(state: State, turn: Turn, move: Move) -> None:
    durable = state.authority.durable
    for session in state.sessions.values():
        if session.region == durable.holder:
            turn.send(
                session.number,
                Freeze(
                    session.hello.incarnation,
                    durable.epoch,
                    state.store_id,
                    move.freeze_id,
                    move.policy.switchover_timeout_ns,
                ),
            )


def grant_next(state: State, turn: Turn, move: Move) -> None:
    """Elect among those who can be elected now and grant; without anybody, wait: no timer gives up (I8).

    Who can be elected is looked at anew here, whatever an earlier step found.
    """
    now_ns = turn.now.mono_ns
    if now_ns < move.not_before_ns or _is_put_off(state, turn, move):
        return
    given, best = _choose(state, now_ns, move)
    if best.winner and approval.is_needed(state, move, best):
        approval.ask(state, turn, move, best)
        return
    if not best.winner:
        if move.record.state is not FailoverState.WAITING or not move.told_stuck:
            move.told_stuck = True
            brake.hand_back(state, turn)  # Nobody knows how long this takes: others must not wait for it.
            steps.enter(state, turn, move, FailoverState.WAITING, "wait", "no region can be elected")
            turn.journal(
                "no-candidate",
                f"no region can become active: {best.explanation}",
                Severity.CRITICAL,
                failover_id=move.record.id,
            )
        return
    again = state.regions[best.winner].unanswered
    if again and not move.backed_off:
        # Everybody else is ruled out and this one let an offer pass: do not spin through epochs.
        move.backed_off = True
        move.not_before_ns = now_ns + min(
            state.policy.lease_ttl_ns, state.policy.report_interval_ns * 2 ** min(again, 6)
        )
        turn.unsettled = True
        return
    move.backed_off = False
    epoch = authority.decide_grant(state, turn, best.winner, move.record.id)
    move.record = replace(
        move.record,
        to_region=best.winner,
        epoch=epoch,
        candidates=best.candidates,
        explanation=best.explanation,
        price=steps.price_of(best),
    )
    steps.enter(state, turn, move, FailoverState.OFFERING, "offer", f"epoch {epoch} to {best.winner}")
    turn.journal(
        "election",
        f"{best.winner} was elected for epoch {epoch}: {best.explanation}",
        region=best.winner,
        epoch=epoch,
        failover_id=move.record.id,
        inputs=given,
    )


def _is_put_off(state: State, turn: Turn, move: Move) -> bool:
    """Whether an automatic election that waits for a candidate waits longer, for a pause or a self-doubt.

    A move that took the lease from a region goes through: there is only forward. Under a pause it is given up, so that
    an operator can move by hand; when the pause ends it begins anew.
    """
    automatic = move.record.move in (FailoverKind.INITIAL, FailoverKind.AUTOMATIC) and not move.record.approved_by
    if not automatic or move.record.state is not FailoverState.WAITING or not steps.is_put_off(state):
        return False
    if overrides.is_paused(state):
        steps.finish(state, turn, move, FailoverState.FAILED, "automatic elections are paused")
    return True


def _wanted(move: Move) -> str:
    """The region that the move is for: the one that was asked for, or that shall take its lease back."""
    return move.record.to_region if move.record.move is FailoverKind.FAILBACK else move.record.requested_target


def _choose(state: State, now_ns: int, move: Move) -> tuple[ElectionInput, Ranking]:
    """The region that was asked for while it can be elected, else the best other one, else any: only forward."""
    wanted = state.regions.get(_wanted(move))
    if wanted is not None and not wanted.unanswered:
        given = ranking.election_input(
            state,
            now_ns,
            serving=False,
            target=wanted.record.name,
            forced=move.record.forced,
            override_rules=move.override_rules,
        )
        best = rank(given)
        if best.winner:
            return given, best
    if move.record.move in (FailoverKind.PLANNED, FailoverKind.FORCED):
        # Who asked wants the lease away from where it was, unless nobody else takes it.
        given = ranking.election_input(
            state, now_ns, serving=False, exclude=(move.record.from_region,), override_rules=move.override_rules
        )
        best = rank(given)
        if best.winner and not state.regions[best.winner].unanswered:
            return given, best
    given = ranking.election_input(state, now_ns, serving=False, override_rules=move.override_rules)
    return given, rank(given)


def deadlines(state: State) -> list[int]:
    """When time alone will change something here."""
    move = state.move
    if move is None:
        return []
    found = [at for at in (move.deadline_ns if move.freeze_id else 0, move.not_before_ns) if at]
    if move.record.approval_until_wall_ns and move.record.state is FailoverState.AWAITING_APPROVAL:
        found.append(move.record.approval_until_wall_ns - state.wall_offset_ns)
    return found

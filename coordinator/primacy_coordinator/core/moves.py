"""Moving the active lease: when a move begins, and its steps until another region holds it.

    FREEZING --> RELEASING --> OFFERING --> SUCCEEDED
       |             |            ^  |
       v          (WAITING) ------+  +--> OFFERING again, with a higher epoch
    ABORTED

Planned moves begin in FREEZING, forced and automatic ones in RELEASING, elections without a holder in WAITING or
OFFERING. Until the release order is decided a move can be given up without trace; from then on there is only forward:
a new epoch, possibly for the same region. Every step is durable before it is acted on (I7), so a coordinator that
restarts goes on where it was; a freeze that it had begun ends by itself at the agents.

Nobody is granted anything here before `authority.is_free` (I1). Eligibility is looked at again before each step that
cannot be undone.
"""

from __future__ import annotations

from dataclasses import replace

from primacy_wire.instant import Now
from primacy_wire.messages import Freeze, Frozen, Thaw

from primacy_coordinator.core import authority, ranking
from primacy_coordinator.core.effects import Severity, Topic
from primacy_coordinator.core.election import ElectionInput, Ranking, rank
from primacy_coordinator.core.events import MoveActive
from primacy_coordinator.core.model import (
    DONE_STATES,
    FailoverKind,
    FailoverPhase,
    FailoverRecord,
    FailoverState,
    LeasePhase,
    RegionStatus,
)
from primacy_coordinator.core.state import Life, Move, Session, State
from primacy_coordinator.core.turn import Turn

FAILOVERS_KEPT_MAX = 1000
FREEZE_PART_USED = 0.8
"""Share of a freeze within which the release must be decided, so that it arrives while the freeze still stands."""


def restore(state: State, now: Now) -> None:
    """After a start: take up the move that was under way (`settle_restored` then writes what became of it)."""
    for record in state.failovers.values():
        if record.state not in DONE_STATES:
            state.move = Move(record, state.policy, now.mono_ns)


def settle_restored(state: State, turn: Turn) -> None:
    """A move that had not ordered a release is given up; any other goes on."""
    move = state.move
    if move is None:
        return
    if move.record.state is FailoverState.FREEZING:
        _finish(state, turn, move, FailoverState.ABORTED, "the coordinator restarted before the release was ordered")


# ---- what makes a move begin


def on_time(state: State, turn: Turn) -> None:
    """Take the move under way a step on, or see whether one must begin."""
    if state.doubt is not None:
        if state.move is not None:
            _finish(state, turn, state.move, FailoverState.FAILED, "the store is in doubt")
        return
    if state.move is not None:
        _advance(state, turn, state.move)
    else:
        _consider(state, turn)


def _consider(state: State, turn: Turn) -> None:
    now_ns = turn.now.mono_ns
    lease = state.authority
    record = lease.record
    if lease.durable != record:
        return
    if record.phase is LeasePhase.NONE:
        _consider_first(state, turn)
        return
    if lease.free_since_ns is not None:
        grace_ns = state.policy.grace_ns if record.phase is LeasePhase.ACCEPTED else 0
        if now_ns - lease.free_since_ns >= grace_ns and ranking.rank_now(state, now_ns).winner:
            cause = f"the active lease of {record.holder} ran out and nobody renewed it"
            begun_ns = now_ns - lease.free_since_ns
            move = _begin(
                state,
                turn,
                FailoverKind.AUTOMATIC,
                FailoverState.WAITING,
                record.accepted_region,
                cause,
                ("run-out", begun_ns),
            )
            _grant_next(state, turn, move)
        return
    active = state.regions.get(record.accepted_region)
    if record.phase is not LeasePhase.ACCEPTED or active is None:
        return
    if active.verdict.status is not RegionStatus.DOWN or now_ns - active.since_ns < state.policy.grace_ns:
        return
    if not ranking.rank_now(state, now_ns, exclude=(record.accepted_region,)).winner:
        return  # I8: nobody could take over, so what there is stays.
    move = _begin(
        state,
        turn,
        FailoverKind.AUTOMATIC,
        FailoverState.RELEASING,
        record.accepted_region,
        f"{record.accepted_region} is down: {active.verdict.reason}",
        ("down", now_ns - active.since_ns),
        evidence=active.verdict.evidence,
    )
    authority.decide_release(state, turn, move.record.id, "")


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
    move = _begin(
        state,
        turn,
        FailoverKind.INITIAL if first else FailoverKind.AUTOMATIC,
        FailoverState.WAITING,
        record.accepted_region,
        "the group's first election" if first else "the group was recovered",
        ("first-wait", now_ns - state.eligible_since_ns),
    )
    _grant_next(state, turn, move)


# ---- commands


def begin_command(state: State, turn: Turn, command: MoveActive, checked: Ranking) -> Move:
    """Begin the move that an operator asked for; `commands` checked that it may."""
    now_ns = turn.now.mono_ns
    serving = authority.is_serving(state, now_ns)
    active = state.authority.record.accepted_region
    kind = FailoverKind.FORCED if command.forced else FailoverKind.PLANNED
    cause = f"asked for by {command.owner or 'an operator'}" + (f": {command.reason}" if command.reason else "")
    if state.move is not None:
        _finish(state, turn, state.move, FailoverState.ABORTED, "a forced failover took its place")
    if command.forced and command.holder_fenced:
        authority.take_fenced(state, turn, command.holder_fenced, command.owner, command.reason)
    held = not authority.is_free(state, now_ns)
    if command.forced and held:
        first = FailoverState.RELEASING
    elif serving:
        first = FailoverState.FREEZING
    else:
        first = FailoverState.WAITING
    move = _begin(state, turn, kind, first, active, cause, None, checked, command)
    if first is FailoverState.RELEASING:
        authority.decide_release(state, turn, move.record.id, "")
    if first is FailoverState.FREEZING:
        move.freeze_id = move.record.id
        move.deadline_ns = now_ns + int(state.policy.switchover_timeout_ns * FREEZE_PART_USED)
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
                _grant_next(state, turn, move)
        case FailoverState.OFFERING:
            if lease.durable.epoch != lease.record.epoch:
                return
            if lease.record.phase is LeasePhase.ACCEPTED:
                _finish(state, turn, move, FailoverState.SUCCEEDED, "")
            elif authority.is_free(state, now_ns):
                region = state.regions.get(lease.record.holder)
                if region is not None:
                    region.unanswered += 1
                _grant_next(state, turn, move)
        case _:
            pass


def _advance_freeze(state: State, turn: Turn, move: Move) -> None:
    now_ns = turn.now.mono_ns
    if state.batch_durable < move.batch:
        return
    if not move.freeze_sent:
        move.freeze_sent = True
        _send_freeze(state, turn, move)
    target = move.record.requested_target
    best = ranking.rank_now(
        state,
        now_ns,
        serving=True,
        target=target,
        exclude=(move.record.from_region,),
        override_rules=move.override_rules,
    )
    if not best.winner:
        _thaw(state, turn, move, "no region can take over any more")
    elif now_ns >= move.deadline_ns:
        _thaw(state, turn, move, "not every agent of the active region could be frozen in time")
    elif not _unfrozen(state, move, now_ns):
        _enter(state, turn, move, FailoverState.RELEASING, "release")
        authority.decide_release(state, turn, move.record.id, move.freeze_id)
        move.freeze_id = ""


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


def _thaw(state: State, turn: Turn, move: Move, note: str) -> None:
    for session in state.sessions.values():
        if session.region == move.record.from_region:
            turn.send(session.number, Thaw(move.freeze_id, state.store_id))
    _finish(state, turn, move, FailoverState.ABORTED, note)


def _grant_next(state: State, turn: Turn, move: Move) -> None:
    """Elect among those who can be elected now and grant; without anybody, wait: no timer gives up (I8)."""
    now_ns = turn.now.mono_ns
    if now_ns < move.not_before_ns:
        return
    given, best = _choose(state, now_ns, move)
    if not best.winner:
        if move.record.state is not FailoverState.WAITING or not move.told_stuck:
            move.told_stuck = True
            _enter(state, turn, move, FailoverState.WAITING, "wait", "no region can be elected")
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
        move.record, to_region=best.winner, epoch=epoch, candidates=best.candidates, explanation=best.explanation
    )
    _enter(state, turn, move, FailoverState.OFFERING, "offer", f"epoch {epoch} to {best.winner}")
    turn.journal(
        "election",
        f"{best.winner} was elected for epoch {epoch}: {best.explanation}",
        region=best.winner,
        epoch=epoch,
        failover_id=move.record.id,
        inputs=given,
    )


def _choose(state: State, now_ns: int, move: Move) -> tuple[ElectionInput, Ranking]:
    """The region that was asked for while it can be elected, else the best other one, else any: only forward."""
    wanted = state.regions.get(move.record.requested_target)
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
        given = ranking.election_input(state, now_ns, serving=False, exclude=(move.record.from_region,))
        best = rank(given)
        if best.winner and not state.regions[best.winner].unanswered:
            return given, best
    given = ranking.election_input(state, now_ns, serving=False)
    return given, rank(given)


def _begin(
    state: State,
    turn: Turn,
    kind: FailoverKind,
    first: FailoverState,
    from_region: str,
    cause: str,
    before: tuple[str, int] | None,
    checked: Ranking | None = None,
    command: MoveActive | None = None,
    evidence: tuple[str, ...] = (),
) -> Move:
    """Write down that a move begins. `before`: (name, length) of what was waited for until now."""
    now = turn.now
    phases: tuple[FailoverPhase, ...] = ()
    start_wall_ns = now.wall_ns
    if before is not None:
        start_wall_ns = now.wall_ns - before[1]
        phases = (FailoverPhase(before[0], start_wall_ns, now.wall_ns, before[1]),)
    record = FailoverRecord(
        id=_next_id(state),
        move=kind,
        state=first,
        from_region=from_region,
        to_region=checked.winner if checked else "",
        epoch=0,
        cause=cause,
        start_wall_ns=start_wall_ns,
        phases=phases,
        candidates=checked.candidates if checked else (),
        explanation=checked.explanation if checked else "",
        evidence=evidence,
        reason=command.reason if command else "",
        owner=command.owner if command else "",
        requested_target=command.target if command else "",
        forced=command.forced if command else False,
        policy_version=state.policy_record.version,
    )
    move = Move(record, state.policy, now.mono_ns, override_rules=command.override_rules if command else ())
    state.move = move
    names = {
        FailoverState.FREEZING: "freeze",
        FailoverState.RELEASING: "release",
        FailoverState.WAITING: "wait",
    }
    turn.journal(
        "failover-started",
        f"{kind.name.lower()} move from {from_region or 'nobody'}: {cause}",
        Severity.WARNING if kind is FailoverKind.AUTOMATIC else Severity.INFO,
        region=from_region,
        failover_id=record.id,
    )
    _enter(state, turn, move, first, names[first])
    _prune(state, turn)
    return move


def order(record: FailoverRecord) -> int:
    """Failovers are numbered in the order in which they began."""
    return int(record.id.removeprefix("fo-"))


def _next_id(state: State) -> str:
    last = next(reversed(state.failovers.values()), None)
    return f"fo-{order(last) + 1 if last else 1}"


def _enter(state: State, turn: Turn, move: Move, to: FailoverState, phase: str, note: str = "") -> None:
    """Close the running phase, open the next and write the record."""
    phases = _closed(turn, move)
    move.record = replace(move.record, state=to, phases=(*phases, FailoverPhase(phase, turn.now.wall_ns, note=note)))
    move.phase_began_ns = turn.now.mono_ns
    _keep(state, turn, move)


def _closed(turn: Turn, move: Move) -> tuple[FailoverPhase, ...]:
    phases = move.record.phases
    if not phases or phases[-1].end_wall_ns:
        return phases
    length_ns = turn.now.mono_ns - move.phase_began_ns
    return (*phases[:-1], replace(phases[-1], end_wall_ns=turn.now.wall_ns, length_ns=length_ns))


def _keep(state: State, turn: Turn, move: Move) -> None:
    state.failovers[move.record.id] = move.record
    move.batch = turn.batch
    turn.write(move.record)
    turn.changed(Topic.FAILOVERS)
    turn.unsettled = True


def _finish(state: State, turn: Turn, move: Move, to: FailoverState, note: str) -> None:
    phases = _closed(turn, move)
    if note and phases:
        phases = (*phases[:-1], replace(phases[-1], note=note))
    move.record = replace(move.record, state=to, end_wall_ns=turn.now.wall_ns, phases=phases)
    _keep(state, turn, move)
    state.move = None
    turn.journal(
        f"failover-{to.name.lower()}",
        f"{move.record.move.name.lower()} move to {move.record.to_region or 'nobody'}: {to.name.lower()}"
        + (f" ({note})" if note else ""),
        Severity.INFO if to is FailoverState.SUCCEEDED else Severity.WARNING,
        region=move.record.to_region,
        epoch=move.record.epoch,
        failover_id=move.record.id,
    )


def _prune(state: State, turn: Turn) -> None:
    while len(state.failovers) > FAILOVERS_KEPT_MAX:
        oldest = next(iter(state.failovers))
        del state.failovers[oldest]
        turn.drop(FailoverRecord.kind, oldest)


def deadlines(state: State) -> list[int]:
    """When time alone will change something here."""
    found: list[int] = []
    move = state.move
    lease = state.authority
    if move is not None:
        found += [at for at in (move.deadline_ns if move.freeze_id else 0, move.not_before_ns) if at]
        return found
    if lease.free_since_ns is not None:
        found.append(lease.free_since_ns + state.policy.grace_ns)
    active = state.regions.get(lease.record.accepted_region)
    if active is not None and active.verdict.status is RegionStatus.DOWN:
        found.append(active.since_ns + state.policy.grace_ns)
    if state.eligible_since_ns is not None and lease.record.phase is LeasePhase.NONE:
        found.append(state.eligible_since_ns + state.policy.first_wait_ns)
    return found

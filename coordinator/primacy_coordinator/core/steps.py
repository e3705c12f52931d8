"""Writing down a move: its record, its timed phases, its end, and what is learned from it."""

from __future__ import annotations

from dataclasses import replace

from primacy_wire.messages import HookRan, Thaw

from primacy_coordinator.core import brake, damping, overrides
from primacy_coordinator.core.effects import Severity, Topic
from primacy_coordinator.core.election import Ranking
from primacy_coordinator.core.events import MoveActive
from primacy_coordinator.core.model import (
    FailoverKind,
    FailoverPhase,
    FailoverRecord,
    FailoverState,
    HookRun,
    Price,
)
from primacy_coordinator.core.state import Move, Session, State
from primacy_coordinator.core.turn import Turn

FAILOVERS_KEPT_MAX = 1000
HOOKS_KEPT_MAX = 20
"""Runs of hooks that are kept with a move: the newest."""
FREEZE_PART_USED = 0.8
"""Share of a freeze within which the release must be decided, so that it arrives while the freeze still stands."""


def is_put_off(state: State) -> bool:
    """Whether automatic elections wait: an operator paused them, or the coordinator doubts itself."""
    return state.self_doubt is not None or overrides.is_paused(state)


def price_of(best: Ranking) -> Price | None:
    """What the move to the winner costs."""
    return next((c.price for c in best.candidates if c.region == best.winner), None)


def begin(
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
        price=price_of(checked) if checked else None,
        override_rules=command.override_rules if command else (),
    )
    move = Move(record, state.policy, now.mono_ns, override_rules=command.override_rules if command else ())
    state.move = move
    names = {
        FailoverState.FREEZING: "freeze",
        FailoverState.RELEASING: "release",
        FailoverState.WAITING: "wait",
        FailoverState.AWAITING_APPROVAL: "approval",
    }
    turn.journal(
        "failover-started",
        f"{kind.name.lower()} move from {from_region or 'nobody'}: {cause}",
        Severity.WARNING if kind is FailoverKind.AUTOMATIC else Severity.INFO,
        region=from_region,
        failover_id=record.id,
    )
    enter(state, turn, move, first, names[first])
    _prune(state, turn)
    return move


def order(record: FailoverRecord) -> int:
    """Failovers are numbered in the order in which they began."""
    return int(record.id.removeprefix("fo-"))


def _next_id(state: State) -> str:
    last = next(reversed(state.failovers.values()), None)
    return f"fo-{order(last) + 1 if last else 1}"


def enter(state: State, turn: Turn, move: Move, to: FailoverState, phase: str, note: str = "") -> None:
    """Close the running phase, open the next and write the record."""
    phases = _closed(turn, move)
    move.record = replace(move.record, state=to, phases=(*phases, FailoverPhase(phase, turn.now.wall_ns, note=note)))
    move.phase_began_ns = turn.now.mono_ns
    keep(state, turn, move)


def _closed(turn: Turn, move: Move) -> tuple[FailoverPhase, ...]:
    phases = move.record.phases
    if not phases or phases[-1].end_wall_ns:
        return phases
    length_ns = turn.now.mono_ns - move.phase_began_ns
    return (*phases[:-1], replace(phases[-1], end_wall_ns=turn.now.wall_ns, length_ns=length_ns))


def keep(state: State, turn: Turn, move: Move) -> None:
    """Write the record as it is now."""
    state.failovers[move.record.id] = move.record
    move.batch = turn.batch
    turn.write(move.record)
    turn.changed(Topic.FAILOVERS)
    turn.unsettled = True


def finish(state: State, turn: Turn, move: Move, to: FailoverState, note: str) -> None:
    phases = _closed(turn, move)
    if note and phases:
        phases = (*phases[:-1], replace(phases[-1], note=note))
    move.record = replace(move.record, state=to, end_wall_ns=turn.now.wall_ns, phases=phases, approval_until_wall_ns=0)
    keep(state, turn, move)
    state.move = None
    state.better = None
    brake.hand_back(state, turn)
    _remember(state, turn, move.record)
    turn.journal(
        f"failover-{to.name.lower()}",
        f"{move.record.move.name.lower()} move to {move.record.to_region or 'nobody'}: {to.name.lower()}"
        + (f" ({note})" if note else ""),
        Severity.INFO if to is FailoverState.SUCCEEDED else Severity.WARNING,
        region=move.record.to_region,
        epoch=move.record.epoch,
        failover_id=move.record.id,
    )


def _remember(state: State, turn: Turn, record: FailoverRecord) -> None:
    """A move that came of itself: who lost the lease by failure is held down, and further moves cool down."""
    if record.state is not FailoverState.SUCCEEDED:
        return
    for region in state.regions.values():
        region.unanswered = 0  # Whoever passed an epoch by is asked again in the next move, unless a rule refuses it.
    lost = state.regions.get(record.from_region)
    if record.move is FailoverKind.AUTOMATIC and lost is not None and record.from_region != record.to_region:
        damping.hold_down(state, turn, lost, "it lost the lease by failure")
    if record.move in (FailoverKind.AUTOMATIC, FailoverKind.FAILBACK):
        damping.cool_down(state, turn)


def _prune(state: State, turn: Turn) -> None:
    while len(state.failovers) > FAILOVERS_KEPT_MAX:
        oldest = next(iter(state.failovers))
        del state.failovers[oldest]
        turn.drop(FailoverRecord.kind, oldest)


def begin_freeze(state: State, turn: Turn, move: Move) -> None:
    """A planned move stops writes first, as soon as it is durable."""
    move.freeze_id = move.record.id
    move.deadline_ns = turn.now.mono_ns + int(state.policy.switchover_timeout_ns * FREEZE_PART_USED)
    turn.unsettled = True


def thaw(state: State, turn: Turn, move: Move, note: str) -> None:
    for session in state.sessions.values():
        if session.region == move.record.from_region:
            turn.send(session.number, Thaw(move.freeze_id, state.store_id))
    finish(state, turn, move, FailoverState.ABORTED, note)


def on_hook(state: State, turn: Turn, session: Session, message: HookRan) -> None:
    """What a hook printed belongs to the history of the move that its epoch came from."""
    record = next((r for r in reversed(state.failovers.values()) if r.epoch == message.epoch), None)
    if message.hook == "on_demote":
        # It ends an epoch: the move away from there, once it is known.
        record = state.move.record if state.move is not None else record
    turn.journal(
        "hook-ran",
        f"{message.hook} of {session.key} {message.outcome} after {message.length_ns / 1e9:.1f} s",
        Severity.INFO if message.outcome == "succeeded" else Severity.CRITICAL,
        region=session.region,
        epoch=message.epoch,
        failover_id=record.id if record is not None else "",
        inputs=message,
    )
    _note_failure(state, turn, session, message)
    if record is None:
        return
    run = HookRun(
        session.key,
        message.hook,
        message.outcome,
        message.exit_code,
        message.output,
        turn.now.wall_ns,
        message.length_ns,
    )
    record = replace(record, hooks=(*record.hooks, run)[-HOOKS_KEPT_MAX:])
    if state.move is not None and state.move.record.id == record.id:
        state.move.record = record
    state.failovers[record.id] = record
    turn.write(record)
    turn.changed(Topic.FAILOVERS)


def _note_failure(state: State, turn: Turn, session: Session, message: HookRan) -> None:
    """Why a promotion failed: a report may tell of the release before its reason comes."""
    if message.hook != "on_promote" or message.outcome == "succeeded":
        return
    last = message.output.strip().rpartition("\n")[2]
    reason = f"on_promote {message.outcome}" + (f": {last}" if last else "")
    move, region = state.move, state.regions.get(session.region)
    if move is not None and message.epoch == state.authority.record.epoch:
        move.failure = move.failure or reason
    elif region is not None:
        damping.learn_why(state, turn, region, reason)

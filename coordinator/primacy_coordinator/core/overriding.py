"""Commands that set overrides and end them: each is checked whole, and refused without a trace or carried out."""

from __future__ import annotations

import math
from dataclasses import replace

from primacy_coordinator.core import authority, commands, moves, overrides, ranking
from primacy_coordinator.core.effects import Refusal, RefusalKind, Severity
from primacy_coordinator.core.events import (
    CordonRegion,
    DrainRegion,
    MoveActive,
    PauseElection,
    PinWeights,
    ResumeElection,
    UncordonRegion,
    UndrainRegion,
    UnpinWeights,
)
from primacy_coordinator.core.model import (
    OVERRIDE_NS_DEFAULT,
    OVERRIDE_NS_MAX,
    LeasePhase,
    OverrideKind,
    OverrideRecord,
)
from primacy_coordinator.core.state import State
from primacy_coordinator.core.turn import Turn
from primacy_coordinator.core.views import DrainPlan, OverrideView

SHARES_TOLERANCE = 1e-6


def _record(
    state: State,
    turn: Turn,
    what: OverrideKind,
    region: str,
    command: DrainRegion | CordonRegion | PauseElection | PinWeights,
) -> OverrideRecord | Refusal:
    """The override that a command asks for, or what is wrong with it."""
    wall_ns = state.wall(turn.now.mono_ns)
    expire_ns = command.expire_wall_ns if command.expire_wall_ns is not None else wall_ns + OVERRIDE_NS_DEFAULT
    wrong: list[tuple[str, str]] = []
    if not command.reason.strip():
        wrong.append(("reason", "must say why: whoever is paged next reads it"))
    if expire_ns <= wall_ns:
        wrong.append(("expireTime", "must be in the future"))
    elif expire_ns > wall_ns + OVERRIDE_NS_MAX:
        wrong.append(("expireTime", f"must be at most {OVERRIDE_NS_MAX // 3_600_000_000_000} h from now"))
    if wrong:
        return Refusal(RefusalKind.INVALID, "OVERRIDE", "the override cannot be set", tuple(wrong))
    return OverrideRecord(what, region, command.reason, command.owner, wall_ns, expire_ns)


def _view(state: State, turn: Turn, key: str) -> OverrideView:
    override = state.overrides[key]
    return OverrideView(override.record, max(0, override.expire_ns - turn.now.mono_ns))


def _not_set(rule: str, what: str) -> Refusal:
    return Refusal(RefusalKind.PRECONDITION, rule, f"{what}: `primacy overrides` shows what is set")


# ---- drain


def drain(state: State, turn: Turn, command: DrainRegion) -> None:
    """Take traffic off a region; the active one is moved away from first."""
    if command.name not in state.regions:
        turn.reply(command.request, refusal=commands.unknown_region(command.name))
        return
    wanted = _record(state, turn, OverrideKind.DRAIN, command.name, command)
    refusal = commands.unknown_rules(command.override_rules)
    if isinstance(wanted, Refusal):
        refusal = refusal or wanted
    present = overrides.find(state, OverrideKind.DRAIN, command.name)
    if refusal is None and present is None:
        refusal = commands.too_few_left(state, command.name, command.override_rules)
    if refusal is not None or isinstance(wanted, Refusal):
        turn.reply(command.request, refusal=refusal)
        return
    if present is not None:
        kept = replace(present.record, reason=wanted.reason, owner=wanted.owner, expire_wall_ns=wanted.expire_wall_ns)
        _finish_drain(state, turn, command, replace(kept, warned=False), "", ("set its reason and its end anew",))
        return
    ramp = f"take its reads down over {state.policy.drain_time_ns / 1e9:g} s"
    if not _needs_move(state, turn, command.name):
        _finish_drain(state, turn, command, wanted, "", (ramp,))
        return
    if state.move is not None and state.move.record.from_region == command.name:
        running = state.move.record.id
        steps = (f"wait for {running}, which moves the lease away from it already", ramp)
        _finish_drain(state, turn, command, replace(wanted, switchover_id=running), running, steps)
        return
    move = MoveActive(
        command.request,
        reason=f"drain: {command.reason}",
        owner=command.owner,
        override_rules=command.override_rules,
    )
    refusal = commands.refusal_of_move(state, turn, move)
    if refusal is not None:
        turn.reply(command.request, refusal=refusal)
        return
    best = ranking.rank_now(state, turn.now.mono_ns, True, "", (command.name,), command.override_rules)
    if not best.winner:
        if "NO_TARGET" not in command.override_rules:
            turn.reply(command.request, refusal=commands.no_target(move, best))
            return
        steps = (f"leave the lease with {command.name}, for nobody can take it", ramp)
        _finish_drain(state, turn, command, replace(wanted, traffic_only=True), "", steps)
        return
    steps = (f"move the lease to {best.winner} by a planned switchover", ramp)
    if command.validate_only:
        _finish_drain(state, turn, command, wanted, "", steps)
        return
    begun = moves.begin_command(state, turn, move, best)
    _finish_drain(state, turn, command, replace(wanted, switchover_id=begun.record.id), begun.record.id, steps)


def _needs_move(state: State, turn: Turn, region: str) -> bool:
    """Whether the region is active, or is about to be."""
    lease = state.authority.record
    offered = state.move is not None and lease.phase is LeasePhase.OFFERED and lease.holder == region
    return offered or (authority.is_serving(state, turn.now.mono_ns) and lease.accepted_region == region)


def _finish_drain(
    state: State, turn: Turn, command: DrainRegion, record: OverrideRecord, failover_id: str, steps: tuple[str, ...]
) -> None:
    if not command.validate_only:
        overrides.put(state, turn, record)
        if record.traffic_only:
            turn.journal(
                "drained-while-active",
                f"{command.name} gives its traffic away and stays active: no other region can take the lease",
                Severity.CRITICAL,
                region=command.name,
            )
    turn.reply(command.request, DrainPlan(command.name, state.failovers.get(failover_id), steps))


def undrain(state: State, turn: Turn, command: UndrainRegion) -> None:
    _lift(state, turn, OverrideKind.DRAIN, command.request, command.name, command.owner, "undrained", "NOT_DRAINED")


# ---- cordon


def cordon(state: State, turn: Turn, command: CordonRegion) -> None:
    if command.name not in state.regions:
        turn.reply(command.request, refusal=commands.unknown_region(command.name))
        return
    wanted = _record(state, turn, OverrideKind.CORDON, command.name, command)
    if isinstance(wanted, Refusal):
        turn.reply(command.request, refusal=wanted)
        return
    if not command.validate_only:
        overrides.put(state, turn, wanted)
    turn.reply(command.request)


def uncordon(state: State, turn: Turn, command: UncordonRegion) -> None:
    _lift(state, turn, OverrideKind.CORDON, command.request, command.name, command.owner, "uncordoned", "NOT_CORDONED")


def _lift(
    state: State, turn: Turn, what: OverrideKind, request: int, name: str, owner: str, kind: str, rule: str
) -> None:
    if name not in state.regions:
        turn.reply(request, refusal=commands.unknown_region(name))
        return
    override = overrides.find(state, what, name)
    if override is None:
        turn.reply(request, refusal=_not_set(rule, f"{name} is not {what.name.lower()}ed"))
        return
    overrides.lift(state, turn, override, kind, f"ended by {owner or 'an operator'}")
    turn.reply(request)


# ---- pause


def pause(state: State, turn: Turn, command: PauseElection) -> None:
    wanted = _record(state, turn, OverrideKind.PAUSE, "", command)
    if isinstance(wanted, Refusal):
        turn.reply(command.request, refusal=wanted)
    elif command.validate_only:
        turn.reply(command.request, OverrideView(wanted, wanted.expire_wall_ns - wanted.start_wall_ns))
    else:
        overrides.put(state, turn, wanted)
        turn.reply(command.request, _view(state, turn, wanted.key))


def resume(state: State, turn: Turn, command: ResumeElection) -> None:
    override = overrides.find(state, OverrideKind.PAUSE)
    if override is None:
        turn.reply(command.request, refusal=_not_set("NOT_PAUSED", "elections are not paused"))
        return
    view = _view(state, turn, override.record.key)
    overrides.lift(state, turn, override, "resumed", f"ended by {command.owner or 'an operator'}")
    turn.reply(command.request, view)


# ---- pin


def pin(state: State, turn: Turn, command: PinWeights) -> None:
    refusal = _wrong_shares(state, command)
    wanted = _record(state, turn, OverrideKind.PIN, command.client_region, command)
    if refusal is None and isinstance(wanted, Refusal):
        refusal = wanted
    if refusal is not None or isinstance(wanted, Refusal):
        turn.reply(command.request, refusal=refusal)
        return
    wanted = replace(wanted, shares=tuple(sorted(command.shares)))
    if command.validate_only:
        turn.reply(command.request, OverrideView(wanted, wanted.expire_wall_ns - wanted.start_wall_ns))
        return
    overrides.put(state, turn, wanted)
    turn.reply(command.request, _view(state, turn, wanted.key))


def _wrong_shares(state: State, command: PinWeights) -> Refusal | None:
    for name in (command.client_region, *(name for name, _ in command.shares)):
        if name and name not in state.regions:
            return commands.unknown_region(name)
    wrong = [
        (f"weights.{name}", "must be from 0 to 1")
        for name, share in command.shares
        if not (math.isfinite(share) and 0 <= share <= 1)
    ]
    total = sum(share for _, share in command.shares)
    if not wrong and abs(total - 1) > SHARES_TOLERANCE:
        wrong.append(("weights", f"must add up to 1, and add up to {total:g}"))
    if wrong:
        return Refusal(RefusalKind.INVALID, "WEIGHTS", "these weights cannot be pinned", tuple(wrong))
    return None


def unpin(state: State, turn: Turn, command: UnpinWeights) -> None:
    if command.client_region and command.client_region not in state.regions:
        turn.reply(command.request, refusal=commands.unknown_region(command.client_region))
        return
    override = overrides.find(state, OverrideKind.PIN, command.client_region)
    if override is None:
        what = f"the reads of {command.client_region or 'all client regions'} are not pinned"
        turn.reply(command.request, refusal=_not_set("NOT_PINNED", what))
        return
    view = _view(state, turn, override.record.key)
    overrides.lift(state, turn, override, "unpinned", f"ended by {command.owner or 'an operator'}")
    turn.reply(command.request, view)

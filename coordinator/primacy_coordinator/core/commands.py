"""Commands of operators: each is checked whole, and refused without a trace or carried out.

A refusal says which rule refused, with the names that DESIGN binds, so that programs can act on it.
"""

from __future__ import annotations

from dataclasses import replace

from primacy_coordinator.core import authority, election, lineage, moves, overrides, ranking, readings, registry
from primacy_coordinator.core import steps as stepping
from primacy_coordinator.core.effects import Refusal, RefusalKind, Topic
from primacy_coordinator.core.events import (
    DeregisterRegion,
    MoveActive,
    PrepareDelete,
    Recover,
    RegisterRegion,
    SetPolicy,
    UpdateRegion,
)
from primacy_coordinator.core.model import (
    DrainState,
    FailoverKind,
    FailoverRecord,
    FailoverState,
    LeasePhase,
    PolicyRecord,
    RegionSettings,
    margin_up,
)
from primacy_coordinator.core.policy import check_policy
from primacy_coordinator.core.state import State
from primacy_coordinator.core.turn import Turn
from primacy_coordinator.core.views import MovePlan

SETTING_FIELDS = {
    "location": ("latitude", "longitude"),
    "priority": ("priority",),
    "capacity": ("capacity",),
    "endpoint": ("endpoint",),
    "labels": ("labels",),
}
"""Paths of an update mask -> fields of `RegionSettings`."""


def _refuse(kind: RefusalKind, rule: str, message: str, **metadata: str) -> Refusal:
    return Refusal(kind, rule, message, metadata=tuple(sorted(metadata.items())))


def unknown_region(name: str) -> Refusal:
    return _refuse(
        RefusalKind.NOT_FOUND,
        "REGION_NOT_FOUND",
        f"there is no region {name!r}: `primacy regions list` shows the registered ones",
        region=name,
    )


def _stale(current: int) -> Refusal:
    return _refuse(
        RefusalKind.STALE,
        "ETAG_MISMATCH",
        "it was changed since it was read: read it again and repeat",
        etag=str(current),
    )


def register(state: State, turn: Turn, command: RegisterRegion) -> None:
    if command.name in state.regions:
        refusal = _refuse(
            RefusalKind.ALREADY_EXISTS,
            "REGION_EXISTS",
            f"region {command.name!r} is registered already: use UpdateRegion to change it",
            region=command.name,
        )
        turn.reply(command.request, refusal=refusal)
        return
    if command.validate_only:
        turn.reply(command.request)
        return
    registry.register(state, turn, command.name, command.settings)
    turn.reply(command.request, readings.region_view(state, turn.now, command.name))


def update(state: State, turn: Turn, command: UpdateRegion) -> None:
    region = state.regions.get(command.name)
    if region is None:
        turn.reply(command.request, refusal=unknown_region(command.name))
        return
    if command.etag and command.etag != str(region.record.version):
        turn.reply(command.request, refusal=_stale(region.record.version))
        return
    bad = [path for path in command.paths if path not in SETTING_FIELDS]
    if bad:
        refusal = Refusal(
            RefusalKind.INVALID,
            "UPDATE_MASK",
            "the update mask names what cannot be set",
            tuple(("updateMask", f"{path!r} is none of {', '.join(SETTING_FIELDS)}") for path in bad),
        )
        turn.reply(command.request, refusal=refusal)
        return
    fields = [name for path in command.paths for name in SETTING_FIELDS[path]]
    wanted: RegionSettings = replace(
        region.record.operated, **{name: getattr(command.settings, name) for name in fields}
    )
    if wanted != region.record.operated and not command.validate_only:
        registry.operate(state, turn, region, wanted)
    view = readings.region_view(state, turn.now, command.name)
    assert view is not None
    turn.reply(command.request, replace(view, record=replace(view.record, operated=wanted)))


def deregister(state: State, turn: Turn, command: DeregisterRegion) -> None:
    region = state.regions.get(command.name)
    if region is None:
        turn.reply(command.request, refusal=unknown_region(command.name))
        return
    record = state.authority.record
    live = [a.record.key for a in region.agents.values() if a.session is not None]
    refusal = None
    if command.etag and command.etag != str(region.record.version):
        refusal = _stale(region.record.version)
    elif record.holder == command.name and not authority.is_free(state, turn.now.mono_ns):
        refusal = _refuse(
            RefusalKind.PRECONDITION,
            "ACTIVE_REGION",
            f"{command.name} holds the active lease: move it first with `primacy failover`",
            region=command.name,
        )
    elif state.move is not None and command.name in (state.move.record.to_region, state.move.record.from_region):
        refusal = _refuse(
            RefusalKind.PRECONDITION,
            "MOVE_IN_PROGRESS",
            f"failover {state.move.record.id} concerns {command.name}: wait until it is done",
            failover=state.move.record.id,
        )
    elif live and "LIVE_SESSIONS" not in command.override_rules:
        refusal = _refuse(
            RefusalKind.PRECONDITION,
            "LIVE_SESSIONS",
            f"agents of {command.name} are connected ({', '.join(sorted(live))}): stop them first, "
            "or override the rule LIVE_SESSIONS",
            region=command.name,
        )
    refusal = unknown_rules(command.override_rules) or refusal
    if refusal is None and overrides.drain_state(state, command.name) is DrainState.NONE:
        refusal = too_few_left(state, command.name, command.override_rules)
    if refusal is None and not command.validate_only:
        registry.deregister(state, turn, region)
    turn.reply(command.request, refusal=refusal)


def too_few_left(state: State, name: str, override_rules: tuple[str, ...]) -> Refusal | None:
    """Refuses to take one more region out of service than the policy allows."""
    drained = [other for other in state.regions if overrides.drain_state(state, other) is not DrainState.NONE]
    left = len(state.regions) - len({*drained, name})
    if left >= state.policy.undrained_regions_min or "MIN_UNDRAINED" in override_rules:
        return None
    return _refuse(
        RefusalKind.PRECONDITION,
        "MIN_UNDRAINED",
        f"that would leave {left} undrained regions, and the policy asks for {state.policy.undrained_regions_min}: "
        "undrain another one first, or override the rule MIN_UNDRAINED",
        region=name,
    )


def set_policy(state: State, turn: Turn, command: SetPolicy) -> None:
    problems = check_policy(command.policy)
    if problems:
        turn.reply(
            command.request,
            refusal=Refusal(RefusalKind.INVALID, "POLICY", "the policy does not fit together", problems),
        )
        return
    if command.etag and command.etag != str(state.policy_record.version):
        turn.reply(command.request, refusal=_stale(state.policy_record.version))
        return
    wanted = PolicyRecord(command.policy, state.policy_record.version + 1)
    if not command.validate_only and (command.policy != state.policy or not state.policy_stored):
        state.policy_record = wanted
        state.policy_stored = True
        turn.write(wanted)
        turn.journal(
            "policy-set", f"policy version {wanted.version} by {command.owner or 'an operator'}", inputs=command.policy
        )
        turn.changed(Topic.POLICY)
        state.weights_dirty = True
        for region in state.regions.values():
            region.recheck_ns = turn.now.mono_ns
        turn.unsettled = True
    turn.reply(command.request, wanted if command.validate_only else state.policy_record)


def move_active(state: State, turn: Turn, command: MoveActive) -> None:
    """`Failover`: check, then begin; the reply is the plan, and the move outlives the call."""
    refusal = refusal_of_move(state, turn, command)
    if refusal is not None:
        turn.reply(command.request, refusal=refusal)
        return
    now_ns = turn.now.mono_ns
    serving = authority.is_serving(state, now_ns)
    active = state.authority.record.accepted_region if serving else ""
    best = ranking.rank_now(
        state,
        now_ns,
        serving and not command.forced,
        command.target,
        (active,) if active else (),
        command.override_rules,
        command.forced,
    )
    if not best.winner:
        turn.reply(command.request, refusal=no_target(command, best))
        return
    wait_ns = max(0, authority.hold_end_ns(state) - now_ns)
    steps = _steps(state, command, active, best.winner, wait_ns)
    if command.validate_only:
        kind = FailoverKind.FORCED if command.forced else FailoverKind.PLANNED
        planned = FailoverRecord(
            id="",
            move=kind,
            state=FailoverState.FREEZING if active and not command.forced else FailoverState.WAITING,
            from_region=active,
            to_region=best.winner,
            epoch=state.authority.record.epoch + 1,
            cause="dry run",
            start_wall_ns=turn.now.wall_ns,
            candidates=best.candidates,
            explanation=best.explanation,
            reason=command.reason,
            owner=command.owner,
            requested_target=command.target,
            forced=command.forced,
            policy_version=state.policy_record.version,
            price=stepping.price_of(best),
            override_rules=command.override_rules,
        )
        turn.reply(command.request, MovePlan(planned, kind, steps, wait_ns))
        return
    move = moves.begin_command(state, turn, command, best)
    turn.reply(command.request, MovePlan(move.record, move.record.move, steps, wait_ns))


def refusal_of_move(state: State, turn: Turn, command: MoveActive) -> Refusal | None:
    now_ns = turn.now.mono_ns
    lease = state.authority
    unknown = unknown_rules(command.override_rules)
    if unknown is not None:
        return unknown
    if command.holder_fenced and not command.forced:
        return Refusal(
            RefusalKind.INVALID,
            "HOLDER_FENCED",
            "fencing by hand belongs to a forced failover",
            (("holderFenced", "needs mode FAILOVER_MODE_FORCED"),),
        )
    if command.target and command.target not in state.regions:
        return unknown_region(command.target)
    if state.doubt is not None:
        return _refuse(
            RefusalKind.PRECONDITION,
            "STATE_DOUBT",
            f"the store is in doubt ({state.doubt.record.reason}): run `primacy recover`",
        )
    if command.if_epoch is not None and command.if_epoch != lease.durable.epoch:
        return _refuse(
            RefusalKind.PRECONDITION,
            "EPOCH_MISMATCH",
            f"the epoch is {lease.durable.epoch}, not {command.if_epoch}: look at `primacy status` again",
            epoch=str(lease.durable.epoch),
        )
    move = state.move
    if move is not None and not (command.forced and _may_take_over(move.record.state, command)):
        return _refuse(
            RefusalKind.PRECONDITION,
            "MOVE_IN_PROGRESS",
            f"failover {move.record.id} is under way ({move.record.state.name.lower()}): "
            f"`primacy explain {move.record.id}` shows it",
            failover=move.record.id,
        )
    if command.holder_fenced and command.holder_fenced != lease.record.holder:
        return _refuse(
            RefusalKind.PRECONDITION,
            "NOT_THE_HOLDER",
            f"{command.holder_fenced} is not the holder of the recorded lease ({lease.record.holder or 'nobody is'})",
            holder=lease.record.holder,
        )
    serving = authority.is_serving(state, now_ns)
    if serving and command.target == lease.record.accepted_region and move is None:
        return _refuse(
            RefusalKind.PRECONDITION, "ALREADY_ACTIVE", f"{command.target} is active already", region=command.target
        )
    if serving and not command.forced and now_ns < lease.wait_until_ns:
        return _refuse(
            RefusalKind.UNAVAILABLE,
            "RESTART_WAIT",
            "the coordinator has just started and waits out what it may have granted: repeat in a moment",
            retry_delay_ns=str(lease.wait_until_ns - now_ns),
        )
    return None


def unknown_rules(rules: tuple[str, ...]) -> Refusal | None:
    """Refuses rules that do not exist: a typo must not pass as an override."""
    unknown = [rule for rule in rules if rule not in election.RULES]
    if not unknown:
        return None
    known = ", ".join(sorted(election.RULES))
    return Refusal(
        RefusalKind.INVALID,
        "OVERRIDE_RULES",
        "a rule that does not exist cannot be overridden",
        tuple((f"overrideRules[{rules.index(rule)}]", f"{rule!r} is none of {known}") for rule in unknown),
    )


def _may_take_over(state: FailoverState, command: MoveActive) -> bool:
    """A forced failover takes the place of what can be given up, and of what found nobody; of others by fencing."""
    waiting = (FailoverState.FREEZING, FailoverState.AWAITING_APPROVAL, FailoverState.WAITING)
    return state in waiting or bool(command.holder_fenced)


def no_target(command: MoveActive, best: election.Ranking) -> Refusal:
    if command.target:
        for candidate in best.candidates:
            if candidate.region == command.target and candidate.rule:
                return _refuse(
                    RefusalKind.PRECONDITION,
                    candidate.rule,
                    f"{command.target} cannot become active: {candidate.detail or candidate.rule}",
                    region=command.target,
                )
    return _refuse(RefusalKind.PRECONDITION, "NO_TARGET", f"no region can take over: {best.explanation}")


def _steps(state: State, command: MoveActive, active: str, winner: str, wait_ns: int) -> tuple[str, ...]:
    epoch = state.authority.record.epoch + 1
    steps: list[str] = []
    if active and not command.forced:
        steps.append(f"stop writes in {active}, for at most {state.policy.switchover_timeout_ns / 1e9:g} s")
    if command.holder_fenced:
        steps.append(f"trust that {command.holder_fenced} is fenced, and wait for nothing: I1 is yours to keep")
    elif active or state.authority.record.phase is not LeasePhase.NONE:
        limit_s = max(wait_ns, margin_up(state.policy.lease_ttl_ns, state.policy.drift_ppm) if active else 0) / 1e9
        holder = active or "the last holder"
        steps.append(f"let {holder} release its lease, or wait at most {limit_s:.1f} s for it to run out")
    steps.append(f"grant epoch {epoch} to {winner}")
    return tuple(steps)


def recover(state: State, turn: Turn, command: Recover) -> None:
    if command.confirm and state.doubt is None:
        turn.reply(
            command.request,
            refusal=_refuse(
                RefusalKind.PRECONDITION, "NOT_IN_DOUBT", "the store is not in doubt: there is nothing to recover"
            ),
        )
        return
    if command.confirm:
        lineage.confirm(state, turn, command.owner)
    turn.reply(command.request, lineage.plan(state, turn.now))


def prepare_delete(state: State, turn: Turn, command: PrepareDelete) -> None:
    if not authority.is_free(state, turn.now.mono_ns):
        turn.reply(
            command.request,
            refusal=_refuse(
                RefusalKind.PRECONDITION,
                "LEASE_HELD",
                f"{state.authority.record.holder} may still be active: stop its agents and let the lease run out",
            ),
        )
        return
    turn.reply(command.request, state.authority.record.epoch)

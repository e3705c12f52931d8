"""What a region's past says against electing it: damped flapping, hold-down, and the group's cool-down.

Every fall of a region adds one to its penalty, which halves in every `flap_half_life` (the route flap damping of
RFC 2439, without its ceiling). From `flap_limit` on the region is DAMPED, until the penalty is below half of that. All
three rules are soft: they refuse while a region serves, and never keep a group without an active region.
"""

from __future__ import annotations

import math
from dataclasses import replace

from primacy_coordinator.core.effects import Severity
from primacy_coordinator.core.model import DampingRecord, Policy
from primacy_coordinator.core.state import Region, State
from primacy_coordinator.core.turn import Turn

COOL_KEY = ""
"""The record with this region's name keeps the group's cool-down."""


def penalty(past: DampingRecord, wall_ns: int, policy: Policy) -> float:
    """The decayed count of falls."""
    age_ns = max(0, wall_ns - past.at_wall_ns)
    return past.penalty * math.exp2(-age_ns / policy.flap_half_life_ns)


def is_damped(past: DampingRecord, wall_ns: int, policy: Policy) -> bool:
    return past.damped and penalty(past, wall_ns, policy) >= policy.flap_limit / 2


def restored(past: DampingRecord, wall_ns: int, policy: Policy) -> DampingRecord:
    """The past as the store kept it; a clock that was set back meanwhile makes nothing last longer."""
    return replace(
        past,
        at_wall_ns=min(past.at_wall_ns, wall_ns),
        hold_until_wall_ns=min(past.hold_until_wall_ns, wall_ns + policy.hold_down_ns),
    )


def note_fall(state: State, turn: Turn, region: Region, what: str) -> None:
    """The region fell once more."""
    wall_ns = state.wall(turn.now.mono_ns)
    past = region.damping
    count = penalty(past, wall_ns, state.policy) + 1
    damped = count >= state.policy.flap_limit or is_damped(past, wall_ns, state.policy)
    region.damping = replace(past, region=region.record.name, penalty=count, at_wall_ns=wall_ns, damped=damped)
    turn.write(region.damping)
    if damped and not past.damped:
        turn.journal(
            "region-damped",
            f"{region.record.name} is damped: {what}, and it fell {count:.1f} times of late; it is the last to be "
            f"elected for {_clears_in_ns(region.damping, wall_ns, state.policy) / 1e9:.0f} s",
            Severity.WARNING,
            region=region.record.name,
            inputs=region.damping,
        )


def hold_down(state: State, turn: Turn, region: Region, reason: str) -> None:
    """The region lost the lease by failure, or failed to take it."""
    if state.policy.hold_down_ns <= 0:
        return
    until_ns = state.wall(turn.now.mono_ns) + state.policy.hold_down_ns
    region.damping = replace(region.damping, region=region.record.name, hold_until_wall_ns=until_ns, hold_reason=reason)
    turn.write(region.damping)


LOST = "it was lost while it was being promoted"
"""Why a promotion failed, until its agent says better."""


def learn_why(state: State, turn: Turn, region: Region, reason: str) -> None:
    """The agent's word about a promotion that failed came after the epoch had gone on."""
    past = region.damping
    if past.hold_reason == LOST and state.wall(turn.now.mono_ns) < past.hold_until_wall_ns:
        region.damping = replace(past, hold_reason=reason)
        turn.write(region.damping)


def promotion_failed(state: State, turn: Turn, region: Region, reason: str) -> None:
    """The region took an epoch, and its service could not be made active."""
    record = state.authority.record
    hold_down(state, turn, region, reason)
    turn.journal(
        "promotion-failed",
        f"{region.record.name} gave epoch {record.epoch} up again: {reason}",
        Severity.CRITICAL,
        region=region.record.name,
        epoch=record.epoch,
        failover_id=record.failover_id,
    )


def cool_down(state: State, turn: Turn) -> None:
    """The lease moved by itself: no further move for a while, as long as a region serves."""
    if state.policy.cool_down_ns <= 0:
        return
    state.cool_until_wall_ns = state.wall(turn.now.mono_ns) + state.policy.cool_down_ns
    turn.write(DampingRecord(COOL_KEY, hold_until_wall_ns=state.cool_until_wall_ns))


def against(state: State, region: Region, now_ns: int) -> tuple[tuple[str, str], ...]:
    """(rule, detail) of what the past says against electing the region."""
    wall_ns = state.wall(now_ns)
    past = region.damping
    found: list[tuple[str, str]] = []
    if wall_ns < past.hold_until_wall_ns:
        left_s = (past.hold_until_wall_ns - wall_ns) / 1e9
        found.append(("HOLD_DOWN", f"{past.hold_reason}; held down for {left_s:.0f} s more"))
    if is_damped(past, wall_ns, state.policy):
        count = penalty(past, wall_ns, state.policy)
        left_s = _clears_in_ns(past, wall_ns, state.policy) / 1e9
        found.append(("DAMPED", f"it fell {count:.1f} times of late; damped for {left_s:.0f} s more"))
    if wall_ns < state.cool_until_wall_ns:
        left_s = (state.cool_until_wall_ns - wall_ns) / 1e9
        found.append(("COOL_DOWN", f"the lease moved a moment ago; moves cool down for {left_s:.0f} s more"))
    return tuple(found)


def _clears_in_ns(past: DampingRecord, wall_ns: int, policy: Policy) -> int:
    count = penalty(past, wall_ns, policy)
    return int(policy.flap_half_life_ns * max(0.0, math.log2(max(count, 1e-9) / (policy.flap_limit / 2))))


def on_time(state: State, turn: Turn) -> None:
    """Say when a region is damped no more."""
    wall_ns = state.wall(turn.now.mono_ns)
    for region in state.regions.values():
        past = region.damping
        if past.damped and not is_damped(past, wall_ns, state.policy):
            region.damping = replace(past, damped=False)
            turn.write(region.damping)
            turn.journal("region-undamped", f"{region.record.name} is damped no more", region=region.record.name)
            turn.unsettled = True

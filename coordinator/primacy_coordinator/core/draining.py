"""Taking traffic off a region.

DRAINING: reads go down in steps over the policy's `drain_time`, from the moment the drain is set. An active region is
moved away from at the same time, by a planned switchover. Where that is given up, or nobody takes the lease any more,
so is the drain, for half a drain is what nobody asked for, and a group without an active region even less. DRAINED: no
reads are left, the switchover is over, and what was in flight is done or took another `drain_time`.
"""

from __future__ import annotations

from dataclasses import replace

from primacy_coordinator.core import authority, observation, overrides
from primacy_coordinator.core.effects import Severity
from primacy_coordinator.core.model import DONE_STATES, FailoverState, OverrideKind
from primacy_coordinator.core.state import Override, State
from primacy_coordinator.core.turn import Turn


def drain_factor(state: State, region: str, now_ns: int) -> float:
    """How much of its reads a region keeps, 0 to 1; 1: it is not drained."""
    override = overrides.find(state, OverrideKind.DRAIN, region)
    return 1.0 if override is None else overrides.drain_part(state, override, now_ns)


def is_ramping(state: State, now_ns: int) -> bool:
    """Whether some drain's reads still go down: the weights must be looked at with time."""
    return any(overrides.drain_part(state, override, now_ns) > 0 for override in _under_way(state))


def _under_way(state: State) -> list[Override]:
    return [o for o in state.overrides.values() if o.record.what is OverrideKind.DRAIN and not o.record.drained]


def on_time(state: State, turn: Turn) -> None:
    """Take every drain a step on."""
    for override in _under_way(state):
        if override.record.switchover_id and not _is_moved(state, turn, override):
            continue
        _finish(state, turn, override)


def _is_moved(state: State, turn: Turn, override: Override) -> bool:
    """Whether the switchover before a drain is over and has moved the lease; gives the drain up when it has not."""
    record = override.record
    move = state.failovers.get(record.switchover_id)
    running = move is not None and move.state not in DONE_STATES
    if running:
        stuck = state.move is not None and state.move.record is move and state.move.told_stuck
        if stuck and move is not None and move.state is FailoverState.WAITING:
            _abandon(state, turn, override, "nobody else can take the lease")
        return False
    lease = state.authority.record
    if authority.is_serving(state, turn.now.mono_ns) and lease.accepted_region == record.region:
        _abandon(state, turn, override, "it is still active, for its switchover was given up")
        return False
    overrides.keep(state, turn, override, replace(record, switchover_id=""))
    return True


def _abandon(state: State, turn: Turn, override: Override, why: str) -> None:
    record = override.record
    turn.journal(
        "drain-abandoned",
        f"{record.region} is not drained: {why}",
        Severity.WARNING,
        region=record.region,
        failover_id=record.switchover_id,
    )
    overrides.lift(state, turn, override, "undrained", why)


def _finish(state: State, turn: Turn, override: Override) -> None:
    """Call it drained when no reads are left and no work is."""
    now_ns, length_ns = turn.now.mono_ns, state.policy.drain_time_ns
    if overrides.drain_part(state, override, now_ns) > 0:
        return
    record = override.record
    region = state.regions.get(record.region)
    ended_ns = override.began_ns + length_ns
    # What was reported before the last read was taken away says nothing of what is left.
    busy = observation.in_flight(region, ended_ns) if region is not None else -1.0
    if (busy is None or busy > 0) and now_ns < ended_ns + length_ns:
        return
    if busy is None or busy < 0:
        left = "what is in flight is not measured"
    else:
        left = f"{busy:g} requests are still in flight" if busy else "nothing is in flight"
    overrides.keep(state, turn, override, replace(record, drained=True))
    turn.journal("drained", f"{record.region} is drained: it gets no reads, and {left}", region=record.region)


def deadlines(state: State, now_ns: int) -> list[int]:
    length_ns = state.policy.drain_time_ns
    ends = [override.began_ns + part * length_ns for override in _under_way(state) for part in (1, 2)]
    return [at_ns for at_ns in ends if at_ns > now_ns]

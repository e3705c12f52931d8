"""Taking traffic off a region.

DRAINING: reads go down in steps over the policy's `drain_time`, from the moment the drain is set. An active region is
moved away from at the same time, by a planned switchover; if that is given up, so is the drain, for half a drain is
what nobody asked for. DRAINED: no reads are left, the switchover is over, and what was in flight is done, or could not
be measured for another `drain_time`.
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
    if override is None:
        return 1.0
    if override.record.drained:
        return 0.0
    return _factor(state, override, now_ns)


def _factor(state: State, override: Override, now_ns: int) -> float:
    length_ns = state.policy.drain_time_ns
    step_ns = max(1, min(state.policy.report_interval_ns, length_ns // 4))
    steps = length_ns // step_ns
    if steps <= 0:
        return 0.0
    # The first step is taken at once.
    return max(0.0, 1 - ((now_ns - override.began_ns) // step_ns + 1) / (steps + 1))


def is_ramping(state: State, now_ns: int) -> bool:
    """Whether some drain's reads still go down: the weights must be looked at with time."""
    return any(
        o.record.what is OverrideKind.DRAIN and not o.record.drained and _factor(state, o, now_ns) > 0
        for o in state.overrides.values()
    )


def on_time(state: State, turn: Turn) -> None:
    """Take every drain a step on."""
    for override in list(state.overrides.values()):
        if override.record.what is OverrideKind.DRAIN and not override.record.drained:
            _advance(state, turn, override)


def _advance(state: State, turn: Turn, override: Override) -> None:
    record = override.record
    now_ns = turn.now.mono_ns
    if record.switchover_id:
        move = state.failovers.get(record.switchover_id)
        if move is not None and move.state not in DONE_STATES:
            return
        gone = move is None or move.state is FailoverState.SUCCEEDED
        if not gone and authority.is_serving(state, now_ns) and state.authority.record.accepted_region == record.region:
            turn.journal(
                "drain-abandoned",
                f"{record.region} is still active: its switchover was given up, and so is its drain",
                Severity.WARNING,
                region=record.region,
                failover_id=record.switchover_id,
            )
            overrides.lift(state, turn, override, "undrained", "the switchover before it was given up")
            return
        overrides.keep(state, turn, override, replace(record, switchover_id=""))
        record = override.record
    if _factor(state, override, now_ns) > 0:
        return
    region = state.regions.get(record.region)
    busy = observation.in_flight(region) if region is not None else 0.0
    waited_ns = now_ns - override.began_ns
    if busy == 0 or waited_ns >= 2 * state.policy.drain_time_ns:
        overrides.keep(state, turn, override, replace(record, drained=True))
        left = "nothing is in flight" if busy == 0 else "what is in flight is not measured"
        if busy > 0:
            left = f"{busy:g} requests are still in flight"
        turn.journal("drained", f"{record.region} is drained: it gets no reads, and {left}", region=record.region)


def deadlines(state: State, now_ns: int) -> list[int]:
    found: list[int] = []
    for override in state.overrides.values():
        if override.record.what is OverrideKind.DRAIN and not override.record.drained:
            ends = (state.policy.drain_time_ns, 2 * state.policy.drain_time_ns)
            found += [override.began_ns + length_ns for length_ns in ends if override.began_ns + length_ns > now_ns]
    return found

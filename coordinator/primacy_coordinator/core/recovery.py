"""A region's way back after it was down, in steps that everybody can follow.

    returned -> probes pass -> caught up -> stable -> ramped -> eligible

Each is journaled once it is reached, and what is still missing stands in the status reason. Only the hold between
"probes pass" and "stable" is part of the verdict (`observation`); the others show what rules and weights do anyway. A
region whose lag nobody measures has no "caught up". A break in its health puts it back to where its agents are heard.
"""

from __future__ import annotations

from primacy_wire.messages import Lag

from primacy_coordinator.core import damping, observation, overrides
from primacy_coordinator.core.effects import Topic
from primacy_coordinator.core.log import progress
from primacy_coordinator.core.model import RegionStatus
from primacy_coordinator.core.pricing import exceeded
from primacy_coordinator.core.ramps import slow_start_part
from primacy_coordinator.core.routing import SERVES
from primacy_coordinator.core.state import Region, State
from primacy_coordinator.core.turn import Turn

STEPS = ("returned", "probes pass", "caught up", "stable", "ramped", "eligible")
LAST = frozenset({"ramped", "eligible"})
WELL = frozenset({RegionStatus.RECOVERING, RegionStatus.HEALTHY, RegionStatus.DEGRADED})


def slow_start_factor(state: State, region: Region, now_ns: int) -> float:
    """What a region gets of its share of reads while it comes back, 0 to 1; 1: it is not coming back.

    Before it is stable it gets no more than what shows whether it works.
    """
    length_ns = state.policy.slow_start_ns
    if region.verdict.status is RegionStatus.RECOVERING:
        return slow_start_part(now_ns, length_ns, now_ns)
    return 1.0 if region.ramp_since_ns is None else slow_start_part(region.ramp_since_ns, length_ns, now_ns)


def is_ramping(state: State) -> bool:
    """Whether some region's reads grow: the weights must be looked at with time."""
    return any(region.ramp_since_ns is not None for region in state.regions.values())


def restore(state: State, region: Region, now_ns: int) -> None:
    """Take a region's way back up again after a start."""
    if region.recovering:
        region.recovery = ()
    elif _against(state, region, now_ns):
        region.recovery = STEPS[:-1]  # All that it lacks is that it may be elected again.


def on_time(state: State, turn: Turn) -> None:
    """End slow starts, and tell the steps that regions have reached."""
    now_ns = turn.now.mono_ns
    for region in state.regions.values():
        grows = region.verdict.status in SERVES and slow_start_factor(state, region, now_ns) < 1
        if region.ramp_since_ns is not None and not grows:
            region.ramp_since_ns = None
            state.weights_dirty = True
        if region.recovery is not None:
            _tell(state, turn, region)


def _tell(state: State, turn: Turn, region: Region) -> None:
    now_ns = turn.now.mono_ns
    reached = _reached(state, region, now_ns)
    done = (region.recovery or ()) if reached else ()
    for step in STEPS:
        if step in done or step not in reached:
            continue
        done = (*done, step)
        name = region.record.name
        turn.journal("recovery-step", f"{name}: {step}: {_meaning(state, step)}", region=name)
        turn.changed(Topic.REGIONS)
    region.recovery = None if set(done) >= LAST else done


def _reached(state: State, region: Region, now_ns: int) -> set[str]:
    found = set()
    well = region.verdict.status in WELL
    # What was said before it was lost does not count.
    if well or (observation.is_heard(state, region, now_ns) and _is_heard_since(region)):
        found.add("returned")
    if not well:
        return found
    found.add("probes pass")
    if progress.data_lag(state, region, now_ns) != Lag() and not _behind(state, region, now_ns):
        found.add("caught up")
    if region.recovering:
        return found
    found.add("stable")
    if region.ramp_since_ns is None:
        found.add("ramped")
    if region.verdict.status is RegionStatus.HEALTHY and not _against(state, region, now_ns):
        found.add("eligible")
    return found


def _is_heard_since(region: Region) -> bool:
    """Whether an agent of it has reported since its verdict stands."""
    return any(agent.session is not None and agent.report_ns > region.since_ns for agent in region.agents.values())


def _meaning(state: State, step: str) -> str:
    match step:
        case "returned":
            return "an agent of it is heard"
        case "probes pass":
            return f"they must for {state.policy.stable_for_ns / 1e9:g} s"
        case "caught up":
            return "its data is not farther behind than the policy allows"
        case "stable":
            return f"its reads grow over {state.policy.slow_start_ns / 1e9:g} s"
        case "ramped":
            return "it gets its full share of reads again"
        case _:
            return "nothing speaks against electing it any more"


def _behind(state: State, region: Region, now_ns: int) -> str:
    return exceeded(progress.data_deficit(state, region, now_ns), state.policy.max_lag)


def _against(state: State, region: Region, now_ns: int) -> list[str]:
    """What still refuses it, the group's cool-down left aside: that is not the region's."""
    rules = [rule for rule, _ in overrides.against(state, region.record.name)]
    rules += [rule for rule, _ in damping.against(state, region, now_ns) if rule != "COOL_DOWN"]
    return [*rules, *(["LAG"] if _behind(state, region, now_ns) else [])]


def note(state: State, region: Region, now_ns: int) -> str:
    """What a region on its way back still lacks, for its status reason; empty: nothing, or it is not on its way."""
    if region.recovery is None or region.verdict.status not in WELL:
        return ""
    parts = []
    if region.recovering and _behind(state, region, now_ns):
        parts.append("not caught up yet")
    if not region.recovering:
        if region.ramp_since_ns is not None:
            parts.append("back since a moment ago, and its reads still grow")
        rules = _against(state, region, now_ns)
        if rules:
            parts.append(f"not to be elected yet ({', '.join(rules)})")
    return "; ".join(parts)

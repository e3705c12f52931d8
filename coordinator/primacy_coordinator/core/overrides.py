"""What operators set against the policy, for a time: drains, cordons, a pause, pinned weights.

Each has a reason, an owner and an end; it warns before it ends and says when it did. It ends by this machine's clock,
so that no step of the wall clock makes it longer or shorter (see `calendar`).
"""

from __future__ import annotations

from dataclasses import replace

from primacy_coordinator.core import ramps
from primacy_coordinator.core.effects import Severity, Topic
from primacy_coordinator.core.model import OVERRIDE_WARNING_NS, DrainState, OverrideKind, OverrideRecord
from primacy_coordinator.core.state import Override, State
from primacy_coordinator.core.turn import Turn
from primacy_coordinator.core.views import OverrideView

SHORT_PART = 10
"""An override shorter than this many warnings warns in this last part of its time."""


def key_of(what: OverrideKind, region: str = "") -> str:
    return f"{what.name.lower()}/{region}" if region else what.name.lower()


def find(state: State, what: OverrideKind, region: str = "") -> Override | None:
    return state.overrides.get(key_of(what, region))


def put(state: State, turn: Turn, record: OverrideRecord) -> Override:
    """Set an override, or set it anew."""
    now_ns = turn.now.mono_ns
    old = state.overrides.get(record.key)
    began_ns = old.began_ns if old is not None else now_ns
    if old is not None:
        record = replace(record, start_wall_ns=old.record.start_wall_ns)
    left_ns = record.expire_wall_ns - state.wall(now_ns)
    override = state.overrides[record.key] = Override(record, began_ns, now_ns + left_ns)
    turn.write(record)
    turn.journal(
        f"{record.what.name.lower()}-set",
        f"{describe(record)} by {record.owner or 'an operator'} for {left_ns / 1e9:.0f} s: {record.reason}",
        Severity.WARNING if record.what in (OverrideKind.PAUSE, OverrideKind.DRAIN) else Severity.INFO,
        region=record.region,
        inputs=record,
    )
    _touched(state, turn)
    return override


def keep(state: State, turn: Turn, override: Override, record: OverrideRecord) -> None:
    """Write down how far an override has come."""
    override.record = record
    turn.write(record)
    _touched(state, turn)


def lift(state: State, turn: Turn, override: Override, kind: str, why: str) -> None:
    """End an override: `kind` is the event that says so."""
    record = override.record
    del state.overrides[record.key]
    turn.drop(OverrideRecord.kind, record.key)
    region = state.regions.get(record.region)
    if record.what is OverrideKind.DRAIN and region is not None:
        now_ns, length_ns = turn.now.mono_ns, state.policy.slow_start_ns
        part = drain_part(state, override, now_ns)
        if region.ramp_since_ns is not None:
            part *= ramps.slow_start_part(region.ramp_since_ns, length_ns, now_ns)
        region.ramp_since_ns = ramps.slow_start_since(part, length_ns, now_ns)
    turn.journal(kind, f"{describe(record)}: {why}", region=record.region, inputs=record)
    _touched(state, turn)


def drain_part(state: State, override: Override, now_ns: int) -> float:
    """What a drain leaves its region of its reads, 0 to 1."""
    if override.record.drained:
        return 0.0
    policy = state.policy
    return ramps.drain_part(override.began_ns, policy.drain_time_ns, policy.report_interval_ns, now_ns)


def _touched(state: State, turn: Turn) -> None:
    state.weights_dirty = True
    turn.changed(Topic.OVERRIDES)
    turn.changed(Topic.REGIONS)
    turn.unsettled = True


def describe(record: OverrideRecord) -> str:
    match record.what:
        case OverrideKind.DRAIN:
            return f"drain of {record.region}"
        case OverrideKind.CORDON:
            return f"cordon of {record.region}"
        case OverrideKind.PAUSE:
            return "pause of automatic elections"
        case OverrideKind.PIN:
            return f"pinned reads of {record.region or 'all client regions'}"


def on_time(state: State, turn: Turn) -> None:
    """Warn of overrides that end soon, and end those whose time is over."""
    now_ns = turn.now.mono_ns
    for override in list(state.overrides.values()):
        record = override.record
        if now_ns >= override.expire_ns:
            lift(state, turn, override, "override-expired", "its time is over")
        elif not record.warned and now_ns >= _warns_ns(override):
            left_s = (override.expire_ns - now_ns) / 1e9
            keep(state, turn, override, replace(record, warned=True))
            turn.journal(
                "override-expiring",
                f"{describe(record)} ends in {left_s:.0f} s; set it again to keep it ({record.reason})",
                Severity.WARNING,
                region=record.region,
            )


def _warns_ns(override: Override) -> int:
    length_ns = override.record.expire_wall_ns - override.record.start_wall_ns
    return override.expire_ns - min(OVERRIDE_WARNING_NS, length_ns // SHORT_PART)


def deadlines(state: State) -> list[int]:
    found: list[int] = []
    for override in state.overrides.values():
        found.append(override.expire_ns)
        if not override.record.warned:
            found.append(_warns_ns(override))
    return found


# ---- what others ask


def is_paused(state: State) -> bool:
    return key_of(OverrideKind.PAUSE) in state.overrides


def against(state: State, region: str) -> tuple[tuple[str, str], ...]:
    """(rule, detail) of what operators set against electing the region."""
    found: list[tuple[str, str]] = []
    for what, rule in ((OverrideKind.CORDON, "CORDONED"), (OverrideKind.DRAIN, "DRAINED")):
        override = find(state, what, region)
        if override is None:
            continue
        record = override.record
        if not (record.traffic_only and state.authority.record.accepted_region == region):
            found.append((rule, f"by {record.owner or 'an operator'}: {record.reason}"))
    return tuple(found)


def drain_state(state: State, region: str) -> DrainState:
    override = find(state, OverrideKind.DRAIN, region)
    if override is None:
        return DrainState.NONE
    return DrainState.DRAINED if override.record.drained else DrainState.DRAINING


def views(state: State, now_ns: int, region: str | None = None) -> tuple[OverrideView, ...]:
    """All in force, sorted; with a region its drain and its cordon."""
    return tuple(
        OverrideView(override.record, max(0, override.expire_ns - now_ns))
        for _, override in sorted(state.overrides.items())
        if region is None
        or (override.record.region == region and override.record.what in (OverrideKind.DRAIN, OverrideKind.CORDON))
    )

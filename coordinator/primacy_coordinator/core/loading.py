"""From what the store holds to the live state of a group."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from primacy_wire.instant import Now

from primacy_coordinator.core import authority, calendar, damping, moves, recovery, registry, steps, weighing
from primacy_coordinator.core.log.ledger import Ledger
from primacy_coordinator.core.log_model import ConflictRecord, EntryRecord, LogRecord
from primacy_coordinator.core.model import (
    AgentRecord,
    DampingRecord,
    DoubtRecord,
    FailoverRecord,
    LeaseRecord,
    LineageRecord,
    Loaded,
    MembershipRecord,
    OverrideRecord,
    Policy,
    PolicyRecord,
    Record,
    RegionRecord,
    RegionStatus,
    VerdictRecord,
)
from primacy_coordinator.core.state import Agent, Doubt, Override, Region, State

R = TypeVar("R", bound=Record)


def _all(records: tuple[Record, ...], record_type: type[R]) -> list[R]:
    return [record for record in records if isinstance(record, record_type)]


def _the(records: tuple[Record, ...], record_type: type[R]) -> R | None:
    """Of what there is one at most."""
    return next(iter(_all(records, record_type)), None)


def load(name: str, loaded: Loaded, now: Now) -> State:
    """The state at the start of a machine: nothing is heard yet, and every recorded lease counts in full."""
    records = loaded.records
    lease = _the(records, LeaseRecord) or LeaseRecord()
    policy = _the(records, PolicyRecord)
    membership = _the(records, MembershipRecord) or MembershipRecord()
    lineage = _the(records, LineageRecord) or LineageRecord()
    doubt = _the(records, DoubtRecord)
    regions, agents = _all(records, RegionRecord), _all(records, AgentRecord)
    verdicts = {record.region: record for record in _all(records, VerdictRecord)}
    failovers, overrides = _all(records, FailoverRecord), _all(records, OverrideRecord)
    dampings = {record.region: record for record in _all(records, DampingRecord)}
    log = Ledger.restored(
        _the(records, LogRecord) or LogRecord(),
        _all(records, EntryRecord),
        _all(records, ConflictRecord),
        now.mono_ns,
        now.wall_ns,
    )
    policy_record = policy or PolicyRecord(Policy())
    state = State(
        group=name,
        store_id=loaded.store_id,
        run_id=loaded.run_id,
        run_ids=loaded.run_ids,
        run_count=loaded.run_count,
        started_ns=now.mono_ns,
        authority=authority.restored(lease, now.mono_ns, policy_record.policy.drift_ppm),
        policy_record=policy_record,
        policy_stored=policy is not None,
        membership=membership,
        lineage=lineage,
        weights=weighing.initial(loaded.run_count),
        journal_sequence=loaded.journal_sequence,
        doubt=Doubt(doubt, now.mono_ns) if doubt else None,
        wall_offset_ns=now.wall_ns - now.mono_ns,
        log=log,
    )
    state.log.quiet = loaded.refused
    changed = _cool_again(state, dampings.get(damping.COOL_KEY), now)
    for region in sorted(regions, key=lambda r: r.name):
        unknown = VerdictRecord(region.name, RegionStatus.UNKNOWN, "nothing was heard of it yet", (), now.wall_ns)
        verdict = verdicts.get(region.name, unknown)
        past = dampings.get(region.name, DampingRecord(region.name))
        kept = damping.restored(past, now.wall_ns, state.policy)
        if kept != past:
            changed.append(kept)
        live = state.regions[region.name] = Region(
            region,
            verdict,
            now.mono_ns,
            restored=region.name in verdicts,
            recovering=verdict.recovering or verdict.status in (RegionStatus.DOWN, RegionStatus.RECOVERING),
            availability_ns=now.mono_ns,
            damping=kept,
        )
        recovery.restore(state, live, now.mono_ns)
    changed += _take_up(state, overrides, now)
    state.restored = tuple(changed)
    for record in sorted(agents, key=lambda a: a.key):
        if record.region in state.regions:
            agent = Agent(record, now.mono_ns)
            state.agents[record.key] = state.regions[record.region].agents[record.key] = agent
    for failover in sorted(failovers, key=steps.order):
        state.failovers[failover.id] = failover
    registry.name_members(state)
    moves.restore(state, now)
    return state


def _cool_again(state: State, cooling: DampingRecord | None, now: Now) -> list[Record]:
    """Take the cool-down up again. Returns what must be written, for a clock was set back."""
    if cooling is None:
        return []
    end_ns = calendar.restored_end(cooling.hold_until_wall_ns, state.policy.cool_down_ns, now.wall_ns)
    state.cool_until_wall_ns = end_ns
    return [replace(cooling, hold_until_wall_ns=end_ns)] if end_ns != cooling.hold_until_wall_ns else []


def _take_up(state: State, overrides: list[OverrideRecord], now: Now) -> list[Record]:
    """Take the overrides up again. Returns those that must be written, for a clock was set back: cut to their length at
    every start, they would never end."""
    changed: list[Record] = []
    for override in sorted(overrides, key=lambda o: o.key):
        longest_ns = override.expire_wall_ns - override.start_wall_ns
        end_wall_ns = calendar.restored_end(override.expire_wall_ns, longest_ns, now.wall_ns)
        if end_wall_ns != override.expire_wall_ns:
            override = replace(override, start_wall_ns=now.wall_ns, expire_wall_ns=end_wall_ns)  # noqa: PLW2901
            changed.append(override)
        ran_ns = now.wall_ns - override.start_wall_ns
        end_ns = now.mono_ns + end_wall_ns - now.wall_ns
        state.overrides[override.key] = Override(override, now.mono_ns - max(0, ran_ns), end_ns)
    return changed

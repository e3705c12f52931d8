"""Frozen copies of a group for its readers: RPCs, watches, the command line. Never the live machine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from primacy_wire.log_messages import Entry, ParkedNote
from primacy_wire.messages import Lag, Load, Phase, RouteCount, ServiceState

from primacy_coordinator.core.model import (
    CandidateResult,
    DoubtRecord,
    DrainState,
    ElectionStrategy,
    FailoverKind,
    FailoverRecord,
    LeasePhase,
    OverrideRecord,
    Policy,
    RegionRecord,
    RoutingStrategy,
    VerdictRecord,
)

Shares = tuple[tuple[str, float], ...]
"""(region, share), every registered region, sorted by name."""
Causes = tuple[tuple[str, float], ...]
"""(`policy`, `status`, `health`, `latency`, `capacity`, `panic`, `pin`, `slew` ...; part of the share that it gives or
takes), in the order in which they were applied; they add up to the share."""


@dataclass(frozen=True, slots=True)
class AgentView:
    """One agent as last heard. Ages are in nanoseconds before the view was taken; -1: never."""

    region: str
    agent: str
    incarnation: str
    host: str
    peer_address: str
    connected: bool
    report_age_ns: int
    phase: Phase
    held_epoch: int
    lease_valid: bool
    service: ServiceState
    healthy: int
    total: int
    reason: str
    load: Load
    lag: Lag = Lag()
    wall_offset_ns: int = 0
    """How far its wall clock is ahead of ours, as far as a report's journey allows to tell."""
    shunned: tuple[str, ...] = ()
    """Regions whose reads it moves elsewhere by itself."""
    detail: Any = None
    """Probe results and series as the agent sent them (`primacy.v1.ReportDetail`), or None."""


@dataclass(frozen=True, slots=True)
class SightView:
    """What one agent sees of another region (`target_agent` empty: of its endpoint)."""

    observer: str
    observer_region: str
    target_region: str
    target_agent: str
    reachable: bool
    rtt_ns: int
    age_ns: int


@dataclass(frozen=True, slots=True)
class OverrideView:
    record: OverrideRecord
    remaining_ns: int


@dataclass(frozen=True, slots=True)
class SelfDoubtView:
    name: str
    reason: str
    remaining_ns: int
    """It ends then at the latest."""


@dataclass(frozen=True, slots=True)
class RegionView:
    record: RegionRecord
    verdict: VerdictRecord
    active: bool
    load: Load
    """Merged over the region's connected agents: rates and capacities added, shares and times weighted."""
    agents: tuple[AgentView, ...]
    drain_state: DrainState = DrainState.NONE
    cordoned: bool = False
    overrides: tuple[OverrideView, ...] = ()
    """Those that concern this region, pins left out."""
    lag: Lag = Lag()
    """Of its least lagging agent that is heard."""
    penalty: float = 0.0
    """Its decayed count of falls."""
    damped: bool = False
    """It fell so often that it is the last to be elected."""


@dataclass(frozen=True, slots=True)
class LeaseView:
    """Who is active (GetActiveRegion)."""

    active_region: str
    """The holder of the newest accepted epoch while its lease is counted as possibly valid, else empty."""
    epoch: int
    """The newest durable epoch."""
    accepted_epoch: int
    accepted_region: str
    holder: str
    phase: LeasePhase
    remaining_ns: int
    """How long the lease is still counted as possibly valid if nothing renews it; 0: not."""
    ttl_ns: int
    wait_ns: int
    """What is left of the wait after a restart; 0: none."""


@dataclass(frozen=True, slots=True)
class WeightsView:
    """The matrix of both traffic classes: (client region, shares), sorted by client region."""

    version: int
    strategy: RoutingStrategy
    read: tuple[tuple[str, Shares], ...]
    write: tuple[tuple[str, Shares], ...]
    panic: bool
    reasons: tuple[tuple[str, str], ...] = ()
    """(region, why it has the reads it has)."""
    causes: tuple[tuple[str, tuple[tuple[str, Causes], ...]], ...] = ()
    """(client region, ((region, its causes), ...)) of the read rows."""


@dataclass(frozen=True, slots=True)
class RecoveryAgent:
    agent: str
    store_id: str
    run_id: str
    heard_epoch: int
    held_epoch: int
    report_age_ns: int


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """What `primacy recover` shows: why nothing is decided, who said what, what would happen and when."""

    needed: bool
    reason: str
    operator_needed: bool
    confirmed: bool
    agents: tuple[RecoveryAgent, ...]
    missing: tuple[str, ...]
    """Agents in the membership of an agent heard, that have not reported."""
    next_epoch: int
    wait_ns: int
    """How long the wait still lasts."""
    since_wall_ns: int = 0
    """When the doubt began; 0: there is none, or it is not known."""


@dataclass(frozen=True, slots=True)
class ExplanationView:
    """An election as it would go now, went then, or would go if a region died."""

    strategy: ElectionStrategy
    winner: str
    """Empty: nobody."""
    candidates: tuple[CandidateResult, ...]
    explanation: str
    active_region: str
    if_down: str = ""
    would_move: bool = False
    """Whether the machine would move the lease by itself in this situation."""


@dataclass(frozen=True, slots=True)
class MovePlan:
    """What a `MoveActive` would do (`validate_only`), or the move that it began."""

    failover: FailoverRecord
    move: FailoverKind
    steps: tuple[str, ...]
    """Sentences for people, in order."""
    wait_ns: int
    """The longest that the group may be without an active region: what is left of leases that cannot be released."""


@dataclass(frozen=True, slots=True)
class DrainPlan:
    """What a drain does, or would do."""

    region: str
    failover: FailoverRecord | None
    """The planned move that goes first, or None."""
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RouteTotal:
    """Routed requests of one kind, over all agents and lives."""

    route: RouteCount
    agent: str


@dataclass(frozen=True, slots=True)
class GroupView:
    """Everything about a group at one instant."""

    group: str
    store_id: str
    run_id: str
    membership_version: int
    lease: LeaseView
    doubt: DoubtRecord | None
    policy: Policy
    policy_version: int
    regions: tuple[RegionView, ...]
    """Sorted by name."""
    weights: WeightsView
    failover: FailoverRecord | None
    """The move under way, or None."""
    failovers: tuple[FailoverRecord, ...]
    """All that are kept, newest first."""
    sights: tuple[SightView, ...]
    overrides: tuple[OverrideView, ...] = ()
    """All in force, sorted by key."""
    self_doubt: SelfDoubtView | None = None


@dataclass(frozen=True, slots=True)
class Retried:
    """What a RetryEntry has told to try again."""

    regions: tuple[str, ...]
    entries: int


class Safety(IntEnum):
    """How safe the content of an entry is. Numbers are those of `primacy.v1.EntrySafety`."""

    SAFE = 1
    """At least two regions have it."""
    AT_RISK = 2
    """One region has it."""
    UNAVAILABLE = 3
    """No region that is heard has it."""


@dataclass(frozen=True, slots=True)
class TransferView:
    """A model on its way to an agent."""

    agent: str
    key: str
    sequence: int
    received: int
    """Bytes there, verified."""
    size: int


@dataclass(frozen=True, slots=True)
class RegionLogView:
    """How far one region has come in the log."""

    region: str
    heard: bool
    """An agent of it that follows this log is heard; else nothing below is known."""
    settled: int = 0
    lag: Lag = Lag()
    parked: tuple[tuple[str, ParkedNote], ...] = ()
    """(agent, what it put aside)."""
    missing_models: tuple[str, ...] = ()
    """Required models whose current version no agent of it has applied."""
    uplink: int = 0
    """Bytes per second that its agents could send lately; 0: not measured."""
    transfers: tuple[TransferView, ...] = ()
    """What its agents fetch now."""


@dataclass(frozen=True, slots=True)
class LogView:
    """The replication log at one instant."""

    head: int
    head_wall_ns: int
    """When the newest entry was sequenced; 0: the log is empty."""
    first: int
    """The oldest number from which on the log is whole; 0: it is empty."""
    regions: tuple[RegionLogView, ...]
    """Every registered region, sorted by name."""
    at_risk: tuple[tuple[Entry, Safety], ...]
    """Current versions that fewer than two regions have, the oldest first; only so many."""
    at_risk_count: int
    """How many there are."""
    open_conflicts: int
    stalled_ns: int
    """How long the active region has written nothing; -1: the log is not stalled."""


@dataclass(frozen=True, slots=True)
class EntriesView:
    """Some entries of the log."""

    entries: tuple[tuple[Entry, Safety | None], ...]
    """(entry, how safe its content is; None: it has none)."""
    more: bool
    """There are more in the same direction."""
    head: int

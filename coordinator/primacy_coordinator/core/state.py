"""The live state of one group: mutable, owned by its machine alone, never shown to anybody.

What a restart must find again is in the records; the rest is heard anew from the agents. Instants are `mono_ns`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from primacy_wire.messages import Hello, Membership, Report, RouteCount

from primacy_coordinator.core.model import (
    AgentRecord,
    DoubtRecord,
    FailoverRecord,
    LeaseRecord,
    LineageRecord,
    MembershipRecord,
    Policy,
    PolicyRecord,
    RegionRecord,
    VerdictRecord,
)
from primacy_coordinator.core.routing import WeightsResult

Life = tuple[str, str]
"""(agent key, incarnation): one life of an agent. A release or a refusal speaks for one life only."""


@dataclass(slots=True)
class Session:
    """An open stream of one life."""

    number: int
    hello: Hello
    key: str
    """`REGION/AGENT`."""
    opened_ns: int
    report: Report | None = None
    report_ns: int = 0
    heard_ns: int = 0
    """When the agent last proved that our answers reach it."""

    @property
    def life(self) -> Life:
        return self.key, self.hello.incarnation

    @property
    def region(self) -> str:
        return self.hello.region


@dataclass(slots=True)
class Agent:
    record: AgentRecord
    seen_ns: int
    """When it was last heard; the start of this machine if never."""
    session: Session | None = None
    report: Report | None = None
    """The last report of its newest life, kept after the session ended."""
    report_ns: int = 0
    routed: dict[tuple[str, str, int, int, str], int] = field(default_factory=dict)
    """Routed counts of earlier lives, added up."""
    routed_now: tuple[RouteCount, ...] = ()
    """Counts of the newest life."""


@dataclass(slots=True)
class Region:
    record: RegionRecord
    verdict: VerdictRecord
    since_ns: int
    """Since when the verdict stands; for a restored one the start of this machine."""
    restored: bool = False
    """The verdict comes from the store, and nothing was heard of the region since."""
    recovering: bool = False
    """It was down and has not been well for long enough since."""
    well_since_ns: int | None = None
    """While recovering: since when it has been well without a break."""
    recheck_ns: int = 0
    """When time alone may change the verdict."""
    agents: dict[str, Agent] = field(default_factory=dict)
    unanswered: int = 0
    """Offers that it let run out since it last accepted one."""
    availability: float = -1.0
    """Decayed share of time that it served; -1: not known yet."""
    availability_ns: int = 0
    """When `availability` was last brought up to date."""


@dataclass(slots=True)
class Authority:
    """The active lease and everything that may still rest on it (I1, I2)."""

    record: LeaseRecord
    durable: LeaseRecord
    """The newest record that is on disk: the only one that is ever told (I7)."""
    writing: list[tuple[int, LeaseRecord]] = field(default_factory=list)
    """(batch, record) on their way to the disk."""
    holds: dict[Life, int] = field(default_factory=dict)
    """Until when each life may believe that it is active, by this clock."""
    wait_until_ns: int = 0
    """After a start: until when the recorded lease counts as valid for everybody, known or not."""
    refused: set[Life] = field(default_factory=set)
    """Lives that released or refused the epoch of `record`."""
    accepted: set[Life] = field(default_factory=set)
    """Lives that said they hold the epoch of `record`."""
    offer_until_ns: int = 0
    """Until when an offer nobody accepted is repeated."""
    free_since_ns: int | None = None
    """Since when nobody can hold the recorded lease any more."""
    told: dict[int, int] = field(default_factory=dict)
    """When each TTL was last granted to anybody: the recorded one shrinks only when all longer ones have run out."""
    run_out_told: bool = False
    """The journal knows that the active region's lease ran out."""


@dataclass(slots=True)
class Move:
    """The move under way; its record is in `failovers`."""

    record: FailoverRecord
    policy: Policy
    """The policy that it began with."""
    phase_began_ns: int
    freeze_id: str = ""
    freeze_sent: bool = False
    frozen: set[Life] = field(default_factory=set)
    deadline_ns: int = 0
    """While freezing: when it is given up."""
    batch: int = 0
    """The batch with its newest decision."""
    override_rules: tuple[str, ...] = ()
    told_stuck: bool = False
    """The journal knows that nobody can be elected."""
    not_before_ns: int = 0
    """The next grant waits until then, so that refusals do not spin through epochs."""
    backed_off: bool = False


@dataclass(slots=True)
class Doubt:
    """The store is not trusted; see `lineage`."""

    record: DoubtRecord
    began_ns: int
    """In the life of this machine."""


@dataclass(slots=True)
class Weights:
    version: int
    result: WeightsResult
    active_region: str
    active_epoch: int
    endpoints: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class State:
    """One group."""

    group: str
    store_id: str
    run_id: str
    run_ids: frozenset[str]
    run_count: int
    started_ns: int
    authority: Authority
    policy_record: PolicyRecord
    policy_stored: bool
    membership: MembershipRecord
    lineage: LineageRecord
    weights: Weights
    regions: dict[str, Region] = field(default_factory=dict)
    agents: dict[str, Agent] = field(default_factory=dict)
    sessions: dict[int, Session] = field(default_factory=dict)
    failovers: dict[str, FailoverRecord] = field(default_factory=dict)
    """Oldest first."""
    move: Move | None = None
    doubt: Doubt | None = None
    eligible_since_ns: int | None = None
    """Since when some region could be elected first."""
    journal_sequence: int = 0
    batch: int = 0
    batch_durable: int = 0
    weights_dirty: bool = True
    weights_due_ns: int = 0
    directory_dirty: bool = False
    directory_due_ns: int = 0
    wake_ns: int = 0
    names: Membership = Membership()
    """The membership as agents are told it."""

    @property
    def policy(self) -> Policy:
        return self.policy_record.policy

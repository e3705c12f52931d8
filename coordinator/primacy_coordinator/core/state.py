"""The live state of one group: mutable, owned by its machine alone, never shown to anybody.

What a restart must find again is in the records; the rest is heard anew from the agents. Instants are `mono_ns`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum

from primacy_wire.log_messages import GroupMetrics, MetricsSnapshot
from primacy_wire.messages import Hello, Membership, Report, RouteCount
from primacy_wire.sketch import Merging

from primacy_coordinator.core.basis import Basis
from primacy_coordinator.core.causes import ClientCauses
from primacy_coordinator.core.log.ledger import Ledger, LogPeer
from primacy_coordinator.core.model import (
    AgentRecord,
    DampingRecord,
    DoubtRecord,
    FailoverRecord,
    LeaseRecord,
    LineageRecord,
    MembershipRecord,
    OverrideRecord,
    Policy,
    PolicyRecord,
    Record,
    RegionRecord,
    VerdictRecord,
)
from primacy_coordinator.core.routing import Shares, WeightsInput, WeightsResult
from primacy_coordinator.core.shaping import Shaped

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

    log: LogPeer = field(default_factory=LogPeer)
    shared: int = 0
    """The newest version of what regions measured that it was told."""

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
    lost_ns: int | None = None
    """When its last session was lost; None: it has one, or never had."""
    wall_offset_ns: int = 0
    """How far its wall clock was ahead of ours at its last report."""
    metrics: MetricsSnapshot | None = None
    """What it measured in its newest window."""
    metrics_ns: int = 0
    """When that came."""
    metrics_dropped: int = 0
    """Values of its life that were left out of what it measured, by itself or here, for it had too many series."""
    metrics_dropped_told: int = 0
    """Of those, what it said itself."""


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
    damping: DampingRecord = DampingRecord("")
    ramp_since_ns: int | None = None
    """Since when its reads grow again (slow start); None: they do not."""
    recovery: tuple[str, ...] | None = None
    """Steps of its way back that it has reached (see `recovery`); None: it is not on its way back."""
    judged_ns: int = 0
    """When its verdict was last looked at."""


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
    given_back: str = ""
    """Who gave the lease of `record` back by itself after it was active, and why."""
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
    promoting: set[Life] = field(default_factory=set)
    """Of `accepted`: lives whose service is still being promoted."""


@dataclass(slots=True)
class Move:
    """The move under way; its record is in `failovers`."""

    record: FailoverRecord
    policy: Policy
    """The policy that it began with."""
    phase_began_ns: int
    freeze_id: str = ""
    freeze_sent: bool = False
    catching_up: bool = False
    """Writes are stopped, and the next region applies what is left of the log."""
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
    failure: str = ""
    """Why the region that took the epoch gave it up again."""


@dataclass(slots=True)
class Doubt:
    """The store is not trusted; see `lineage`."""

    record: DoubtRecord
    began_ns: int
    """In the life of this machine."""


@dataclass(slots=True)
class Override:
    """An override in force."""

    record: OverrideRecord
    began_ns: int
    """When it began in the life of this machine, as if it had run since its start."""
    expire_ns: int
    """By this machine's clock, which no step of the wall clock moves."""


@dataclass(slots=True)
class SelfDoubt:
    """The coordinator suspects itself: verdicts and elections are put off, renewals are not."""

    name: str
    """`SESSIONS_LOST` or `STALLED`."""
    reason: str
    began_ns: int
    end_ns: int
    """When it ends at the latest."""
    lost: set[str] = field(default_factory=set)
    """Agents whose sessions were lost."""


class Brake(IntEnum):
    """This group's place before the coordinator's brake over failovers."""

    FREE = 1
    ASKED = 2
    LET = 3


@dataclass(slots=True)
class Weights:
    version: int
    result: WeightsResult
    active_region: str
    active_epoch: int
    endpoints: tuple[tuple[str, str], ...] = ()
    locations: tuple[tuple[str, tuple[float, float]], ...] = ()
    limits: tuple[float, float, float] = (0.5, 1.0, 1.0)
    """(panic threshold, overprovisioning, local shift) as agents were told them."""
    room: Shares = ()
    """What each region can serve beyond what it is sent (see `room`)."""
    given: WeightsInput | None = None
    """What they were computed from."""
    wanted: WeightsResult | None = None
    """What was computed, before it was shaped."""
    causes: ClientCauses | None = None
    """Why each share is what it is, once somebody asked: it is dear, and most weights are never explained."""


@dataclass(slots=True)
class MergingRegion:
    """A region whose agents' snapshots are being merged."""

    name: str
    window_ns: int
    wall_ns: int
    waiting: list[MetricsSnapshot]
    found: Merging = field(default_factory=Merging)


@dataclass(slots=True)
class SharedMetrics:
    """What regions measured, on its way to every agent (see `log.sharing`)."""

    merged: dict[str, MetricsSnapshot] = field(default_factory=dict)
    """By region."""
    version: int = 0
    """Of what was merged last; one count for all regions."""
    news: dict[str, None] = field(default_factory=dict)
    """Regions with news for the next round, the longest waiting first."""
    unmerged: deque[str] | None = None
    """Regions that the round under way has still to merge; None: there is none."""
    merging: MergingRegion | None = None
    untold: deque[int] | None = None
    """Sessions that it has still to tell; None: it is still merging."""
    messages: dict[int, tuple[tuple[GroupMetrics, int], ...]] = field(default_factory=dict)
    """Of this round: what those get who had everything up to a version, with about its bytes."""
    told_bytes: int = 0
    """In this round."""
    kept_bytes: int = 0
    """Of what agents measured."""
    due_ns: int | None = None
    """When the next slice of a round is due; None: there is nothing to do."""
    rest_until_ns: int = 0
    """No round begins before."""


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
    log: Ledger = field(default_factory=Ledger)
    metrics: SharedMetrics = field(default_factory=SharedMetrics)
    regions: dict[str, Region] = field(default_factory=dict)
    agents: dict[str, Agent] = field(default_factory=dict)
    sessions: dict[int, Session] = field(default_factory=dict)
    failovers: dict[str, FailoverRecord] = field(default_factory=dict)
    """Oldest first."""
    move: Move | None = None
    doubt: Doubt | None = None
    overrides: dict[str, Override] = field(default_factory=dict)
    """By the key of the record."""
    self_doubt: SelfDoubt | None = None
    doubted_ns: int = 0
    """When the last self-doubt ended: what was lost before is not doubted again."""
    cool_until_wall_ns: int = 0
    """Until when COOL_DOWN refuses moves while a region serves."""
    eligible_since_ns: int | None = None
    """Since when some region could be elected first."""
    journal_sequence: int = 0
    batch: int = 0
    batch_durable: int = 0
    weights_dirty: bool = True
    weights_due_ns: int = 0
    weights_ns: int = 0
    """When they were last computed."""
    shaped: Shaped = Shaped()
    """The read rows on their way to what is wanted."""
    basis: Basis | None = None
    """What OPTIMAL plans from; None: the policy has another strategy."""
    ramped: bool = False
    """Something moves the weights on with time: a slow start, a drain, the slew."""
    pins_dead: frozenset[tuple[str, str]] = frozenset()
    """(client region, pinned region that does not serve) that the journal knows of."""
    directory_dirty: bool = False
    directory_due_ns: int = 0
    wake_ns: int = 0
    """When `TimePassed` is due."""
    settle_ns: int = 0
    """When everything that time may move is looked at again."""
    gather_ns: int = 0
    """When regions are next judged together, about which many may have spoken at once."""
    names: Membership = Membership()
    """The membership as agents are told it."""

    wall_offset_ns: int = 0
    """What is added to this machine's clock to get the wall clock, as of its last event."""
    cancelled_until_ns: int = 0
    """Until when no automatic move begins again after an operator cancelled one, unless the situation changes."""
    failback_from_ns: int = 0
    """No failback begins before: an operator cancelled the last one."""
    restored: tuple[Record, ...] = ()
    """What the start made of records whose end lay farther ahead than it ever could; written with the first turn."""
    better: tuple[str, int] | None = None
    """(region, since when it could take the lease back)."""
    better_due_ns: int = 0
    """When that is looked at again."""
    better_told: str = ""
    brake: Brake = Brake.FREE
    brake_untold_ns: int | None = None
    """When the brake was asked, as long as the journal does not know that the group waits."""
    stuck_told: bool = False
    """The journal knows that a failover is wanted and nobody can take over."""
    paused_told: bool = False
    """The journal knows that a pause keeps the group without an active region."""

    @property
    def policy(self) -> Policy:
        return self.policy_record.policy

    def settle_by(self, at_ns: int) -> None:
        """Something is to be looked at no later."""
        self.settle_ns = min(self.settle_ns, at_ns)
        self.wake_ns = min(self.wake_ns, at_ns)

    def wall(self, now_ns: int) -> int:
        """The wall clock at an instant of this machine's; steps of the real one are taken over in `calendar` alone."""
        return now_ns + self.wall_offset_ns

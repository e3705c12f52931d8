"""The nouns of a group: what is decided about, and what a restart must find again.

Records are what the store keeps. Each has a `kind` and a `key`, and the store knows nothing else of it: one table of
(group, kind, key, body) serves them all. Everything here is a frozen value; the machine replaces, never mutates.
Enum numbers are those of `primacy.v1`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from primacy_wire.instant import SECOND_NS

from primacy_coordinator.core.log_model import ConflictPolicy, ConflictRecord, Durability, EntryRecord, LogRecord
from primacy_coordinator.core.monitor.model import AlertRule, Slo

TTL_NS_MIN = 1 * SECOND_NS
TTL_NS_MAX = 60 * SECOND_NS
"""The longest lease any policy may ask for: what a coordinator in doubt about its store waits out."""


class RegionStatus(IntEnum):
    """Health of a region as the coordinator judges it. Cordon and drain are something else."""

    UNKNOWN = 1
    JOINING = 2
    HEALTHY = 3
    DEGRADED = 4
    SUSPECT = 5
    DOWN = 6
    RECOVERING = 7


class ElectionStrategy(IntEnum):
    PRIORITY = 1
    LATENCY = 2
    HEALTH = 3
    CAPACITY = 4


class RoutingStrategy(IntEnum):
    ACTIVE_ONLY = 1
    WEIGHTED = 2
    ROUND_ROBIN = 3
    HEALTH = 4
    LATENCY = 5
    GEOGRAPHIC = 6
    OPTIMAL = 7


class Registration(IntEnum):
    OPEN = 1
    """A hello registers an unknown region."""
    CLOSED = 2
    """Only RegisterRegion does."""


class Failback(IntEnum):
    """How the lease returns to a better region that recovered."""

    NEVER = 1
    """Nothing is said of it: the lease stays until it must move or an operator moves it."""
    MANUAL = 2
    """An event and the readiness say when a better region could take it back; an operator does."""
    AUTO = 3
    """By itself, `failback_after_ns` after the better region became fit, by a planned move."""


class ApprovalAction(IntEnum):
    """What a failover that is too dear does when nobody approved it in time."""

    WAIT = 1
    MOVE = 2


class FailsafeMode(IntEnum):
    FENCE = 1
    """Without a coordinator the lease runs out."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on lag or loss; any one exceeded counts. Negative: no bound."""

    age_ns: int = -1
    entries: int = -1
    bytes: int = -1


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator wants of a group. `check_policy` says whether its parts fit together."""

    strategy: ElectionStrategy = ElectionStrategy.PRIORITY
    read_strategy: RoutingStrategy = RoutingStrategy.ACTIVE_ONLY
    lease_ttl_ns: int = 5 * SECOND_NS
    report_interval_ns: int = SECOND_NS
    drift_ppm: int = 10_000
    """Bound on how much two clocks' rates differ, in parts per million."""
    grace_ns: int = 2 * SECOND_NS
    first_wait_ns: int = 3 * SECOND_NS
    failback: Failback = Failback.MANUAL
    stable_for_ns: int = 60 * SECOND_NS
    switchover_timeout_ns: int = 30 * SECOND_NS
    panic_threshold: float = 0.5
    """Share of registered regions; when fewer look healthy, reads ignore health."""
    agents_healthy_min: int = 1
    """`minHealthyAgents`: a region with fewer agents whose instances are up is DOWN."""
    registration: Registration = Registration.OPEN
    failsafe: FailsafeMode = FailsafeMode.FENCE
    region_weights: tuple[tuple[str, float], ...] = ()
    """For WEIGHTED: (region, weight), sorted; a region not named weighs 1."""
    client_traffic: tuple[tuple[str, float], ...] = ()
    """(client region, share of all traffic), sorted. The LATENCY election ranks by it (empty: all alike), and OPTIMAL
    reads are spread by it (empty: by what is measured)."""
    max_lag: Limits = Limits(age_ns=10 * SECOND_NS)
    """A region that is farther behind cannot be elected (`LAG`)."""
    max_loss: Limits = Limits()
    """A failover that may lose more waits for an operator's approval."""
    approval_timeout_ns: int = 900 * SECOND_NS
    approval_action: ApprovalAction = ApprovalAction.WAIT
    hold_down_ns: int = 30 * SECOND_NS
    """How long a region that lost the lease by failure, or failed to take it, is refused by HOLD_DOWN (soft)."""
    cool_down_ns: int = 30 * SECOND_NS
    """How long after an automatic failover COOL_DOWN (soft) refuses further moves while a region serves."""
    flap_half_life_ns: int = 300 * SECOND_NS
    flap_limit: float = 3.0
    """A region whose decayed count of falls reaches this is DAMPED (soft) until it is below half of it."""
    doubt_max_ns: int = 15 * SECOND_NS
    """The longest self-doubt: the coordinator suspects its own link, and puts off verdicts and elections."""
    failback_after_ns: int = 60 * SECOND_NS
    undrained_regions_min: int = 1
    """`minUndrainedRegions`: no drain that leaves fewer (MIN_UNDRAINED)."""
    drain_time_ns: int = 10 * SECOND_NS
    """How long a drain takes to bring the reads of a region down to nothing."""
    slow_start_ns: int = 30 * SECOND_NS
    """How long a region that comes back takes to get its full share of reads."""
    weight_slew: float = 0.1
    """The most that a share of reads may change in a second, when no region fails."""
    weight_hysteresis: float = 0.02
    """A smaller change of a share than this, from noise in the figures, is not made."""
    overprovisioning: float = 1.4
    """A region may lose instances until its healthy share times this is below 1, and keeps its full share of reads."""
    durability: Durability = Durability.REGIONS
    conflict_policy: ConflictPolicy = ConflictPolicy.LAST_WRITER_WINS
    conflict_policies: tuple[tuple[str, ConflictPolicy], ...] = ()
    """(prefix of a key, policy), sorted; of several the longest counts."""
    required_models: tuple[str, ...] = ()
    """Sorted. A region that lacks the current version of one cannot be elected (`MODEL_MISSING`)."""
    retry_budget: int = 8
    """How often an agent tries an entry before it parks it."""
    retry_wait_max_ns: int = 30 * SECOND_NS
    stall_after_ns: int = 10 * SECOND_NS
    """An active region that writes nothing for so long, not even a heartbeat, has a stalled log."""
    local_shift_max: float = 1.0
    """The most of its region's reads that an agent moves by itself, away from regions that it sees to be dead (I6)."""
    alert_rules: tuple[AlertRule, ...] = ()
    slos: tuple[Slo, ...] = ()


def margin_up(length_ns: int, drift_ppm: int) -> int:
    """`length·(1+drift)`, rounded up: how long the coordinator counts what it granted."""
    return length_ns + -(-length_ns * drift_ppm // 1_000_000)


def margin_down(length_ns: int, drift_ppm: int) -> int:
    """`length·(1-drift)`, rounded down: how long the holder counts what it was granted."""
    return length_ns - -(-length_ns * drift_ppm // 1_000_000)


class LeasePhase(IntEnum):
    NONE = 1
    """No lease was granted at this epoch: a new group, or one recovered from doubt."""
    OFFERED = 2
    ACCEPTED = 3
    RELEASING = 4
    """A release order is out: this epoch is renewed for nobody any more."""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """The recorded lease (I1, I2). Durable before anybody hears of its epoch."""

    kind: ClassVar[str] = "lease"
    epoch: int = 0
    holder: str = ""
    phase: LeasePhase = LeasePhase.NONE
    ttl_ns: int = 0
    """The longest TTL that any answer or offer of this epoch may still carry."""
    drift_ppm: int = 10_000
    revision: int = 0
    accepted_epoch: int = 0
    accepted_region: str = ""
    """Newest epoch that an agent accepted, and the region it was for."""
    failover_id: str = ""
    """The move that this grant, or this release, belongs to."""
    release_freeze_id: str = ""

    @property
    def key(self) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class RegionSettings:
    """Values of a region, from an agent's configuration or from an operator; None or empty: not set."""

    latitude: float | None = None
    longitude: float | None = None
    priority: int | None = None
    capacity: float | None = None
    endpoint: str = ""
    labels: tuple[tuple[str, str], ...] = ()


PRIORITY_DEFAULT = 100


@dataclass(frozen=True, slots=True)
class RegionRecord:
    """A registered region. What an operator set wins over what an agent's configuration says."""

    kind: ClassVar[str] = "region"
    name: str
    created_wall_ns: int
    version: int = 1
    """Grows with every change of the settings; the etag."""
    configured: RegionSettings = RegionSettings()
    operated: RegionSettings = RegionSettings()

    @property
    def key(self) -> str:
        return self.name

    @property
    def priority(self) -> int:
        for settings in (self.operated, self.configured):
            if settings.priority is not None:
                return settings.priority
        return PRIORITY_DEFAULT

    @property
    def capacity(self) -> float:
        """Requests per second; 0: not known."""
        for settings in (self.operated, self.configured):
            if settings.capacity is not None:
                return settings.capacity
        return 0.0

    @property
    def endpoint(self) -> str:
        return self.operated.endpoint or self.configured.endpoint

    @property
    def location(self) -> tuple[float, float] | None:
        """(latitude, longitude) in degrees."""
        for settings in (self.operated, self.configured):
            if settings.latitude is not None and settings.longitude is not None:
                return settings.latitude, settings.longitude
        return None

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        return tuple(sorted({**dict(self.configured.labels), **dict(self.operated.labels)}.items()))


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """An agent that said hello and is in the membership."""

    kind: ClassVar[str] = "agent"
    region: str
    agent: str
    peer_address: str
    host: str
    incarnation: str
    """The newest life."""
    superseded: tuple[tuple[str, int], ...] = ()
    """(earlier life, wall_ns until which it is refused)."""

    @property
    def key(self) -> str:
        return f"{self.region}/{self.agent}"


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    """What was last decided about a region's health, and why (I9)."""

    kind: ClassVar[str] = "verdict"
    region: str
    status: RegionStatus
    reason: str
    evidence: tuple[str, ...]
    since_wall_ns: int
    recovering: bool = False
    """It was down, and has not been well for long enough since."""

    @property
    def key(self) -> str:
        return self.region


class DrainState(IntEnum):
    NONE = 1
    DRAINING = 2
    DRAINED = 3


class OverrideKind(IntEnum):
    DRAIN = 1
    CORDON = 2
    PAUSE = 3
    PIN = 4


OVERRIDE_NS_DEFAULT = 3600 * SECOND_NS
OVERRIDE_NS_MAX = 72 * 3600 * SECOND_NS
OVERRIDE_WARNING_NS = 300 * SECOND_NS
"""How long before its end an override warns; for short ones, in their last tenth."""


@dataclass(frozen=True, slots=True)
class OverrideRecord:
    """Something that an operator set against the policy, for a time."""

    kind: ClassVar[str] = "override"
    what: OverrideKind
    region: str
    """DRAIN, CORDON: the region. PIN: the client region, empty for all. PAUSE: empty."""
    reason: str
    owner: str
    start_wall_ns: int
    expire_wall_ns: int
    shares: tuple[tuple[str, float], ...] = ()
    """PIN: (region, share of reads), sorted; they add up to 1."""
    warned: bool = False
    drained: bool = False
    """DRAIN: its reads are gone and what was in flight is done."""
    switchover_id: str = ""
    """DRAIN: the planned move that must end before the drain takes reads off the region."""
    traffic_only: bool = False
    """DRAIN of the active region without a target, NO_TARGET overridden: reads go, authority stays."""

    @property
    def key(self) -> str:
        return f"{self.what.name.lower()}/{self.region}" if self.region else self.what.name.lower()


@dataclass(frozen=True, slots=True)
class DampingRecord:
    """A region's past, as far as it speaks against electing it. Wall time, for it must outlive a restart."""

    kind: ClassVar[str] = "damping"
    region: str
    penalty: float = 0.0
    """Count of falls, decayed as of `at_wall_ns`."""
    at_wall_ns: int = 0
    damped: bool = False
    hold_until_wall_ns: int = 0
    hold_reason: str = ""
    """Why it is held down: it lost the lease by failure, or its promotion failed."""

    @property
    def key(self) -> str:
        return self.region


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    kind: ClassVar[str] = "policy"
    policy: Policy
    version: int = 1

    @property
    def key(self) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class MembershipRecord:
    """The version of the membership; its agents are the AgentRecords."""

    kind: ClassVar[str] = "membership"
    version: int = 0

    @property
    def key(self) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class DoubtRecord:
    """The store is an older copy, or a stranger to an agent: nothing is decided until recovery (I2)."""

    kind: ClassVar[str] = "doubt"
    reason: str
    heard_epoch: int
    """The highest epoch that any agent said."""
    operator_needed: bool
    """Another store_id was heard: only an operator ends this."""
    confirmed: bool = False
    """The operator said `recover --yes`; what is left is the wait."""
    confirmed_by: str = ""
    store_ids: tuple[str, ...] = ()
    """Other stores that agents named."""
    run_ids: tuple[str, ...] = ()
    """Runs of this store that agents named and the store does not know."""
    since_wall_ns: int = 0
    """When it began; 0: not known."""

    @property
    def key(self) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class LineageRecord:
    """Stores and runs that a recovery took over: an agent that still names one of them is told to adopt this store."""

    kind: ClassVar[str] = "lineage"
    store_ids: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return ""


class FailoverKind(IntEnum):
    INITIAL = 1
    AUTOMATIC = 2
    PLANNED = 3
    FORCED = 4
    FAILBACK = 5


class FailoverState(IntEnum):
    FREEZING = 1
    """Writes are being stopped at the old active region; can be given up without trace."""
    RELEASING = 2
    """The release order is durable: only forward from here."""
    WAITING = 3
    """For what was granted to run out."""
    OFFERING = 4
    SUCCEEDED = 5
    FAILED = 6
    """No new active region came of it; what is left to do is another move's."""
    ABORTED = 7
    """Given up before anything was released; the old region is still active."""
    AWAITING_APPROVAL = 8
    """It may lose more than the policy's `max_loss`: an operator decides."""
    PROMOTING = 9
    """Accepted; the new region's `on_promote` runs."""


DONE_STATES = frozenset({FailoverState.SUCCEEDED, FailoverState.FAILED, FailoverState.ABORTED})


@dataclass(frozen=True, slots=True)
class FailoverPhase:
    """One timed step of a move. `end_wall_ns` 0: still running."""

    name: str
    start_wall_ns: int
    end_wall_ns: int = 0
    length_ns: int = 0
    """By the coordinator's monotonic clock, restarts by the wall clock."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Price:
    """What it would cost to move the lease to a region. Negative: not known."""

    age_ns: int = -1
    """Changes of at least this many last nanoseconds may be lost."""
    entries: int = -1
    bytes: int = -1
    added_latency_ns: int = 0
    """How much longer a round trip takes, on the average over client traffic; below 0: shorter."""
    capacity_short: float = 0.0
    """Requests per second that the region could not take on top of its own."""


@dataclass(frozen=True, slots=True)
class HookRun:
    """What a hook did in the course of a move."""

    agent: str
    hook: str
    outcome: str
    exit_code: int
    output: str
    end_wall_ns: int
    length_ns: int


@dataclass(frozen=True, slots=True)
class CandidateResult:
    """How one region came out of a ranking."""

    region: str
    rank: int
    """1 is best; 0: refused by a hard rule."""
    rule: str = ""
    """The one rule that refused it (`DOWN`, `UNKNOWN`, …), or the soft rule that was passed over."""
    detail: str = ""
    soft: bool = False
    scores: tuple[tuple[str, float], ...] = ()
    """(what, value), in the order in which they were compared."""
    price: Price | None = None
    """What moving the lease here would cost; None: it is here, or nobody holds it."""


@dataclass(frozen=True, slots=True)
class FailoverRecord:
    """One move of the active lease, kept as history (I9)."""

    kind: ClassVar[str] = "failover"
    id: str
    move: FailoverKind
    state: FailoverState
    from_region: str
    to_region: str
    epoch: int
    """The epoch that the move granted; 0: none yet."""
    cause: str
    start_wall_ns: int
    end_wall_ns: int = 0
    phases: tuple[FailoverPhase, ...] = ()
    candidates: tuple[CandidateResult, ...] = ()
    evidence: tuple[str, ...] = ()
    explanation: str = ""
    reason: str = ""
    owner: str = ""
    requested_target: str = ""
    forced: bool = False
    policy_version: int = 0
    price: Price | None = None
    """As it was when the target was chosen."""
    approval_until_wall_ns: int = 0
    """While it awaits approval: when `approval_action` is taken."""
    approved_by: str = ""
    quiet_until_wall_ns: int = 0
    """An operator cancelled it: until then no move begins by itself for the same reason."""
    hooks: tuple[HookRun, ...] = ()
    override_rules: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.id


Record = (
    LeaseRecord
    | RegionRecord
    | AgentRecord
    | VerdictRecord
    | PolicyRecord
    | MembershipRecord
    | DoubtRecord
    | LineageRecord
    | FailoverRecord
    | OverrideRecord
    | DampingRecord
    | EntryRecord
    | LogRecord
    | ConflictRecord
)

RECORD_TYPES: tuple[type[Record], ...] = (
    LeaseRecord,
    RegionRecord,
    AgentRecord,
    VerdictRecord,
    PolicyRecord,
    MembershipRecord,
    DoubtRecord,
    LineageRecord,
    FailoverRecord,
    OverrideRecord,
    DampingRecord,
    EntryRecord,
    LogRecord,
    ConflictRecord,
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the store holds of one group, and of itself."""

    store_id: str
    run_id: str
    """Of this start; already durable."""
    run_ids: frozenset[str]
    """Of every start on this store, this one included."""
    run_count: int
    records: tuple[Record, ...] = ()
    journal_sequence: int = 0
    """The last sequence in the journal, so that a new one goes on from there."""
    refused: bool = False
    """The store refused a batch of the machine before this one."""

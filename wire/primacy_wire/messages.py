"""What an agent and its coordinator say to each other over one session, as pure values.

Both cores speak these words, so the simulator passes them from one to the other as they are; on a real wire
`session_codec` turns them into `primacy.v1` messages and back. Nothing here does I/O, and no instant crosses the
wire: a report has a number, and whatever answers it names that number, so the agent counts from when it *sent* it.

Agents are named `REGION/AGENT` wherever one string names an agent (see `agent_key`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from primacy_wire.log_messages import Entries, GroupMetrics, MetricsSnapshot, Progress, RetryParked, TransferPlan

PROTOCOL_VERSION = 1
"""Raised by one with every change that an older peer would misread; peers may differ by at most one."""


def agent_key(region: str, agent: str) -> str:
    """The name of an agent within its group."""
    return f"{region}/{agent}"


class Phase(IntEnum):
    """What an agent is for its service. Numbers are those of `primacy.v1.Phase`."""

    STANDBY = 1
    PROMOTING = 2
    ACTIVE = 3
    FROZEN = 4
    DEMOTING = 5


class ServiceState(IntEnum):
    """What an agent's own probes say of its instances, after rise and fall. Numbers are those on the wire."""

    STARTING = 1
    """Not every probe has reached its rise or its fall yet."""
    UP = 2
    DOWN = 3


@dataclass(frozen=True, slots=True)
class Lineage:
    """Which store an epoch belongs to, and how far that store had come.

    `store_id` is new when a store is created or restored; `run_id` is new at every start of a coordinator on it;
    `revision` grows with every change of the recorded lease. Empty strings and 0: never heard of any.
    """

    store_id: str = ""
    run_id: str = ""
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Membership:
    """The agents of the group (`REGION/AGENT`, sorted) at one version."""

    version: int = 0
    agents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RegionSpec:
    """What an agent's configuration says of its region; None or empty where it says nothing."""

    latitude: float | None = None
    longitude: float | None = None
    priority: int | None = None
    capacity: float | None = None
    """Requests per second."""
    endpoint: str = ""
    """Where clients of the region's service go: `host:port`."""
    labels: tuple[tuple[str, str], ...] = ()


# ---- from an agent to the coordinator


@dataclass(frozen=True, slots=True)
class Hello:
    """First message of a session: who this life of the agent is, and what it remembers."""

    group: str
    region: str
    agent: str
    incarnation: str
    """Random, made at process start."""
    host: str
    protocol_version: int
    lineage: Lineage
    heard_epoch: int
    """The highest epoch ever heard of, from any coordinator (durable at the agent)."""
    membership: Membership
    peer_address: str
    """Where other agents reach this one (`PeerService`): `host:port`."""
    spec: RegionSpec = RegionSpec()


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """The merged verdict of an agent's probes over its instances."""

    state: ServiceState
    healthy: int = 0
    total: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the agent's instances are. Negative means not measured."""

    request_rate: float = -1.0
    """Requests per second."""
    error_rate: float = -1.0
    """Share of requests that failed, 0 to 1."""
    latency_ns: int = -1
    """Mean time of a request."""
    utilisation: float = -1.0
    """Share of capacity in use, 0 to 1 (above 1: overload)."""
    capacity: float = -1.0
    """Requests per second that the instances can serve."""
    in_flight: float = -1.0
    """Requests that are being worked on."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the data behind the agent's instances lags the active region's. Negative means not measured."""

    age_ns: int = -1
    """Since the oldest change that has not arrived was made; 0 when all have."""
    entries: int = -1
    bytes: int = -1


@dataclass(frozen=True, slots=True)
class PeerSight:
    """What this agent saw when it last looked at another region."""

    region: str
    agent: str
    """The agent that was pinged (`REGION/AGENT`), or empty: the region's endpoint was probed."""
    reachable: bool
    rtt_ns: int = -1
    """Smoothed round trip; -1 when never reached."""
    age_ns: int = 0
    """How long ago the look ended."""


@dataclass(frozen=True, slots=True)
class RouteCount:
    """How often this life of the agent routed so, since its start."""

    client_region: str
    target_region: str
    traffic_class: int
    """1 read, 2 write."""
    strategy: int
    """Number of `primacy.v1.RoutingStrategy`; 0: no weights were known yet."""
    outcome: str
    """One of `route_counts.OUTCOMES`."""
    count: int
    rate: float = 0.0
    """Requests per second over the last minute."""


@dataclass(frozen=True, slots=True)
class Report:
    """An agent's regular word: how it is, what it holds, what it sees."""

    incarnation: str
    number: int
    """Grows by one with every report of this life, from 1."""
    epoch: int
    """The epoch this life holds, lapsed or not; 0: none."""
    valid: bool
    """Whether that lease is valid on the agent's own clock now."""
    phase: Phase
    heard_epoch: int
    lineage: Lineage
    membership_version: int
    released_epoch: int
    """The highest epoch that this life refused or released; final for this life."""
    answered: int
    """Number of the newest report of this life whose answer arrived; 0: none yet."""
    freeze_id: str
    """The freeze in force at this agent, or empty."""
    health: ServiceHealth
    load: Load = Load()
    sights: tuple[PeerSight, ...] = ()
    routed: tuple[RouteCount, ...] = ()
    lag: Lag = Lag()
    wall_ns: int = 0
    """The agent's wall clock when it sent this; 0: not told. For people and doctors, never for a lease."""
    shunned: tuple[str, ...] = ()
    """Regions whose reads this agent moves elsewhere by itself now (I6). Sorted."""
    detail: Any = field(default=None, compare=False)
    """Probe results and series for readers, carried along unread: the core never looks inside."""


@dataclass(frozen=True, slots=True)
class Accept:
    """The offer was taken, durably."""

    incarnation: str
    epoch: int
    promoting: bool = False
    """`on_promote` runs now: the agent is not ACTIVE before it has succeeded."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The offer was not taken and never will be by this life at this epoch."""

    incarnation: str
    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class Released:
    """This life does not hold the epoch (any more) and never will again."""

    incarnation: str
    epoch: int
    reason: str
    """`ordered` in answer to a release order, else why the agent released by itself."""


@dataclass(frozen=True, slots=True)
class ReleaseRefused:
    """The freeze that a planned release named has ended at this agent: it keeps what it holds until that runs out."""

    incarnation: str
    epoch: int
    freeze_id: str


@dataclass(frozen=True, slots=True)
class Frozen:
    """Writes are frozen here; `position` is the last log sequence written before (0 while there is no log)."""

    incarnation: str
    epoch: int
    freeze_id: str
    position: int = 0


@dataclass(frozen=True, slots=True)
class HookRan:
    """A hook of this agent has ended: for the history of the move that its epoch belongs to."""

    incarnation: str
    epoch: int
    hook: str
    """`on_promote` or `on_demote`."""
    exit_code: int
    """What it exited with; -1 when it was killed at its timeout or could not be started."""
    outcome: str
    """`succeeded`, `failed`, `timed out` or `not started`."""
    output: str
    """The end of what it printed, at most 4,000 characters."""
    length_ns: int


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened at this agent and belongs into the journal."""

    incarnation: str
    name: str
    """Of the event: lower-case words joined by `-`."""
    text: str
    warning: bool = False
    """Somebody should look."""
    age_ns: int = 0
    """How long ago it happened: it may have waited for a coordinator."""


FromAgent = (
    Hello
    | Report
    | Accept
    | Refuse
    | Released
    | ReleaseRefused
    | Frozen
    | HookRan
    | Notice
    | Progress
    | MetricsSnapshot
)


# ---- from the coordinator to an agent


@dataclass(frozen=True, slots=True)
class Welcome:
    """Answer to a hello."""

    lineage: Lineage
    adopt: bool
    """The agent belongs to another store and shall follow this one from now on."""
    epoch: int
    """The newest durable epoch."""
    report_interval_ns: int
    membership: Membership


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer to one report of one life; it renews the lease when it says so."""

    incarnation: str
    report: int
    lineage: Lineage
    epoch: int
    """The newest durable epoch."""
    renews: bool
    """The life's lease of `epoch` is renewed, counted from when the report was sent."""
    ttl_ns: int
    drift_ppm: int
    membership_version: int
    report_interval_ns: int


@dataclass(frozen=True, slots=True)
class Offer:
    """The active lease is this region's to take: counted from when the named report was sent."""

    incarnation: str
    report: int
    lineage: Lineage
    epoch: int
    ttl_ns: int
    drift_ppm: int
    membership: Membership
    from_region: str
    """The region that was active before, or empty."""
    reason: str


@dataclass(frozen=True, slots=True)
class Release:
    """Order to give the epoch up at once; final. A planned one names the freeze it rests on."""

    incarnation: str
    epoch: int
    store_id: str
    freeze_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Freeze:
    """Order to stop writes for a planned move. It ends by itself after `duration_ns`, counted from its arrival."""

    incarnation: str
    epoch: int
    store_id: str
    freeze_id: str
    duration_ns: int


@dataclass(frozen=True, slots=True)
class Thaw:
    """The planned move was given up: the freeze ends now."""

    freeze_id: str
    store_id: str


@dataclass(frozen=True, slots=True)
class WeightsUpdate:
    """The rows of this agent's region, and whom the coordinator believes active."""

    version: int
    strategy: int
    """Number of `primacy.v1.RoutingStrategy`."""
    read: tuple[tuple[str, float], ...]
    """(region, share), every registered region, sorted by name."""
    write: tuple[tuple[str, float], ...]
    active_region: str
    active_epoch: int
    endpoints: tuple[tuple[str, str], ...]
    """(region, endpoint) of every registered region, sorted by name."""
    locations: tuple[tuple[str, tuple[float, float]], ...] = ()
    """(region, (latitude, longitude) in degrees) of those that have one, sorted by name."""
    fallback: tuple[str, ...] | None = None
    """Regions with no share that may have reads when those with one cannot serve, the best first. None: an older
    coordinator does not say."""
    drained: tuple[str, ...] = ()
    """Regions that are drained or being drained, sorted."""
    panic_threshold: float = 0.5
    overprovisioning: float = 1.0
    local_shift_max: float = 1.0
    """The most of the row's reads that an agent moves by itself (I6)."""
    room: tuple[tuple[str, float], ...] = ()
    """(region, its share of what all can serve beyond what they are sent), sorted by name; what an agent moves goes by
    that. Empty: not known, or of no matter."""


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Where to look for one other agent or region endpoint."""

    region: str
    agent: str
    """`REGION/AGENT`."""
    address: str


@dataclass(frozen=True, slots=True)
class Directory:
    """Who is in the group: sent after the welcome and whenever it changes."""

    membership: Membership
    peers: tuple[PeerAddress, ...]
    """Every other agent of the group."""
    endpoints: tuple[tuple[str, str], ...]
    """(region, endpoint) of every other region that has one."""


ToAgent = (
    Welcome
    | Answer
    | Offer
    | Release
    | Freeze
    | Thaw
    | WeightsUpdate
    | Directory
    | Entries
    | TransferPlan
    | RetryParked
    | GroupMetrics
)

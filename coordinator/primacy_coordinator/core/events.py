"""What can happen to a group. Facts from agents, the store and the clock, and commands from operators.

A command carries the number of its request; exactly one `Reply` with that number follows it, sooner or later.
"""

from __future__ import annotations

from dataclasses import dataclass

from primacy_wire.messages import FromAgent, Hello

from primacy_coordinator.core.log_model import Draft, Durability
from primacy_coordinator.core.model import Policy, RegionSettings
from primacy_coordinator.core.severity import Severity


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """An agent said hello. Session numbers are the shell's, unique in its life."""

    session: int
    hello: Hello


@dataclass(frozen=True, slots=True)
class SessionClosed:
    session: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message of an open session, after its hello."""

    session: int
    message: FromAgent


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Nothing happened, and that may matter. Sent when `next_deadline` is reached."""


@dataclass(frozen=True, slots=True)
class Stalled:
    """The shell's own loop stood still for so long: silence in that time is ours, not the agents'."""

    length_ns: int


@dataclass(frozen=True, slots=True)
class Durable:
    """A `Persist` batch is on disk (batches become durable in order)."""

    batch: int


@dataclass(frozen=True, slots=True)
class RegisterRegion:
    request: int
    name: str
    settings: RegionSettings
    validate_only: bool = False


@dataclass(frozen=True, slots=True)
class UpdateRegion:
    """Sets what `paths` names to the values in `settings` (JSON names; unset values clear the operator's word)."""

    request: int
    name: str
    settings: RegionSettings
    paths: tuple[str, ...]
    """Of: location, priority, capacity, endpoint, labels."""
    etag: str = ""
    validate_only: bool = False


@dataclass(frozen=True, slots=True)
class DeregisterRegion:
    request: int
    name: str
    etag: str = ""
    override_rules: tuple[str, ...] = ()
    validate_only: bool = False


@dataclass(frozen=True, slots=True)
class SetPolicy:
    request: int
    policy: Policy
    etag: str = ""
    validate_only: bool = False
    owner: str = ""


@dataclass(frozen=True, slots=True)
class MoveActive:
    """`Failover`: move the active lease."""

    request: int
    target: str = ""
    forced: bool = False
    reason: str = ""
    owner: str = ""
    if_epoch: int | None = None
    override_rules: tuple[str, ...] = ()
    holder_fenced: str = ""
    """The region that the operator swears to have fenced, or empty."""
    validate_only: bool = False


@dataclass(frozen=True, slots=True)
class ApproveFailover:
    """Let a move that awaits approval go on."""

    request: int
    failover_id: str
    owner: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CancelFailover:
    """Give a move up that has not ordered a release yet, or refuse one that awaits approval."""

    request: int
    failover_id: str
    owner: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DrainRegion:
    """Take traffic off a region; the active one is moved away from first."""

    request: int
    name: str
    reason: str
    owner: str = ""
    expire_wall_ns: int | None = None
    """None: in an hour. Repeated for a region that is draining, it sets reason and expiry anew."""
    override_rules: tuple[str, ...] = ()
    validate_only: bool = False


@dataclass(frozen=True, slots=True)
class UndrainRegion:
    request: int
    name: str
    owner: str = ""


@dataclass(frozen=True, slots=True)
class CordonRegion:
    """Forbid a region to become active."""

    request: int
    name: str
    reason: str
    owner: str = ""
    expire_wall_ns: int | None = None
    validate_only: bool = False


@dataclass(frozen=True, slots=True)
class UncordonRegion:
    request: int
    name: str
    owner: str = ""


@dataclass(frozen=True, slots=True)
class PauseElection:
    """Put off automatic elections; renewals and manual moves go on."""

    request: int
    reason: str
    owner: str = ""
    expire_wall_ns: int | None = None
    validate_only: bool = False


@dataclass(frozen=True, slots=True)
class ResumeElection:
    request: int
    owner: str = ""


@dataclass(frozen=True, slots=True)
class PinWeights:
    """Set the reads of one client region, or of all, by hand."""

    request: int
    client_region: str
    """Empty: all."""
    shares: tuple[tuple[str, float], ...]
    reason: str
    owner: str = ""
    expire_wall_ns: int | None = None
    validate_only: bool = False


@dataclass(frozen=True, slots=True)
class UnpinWeights:
    request: int
    client_region: str
    owner: str = ""


@dataclass(frozen=True, slots=True)
class BrakeReleased:
    """The coordinator's brake over groups lets the failover begin that this group asked for (`BrakeAsked`)."""


@dataclass(frozen=True, slots=True)
class Recover:
    """`primacy recover`: with `confirm` the operator ends the doubt, else only the plan is returned."""

    request: int
    confirm: bool
    owner: str = ""


@dataclass(frozen=True, slots=True)
class PrepareDelete:
    """The group shall go: refused while a lease is out. Replies with the last epoch for the tombstone."""

    request: int


@dataclass(frozen=True, slots=True)
class Append:
    """Put an entry into the log. Replies with `log_model.Appended` when it is as durable as asked."""

    request: int
    draft: Draft
    durability: Durability | None = None
    """None: as the policy says."""
    if_version: int | None = None


@dataclass(frozen=True, slots=True)
class Noted:
    """Something that happened outside of the machine, for its journal: alerts."""

    kind: str
    message: str
    severity: Severity
    region: str = ""
    inputs: object = None


@dataclass(frozen=True, slots=True)
class AppendAbandoned:
    """Nobody waits for the answer to this request any more; the entry stays."""

    request: int


@dataclass(frozen=True, slots=True)
class ResolveConflict:
    """Decide a conflict. Replies with the `ConflictRecord`, decided."""

    request: int
    conflict_id: str
    take: str
    """`current`, `incoming` or `content`."""
    content: bytes = b""
    digest: str = ""
    """BLAKE3 of `content`, made by the shell."""
    if_version: int | None = None
    owner: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RetryEntry:
    """Let agents try parked entries again. Replies with `views.Retried`."""

    request: int
    sequence: int = 0
    """0: every parked one."""
    region: str = ""
    """Empty: all."""


Command = (
    RegisterRegion
    | UpdateRegion
    | DeregisterRegion
    | SetPolicy
    | MoveActive
    | ApproveFailover
    | CancelFailover
    | DrainRegion
    | UndrainRegion
    | CordonRegion
    | UncordonRegion
    | PauseElection
    | ResumeElection
    | PinWeights
    | UnpinWeights
    | Recover
    | PrepareDelete
    | Append
    | ResolveConflict
    | RetryEntry
)
"""What operators ask for."""

Event = (
    SessionOpened
    | SessionClosed
    | Heard
    | TimePassed
    | Stalled
    | Durable
    | BrakeReleased
    | AppendAbandoned
    | Noted
    | Command
)

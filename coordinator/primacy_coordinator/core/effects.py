"""What the machine orders its shell to do. Performed in order; what follows a `Persist` waits until it is durable.

Only an `Answer` in a `Send` may overtake: the machine puts nothing into an answer that is not durable already (I7).
The shell hands `Durable(batch)` back when a `Persist` is on disk; offers, release orders and whatever else rests on it
are decided then. If the store refuses a batch, the shell drops the machine and loads a new one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from primacy_wire.messages import ToAgent

from primacy_coordinator.core.model import Record
from primacy_coordinator.core.severity import Severity as Severity  # noqa: PLC0414 - one name for both places


@dataclass(frozen=True, slots=True)
class Drop:
    """Delete one record."""

    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class Persist:
    """Make these changes durable, all or none. Batches are numbered from 1 in the life of a machine."""

    batch: int
    writes: tuple[Record | Drop, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """Hand a message to an agent's session, if it is still open."""

    session: int
    message: ToAgent


class CloseReason(IntEnum):
    SUPERSEDED = 1
    """A newer life of the same agent said hello: ALREADY_EXISTS."""
    REFUSED = 2
    """The hello cannot be taken: FAILED_PRECONDITION (or as `rule` says)."""
    DEAF = 3
    """Reports arrive but none of our answers does: UNAVAILABLE, reconnect."""
    RECONNECTED = 5
    """The same life opened another session: this one is stale."""
    DEREGISTERED = 4
    """The region is gone: NOT_FOUND."""


@dataclass(frozen=True, slots=True)
class CloseSession:
    session: int
    reason: CloseReason
    rule: str
    """Constant for programs, e.g. `TWIN`, `REGISTRATION_CLOSED`, `PROTOCOL_VERSION`."""
    message: str


@dataclass(frozen=True, slots=True)
class Journal:
    """Write one event to the journal (I9). Written behind: its failure is an alert, not a failover."""

    sequence: int
    wall_ns: int
    kind: str
    """Dashed constant, e.g. `region-status`, `lease-granted`."""
    severity: Severity
    message: str
    region: str = ""
    epoch: int = 0
    failover_id: str = ""
    inputs: object = None
    """The frozen value that the decision was made from, or None."""


class Topic(IntEnum):
    """What changed, for watchers: they read again."""

    REGIONS = 1
    ACTIVE = 2
    WEIGHTS = 3
    FAILOVERS = 4
    POLICY = 5
    OVERRIDES = 6
    LOG = 7
    """Entries, or how far regions have come."""
    CONFLICTS = 8


@dataclass(frozen=True, slots=True)
class Changed:
    topic: Topic


@dataclass(frozen=True, slots=True)
class BrakeAsked:
    """An automatic failover wants to begin: `BrakeReleased` comes back when few enough others run. Asked once."""


@dataclass(frozen=True, slots=True)
class BrakeReturned:
    """The failover that was let through has ended, or was not needed any more."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer to a command: `value` on success, else `refusal`."""

    request: int
    value: object = None
    refusal: Refusal | None = None


class RefusalKind(IntEnum):
    INVALID = 1
    """Cannot be, whatever the state: INVALID_ARGUMENT, `fields` says where."""
    NOT_FOUND = 2
    ALREADY_EXISTS = 3
    PRECONDITION = 4
    """A rule refuses it now: FAILED_PRECONDITION with ErrorInfo(`rule`)."""
    STALE = 5
    """The etag is not the current one: ABORTED."""
    UNAVAILABLE = 6


@dataclass(frozen=True, slots=True)
class Refusal:
    kind: RefusalKind
    rule: str
    message: str
    fields: tuple[tuple[str, str], ...] = field(default=())
    """(field path as in JSON, what was expected)."""
    metadata: tuple[tuple[str, str], ...] = field(default=())


Effect = Persist | Send | CloseSession | Journal | Changed | Reply | BrakeAsked | BrakeReturned

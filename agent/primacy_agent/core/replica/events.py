"""What happens to an agent's copy of the log, and what it wants done."""

from __future__ import annotations

from dataclasses import dataclass

from primacy_wire.log_messages import Entries, Entry, Progress, RetryParked, TransferPlan

from primacy_agent.core.replica.memory import Change

# ---- events


@dataclass(frozen=True, slots=True)
class Received:
    message: Entries | RetryParked | TransferPlan


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A session is open: it says how far it has come."""


@dataclass(frozen=True, slots=True)
class Durable:
    """A `Keep` is on disk (they become durable in order)."""

    batch: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """The content of a model's version is complete and verified."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Applied:
    """Everything of an `Apply` is in force."""

    number: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A `Fetch` or an `Apply` came to nothing. `sequence` is the first that failed; what came before it is applied."""

    sequence: int
    reason: str
    number: int = 0
    """Of the `Apply`; 0: a `Fetch` failed."""
    final: bool = False
    """Trying again cannot help, as for a manifest that lies."""


@dataclass(frozen=True, slots=True)
class RetryDue:
    """The wait that a `Wait` asked for is over."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A version's content was dropped or found damaged: fetch it again if it is in force."""

    sequence: int


ReplicaEvent = Received | LinkUp | Durable | Fetched | Applied | Failed | RetryDue | Forgotten

# ---- effects


@dataclass(frozen=True, slots=True)
class Keep:
    """Make the changes durable, all or none. Batches are numbered from 1; `Durable` shall follow."""

    batch: int
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Say:
    """Tell the coordinator, if a session is open. Only what is durable is said (I7)."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get the content of a model's version: `Fetched` or `Failed` shall follow. A new plan for it replaces the old one
    without another answer."""

    entry: Entry
    plan: TransferPlan | None


@dataclass(frozen=True, slots=True)
class Apply:
    """Put these into force, in order: `Applied` or `Failed` with its number shall follow. One after the other."""

    number: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for a random time up to `ceiling_ns` (full jitter), then say `RetryDue`."""

    sequence: int
    ceiling_ns: int


@dataclass(frozen=True, slots=True)
class Resubmit:
    """These were in force here, and are not in the log that the group has now: append them again, under their ids."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Parked:
    """An entry was put aside, for people."""

    entry: Entry
    reason: str


ReplicaEffect = Keep | Say | Fetch | Apply | Wait | Resubmit | Parked

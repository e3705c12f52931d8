"""Records of the replication log, and what the policy says of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from primacy_wire.log_messages import Entry, EntryKind


class Durability(IntEnum):
    """When an append is acknowledged. Numbers are those of `primacy.v1.Durability`."""

    REGIONS = 1
    """When an agent of another region has verified the content."""
    LOCAL = 2
    """When it is in the store."""


class ConflictPolicy(IntEnum):
    """What becomes of two writes that do not know of each other. Numbers are those of `primacy.v1.ConflictPolicy`."""

    LAST_WRITER_WINS = 1
    ACTIVE_WINS = 2
    MERGE = 3
    REJECT = 4
    MANUAL = 5


class ConflictState(IntEnum):
    OPEN = 1
    RESOLVED = 2
    REJECTED = 3


class AppendOutcome(IntEnum):
    """What became of an append. Numbers are those of `primacy.v1.AppendOutcome`."""

    APPENDED = 1
    MERGED = 2
    WON = 3
    LOST = 4
    OPEN = 5


@dataclass(frozen=True, slots=True)
class EntryRecord:
    """One entry, as the store keeps it. Durable before anybody hears of it (I3, I7)."""

    kind: ClassVar[str] = "entry"
    entry: Entry
    chain: int
    """Fingerprint of the log up to and with it."""
    bytes_before: int
    """Bytes of all entries before it since the log began: two of these tell how many lie between."""

    @property
    def key(self) -> str:
        return f"{self.entry.sequence:016d}"


@dataclass(frozen=True, slots=True)
class LogRecord:
    """Where the kept part of the log begins."""

    kind: ClassVar[str] = "log"
    floor: int = 0
    """Entries up to here may be compacted away: who is behind it gets a snapshot."""
    floor_chain: int = 0

    @property
    def key(self) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class ConflictRecord:
    """Two writes of one key that did not know of each other, or one under a stale epoch; both are kept (I4, I5)."""

    kind: ClassVar[str] = "conflict"
    id: str
    """`cf-N`."""
    entry_key: str
    entry_kind: EntryKind
    state: ConflictState
    decided_by: str
    """Name of the policy, or `operator`."""
    cause: str
    """`CONCURRENT`, `STALE_EPOCH` or `KEY_TAKEN`."""
    base: Entry | None
    """The version that both knew, if it is kept."""
    current: Entry | None
    """The version that was in force; None: there was none."""
    incoming: Entry
    """The one that came second; its `sequence` is 0 unless it entered the log."""
    result: int
    """Sequence of the entry that the decision made; 0: the current one stayed."""
    outcome: AppendOutcome
    clashes: tuple[str, ...]
    """JSON pointers of the fields that both had changed."""
    created_wall_ns: int
    decided_wall_ns: int = 0
    owner: str = ""
    reason: str = ""

    @property
    def key(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class Draft:
    """What a writer wants in the log."""

    id: str
    kind: EntryKind
    key: str
    digest: str
    size: int
    parent: int
    time_wall_ns: int
    time_counter: int
    epoch: int
    origin: str
    agent: str
    content: bytes = b""
    format: str = ""
    removed: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class Appended:
    """Answer to an append."""

    sequence: int
    version: int
    outcome: AppendOutcome
    conflict_id: str = ""
    at_risk: bool = False

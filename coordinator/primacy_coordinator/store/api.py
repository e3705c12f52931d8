"""What a coordinator asks of a store, whatever is behind it: batches that are there whole or not at all.

A store belongs to one process at a time. It has a random `store_id` from its creation and writes a random `run_id` at
every opening, durable before it returns; it keeps all of them, so that an older copy gives itself away (I2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from primacy_coordinator.core.effects import Drop, Journal, Severity
from primacy_coordinator.core.model import Loaded, Record


class StoreError(Exception):
    """A store cannot do what was asked. The message names the file and what to do.

    StoreError
    +-- StoreLocked        another process has it open
    +-- StoreNewer         a newer version of Primacy wrote it; it was left as it was
    +-- StoreDamaged       it is not what Primacy wrote; it was left as it was
    `-- StoreRefused       it cannot be written now; what was durable can still be read
        +-- StoreFull      no room on the disk
        `-- StoreReadOnly  this process may not write there
    """


class StoreLocked(StoreError):
    pass


class StoreNewer(StoreError):
    pass


class StoreDamaged(StoreError):
    pass


class StoreRefused(StoreError):
    pass


class StoreFull(StoreRefused):
    pass


class StoreReadOnly(StoreRefused):
    pass


Write = Record | Drop
Settled = Callable[[StoreError | None], None]
"""Called on the event loop's thread, once per batch and in the order of submission."""


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group that exists, or existed: `deleted_wall_ns` 0 means that it exists."""

    name: str
    created_wall_ns: int
    deleted_wall_ns: int = 0
    last_epoch: int = 0
    """Of a deleted group: a group made again under its name starts above it (I2)."""


class StateStore(Protocol):
    """The durable state of all groups. Methods are called on the event loop's thread."""

    @property
    def store_id(self) -> str: ...

    @property
    def run_id(self) -> str: ...

    async def groups(self) -> tuple[GroupRow, ...]:
        """Every group, deleted ones included, by name."""
        ...

    async def create_group(self, name: str, created_wall_ns: int) -> GroupRow:
        """Make a group; one that was deleted comes back with its last epoch. Idempotent."""
        ...

    async def delete_group(self, name: str, deleted_wall_ns: int, last_epoch: int) -> None:
        """Drop a group's records and leave a tombstone with its last epoch."""
        ...

    async def load(self, group: str) -> Loaded:
        """Every record of the group."""
        ...

    def submit(self, group: str, writes: Sequence[Write], settled: Settled) -> None:
        """Make the batch durable, all or none; of writes to the same key the last counts. Never raises.

        If it fails, later batches of the group that were submitted before `settled` was called fail too, for they rest
        on it. After a disk that failed to sync (not after a full one) a later start may yet find a refused batch: it
        was told to nobody, and the wait at the start covers it.
        """
        ...

    async def close(self) -> None:
        """Finish what was submitted and let go of the files."""
        ...


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which entries of the journal are wanted. Empty or 0: all."""

    group: str
    kinds: tuple[str, ...] = ()
    region: str = ""
    failover_id: str = ""
    severity_min: Severity = Severity.INFO
    after: int = 0
    """Only entries with a higher sequence."""
    before: int = 0
    """Only entries with a lower sequence."""


class History(Protocol):
    """The journal (I9): written behind, in a file of its own. Its failure is an alert, never a failover."""

    @property
    def trouble(self) -> str:
        """Why entries are being lost, or empty."""
        ...

    @property
    def dropped_count(self) -> int: ...

    def append(self, group: str, entry: Journal) -> None:
        """Write the entry behind; never fails and never waits."""
        ...

    async def last_sequence(self, group: str) -> int:
        """The highest sequence of the group that was ever written; 0: none. Raises StoreError."""
        ...

    async def events(self, wanted: EventFilter, count: int, newest_first: bool = True) -> tuple[StoredEvent, ...]:
        """At most `count` entries, what was appended before the call included. Raises StoreError."""
        ...

    async def close(self) -> None:
        """Write what waits, if the disk takes it, and let go of the file."""
        ...


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An entry of the journal as it is read back; `inputs` is JSON, or empty."""

    sequence: int
    wall_ns: int
    kind: str
    severity: Severity
    message: str
    region: str
    epoch: int
    failover_id: str
    inputs: str


class AlertStore(Protocol):
    """Where the state of alerts outlives the process: written behind, and lost without harm to anything else."""

    @property
    def trouble(self) -> str:
        """Why it cannot be written, or empty."""
        ...

    async def load_alerts(self, group: str) -> str:
        """What `save_alerts` was given last; empty: nothing. Raises StoreError."""
        ...

    def save_alerts(self, group: str, state: str) -> None:
        """Keep the state of a group's alerts: written behind, the newest alone; never fails and never waits."""
        ...

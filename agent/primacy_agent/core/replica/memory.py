"""What an agent's copy of the log is made of, and what of it survives a restart."""

from __future__ import annotations

from dataclasses import dataclass, field

from primacy_wire.log_messages import Entry, EntryKind, ParkedNote

Name = tuple[EntryKind, str]


@dataclass(slots=True)
class ReplicaMemory:
    """What the journal hands over at a start."""

    store_id: str = ""
    received: int = 0
    chain: int = 0
    settled: int = 0
    pending: dict[int, Entry] = field(default_factory=dict)
    """Received and neither applied nor superseded: what is above `settled`, and what is parked."""
    parked: dict[int, ParkedNote] = field(default_factory=dict)
    current: dict[Name, Entry] = field(default_factory=dict)
    """The applied version of each name."""


# ---- what the journal is told to keep


@dataclass(frozen=True, slots=True)
class Take:
    """The log has grown by these."""

    store_id: str
    received: int
    chain: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Settle:
    """Everything up to `settled` is applied or parked; `applied` are the newest of it, in order."""

    settled: int
    applied: tuple[Entry, ...] = ()
    parked: tuple[ParkedNote, ...] = ()
    unparked: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Begin:
    """Another log begins: a snapshot. What is applied stays until its entries say otherwise."""

    store_id: str
    received: int
    chain: int
    settled: int
    entries: tuple[Entry, ...]
    """Those of it that are not applied yet."""
    same: tuple[Entry, ...]
    """Those that are, under the numbers that they have now."""


Change = Take | Settle | Begin

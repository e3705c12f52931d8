"""The words of the replication log, spoken by both cores (see `messages`).

The log of a group is a gapless sequence of entries, made by its coordinator alone. What is not needed any more is
compacted away: of each key the newest versions stay, of consecutive heartbeats the last. A fingerprint of the ids of
all entries up to a number (`chain`) tells two logs apart that have the same numbers, as after an older store was put
back: same number and same chain mean the same log up to there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum

from primacy_wire.hlc import HybridTime

CONTENT_BYTES_MAX = 1 << 20
"""The largest configuration document."""
KEY_LENGTH_MAX = 256
MODEL_NAME_LENGTH_MAX = 128


class EntryKind(IntEnum):
    """Numbers are those of `primacy.v1.EntryKind`."""

    MODEL = 1
    CONFIG = 2
    HEARTBEAT = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One item of the log."""

    sequence: int
    id: str
    """The writer's name for it, unique within the group."""
    kind: EntryKind
    key: str
    digest: str
    """BLAKE3 in hexadecimal: of a model's manifest, or of the document. Empty for heartbeats and removals."""
    size: int
    """Bytes of the content."""
    version: int
    """Of its key, from 1."""
    parent: int
    """Sequence of the version that the writer knew; 0: none."""
    time: HybridTime
    epoch: int
    """That the writer believed in force."""
    origin: str
    """The region that wrote it."""
    agent: str
    """`REGION/AGENT`."""
    sequenced_wall_ns: int
    """When the coordinator numbered it."""
    content: bytes = b""
    format: str = ""
    """`json` or `yaml`."""
    removed: bool = False
    conflict_id: str = ""
    """The conflict in which it won or was made."""
    time_clamped: bool = False
    message: str = ""
    by_active: bool = False
    """Its origin held the active lease of `epoch` when it was numbered."""


def chain_after(chain: int, entry_id: str) -> int:
    """The fingerprint of a log one entry longer: 63 bits. The empty log has 0."""
    digest = hashlib.blake2b(chain.to_bytes(8, "big") + entry_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


# ---- from an agent


@dataclass(frozen=True, slots=True)
class ParkedNote:
    """An entry that an agent has put aside."""

    sequence: int
    key: str
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Fetching:
    """A model that an agent fetches."""

    sequence: int
    received: int
    """Bytes on its disk, verified."""
    size: int
    """Bytes in all."""


FETCHING_COUNT_MAX = 32
"""So many are told of."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an agent has come in the log. Said after every hello, at every change, and with every report while the
    coordinator's log is ahead: it may be said twice, and never goes back but with a snapshot."""

    incarnation: str
    store_id: str = ""
    """Whose log that is. Empty: none yet."""
    received: int = 0
    """Every entry up to here is on the agent's disk."""
    chain: int = 0
    """At `received`."""
    settled: int = 0
    """Every entry up to here was applied or parked (I3)."""
    parked: tuple[ParkedNote, ...] = ()
    verified: tuple[int, ...] = ()
    """Entries beyond `settled` whose content is complete and verified."""
    uplink: int = 0
    """Bytes per second that it could send lately; 0: not measured."""
    models: tuple[tuple[str, int], ...] = ()
    """(name, sequence) of the applied version of each model, sorted."""
    fetching: tuple[Fetching, ...] = ()
    """Of this moment, the oldest entries first; no more than `FETCHING_COUNT_MAX`. For people."""


# ---- to an agent


@dataclass(frozen=True, slots=True)
class Entries:
    """Everything that is kept of the log between two numbers, or a part of a snapshot.

    Taken when `after` is at most what was received and, for the agent's own number, the chain is the same; else the
    agent says its progress again. The first part of a snapshot has `after` 0: what was received before does not count
    any more, what was applied stays until the snapshot says otherwise.
    """

    store_id: str
    after: int
    after_chain: int
    upto: int
    upto_chain: int
    entries: tuple[Entry, ...]
    head: int
    """The newest durable entry."""
    snapshot: bool = False
    """The current version of each key up to `snapshot_upto`, in order of their numbers."""
    snapshot_upto: int = 0
    diverged: bool = False
    """The agent's log went another way: what it has and the snapshot lacks is not in this log."""


@dataclass(frozen=True, slots=True)
class TransferPlan:
    """Who fetches what of one model from whom."""

    sequence: int
    digest: str
    holders: tuple[str, ...]
    """Agents that have all of it (`REGION/AGENT`), the best for the receiver first."""
    shares: tuple[tuple[str, int], ...]
    """(agent, weight) of all that fetch it now, sorted: each takes its share of the pieces from a holder."""
    version: int


@dataclass(frozen=True, slots=True)
class RetryParked:
    """Try these again, with a fresh budget."""

    sequences: tuple[int, ...]


# ---- metrics: latest wins, in both directions and from agent to agent; never in the log


@dataclass(frozen=True, slots=True)
class SeriesSketch:
    """One series of one window, as a sketch that can be merged (see `sketch`)."""

    name: str
    count: int
    sum: float
    min: float
    max: float
    last: float
    zeros: int = 0
    first_bucket: int = 0
    buckets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """What one agent, or all of a region, measured in one window."""

    region: str
    agent: str
    """`REGION/AGENT`. Empty: all agents of the region, merged."""
    incarnation: str
    """The life of the agent, or of the coordinator that merged."""
    version: int
    """Grows with every snapshot of the life."""
    window_ns: int
    wall_ns: int
    """End of the window, by the agent's wall clock."""
    series: tuple[SeriesSketch, ...] = ()
    dropped: int = 0
    """Values that the agent has left out in its life, because it had too many series."""


@dataclass(frozen=True, slots=True)
class GroupMetrics:
    """The newest snapshot of each region, its agents merged, or of those that have news for the receiver."""

    snapshots: tuple[MetricsSnapshot, ...]

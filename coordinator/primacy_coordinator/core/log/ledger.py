"""What is kept of the log, and where it stands.

Heartbeats have numbers like any entry, but the fingerprint of the log passes them by: of consecutive ones only the
newest is kept, and nobody need know the others.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from primacy_wire.log_messages import Entry, EntryKind, Progress, chain_after

from primacy_coordinator.core.log_model import Appended, ConflictRecord, EntryRecord, LogRecord

TIMES_MAX = 20_000
"""Instants of entries that are remembered; who is farther behind is as old as the oldest of them."""

Name = tuple[EntryKind, str]
"""What versions belong to: a model or a document."""
Shares = tuple[tuple[str, int], ...]
"""(agent, weight) of those that fetch a content together, sorted."""


@dataclass(slots=True)
class LogPeer:
    """How far the log has come over one session."""

    progress: Progress | None = None
    moved_ns: int = 0
    """When the agent's position last changed, or was sent from anew."""
    sent: int = 0
    """Everything up to here was sent; it may have been lost."""
    snapshot_upto: int = 0
    """A snapshot is under way, and ends here; 0: none."""
    snapshot_chain: int = 0
    diverged: bool = False
    """The agent's log was no part of this one when the snapshot began."""
    parts: set[int] = field(default_factory=set)
    """Ends of the parts of it that were sent."""
    plans: dict[int, tuple[tuple[str, ...], Shares]] = field(default_factory=dict)
    """sequence -> (holders, shares) of the transfer plan that was sent."""


@dataclass(slots=True)
class Waiting:
    """An append whose caller waits until another region has the content."""

    request: int
    since_ns: int
    appended: Appended
    """What it will be told."""


@dataclass(slots=True)
class Ledger:
    """The log of one group. Sequences that are kept are in `order`; everything above `floor` but heartbeats is."""

    records: dict[int, EntryRecord] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    head: int = 0
    head_chain: int = 0
    total_bytes: int = 0
    """Of all entries that ever were."""
    kept_bytes: int = 0
    """Of the documents that are kept."""
    durable_head: int = 0
    """The newest entry that is on disk: nothing above is told to anybody (I7)."""
    writing: list[tuple[int, int]] = field(default_factory=list)
    """(batch, head) on their way to the disk."""
    floor: int = 0
    floor_chain: int = 0
    current: dict[Name, Entry] = field(default_factory=dict)
    folders: dict[str, int] = field(default_factory=dict)
    """How many documents lie below each beginning of a key: `a` and `a/b` for `a/b/c`."""
    versions: dict[Name, list[int]] = field(default_factory=dict)
    """Sequences of what is kept of each name, the oldest first."""
    ids: dict[str, int] = field(default_factory=dict)
    conflicts: dict[str, ConflictRecord] = field(default_factory=dict)
    """Oldest first."""
    conflict_of: dict[str, str] = field(default_factory=dict)
    """id of an incoming write -> its conflict."""
    conflict_count: int = 0
    """The highest number that any conflict had."""
    waiting: dict[int, list[Waiting]] = field(default_factory=dict)
    """By sequence."""
    head_ns: int = 0
    """When the newest entry was sequenced, by this machine's clock; after a start as far as the wall clock tells."""
    active_seen_ns: int | None = None
    """When an agent of this coordinator's life was first heard to be active; None: none was yet."""
    stalled_since_ns: int | None = None
    quiet: bool = False
    """The store refused a batch: no heartbeat until it took another one."""
    newest_model: int = 0
    """Number of the newest version of any model."""
    model_names: set[str] = field(default_factory=set)
    planned_ns: int = 0
    """When transfers were last planned."""
    planned_model: int = 0
    """Models up to here were planned for all that were there."""
    plan_due_ns: int | None = None
    """When transfers are to be planned anew; None: nothing has changed."""
    plans_told: int = 0
    """How many plans were sent: the version of each is its number."""
    transfers: dict[int, list[Shares]] = field(default_factory=dict)
    """sequence -> the cohorts that fetch it now."""
    fed_ns: int = 0
    """When sessions were last fed."""
    stale: bool = False
    """There may be something below the floor that can go."""
    grown: dict[Name, None] = field(default_factory=dict)
    """Names that got versions since the older ones were last looked at."""
    tight: bool = False
    """There was no room for older versions when they were last looked at."""
    heartbeats: list[int] = field(default_factory=list)
    """Sequences of those that are kept."""
    feed_due_ns: int | None = None
    """When sessions get what became durable since they were last fed; None: nothing has."""
    _times: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    """(sequences, when each was sequenced) of the newest."""

    # ---- growth

    def add(self, entry: Entry, now_ns: int) -> EntryRecord:
        """Take the next entry in; its number is `head + 1`."""
        assert entry.sequence == self.head + 1, "I3: the log has no gaps"
        chain = self.head_chain if entry.kind is EntryKind.HEARTBEAT else chain_after(self.head_chain, entry.id)
        record = EntryRecord(entry, chain, self.total_bytes)
        self._keep(record)
        self.head, self.head_chain, self.head_ns = entry.sequence, chain, now_ns
        self.total_bytes += entry.size
        self._note_time(entry.sequence, now_ns)
        return record

    def _keep(self, record: EntryRecord) -> None:
        entry = record.entry
        self.records[entry.sequence] = record
        self.order.append(entry.sequence)
        if entry.kind is EntryKind.HEARTBEAT:
            self.heartbeats.append(entry.sequence)
            return
        self.ids[entry.id] = entry.sequence
        self.kept_bytes += len(entry.content)
        name = entry.kind, entry.key
        if entry.kind is EntryKind.CONFIG:
            before = self.current.get(name)
            self._note_folders(entry.key, (not entry.removed) - (before is not None and not before.removed))
        self.current[name] = entry
        if entry.kind is EntryKind.MODEL:
            self.newest_model = max(self.newest_model, entry.sequence)
            self.model_names.add(entry.key)
        self.versions.setdefault(name, []).append(entry.sequence)
        self.grown[name] = None

    def _note_folders(self, key: str, change: int) -> None:
        if change:
            for folder in _folders(key):
                count = self.folders.pop(folder, 0) + change
                if count:
                    self.folders[folder] = count

    def _note_time(self, sequence: int, now_ns: int) -> None:
        sequences, times = self._times
        sequences.append(sequence)
        times.append(now_ns)
        if len(sequences) >= 2 * TIMES_MAX:
            del sequences[:TIMES_MAX]
            del times[:TIMES_MAX]

    def drop_heartbeat(self) -> EntryRecord | None:
        """The newest kept entry, if it is a heartbeat: it is not needed beside a newer one."""
        last = self.records[self.order[-1]] if self.order else None
        if last is None or last.entry.kind is not EntryKind.HEARTBEAT:
            return None
        self.order.pop()
        self.heartbeats.pop()
        return self.records.pop(last.entry.sequence)

    def drop(self, sequence: int) -> EntryRecord:
        """Compact one entry away. It must not be the current version of its name."""
        record = self.records.pop(sequence)
        entry = record.entry
        at = bisect_left(self.order, sequence)
        del self.order[at]
        if entry.kind is EntryKind.HEARTBEAT:
            self.heartbeats.remove(sequence)
        else:
            self.ids.pop(entry.id, None)
            self.kept_bytes -= len(entry.content)
            self.versions[entry.kind, entry.key].remove(sequence)
        return record

    @classmethod
    def restored(
        cls,
        log: LogRecord,
        records: Iterable[EntryRecord],
        conflicts: Iterable[ConflictRecord],
        now_ns: int,
        now_wall_ns: int,
    ) -> Ledger:
        """The log as the store kept it. An entry's age is told by the wall clock, and never below zero."""
        self = cls(floor=log.floor, floor_chain=log.floor_chain, head=log.floor, head_chain=log.floor_chain)
        self.head_ns = now_ns
        for record in sorted(records, key=lambda r: r.entry.sequence):
            self._keep(record)
            entry = record.entry
            self.head = max(self.head, entry.sequence)
            self.total_bytes = record.bytes_before + entry.size
            if entry.sequence > self.floor:
                self.head_chain = record.chain
            self.head_ns = now_ns - max(0, now_wall_ns - entry.sequenced_wall_ns)
            self._note_time(entry.sequence, self.head_ns)
        self.durable_head = self.head
        for conflict in sorted(conflicts, key=lambda c: conflict_number(c.id)):
            self.note_conflict(conflict)
        return self

    def note_conflict(self, conflict: ConflictRecord) -> None:
        self.conflicts[conflict.id] = conflict
        self.conflict_of[conflict.incoming.id] = conflict.id
        self.conflict_count = max(self.conflict_count, conflict_number(conflict.id))

    # ---- questions

    def in_the_way(self, key: str) -> str:
        """A document because of which there can be none of this key: each is a file, and none is a folder, too."""
        for folder in _folders(key):
            other = self.current.get((EntryKind.CONFIG, folder))
            if other is not None and not other.removed:
                return folder
        if key not in self.folders:
            return ""
        below = (
            other
            for (kind, other), entry in self.current.items()
            if kind is EntryKind.CONFIG and not entry.removed and other.startswith(f"{key}/")
        )
        return min(below)

    def chain_at(self, sequence: int) -> int | None:
        """The fingerprint of the log up to a number; None: not known any more, or not yet."""
        if not self.floor <= sequence <= self.head:
            return None
        at = bisect_right(self.order, sequence) - 1
        if at < 0 or self.order[at] <= self.floor:
            return self.floor_chain
        return self.records[self.order[at]].chain

    def beyond(self, sequence: int, upto: int) -> Iterator[Entry]:
        """What is kept with a number above `sequence`, to `upto`, the oldest first."""
        for at in range(bisect_right(self.order, sequence), bisect_right(self.order, upto)):
            yield self.records[self.order[at]].entry

    def count_beyond(self, sequence: int) -> int:
        """How many entries are kept above a number, heartbeats left out."""
        found = len(self.order) - bisect_right(self.order, sequence)
        return found - (len(self.heartbeats) - bisect_right(self.heartbeats, sequence))

    def bytes_beyond(self, sequence: int) -> int:
        """Bytes of all entries above a number."""
        at = bisect_right(self.order, sequence)
        if at >= len(self.order):
            return 0
        return self.total_bytes - self.records[self.order[at]].bytes_before

    def age_beyond(self, sequence: int, now_ns: int) -> int:
        """Since when the oldest entry above a number has been there; 0: there is none."""
        if sequence >= self.head:
            return 0
        sequences, times = self._times
        at = bisect_right(sequences, sequence)
        return max(0, now_ns - times[at]) if at < len(times) else 0


def _folders(key: str) -> list[str]:
    parts = key.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def conflict_number(conflict_id: str) -> int:
    """N of `cf-N`."""
    return int(conflict_id.rpartition("-")[2])

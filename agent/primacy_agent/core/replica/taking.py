"""Taking the log in: contiguous, checked by its fingerprint, and anew from a snapshot when it went another way."""

from __future__ import annotations

from dataclasses import dataclass, field

from primacy_wire.log_messages import Entries, Entry, EntryKind, chain_after

from primacy_agent.core.replica.memory import Begin, Name, ReplicaMemory, Take


@dataclass(slots=True)
class Building:
    """A snapshot that is coming in parts."""

    store_id: str
    position: int = 0
    diverged: bool = False
    entries: dict[Name, Entry] = field(default_factory=dict)


def take_next(memory: ReplicaMemory, message: Entries) -> Take | None:
    """Take what follows the log that is here; None: it does not fit, or is known."""
    if memory.store_id not in ("", message.store_id) or message.after > memory.received:
        return None
    if message.upto <= memory.received or (message.after == memory.received and message.after_chain != memory.chain):
        return None
    chain = memory.chain
    fresh = tuple(entry for entry in message.entries if entry.sequence > memory.received)
    for entry in fresh:
        if entry.kind is not EntryKind.HEARTBEAT:
            chain = chain_after(chain, entry.id)
    if chain != message.upto_chain:
        return None  # Another log, whatever its numbers: the coordinator hears where this one stands.
    memory.store_id, memory.received, memory.chain = message.store_id, message.upto, chain
    for entry in fresh:
        memory.pending[entry.sequence] = entry
    return Take(message.store_id, message.upto, chain, fresh)


def take_part(building: Building | None, message: Entries) -> Building | None:
    """The snapshot with this part; the old one when the part does not fit."""
    if message.after == 0:
        building = Building(message.store_id, diverged=message.diverged)
    if building is None or message.store_id != building.store_id or message.after != building.position:
        return building
    building.entries |= {(entry.kind, entry.key): entry for entry in message.entries}
    building.position = message.upto
    return building


def begin(memory: ReplicaMemory, building: Building, chain: int) -> tuple[Begin, tuple[Entry, ...]]:
    """Go over to the finished snapshot. Returns what the journal keeps, and what the group's log does not have."""
    orphans = _orphans(memory, building) if building.diverged else ()
    # What was about to be applied may be in force by now, whatever is known of it.
    uncertain = {(entry.kind, entry.key) for entry in memory.pending.values()}
    fresh: dict[int, Entry] = {}
    same: list[Entry] = []
    for name, entry in building.entries.items():
        mine = memory.current.get(name)
        if name in uncertain:
            fresh[entry.sequence] = entry
        elif mine is not None and mine.id == entry.id and (mine.digest, mine.removed) == (entry.digest, entry.removed):
            memory.current[name] = entry
            same.append(entry)
        elif mine is not None or not entry.removed:
            fresh[entry.sequence] = entry
    memory.store_id, memory.received, memory.chain = building.store_id, building.position, chain
    memory.pending = dict(sorted(fresh.items()))
    memory.parked.clear()
    memory.settled = min(fresh) - 1 if fresh else building.position
    change = Begin(
        memory.store_id,
        memory.received,
        chain,
        memory.settled,
        tuple(memory.pending.values()),
        tuple(sorted(same, key=lambda entry: entry.sequence)),
    )
    return change, orphans


def _orphans(memory: ReplicaMemory, building: Building) -> tuple[Entry, ...]:
    """What was in force or about to be here, and is not what the snapshot has: the group decides by its policies."""
    known = {entry.id for entry in building.entries.values()}
    mine = [*memory.current.values(), *memory.pending.values()]
    found = {entry.id: entry for entry in mine if entry.kind is not EntryKind.HEARTBEAT and entry.id not in known}
    return tuple(sorted(found.values(), key=lambda entry: entry.time))

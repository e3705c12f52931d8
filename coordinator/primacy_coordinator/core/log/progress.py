"""How far each region has come: what elections, prices and operators look at.

A region is as far as its agent that is farthest, among those that are heard: that one could take over. What nobody has
said is not known, and refuses nobody.
"""

from __future__ import annotations

from primacy_wire.log_messages import EntryKind, ParkedNote, Progress
from primacy_wire.messages import Lag

from primacy_coordinator.core import observation
from primacy_coordinator.core.log import durability
from primacy_coordinator.core.state import Region, State


def of_region(state: State, region: str) -> list[tuple[str, Progress]]:
    """(agent, what it said) of those that keep this log."""
    return sorted(
        (session.key, session.log.progress)
        for session in durability.following(state)
        if session.region == region and session.log.progress is not None
    )


def best_of(state: State, region: str) -> Progress | None:
    """Of the agent that is farthest: applied most, with least put aside."""
    said = [progress for _, progress in of_region(state, region)]
    return max(said, key=lambda progress: (progress.settled, -len(progress.parked)), default=None)


def lag_of(state: State, region: str, now_ns: int) -> Lag | None:
    """What the region has not applied; None: not known, or nothing was ever in the log but heartbeats."""
    best = best_of(state, region)
    if best is None or not (state.log.current or state.log.floor):
        return None
    return _beyond(state, best, state.log.head, tuple(note.sequence for note in best.parked), now_ns)


def deficit_of(state: State, region: str, now_ns: int) -> Lag | None:
    """What the region has not applied and another one that is heard has: what waiting for another could save.

    What no region has applied speaks against none of them, or one entry that nobody can apply would leave the group
    without an active region for good (I8). It is priced all the same.
    """
    best = best_of(state, region)
    if best is None or not (state.log.current or state.log.floor):
        return None
    others = [other for name in state.regions if name != region and (other := best_of(state, name)) is not None]
    upto = max((other.settled for other in others), default=0)
    parked = tuple(
        note.sequence for note in best.parked if any(durability.has(other, note.sequence) for other in others)
    )
    return _beyond(state, best, upto, parked, now_ns)


def _beyond(state: State, best: Progress, upto: int, parked: tuple[int, ...], now_ns: int) -> Lag:
    """What lies between what was settled and `upto`, and what of it was put aside."""
    ledger = state.log
    entries, size, age_ns = len(parked), 0, 0
    if upto > best.settled:
        entries += ledger.count_beyond(best.settled) - ledger.count_beyond(upto)
        size = ledger.bytes_beyond(best.settled) - ledger.bytes_beyond(upto)
        age_ns = ledger.age_beyond(best.settled, now_ns)
    for sequence in parked:
        record = ledger.records.get(sequence)
        if record is not None:
            size += record.entry.size
        age_ns = max(age_ns, ledger.age_beyond(sequence - 1, now_ns))
    return Lag(age_ns, entries, size)


def data_lag(state: State, region: Region, now_ns: int) -> Lag:
    """How far a region is behind by everything that is known: what its service says, and what the log says."""
    return worse(observation.lag_of(region), lag_of(state, region.record.name, now_ns))


def data_deficit(state: State, region: Region, now_ns: int) -> Lag:
    """How far a region is behind others: what its service says, and what others have applied of the log."""
    return worse(observation.lag_of(region), deficit_of(state, region.record.name, now_ns))


def worse(one: Lag, other: Lag | None) -> Lag:
    """Of what the service says and what the log says, the worse in each figure."""
    if other is None:
        return one
    return Lag(max(one.age_ns, other.age_ns), max(one.entries, other.entries), max(one.bytes, other.bytes))


def is_caught_up(state: State, region: str) -> bool:
    """Whether it has applied everything; also true where nobody keeps the log, for there is nothing to wait for."""
    best = best_of(state, region)
    if best is None:
        return not (state.log.current or state.log.floor)
    return not best.parked and not state.log.count_beyond(best.settled)


def missing_models(state: State, region: str) -> tuple[str, ...]:
    """Required models whose current version the region has not applied."""
    best = best_of(state, region)
    applied = dict(best.models) if best is not None else {}
    found = []
    for name in state.policy.required_models:
        current = state.log.current.get((EntryKind.MODEL, name))
        if current is not None and not current.removed and applied.get(name) != current.sequence:
            found.append(name)
    return tuple(found)


def against(state: State, region: str) -> tuple[tuple[str, str], ...]:
    """(rule, detail) of what the log says against electing the region, beside its lag."""
    found = []
    missing = missing_models(state, region)
    if missing:
        found.append(("MODEL_MISSING", f"it has not applied the current version of {', '.join(missing)}"))
    best = best_of(state, region)
    if best is not None and best.parked:
        found.append(("PARKED", _in_words(best.parked)))
    return tuple(found)


def _in_words(parked: tuple[ParkedNote, ...]) -> str:
    first = parked[0]
    more = f", and {len(parked) - 1} more" if len(parked) > 1 else ""
    return f"it has put entry {first.sequence} ({first.key}) aside{more}: {first.reason}"

"""Who fetches the content of a model from whom: told to every agent that lacks it, and again when that changes.

1. Agents that fetch the current version of a model at the same time are a cohort: each takes its share of the pieces
   from a holder, by what it could send lately, and the others from those whose share they are (see
   `primacy_wire.stripes`). So the holders send each byte about once for a cohort. The bytes never pass here.
2. All of a cohort are told the very same shares; they change only when somebody joins or is lost. Who has got
   everything stays: the others hear it from itself, and get its pieces from it.
3. What was superseded, and what an agent has put aside, is told with holders alone: nobody waits for who may not want
   it.
4. A plan goes out before the entry that it is for, where the agent follows closely.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from primacy_wire.instant import MILLISECOND_NS
from primacy_wire.log_messages import Entry, EntryKind, Progress, TransferPlan

from primacy_coordinator.core.log import durability
from primacy_coordinator.core.log.ledger import Shares
from primacy_coordinator.core.state import Session, State
from primacy_coordinator.core.turn import Turn

PLAN_GAP_NS = 200 * MILLISECOND_NS
"""Plans are looked at no more often, but for a model that has just become durable."""
COHORT_MAX = 64
"""More that fetch at once are several cohorts: the plan of each names all its members."""
HOLDERS_MAX = 8
MODELS_MAX = 16
"""Of one agent so many are planned at once, the oldest first: it fetches in that order."""
FAR_NS = 1 << 62


@dataclass(frozen=True, slots=True)
class _Lack:
    """An agent and a content that it has not."""

    session: Session
    entry: Entry
    shared: bool
    """It fetches it with others."""


# ---- when


def on_durable(state: State, turn: Turn) -> None:
    """A new version of a model is about to be told: say first who has it."""
    ledger = state.log
    if ledger.planned_model < ledger.newest_model <= ledger.durable_head:
        plan(state, turn)


def on_progress(state: State, turn: Turn, before: Progress | None, after: Progress) -> None:
    """An agent has come, or has got something, or has put something aside."""
    ledger = state.log
    if before is not None and (before.verified, before.parked) == (after.verified, after.parked):
        return
    if ledger.transfers or after.settled < ledger.newest_model or after.parked:
        ledger.plan_due_ns = max(turn.now.mono_ns, ledger.planned_ns + PLAN_GAP_NS)
        on_wake(state, turn)


def on_wake(state: State, turn: Turn) -> None:
    if state.log.plan_due_ns is not None and turn.now.mono_ns >= state.log.plan_due_ns:
        plan(state, turn)


def on_time(state: State, turn: Turn) -> None:
    if turn.now.mono_ns - state.log.planned_ns >= PLAN_GAP_NS:
        plan(state, turn)


def deadlines(state: State) -> list[int]:
    return [state.log.plan_due_ns] if state.log.plan_due_ns is not None else []


# ---- what


def plan(state: State, turn: Turn) -> None:
    """Tell every agent what it does not know yet of whom to ask."""
    ledger = state.log
    ledger.planned_ns, ledger.plan_due_ns = turn.now.mono_ns, None
    if state.doubt is not None:
        return
    ledger.planned_model = min(ledger.newest_model, ledger.durable_head)
    sessions = [session for session in state.sessions.values() if _follows(state, session)]
    lacks = [lack for session in sessions for lack in _lacks_of(state, session)]
    by_entry: dict[int, list[_Lack]] = {}
    for lack in lacks:
        by_entry.setdefault(lack.entry.sequence, []).append(lack)
    for sequence in ledger.transfers.keys() - by_entry.keys():
        del ledger.transfers[sequence]
    for session in sessions:
        for sequence in session.log.plans.keys() - by_entry.keys():
            del session.log.plans[sequence]
    regions: dict[int, list[str]] = {}
    present = {session.key for session in sessions}
    for sequence, found in by_entry.items():
        cohorts = _cohorts(state, sequence, found, present)
        holders = _by_region(session for session in sessions if _holds(session, found[0].entry))
        for lack in found:
            number = lack.session.number
            if number not in regions:
                regions[number] = _nearest(state, lack.session)
            _tell(state, turn, lack, cohorts.get(lack.session.key, ()), holders, regions[number])


def _follows(state: State, session: Session) -> bool:
    """Whether it keeps this log, or is about to begin with it."""
    peer = session.log
    return peer.progress is not None and not peer.snapshot_upto and peer.progress.store_id in ("", state.store_id)


def _lacks_of(state: State, session: Session) -> list[_Lack]:
    """What it has to fetch before it can settle, the oldest first."""
    ledger, progress = state.log, session.log.progress
    assert progress is not None
    if progress.settled >= ledger.newest_model and not progress.parked:
        return []
    aside = {note.sequence for note in progress.parked}
    found = []
    for name in ledger.model_names:
        current = ledger.current[EntryKind.MODEL, name]
        for sequence in reversed(ledger.versions.get((EntryKind.MODEL, name), ())):
            if sequence <= progress.settled and sequence not in aside:
                if not aside:
                    break
                continue
            entry = ledger.records[sequence].entry
            if entry.removed or sequence > ledger.durable_head or durability.has(progress, sequence):
                continue
            shared = entry is current and sequence not in aside and session.key != entry.agent
            found.append(_Lack(session, entry, shared))
    return sorted(found, key=lambda lack: lack.entry.sequence)[:MODELS_MAX]


def _holds(session: Session, entry: Entry) -> bool:
    """Whoever wrote an entry had all of it before; it may not have said so yet."""
    progress = session.log.progress
    return progress is not None and (session.key == entry.agent or durability.has(progress, entry.sequence))


def _cohorts(state: State, sequence: int, lacks: Sequence[_Lack], present: set[str]) -> dict[str, Shares]:
    """agent -> the shares of its cohort. Who is in one stays until it is lost, or nobody of it lacks anything."""
    ledger = state.log
    fetching = {lack.session.key: lack.session for lack in lacks if lack.shared}
    aside = {lack.session.key for lack in lacks if not lack.shared}
    kept: list[Shares] = []
    for shares in ledger.transfers.get(sequence, ()):
        left = tuple(share for share in shares if share[0] in present and share[0] not in aside)
        if any(agent in fetching for agent, _ in left):
            kept.append(left if len(left) == len(shares) else _weighed(state, [agent for agent, _ in left]))
    known = {agent for shares in kept for agent, _ in shares}
    new = sorted(fetching.keys() - known)
    while new:
        room = COHORT_MAX - len(kept[-1]) if kept else 0
        members = [agent for agent, _ in kept.pop()] if room > 0 else []
        taken, new = new[: COHORT_MAX - len(members)], new[COHORT_MAX - len(members) :]
        kept.append(_weighed(state, [*members, *taken]))
    if kept:
        ledger.transfers[sequence] = kept
    else:
        ledger.transfers.pop(sequence, None)
    return {agent: shares for shares in kept for agent, _ in shares}


def _weighed(state: State, agents: Iterable[str]) -> Shares:
    """Each with what it could send lately."""
    uplinks = {
        session.key: session.log.progress.uplink
        for session in state.sessions.values()
        if session.log.progress is not None
    }
    return tuple((agent, uplinks.get(agent, 0)) for agent in sorted(agents))


def _by_region(holders: Iterable[Session]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for session in sorted(holders, key=lambda one: one.key):
        found.setdefault(session.region, []).append(session.key)
    return found


def _nearest(state: State, session: Session) -> list[str]:
    """All regions, its own first, then by the round trip that it measured, then those that it never reached."""
    sights = session.report.sights if session.report is not None else ()
    near = {session.region: -1}
    for sight in sights:
        if sight.region != session.region and sight.reachable and sight.rtt_ns >= 0:
            near[sight.region] = min(near.get(sight.region, FAR_NS), sight.rtt_ns)
    return sorted(state.regions, key=lambda region: (near.get(region, FAR_NS), region))


def _tell(
    state: State,
    turn: Turn,
    lack: _Lack,
    shares: Shares,
    holders: Mapping[str, Sequence[str]],
    regions: Sequence[str],
) -> None:
    session, entry = lack.session, lack.entry
    members = {agent for agent, _ in shares}
    asked: list[str] = []
    for region in regions:
        asked += [key for key in holders.get(region, ()) if key != session.key and key not in members]
        if len(asked) >= HOLDERS_MAX:
            break
    told = tuple(asked[:HOLDERS_MAX]), shares
    if session.log.plans.get(entry.sequence) == told or not (asked or shares):
        return
    session.log.plans[entry.sequence] = told
    state.log.plans_told += 1
    turn.send(session.number, TransferPlan(entry.sequence, entry.digest, *told, version=state.log.plans_told))

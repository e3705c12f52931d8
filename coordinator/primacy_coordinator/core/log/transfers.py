"""Who fetches the content of a model from whom: told to every agent that lacks it, and again when that changes.

Holders are agents that have all of it, the nearest first. Those that fetch at the same time share the work, each by
what it could send lately (see the agents' `transfer.pieces`): so the origin sends each byte about once. The bytes never
pass here.
"""

from __future__ import annotations

from primacy_wire.instant import MILLISECOND_NS
from primacy_wire.log_messages import Entry, EntryKind, Progress, TransferPlan

from primacy_coordinator.core.log import durability
from primacy_coordinator.core.state import Session, State
from primacy_coordinator.core.turn import Turn

PLAN_GAP_NS = 200 * MILLISECOND_NS
HOLDERS_MAX = 8
MODELS_MAX = 16
"""Of one agent so many are planned at once, the oldest first: it fetches in that order."""
FAR_NS = 1 << 62


def on_time(state: State, turn: Turn) -> None:
    """Plan what is fetched now."""
    ledger, now_ns = state.log, turn.now.mono_ns
    if now_ns - ledger.planned_ns < PLAN_GAP_NS or state.doubt is not None:
        return
    ledger.planned_ns = now_ns
    sessions = durability.following(state)
    lacking = {session.number: wanted for session in sessions if (wanted := _lacks(state, session))}
    for session in sessions:
        wanted = lacking.get(session.number, [])
        known = session.log.plans
        for sequence in known.keys() - {entry.sequence for entry in wanted}:
            del known[sequence]
        for entry in wanted:
            _tell(turn, session, entry, sessions, lacking)


def _lacks(state: State, session: Session) -> list[Entry]:
    """Current models whose content the agent has still to get, as far as it knows of them."""
    ledger, progress = state.log, session.log.progress
    assert progress is not None
    if progress.settled >= ledger.newest_model and not progress.parked:
        return []
    return sorted(
        (
            entry
            for (kind, _), entry in ledger.current.items()
            if kind is EntryKind.MODEL
            and not entry.removed
            and entry.sequence <= min(progress.received, ledger.durable_head)
            and not durability.has(progress, entry.sequence)
        ),
        key=lambda entry: entry.sequence,
    )[:MODELS_MAX]


def _tell(
    turn: Turn,
    session: Session,
    entry: Entry,
    sessions: list[Session],
    lacking: dict[int, list[Entry]],
) -> None:
    holders = [other for other in sessions if other is not session and _holds(other.log.progress, entry)]
    near = {other.number: _distance_ns(session, other) for other in holders}
    holders.sort(key=lambda other: (near[other.number], other.key))
    fetching = [
        other for other in sessions if any(one.sequence == entry.sequence for one in lacking.get(other.number, []))
    ]
    shares = tuple(sorted((other.key, other.log.progress.uplink if other.log.progress else 0) for other in fetching))
    plan = tuple(other.key for other in holders[:HOLDERS_MAX]), tuple(key for key, _ in shares)
    if session.log.plans.get(entry.sequence) == plan:
        return  # Another measure of the same uplinks changes nothing while it runs.
    session.log.plans[entry.sequence] = plan
    turn.send(session.number, TransferPlan(entry.sequence, entry.digest, plan[0], shares, version=turn.now.wall_ns))


def _holds(progress: Progress | None, entry: Entry) -> bool:
    return progress is not None and durability.has(progress, entry.sequence)


def _distance_ns(session: Session, other: Session) -> int:
    """How far the other agent is: 0 in the same region, else as the agent measured, else far."""
    if other.region == session.region:
        return 0
    sights = session.report.sights if session.report is not None else ()
    found = [sight.rtt_ns for sight in sights if sight.region == other.region and sight.reachable and sight.rtt_ns >= 0]
    return min(found, default=FAR_NS)

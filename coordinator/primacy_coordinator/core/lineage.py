"""Is this store the newest of its line? If an agent's memory says no, nothing is decided until that is settled (I2).

A store that was copied back, restored or emptied has forgotten epochs that agents still act on. The signs are in what
agents say: a higher epoch or lease revision than the store's, another store's id, or a run of this store that the
store does not know. Then the group is in doubt (`STATE_DOUBT`): no grant, no renewal, no release, until

(a) the longest lease that anybody could hold has run out, counted from when the doubt began in this life of the
    coordinator; no report shortens this; and
(b) every agent in the membership of any agent heard has reported, or an operator confirmed. With another store's id
    only the operator ends it.

Then the epoch goes above everything heard. What was taken over is remembered, so that an agent that comes late and
names it is told to adopt this store and raises no new doubt; unless it heard of a higher epoch still.
"""

from __future__ import annotations

from dataclasses import replace

from primacy_wire.instant import Now
from primacy_wire.messages import Lineage, Membership, Welcome

from primacy_coordinator.core import authority
from primacy_coordinator.core.effects import Severity, Topic
from primacy_coordinator.core.model import TTL_NS_MAX, DoubtRecord, LineageRecord, margin_up
from primacy_coordinator.core.state import Doubt, Session, State
from primacy_coordinator.core.turn import Turn
from primacy_coordinator.core.views import RecoveryAgent, RecoveryPlan


def check(state: State, turn: Turn, session: Session, lineage: Lineage, heard_epoch: int) -> None:
    """Compare an agent's memory with the store; O(1) when there is nothing to doubt."""
    record = state.authority.record
    if (
        heard_epoch <= record.epoch
        and (lineage.store_id == state.store_id or not lineage.store_id)
        and (lineage.run_id in state.run_ids or not lineage.run_id)
        and (lineage.revision <= record.revision)
    ):
        return
    reason = ""
    stores: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    taken = state.lineage
    foreign = bool(lineage.store_id) and lineage.store_id != state.store_id
    if foreign and lineage.store_id not in taken.store_ids:
        reason = f"{session.key} belongs to another store ({lineage.store_id})"
        stores = (lineage.store_id,)
    elif not foreign and lineage.run_id and lineage.run_id not in state.run_ids and lineage.run_id not in taken.run_ids:
        reason = f"{session.key} heard a run of this store that the store does not know ({lineage.run_id})"
        runs = (lineage.run_id,)
    elif heard_epoch > record.epoch:
        reason = f"{session.key} heard of epoch {heard_epoch}, the store knows {record.epoch}"
    elif not foreign and lineage.revision > record.revision and not _is_taken(state, lineage):
        reason = f"{session.key} heard of lease revision {lineage.revision}, the store knows {record.revision}"
    if not reason:
        return
    _doubt(state, turn, reason, heard_epoch, stores, runs)


def _is_taken(state: State, lineage: Lineage) -> bool:
    return lineage.run_id in state.lineage.run_ids


def _doubt(
    state: State, turn: Turn, reason: str, heard_epoch: int, stores: tuple[str, ...], runs: tuple[str, ...]
) -> None:
    """Begin to doubt, or add to a doubt that stands."""
    if state.doubt is None:
        record = DoubtRecord(reason, heard_epoch, bool(stores), store_ids=stores, run_ids=runs)
        state.doubt = Doubt(record, turn.now.mono_ns)
        turn.journal("state-doubt", f"nothing is decided: {reason}", Severity.CRITICAL, inputs=record)
        turn.changed(Topic.ACTIVE)
        turn.unsettled = True
    else:
        old = state.doubt.record
        record = replace(
            old,
            heard_epoch=max(old.heard_epoch, heard_epoch),
            operator_needed=old.operator_needed or bool(stores),
            # What the operator confirmed did not include a store that nobody had named yet.
            confirmed=old.confirmed and set(stores) <= set(old.store_ids),
            store_ids=tuple(sorted({*old.store_ids, *stores})),
            run_ids=tuple(sorted({*old.run_ids, *runs})),
        )
        if record == old:
            return
        state.doubt.record = record
    turn.write(record)


def on_time(state: State, turn: Turn) -> None:
    """End the doubt when both conditions hold."""
    doubt = state.doubt
    if doubt is None or turn.now.mono_ns < end_ns(state, doubt):
        return
    if not doubt.record.confirmed and (doubt.record.operator_needed or missing(state)):
        return
    _recover(state, turn, doubt.record)


def end_ns(state: State, doubt: Doubt) -> int:
    """When the longest lease that anybody could hold has run out."""
    return doubt.began_ns + margin_up(TTL_NS_MAX, max(state.policy.drift_ppm, state.authority.record.drift_ppm))


def _recover(state: State, turn: Turn, doubt: DoubtRecord) -> None:
    epoch = _epoch_after(state, doubt)
    state.lineage = LineageRecord(
        tuple(sorted({*state.lineage.store_ids, *doubt.store_ids})),
        tuple(sorted({*state.lineage.run_ids, *doubt.run_ids})),
    )
    turn.write(state.lineage)
    turn.drop(DoubtRecord.kind, doubt.key)
    state.doubt = None
    state.eligible_since_ns = None
    revision = max([0, *(s.hello.lineage.revision for s in state.sessions.values())])
    # The revision goes above everything heard too, so that it goes on telling newer from older.
    state.authority.record = replace(state.authority.record, revision=max(revision, state.authority.record.revision))
    authority.reset_after_recovery(state, turn, epoch)
    turn.journal(
        "state-recovered",
        f"the group goes on above epoch {epoch}: {doubt.reason}",
        Severity.WARNING,
        epoch=epoch,
        inputs=doubt,
    )
    turn.unsettled = True


def _epoch_after(state: State, doubt: DoubtRecord) -> int:
    return max(doubt.heard_epoch, state.authority.record.epoch) + 1


def welcome(state: State, session: Session) -> Welcome:
    """What a session is told first, and again after a recovery: `adopt` for an agent of a store that was taken over."""
    lineage = session.hello.lineage
    durable = state.authority.durable
    foreign = bool(lineage.store_id) and lineage.store_id != state.store_id
    adopt = (
        foreign
        and state.doubt is None
        and lineage.store_id in state.lineage.store_ids
        and heard_epoch(session) < durable.epoch
    )
    return Welcome(
        lineage=authority.lineage_of(state),
        adopt=adopt,
        epoch=durable.epoch,
        report_interval_ns=state.policy.report_interval_ns,
        membership=state.names,
    )


def heard_epoch(session: Session) -> int:
    return max(session.hello.heard_epoch, session.report.heard_epoch if session.report else 0)


def missing(state: State) -> tuple[str, ...]:
    """Agents that are in the membership of any agent heard, or of the store, and have no session with a report."""
    heard = {s.key for s in state.sessions.values() if s.report is not None}
    known: set[str] = set(state.agents)
    for session in state.sessions.values():
        known.update(_membership(session).agents)
    return tuple(sorted(known - heard))


def _membership(session: Session) -> Membership:
    return session.hello.membership


def confirm(state: State, turn: Turn, owner: str) -> None:
    """The operator said `recover --yes`: agents that are missing are not waited for; the time is."""
    if state.doubt is None:
        return
    state.doubt.record = replace(state.doubt.record, confirmed=True, confirmed_by=owner)
    turn.write(state.doubt.record)
    turn.journal(
        "recovery-confirmed",
        f"{owner or 'an operator'} confirmed the recovery; missing: {', '.join(missing(state)) or 'nobody'}",
        Severity.WARNING,
        inputs=state.doubt.record,
    )
    turn.unsettled = True


def plan(state: State, now: Now) -> RecoveryPlan:
    """What is doubted, who said what, and what a recovery would do."""
    doubt = state.doubt
    agents = tuple(
        RecoveryAgent(
            agent=s.key,
            store_id=(s.report.lineage if s.report else s.hello.lineage).store_id,
            run_id=(s.report.lineage if s.report else s.hello.lineage).run_id,
            heard_epoch=heard_epoch(s),
            held_epoch=s.report.epoch if s.report else 0,
            report_age_ns=now.mono_ns - s.report_ns if s.report else -1,
        )
        for s in sorted(state.sessions.values(), key=lambda s: s.key)
    )
    if doubt is None:
        return RecoveryPlan(False, "", False, False, agents, missing(state), state.authority.record.epoch + 1, 0)
    return RecoveryPlan(
        needed=True,
        reason=doubt.record.reason,
        operator_needed=doubt.record.operator_needed,
        confirmed=doubt.record.confirmed,
        agents=agents,
        missing=missing(state),
        next_epoch=_epoch_after(state, doubt.record),
        wait_ns=max(0, end_ns(state, doubt) - now.mono_ns),
    )

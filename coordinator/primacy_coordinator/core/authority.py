"""Who may be active, and until when (I1, I2, I7): the coordinator's half of the lease.

1. What an answer or an offer grants is counted here from its making, for `T·(1+drift)`; the holder counts from when it
   sent the report that was answered, for `T·(1-drift)`. So the holder always gives up first.
2. Holds are kept for each life of each agent. They never shrink; they end by time, or by that life's own word.
3. A new epoch is decided only when nobody can hold the recorded one (`is_free`). From the step that decides it, or a
   release, the old one is renewed for nobody.
4. An epoch is told only when it is durable: offers, releases and answers speak of `durable`, never of `record`.
5. After a start the recorded lease counts in full for everybody; within that wait a lease that its holder calls valid
   is renewed, nothing is offered and nothing lapsed is revived, for the store may be an older copy.

Every change of the recorded lease goes through `_record`.
"""

from __future__ import annotations

from dataclasses import replace

from primacy_wire.messages import (
    Accept,
    Answer,
    Lineage,
    Offer,
    Phase,
    Refuse,
    Release,
    Released,
    Report,
)

from primacy_coordinator.core import damping
from primacy_coordinator.core.effects import Severity, Topic
from primacy_coordinator.core.model import (
    LeasePhase,
    LeaseRecord,
    RegionStatus,
    margin_up,
)
from primacy_coordinator.core.state import Authority, Life, Session, State
from primacy_coordinator.core.turn import Turn

PROMOTION_FAILED = "on_promote"
"""How the reason begins with which an agent gives an epoch up because its service could not be promoted."""


def restored(record: LeaseRecord, now_ns: int, drift_ppm: int) -> Authority:
    """The authority after a start: the recorded lease counts as valid for its full TTL from now."""
    authority = Authority(record=record, durable=record)
    if record.phase is not LeasePhase.NONE:
        authority.wait_until_ns = now_ns + margin_up(record.ttl_ns, max(drift_ppm, record.drift_ppm))
        authority.offer_until_ns = authority.wait_until_ns + record.ttl_ns
    authority.told[record.ttl_ns] = now_ns
    return authority


def lineage_of(state: State) -> Lineage:
    """What this coordinator says of its store."""
    return Lineage(state.store_id, state.run_id, state.authority.durable.revision)


def hold_end_ns(state: State) -> int:
    """When the last of all holds ends, the wait after a start included."""
    authority = state.authority
    return max([authority.wait_until_ns, *authority.holds.values()])


def is_free(state: State, now_ns: int) -> bool:
    """Whether nobody can believe in the recorded lease any more: only then a new epoch may be decided (I1)."""
    return now_ns >= hold_end_ns(state)


def is_serving(state: State, now_ns: int) -> bool:
    """Whether the holder of the newest accepted epoch may still be active."""
    record = state.authority.record
    return bool(record.accepted_region) and record.accepted_epoch == record.epoch and not is_free(state, now_ns)


# ---- decisions


def decide_grant(state: State, turn: Turn, region: str, failover_id: str) -> int:
    """Decide a new epoch for `region`; the offers follow when it is durable. Only when `is_free`."""
    authority = state.authority
    now_ns = turn.now.mono_ns
    assert is_free(state, now_ns), "I1: a lease may still be held"
    assert state.doubt is None, "I2: the store is in doubt"
    epoch = authority.record.epoch + 1
    policy = state.policy
    _record(
        state,
        turn,
        replace(
            authority.record,
            epoch=epoch,
            holder=region,
            phase=LeasePhase.OFFERED,
            ttl_ns=policy.lease_ttl_ns,
            drift_ppm=policy.drift_ppm,
            failover_id=failover_id,
            release_freeze_id="",
        ),
    )
    authority.holds.clear()
    authority.refused.clear()
    authority.given_back = ""
    authority.accepted.clear()
    authority.promoting.clear()
    authority.wait_until_ns = 0
    authority.offer_until_ns = now_ns + policy.lease_ttl_ns
    authority.free_since_ns = None
    authority.run_out_told = False
    turn.journal(
        "lease-granted", f"epoch {epoch} is {region}'s to take", region=region, epoch=epoch, failover_id=failover_id
    )
    turn.changed(Topic.ACTIVE)
    turn.unsettled = True
    return epoch


def decide_release(state: State, turn: Turn, failover_id: str, freeze_id: str) -> None:
    """Decide that the recorded epoch shall end; the orders go out when that is durable. Only forward from here."""
    authority = state.authority
    record = authority.record
    _record(
        state,
        turn,
        replace(record, phase=LeasePhase.RELEASING, failover_id=failover_id, release_freeze_id=freeze_id),
    )
    turn.journal(
        "lease-release-ordered",
        f"{record.holder} shall give up epoch {record.epoch}",
        region=record.holder,
        epoch=record.epoch,
        failover_id=failover_id,
    )


def take_fenced(state: State, turn: Turn, region: str, owner: str, reason: str) -> None:
    """The operator swears that `region` cannot act any more, and takes I1 upon himself: nothing is waited for."""
    authority = state.authority
    if authority.record.holder != region:
        return
    authority.holds.clear()
    authority.wait_until_ns = min(authority.wait_until_ns, turn.now.mono_ns)
    turn.journal(
        "holder-fenced",
        f"{owner or 'an operator'} says that {region} is fenced: {reason or 'no reason given'}",
        Severity.CRITICAL,
        region=region,
        epoch=authority.record.epoch,
    )
    turn.unsettled = True


def reset_after_recovery(state: State, turn: Turn, epoch: int) -> None:
    """Start again above everything that any agent heard: no holder, and an epoch that nobody knows (I2)."""
    _record(
        state,
        turn,
        replace(
            state.authority.record, epoch=epoch, holder="", phase=LeasePhase.NONE, failover_id="", release_freeze_id=""
        ),
    )
    authority = state.authority
    authority.holds.clear()
    authority.refused.clear()
    authority.given_back = ""
    authority.accepted.clear()
    authority.promoting.clear()
    authority.wait_until_ns = 0
    authority.free_since_ns = None
    turn.changed(Topic.ACTIVE)


def _record(state: State, turn: Turn, record: LeaseRecord) -> None:
    record = replace(record, revision=state.authority.record.revision + 1)
    assert record.epoch >= state.authority.record.epoch, "I2: epochs grow"
    state.authority.record = record
    state.authority.writing.append((turn.batch, record))
    turn.write(record)


# ---- what agents say


def on_report(state: State, turn: Turn, session: Session, report: Report) -> None:
    """Answer a report: renew, offer, or neither."""
    now_ns = turn.now.mono_ns
    authority = state.authority
    record, durable = authority.record, authority.durable
    renews = False
    ttl_ns = _ttl_to_tell(state)
    if session.region == record.holder and durable.epoch == record.epoch and state.doubt is None:
        life = session.life
        if report.released_epoch >= record.epoch:
            _give_up(state, turn, life)
        elif report.epoch == record.epoch:
            _note_accepted(state, turn, life, _is_promoting(authority, life, report.phase))
            if _may_renew(state, session, report, now_ns):
                renews = True
                _hold(state, life, now_ns, ttl_ns)
        elif record.phase is LeasePhase.RELEASING:
            pass
        elif _may_offer(state, session, now_ns):
            _offer(state, turn, session, ttl_ns)
        if (
            record.phase is LeasePhase.RELEASING
            and durable.phase is LeasePhase.RELEASING
            and report.epoch == record.epoch
        ):
            _order_release(state, turn, session)  # The first order may have been lost.
    policy = state.policy
    turn.send(
        session.number,
        Answer(
            incarnation=report.incarnation,
            report=report.number,
            lineage=lineage_of(state),
            epoch=durable.epoch,
            renews=renews,
            ttl_ns=ttl_ns,
            drift_ppm=policy.drift_ppm,
            membership_version=state.membership.version,
            report_interval_ns=policy.report_interval_ns,
        ),
    )


def _may_renew(state: State, session: Session, report: Report, now_ns: int) -> bool:
    """Whether this life's lease of the recorded, durable epoch is renewed by the answer."""
    authority = state.authority
    if authority.record.phase is LeasePhase.RELEASING or session.life in authority.refused:
        return False
    if is_deaf(state, session, now_ns):
        return False
    if now_ns < authority.wait_until_ns and not report.valid:
        return False  # The store may be an older copy: only what still stands is renewed.
    move = state.move
    # A life that cannot be frozen is waited out.
    return move is None or not move.freeze_id or session.life in move.frozen


def _may_offer(state: State, session: Session, now_ns: int) -> bool:
    """Whether a life that does not hold its region's epoch is offered it."""
    authority = state.authority
    record = authority.record
    if now_ns < authority.wait_until_ns or session.life in authority.refused or is_deaf(state, session, now_ns):
        return False
    if state.move is not None and state.move.freeze_id:
        return False
    if record.phase is LeasePhase.OFFERED:
        return now_ns < authority.offer_until_ns
    if record.phase is not LeasePhase.ACCEPTED:
        return False
    region = state.regions.get(session.region)
    return region is not None and region.verdict.status is not RegionStatus.DOWN


def is_deaf(state: State, session: Session, now_ns: int) -> bool:
    """Whether reports arrive but our answers have not for longer than a lease lasts."""
    limit_ns = max(state.policy.lease_ttl_ns, 4 * state.policy.report_interval_ns)
    return now_ns - session.heard_ns > limit_ns


def _hold(state: State, life: Life, now_ns: int, ttl_ns: int) -> None:
    """Count what is about to be granted; never less than what was counted before."""
    authority = state.authority
    until_ns = now_ns + margin_up(ttl_ns, max(state.policy.drift_ppm, authority.record.drift_ppm))
    authority.holds[life] = max(authority.holds.get(life, 0), until_ns)
    authority.free_since_ns = None
    authority.run_out_told = False
    authority.told[ttl_ns] = now_ns


def _offer(state: State, turn: Turn, session: Session, ttl_ns: int) -> None:
    report = session.report
    if report is None:
        return
    durable = state.authority.durable
    _hold(state, session.life, turn.now.mono_ns, ttl_ns)
    turn.send(
        session.number,
        Offer(
            incarnation=report.incarnation,
            report=report.number,
            lineage=lineage_of(state),
            epoch=durable.epoch,
            ttl_ns=ttl_ns,
            drift_ppm=state.policy.drift_ppm,
            membership=state.names,
            from_region=durable.accepted_region,
            reason=durable.failover_id,
        ),
    )


def _order_release(state: State, turn: Turn, session: Session) -> None:
    durable = state.authority.durable
    turn.send(
        session.number,
        Release(
            session.hello.incarnation, durable.epoch, state.store_id, durable.release_freeze_id, durable.failover_id
        ),
    )


def _ttl_to_tell(state: State) -> int:
    """A longer TTL is told only when it is durable and no shorter one is still on its way; a shorter one at once.

    A restart waits for the TTL that it finds recorded, and a crash may leave any of the records being written.
    """
    authority = state.authority
    recorded = [record.ttl_ns for record in (authority.durable, *(record for _, record in authority.writing))]
    return min([state.policy.lease_ttl_ns, *(ttl_ns for ttl_ns in recorded if ttl_ns)])


def on_accept(state: State, turn: Turn, session: Session, message: Accept) -> None:
    if message.incarnation == session.hello.incarnation and message.epoch == state.authority.record.epoch:
        _note_accepted(state, turn, session.life, message.promoting)


def _is_promoting(authority: Authority, life: Life, phase: Phase) -> bool:
    """Whether the service of a life that holds the epoch is still to be promoted, as far as its report tells.

    A lapsed lease says STANDBY, which is neither: what was known before stays.
    """
    if phase in (Phase.ACTIVE, Phase.FROZEN):
        return False
    return phase is Phase.PROMOTING or life not in authority.accepted or life in authority.promoting


def _note_accepted(state: State, turn: Turn, life: Life, promoting: bool) -> None:
    authority = state.authority
    record = authority.record
    if life in authority.refused or state.doubt is not None:
        return
    if (life in authority.accepted, life in authority.promoting) != (True, promoting):
        turn.unsettled = turn.unsettled or state.move is not None
        if not promoting:
            state.regions[record.holder].unanswered = 0
    authority.accepted.add(life)
    (authority.promoting.add if promoting else authority.promoting.discard)(life)
    if record.phase is not LeasePhase.OFFERED:
        return
    _record(
        state,
        turn,
        replace(record, phase=LeasePhase.ACCEPTED, accepted_epoch=record.epoch, accepted_region=record.holder),
    )
    turn.journal(
        "lease-accepted",
        f"{record.holder} is active at epoch {record.epoch}",
        region=record.holder,
        epoch=record.epoch,
        failover_id=record.failover_id,
    )
    turn.changed(Topic.ACTIVE)
    state.weights_dirty = True
    turn.unsettled = True


def on_refused(state: State, turn: Turn, session: Session, message: Refuse | Released) -> None:
    """A refusal or a release: final for that epoch and that life, and for that life alone."""
    if message.incarnation != session.hello.incarnation or message.epoch != state.authority.record.epoch:
        return
    if session.life not in state.authority.refused:
        word = "refused" if isinstance(message, Refuse) else "released"
        turn.journal(
            f"lease-{word}",
            f"{session.key} {word} epoch {message.epoch}: {message.reason}",
            region=session.region,
            epoch=message.epoch,
        )
        if session.life in state.authority.accepted and isinstance(message, Released):
            state.authority.given_back = f"{session.key} gave it back: {message.reason}"
        if message.reason.startswith(PROMOTION_FAILED):
            _note_failed_promotion(state, turn, session, message.reason)
    _give_up(state, turn, session.life)


def _note_failed_promotion(state: State, turn: Turn, session: Session, reason: str) -> None:
    """The region is barred when no other agent of it holds the epoch; a move sees to that when all have given up."""
    authority = state.authority
    if state.move is not None:
        state.move.failure = reason
        return
    others = {other.life for other in state.sessions.values()} & authority.accepted - {session.life}
    if authority.record.phase is LeasePhase.ACCEPTED and not others:
        damping.promotion_failed(state, turn, state.regions[session.region], reason)


def _give_up(state: State, turn: Turn, life: Life) -> None:
    authority = state.authority
    authority.refused.add(life)
    authority.accepted.discard(life)
    authority.promoting.discard(life)
    if authority.holds.pop(life, None) is not None:
        turn.unsettled = True


# ---- time and the disk


def on_durable(state: State, turn: Turn, batch: int) -> None:
    """Take over what is on disk now; a grant or a release decided in it goes out (I7)."""
    authority = state.authority
    before = authority.durable
    while authority.writing and authority.writing[0][0] <= batch:
        authority.durable = authority.writing.pop(0)[1]
    durable = authority.durable
    if durable is before:
        return
    turn.unsettled = True
    if durable.epoch != authority.record.epoch or state.doubt is not None:
        return
    sessions = [s for s in state.sessions.values() if s.region == durable.holder]
    if durable.epoch > before.epoch and durable.phase is LeasePhase.OFFERED:
        authority.offer_until_ns = turn.now.mono_ns + durable.ttl_ns
        for session in sessions:
            if session.report is not None and _may_offer(state, session, turn.now.mono_ns):
                _offer(state, turn, session, _ttl_to_tell(state))
    if durable.phase is LeasePhase.RELEASING and before.phase is not LeasePhase.RELEASING:
        for session in sessions:
            _order_release(state, turn, session)


def on_time(state: State, turn: Turn) -> None:
    """Prune what ran out, follow a change of the TTL, and bring the holder back when the wait after a start ends."""
    authority = state.authority
    now_ns = turn.now.mono_ns
    record = authority.record
    _follow_ttl(state, turn)
    for life, until_ns in list(authority.holds.items()):
        if now_ns >= until_ns:
            del authority.holds[life]
    if authority.wait_until_ns and now_ns >= authority.wait_until_ns:
        authority.wait_until_ns = 0
        _bring_back(state, turn)
    if not is_free(state, now_ns):
        authority.free_since_ns = None
    elif authority.free_since_ns is None:
        authority.free_since_ns = now_ns
        turn.changed(Topic.ACTIVE)
        state.weights_dirty = True
    if record.phase is LeasePhase.ACCEPTED and authority.free_since_ns is not None and not authority.run_out_told:
        authority.run_out_told = True
        turn.journal(
            "lease-lapsed",
            f"nobody holds {record.holder}'s lease of epoch {record.epoch}: {authority.given_back or 'not renewed'}",
            Severity.WARNING,
            region=record.holder,
            epoch=record.epoch,
        )


def _follow_ttl(state: State, turn: Turn) -> None:
    """A longer TTL is recorded before it is told; a shorter one only when the longer ran out everywhere."""
    authority = state.authority
    record = authority.record
    wanted_ns = state.policy.lease_ttl_ns
    if record.phase is LeasePhase.NONE or state.doubt is not None or wanted_ns == record.ttl_ns:
        return
    if turn.now.mono_ns < _longer_told_until_ns(state):
        return
    authority.told = {ttl_ns: at_ns for ttl_ns, at_ns in authority.told.items() if ttl_ns <= wanted_ns}
    _record(state, turn, replace(record, ttl_ns=wanted_ns))


def _longer_told_until_ns(state: State) -> int:
    """When every lease that was granted for longer than the policy asks has run out, whatever TTL is recorded."""
    drift_ppm = max(state.policy.drift_ppm, state.authority.record.drift_ppm)
    wanted_ns = state.policy.lease_ttl_ns
    told = state.authority.told.items()
    return max((at_ns + margin_up(ttl_ns, drift_ppm) for ttl_ns, at_ns in told if ttl_ns > wanted_ns), default=0)


def _bring_back(state: State, turn: Turn) -> None:
    """The wait after a start is over: holders heard in it get their own epoch back without waiting for a report."""
    for session in state.sessions.values():
        report = session.report
        fresh_ns = 3 * state.policy.report_interval_ns
        if session.region != state.authority.record.holder or report is None:
            continue
        if turn.now.mono_ns - session.report_ns <= fresh_ns:
            on_report(state, turn, session, report)


def deadlines(state: State) -> list[int]:
    """When time alone will change something here."""
    authority = state.authority
    found = [authority.wait_until_ns] if authority.wait_until_ns else []
    if authority.holds:
        found.append(max(authority.holds.values()))
    record = authority.record
    if record.phase is not LeasePhase.NONE and state.policy.lease_ttl_ns < record.ttl_ns:
        found.append(_longer_told_until_ns(state))
    return found

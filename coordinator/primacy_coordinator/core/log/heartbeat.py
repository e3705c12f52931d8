"""Signs of life of the active region in an idle log, and what their absence means."""

from __future__ import annotations

from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Phase, Report

from primacy_coordinator.core import authority
from primacy_coordinator.core.effects import Severity, Topic
from primacy_coordinator.core.log import writing
from primacy_coordinator.core.model import LeasePhase
from primacy_coordinator.core.state import Session, State
from primacy_coordinator.core.turn import Turn

BEAT_NS = SECOND_NS
"""A heartbeat is written when the newest entry is older."""


def on_report(state: State, turn: Turn, session: Session, report: Report) -> None:
    """A report of the active region is its sign of life, when nothing else is in the log.

    Not while writes are stopped, the store is in doubt, or has refused a batch and taken none since.
    """
    record, ledger = state.authority.record, state.log
    if turn.now.mono_ns - ledger.head_ns < BEAT_NS and ledger.active_seen_ns is not None:
        return
    active = (
        report.valid
        and report.phase is Phase.ACTIVE
        and record.phase is LeasePhase.ACCEPTED
        and session.region == record.holder
        and report.epoch == record.epoch == state.authority.durable.epoch
    )
    if not active or state.move is not None:
        return
    if ledger.active_seen_ns is None:
        ledger.active_seen_ns = turn.now.mono_ns
    if turn.now.mono_ns - ledger.head_ns >= BEAT_NS and not ledger.quiet and state.doubt is None:
        writing.beat(state, turn, session.region, session.key, record.epoch)


def on_time(state: State, turn: Turn) -> None:
    """See whether the log stands still although a region is active."""
    ledger, now_ns = state.log, turn.now.mono_ns
    serving = authority.is_serving(state, now_ns) and state.move is None
    silent_ns = _silent_since_ns(state)
    stalled = (
        serving
        and ledger.active_seen_ns is not None
        and bool(ledger.head)
        and now_ns - silent_ns >= state.policy.stall_after_ns
    )
    if stalled and ledger.stalled_since_ns is None:
        ledger.stalled_since_ns = silent_ns
        turn.journal(
            "replication-stalled",
            f"{state.authority.record.holder} is active and has written nothing for "
            f"{(now_ns - silent_ns) / 1e9:.0f} s, not even a heartbeat",
            Severity.CRITICAL,
            region=state.authority.record.holder,
        )
        turn.changed(Topic.LOG)
    elif not stalled and ledger.stalled_since_ns is not None:
        ledger.stalled_since_ns = None
        turn.journal("replication-resumed", "the log grows again, or no region is active")
        turn.changed(Topic.LOG)


def deadlines(state: State) -> list[int]:
    if state.log.stalled_since_ns is not None or not state.log.head:
        return []
    return [_silent_since_ns(state) + state.policy.stall_after_ns]


def _silent_since_ns(state: State) -> int:
    """Nobody could write while the coordinator was away, nor before it heard of a lease that is still valid."""
    return max(state.log.head_ns, state.log.active_seen_ns or state.started_ns)

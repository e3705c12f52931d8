"""Deliberate mistakes: each drops one rule of the lease protocol. The simulator must notice every one.

Those of the operations around a move stand in `mutations_of_moves`; the product knows of neither. Where two rules cover
the same hole, the mutation drops both.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from primacy_agent.core import lease as agent
from primacy_coordinator.core import authority, group, lineage, moves, registry
from primacy_coordinator.core.model import LeasePhase
from primacy_coordinator.core.state import State
from primacy_wire.messages import Answer, Offer, Refuse, Released

from tests.simulation import mutations_of_log, mutations_of_moves
from tests.simulation.mutating import MUTATIONS, mutated, mutation, swap

__all__ = ["MUTATIONS", "mutated", "mutations_of_log", "mutations_of_moves"]


# ---- counting


@mutation
def count_from_receipt(stack: ExitStack) -> None:
    """The holder counts its lease from when the answer arrives."""

    def make(old: Any) -> Any:
        def on_message(self: Any, now: Any, message: Any, out: Any) -> None:
            if isinstance(message, Answer | Offer) and message.report in self._sent:
                self._sent[message.report] = now
            old(self, now, message, out)

        return on_message

    swap(stack, agent.LeaseHolder, "_on_message", make)


@mutation
def no_drift_margin(stack: ExitStack) -> None:
    """Both sides count T itself, as if clocks ran alike."""
    swap(stack, agent, "lease_end_ns", lambda _: lambda base, ttl_ns, drift_ppm: base.mono_ns + ttl_ns)
    swap(stack, authority, "margin_up", lambda _: lambda length_ns, drift_ppm: length_ns)


@mutation
def active_is_remembered(stack: ExitStack) -> None:
    """Validity is what it was at the last event, not what the clock says at the ask."""

    def make(old: Any) -> Any:
        def active(self: Any, now: Any) -> Any:
            view = old(self, now)
            if self._told_valid and self._held is not None:
                return replace(view, remaining_ns=max(1, view.remaining_ns), active=True)
            return view

        return active

    swap(stack, agent.LeaseHolder, "active", make)


@mutation
def holds_shrink(stack: ExitStack) -> None:
    """A shorter TTL shortens what is already counted, at the coordinator."""

    def make(old: Any) -> Any:
        def hold(state: State, life: Any, now_ns: int, ttl_ns: int) -> None:
            state.authority.holds.pop(life, None)
            old(state, life, now_ns, ttl_ns)

        return hold

    swap(stack, authority, "_hold", make)


@mutation
def shorter_ttl_recorded_at_once(stack: ExitStack) -> None:
    """The record forgets the longer TTL while leases with it are out."""

    def make(old: Any) -> Any:
        def follow(state: State, turn: Any) -> None:
            state.authority.told.clear()
            old(state, turn)

        return follow

    swap(stack, authority, "_follow_ttl", make)


@mutation
def longer_ttl_told_before_durable(stack: ExitStack) -> None:
    swap(stack, authority, "_ttl_to_tell", lambda _: lambda state: state.policy.lease_ttl_ns)


# ---- waiting


@mutation
def restart_does_not_wait(stack: ExitStack) -> None:
    """A started coordinator forgets what the one before it granted."""

    def make(old: Any) -> Any:
        def restored(record: Any, now_ns: int, drift_ppm: int) -> Any:
            found = old(record, now_ns, drift_ppm)
            found.wait_until_ns = 0
            return found

        return restored

    swap(stack, authority, "restored", make)


@mutation
def restart_waits_by_the_policy(stack: ExitStack) -> None:
    """The wait after a start is the policy's TTL, not the one in the record."""

    def make(old: Any) -> Any:
        def load(name: str, loaded: Any, now: Any) -> Any:
            state = old(name, loaded, now)
            if state.authority.wait_until_ns:
                state.authority.wait_until_ns = now.mono_ns + state.policy.lease_ttl_ns
            return state

        return load

    swap(stack, group, "load", make)


@mutation
def one_agent_is_enough(stack: ExitStack) -> None:
    """The old region counts as gone when the first of its agents is."""

    def make(old: Any) -> Any:
        def on_time(state: State, turn: Any) -> None:
            holds = state.authority.holds
            if holds and min(holds.values()) <= turn.now.mono_ns:
                holds.clear()
            old(state, turn)

        return on_time

    swap(stack, authority, "on_time", make)


@mutation
def offers_are_not_counted(stack: ExitStack) -> None:
    """An offer that nobody answered yet holds nothing up."""

    def make(old: Any) -> Any:
        def offer(state: State, turn: Any, session: Any, ttl_ns: int) -> None:
            had = session.life in state.authority.holds
            old(state, turn, session, ttl_ns)
            if not had:
                state.authority.holds.pop(session.life, None)

        return offer

    swap(stack, authority, "_offer", make)


@mutation
def a_release_speaks_for_the_region(stack: ExitStack) -> None:
    """One agent's release frees all of them."""

    def make(old: Any) -> Any:
        def give_up(state: State, turn: Any, life: Any) -> None:
            old(state, turn, life)
            state.authority.holds.clear()

        return give_up

    swap(stack, authority, "_give_up", make)


@mutation
def a_release_speaks_for_earlier_lives(stack: ExitStack) -> None:
    """An agent's release frees what its dead lives told their services."""

    def make(old: Any) -> Any:
        def give_up(state: State, turn: Any, life: Any) -> None:
            old(state, turn, life)
            for other in [other for other in state.authority.holds if other[0] == life[0]]:
                del state.authority.holds[other]

        return give_up

    swap(stack, authority, "_give_up", make)


@mutation
def a_new_life_takes_over_the_hold(stack: ExitStack) -> None:
    """What an earlier life holds is forgotten when a new one says hello."""

    def make(old: Any) -> Any:
        def follow(state: State, turn: Any, region: Any, known: Any, hello: Any) -> Any:
            found = old(state, turn, region, known, hello)
            for life in [life for life in state.authority.holds if life[0] == found.record.key]:
                if life[1] != hello.incarnation:
                    del state.authority.holds[life]
            return found

        return follow

    swap(stack, registry, "_follow_life", make)


# ---- telling


@mutation
def told_before_durable(stack: ExitStack) -> None:
    """A new epoch is offered while its record is on the way to the disk."""

    def make(old: Any) -> Any:
        def decide(state: State, turn: Any, region: str, failover_id: str) -> int:
            epoch: int = old(state, turn, region, failover_id)
            state.authority.durable = state.authority.record
            for session in state.sessions.values():
                if session.region == region and session.report is not None:
                    turn._effects.insert(0, _send_of(state, turn, session))
            return epoch

        return decide

    swap(stack, authority, "decide_grant", make)


def _send_of(state: State, turn: Any, session: Any) -> Any:
    before = len(turn._effects)
    authority._offer(state, turn, session, authority._ttl_to_tell(state))
    found = turn._effects.pop()
    assert len(turn._effects) == before
    # As a shell would that does not hold effects back.
    return replace(found, message=_Overtaking(*(getattr(found.message, f) for f in Offer.__dataclass_fields__)))


class _Overtaking(Offer):
    """An offer that the outbox does not keep behind the batch."""


@mutation
def renews_while_releasing(stack: ExitStack) -> None:
    """The old epoch is renewed after the step that decided its end."""

    def make(old: Any) -> Any:
        def may(state: State, session: Any, report: Any, now_ns: int) -> bool:
            lease = state.authority
            record = lease.record
            if record.phase is LeasePhase.RELEASING:
                lease.record = replace(record, phase=LeasePhase.ACCEPTED)
                try:
                    return bool(old(state, session, report, now_ns))
                finally:
                    lease.record = record
            return bool(old(state, session, report, now_ns))

        return may

    swap(stack, authority, "_may_renew", make)
    # Alone it only delays: what is renewed is counted. With it, the count stops at the order.
    swap(
        stack,
        authority,
        "_hold",
        lambda old: (
            lambda state, *values: None if state.authority.record.phase is LeasePhase.RELEASING else old(state, *values)
        ),
    )


# ---- the agent


@mutation
def late_offers_are_taken(stack: ExitStack) -> None:
    """An agent takes an epoch older than the newest it has heard of, also one that it gave up.

    Without the second half every late offer is still counted by the coordinator, who waits for it.
    """

    def make(old: Any) -> Any:
        def on_offer(self: Any, offer: Any, out: Any) -> None:
            self.released_epoch = min(self.released_epoch, offer.epoch - 1)
            self.memory = replace(self.memory, heard_epoch=min(self.memory.heard_epoch, offer.epoch))
            old(self, offer, out)

        return on_offer

    swap(stack, agent.LeaseHolder, "_on_offer", make)


@mutation
def answers_to_earlier_lives_count(stack: ExitStack) -> None:
    """A life takes answers and offers meant for an earlier one, counted from its own last report."""

    def make(old: Any) -> Any:
        def on_message(self: Any, now: Any, message: Any, out: Any) -> None:
            if isinstance(message, Answer | Offer) and message.incarnation != self.incarnation and self._sent:
                number = max(self._sent)
                self._sent[number] = now
                message = replace(message, incarnation=self.incarnation, report=number)
            old(self, now, message, out)

        return on_message

    swap(stack, agent.LeaseHolder, "_on_message", make)


@mutation
def a_refusal_is_not_final(stack: ExitStack) -> None:
    """An agent that gave an epoch up takes it again, and says nothing of it; the coordinator forgets it as well."""

    def make(old: Any) -> Any:
        def on_offer(self: Any, offer: Any, out: Any) -> None:
            self.released_epoch = 0
            old(self, offer, out)

        return on_offer

    swap(stack, agent.LeaseHolder, "_on_offer", make)


@mutation
def reports_hide_what_was_released(stack: ExitStack) -> None:
    """Nobody tells a coordinator that restarted that its epoch was given up: it offers a dead epoch for ever."""

    def make(old: Any) -> Any:
        def report(self: Any, *values: Any, **named: Any) -> Any:
            return replace(old(self, *values, **named), released_epoch=0)

        return report

    swap(stack, agent.LeaseHolder, "report", make)

    def swallow(old: Any) -> Any:
        def on_refused(state: State, turn: Any, session: Any, message: Refuse | Released) -> None:
            return None

        return on_refused

    swap(stack, authority, "on_refused", swallow)


@mutation
def a_freeze_never_ends(stack: ExitStack) -> None:
    """A coordinator that dies leaves the active region frozen."""
    swap(stack, agent.LeaseHolder, "_frozen_at", lambda _: lambda self, now: self._freeze is not None)
    swap(stack, agent.LeaseHolder, "_notice_ends", _keeping_freeze)


def _keeping_freeze(old: Any) -> Any:
    def notice(self: Any, now: Any, out: Any) -> None:
        freeze = self._freeze
        self._freeze = None
        old(self, now, out)
        self._freeze = freeze

    return notice


# ---- lineage


@mutation
def restored_store_is_trusted(stack: ExitStack) -> None:
    """Nobody compares what agents remember with what the store knows."""
    swap(stack, lineage, "check", lambda _: lambda *values: None)


@mutation
def doubt_does_not_wait(stack: ExitStack) -> None:
    """A recovery does not wait for the longest lease that anybody could hold."""
    swap(stack, lineage, "end_ns", lambda _: lambda state, doubt: doubt.began_ns)
    swap(stack, lineage, "missing", lambda _: lambda state: ())
    # What the record says is waited out by another rule; a store that is an older copy does not know the rest.


# ---- moves


@mutation
def a_forced_move_does_not_wait(stack: ExitStack) -> None:
    """FORCED shortens the wait for the old lease."""

    def make(old: Any) -> Any:
        def begin(state: State, turn: Any, command: Any, checked: Any) -> Any:
            if command.forced:
                state.authority.holds.clear()
                state.authority.wait_until_ns = 0
            return old(state, turn, command, checked)

        return begin

    swap(stack, moves, "begin_command", make)

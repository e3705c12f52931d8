"""Deliberate mistakes: each drops one rule of what is around a move, and the simulator must notice every one."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from primacy_agent.core.effects import Send
from primacy_agent.core.promotion import Promotion
from primacy_coordinator.core import (
    approval,
    brake,
    calendar,
    damping,
    draining,
    election,
    failback,
    moves,
    overrides,
    selfdoubt,
    steps,
)
from primacy_coordinator.core.election import Ranking
from primacy_coordinator.core.state import Brake, State
from primacy_coordinator.shell.brake import Brake as Permits
from primacy_wire.messages import Released

from tests.simulation.mutating import mutation, swap

# ---- who may be elected, and when


@mutation
def soft_rules_are_hard(stack: ExitStack) -> None:
    """Hold-down, damping and the like refuse also when no region serves."""
    swap(stack, election, "SOFT", lambda _: frozenset())


@mutation
def damping_never_decays(stack: ExitStack) -> None:
    swap(stack, damping, "penalty", lambda _: lambda past, wall_ns, policy: past.penalty)


@mutation
def a_drained_region_is_elected(stack: ExitStack) -> None:
    def make(old: Any) -> Any:
        def against(state: State, region: str) -> Any:
            return tuple(found for found in old(state, region) if found[0] != "DRAINED")

        return against

    swap(stack, overrides, "against", make)


@mutation
def who_was_eligible_stays_so(stack: ExitStack) -> None:
    """The winner of the first look is granted the lease, whatever happened since."""

    def make(old: Any) -> Any:
        def choose(state: State, now_ns: int, move: Any) -> Any:
            given, best = old(state, now_ns, move)
            return given, replace(best, winner=move.record.to_region or best.winner)

        return choose

    swap(stack, moves, "_choose", make)


@mutation
def safety_is_not_looked_at_again(stack: ExitStack) -> None:
    """A planned move orders the release, though nobody can take over any more."""

    def make(old: Any) -> Any:
        def rank_now(*values: Any, **named: Any) -> Any:
            best = old.rank_now(*values, **named)
            return Ranking("somebody", (), "") if named.get("serving") else best

        return SimpleNamespace(rank_now=rank_now, election_input=old.election_input)

    swap(stack, moves, "ranking", make)


@mutation
def the_lease_goes_back_at_once(stack: ExitStack) -> None:
    """A failback waits for nothing."""

    def make(old: Any) -> Any:
        def consider(state: State, turn: Any) -> None:
            policy = state.policy_record
            state.policy_record = replace(policy, policy=replace(policy.policy, failback_after_ns=0))
            old(state, turn)
            state.policy_record = policy

        return consider

    swap(stack, failback, "consider", make)
    # Without it the next rule hides the first.
    swap(stack, damping, "cool_down", lambda _: lambda state, turn: None)


# ---- what puts a move off


@mutation
def the_brake_is_ignored(stack: ExitStack) -> None:
    swap(stack, brake, "may_begin", lambda _: lambda state, turn: True)


@mutation
def the_brake_is_never_returned(stack: ExitStack) -> None:
    """The machine forgets its permit without a word."""

    def hand_back(state: State, turn: Any) -> None:
        state.brake = Brake.FREE if state.brake is Brake.LET else state.brake

    swap(stack, brake, "hand_back", lambda _: hand_back)


@mutation
def the_brake_lets_everybody(stack: ExitStack) -> None:
    def make(old: Any) -> Any:
        def serve(self: Any) -> None:
            limit, self.limit = self.limit, 0
            old(self)
            self.limit = limit

        return serve

    swap(stack, Permits, "_serve", make)


@mutation
def self_doubt_never_ends(stack: ExitStack) -> None:
    swap(stack, selfdoubt, "_look", lambda _: lambda state, turn, doubt: None)


@mutation
def self_doubt_puts_nothing_off(stack: ExitStack) -> None:
    swap(stack, steps, "is_put_off", lambda _: overrides.is_paused)


@mutation
def a_pause_pauses_nothing(stack: ExitStack) -> None:
    swap(stack, overrides, "is_paused", lambda _: lambda state: False)


@mutation
def an_expired_pause_keeps_pausing(stack: ExitStack) -> None:
    """Its end is said, and nobody acts on it."""
    paused: set[int] = set()

    def make(old: Any) -> Any:
        def is_paused(state: State) -> bool:
            if old(state):
                paused.add(id(state))
            return id(state) in paused

        return is_paused

    swap(stack, overrides, "is_paused", make)


@mutation
def an_override_never_ends(stack: ExitStack) -> None:
    def make(old: Any) -> Any:
        def lift(state: State, turn: Any, override: Any, kind: str, why: str) -> None:
            if kind != "override-expired":
                old(state, turn, override, kind, why)

        return lift

    swap(stack, overrides, "lift", make)


@mutation
def ends_follow_the_wall_clock(stack: ExitStack) -> None:
    """A step of the clock makes what was set last longer or shorter."""

    def make(old: Any) -> Any:
        def follow(state: State, turn: Any) -> None:
            step_ns = turn.now.wall_ns - state.wall(turn.now.mono_ns)
            state.wall_offset_ns += step_ns
            for override in state.overrides.values():
                override.expire_ns -= step_ns

        return follow

    swap(stack, calendar, "follow", make)


@mutation
def nobody_need_approve(stack: ExitStack) -> None:
    swap(stack, approval, "is_dear", lambda _: lambda state, best: False)


@mutation
def approval_waits_for_ever(stack: ExitStack) -> None:
    """The policy says to move when nobody answers, and nothing does."""

    def make(old: Any) -> Any:
        def on_time(state: State, turn: Any, move: Any) -> None:
            move.record = replace(move.record, approval_until_wall_ns=1 << 62)
            old(state, turn, move)

        return on_time

    swap(stack, approval, "on_time", make)


# ---- drains


@mutation
def a_drain_leaves_some_reads(stack: ExitStack) -> None:
    swap(stack, overrides, "drain_part", lambda old: lambda *values: max(0.1, old(*values)))


@mutation
def a_drain_outlives_its_switchover(stack: ExitStack) -> None:
    """Nobody takes the lease, and the drain goes on: the only region that could is refused."""
    swap(stack, draining, "_abandon", lambda _: lambda state, turn, override, why: None)


# ---- hooks


@mutation
def active_before_on_promote(stack: ExitStack) -> None:
    swap(stack, Promotion, "is_ready", lambda _: lambda self, epoch, durable: True)


@mutation
def a_failed_promotion_keeps_the_lease(stack: ExitStack) -> None:
    swap(stack, Promotion, "take_failure", lambda _: lambda self: None)


@mutation
def a_promotion_that_was_cut_short_is_not_tried_again(stack: ExitStack) -> None:
    def make(old: Any) -> Any:
        def done(self: Any, *values: Any) -> None:
            tried = self._tried_epoch
            old(self, *values)
            self._tried_epoch = tried

        return done

    swap(stack, Promotion, "done", make)


@mutation
def a_release_does_not_wait_for_hooks(stack: ExitStack) -> None:
    def make(old: Any) -> Any:
        def settle(self: Any, standing: Any, out: list[Any]) -> None:
            old(self, standing, out)
            if self.release is not None:
                out.append(Send(Released(self._incarnation, *self.release)))
                self.release = None

        return settle

    swap(stack, Promotion, "settle", make)

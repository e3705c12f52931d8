"""What must hold of the operations around a move: looked at after every event that a machine took.

Names of what can be broken: `waiting` (a timer keeps the group without an active region while a region is up that only
soft rules refuse), `doubt`, `pause`, `brake`, `approval`, `override`, `damping` (an exception or a rule of comfort that
does not end, or acts where it must not), `clock` (a step of the wall clock moved an end), `election` (a region was
granted the lease that a hard rule refuses), `release` (a lease was ordered back with nobody to take it), `drain` (reads
go to a drained region while another one serves), `failback` (the lease went back too soon).

Everything is computed here once more, from verdicts, sessions and overrides, and not by asking the code under test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from primacy_coordinator.core import observation
from primacy_coordinator.core.group import Group
from primacy_coordinator.core.log import progress
from primacy_coordinator.core.model import (
    ApprovalAction,
    FailoverKind,
    FailoverState,
    LeasePhase,
    LeaseRecord,
    OverrideKind,
    RegionStatus,
    margin_up,
)
from primacy_coordinator.core.state import Brake, Override, Region, State
from primacy_wire.instant import SECOND_NS, Now

from tests.simulation.world import ends
from tests.simulation.world.options import TTLS_NS

if TYPE_CHECKING:
    from tests.simulation.world.world import World

HARD = frozenset({RegionStatus.DOWN, RegionStatus.JOINING, RegionStatus.UNKNOWN})
SERVES = frozenset({RegionStatus.HEALTHY, RegionStatus.DEGRADED, RegionStatus.SUSPECT, RegionStatus.RECOVERING})
BY_ITSELF = frozenset({FailoverKind.INITIAL, FailoverKind.AUTOMATIC, FailoverKind.FAILBACK})
SLACK_INTERVALS = 3
"""A machine looks at time alone once in a report interval, and a look may need another one."""
RECOVERED = "the group was recovered"
"""Nobody had the lease of such a group: there is nothing to move away from, and the brake is not asked."""
ON_THE_WAY_NS_MAX = 8 * SECOND_NS
"""Rows may wait so long behind batches on a slow disk before they are told."""


def hard_against(state: State, name: str, now_ns: int) -> set[str]:
    """The hard rules that refuse a region, as the design has them."""
    region = state.regions[name]
    found = {region.verdict.status.name} if region.verdict.status in HARD else set()
    if not _is_heard(state, region, now_ns):
        found.add("UNHEARD")
    for override in state.overrides.values():
        record = override.record
        if record.region != name:
            continue
        stays = record.traffic_only and state.authority.record.accepted_region == name
        if record.what is OverrideKind.CORDON:
            found.add("CORDONED")
        if record.what is OverrideKind.DRAIN and not stays:
            found.add("DRAINED")
    if 0 <= state.policy.max_lag.age_ns < max(_said_ns(region), _deficit_ns(state, region, now_ns)):
        found.add("LAG")
    return found


def _is_heard(state: State, region: Region, now_ns: int) -> bool:
    interval_ns = state.policy.report_interval_ns
    deaf_ns = max(state.policy.lease_ttl_ns, 4 * interval_ns)
    sessions = [agent.session for agent in region.agents.values() if agent.session is not None]
    return any(
        session.report is not None
        and now_ns - session.report_ns < max(4 * interval_ns, SECOND_NS)
        and now_ns - session.heard_ns <= deaf_ns
        for session in sessions
    )


def _said_ns(region: Region) -> int:
    """Lag of its least lagging agent that is heard, as its service says; -1: not known."""
    reports = [agent.report for agent in region.agents.values() if agent.session is not None]
    return min((report.lag.age_ns for report in reports if report is not None and report.lag.age_ns >= 0), default=-1)


def _deficit_ns(state: State, region: Region, now_ns: int) -> int:
    found = progress.deficit_of(state, region.record.name, now_ns)
    return found.age_ns if found is not None else -1


def _lag_ns(state: State, region: Region, now_ns: int) -> int:
    """What a move to it may lose."""
    log = progress.lag_of(state, region.record.name, now_ns)
    return max(_said_ns(region), log.age_ns if log is not None else -1)


class Watch:
    """Looks at one group over all lives of its coordinator."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ends = ends.Ends(world)
        self._fit_ns: dict[str, int] = {}
        """Since when nothing but soft rules refuses each region."""
        self._waiting_ns: int | None = None
        """Since when somebody should become active, and nothing that may keep the group waiting does."""
        self._releasing_ns: int | None = None
        self._braked_ns: int | None = None
        self._awaiting: tuple[str, int] | None = None
        """(failover, since when it awaits approval)."""
        self._called_ns = 0
        self._known_moves: set[str] = set()
        self._moving = ""
        self._move_ended_ns = 0
        self._all_drained_ns: int | None = None
        self._half_ns: dict[str, int] = {}
        """Since when each region is drained whose switchover was given up."""
        self._quiet_until_ns = 0
        """Nothing is expected to be in time before that: the process stood still."""

    # ---- what the world tells

    def begin(self, group: Group) -> None:
        """A machine was loaded."""
        self._known_moves = set(group._state.failovers)
        self._forget_waits()
        self.ends.begin()

    def stood_still(self) -> None:
        self._forget_waits()
        self._quiet_until_ns = self.world.coordinator.now().mono_ns + 3 * SECOND_NS

    def _forget_waits(self) -> None:
        self._fit_ns.clear()
        self._half_ns.clear()
        self._waiting_ns = self._releasing_ns = self._braked_ns = None

    def all_were_drained(self, now_ns: int) -> bool:
        """Whether every region was drained when rows that are told now may have been computed."""
        return self._all_drained_ns is not None and now_ns - self._all_drained_ns < ON_THE_WAY_NS_MAX

    # ---- after every event

    def look(self, group: Group, now: Now) -> None:
        state, now_ns = group._state, now.mono_ns
        self._look_at_moves(state, now_ns)
        drains = {o.record.region: o for o in state.overrides.values() if o.record.what is OverrideKind.DRAIN}
        if set(drains) >= set(state.regions):
            self._all_drained_ns = now_ns
        if now_ns < self._quiet_until_ns:
            return
        self._look_at_rows(state, drains, now_ns)
        slack_ns = SLACK_INTERVALS * state.policy.report_interval_ns
        self.ends.look(state, now_ns, slack_ns)
        self._look_at_brake(state, now_ns)
        self._look_at_approval(state, now_ns, slack_ns)
        self._look_at_release(state, now_ns, slack_ns)
        self._look_at_waiting(state, now_ns, slack_ns)

    def _look_at_waiting(self, state: State, now_ns: int, slack_ns: int) -> None:
        lease, policy = state.authority, state.policy
        active = lease.record.accepted_region
        held_ns = max([lease.wait_until_ns, *lease.holds.values()])
        fit = {name for name in state.regions if not self._keeps_from_waiting(state, name, now_ns)}
        self._fit_ns = {name: self._fit_ns.get(name, now_ns) for name in fit}
        down = active in state.regions and state.regions[active].verdict.status is RegionStatus.DOWN
        if now_ns >= held_ns:
            wanted, able = state.doubt is None, self._fit_ns
        else:
            # Its agents still renew for a region that is down: others should get the lease.
            wanted = state.doubt is None and down and lease.record.phase is LeasePhase.ACCEPTED and state.move is None
            able = {name: since for name, since in self._fit_ns.items() if name != active}
        if not wanted or lease.durable != lease.record or self._is_excused(state, now_ns):
            self._waiting_ns = None
            return
        if self._waiting_ns is None:
            self._waiting_ns = now_ns
        limit_ns = policy.grace_ns + policy.first_wait_ns + slack_ns
        if any(region.unanswered for region in state.regions.values()):
            limit_ns += policy.lease_ttl_ns  # Before the same region is offered another epoch.
        for name, since_ns in able.items():
            waited_ns = now_ns - max(since_ns, self._waiting_ns)
            if waited_ns > limit_ns:
                status = state.regions[name].verdict.status.name
                self._fail("waiting", f"nobody is made active for {waited_ns / 1e9:.1f} s, and {name} is up: {status}")

    def _keeps_from_waiting(self, state: State, name: str, now_ns: int) -> set[str]:
        """What refuses a region although nobody is active; a drain whose switchover nobody takes is given up."""
        override = state.overrides.get(f"drain/{name}")
        given_up = {"DRAINED"} if override is not None and override.record.switchover_id else set()
        return hard_against(state, name, now_ns) - given_up

    def _is_excused(self, state: State, now_ns: int) -> bool:
        """The bounded exceptions; that each ends is looked at elsewhere."""
        if state.self_doubt is not None or self.ends.is_paused(state, now_ns) or state.brake is Brake.ASKED:
            return True
        if state.move is not None and state.move.record.state is FailoverState.AWAITING_APPROVAL:
            return True
        return now_ns < state.cancelled_until_ns <= now_ns + state.policy.approval_timeout_ns

    def _look_at_release(self, state: State, now_ns: int, slack_ns: int) -> None:
        lease = state.authority
        releasing = lease.durable.phase is LeasePhase.RELEASING and state.doubt is None
        if not releasing or now_ns >= max([lease.wait_until_ns, *lease.holds.values()]):
            self._releasing_ns = None
            return
        self._releasing_ns = now_ns if self._releasing_ns is None else self._releasing_ns
        drift_ppm = max(state.policy.drift_ppm, lease.record.drift_ppm)
        if now_ns - self._releasing_ns > margin_up(max(TTLS_NS), drift_ppm) + slack_ns:
            self._fail("waiting", f"epoch {lease.record.epoch} shall be released for {now_ns - self._releasing_ns} ns")

    def _look_at_brake(self, state: State, now_ns: int) -> None:
        if state.brake is not Brake.ASKED:
            self._braked_ns = None
            return
        self._braked_ns = now_ns if self._braked_ns is None else self._braked_ns
        if now_ns - self._braked_ns > self.world.options.brake_ns_max:
            self._fail("brake", f"a failover waits for the brake for {(now_ns - self._braked_ns) / 1e9:.1f} s")

    def _look_at_approval(self, state: State, now_ns: int, slack_ns: int) -> None:
        move = state.move
        if move is None or move.record.state is not FailoverState.AWAITING_APPROVAL:
            self._awaiting = None
            return
        if self._awaiting is None or self._awaiting[0] != move.record.id:
            self._awaiting = move.record.id, now_ns
        excused = (
            state.policy.approval_action is ApprovalAction.WAIT
            or state.self_doubt is not None
            or state.brake is Brake.ASKED
            or self.ends.is_paused(state, now_ns)
            or not any(
                not hard_against(state, name, now_ns) for name in state.regions if name != move.record.from_region
            )
        )
        if excused:
            self._called_ns = now_ns
        since_ns = max(self._awaiting[1] + state.policy.approval_timeout_ns, self._called_ns)
        if not excused and now_ns - since_ns > slack_ns:
            self._fail("approval", f"{move.record.id} still awaits approval, and the policy says to move")

    # ---- moves

    def _look_at_moves(self, state: State, now_ns: int) -> None:
        move = state.move
        if self._moving and (move is None or move.record.id != self._moving):
            self._move_ended_ns = now_ns
        self._moving = move.record.id if move is not None else ""
        for move_id in [move_id for move_id in state.failovers if move_id not in self._known_moves]:
            self._known_moves.add(move_id)
            record = state.failovers[move_id]
            kind = record.move
            self.world.count(f"move {kind.name.lower()}")
            if kind in BY_ITSELF and self.ends.is_paused(state, now_ns):
                self._fail("pause", f"{move_id} ({kind.name}) begins while elections are paused")
            if kind in BY_ITSELF and state.self_doubt is not None:
                self._fail("doubt", f"{move_id} ({kind.name}) begins in self-doubt")
            acts = move is not None and record.state in (FailoverState.RELEASING, FailoverState.OFFERING)
            if kind is FailoverKind.AUTOMATIC and acts and record.cause != RECOVERED:
                self._look_at_permit(state, now_ns, move_id, record.from_region)
            hold_ns = state.policy.failback_after_ns
            if kind is FailoverKind.FAILBACK and self._move_ended_ns and now_ns - self._move_ended_ns < hold_ns:
                self._fail("failback", f"{move_id} moves back {now_ns - self._move_ended_ns} ns after the last move")

    def _look_at_permit(self, state: State, now_ns: int, move_id: str, active: str) -> None:
        region = state.regions.get(active)
        corroborated = region is not None and observation.is_corroborated(state, region, now_ns)
        if state.brake is not Brake.LET and not corroborated:
            self._fail("brake", f"{move_id} begins, and the brake did not let it")

    def on_lease(self, before: LeaseRecord, lease: LeaseRecord, now_ns: int) -> None:
        """A change of the lease was decided, in the step that is being performed."""
        group = self.world.coordinator.group
        assert group is not None
        state = group._state
        move = state.move
        passed = set(move.override_rules) if move is not None else set()
        if lease.epoch > before.epoch and lease.holder:
            against = hard_against(state, lease.holder, now_ns) - passed
            if against:
                self._fail("election", f"epoch {lease.epoch} goes to {lease.holder}, which is {sorted(against)}")
            lag_ns = _lag_ns(state, state.regions[lease.holder], now_ns)
            moved = lease.holder != lease.accepted_region
            if move is None or move.record.move is not FailoverKind.AUTOMATIC or move.record.approved_by or not moved:
                return
            if 0 <= state.policy.max_loss.age_ns < lag_ns:
                self._fail("approval", f"epoch {lease.epoch} may lose {lag_ns / 1e9:.1f} s, and nobody approved it")
        elif lease.phase is LeasePhase.RELEASING and before.phase is not LeasePhase.RELEASING:
            others = [name for name in state.regions if name != lease.holder]
            if not any(not hard_against(state, name, now_ns) - passed for name in others):
                self._fail("release", f"{lease.holder} shall release epoch {lease.epoch}, and nobody can take it")

    # ---- reads

    def _look_at_rows(self, state: State, drains: dict[str, Override], now_ns: int) -> None:
        if not drains:
            return
        policy = state.policy
        slack_ns = SLACK_INTERVALS * policy.report_interval_ns
        self._look_at_switchovers(state, drains, now_ns, slack_ns)
        ending_ns = policy.drain_time_ns + slack_ns
        gone = {name for name, o in drains.items() if o.record.drained or now_ns >= o.began_ns + ending_ns}
        serving = [n for n, region in state.regions.items() if n not in drains and region.verdict.status in SERVES]
        if not serving:
            return
        for client, row in state.weights.result.read:
            wrong = [name for name, share in row if share > 0 and name in gone]
            if wrong:
                self._fail("drain", f"reads of {client} go to {wrong}, drained, and {serving} serve")

    def _look_at_switchovers(self, state: State, drains: dict[str, Override], now_ns: int, slack_ns: int) -> None:
        """Half a drain is what nobody asked for: where the switchover before it was given up, so is the drain."""
        lease = state.authority
        for name, override in drains.items():
            move = state.failovers.get(override.record.switchover_id)
            stays = lease.record.phase is LeasePhase.ACCEPTED and lease.record.holder == name and bool(lease.holds)
            if move is None or move.state is not FailoverState.ABORTED or not stays:
                self._half_ns.pop(name, None)
            elif now_ns - self._half_ns.setdefault(name, now_ns) > slack_ns:
                self._fail(
                    "drain", f"{name} is drained, and {move.id}, which should have moved the lease, was given up"
                )

    def _fail(self, rule: str, what: str) -> None:
        self.world.fail(rule, what)

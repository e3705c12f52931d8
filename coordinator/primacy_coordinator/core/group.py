"""The machine of one group: events in, effects out.

1. Every decision about a group is made by this class and the functions it calls; they read no clock and do no I/O, so
   the simulator, the tests and production run the very same code.
2. `handle` is atomic: an event that cannot be taken leaves the state as it was.
3. Effects are in order; what a restart must not un-decide is behind a `Persist` (I7).
4. A report costs O(1) unless it changes what is believed. Verdicts, moves and weights are looked at when something
   asked for it (`Turn.unsettled`) or when `next_deadline` is reached.

The state itself is in `state`; each module beside this one owns one part of it: `authority` the lease, `lineage` the
doubt about the store, `registry` regions and agents, `observation` verdicts, `selfdoubt` the doubt about ourselves,
`overrides` what operators set for a time, `starting` and `moves` failovers, `damping` the past, `recovery` the way
back, `weighing` weights.
"""

from __future__ import annotations

from primacy_wire.instant import MILLISECOND_NS, Now
from primacy_wire.log_messages import EntryKind, MetricsSnapshot, Progress
from primacy_wire.messages import Accept, Frozen, HookRan, Notice, Refuse, Released, ReleaseRefused, Report

from primacy_coordinator.core import (
    authority,
    brake,
    calendar,
    damping,
    dispatch,
    draining,
    glance,
    lineage,
    moves,
    notices,
    observation,
    overrides,
    readings,
    recovery,
    registry,
    selfdoubt,
    starting,
    steps,
    weighing,
)
from primacy_coordinator.core.effects import Effect
from primacy_coordinator.core.events import (
    AppendAbandoned,
    BrakeReleased,
    Durable,
    Event,
    Heard,
    Noted,
    SessionClosed,
    SessionOpened,
    Stalled,
    TimePassed,
)
from primacy_coordinator.core.glance import Looks
from primacy_coordinator.core.loading import load
from primacy_coordinator.core.log import compaction, durability, heartbeat, sharing, streaming, transfers
from primacy_coordinator.core.log import readings as log_readings
from primacy_coordinator.core.log_model import ConflictRecord, ConflictState
from primacy_coordinator.core.model import FailoverRecord, Loaded, PolicyRecord
from primacy_coordinator.core.monitor.seen import Seen
from primacy_coordinator.core.state import Session
from primacy_coordinator.core.turn import Turn
from primacy_coordinator.core.views import (
    EntriesView,
    ExplanationView,
    GroupView,
    LeaseView,
    LogView,
    RecoveryPlan,
    RegionView,
    RouteTotal,
    WeightsView,
)

TICK_NS_MIN = MILLISECOND_NS


class Group:
    """One group, from what its store holds; `start` once, then `handle` every event in turn."""

    def __init__(self, name: str, loaded: Loaded, now: Now) -> None:
        self._state = load(name, loaded, now)

    # ---- events

    def start(self, now: Now) -> tuple[Effect, ...]:
        """The first effects after a start: what became of a move under way, and the first weights."""
        turn = Turn(self._state, now)
        for record in self._state.restored:
            turn.write(record)
        moves.settle_restored(self._state, turn)
        self._settle(turn)
        return turn.effects()

    def handle(self, now: Now, event: Event) -> tuple[Effect, ...]:
        """Take one event at one instant; `now` never goes back."""
        state = self._state
        turn = Turn(state, now)
        calendar.follow(state, turn)
        match event:
            case Heard(number, message):
                session = state.sessions.get(number)
                if session is not None:
                    self._on_message(turn, session, message)
            case SessionOpened(number, hello):
                registry.open_session(state, turn, number, hello)
                sharing.on_session(state, turn)
            case SessionClosed(number):
                registry.close_session(state, turn, number)
            case TimePassed():
                streaming.on_wake(state, turn)
                transfers.on_wake(state, turn)
                sharing.on_wake(state, turn)
                state.wake_ns = self._wake_ns()
                turn.unsettled = now.mono_ns >= state.settle_ns
            case Durable(batch):
                state.batch_durable = max(state.batch_durable, batch)
                authority.on_durable(state, turn, batch)
                streaming.on_durable(state, turn, batch)
                turn.unsettled = turn.unsettled or state.move is not None
            case Stalled(length_ns):
                self._on_stall(length_ns)
                selfdoubt.note_stall(state, turn, length_ns)
            case BrakeReleased():
                brake.on_released(state, turn)
            case AppendAbandoned():
                durability.abandon(state, event)
            case Noted():
                turn.journal(event.kind, event.message, event.severity, event.region, inputs=event.inputs)
            case _:
                dispatch.carry_out(state, turn, event)
        if turn.unsettled:
            self._settle(turn)
        return turn.effects()

    def _on_message(self, turn: Turn, session: Session, message: object) -> None:
        state = self._state
        match message:
            case Report():
                registry.on_report(state, turn, session, message)
                heartbeat.on_report(state, turn, session, message)
            case Progress():
                streaming.on_progress(state, turn, session, message)
            case MetricsSnapshot():
                sharing.on_snapshot(state, turn, session, message)
            case Accept():
                authority.on_accept(state, turn, session, message)
            case Refuse() | Released():
                authority.on_refused(state, turn, session, message)
            case Frozen():
                moves.on_frozen(state, turn, session, message)
            case HookRan():
                steps.on_hook(state, turn, session, message)
            case Notice():
                notices.on_notice(turn, session, message)
            case ReleaseRefused():
                pass  # Its freeze ended before the order came: what it holds is waited out.
            case _:
                pass  # A second hello on one session changes nothing.

    def _on_stall(self, length_ns: int) -> None:
        """Silence while our own loop stood still is not the agents': nobody is judged by it."""
        for agent in self._state.agents.values():
            agent.seen_ns += length_ns
        for session in self._state.sessions.values():
            session.heard_ns += length_ns

    def _settle(self, turn: Turn) -> None:
        """Look at everything that status or time may move, until nothing asks for another look."""
        state = self._state
        for _ in range(8):
            turn.unsettled = False
            selfdoubt.on_time(state, turn)
            observation.judge_due(state, turn)
            lineage.on_time(state, turn)
            authority.on_time(state, turn)
            damping.on_time(state, turn)
            recovery.on_time(state, turn)
            overrides.on_time(state, turn)
            moves.on_time(state, turn)
            starting.on_time(state, turn)
            draining.on_time(state, turn)
            if not turn.unsettled:
                break
        streaming.on_time(state, turn)
        durability.on_time(state, turn)
        heartbeat.on_time(state, turn)
        compaction.on_time(state, turn)
        transfers.on_time(state, turn)
        weighing.refresh(state, turn)
        registry.refresh_directory(state, turn)
        state.settle_ns = self._settle_ns(turn.now.mono_ns)
        state.wake_ns = self._wake_ns()

    def _wake_ns(self) -> int:
        state = self._state
        return min(
            [state.settle_ns, *streaming.deadlines(state), *transfers.deadlines(state), *sharing.deadlines(state)]
        )

    def _settle_ns(self, now_ns: int) -> int:
        state = self._state
        found = [now_ns + state.policy.report_interval_ns]
        found += [region.recheck_ns for region in state.regions.values()]
        found += authority.deadlines(state)
        found += moves.deadlines(state)
        found += starting.deadlines(state)
        found += overrides.deadlines(state)
        found += draining.deadlines(state, now_ns)
        found += selfdoubt.deadlines(state)
        found += weighing.deadlines(state)
        found += heartbeat.deadlines(state)
        if state.doubt is not None:
            found.append(lineage.end_ns(state, state.doubt))
        if state.directory_dirty:
            found.append(state.directory_due_ns)
        return max(now_ns + TICK_NS_MIN, min(at for at in found if at > now_ns))

    def next_deadline(self) -> int:
        """mono_ns at which `TimePassed` is due."""
        return self._state.wake_ns

    # ---- readings: copies, as of the last event. A reader waits for pending batches before it passes them on.

    @property
    def policy_record(self) -> PolicyRecord:
        return self._state.policy_record

    @property
    def has_policy(self) -> bool:
        """Whether a policy was ever set; else the defaults are in force."""
        return self._state.policy_stored

    def view(self, now: Now) -> GroupView:
        return readings.group_view(self._state, now)

    def glance(self, now: Now, looks: Looks) -> Seen:
        return glance.glance(self._state, now, looks)

    def lease_view(self, now: Now) -> LeaseView:
        return readings.lease_view(self._state, now)

    def weights_view(self) -> WeightsView:
        return readings.weights_view(self._state)

    def fallback(self, client: str) -> tuple[str, ...]:
        """Regions with no share of a client region's reads that may have some when the others cannot serve."""
        return weighing.fallback(self._state, client)

    def region_view(self, now: Now, name: str) -> RegionView | None:
        return readings.region_view(self._state, now, name)

    def explain(self, now: Now, if_down: str = "") -> ExplanationView:
        return readings.explain(self._state, now, if_down)

    def recovery_plan(self, now: Now) -> RecoveryPlan:
        return lineage.plan(self._state, now)

    def routing_totals(self) -> tuple[RouteTotal, ...]:
        return readings.routing_totals(self._state)

    def failover(self, failover_id: str) -> FailoverRecord | None:
        return self._state.failovers.get(failover_id)

    @property
    def head(self) -> int:
        """Number of the newest entry of the log."""
        return self._state.log.head

    def log_view(self, now: Now) -> LogView:
        return log_readings.log_view(self._state, now)

    def entries_before(
        self, before: int, count: int, bytes_max: int, kind: EntryKind | None = None, key: str = ""
    ) -> EntriesView:
        return log_readings.entries_before(self._state, before, count, bytes_max, kind, key)

    def entries_beyond(self, after: int, count: int, bytes_max: int, key: str = "") -> EntriesView:
        return log_readings.entries_beyond(self._state, after, count, bytes_max, key)

    def conflicts_before(
        self, before: int, count: int, bytes_max: int, wanted: ConflictState | None = None, key: str = ""
    ) -> tuple[tuple[ConflictRecord, ...], bool]:
        return log_readings.conflicts_before(self._state, before, count, bytes_max, wanted, key)

    def conflict(self, conflict_id: str) -> ConflictRecord | None:
        return self._state.log.conflicts.get(conflict_id)

"""The lease holder: whether this agent may call its region active, now.

1. Every rule of authority at the agent is in this file (I1): what counts, from when, and what is final.
2. A lease is counted from when the report was *sent* that an answer or an offer names, and for `T·(1-drift)` (see
   `counting`); so it ends here before the coordinator, who counts longer and from later, may grant another.
3. "Am I active?" is computed from the clock at the moment of asking (`active`); no flag remembers it.
4. What must survive a restart (`Memory`) is durable before anything that rests on it is said (I7). The lease itself is
   not among it: a new life holds nothing until it is offered its region's epoch again.
5. Nothing is taken for an epoch older than the newest ever heard of, nor from a store that this agent does not follow.
6. A lease makes the region active only when the service follows it: what its hooks have to do for that is in
   `promotion`, and a release is said when they have ended.

Nothing here reads a clock or does I/O.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from primacy_wire.instant import SECOND_NS, Now
from primacy_wire.log_messages import Entries, GroupMetrics, RetryParked, TransferPlan
from primacy_wire.messages import (
    PROTOCOL_VERSION,
    Accept,
    Answer,
    Directory,
    Freeze,
    Frozen,
    Hello,
    Lineage,
    Load,
    Membership,
    Offer,
    PeerSight,
    Phase,
    Refuse,
    RegionSpec,
    Release,
    ReleaseRefused,
    Report,
    RouteCount,
    ServiceHealth,
    Thaw,
    ToAgent,
    WeightsUpdate,
    Welcome,
)

from primacy_agent.core.counting import Lease, lease_end_ns
from primacy_agent.core.effects import (
    AgentEffect,
    AuthorityChanged,
    DirectoryChanged,
    Persist,
    ReportSoon,
    RowsChanged,
    Send,
    Superseded,
)
from primacy_agent.core.events import (
    AgentEvent,
    Durable,
    HookDone,
    LinkDown,
    LinkUp,
    Received,
    ReleaseNow,
    TimePassed,
)
from primacy_agent.core.hooks import HookSettings
from primacy_agent.core.memory import Memory
from primacy_agent.core.promotion import Promotion, Standing
from primacy_agent.core.views import ActiveView

SENT_AGE_NS_MAX = 60 * SECOND_NS
"""A report older than the longest TTL can carry no lease any more, so its sending time may be forgotten."""
REPORT_INTERVAL_NS_DEFAULT = SECOND_NS
NO_HOOKS = HookSettings()
_CHANGING = (Phase.PROMOTING, Phase.DEMOTING)


class LeaseHolder:
    """One life of an agent: what it holds, what it heard, what it may say of itself."""

    def __init__(
        self, region: str, agent: str, incarnation: str, memory: Memory, hooks: HookSettings = NO_HOOKS
    ) -> None:
        self.region = region
        self.agent = agent
        self.incarnation = incarnation
        self.memory = memory
        self.rows: WeightsUpdate | None = None
        self.rows_received_mono_ns = 0
        self.directory: Directory | None = None
        self.report_interval_ns = REPORT_INTERVAL_NS_DEFAULT
        self.superseded = ""
        """Why this life shall never connect again, or empty."""
        self.foreign_store = ""
        """A coordinator of this other store answered last: it is not followed."""
        self.released_epoch = 0
        """The highest epoch that this life refused or released: final for it."""
        self.answered = 0
        """The newest report that any coordinator answered: it tells that the link works both ways, and no more."""
        self.answered_mono_ns = 0
        """When the store that this agent follows answered last; 0: never."""
        self._held: Lease | None = None
        self._accepting: dict[int, tuple[int, Lease]] = {}
        """epoch -> (batch that makes it durable, the lease to hold then)."""
        self._freeze: tuple[str, int, int] | None = None
        """(id, epoch, until_ns on the own clock)."""
        self._freeze_ended = ""
        self._sent: dict[int, Now] = {}
        self._number = 0
        self._batch = 0
        self._writing: deque[tuple[int, Memory]] = deque()
        """Batches on their way to the disk."""
        self._durable = memory
        self._promotion = Promotion(hooks, region, incarnation, memory)
        self._told_phase = Phase.STANDBY
        self._told_valid = False
        """Whether the last `AuthorityChanged` was for a valid lease: only to notice that it ran out."""

    # ---- asking

    def active(self, now: Now) -> ActiveView:
        """Whether this agent may call its region active at `now`: both clocks read together, at this ask (I1)."""
        held = self._held
        valid = held is not None and held.is_valid(now)
        frozen = self._frozen_at(now)
        rows = self.rows
        region, active_epoch = (rows.active_region, rows.active_epoch) if rows else ("", 0)
        if held is not None and valid:
            region, active_epoch = self.region, held.epoch
        phase = self._phase(now)
        return ActiveView(
            active=phase is Phase.ACTIVE,
            phase=phase,
            epoch=held.epoch if held else self.memory.heard_epoch,
            region=region,
            active_epoch=active_epoch,
            remaining_ns=max(0, held.until_ns - now.mono_ns) if held is not None and valid else 0,
            deadline_mono_ns=held.until_ns if held else 0,
            frozen=frozen,
            reason=self._reason(now, phase),
        )

    def _phase(self, now: Now) -> Phase:
        held = self._held
        if held is None or not held.is_valid(now):
            return Phase.DEMOTING if self._promotion.is_demoting(self._standing(now)) else Phase.STANDBY
        if not self._promotion.is_ready(held.epoch, self._durable):
            return Phase.PROMOTING
        return Phase.FROZEN if self._frozen_at(now) else Phase.ACTIVE

    def _reason(self, now: Now, phase: Phase) -> str:
        if phase is Phase.PROMOTING:
            return f"holds the active lease; the service is being promoted ({self._promotion.word or 'it is recorded'})"
        if phase is Phase.DEMOTING:
            return f"the service is being demoted ({self._promotion.word or 'it is recorded'})"
        if phase is not Phase.STANDBY:
            return "frozen for a planned move" if self._frozen_at(now) else "holds the active lease"
        if self.superseded:
            return self.superseded
        if self.foreign_store:
            return f"the coordinator runs on another store ({self.foreign_store}); waiting for a recovery"
        if self._held is None:
            return "holds no lease"
        if now.mono_ns < self._held.until_ns:
            return "the machine's clock stood still: the lease counts as lapsed until the next answer"
        return "the lease ran out"

    @property
    def is_settled(self) -> bool:
        """Whether nothing that was given up waits for a hook before it is said."""
        return self._promotion.release is None

    def next_deadline(self) -> int | None:
        """mono_ns at which `TimePassed` is due, or None."""
        deadlines = [self._freeze[2]] if self._freeze else []
        if self._held is not None and self._told_valid:
            deadlines.append(self._held.until_ns)
        if (hooks_ns := self._promotion.deadline_ns()) is not None:
            deadlines.append(hooks_ns)
        return min(deadlines, default=None)

    # ---- speaking

    def hello(self, group: str, host: str, peer_address: str, spec: RegionSpec) -> Hello:
        """The first message of a session."""
        return Hello(
            group=group,
            region=self.region,
            agent=self.agent,
            incarnation=self.incarnation,
            host=host,
            protocol_version=PROTOCOL_VERSION,
            lineage=self.memory.lineage,
            heard_epoch=self.memory.heard_epoch,
            membership=self.memory.membership,
            peer_address=peer_address,
            spec=spec,
        )

    def report(
        self,
        now: Now,
        health: ServiceHealth,
        load: Load,
        sights: tuple[PeerSight, ...],
        routed: tuple[RouteCount, ...],
        detail: object = None,
    ) -> Report:
        """The next report. `now` is when it is handed to the transport: a lease will be counted from it."""
        self._number += 1
        self._sent[self._number] = now
        while self._sent:
            oldest = next(iter(self._sent))
            if now.mono_ns - self._sent[oldest].mono_ns <= SENT_AGE_NS_MAX:
                break
            del self._sent[oldest]
        view = self.active(now)
        return Report(
            incarnation=self.incarnation,
            number=self._number,
            epoch=self._held.epoch if self._held else 0,
            valid=view.remaining_ns > 0,
            phase=view.phase,
            heard_epoch=self.memory.heard_epoch,
            lineage=self.memory.lineage,
            membership_version=self.memory.membership.version,
            released_epoch=self._said_released_epoch(),
            answered=self.answered,
            freeze_id=self._freeze[0] if self._freeze and view.frozen else "",
            health=health,
            load=load,
            sights=sights,
            routed=routed,
            detail=detail,
            wall_ns=now.wall_ns,
        )

    # ---- hearing

    def handle(self, now: Now, event: AgentEvent) -> tuple[AgentEffect, ...]:
        """Take one event. What cannot be right is left aside and changes nothing."""
        out: list[AgentEffect] = []
        match event:
            case Received(message):
                self._on_message(now, message, out)
            case Durable(batch):
                self._on_durable(batch, out)
            case HookDone():
                self._promotion.done(self._standing(now), event, out)
            case LinkDown(superseded=True, reason=reason):
                self.superseded = reason or "a newer life of this agent is known to the coordinator"
                self._accepting.clear()
                out.append(Superseded(self.superseded))
            case LinkUp() | LinkDown():
                pass
            case ReleaseNow(reason):
                self._on_release_now(reason, out)
            case TimePassed():
                pass
        self._notice_ends(now, out)
        self._follow_hooks(now, out)
        self._notice_phase(now, out)
        return tuple(out)

    def _on_message(self, now: Now, message: ToAgent, out: list[AgentEffect]) -> None:
        match message:
            case Welcome():
                self._on_welcome(message, out)
            case Answer():
                self._on_answer(now, message, out)
            case Offer():
                self._on_offer(message, out)
            case Release():
                self._on_release(now, message, out)
            case Freeze():
                self._on_freeze(now, message, out)
            case Thaw():
                if self._freeze and self._freeze[0] == message.freeze_id:
                    self._end_freeze(out)
            case WeightsUpdate() | Directory() if self.foreign_store:
                pass  # What was last heard from the store that this agent follows stays in force (I6).
            case WeightsUpdate():
                self.rows = message
                self.rows_received_mono_ns = now.mono_ns
                out.append(RowsChanged())
            case Directory():
                self.directory = message
                self._remember(out, membership=message.membership)
                out.append(DirectoryChanged())
            case Entries() | TransferPlan() | RetryParked() | GroupMetrics():
                pass  # The replica's, not the lease's.

    def _on_welcome(self, welcome: Welcome, out: list[AgentEffect]) -> None:
        self.report_interval_ns = welcome.report_interval_ns
        mine = self.memory.lineage.store_id
        theirs = welcome.lineage
        if mine and theirs.store_id != mine:
            if not (welcome.adopt and welcome.epoch > self.memory.heard_epoch):
                self.foreign_store = theirs.store_id
                return
            # A recovered group: its coordinator waited out whatever the old store may have granted.
            self._held = None
            self._accepting.clear()
            self._freeze = None
            self.foreign_store = ""
            self._write(
                replace(self.memory, lineage=theirs, heard_epoch=welcome.epoch, membership=welcome.membership), out
            )
            out += [AuthorityChanged(), ReportSoon()]
            return
        self.foreign_store = ""
        self._remember(out, lineage=theirs, heard_epoch=welcome.epoch, membership=welcome.membership)
        out.append(ReportSoon())

    def _follows(self, store_id: str) -> bool:
        return bool(store_id) and store_id == self.memory.lineage.store_id

    def _on_answer(self, now: Now, answer: Answer, out: list[AgentEffect]) -> None:
        if answer.incarnation != self.incarnation:
            return
        self.answered = max(self.answered, answer.report)
        if not self._follows(answer.lineage.store_id):
            return
        self.answered_mono_ns = now.mono_ns
        self.report_interval_ns = answer.report_interval_ns
        stale = answer.epoch < self.memory.heard_epoch
        revision = max(answer.lineage.revision, self.memory.lineage.revision)
        self._remember(out, lineage=replace(self.memory.lineage, revision=revision), heard_epoch=answer.epoch)
        if stale:
            return
        held = self._held
        if held is not None and answer.epoch > held.epoch:
            self._held = None  # Another epoch is decided: ours was over before that.
            out.append(AuthorityChanged())
            return
        base = self._sent.get(answer.report)
        if not answer.renews or held is None or answer.epoch != held.epoch or base is None:
            return
        was_valid = held.is_valid(now)
        renewed = Lease(
            held.epoch, lease_end_ns(base, answer.ttl_ns, answer.drift_ppm), base, answer.ttl_ns, answer.drift_ppm
        )
        self._held = held.extended(renewed)
        if self._held.is_valid(now) != was_valid:
            out.append(AuthorityChanged())

    def _on_offer(self, offer: Offer, out: list[AgentEffect]) -> None:
        base = self._sent.get(offer.report)
        if offer.incarnation != self.incarnation or not self._follows(offer.lineage.store_id) or base is None:
            return
        if offer.epoch < self.memory.heard_epoch or offer.epoch <= self.released_epoch:
            return
        if self.superseded:
            self.released_epoch = offer.epoch
            out.append(Send(Refuse(self.incarnation, offer.epoch, self.superseded)))
            return
        lease = Lease(
            offer.epoch, lease_end_ns(base, offer.ttl_ns, offer.drift_ppm), base, offer.ttl_ns, offer.drift_ppm
        )
        if self._held is not None and self._held.epoch == offer.epoch:
            self._held = self._held.extended(lease)
            out.append(self._accept(offer.epoch))  # The first one may have been lost.
            return
        waiting = self._accepting.get(offer.epoch)
        if waiting is not None:
            self._accepting[offer.epoch] = (waiting[0], waiting[1].extended(lease))
            return
        if self._held is not None:
            self._held = None  # An older epoch of this region: it was over before this one was decided.
            out.append(AuthorityChanged())
        memory = replace(
            self.memory,
            heard_epoch=offer.epoch,
            accepted_epoch=offer.epoch,
            membership=max(offer.membership, self.memory.membership, key=lambda m: m.version),
        )
        self._write(self._promotion.accept(offer, memory), out)
        self._accepting = {offer.epoch: (self._batch, lease)}

    def _on_durable(self, batch: int, out: list[AgentEffect]) -> None:
        while self._writing and self._writing[0][0] <= batch:
            self._durable = self._writing.popleft()[1]
        for epoch, (needed, lease) in list(self._accepting.items()):
            if batch < needed:
                continue
            del self._accepting[epoch]
            if epoch < self.memory.heard_epoch or epoch <= self.released_epoch or self.superseded:
                continue
            self._held = lease
            out += [self._accept(epoch), AuthorityChanged(), ReportSoon()]

    def _accept(self, epoch: int) -> Send:
        return Send(Accept(self.incarnation, epoch, promoting=not self._promotion.is_ready(epoch, self._durable)))

    def _on_release(self, now: Now, order: Release, out: list[AgentEffect]) -> None:
        if order.incarnation != self.incarnation or not self._follows(order.store_id):
            return
        held = self._held
        if held is not None and held.epoch > order.epoch:
            return
        holds_it = held is not None and held.epoch == order.epoch and held.is_valid(now)
        if holds_it and order.freeze_id and not (self._frozen_at(now) and self._freeze_id() == order.freeze_id):
            out.append(Send(ReleaseRefused(self.incarnation, order.epoch, order.freeze_id)))
            return
        self._give_up(order.epoch, "ordered", out)

    def _on_release_now(self, reason: str, out: list[AgentEffect]) -> None:
        epochs = [*self._accepting, *([self._held.epoch] if self._held else [])]
        if epochs:
            self._give_up(max(epochs), reason, out)

    def _give_up(self, epoch: int, reason: str, out: list[AgentEffect]) -> None:
        self.released_epoch = max(self.released_epoch, epoch)
        self._accepting.clear()
        if self._held is not None:
            self._held = None
            out.append(AuthorityChanged())
        if self._freeze is not None:
            self._end_freeze(out)
        self._promotion.give_up(epoch, reason)

    def _on_freeze(self, now: Now, order: Freeze, out: list[AgentEffect]) -> None:
        if order.incarnation != self.incarnation or not self._follows(order.store_id):
            return
        if order.freeze_id == self._freeze_ended:
            return  # A late copy of an order that has ended freezes nobody again.
        if self._held is None or self._held.epoch != order.epoch:
            return
        if self._freeze is None or self._freeze[0] != order.freeze_id:
            self._freeze = (order.freeze_id, order.epoch, now.mono_ns + order.duration_ns)
            out.append(AuthorityChanged())
        out.append(Send(Frozen(self.incarnation, order.epoch, order.freeze_id)))

    # ---- hooks

    def _standing(self, now: Now) -> Standing:
        held = self._held
        return Standing(
            now.mono_ns,
            held.epoch if held is not None else 0,
            held is not None and held.is_valid(now),
            held.until_ns if held is not None else 0,
            bool(self._accepting),
            self.memory.heard_epoch,
            self.released_epoch,
            self._durable,
        )

    def _follow_hooks(self, now: Now, out: list[AgentEffect]) -> None:
        """Have the service promoted or demoted as the lease says; a release that waited for it goes out."""
        self._promotion.settle(self._standing(now), out)
        failure = self._promotion.take_failure()
        if failure is not None:
            self._give_up(*failure, out)
            self._promotion.settle(self._standing(now), out)
        memory = self._promotion.remembered(self.memory)
        if memory != self.memory:
            self._write(memory, out)

    def _said_released_epoch(self) -> int:
        """What was given up and is not said yet waits for a hook: reports must not say it earlier."""
        waiting = self._promotion.release
        return self.released_epoch if waiting is None else min(self.released_epoch, waiting[0] - 1)

    def _notice_phase(self, now: Now, out: list[AgentEffect]) -> None:
        before, self._told_phase = self._told_phase, self._phase(now)
        if before is self._told_phase:
            return
        if AuthorityChanged() not in out:
            out.append(AuthorityChanged())
        if before in _CHANGING or self._told_phase in _CHANGING:
            out.append(ReportSoon())  # A move may wait for it.

    # ---- small things

    def _write(self, memory: Memory, out: list[AgentEffect]) -> None:
        self.memory = memory
        self._batch += 1
        self._writing.append((self._batch, memory))
        out.append(Persist(self._batch, memory))

    def _frozen_at(self, now: Now) -> bool:
        return self._freeze is not None and now.mono_ns < self._freeze[2]

    def _freeze_id(self) -> str:
        return self._freeze[0] if self._freeze else ""

    def _end_freeze(self, out: list[AgentEffect]) -> None:
        self._freeze_ended = self._freeze_id()
        self._freeze = None
        out.append(AuthorityChanged())

    def _notice_ends(self, now: Now, out: list[AgentEffect]) -> None:
        if self._freeze is not None and now.mono_ns >= self._freeze[2]:
            self._end_freeze(out)
        valid = self._held is not None and self._held.is_valid(now)
        if valid != self._told_valid:
            self._told_valid = valid
            if AuthorityChanged() not in out:
                out.append(AuthorityChanged())

    def _remember(
        self,
        out: list[AgentEffect],
        lineage: Lineage | None = None,
        heard_epoch: int = 0,
        membership: Membership | None = None,
    ) -> None:
        """Persist what is newer than the memory; nothing when nothing is."""
        memory = replace(
            self.memory,
            lineage=lineage or self.memory.lineage,
            heard_epoch=max(heard_epoch, self.memory.heard_epoch),
            membership=membership
            if membership is not None and membership.version > self.memory.membership.version
            else self.memory.membership,
        )
        if memory != self.memory:
            self._write(memory, out)

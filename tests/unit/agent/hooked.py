"""One life after another of a lease holder with hooks, on a table: its disk and its hooks end when a test says so."""

from __future__ import annotations

from dataclasses import replace

from primacy_agent.core.effects import AgentEffect, KillHook, Persist, RunHook, Send
from primacy_agent.core.events import AgentEvent, Durable, HookDone, Received, TimePassed
from primacy_agent.core.hooks import HookKind, HookSettings
from primacy_agent.core.lease import LeaseHolder
from primacy_agent.core.memory import Memory
from primacy_wire.instant import SECOND_NS, Now
from primacy_wire.messages import (
    Accept,
    Answer,
    Freeze,
    FromAgent,
    HookRan,
    Lineage,
    Load,
    Membership,
    Offer,
    Phase,
    Release,
    Released,
    Report,
    ServiceHealth,
    ServiceState,
    Welcome,
)

TTL_NS = 5 * SECOND_NS
UP = ServiceHealth(ServiceState.UP, 1, 1)
BOTH = HookSettings("default", on_promote=True, on_demote=True)
LINEAGE = Lineage("store", "run", 1)


class Hooked:
    """Checks after every event that at most one hook runs, and that ACTIVE means what it says."""

    def __init__(self, settings: HookSettings = BOTH, disk: Memory | None = None) -> None:
        self.settings = settings
        self.now = Now(1_000 * SECOND_NS, 1_700_000_000 * SECOND_NS)
        self.disk = disk or Memory()
        self.slow_disk = False
        self.lives = 0
        self.said: list[FromAgent] = []
        self.ran: list[RunHook] = []
        self.killed: list[KillHook] = []
        self.running: RunHook | None = None
        self.promoted_epoch = 0
        """What the service really is: the epoch whose on_promote exited 0, with no on_demote begun since."""
        self.begin_life()

    # ---- lives

    def begin_life(self) -> None:
        """A new process finds what the disk has; the runner has ended what an earlier one left."""
        self.lives += 1
        self.running = None
        self.unwritten: list[Persist | Send] = []
        self.holder = LeaseHolder("eu", "a1", f"life-{self.lives}", self.disk, self.settings)
        self.report: Report | None = None
        self.post(TimePassed())

    def hear(self, epoch: int) -> None:
        """The coordinator's welcome."""
        self.post(Received(Welcome(LINEAGE, adopt=False, epoch=epoch, report_interval_ns=SECOND_NS,
                                   membership=Membership())))  # fmt: skip

    # ---- what the coordinator says

    def reported(self) -> Report:
        self.report = self.holder.report(self.now, UP, Load(), (), ())
        waiting = self.holder._promotion.release
        if waiting is not None:
            assert self.report.released_epoch < waiting[0], "a release was said before the service was demoted"
        return self.report

    def offer(self, epoch: int, from_region: str = "us", reason: str = "f1") -> None:
        report = self.reported()
        self.post(Received(Offer(report.incarnation, report.number, LINEAGE, epoch, TTL_NS, 10_000, Membership(),
                                 from_region, reason)))  # fmt: skip

    def answer(self, epoch: int, renews: bool) -> None:
        report = self.reported()
        self.post(Received(Answer(report.incarnation, report.number, LINEAGE, epoch, renews, TTL_NS, 10_000, 0,
                                  SECOND_NS)))  # fmt: skip

    def order_release(self, epoch: int) -> None:
        self.post(Received(Release(self.holder.incarnation, epoch, LINEAGE.store_id, "", "f2")))

    def freeze(self, epoch: int) -> None:
        self.post(Received(Freeze(self.holder.incarnation, epoch, LINEAGE.store_id, "freeze", 3 * SECOND_NS)))

    # ---- time, disk and hooks

    def pass_s(self, seconds: float, renewing: int = 0) -> None:
        """In steps of half a second, each with an answer that renews this epoch when one is given."""
        end_ns = self.now.mono_ns + int(seconds * SECOND_NS)
        while self.now.mono_ns < end_ns:
            self.now = self.now.plus(min(SECOND_NS // 2, end_ns - self.now.mono_ns))
            if renewing:
                self.answer(renewing, renews=True)
            self.post(TimePassed())

    def stand_still_s(self, seconds: float) -> None:
        """A hypervisor stops the guest: its own clock stands, and the calendar is set right after."""
        self.now = replace(self.now, wall_ns=self.now.wall_ns + int(seconds * SECOND_NS))
        self.post(TimePassed())

    def flush(self) -> None:
        """The disk catches up."""
        while self.unwritten:
            head = self.unwritten.pop(0)
            if isinstance(head, Persist):
                self.disk = head.memory
                self.post(Durable(head.batch))
            else:
                self._say(head.message)

    def end_hook(self, exit_code: int = 0, output: str = "", started: bool = True) -> None:
        run, self.running = self.running, None
        assert run is not None, "no hook runs"
        if run.kind is HookKind.ON_PROMOTE and exit_code == 0 and started:
            self.promoted_epoch = run.epoch
        self.post(HookDone(run.kind, run.epoch, exit_code, output, SECOND_NS, started))

    def post(self, event: AgentEvent) -> None:
        for effect in self.holder.handle(self.now, event):
            self._perform(effect)
        self.check()
        if not self.slow_disk:
            self.flush()

    def _perform(self, effect: AgentEffect) -> None:
        match effect:
            case Persist() | Send() if self.unwritten or isinstance(effect, Persist):
                self.unwritten.append(effect)
            case Send(message):
                self._say(message)
            case RunHook():
                assert self.running is None, "two hooks at once"
                self.running = effect
                self.ran.append(effect)
                if effect.kind is HookKind.ON_DEMOTE:
                    self.promoted_epoch = 0
                else:
                    assert not self.settings.on_demote or self.disk.demote_owed_epoch == effect.epoch
            case KillHook(kind, epoch):
                assert self.running is not None and (self.running.kind, self.running.epoch) == (kind, epoch)
                self.killed.append(effect)
            case _:
                pass

    def _say(self, message: FromAgent) -> None:
        self.said.append(message)

    def check(self) -> None:
        """What ACTIVE promises, whatever happened."""
        view = self.holder.active(self.now)
        assert view.active == (view.phase is Phase.ACTIVE)
        if view.phase in (Phase.ACTIVE, Phase.FROZEN):
            assert view.remaining_ns > 0
            if self.settings.on_promote:
                assert self.promoted_epoch == view.epoch == self.disk.promoted_epoch
        if view.phase is Phase.PROMOTING:
            assert view.remaining_ns > 0
        if self.running is not None:
            assert self.running.kind is HookKind.ON_PROMOTE or not view.active

    # ---- asking

    @property
    def phase(self) -> Phase:
        return self.holder.active(self.now).phase

    def names(self) -> list[tuple[str, int]]:
        """(hook, epoch) of every run."""
        return [(run.kind.value, run.epoch) for run in self.ran]

    def environment(self) -> dict[str, str]:
        """Of the newest run."""
        return dict(self.ran[-1].environment)

    def released(self) -> list[tuple[int, str]]:
        return [(word.epoch, word.reason) for word in self.said if isinstance(word, Released)]

    def accepted(self) -> list[tuple[int, bool]]:
        return [(word.epoch, word.promoting) for word in self.said if isinstance(word, Accept)]

    def hooks_told(self) -> list[HookRan]:
        return [word for word in self.said if isinstance(word, HookRan)]

    def promote(self, epoch: int) -> None:
        """Take an offer and be ACTIVE."""
        self.hear(epoch)
        self.offer(epoch)
        self.end_hook()
        assert self.phase is Phase.ACTIVE

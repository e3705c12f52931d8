"""Which hook runs when, so that the service is what the lease says.

1. One hook runs at a time. One that promotes for a lease that is gone is killed, and has ended before another starts.
2. `on_promote` runs for a valid lease, once in every life. The epoch counts as promoted when it has exited 0 and that
   is durable; before that the agent is not ACTIVE. An epoch that is promoted already stays ACTIVE while it runs again.
3. `on_demote` is owed from the acceptance of an epoch, durably, until it has exited 0 with that lease gone. So it also
   runs for a promotion that was cut short, and in a later life when the one that held the lease was killed.
4. A release is said when no hook runs any more, and after `on_demote` was tried.
5. A lease that is counted as lapsed only because the clock stood still undoes nothing before its time has run out: the
   next answer revives it.
6. A new life does not demote what it may be offered again at once: it waits until it hears of a newer epoch, or until
   the last life's lease and the wait of a coordinator that restarted, too, have run out.

Pure: what runs is an effect, how it ended is an event. `on_demote` that failed is tried again, for a service that
goes on acting without a lease is the worst that can happen here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import HookRan, Offer, Released

from primacy_agent.core.effects import AgentEffect, KillHook, RunHook, Send
from primacy_agent.core.events import HookDone
from primacy_agent.core.hooks import HookKind, HookSettings
from primacy_agent.core.memory import Memory

RETRY_NS_FIRST = 5 * SECOND_NS
RETRY_NS_MOST = 300 * SECOND_NS
"""Pauses after an `on_demote` that failed; each is twice the one before."""
TEXT_LENGTH_MAX = 1_000
"""Of a reason, in a hook's environment."""
OUTPUT_LENGTH_MAX = 4_000
"""Of what a hook prints, so much of the end goes into the history of the move."""
LAST_LINE_LENGTH_MAX = 200
PROMOTE, DEMOTE = HookKind.ON_PROMOTE, HookKind.ON_DEMOTE


@dataclass(frozen=True, slots=True)
class Standing:
    """What the lease is at one instant."""

    now_ns: int
    epoch: int = 0
    """Held, lapsed or not; 0: none."""
    valid: bool = False
    until_ns: int = 0
    """When its time has run out."""
    accepting: bool = False
    """An acceptance is on its way to the disk."""
    heard_epoch: int = 0
    released_epoch: int = 0
    durable: Memory = Memory()

    @property
    def is_over(self) -> bool:
        """Nothing is held, or its time has run out."""
        return not self.epoch or self.now_ns >= self.until_ns


@dataclass(frozen=True, slots=True)
class Run:
    """A hook that was started and has not ended."""

    kind: HookKind
    epoch: int
    until_ns: int
    """Its timeout."""
    killed: str = ""
    """Why it was killed: `timed out`, or in words."""


class Promotion:
    """What the service was made to be, and what runs to change it."""

    def __init__(self, settings: HookSettings, region: str, incarnation: str, memory: Memory) -> None:
        self.running: Run | None = None
        self.promoted_epoch = memory.promoted_epoch
        self.owed_epoch = memory.demote_owed_epoch
        """These two go into the memory."""
        self.release: tuple[int, str] | None = None
        """(epoch, reason) that was given up, and is said when the service is demoted."""
        self._settings = settings
        self._region = region
        self._incarnation = incarnation
        self._held_epoch = 0
        """The newest epoch that this life held."""
        self._tried_epoch = 0
        """The epoch that `on_promote` ran for in this life, with no `on_demote` begun since."""
        self._offered = ("", "")
        """(region that was active before, reason) of the newest offer."""
        self._inherited_wait_ns = 2 * memory.lease_ttl_ns
        self._born_ns: int | None = None
        self._retry_ns = 0
        self._retry_wait_ns = RETRY_NS_FIRST
        self._failure: tuple[int, str] | None = None
        self._deadline_ns: int | None = None

    # ---- asking

    def is_ready(self, epoch: int, durable: Memory) -> bool:
        """Whether a valid lease of this epoch makes the agent ACTIVE."""
        if self.running is not None and self.running.kind is DEMOTE:
            return False
        if self._settings.on_demote and not self.owed_epoch == durable.demote_owed_epoch == epoch:
            return False
        return not self._settings.on_promote or self.promoted_epoch == durable.promoted_epoch == epoch

    def is_demoting(self, standing: Standing) -> bool:
        """Whether the service still has to be demoted, or something still works on it."""
        return self.running is not None or self.release is not None or self._is_due(standing)

    def deadline_ns(self) -> int | None:
        """When time alone will change something here."""
        return self._deadline_ns

    @property
    def word(self) -> str:
        """What goes on here, for people."""
        if self.running is not None:
            return f"{self.running.kind.value} runs for epoch {self.running.epoch}"
        return f"{DEMOTE.value} for epoch {self.owed_epoch} failed and is tried again" if self._retry_ns else ""

    # ---- telling

    def accept(self, offer: Offer, memory: Memory) -> Memory:
        """The memory with an offer that is about to be accepted: from then on a demotion is owed."""
        self._offered = offer.from_region, offer.reason
        if self._settings.on_demote:
            self.owed_epoch = offer.epoch
        return replace(memory, demote_owed_epoch=self.owed_epoch, lease_ttl_ns=offer.ttl_ns)

    def give_up(self, epoch: int, reason: str) -> None:
        """The epoch is released for good. It is said when the service is demoted; the first reason stands."""
        if self.release is None or self.release[0] < epoch:
            self.release = epoch, reason
        self._retry_ns = 0

    def take_failure(self) -> tuple[int, str] | None:
        """(epoch, reason) that must be given up because the service could not be promoted; told once."""
        failure, self._failure = self._failure, None
        return failure

    def remembered(self, memory: Memory) -> Memory:
        return replace(memory, promoted_epoch=self.promoted_epoch, demote_owed_epoch=self.owed_epoch)

    def settle(self, standing: Standing, out: list[AgentEffect]) -> None:
        """Start, kill and say what the lease wants now. Called after every event."""
        if self._born_ns is None:
            self._born_ns = standing.now_ns
        self._held_epoch = max(self._held_epoch, standing.epoch)
        if self.running is not None:
            self._watch(self.running, standing, out)
        elif self._is_due(standing) and standing.now_ns >= self._retry_ns:
            self._demote(standing, out)
        else:
            if self.release is not None:
                out.append(Send(Released(self._incarnation, *self.release)))
                self.release = None
            if standing.valid:
                self._promote(standing, out)
        self._deadline_ns = self._next_deadline_ns(standing)

    def done(self, standing: Standing, ended: HookDone, out: list[AgentEffect]) -> None:
        """A hook has ended. One that was not started here is left aside."""
        run = self.running
        if run is None or (run.kind, run.epoch) != (ended.kind, ended.epoch):
            return
        self.running = None
        outcome = _outcome(run, ended)
        output = ended.output[-OUTPUT_LENGTH_MAX:]
        if outcome == "failed" and run.killed:
            output = f"{output}\n({run.killed})".lstrip("\n")[-OUTPUT_LENGTH_MAX:]
        code = -1 if run.killed and ended.exit_code else ended.exit_code
        out.append(Send(HookRan(self._incarnation, run.epoch, run.kind.value, code, outcome, output, ended.length_ns)))
        succeeded = outcome == "succeeded"
        if run.kind is DEMOTE:
            self._demoted(run, standing, succeeded)
        elif succeeded and standing.epoch == run.epoch and not standing.is_over:
            self.promoted_epoch = run.epoch
        elif not succeeded and not run.killed:
            self._fail(run, _in_words(outcome, ended))
        elif run.killed != "timed out":
            self._tried_epoch = 0  # Its lease was gone: where that is revived, the service is to be promoted after all.

    # ---- how it goes on

    def _watch(self, run: Run, standing: Standing, out: list[AgentEffect]) -> None:
        if run.killed:
            return
        if run.kind is PROMOTE and (standing.is_over or standing.epoch != run.epoch):
            self._kill(run, "killed: its lease is gone", out)
        elif standing.now_ns >= run.until_ns:
            self._kill(run, "timed out", out)
            if run.kind is PROMOTE:
                self._fail(run, f"timed out after {self._settings.promote_timeout_ns / SECOND_NS:g} s")

    def _kill(self, run: Run, why: str, out: list[AgentEffect]) -> None:
        self.running = replace(run, killed=why)
        out.append(KillHook(run.kind, run.epoch))

    def _fail(self, run: Run, how: str) -> None:
        """`on_promote` did not do it: the epoch goes, unless an earlier run of it has promoted the service."""
        if self.promoted_epoch != run.epoch:
            self._failure = run.epoch, f"{PROMOTE.value} {how}"

    def _promote(self, standing: Standing, out: list[AgentEffect]) -> None:
        if self._settings.on_demote:
            self.owed_epoch = standing.epoch  # A lease that was revived after a demotion owes one again.
            if standing.durable.demote_owed_epoch != standing.epoch:
                return
        self._retry_ns, self._retry_wait_ns = 0, RETRY_NS_FIRST
        if self._settings.on_promote and self._tried_epoch != standing.epoch:
            self._tried_epoch = standing.epoch
            until_ns = standing.now_ns + self._settings.promote_timeout_ns
            self._run(Run(PROMOTE, standing.epoch, until_ns), *self._offered, out)

    def _is_due(self, standing: Standing) -> bool:
        """Whether `on_demote` has to run (again), now or after a pause."""
        if not (self._settings.on_demote and self.owed_epoch) or standing.accepting or not standing.is_over:
            return False
        known = max(self._held_epoch, standing.released_epoch, standing.heard_epoch - 1)
        return known >= self.owed_epoch or standing.now_ns >= self._inherited_until_ns(standing)

    def _inherited_until_ns(self, standing: Standing) -> int:
        """Until when the last life's lease may come back to this one."""
        return (standing.now_ns if self._born_ns is None else self._born_ns) + self._inherited_wait_ns

    def _demote(self, standing: Standing, out: list[AgentEffect]) -> None:
        if self.release is not None:
            why = self.release[1]
        elif standing.heard_epoch > self.owed_epoch:
            why = f"epoch {standing.heard_epoch} was decided"
        else:
            why = "the lease ran out"
        self.promoted_epoch = self._tried_epoch = 0
        until_ns = standing.now_ns + self._settings.demote_timeout_ns
        self._run(Run(DEMOTE, self.owed_epoch, until_ns), self._region, why, out)

    def _demoted(self, run: Run, standing: Standing, succeeded: bool) -> None:
        if not succeeded:
            self._retry_ns = standing.now_ns + self._retry_wait_ns
            self._retry_wait_ns = min(2 * self._retry_wait_ns, RETRY_NS_MOST)
            return
        self._retry_ns, self._retry_wait_ns = 0, RETRY_NS_FIRST
        if self.owed_epoch == run.epoch and (standing.is_over or standing.epoch != run.epoch):
            self.owed_epoch = 0

    def _run(self, run: Run, from_region: str, reason: str, out: list[AgentEffect]) -> None:
        self.running = run
        environment = (
            ("PRIMACY_EPOCH", str(run.epoch)),
            ("PRIMACY_GROUP", self._settings.group),
            ("PRIMACY_REGION", self._region),
            ("PRIMACY_FROM", from_region),
            ("PRIMACY_REASON", reason.replace("\0", " ")[:TEXT_LENGTH_MAX]),
        )
        out.append(RunHook(run.kind, run.epoch, environment))

    def _next_deadline_ns(self, standing: Standing) -> int | None:
        found = []
        if self.running is not None:
            found = [] if self.running.killed else [self.running.until_ns]
        elif self._is_due(standing):
            found = [self._retry_ns]
        elif self.owed_epoch and standing.is_over and not standing.accepting:
            found = [self._inherited_until_ns(standing)]
        if not standing.is_over and (self.running is not None or self.owed_epoch):
            found.append(standing.until_ns)
        return min((at_ns for at_ns in found if at_ns > standing.now_ns), default=None)


def _outcome(run: Run, ended: HookDone) -> str:
    if not ended.started:
        return "not started"
    if ended.exit_code == 0:
        return "succeeded"
    return "timed out" if run.killed == "timed out" else "failed"


def _in_words(outcome: str, ended: HookDone) -> str:
    last = ended.output.strip().rpartition("\n")[2][:LAST_LINE_LENGTH_MAX]
    if outcome == "not started":
        return f"could not be started: {last}"
    how = f"exited {ended.exit_code}" if ended.exit_code > 0 else f"was ended by signal {-ended.exit_code}"
    return f"{how}: {last}" if last else how

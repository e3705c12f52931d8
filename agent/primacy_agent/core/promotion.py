"""Which hook must run now, so that the service is what the lease says.

1. A service is promoted for an epoch when `on_promote` has ended well for it; before that the agent is not ACTIVE.
2. A service that was promoted, or that a hook began to promote, is demoted when no lease is valid any more: by a
   release before that is acknowledged, by expiry after it.
3. One hook runs at a time. One that promotes for a lease that is gone is killed first.
4. A new life inherits what the last one promoted. It runs the hook again, for nobody knows what became of the service,
   but it does not leave ACTIVE for that; and it demotes only when it has heard of a newer epoch, or when the lease of
   the last life can no longer be valid.

Pure: what runs is an effect, how it ended an event.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from primacy_wire.instant import SECOND_NS, Now

INHERITED_NS_MAX = 70 * SECOND_NS
"""The longest lease that an earlier life may have held (60 s), with the largest drift and some room."""


class Hook(Enum):
    PROMOTE = "on_promote"
    DEMOTE = "on_demote"


@dataclass(frozen=True, slots=True)
class Hooks:
    """Which hooks are configured."""

    promote: bool = False
    demote: bool = False


@dataclass(frozen=True, slots=True)
class RunHook:
    """Run a hook; `HookDone` comes back when it has ended, was killed, or could not be started."""

    hook: Hook
    epoch: int
    from_region: str
    """The region that was active before, or empty."""
    reason: str


@dataclass(frozen=True, slots=True)
class KillHook:
    """End the hook that runs: what it works for is gone."""


@dataclass(frozen=True, slots=True)
class HookDone:
    """The hook that ran has ended."""

    hook: Hook
    epoch: int
    outcome: str
    """`succeeded`, `failed`, `timed out` or `not started`."""
    exit_code: int
    output: str
    length_ns: int

    @property
    def succeeded(self) -> bool:
        return self.outcome == "succeeded"


class Promotion:
    """What the service was made to be, and what runs to change it."""

    def __init__(self, hooks: Hooks, promoted_epoch: int) -> None:
        self.hooks = hooks
        self.promoted_epoch = promoted_epoch
        """The epoch that the service is promoted for; 0: none."""
        self.running: tuple[Hook, int] | None = None
        self._killed = False
        self._touched_epoch = promoted_epoch
        """The newest epoch that the service may have been promoted for, wholly or not; 0: demoted since."""
        self._tried_epoch = 0
        """The newest epoch that this life ran `on_promote` for."""
        self._inherited_until_ns: int | None = 0 if promoted_epoch else None
        """While the last life's promotion is not this one's: until when its lease may be valid; 0: not known yet."""
        self._failed_epoch = 0

    def is_promoted(self, epoch: int) -> bool:
        """Whether a valid lease of the epoch makes this agent ACTIVE."""
        return not self.is_demoting and (not self.hooks.promote or self.promoted_epoch == epoch)

    @property
    def is_demoting(self) -> bool:
        return self.running is not None and self.running[0] is Hook.DEMOTE

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to be undone, so that a release may be acknowledged."""
        return self.running is None and not (self.hooks.demote and self._touched_epoch)

    def next(
        self, now: Now, valid_epoch: int, heard_epoch: int, from_region: str, reason: str
    ) -> RunHook | KillHook | None:
        """What must be done now. `valid_epoch`: of the lease that is valid now and not being released, or 0."""
        if self.hooks == Hooks():
            return None
        if self.running is not None:
            hook, epoch = self.running
            if hook is Hook.PROMOTE and epoch != valid_epoch and not self._killed:
                self._killed = True
                return KillHook()
            return None
        if valid_epoch:
            self._inherited_until_ns = None
            return self._promote(valid_epoch, from_region, reason)
        if not self._touched_epoch or self._is_inherited(now, heard_epoch):
            return None
        epoch, self._touched_epoch, self.promoted_epoch = self._touched_epoch, 0, 0
        return self._run(Hook.DEMOTE, epoch, from_region, reason) if self.hooks.demote else None

    def _promote(self, epoch: int, from_region: str, reason: str) -> RunHook | None:
        self._touched_epoch = epoch
        if not self.hooks.promote:
            self.promoted_epoch = epoch
            return None
        if epoch in (self._tried_epoch, self._failed_epoch):
            return None
        self._tried_epoch = epoch
        return self._run(Hook.PROMOTE, epoch, from_region, reason)

    def _run(self, hook: Hook, epoch: int, from_region: str, reason: str) -> RunHook:
        self.running = hook, epoch
        self._killed = False
        return RunHook(hook, epoch, from_region, reason)

    def _is_inherited(self, now: Now, heard_epoch: int) -> bool:
        if self._inherited_until_ns is None:
            return False
        if self._inherited_until_ns == 0:
            self._inherited_until_ns = now.mono_ns + INHERITED_NS_MAX
        if heard_epoch <= self.promoted_epoch and now.mono_ns < self._inherited_until_ns:
            return True
        self._inherited_until_ns = None
        return False

    def done(self, ended: HookDone) -> bool:
        """Take the end of the hook; False: the service is not promoted, and the epoch must be given up."""
        if self.running is None or self.running != (ended.hook, ended.epoch):
            return True
        killed, self.running = self._killed, None
        if ended.hook is Hook.DEMOTE:
            self._tried_epoch = 0  # A lease that was revived meanwhile must be promoted anew.
            return True
        if ended.succeeded:
            self.promoted_epoch = ended.epoch
            return True
        if killed or self.promoted_epoch == ended.epoch:
            return True
        self._failed_epoch = ended.epoch
        return False

    def deadline_ns(self) -> int | None:
        """When time alone will change something here."""
        return self._inherited_until_ns or None

"""What happens to an agent: what its coordinator says, what its disk and its hooks report, and time."""

from __future__ import annotations

from dataclasses import dataclass

from primacy_wire.messages import ToAgent

from primacy_agent.core.hooks import HookKind


@dataclass(frozen=True, slots=True)
class Received:
    """The coordinator said something."""

    message: ToAgent


@dataclass(frozen=True, slots=True)
class Durable:
    """A `Persist` is on disk (they become durable in order)."""

    batch: int


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A session is open."""


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The session ended. `superseded`: the coordinator knows a newer life of this agent (ALREADY_EXISTS)."""

    superseded: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReleaseNow:
    """The operator of this agent wants it to give up what it holds (`--release-on-stop`)."""

    reason: str


@dataclass(frozen=True, slots=True)
class HookDone:
    """The hook that a `RunHook` started has ended, and nothing of it runs any more."""

    kind: HookKind
    epoch: int
    exit_code: int
    """As the program chose; minus the signal's number when a signal ended it."""
    output: str = ""
    """The end of what it printed; why it could not be started when it was not."""
    length_ns: int = 0
    started: bool = True


@dataclass(frozen=True, slots=True)
class TimePassed:
    """A deadline of `next_deadline` was reached."""


AgentEvent = Received | Durable | LinkUp | LinkDown | ReleaseNow | HookDone | TimePassed

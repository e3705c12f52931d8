"""What an agent's core wants done. Effects are performed in the order given."""

from __future__ import annotations

from dataclasses import dataclass

from primacy_wire.messages import FromAgent

from primacy_agent.core.hooks import HookKind
from primacy_agent.core.memory import Memory


@dataclass(frozen=True, slots=True)
class Persist:
    """Make the memory durable; batches are numbered from 1. A `Send` behind it waits until it is."""

    batch: int
    memory: Memory


@dataclass(frozen=True, slots=True)
class Send:
    message: FromAgent


@dataclass(frozen=True, slots=True)
class AuthorityChanged:
    """`active` may answer something else now."""


@dataclass(frozen=True, slots=True)
class RowsChanged:
    """New weights arrived."""


@dataclass(frozen=True, slots=True)
class DirectoryChanged:
    """Other agents or endpoints to look at."""


@dataclass(frozen=True, slots=True)
class ReportSoon:
    """Send a report without waiting for the interval."""


@dataclass(frozen=True, slots=True)
class Superseded:
    """Never connect again; what is held is kept until it runs out."""

    reason: str


@dataclass(frozen=True, slots=True)
class RunHook:
    """Start this hook now; `HookDone` shall follow. It waits for no `Persist`: what must be durable before it, is."""

    kind: HookKind
    epoch: int
    environment: tuple[tuple[str, str], ...]
    """Variables for it beside those of the agent."""


@dataclass(frozen=True, slots=True)
class KillHook:
    """Kill the running hook with its whole process group; `HookDone` shall follow soon."""

    kind: HookKind
    epoch: int


AgentEffect = (
    Persist | Send | AuthorityChanged | RowsChanged | DirectoryChanged | ReportSoon | Superseded | RunHook | KillHook
)

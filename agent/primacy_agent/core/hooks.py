"""What a hook is: the two kinds, what an agent was told of its own, and how long they may take."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from primacy_wire.instant import SECOND_NS


class HookKind(Enum):
    """The values are the names on the wire."""

    ON_PROMOTE = "on_promote"
    """Makes the service of this region the one that acts."""
    ON_DEMOTE = "on_demote"
    """Makes it follow again, or at least stops it from acting."""


@dataclass(frozen=True, slots=True)
class HookSettings:
    """Which hooks an agent has. None of them: it is active as soon as its acceptance is durable."""

    group: str = ""
    on_promote: bool = False
    on_demote: bool = False
    promote_timeout_ns: int = 60 * SECOND_NS
    demote_timeout_ns: int = 5 * SECOND_NS

"""What the service beside an agent is told."""

from __future__ import annotations

from dataclasses import dataclass

from primacy_wire.messages import Phase


@dataclass(frozen=True, slots=True)
class ActiveView:
    """The answer to "am I active?" at one instant."""

    active: bool
    phase: Phase
    epoch: int
    """The epoch held, lapsed or not; else the newest heard of."""
    region: str
    """Whom this agent believes active, or empty."""
    active_epoch: int
    """The epoch of that belief."""
    remaining_ns: int
    deadline_mono_ns: int
    """When the lease ends on this machine's BOOTTIME clock; 0: none held."""
    frozen: bool
    reason: str

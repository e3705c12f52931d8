"""What the data planes of this region are told: one frozen value, made anew at every change.

Everything that hands weights on (xDS, HAProxy, a file, `Route`) reads the same value, so they all agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

Row: TypeAlias = tuple[tuple[str, float], ...]
"""(region, share) of every registered region, sorted by name."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Where requests from this region go, as far as the agent knows."""

    group: str
    region: str
    """This agent's own region: the client region of both rows."""
    version: int
    """The coordinator's."""
    strategy: int
    """Number of `primacy.v1.RoutingStrategy`."""
    read: Row
    """As in force here: with what the agent itself has moved away from dead regions (I6)."""
    write: Row
    """Everything to the region of the newest accepted epoch; all zero before the first one."""
    endpoints: tuple[tuple[str, str], ...]
    """(region, `host:port` or empty) of every registered region, sorted by name."""
    fallback: tuple[str, ...] = ()
    """Regions with no share of reads that may have some when the others cannot serve, the best first; none that is
    drained or that this agent sees to be dead."""
    drained: tuple[str, ...] = ()
    """Regions that are drained or being drained, sorted."""
    shunned: tuple[str, ...] = ()
    """Regions that this agent moves reads away from by itself, sorted; the policy's limit may leave them some."""
    active_region: str = ""
    active_epoch: int = 0
    panic_threshold: float = 0.5
    overprovisioning: float = 1.0

    @property
    def regions(self) -> Iterable[str]:
        """Every registered region, sorted."""
        return (name for name, _ in self.read)

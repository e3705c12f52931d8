"""One alert: what it is about, how far it has come, what explains it, and who looks after it."""

from __future__ import annotations

from dataclasses import dataclass

from primacy_coordinator.core.monitor.alerts.evaluate import AlertState, Life
from primacy_coordinator.core.monitor.alerts.finding import Finding
from primacy_coordinator.core.severity import Severity


@dataclass(frozen=True, slots=True)
class Alert:
    finding: Finding
    """As it was when it last held."""
    life: Life
    severity: Severity
    summary: str = ""
    advice: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    start_wall_ns: int = 0
    """Since when it holds; for people, as the next two."""
    fire_wall_ns: int = 0
    resolve_wall_ns: int = 0
    cause_id: str = ""
    """The alert that explains it: nobody is told of this one then."""
    firing_ns: int = 0
    """How long it has fired, and"""
    alone_ns: int = 0
    """how long with nothing that explains it."""
    announced: bool = False
    """Sinks are told of it: once they are, until it is resolved, whatever explains it later."""
    acknowledged_by: str = ""
    acknowledge_reason: str = ""

    @property
    def id(self) -> str:
        return self.finding.id

    @property
    def rule(self) -> str:
        return self.finding.rule

    @property
    def region(self) -> str:
        return self.finding.region

    @property
    def state(self) -> AlertState:
        return self.life.state

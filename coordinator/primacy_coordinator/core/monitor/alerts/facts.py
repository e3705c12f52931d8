"""What alerts are decided from: frozen copies of a group at one instant, and what the process knows of itself."""

from __future__ import annotations

from dataclasses import dataclass

from primacy_wire.instant import SECOND_NS

from primacy_coordinator.core.views import ExplanationView, GroupView, LogView

SETTLE_NS_MAX = 30 * SECOND_NS
"""After a start, how long agents that were never heard are waited for before anything is concluded from silence."""
NOTICE_NS_MAX = 600 * SECOND_NS
"""How long an agent's notice stands that nothing takes back."""


@dataclass(frozen=True, slots=True)
class Told:
    """The newest notice of one kind about one region that nothing has taken back since."""

    kind: str
    region: str
    text: str
    age_ns: int


@dataclass(frozen=True, slots=True)
class Process:
    """What the coordinator knows of itself. Empty texts: all is well."""

    uptime_ns: int
    """Since this process watches the group."""
    store_trouble: str = ""
    journal_trouble: str = ""
    metrics_trouble: str = ""
    dropped: int = 0
    """Values that were left out of late, for there are too many series."""
    sinks: tuple[tuple[str, str], ...] = ()
    """(name, why it takes nothing)."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One look. `view` and `log` are None while the group cannot be read."""

    process: Process
    view: GroupView | None = None
    log: LogView | None = None
    if_active_died: ExplanationView | None = None
    """The election then; None: none is active. It may be a few seconds old."""
    told: tuple[Told, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether silence says something: every agent was heard since the start, or had time enough."""
        if self.process.uptime_ns >= SETTLE_NS_MAX:
            return True
        view = self.view
        return view is not None and all(agent.report_age_ns >= 0 for region in view.regions for agent in region.agents)

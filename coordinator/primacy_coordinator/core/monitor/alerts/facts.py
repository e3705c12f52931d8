"""What alerts are decided from: frozen copies of a group at one instant, and what the process knows of itself."""

from __future__ import annotations

from dataclasses import dataclass

from primacy_wire.instant import SECOND_NS

from primacy_coordinator.core.views import ExplanationView, GroupView, LogView

SETTLE_NS_MAX = 30 * SECOND_NS
"""After a start, how long agents that were never heard are waited for before anything is concluded from silence."""


LONG_NS = 7 * 86_400 * SECOND_NS
"""Of what agents say once, and take back for certain."""


@dataclass(frozen=True, slots=True)
class Notable:
    """A kind of notices that agents send, which an alert is made of."""

    rule: str
    taken_back_by: str = ""
    """The kind that says that it is over. Empty: none does."""
    stands_ns: int = 3600 * SECOND_NS
    """How long it stands when nothing takes it back. It ends with that life of the agent, too: the next tells anew."""


NOTABLE = {
    # A client that left while rejecting takes nothing back. Agents tell the same rejection again after 600 s: it must
    # not seem to be over just before that.
    "dataplane-rejected": Notable("dataplane-rejected", "dataplane-accepted", 900 * SECOND_NS),
    "dataplane-inconsistent": Notable("dataplane-failing", "dataplane-consistent", LONG_NS),
    "endpoint-missing": Notable("dataplane-failing", "endpoint-found", LONG_NS),
    "weights-file-failed": Notable("dataplane-failing", "weights-file-written", LONG_NS),
    "weights-hook-failed": Notable("dataplane-failing", "weights-hook-succeeded", LONG_NS),
    # Told again after 500 s while it goes on.
    "haproxy-check-unanswered": Notable("dataplane-failing", stands_ns=600 * SECOND_NS),
}
"""By kind of the notice."""
TAKES_BACK = {notable.taken_back_by: kind for kind, notable in NOTABLE.items() if notable.taken_back_by}


@dataclass(frozen=True, slots=True)
class Told:
    """The newest notice of one kind by one life of an agent that nothing has taken back since."""

    kind: str
    region: str
    incarnation: str
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
    dropped_by: str = ""
    """Whose they were: regions or agents, with one of the series."""
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

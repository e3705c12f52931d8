"""A watcher over a group on a table: the real facts, rules and steps, and a sink that remembers what it is told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from primacy_coordinator.core.group import Group
from primacy_coordinator.core.monitor.alerts import builtin, sending
from primacy_coordinator.core.monitor.alerts.alert import Alert
from primacy_coordinator.core.monitor.alerts.book import Book, Moment, Transition, step
from primacy_coordinator.core.monitor.alerts.conditions import Conditions, Measured
from primacy_coordinator.core.monitor.alerts.evaluate import AlertState
from primacy_coordinator.core.monitor.alerts.facts import Facts, Process
from primacy_coordinator.core.monitor.alerts.figures import Figures, NoFigures
from primacy_coordinator.core.monitor.alerts.finding import together
from primacy_coordinator.core.monitor.alerts.rules import rules_of
from primacy_wire.instant import SECOND_NS, Now


def facts_of(group: Group, now: Now, process: Process) -> Facts:
    view = group.view(now)
    active = view.lease.active_region
    return Facts(process, view, group.log_view(now), group.explain(now, active) if active else None)


@dataclass
class Watcher:
    """Looks once a second."""

    figures: Figures = field(default_factory=NoFigures)
    uptime_ns: int = 60 * SECOND_NS
    book: Book = field(default_factory=Book)
    transitions: list[Transition] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    """What a webhook would have been sent: `firing region-down/eu`."""
    told: dict[str, sending.Word] = field(default_factory=dict)
    conditions: Conditions = field(default_factory=Conditions)
    elapsed_ns: int = SECOND_NS

    def look(self, group: Group | None, now: Now, **process: object) -> Book:
        """One look at the group; None: it cannot be read."""
        self.uptime_ns += self.elapsed_ns
        known = Process(self.uptime_ns, **process)  # type: ignore[arg-type]
        facts = Facts(known) if group is None else facts_of(group, now, known)
        view = facts.view
        rules = rules_of(view.policy.alert_rules, view.policy.slos) if view is not None else rules_of((), ())
        looked = builtin.look(facts)
        if view is not None:
            names = tuple(region.record.name for region in view.regions)
            given = Measured(names, view.policy.slos, self.uptime_ns)
            looked = together(looked, self.conditions.look(rules, self.figures, given, now.mono_ns))
        self.book, changed = step(
            self.book, rules, looked, Moment(self.elapsed_ns, now.wall_ns, "default", self.owed())
        )
        self.transitions += changed
        self.send(self.book.alerts)
        return self.book

    def owed(self) -> frozenset[str]:
        return frozenset(alert_id for alert_id, word in self.told.items() if not word.resolved)

    def send(self, alerts: Iterable[Alert]) -> None:
        for alert in sending.news(alerts, self.told):
            self.messages.append(f"{alert.state.name.lower()} {alert.id}")
            self.told[alert.id] = sending.word_of(alert)
        self.told = sending.still_known(self.book.alerts, self.told)

    def firing(self) -> list[str]:
        return [alert.id for alert in self.book.alerts if alert.state is AlertState.FIRING]

    def alert(self, alert_id: str) -> Alert:
        found = self.book.find(alert_id)
        assert found is not None, [one.id for one in self.book.alerts]
        return found

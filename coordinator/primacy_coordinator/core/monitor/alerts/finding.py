"""What an alert is about, as one look at the group found it."""

from __future__ import annotations

from dataclasses import dataclass

from primacy_coordinator.core.severity import Severity

PROCESS_RULES = frozenset({"store-trouble", "journal-trouble", "metrics-trouble", "sink-failing", "cardinality-capped"})
"""What is known though the group cannot be read."""
ANY = "*"
"""In `Looked.unknown`: of every region."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition that holds now."""

    rule: str
    region: str = ""
    subject: str = ""
    """What of several things of one region, or of the group, it is about: an objective, an override, a sink."""
    summary: str = ""
    """One sentence with its figures."""
    value: float | None = None
    threshold: float | None = None
    series: str = ""
    severity: Severity | None = None
    """When it differs from the rule's."""
    evidence: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The same in all lives of the alert: `region-down/eu-west`, `budget-burning:checkout/eu-west`."""
        return alert_id(self.rule, self.region, self.subject)


def alert_id(rule: str, region: str = "", subject: str = "") -> str:
    return rule + (f":{subject}" if subject else "") + (f"/{region}" if region else "")


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look found: conditions that hold, and those of which nothing can be said. All others do not hold."""

    held: tuple[Finding, ...] = ()
    unknown: frozenset[tuple[str, str]] = frozenset()
    """(rule, `rule:subject` or `ANY`, region or `ANY`)."""
    broken: tuple[tuple[str, str], ...] = ()
    """(rule of the policy, why it cannot be evaluated), sorted."""
    blind: bool = False
    """Nothing is known but of the process itself (`PROCESS_RULES`): time in which nobody could look is no time."""

    def is_blind(self, rule: str) -> bool:
        return self.blind and rule not in PROCESS_RULES

    def is_unknown(self, rule: str, region: str, subject: str = "") -> bool:
        if self.is_blind(rule):
            return True
        rules = (rule, f"{rule}:{subject}")
        return bool(self.unknown) and any((one, where) in self.unknown for one in rules for where in (region, ANY))


def together(*looks: Looked) -> Looked:
    """Several looks as one."""
    return Looked(
        tuple(finding for look in looks for finding in look.held),
        frozenset().union(*(look.unknown for look in looks)),
        tuple(sorted(pair for look in looks for pair in look.broken)),
        any(look.blind for look in looks),
    )

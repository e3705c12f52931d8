"""The alerts that every group has without asking. A rule of the policy with the same name changes them, or one off.

Each says when it fires (`findings` decides), how much it matters, for how long it must have held, and what to do at
three in the morning. docs/alerts.md has the same table; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass

from primacy_wire.instant import SECOND_NS

from primacy_coordinator.core.severity import Severity

MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS


@dataclass(frozen=True, slots=True)
class BuiltIn:
    name: str
    severity: Severity
    for_ns: int
    """The condition must have held for so long. Conditions that wait by themselves have 0."""
    meaning: str
    advice: str
    """`{region}` is filled in."""


_CRITICAL, _WARNING = Severity.CRITICAL, Severity.WARNING

BUILT_IN = (
    BuiltIn(
        "coordinator-alone",
        _CRITICAL,
        15 * SECOND_NS,
        "The coordinator hears no agent at all: its own link is cut, or everything is down.",
        "Look from the coordinator's host: can it reach any region? Agents go on with what they know; the active lease "
        "runs out meanwhile.",
    ),
    BuiltIn(
        "store-trouble",
        _CRITICAL,
        10 * SECOND_NS,
        "The coordinator's store refuses writes: no move of the lease can begin.",
        "Make room on the disk, or mend it. Renewals go on meanwhile.",
    ),
    BuiltIn(
        "store-doubt",
        _CRITICAL,
        0,
        "The coordinator's store is an older copy or a stranger's: nothing is decided.",
        "`primacy recover` says who is missing and how long it still takes. Confirm only when the old coordinator is "
        "gone for good.",
    ),
    BuiltIn(
        "awaiting-approval",
        _CRITICAL,
        0,
        "A failover may lose more than `maxLoss` and waits for a person.",
        "`primacy history ID` says what may be lost. Then `primacy failover --approve ID`, or "
        "`primacy failover --cancel ID` to wait for the old region.",
    ),
    BuiltIn(
        "no-active-region",
        _CRITICAL,
        30 * SECOND_NS,
        "No region holds the lease: nobody may write.",
        "`primacy explain` says which rule refuses each region. Lift what you can, or move it yourself: "
        "`primacy failover --forced --to REGION`.",
    ),
    BuiltIn(
        "region-down",
        _CRITICAL,
        0,
        "A region is down by the word of its own agents, or of its peers.",
        "`primacy regions show {region}` has the evidence. If it was active, the lease moves by itself: "
        "`primacy history` says how far that is.",
    ),
    BuiltIn(
        "panic",
        _CRITICAL,
        10 * SECOND_NS,
        "So few regions look healthy that reads ignore health.",
        "Bring regions back rather than draining more: `primacy status` says what is wrong with each.",
    ),
    BuiltIn(
        "silent-stall",
        _CRITICAL,
        5 * SECOND_NS,
        "The active region has stopped writing to the log, without being down.",
        "`primacy replication` shows since when. Look at the agent's disk and log in the active region; if it stays "
        "stuck, `primacy failover`.",
    ),
    BuiltIn(
        "budget-burning-fast",
        _CRITICAL,
        0,
        "An error budget of 30 days would be gone within about two days (14.4 times the pace, over 1 h and 5 min).",
        "`primacy perf` shows which region does badly. Drain it if others have room: `primacy drain REGION`.",
    ),
    BuiltIn(
        "budget-burning",
        _CRITICAL,
        0,
        "An error budget of 30 days would be gone within five days (6 times the pace, over 6 h and 30 min).",
        "`primacy perf` shows which region does badly. Drain it if others have room: `primacy drain REGION`.",
    ),
    BuiltIn(
        "budget-burning-slowly",
        _WARNING,
        0,
        "An error budget is used up faster than it is earned (over 3 days and 6 h).",
        "No hurry: find out what fails with `primacy perf --window 3d`.",
    ),
    BuiltIn(
        "no-standby",
        _WARNING,
        60 * SECOND_NS,
        "If the active region died now, nobody could take over.",
        "`primacy readiness` says what is in each region's way.",
    ),
    BuiltIn(
        "would-not-survive",
        _WARNING,
        60 * SECOND_NS,
        "The group could not carry its load without this region, or a failover would wait for a person.",
        "`primacy readiness` shows the price. Add capacity elsewhere, or let the others catch up.",
    ),
    BuiltIn(
        "content-at-risk",
        _WARNING,
        5 * MINUTE_NS,
        "Current versions are in fewer than two regions.",
        "`primacy replication` shows which, and what they wait for.",
    ),
    BuiltIn(
        "lag",
        _WARNING,
        30 * SECOND_NS,
        "A region is farther behind than `maxLag`: it cannot be elected.",
        "`primacy replication` shows whether it catches up. If not, look at its link and its agent's log.",
    ),
    BuiltIn(
        "link-lost",
        _WARNING,
        10 * SECOND_NS,
        "Its peers reach a region that the coordinator does not hear.",
        "Look at the way between the coordinator and that region: firewall, DNS, certificates. The region itself is "
        "well.",
    ),
    BuiltIn(
        "self-doubt",
        _WARNING,
        5 * SECOND_NS,
        "The coordinator lost most agents at once and suspects itself; verdicts and elections wait.",
        "It ends by itself, within `doubtMax`. If it comes again, look at the coordinator's host and link.",
    ),
    BuiltIn(
        "flapping",
        _WARNING,
        0,
        "A region fell so often of late that it is the last to be elected.",
        "`primacy events --region {region}` shows why it falls. Cordon it until you know: `primacy cordon {region}`.",
    ),
    BuiltIn(
        "drain-stuck",
        _WARNING,
        5 * MINUTE_NS,
        "A drain does not come to its end.",
        "`primacy overrides` says what it waits for: the lease, or requests that still run.",
    ),
    BuiltIn(
        "override-expiring",
        _WARNING,
        0,
        "What an operator set against the policy ends soon.",
        "Set it again if it is still needed; else let it end.",
    ),
    BuiltIn(
        "conflict-waiting",
        _WARNING,
        0,
        "Two writes of one key wait for somebody to decide.",
        "`primacy conflict list`, then `primacy conflict resolve ID`. Nothing is lost meanwhile.",
    ),
    BuiltIn(
        "parked-entry",
        _WARNING,
        0,
        "A region could not apply an entry and put it aside; a planned move to it is barred.",
        "`primacy replication` says why. Mend that, then `primacy retry {region} --all`.",
    ),
    BuiltIn(
        "dataplane-rejected",
        _WARNING,
        0,
        "A proxy refuses what an agent sends it, and keeps its last configuration.",
        "`primacy dataplane status` at that agent shows the refusal.",
    ),
    BuiltIn(
        "dataplane-failing",
        _WARNING,
        0,
        "An agent cannot hand its weights on: a file, a program, HAProxy or an endpoint fails.",
        "`primacy events --region {region}` has the agent's words. Traffic there goes on by the last weights.",
    ),
    BuiltIn(
        "agents-shifting",
        _WARNING,
        30 * SECOND_NS,
        "Agents move reads away from a region that they cannot reach, though the coordinator counts on it.",
        "`primacy status` shows who reaches whom; look at the way between the two.",
    ),
    BuiltIn(
        "metrics-absent",
        _WARNING,
        MINUTE_NS,
        "A region that was measured is not measured any more.",
        "Look at the agent's probes there: `primacy doctor`.",
    ),
    BuiltIn(
        "cardinality-capped",
        _WARNING,
        0,
        "Agents send more series than are kept; those beyond are left out.",
        "`primacy metrics` shows what is kept. Let the agent measure fewer labels.",
    ),
    BuiltIn(
        "journal-trouble",
        _WARNING,
        30 * SECOND_NS,
        "The journal cannot be written: history is being lost, nothing else.",
        "Make room on the coordinator's disk, or mend it.",
    ),
    BuiltIn(
        "metrics-trouble",
        _WARNING,
        30 * SECOND_NS,
        "Measurements and the states of alerts cannot be written: a restart would forget them.",
        "Make room on the coordinator's disk, or mend it.",
    ),
    BuiltIn(
        "sink-failing",
        _WARNING,
        MINUTE_NS,
        "Alerts cannot be handed to one of their sinks.",
        "`primacy alerts` shows why. They are sent when it takes them again.",
    ),
    BuiltIn(
        "rule-broken",
        _WARNING,
        MINUTE_NS,
        "A rule of the policy cannot be evaluated.",
        "`primacy alerts` shows why; mend it in the policy.",
    ),
)
"""A cause stands before what it explains (`grouping`)."""

BY_NAME = {rule.name: rule for rule in BUILT_IN}
RANK = {rule.name: rank for rank, rule in enumerate(BUILT_IN)}


@dataclass(frozen=True, slots=True)
class Burn:
    """A pace at which an error budget must not burn, over both windows (Site Reliability Workbook, chapter 5)."""

    rule: str
    factor: float
    long_ns: int
    short_ns: int


BURNS = (
    Burn("budget-burning-fast", 14.4, HOUR_NS, 5 * MINUTE_NS),
    Burn("budget-burning", 6.0, 6 * HOUR_NS, 30 * MINUTE_NS),
    Burn("budget-burning-slowly", 1.0, 72 * HOUR_NS, 6 * HOUR_NS),
)

"""Which region should hold the lease: one ranking, the same for elections, dry runs and explanations (I9).

Every candidate either gets a rank or the one rule that refused it. Rules are hard or soft. While a region serves both
refuse; when none does, candidates that only soft rules refuse compete, the least penalty first, for no rule of comfort
may keep a group without an active region (I8).

What a rank says of data: nothing yet. Among regions that are alike to the strategy, priority and then name decide.
"""

from __future__ import annotations

from dataclasses import dataclass

from primacy_wire.messages import Load

from primacy_coordinator.core.model import CandidateResult, ElectionStrategy, RegionStatus

HARD = ("DOWN", "UNKNOWN", "JOINING")
"""Rules that always refuse, in the order in which they are looked at."""
SOFT_PENALTIES = {"SUSPECT": 4, "DEGRADED": 2, "RECOVERING": 1}
"""Rules that refuse only while a region serves, and how far back they put a candidate when none does."""
NOT_CANDIDATE = frozenset({"ACTIVE", "NOT_ASKED_FOR"})
"""Why a region was not looked at at all: it holds the lease, or an operator named another one."""
RULES = frozenset({*HARD, *SOFT_PENALTIES, "NO_TARGET", "LIVE_SESSIONS"})
"""Every rule that a command may name in `overrideRules`; some cannot be passed all the same."""
RTT_UNKNOWN_NS = 1_000_000_000
"""What an unmeasured round trip counts as: a region that nobody has measured is not the nearest."""


@dataclass(frozen=True, slots=True)
class CandidateInput:
    """One region as the election sees it."""

    region: str
    status: RegionStatus
    status_reason: str
    heard: bool
    """An offer can reach it: one of its agents has a live session and a fresh report."""
    is_active: bool
    priority: int
    capacity: float
    """Requests per second; 0: not known."""
    load: Load
    availability: float
    """Decayed share of time that it served; -1: not known."""
    rtts: tuple[tuple[str, int], ...]
    """(client region, ns)."""
    unanswered: int
    """Offers that it let run out since it last accepted one."""


@dataclass(frozen=True, slots=True)
class ElectionInput:
    """Everything that an election is decided from."""

    strategy: ElectionStrategy
    serving: bool
    """A region serves: soft rules refuse too."""
    candidates: tuple[CandidateInput, ...]
    client_traffic: tuple[tuple[str, float], ...]
    """(client region, share of the traffic); empty: all alike."""
    target: str = ""
    """Asked for by an operator: nobody else is looked at."""
    exclude: tuple[str, ...] = ()
    override_rules: tuple[str, ...] = ()
    forced: bool = False
    """The operator knows better: soft rules refuse nobody."""


@dataclass(frozen=True, slots=True)
class Ranking:
    winner: str
    """Empty: nobody can be elected."""
    candidates: tuple[CandidateResult, ...]
    """By rank; then those refused, by name."""
    explanation: str


@dataclass(frozen=True, slots=True)
class _Verdict:
    rule: str = ""
    detail: str = ""
    soft: bool = False


def rank(given: ElectionInput) -> Ranking:
    """Total and stable: the order in which candidates are given does not matter."""
    ranked: list[tuple[tuple[float | int | str, ...], CandidateInput, _Verdict]] = []
    refused: list[CandidateResult] = []
    soft_refuse = given.serving and not given.forced
    for candidate in sorted(given.candidates, key=lambda c: c.region):
        verdict = _verdict(given, candidate)
        if verdict.rule and (not verdict.soft or soft_refuse):
            refused.append(
                CandidateResult(
                    candidate.region, 0, verdict.rule, verdict.detail, verdict.soft, _scores(given, candidate)
                )
            )
        else:
            penalty = SOFT_PENALTIES.get(verdict.rule, 0)
            ranked.append(((penalty, candidate.unanswered, *_order(given, candidate)), candidate, verdict))
    ranked.sort(key=lambda entry: entry[0])
    results = tuple(
        CandidateResult(candidate.region, place, verdict.rule, verdict.detail, verdict.soft, _scores(given, candidate))
        for place, (_, candidate, verdict) in enumerate(ranked, start=1)
    )
    winner = results[0].region if results else ""
    return Ranking(winner, (*results, *refused), _explain(given, results, refused))


def _verdict(given: ElectionInput, candidate: CandidateInput) -> _Verdict:
    """The one rule that speaks against a candidate, hard ones first."""
    if candidate.region in given.exclude:
        return _Verdict("ACTIVE", "the lease is to move away from it")
    name = candidate.status.name
    if name in HARD and name not in given.override_rules:
        return _Verdict(name, candidate.status_reason)
    if not candidate.heard:
        # Nothing passes this one: an offer that cannot arrive elects nobody.
        return _Verdict("UNKNOWN", "no agent of it can be heard, so it could not take the lease")
    if given.target and candidate.region != given.target:
        return _Verdict("NOT_ASKED_FOR", f"{given.target} was asked for")
    if name in SOFT_PENALTIES and name not in given.override_rules:
        return _Verdict(name, candidate.status_reason, soft=True)
    return _Verdict()


def _order(given: ElectionInput, candidate: CandidateInput) -> tuple[float | int | str, ...]:
    """Lower is better."""
    tail = (-candidate.priority, candidate.region)
    match given.strategy:
        case ElectionStrategy.PRIORITY:
            return tail
        case ElectionStrategy.LATENCY:
            return (mean_rtt_ns(given, candidate), *tail)
        case ElectionStrategy.HEALTH:
            return (-_availability(candidate), _error_rate(candidate), *tail)
        case ElectionStrategy.CAPACITY:
            return (-headroom(candidate), *tail)


def _scores(given: ElectionInput, candidate: CandidateInput) -> tuple[tuple[str, float], ...]:
    """What was compared, in that order."""
    own: tuple[tuple[str, float], ...]
    match given.strategy:
        case ElectionStrategy.PRIORITY:
            own = ()
        case ElectionStrategy.LATENCY:
            own = (("mean_rtt_ms", round(mean_rtt_ns(given, candidate) / 1e6, 3)),)
        case ElectionStrategy.HEALTH:
            own = (
                ("availability", round(_availability(candidate), 4)),
                ("error_rate", round(_error_rate(candidate), 4)),
            )
        case ElectionStrategy.CAPACITY:
            own = (("headroom", round(headroom(candidate), 1)),)
    penalty = SOFT_PENALTIES.get(candidate.status.name, 0)
    return (
        ("penalty", float(penalty)),
        ("unanswered", float(candidate.unanswered)),
        *own,
        ("priority", float(candidate.priority)),
    )


def mean_rtt_ns(given: ElectionInput, candidate: CandidateInput) -> float:
    """Mean round trip from the client regions, weighted by their share of the traffic."""
    measured = dict(candidate.rtts)
    shares = dict(given.client_traffic) or {c.region: 1.0 for c in given.candidates}
    total = sum(shares.values())
    if total <= 0:
        return 0.0
    return (
        sum(
            share * (0 if client == candidate.region else measured.get(client, RTT_UNKNOWN_NS))
            for client, share in sorted(shares.items())
        )
        / total
    )


def headroom(candidate: CandidateInput) -> float:
    """Requests per second that it could take on top; 0 when its capacity is not known."""
    return candidate.capacity * max(0.0, 1.0 - max(0.0, candidate.load.utilisation))


def _availability(candidate: CandidateInput) -> float:
    # Rounded, so that a hair's breadth of history does not overrule an operator's priority.
    return round(max(0.0, candidate.availability), 2)


def _error_rate(candidate: CandidateInput) -> float:
    return round(max(0.0, candidate.load.error_rate), 2)


def _explain(given: ElectionInput, results: tuple[CandidateResult, ...], refused: list[CandidateResult]) -> str:
    by = given.strategy.name.lower()
    parts: list[str] = []
    if not results:
        parts.append("no region can be elected")
    else:
        best = results[0]
        parts.append(f"{best.region} is best by {by}" if len(results) > 1 else f"{best.region} is the only candidate")
        if best.rule:
            parts.append(f"it is {best.rule}, but no region without a fault can take over")
        if len(results) > 1:
            parts.append(
                "then "
                + ", ".join(result.region + (f" ({result.rule})" if result.rule else "") for result in results[1:])
            )
    parts += [
        f"{result.region} is refused by {result.rule}" + (f": {result.detail}" if result.detail else "")
        for result in refused
        if result.rule not in NOT_CANDIDATE
    ]
    return "; ".join(parts)

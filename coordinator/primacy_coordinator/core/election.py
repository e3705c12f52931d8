"""Which region should hold the lease: one ranking, the same for elections, dry runs and explanations (I9).

Every candidate either gets a rank or the one rule that refused it. Rules are hard or soft. While a region serves both
refuse; when none does, candidates that only soft rules refuse compete, the least penalty first, for no rule of comfort
may keep a group without an active region (I8).

Every candidate has a price: what moving the lease to it may lose, how much longer clients wait, what it cannot carry.
Among regions that are alike to the strategy, lag, then priority, then name decide.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from primacy_wire.messages import Lag, Load

from primacy_coordinator.core import pricing
from primacy_coordinator.core.model import CandidateResult, ElectionStrategy, Limits, Price, RegionStatus

PENALTIES = {
    "DOWN": 16384,
    "UNKNOWN": 8192,
    "JOINING": 4096,
    "CORDONED": 2048,
    "DRAINED": 1024,
    "MODEL_MISSING": 512,
    "LAG": 256,
    "PARKED": 128,
    "SUSPECT": 64,
    "HOLD_DOWN": 32,
    "DAMPED": 16,
    "CAPACITY": 8,
    "DEGRADED": 4,
    "RECOVERING": 2,
    "COOL_DOWN": 1,
}
"""How far back a rule puts a candidate that competes all the same; each weighs more than all below it together. Passing
a rule lets a candidate in, no more."""
HARD = frozenset({"DOWN", "UNKNOWN", "JOINING", "CORDONED", "DRAINED", "MODEL_MISSING", "LAG"})
"""Rules that always refuse, unless an operator passes them by name."""
SOFT = frozenset(PENALTIES) - HARD
"""Rules that refuse only while a region serves."""
NOT_CANDIDATE = frozenset({"ACTIVE", "NOT_ASKED_FOR"})
"""Why a region was not looked at at all: it holds the lease, or an operator named another one."""
RULES = frozenset({*HARD, *SOFT, "MIN_UNDRAINED", "NO_TARGET", "LIVE_SESSIONS"})
"""Every rule that a command may name in `overrideRules`; some cannot be passed all the same."""
RTT_UNKNOWN_NS = 1_000_000_000
"""What an unmeasured round trip counts as: a region that nobody has measured is not the nearest."""
UNKNOWN_FIGURE = -1.0
"""A figure that nobody measured; it comes after every one that was."""
HIGHER_IS_BETTER = frozenset({"availability", "headroom", "priority"})


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
    lag: Lag = Lag()
    """All that it has not applied: what a move to it may lose."""
    deficit: Lag = Lag()
    """What of that another region has: what speaks against electing it."""
    against: tuple[tuple[str, str], ...] = ()
    """(rule, detail) of what operators and the past say against it: CORDONED, DRAINED, HOLD_DOWN, DAMPED, COOL_DOWN."""


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
    active_region: str = ""
    """Of the newest accepted epoch: what a move is priced against."""
    active_rate: float = -1.0
    """Requests per second that it served when it last said so: what another must carry. Negative: not known."""
    max_lag: Limits = Limits()
    forced: bool = False
    """The operator knows better: soft rules refuse nobody. Hard ones still do, unless passed by name, and nothing
    passes a candidate that cannot be heard."""


@dataclass(frozen=True, slots=True)
class Ranking:
    winner: str
    """Empty: nobody can be elected."""
    candidates: tuple[CandidateResult, ...]
    """By rank; then those refused, by name."""
    explanation: str


Scores = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class _Verdict:
    rule: str = ""
    detail: str = ""
    soft: bool = False
    passed: bool = False
    """An operator passed the rule by name."""
    penalty: int = 0
    """Of every rule that speaks against the candidate and does not refuse it."""

    def refuses(self, soft_refuse: bool) -> bool:
        return bool(self.rule) and not self.passed and (not self.soft or soft_refuse)


def rank(given: ElectionInput) -> Ranking:
    """Total and stable: the order in which candidates are given does not matter."""
    ranked: list[CandidateResult] = []
    refused: list[CandidateResult] = []
    soft_refuse = given.serving and not given.forced
    active = next((c for c in given.candidates if c.region == given.active_region), None)
    judged = []
    for candidate in sorted(given.candidates, key=lambda c: c.region):
        cost = price(given, active, candidate)
        judged.append((candidate, cost, _verdict(given, candidate, cost)))
    lag_known = all(c.lag.age_ns >= 0 for c, _, verdict in judged if not verdict.refuses(soft_refuse))
    for candidate, cost, verdict in judged:
        scores = _scores(given, candidate, verdict, lag_known)
        result = CandidateResult(candidate.region, 0, verdict.rule, verdict.detail, verdict.soft, scores, cost)
        (refused if verdict.refuses(soft_refuse) else ranked).append(result)
    ranked.sort(key=lambda result: (_order(result.scores), result.region))
    results = tuple(replace(result, rank=place) for place, result in enumerate(ranked, start=1))
    return Ranking(results[0].region if results else "", (*results, *refused), _explain(given, results, refused))


def _verdict(given: ElectionInput, candidate: CandidateInput, cost: Price | None) -> _Verdict:
    """The one rule that speaks against a candidate: the heaviest that nobody passed, hard ones first."""
    if candidate.region in given.exclude:
        return _Verdict("ACTIVE", "the lease is to move away from it")
    against = sorted(_against(given, candidate, cost), key=lambda rule: -PENALTIES[rule[0]])
    for name, detail in against:
        if name in HARD and name not in given.override_rules:
            return _Verdict(name, detail)
    if not candidate.heard:
        # Nothing passes this one: an offer that cannot arrive elects nobody.
        return _Verdict("UNKNOWN", "no agent of it can be heard, so it could not take the lease")
    if given.target and candidate.region != given.target:
        return _Verdict("NOT_ASKED_FOR", f"{given.target} was asked for")
    penalty = sum(PENALTIES[name] for name, _ in against)
    for passed in (False, True):
        for name, detail in against:
            if (name in given.override_rules) is passed:
                return _Verdict(name, detail, name in SOFT, passed, penalty)
    return _Verdict()


def _against(given: ElectionInput, candidate: CandidateInput, cost: Price | None) -> list[tuple[str, str]]:
    """Every rule that speaks against a candidate."""
    found = list(candidate.against)
    if candidate.status.name in PENALTIES:
        found.append((candidate.status.name, candidate.status_reason))
    behind = pricing.exceeded(candidate.deficit, given.max_lag)
    if behind:
        found.append(("LAG", f"its data is behind by {behind}"))
    if cost is not None and cost.capacity_short > 0:
        found.append(("CAPACITY", f"it is short of {cost.capacity_short:g} requests per second"))
    return found


def price(given: ElectionInput, active: CandidateInput | None, candidate: CandidateInput) -> Price | None:
    """What moving the lease from the active region to `candidate` costs; None where it is, or when nobody had it."""
    if active is None or active.region == candidate.region:
        return None
    lag = candidate.lag
    return Price(
        lag.age_ns,
        lag.entries,
        lag.bytes,
        pricing.added_latency_ns(
            dict(active.rtts) | {active.region: 0},
            dict(candidate.rtts) | {candidate.region: 0},
            dict(given.client_traffic) or {c.region: 1.0 for c in given.candidates},
        ),
        pricing.capacity_short(given.active_rate, candidate.load.request_rate, candidate.capacity),
    )


def better(one: CandidateResult, other: CandidateResult) -> bool:
    """Whether the strategy puts `one` strictly before `other`, what is only in a candidate's way left aside."""
    passing = ("penalty", "unanswered", "lag_s")
    mine = tuple(score for score in one.scores if score[0] not in passing)
    theirs = tuple(score for score in other.scores if score[0] not in passing)
    return _order(mine) < _order(theirs)


def _order(scores: Scores) -> tuple[float, ...]:
    """Lower is better. A ranking compares exactly the figures that it shows."""
    return tuple(-value if name in HIGHER_IS_BETTER else value for name, value in scores)


def _scores(given: ElectionInput, candidate: CandidateInput, verdict: _Verdict, lag_known: bool) -> Scores:
    """What is compared, in that order; coarse, so that noise does not overrule an operator's priority."""
    own: Scores
    match given.strategy:
        case ElectionStrategy.PRIORITY:
            own = ()
        case ElectionStrategy.LATENCY:
            own = (("mean_rtt_ms", round(mean_rtt_ns(given, candidate) / 1e6, 3)),)
        case ElectionStrategy.HEALTH:
            own = (
                ("availability", round(candidate.availability, 2) if candidate.availability >= 0 else UNKNOWN_FIGURE),
                ("error_rate", round(max(0.0, candidate.load.error_rate), 2)),
            )
        case ElectionStrategy.CAPACITY:
            own = (("headroom", round(headroom(candidate), 1)),)
    # Compared only where everybody who can be elected measures it.
    lag = (("lag_s", round(candidate.lag.age_ns / 1e9, 1)),) if lag_known and candidate.lag.age_ns >= 0 else ()
    return (
        ("penalty", float(verdict.penalty)),
        ("unanswered", float(candidate.unanswered)),
        *own,
        *lag,
        ("priority", float(candidate.priority)),
    )


def mean_rtt_ns(given: ElectionInput, candidate: CandidateInput) -> float:
    """Mean round trip from the client regions, weighted by their share of the traffic."""
    measured = dict(candidate.rtts)
    shares = dict(given.client_traffic) or {c.region: 1.0 for c in given.candidates}
    largest = max(shares.values(), default=0.0)
    if largest <= 0:
        return 0.0
    # Relative to the largest: shares near the largest float must not add up to infinity.
    relative = {client: share / largest for client, share in sorted(shares.items())}
    return sum(
        share * (0 if client == candidate.region else measured.get(client, RTT_UNKNOWN_NS))
        for client, share in relative.items()
    ) / sum(relative.values())


def headroom(candidate: CandidateInput) -> float:
    """Requests per second that it could take on top; negative when its capacity is not known.

    A region that does not measure its utilisation counts by its request rate, or as idle.
    """
    capacity, load = candidate.capacity, candidate.load
    if capacity <= 0:
        return UNKNOWN_FIGURE
    if load.utilisation < 0:
        return max(0.0, capacity - max(0.0, load.request_rate))
    return capacity * max(0.0, 1.0 - load.utilisation)


def _explain(given: ElectionInput, results: tuple[CandidateResult, ...], refused: list[CandidateResult]) -> str:
    """Why this one, and why not each other one."""
    parts: list[str] = []
    if not results:
        parts.append("no region can be elected")
    else:
        best = results[0]
        by = given.strategy.name.lower()
        parts.append(f"{best.region} is best by {by}" if len(results) > 1 else f"{best.region} is the only candidate")
        if best.rule in given.override_rules:
            parts.append(f"it is {best.rule}, and the operator passed that rule")
        elif best.rule and given.target:
            parts.append(f"it is {best.rule}, and it was asked for")
        elif best.rule:
            parts.append(f"it is {best.rule}, but no region without a fault can take over")
        parts += [f"{other.region} comes after it: {_why_after(other, best)}" for other in results[1:]]
    parts += [
        f"{result.region} is refused by {result.rule}" + (f": {result.detail}" if result.detail else "")
        for result in refused
        if result.rule not in NOT_CANDIDATE
    ]
    return "; ".join(parts)


def _why_after(other: CandidateResult, best: CandidateResult) -> str:
    """The first figure in which two candidates differ."""
    for (name, worse), (_, better) in zip(other.scores, best.scores, strict=True):
        if worse == better:
            continue
        if name == "penalty":
            return f"it is {other.rule}" + (f", which weighs more than {best.rule}" if best.rule else "")
        if name == "unanswered":
            return f"it let {worse:g} offers pass, against {better:g}"
        shown = "not measured" if worse == UNKNOWN_FIGURE and name in HIGHER_IS_BETTER else f"{worse:g}"
        return f"{name.replace('_', ' ')} {shown} against {better:g}"
    return "they are alike, and the name decides"

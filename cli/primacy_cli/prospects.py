"""Could the group do without each of its regions? A function of what the coordinator answered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from primacy.v1 import override_pb2
from primacy.v1.election_pb2 import Candidate, Price
from primacy.v1.election_service_pb2 import ExplainElectionResponse
from primacy.v1.policy_pb2 import APPROVAL_ACTION_MOVE, Limits
from primacy.v1.status_service_pb2 import GetStatusResponse

from primacy_cli.words import length


class Outcome(StrEnum):
    """What would happen if a region died now."""

    STAYS = "stays"
    """The active region is another one, and stays it."""
    MOVES = "moves"
    """Another region takes over by itself."""
    BY_HAND = "by hand"
    """Another region could take over, but somebody has to say so."""
    NOBODY = "nobody"
    """No region could take over."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """One region's loss."""

    region: str
    active: bool
    outcome: Outcome
    target: str
    """Who is active then. Empty: nobody."""
    price: Price | None
    """Of the move; None when nothing moves, or nothing is known."""
    behind: tuple[str, ...]
    """Who else could take over, the best first."""
    obstacles: tuple[str, ...]
    """What speaks against a failover as a whole: a pause, a price, a doubt."""
    refused: tuple[Candidate, ...]
    """Other regions with a rule against them."""

    @property
    def ready(self) -> bool:
        return self.outcome is not Outcome.NOBODY


def prospect(status: GetStatusResponse, region: str, then: ExplainElectionResponse) -> Prospect:
    """`then`: the election if the active region died; where none is active, if `region` did."""
    active = status.active_region
    others = [each for each in then.candidates if each.region not in (region, active)]
    able = [each for each in others if each.eligible]
    refused = tuple(each for each in others if each.rule)
    if active and active != region:
        return Prospect(region, False, Outcome.STAYS, active, None, _names(able), (), refused)
    blocked = _blocked(status)
    if blocked or not able:
        return Prospect(region, bool(active), Outcome.NOBODY, "", None, (), blocked, refused)
    best = able[0]
    price = best.price if best.HasField("price") else None
    by_hand = _by_hand(status, price)
    outcome = Outcome.BY_HAND if by_hand else Outcome.MOVES
    return Prospect(
        region, bool(active), outcome, best.region, price, _names(able[1:]), (*by_hand, *_delays(status)), refused
    )


def _names(candidates: Iterable[Candidate]) -> tuple[str, ...]:
    return tuple(each.region for each in candidates)


def _blocked(status: GetStatusResponse) -> tuple[str, ...]:
    """What nobody but `primacy recover` passes."""
    return (f"the coordinator doubts its store: {status.doubt.reason}",) if status.HasField("doubt") else ()


def _by_hand(status: GetStatusResponse, price: Price | None) -> tuple[str, ...]:
    found = [
        f"paused for {length(each.remaining)}: {each.reason}"
        for each in status.overrides
        if each.kind == override_pb2.OVERRIDE_KIND_PAUSE
    ]
    waits = status.policy.approval_action != APPROVAL_ACTION_MOVE
    if price is not None and waits and is_dear(price.at_risk, status.policy.max_loss):
        found.append("it may lose more than maxLoss: it waits for an approval")
    return tuple(found)


def _delays(status: GetStatusResponse) -> tuple[str, ...]:
    found = []
    if status.lease.restart_wait.ToNanoseconds() > 0:
        found.append(f"not before {length(status.lease.restart_wait)} after the coordinator's start")
    if status.HasField("self_doubt"):
        found.append(f"self-doubt for {length(status.self_doubt.remaining)} at most: {status.self_doubt.reason}")
    return tuple(found)


def is_dear(at_risk: override_pb2.Lag, limits: Limits) -> bool:
    """Whether it is above one of the limits; what is not known exceeds none."""
    return (
        (
            limits.HasField("age")
            and at_risk.HasField("age")
            and at_risk.age.ToNanoseconds() > limits.age.ToNanoseconds()
        )
        or (limits.HasField("entries") and at_risk.HasField("entries") and at_risk.entries > limits.entries)
        or (limits.HasField("bytes") and at_risk.HasField("bytes") and at_risk.bytes > limits.bytes)
    )

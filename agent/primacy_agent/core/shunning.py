"""What an agent does to its own region's reads by itself, at once, when it sees that a region is dead (I6).

1. It moves shares of the row that the coordinator told it last, and nothing else: never writes, never more of the row
   than `local_shift_max`, and never to a region that is drained, that looks dead itself, or that the coordinator would
   not have sent reads to. Where the coordinator said what room regions have, they get it by that: every agent does so
   by itself, and what all of them move then fits as long as the room of all is enough.
2. When nobody is left who may have them, nothing moves: it is more likely this agent that cannot see (I8). When it
   reaches no other region while its own serves, its own gets the reads.
3. It rests on the row and on what is seen now. A newer row that gives a dead region nothing ends it as well as a region
   that answers again; what keeps it from flapping is in the sights (see `observing`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from primacy_agent.core.observing import Sight
from primacy_agent.core.traffic import Row

BEGAN = "local-shift"
ENDED = "local-shift-ended"
_ALMOST = 1 - 1e-9


@dataclass(frozen=True, slots=True)
class Shift:
    """A row for reads as it is in force."""

    row: Row
    shunned: tuple[str, ...] = ()
    """Regions whose share this agent lowered, sorted."""
    moved: float = 0.0
    """How much of the row that is."""
    heirs: Row = ()
    """(region, what it got of that)."""


def dead_regions(sights: Iterable[Sight], own_region: str, own_is_down: bool) -> Mapping[str, str]:
    """The regions that are of no use to a client here as far as this agent can see, each with why.

    The endpoint decides, for it is the way that clients take; without one, all agents must be out of reach. A region
    is dead also when every agent of it that speaks says that its instances are down. The own region is dead when its
    instances are down, unless its endpoint is among the sights: then others share it, and it decides.
    """
    endpoints: dict[str, Sight] = {}
    agents: dict[str, list[Sight]] = {}
    for sight in sights:
        if sight.agent:
            agents.setdefault(sight.region, []).append(sight)
        else:
            endpoints[sight.region] = sight
    dead = {}
    if own_is_down and own_region not in endpoints:
        dead[own_region] = "its own instances are down"
    for region in sorted(endpoints.keys() | agents.keys()):
        known = agents.get(region, [])
        endpoint = endpoints.get(region)
        speaking = [sight for sight in known if sight.speaks]
        if endpoint is not None and endpoint.lost:
            dead[region] = f"{endpoint.address}: {endpoint.why or 'cannot be reached'}"
        elif endpoint is None and all(sight.lost for sight in known):
            dead[region] = f"none of its agents can be reached: {known[0].why or known[0].address}"
        elif speaking and all(sight.idle for sight in speaking):
            dead[region] = "its agents say that its instances are down"
    return dead


def shifted(
    row: Row, dead: Iterable[str], order: Sequence[str], drained: Iterable[str], limit: float, room: Row = ()
) -> Shift:
    """The row with the shares of dead regions given to the others, at most `limit` of the whole.

    In proportion to `room` where that is known, else to the shares that they have. If no other has a share, the first
    in `order` that may have one gets it. If there is none either, the row stays.
    """
    total = sum(share for _, share in row)
    gone = frozenset(dead)
    wanted = sum(share for region, share in row if region in gone)
    if wanted <= 0 or total <= 0 or limit <= 0:
        return Shift(row)
    heirs = _heirs(row, gone | frozenset(drained), order, room)
    left = sum(heirs.values())
    if left <= 0:
        return Shift(row)
    most = limit * total
    whole = most >= wanted * _ALMOST
    moved = wanted if whole else most
    gains = {region: moved * (part / left) for region, part in heirs.items()}

    def now(region: str, share: float) -> float:
        if region in gone:
            return 0.0 if whole else share * (1 - moved / wanted)
        return share + gains.get(region, 0.0)

    return Shift(
        tuple((region, now(region, share)) for region, share in row),
        tuple(sorted(region for region, share in row if region in gone and share > 0)),
        moved / total,
        tuple(sorted((region, gain / total) for region, gain in gains.items())),
    )


def _heirs(row: Row, barred: frozenset[str], order: Sequence[str], room: Row) -> dict[str, float]:
    """Who gets what is moved, and in which proportion."""
    open_ones = {region for region, _ in row} - barred
    for parts in (room, row):
        if found := {region: part for region, part in parts if part > 0 and region in open_ones}:
            return found
    first = next((region for region in order if region in open_ones), None)
    return {} if first is None else {first: 1.0}


def nearest_first(sights: Iterable[Sight], own_region: str) -> tuple[str, ...]:
    """The own region, then the others by their smallest round trip; those never reached are left out."""
    rtts: dict[str, int] = {}
    for sight in sights:
        if sight.rtt_ns >= 0:
            rtts[sight.region] = min(sight.rtt_ns, rtts.get(sight.region, sight.rtt_ns))
    return (own_region, *sorted(rtts.keys() - {own_region}, key=lambda region: (rtts[region], region)))


@dataclass(frozen=True, slots=True)
class ShiftNews:
    """What the journal is told of a shift."""

    name: str
    text: str
    warning: bool


def news_of(before: Shift, after: Shift, dead: Mapping[str, str]) -> ShiftNews | None:
    """What is new, if it is other regions now than before; None when there is nothing to tell."""
    if before.shunned == after.shunned:
        return None
    if after.shunned:
        from_whom = ", ".join(f"{region} ({dead[region]})" for region in after.shunned)
        to_whom = ", ".join(f"{region} {share:.1%}" for region, share in after.heirs)
        return ShiftNews(BEGAN, f"moves {after.moved:.1%} of its reads away from {from_whom}: to {to_whom}", True)
    names = ", ".join(before.shunned)
    if not any(region in dead for region in before.shunned):
        return ShiftNews(ENDED, f"{names} can be reached again: reads follow the weights", False)
    left = {region: share for region, share in after.row if region in before.shunned and region in dead}
    if not any(left.values()):
        return ShiftNews(ENDED, f"the weights give {names} nothing any more: reads follow them", False)
    why = "no region is left that may have its reads, or the policy's localShiftMax allows none to move"
    return ShiftNews(ENDED, f"reads go to {', '.join(left)} again although it looks dead: {why}", True)

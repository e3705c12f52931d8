"""Hybrid logical clock: timestamps of several machines in one order that agrees with cause and effect.

Kulkarni, Demirbas, Madappa, Avva, Leone: Logical Physical Clocks (OPODIS 2014). A timestamp is the highest wall clock
that its writer had seen, its own included, and a counter for what falls on the same instant. Pure: the caller hands in
the wall clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from primacy_wire.instant import SECOND_NS

AHEAD_NS_MAX = 10 * SECOND_NS
"""A timestamp farther ahead of who receives it is clamped: one fast clock must not win every conflict for ever."""


@dataclass(frozen=True, slots=True, order=True)
class HybridTime:
    """Ordered by wall clock, counter and node: two writes are never equal."""

    wall_ns: int = 0
    counter: int = 0
    node: str = ""
    """Who wrote: `REGION/AGENT`."""


def tick(latest: HybridTime, wall_ns: int, node: str) -> HybridTime:
    """The timestamp of a new write by `node`, after everything that it has seen (`latest`)."""
    if wall_ns > latest.wall_ns:
        return HybridTime(wall_ns, 0, node)
    return HybridTime(latest.wall_ns, latest.counter + 1, node)


def seen(latest: HybridTime, other: HybridTime) -> HybridTime:
    """What is remembered after another's timestamp was seen."""
    return max(latest, other)


def clamped(time: HybridTime, wall_ns: int) -> HybridTime:
    """`time`, or the latest that is believed at `wall_ns`."""
    if time.wall_ns <= wall_ns + AHEAD_NS_MAX:
        return time
    return HybridTime(wall_ns + AHEAD_NS_MAX, 0, time.node)

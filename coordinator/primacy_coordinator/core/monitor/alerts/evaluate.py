"""How far an alert has come: nothing, pending, firing, resolved.

1. All transitions are in `_TABLE`; a look that finds nothing in it changes nothing.
2. Lengths are counted from look to look (`elapsed_ns`), never taken from the wall clock: what nobody looked at, while
   the coordinator was away or stood still, counts for nothing, and a clock that jumps neither fires nor resolves.
3. A condition of which nothing can be said stops the counting. After `UNKNOWN_NS_MAX` of that it counts as gone, so
   that nothing fires for ever.
4. `decide` is pure: the journal keeps its inputs (I9).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum

from primacy_wire.instant import SECOND_NS

UNKNOWN_NS_MAX = 600 * SECOND_NS
ELAPSED_NS_MAX = 5 * SECOND_NS
"""The most that one look counts for."""


class AlertState(IntEnum):
    """Numbers are those of `primacy.v1.AlertState`."""

    PENDING = 1
    FIRING = 2
    RESOLVED = 3


class Sight(IntEnum):
    """What a look says of a condition."""

    HOLDS = 1
    GONE = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Life:
    """How far an alert has come. Lengths in nanoseconds, as far as they were looked at."""

    state: AlertState
    held_ns: int = 0
    """How long its condition has held, while pending."""
    gone_ns: int = 0
    """How long it has not held, while firing."""
    unknown_ns: int = 0
    """How long nothing has been known of it."""


@dataclass(frozen=True, slots=True)
class Timing:
    for_ns: int
    """So long it must hold to fire,"""
    keep_ns: int
    """and so long not hold to be resolved."""


@dataclass(frozen=True, slots=True)
class Step:
    """Everything that `decide` decides from."""

    before: Life | None
    sight: Sight
    timing: Timing
    elapsed_ns: int
    """Since the look before."""


def decide(step: Step) -> Life | None:
    """How far the alert is after this look; None: there is none."""
    before = step.before
    elapsed_ns = min(max(step.elapsed_ns, 0), ELAPSED_NS_MAX)
    sight = step.sight
    if before is not None and sight is Sight.UNKNOWN:
        unknown_ns = before.unknown_ns + elapsed_ns
        if unknown_ns <= UNKNOWN_NS_MAX:
            return replace(before, unknown_ns=unknown_ns)
        sight = Sight.GONE
    elif before is not None and before.unknown_ns:
        before = replace(before, unknown_ns=0)
    transition = _TABLE.get((before.state if before is not None else None, sight))
    return before if transition is None else transition(before or _NEW, step.timing, elapsed_ns)


_NEW = Life(AlertState.PENDING)


def _begin(_: Life, timing: Timing, __: int) -> Life:
    return Life(AlertState.PENDING) if timing.for_ns > 0 else Life(AlertState.FIRING)


def _hold(before: Life, timing: Timing, elapsed_ns: int) -> Life:
    held_ns = before.held_ns + elapsed_ns
    return Life(AlertState.FIRING) if held_ns >= timing.for_ns else replace(before, held_ns=held_ns)


def _vanish(_: Life, __: Timing, ___: int) -> None:
    return None


def _go_on(before: Life, _: Timing, __: int) -> Life:
    return replace(before, gone_ns=0)


def _fade(before: Life, timing: Timing, elapsed_ns: int) -> Life:
    gone_ns = before.gone_ns + elapsed_ns
    return Life(AlertState.RESOLVED) if gone_ns >= timing.keep_ns else replace(before, gone_ns=gone_ns)


_TABLE: dict[tuple[AlertState | None, Sight], Callable[[Life, Timing, int], Life | None]] = {
    (None, Sight.HOLDS): _begin,
    (AlertState.PENDING, Sight.HOLDS): _hold,
    (AlertState.PENDING, Sight.GONE): _vanish,
    (AlertState.FIRING, Sight.HOLDS): _go_on,
    (AlertState.FIRING, Sight.GONE): _fade,
    (AlertState.RESOLVED, Sight.HOLDS): _begin,
}

"""A figure that is measured again and again, and followed in steps: noise changes nothing, and a step is never far off.

First the noise is taken out (an exponential mean over `MEAN_NS`), then the rest is dead-banded: what is followed
changes only when the mean has moved by more than `STEP` of it, and then to the mean.

Why the inputs of a plan are steadied, and not its outcome: an optimum jumps where its inputs barely move, so that a
small change of demand or of a round trip may send all reads of a client region elsewhere. To follow a new plan only
when it saves some part of the whole latency costs a second plan each time, holds back what one small client region
needs, and lets a plan that saves nothing stand for ever next to one that fits. With steps, what depends on them stands
still exactly as long as they do, and what is not followed is bounded: a plan from round trips that are off by at most
`STEP` costs less than (1+STEP)/(1-STEP) of the optimum, under 1.3 times; demand that is off by `STEP` fits into the
headroom (see `planning`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, sqrt

from primacy_wire.instant import SECOND_NS

STEP = 0.125
STEP_LEAST = 0.03
"""A step is never smaller, however little room is left: then it is the noise that is followed."""
MEAN_NS = 3 * SECOND_NS
"""Long enough to halve the noise of reports that come every second, short against what a surge does meanwhile."""
LEAP = 0.3
"""A rate that is measured to be above what is followed by more than this part of it surges: that is no noise, and for
those who are shed meanwhile the mean is late."""
LEAP_SIGMAS = 4.0
"""Nor is it what chance alone does to a count of few requests."""
LEAP_WEIGHT = 0.8
"""How much such a measurement counts."""


@dataclass(frozen=True, slots=True)
class Steady:
    mean: float
    followed: float


def begun(measured: float) -> Steady:
    return Steady(measured, measured)


def weight_of(elapsed_ns: int) -> float:
    """How much a measurement counts that comes so long after the last one, 0 to 1."""
    return 1 - exp(-max(0, elapsed_ns) / MEAN_NS)


def follow(old: Steady, measured: float, weight: float, least: float = 0.0, step: float = STEP) -> Steady:
    """The figure after another measurement. `least`: a smaller figure's step is that of this one."""
    mean = old.mean + (measured - old.mean) * weight
    far = abs(mean - old.followed) > max(abs(old.followed), least) * step
    return Steady(mean, mean if far else old.followed)


def follow_rate(old: Steady, measured: float, elapsed_ns: int, least: float, step: float = STEP) -> Steady:
    """The same for a rate that was counted over that time: downwards as any figure, upwards at once when it leaps."""
    weight = weight_of(elapsed_ns)
    chance = LEAP_SIGMAS * sqrt(max(old.followed, 0.0) * SECOND_NS / elapsed_ns) if elapsed_ns > 0 else 0.0
    leaps = measured - old.followed > max(LEAP * max(old.followed, least), chance)
    return follow(old, measured, max(weight, LEAP_WEIGHT) if leaps else weight, least, step)

"""How many requests a client region sends at each moment: a day that passes quickly, noise, and now and then a burst.

Pure: no clock, and the same seed gives the same demand.
"""

from __future__ import annotations

import math
import random

DAY_S = 600.0
"""A day of the demonstration: long enough to see the sun go round, short enough to wait for it."""
TILT = 0.45
"""By day it is so much above the mean, by night so much below it."""
NOISE = 0.12
"""Standard deviation of the noise, as a share."""
NOISE_S = 8.0
"""How long it takes the noise to forget."""
BURST_EVERY_S = 90.0
"""Mean time from the end of a burst to the next one."""
BURST_S = (6.0, 14.0)
BURST_FACTOR = (1.6, 2.6)
STEP_S = 0.25
"""The noise moves in steps of this length."""


class Demand:
    """Requests per second of one client region."""

    def __init__(self, rate: float, longitude: float, seed: str) -> None:
        """`rate`: the mean over a day."""
        self._rate = rate
        self._phase = longitude / 360.0
        self._draw = random.Random(seed)
        self._noise = 0.0
        self._at_s = 0.0
        self._burst_from_s = self._draw.expovariate(1 / BURST_EVERY_S)
        self._burst_until_s = self._burst_from_s + self._draw.uniform(*BURST_S)
        self._burst_factor = self._draw.uniform(*BURST_FACTOR)

    def at(self, seconds: float) -> float:
        """`seconds` since the start; never goes back."""
        while self._at_s + STEP_S <= seconds:
            self._at_s += STEP_S
            self._step()
        day = 1 + TILT * math.sin(2 * math.pi * (seconds / DAY_S + self._phase))
        burst = self._burst_factor if self._burst_from_s <= seconds < self._burst_until_s else 1.0
        return self._rate * day * math.exp(self._noise) * burst

    def _step(self) -> None:
        kept = math.exp(-STEP_S / NOISE_S)
        self._noise = kept * self._noise + self._draw.gauss(0, NOISE * math.sqrt(1 - kept * kept))
        if self._at_s >= self._burst_until_s:
            self._burst_from_s = self._at_s + self._draw.expovariate(1 / BURST_EVERY_S)
            self._burst_until_s = self._burst_from_s + self._draw.uniform(*BURST_S)
            self._burst_factor = self._draw.uniform(*BURST_FACTOR)

"""Messages on their way: delayed, lost, doubled, overtaken, or cut off in one direction."""

from __future__ import annotations

import random
from dataclasses import dataclass

from primacy_wire.instant import MILLISECOND_NS, SECOND_NS


@dataclass(frozen=True)
class Weather:
    """How bad the network is."""

    delay_ns: int = 10 * MILLISECOND_NS
    loss: float = 0.02
    double: float = 0.02
    late: float = 0.02
    """Share of messages that take up to `late_ns`: they are overtaken by many others."""
    late_ns: int = 15 * SECOND_NS


FAIR = Weather(loss=0.0, double=0.0, late=0.0)


class Network:
    """Draws what happens to each message; `cuts` holds the directed links that carry nothing."""

    def __init__(self, draw: random.Random, weather: Weather) -> None:
        self._draw = draw
        self.weather = weather
        self.cuts: set[tuple[str, str]] = set()

    def delays_ns(self, source: str, target: str) -> list[int]:
        """When each copy of a message arrives; empty: never."""
        if (source, target) in self.cuts or self._draw.random() < self.weather.loss:
            return []
        copies = 2 if self._draw.random() < self.weather.double else 1
        return [self._delay_ns() for _ in range(copies)]

    def _delay_ns(self) -> int:
        if self._draw.random() < self.weather.late:
            return self._draw.randint(0, self.weather.late_ns)
        return 1 + int(self._draw.expovariate(1 / self.weather.delay_ns))

    def is_open(self, source: str, target: str) -> bool:
        return (source, target) not in self.cuts and (target, source) not in self.cuts

"""Clocks that run at rates of their own and, on the wall, step."""

from __future__ import annotations

from dataclasses import dataclass

from primacy_wire.instant import Now

MILLION = 1_000_000


@dataclass
class Clock:
    """One machine's clocks. `rate_ppm` is how much faster than the world's time they run."""

    rate_ppm: int
    offset_ns: int
    wall_ns: int

    def now(self, world_ns: int) -> Now:
        passed_ns = world_ns + world_ns * self.rate_ppm // MILLION
        return Now(self.offset_ns + passed_ns, self.wall_ns + passed_ns)

    def world_ns(self, mono_ns: int) -> int:
        """The first instant of the world's time at which this clock shows at least `mono_ns`."""
        passed_ns = max(0, mono_ns - self.offset_ns)
        return -(-passed_ns * MILLION // (MILLION + self.rate_ppm))

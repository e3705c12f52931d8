"""One reading of the clocks, as the cores see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Now:
    """A pair of clock readings taken together.

    `mono_ns` is CLOCK_BOOTTIME in nanoseconds: it never steps and runs on through suspend, so leases, promises and
    detection use it alone. `wall_ns` is UTC in nanoseconds since 1970: history and whatever must outlive a restart on
    another machine. Instants never cross a wire, for two machines' clocks are never compared: only lengths of time do.
    """

    mono_ns: int
    wall_ns: int

    def plus(self, length_ns: int) -> Now:
        """Both readings moved on by the same length of time."""
        return Now(self.mono_ns + length_ns, self.wall_ns + length_ns)


SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000

"""How a lease is counted at its holder: from when the report was sent that it rests on, on two clocks.

Source of the rule: C. Gray, D. Cheriton, "Leases" (SOSP 1989), with the bound on clock *rates* put on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

from primacy_wire.instant import MILLISECOND_NS, Now

CLOCK_GAIN_NS_MIN = 100 * MILLISECOND_NS
"""How much REALTIME may gain on BOOTTIME beyond the drift before the guest's clock counts as having stood still."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What is held, or accepted and not yet durable. `until_ns` rests on `base`, when the named report was sent."""

    epoch: int
    until_ns: int
    base: Now
    ttl_ns: int
    drift_ppm: int

    def extended(self, other: Lease) -> Lease:
        """The later end of the two: neither side ever shortens what it counts."""
        return other if other.until_ns >= self.until_ns else self

    def is_valid(self, now: Now) -> bool:
        if now.mono_ns >= self.until_ns:
            return False
        # A hypervisor that stopped the guest stopped BOOTTIME too; REALTIME, once set again, tells.
        gained_ns = (now.wall_ns - self.base.wall_ns) - (now.mono_ns - self.base.mono_ns)
        return gained_ns <= 2 * self.ttl_ns * self.drift_ppm // 1_000_000 + CLOCK_GAIN_NS_MIN


def lease_end_ns(base: Now, ttl_ns: int, drift_ppm: int) -> int:
    """When a lease counted from `base` ends on the holder's clock: `base + T·(1-drift)`, rounded down."""
    return base.mono_ns + ttl_ns - -(-ttl_ns * drift_ppm // 1_000_000)

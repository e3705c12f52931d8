"""What was seen of other regions, over time: smoothed round trips."""

from __future__ import annotations

from dataclasses import dataclass

from primacy_wire.messages import PeerSight

RTT_GAIN = 0.25
"""Weight of a new round trip in the smoothed one; RFC 6298 takes an eighth for every segment, we look less often."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What was last seen of one target (`agent` empty: a region's endpoint)."""

    region: str
    agent: str
    address: str
    reachable: bool = False
    rtt_ns: int = -1
    """Smoothed; -1 until reached once."""
    looked_ns: int = 0
    """When the last look ended; 0: never looked."""
    misses: int = 0
    """Looks in a row that did not reach it."""
    serving: bool = True
    """False: the agent answered, and says that its instances are down."""

    def after(self, reachable: bool, rtt_ns: int, now_ns: int, serving: bool = True) -> Sight:
        """After one more look; `rtt_ns` and `serving` count only when it was reached."""
        smoothed = self.rtt_ns
        if reachable:
            smoothed = rtt_ns if smoothed < 0 else round(smoothed + RTT_GAIN * (rtt_ns - smoothed))
        return Sight(
            self.region,
            self.agent,
            self.address,
            reachable,
            smoothed,
            now_ns,
            0 if reachable else self.misses + 1,
            serving if reachable else True,
        )

    def report(self, now_ns: int) -> PeerSight:
        """As it goes into a report."""
        return PeerSight(self.region, self.agent, self.reachable, self.rtt_ns, max(0, now_ns - self.looked_ns))

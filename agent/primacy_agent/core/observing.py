"""What was seen of other regions, over time: smoothed round trips, and verdicts that do not flap.

One lost look is weather; a refused connection is not, for whoever goes there is refused as well. Both verdicts, that a
target cannot be reached and that an agent's instances are down, end after a few good looks in a row only.
"""

from __future__ import annotations

from dataclasses import dataclass

from primacy_wire.messages import PeerSight

RTT_GAIN = 0.25
"""Weight of a new round trip in the smoothed one; RFC 6298 takes an eighth for every segment, we look less often."""
MISSES_MIN = 2
"""Looks in a row that did not reach a target make it lost; one that leaves no doubt does at once."""
HITS_MIN = 2
"""Good looks in a row make it good again."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What was last seen of one target (`agent` empty: a region's endpoint)."""

    region: str
    agent: str
    address: str
    reachable: bool = False
    """The last look reached it."""
    rtt_ns: int = -1
    """Smoothed; -1 until reached once."""
    looked_ns: int = 0
    """When the last look ended; 0: never looked."""
    misses: int = 0
    """Looks in a row that did not reach it."""
    hits: int = 0
    """Looks in a row that did."""
    serving: bool = True
    """False: it answered the last look, and said that its instances are down."""
    served: int = 0
    """Looks in a row that it answered without saying so."""
    lost: bool = False
    """It is taken to be out of reach."""
    idle: bool = False
    """It is within reach, and taken to serve nothing."""
    why: str = ""
    """What was wrong at the last look that was not good, for people."""

    def after(
        self,
        reachable: bool,
        rtt_ns: int,
        now_ns: int,
        serving: bool = True,
        certain: bool = False,
        why: str = "",
    ) -> Sight:
        """After one more look. `rtt_ns` and `serving` count only when it was reached, `certain` only when not."""
        smoothed = self.rtt_ns
        if reachable:
            smoothed = rtt_ns if smoothed < 0 else round(smoothed + RTT_GAIN * (rtt_ns - smoothed))
        misses, hits = (0, self.hits + 1) if reachable else (self.misses + 1, 0)
        served = self.served + 1 if reachable and serving else 0
        if reachable:
            lost = self.lost and hits < HITS_MIN
            idle = not serving or (self.idle and served < HITS_MIN)
        else:
            lost = self.lost or certain or misses >= MISSES_MIN
            idle = self.idle and not lost  # Its last word stands as long as it is not lost itself.
        good = reachable and serving
        return Sight(
            self.region,
            self.agent,
            self.address,
            reachable,
            smoothed,
            now_ns,
            misses,
            hits,
            serving or not reachable,
            served,
            lost,
            idle,
            self.why if good else why,
        )

    @property
    def verdict(self) -> tuple[bool, bool, bool]:
        """What others act on: news of it waits for no report."""
        return self.reachable, self.lost, self.idle

    @property
    def is_settled(self) -> bool:
        """The last look agrees with the verdict; while it does not, the next one is worth taking soon."""
        return self.reachable is not self.lost and (not self.reachable or self.serving is not self.idle)

    @property
    def speaks(self) -> bool:
        """It was reached, and is not lost: what it says of itself counts."""
        return self.rtt_ns >= 0 and not self.lost

    def report(self, now_ns: int) -> PeerSight:
        """As it goes into a report."""
        return PeerSight(self.region, self.agent, self.reachable, self.rtt_ns, max(0, now_ns - self.looked_ns))

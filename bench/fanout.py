"""One model to several agents at once while uplinks are limited: by a plan, against everybody from the origin.

Every sender has a token bucket of its own in front of its line. The least time that is possible is one model over the
origin's uplink, less what a bucket lets through at once in the beginning; everybody from the origin takes about as many
times that as there are agents.
"""

from __future__ import annotations

from primacy_agent.transfer.bandwidth import BURST_S

from bench.rows import Row
from bench.swarm import swarm

SIZE = 64 << 20
UPLINK = 16 << 20
AGENTS = 4
KILLED_AT = 0.4
"""An agent that passes on what it gets is killed when it has so much of the model."""
UNEVEN = (1.0, 2.0, 1.5, 1.0, 0.25)
"""Of the origin and of those that fetch, in uplinks of the origin."""


def run(size: int = SIZE, uplink: int = UPLINK, agents: int = AGENTS) -> list[Row]:
    least_s = size / uplink - BURST_S
    with swarm(size, [uplink] * (agents + 1)) as found:
        star_s, _ = found.fetch(striped=False)
        even_s, even_sent = found.fetch(striped=True)
    uplinks = [int(share * uplink) for share in UNEVEN]
    with swarm(size, uplinks) as found:
        uneven_s, uneven_sent = found.fetch(striped=True, weights=uplinks[1:])
    with swarm(size, [uplink] * (agents + 1)) as found:
        killed_s, _ = found.fetch(striped=True, kill_at=KILLED_AT)
    name = f"fanout: {size >> 20} MiB to {agents} agents"
    return [
        Row(f"{name}, time by plan", even_s, "s", "everybody from the origin", star_s, 0.5),
        Row(f"{name}, time by plan", even_s, "s", "one model over the uplink", least_s, 1.2),
        Row(f"{name}, bytes the origin sent per byte", even_sent, "x", budget=1.1),
        Row(f"{name} of uneven uplinks, time by plan", uneven_s, "s", "one model over the uplink", least_s, 1.3),
        Row(f"{name}, one is killed at {KILLED_AT:.0%}, time by plan", killed_s, "s", "one model over the uplink",
            least_s, 1.3),
        Row(f"{name} of uneven uplinks, bytes the origin sent per byte", uneven_sent, "x", budget=1.1),
    ]  # fmt: skip

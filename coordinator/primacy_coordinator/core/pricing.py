"""What a move costs, as plain arithmetic: what may be lost, how much longer clients wait, what cannot be carried."""

from __future__ import annotations

from collections.abc import Mapping

from primacy_wire.messages import Lag

from primacy_coordinator.core.model import Limits, Price


def exceeded(lag: Lag | Price, limits: Limits) -> str:
    """The first figure that is above its bound, in words; empty: none. What is not known exceeds nothing."""
    if 0 <= limits.age_ns < lag.age_ns:
        return f"{lag.age_ns / 1e9:.1f} s, more than {limits.age_ns / 1e9:g} s"
    if 0 <= limits.entries < lag.entries:
        return f"{lag.entries:,} entries, more than {limits.entries:,}"
    if 0 <= limits.bytes < lag.bytes:
        return f"{lag.bytes:,} bytes, more than {limits.bytes:,}"
    return ""


def added_latency_ns(here: Mapping[str, int], there: Mapping[str, int], shares: Mapping[str, float]) -> int:
    """How much longer a mean round trip of a client takes `there`; below 0: shorter.

    `here` and `there` are client region -> round trip in ns. Only clients that measure both sides count: a figure that
    is missing on one of them would pass for a difference.
    """
    both = [client for client in sorted(shares) if client in here and client in there and shares[client] > 0]
    largest = max((shares[client] for client in both), default=1.0)
    # Relative to the largest: shares near the largest float must not add up to infinity.
    parts = {client: shares[client] / largest for client in both}
    added = sum(part * (there[client] - here[client]) for client, part in parts.items())
    return round(added / (sum(parts.values()) or 1.0))


def capacity_short(rate: float, own_rate: float, capacity: float) -> float:
    """Requests per second that a region cannot take over on top of its own; 0 also where a figure is not known.

    `rate` is what the active region serves and `own_rate` what this one does (negative: not measured); `capacity` 0:
    not known.
    """
    if capacity <= 0 or rate < 0:
        return 0.0
    return round(max(0.0, rate + max(0.0, own_rate) - capacity), 3)

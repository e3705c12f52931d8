"""How reads leave a region that is drained, and come back to one that returns: plain arithmetic of instants."""

from __future__ import annotations

STEPS_MIN = 4
"""A drain goes in at least so many steps, however long a report interval is."""
SLOW_START_FIRST = 0.1
"""What a region that returns gets of its share at first: enough to show whether it works."""


def drain_part(began_ns: int, length_ns: int, step_ns: int, now_ns: int) -> float:
    """What a region keeps of its reads, from below 1 at once to 0 after `length_ns`, in equal steps."""
    step_ns = max(1, min(step_ns, length_ns // STEPS_MIN))
    steps = length_ns // step_ns
    if steps <= 0:
        return 0.0
    return max(0.0, 1 - ((now_ns - began_ns) // step_ns + 1) / (steps + 1))


def slow_start_part(since_ns: int, length_ns: int, now_ns: int) -> float:
    """What a region gets of its share, from `SLOW_START_FIRST` to 1."""
    if length_ns <= 0:
        return 1.0
    grown = max(0.0, (now_ns - since_ns) / length_ns)
    return min(1.0, SLOW_START_FIRST + (1 - SLOW_START_FIRST) * grown)


def slow_start_since(part: float, length_ns: int, now_ns: int) -> int | None:
    """When a slow start must have begun to be at `part` now; None: there is nothing left of it."""
    if part >= 1 or length_ns <= 0:
        return None
    grown = max(0.0, part - SLOW_START_FIRST) / (1 - SLOW_START_FIRST)
    return now_ns - int(grown * length_ns)

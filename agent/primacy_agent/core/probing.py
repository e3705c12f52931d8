"""From single looks to a verdict: rise and fall for each probe, and one health for all instances.

A probe's verdict changes after `rise` good or `fall` bad looks in a row. Some failures leave no doubt (the process is
gone, the connection is refused); they count as a whole fall at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from primacy_wire.messages import ServiceHealth, ServiceState


@dataclass(frozen=True, slots=True)
class Look:
    """One attempt of a probe."""

    good: bool
    message: str = ""
    """Why not, for people."""
    certain: bool = False
    """The failure leaves no doubt: it counts as a whole fall."""
    latency_ns: int = 0


@dataclass(frozen=True, slots=True)
class ProbeState:
    """What a probe says now. `healthy` None: neither rise nor fall was ever reached."""

    healthy: bool | None = None
    streak: int = 0
    """Looks in a row that speak against `healthy` (while it is None: that agree with each other)."""
    last_good: bool = False
    message: str = ""
    latency_ns: int = 0
    changed_ns: int = 0
    """When `healthy` last changed."""

    def after(self, look: Look, rise: int, fall: int, now_ns: int) -> ProbeState:
        """The state after one more look."""
        same = look.good == self.last_good
        against = self.healthy is None or look.good != self.healthy
        streak = (self.streak + 1 if same else 1) if against else 0
        need = rise if look.good else (1 if look.certain else fall)
        changed = against and streak >= need
        return ProbeState(
            healthy=look.good if changed else self.healthy,
            streak=0 if changed else streak,
            last_good=look.good,
            message=look.message,
            latency_ns=look.latency_ns,
            changed_ns=now_ns if changed else self.changed_ns,
        )


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe's name, the instance that it belongs to, and its state."""

    name: str
    instance: str
    state: ProbeState


def merge(probes: Iterable[Probe]) -> ServiceHealth:
    """The health over all instances: an instance is healthy when all its probes are.

    UP while at least one instance is; STARTING while none is and one may still become so. Without probes nothing can
    be said against the service: it is UP with no instances counted.
    """
    instances: dict[str, list[Probe]] = {}
    for probe in probes:
        instances.setdefault(probe.instance, []).append(probe)
    if not instances:
        return ServiceHealth(ServiceState.UP, 0, 0, "no probes are configured")
    healthy = sum(all(p.state.healthy for p in group) for group in instances.values())
    down = sum(any(p.state.healthy is False for p in group) for group in instances.values())
    reasons = [
        f"{p.name}: {p.state.message or 'failing'}"
        for group in instances.values()
        for p in group
        if p.state.healthy is False
    ]
    if healthy:
        state = ServiceState.UP
    elif down < len(instances):
        state = ServiceState.STARTING
    else:
        state = ServiceState.DOWN
    return ServiceHealth(state, healthy, len(instances), "; ".join(reasons[:3]))

"""From single looks to a verdict: rise and fall for each probe, and one health for all instances.

A probe's verdict changes after `rise` good or `fall` bad looks in a row. Some failures leave no doubt (the process is
gone, the connection is refused); they count as a whole fall at once.

Smoke probes belong to recovery. Once an instance was down it owes them: when its other probes pass again they run, and
it stays down until each has passed once. Otherwise they do not run, and say nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from primacy_wire.messages import ServiceHealth, ServiceState

from primacy_agent.core.measuring import NOTHING, Readings

NOT_OWED = "runs when the instance comes back after it was down"
OWED = "not passed since the instance was down"


@dataclass(frozen=True, slots=True)
class Look:
    """One attempt of a probe."""

    good: bool
    message: str = ""
    """Why not, or what it said, for people."""
    certain: bool = False
    """The failure leaves no doubt: it counts as a whole fall."""
    latency_ns: int = 0
    readings: Readings = NOTHING
    """What it measured."""
    early: bool = False
    """Nothing can be said before the next look: the verdict stands, and what counts for or against it."""


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
        if look.early:
            return replace(self, message=look.message, latency_ns=look.latency_ns)
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
    owed: bool = False
    """A smoke probe that must still pass."""


def merge(probes: Iterable[Probe]) -> ServiceHealth:
    """The health over all instances: an instance is healthy when all its probes are.

    UP while at least one instance is; STARTING while none is and one may still become so. An instance that only smoke
    probes hold back is down, as it was before. Without probes nothing can be said against the service: it is UP with no
    instances counted.
    """
    instances: dict[str, list[Probe]] = {}
    for probe in probes:
        instances.setdefault(probe.instance, []).append(probe)
    if not instances:
        return ServiceHealth(ServiceState.UP, 0, 0, "no probes are configured")
    healthy = sum(all(p.state.healthy and not p.owed for p in group) for group in instances.values())
    down = sum(_is_down(group) for group in instances.values())
    reasons = [
        f"{p.name}: {p.state.message or (OWED if p.owed else 'failing')}"
        for group in instances.values()
        for p in group
        if p.state.healthy is False or (p.owed and _is_down(group))
    ]
    if healthy:
        state = ServiceState.UP
    elif down < len(instances):
        state = ServiceState.STARTING
    else:
        state = ServiceState.DOWN
    return ServiceHealth(state, healthy, len(instances), "; ".join(reasons[:3]))


def _is_down(group: Sequence[Probe]) -> bool:
    if any(p.state.healthy is False for p in group):
        return True
    return any(p.owed for p in group) and all(p.state.healthy for p in group if not p.owed)


@dataclass(frozen=True, slots=True)
class Watched:
    """A probe as far as verdicts go."""

    name: str
    instance: str = ""
    rise: int = 2
    fall: int = 2
    advisory: bool = False
    """It is shown and says nothing against its instance."""
    smoke: bool = False
    """It runs only in a recovery, and then one good look is enough."""


class Verdicts:
    """The state of every probe, and which smoke probes each instance still owes."""

    def __init__(self, watched: Sequence[Watched], recovering: bool = False) -> None:
        """`recovering`: the machine was down before this life of the agent, so smoke probes are owed from the start."""
        self._watched = {each.name: each for each in watched}
        self._owed = {each.name for each in watched if each.smoke and recovering}
        self._falls: dict[str, int] = {}
        self._states = {each.name: ProbeState() for each in watched}
        for each in watched:
            if each.smoke:
                self._states[each.name] = ProbeState(message=OWED if recovering else NOT_OWED)

    def state(self, name: str) -> ProbeState:
        return self._states[name]

    def wanted(self, name: str) -> int | None:
        """Whether a smoke probe shall look now: the number of the recovery that it would look for, or None."""
        watched = self._watched[name]
        if not watched.smoke or name not in self._owed:
            return None
        others = [each for each in self._judging() if each.instance == watched.instance]
        if not all(self._states[each.name].healthy for each in others):
            return None
        return self._falls.get(watched.instance, 0)

    def take(self, name: str, look: Look, now_ns: int, recovery: int | None = None) -> None:
        """One more look of a probe. A smoke probe's counts only for the `recovery` in which it began."""
        watched, before = self._watched[name], self._states[name]
        if not watched.smoke:
            self._states[name] = before.after(look, watched.rise, watched.fall, now_ns)
            if before.healthy is not False and self._states[name].healthy is False and not watched.advisory:
                self._fell(watched.instance, now_ns)
        elif recovery is not None and recovery == self.wanted(name):
            self._states[name] = before.after(look, 1, 1, now_ns)
            if look.good and not look.early:
                self._owed.discard(name)

    def _fell(self, instance: str, now_ns: int) -> None:
        self._falls[instance] = self._falls.get(instance, 0) + 1
        for each in self._watched.values():
            if each.smoke and each.instance == instance:
                self._owed.add(each.name)
                self._states[each.name] = ProbeState(message=OWED, changed_ns=now_ns)

    def _judging(self) -> list[Watched]:
        return [each for each in self._watched.values() if not each.smoke and not each.advisory]

    def health(self) -> ServiceHealth:
        """The merged health of all instances."""
        judging = [Probe(each.name, each.instance, self._states[each.name]) for each in self._judging()]
        owed = [
            Probe(each.name, each.instance, self._states[each.name], owed=True)
            for each in self._watched.values()
            if each.name in self._owed
        ]
        return merge([*judging, *owed])

"""From the rows that are wanted to the rows that are given: without a jolt.

- What moves reads away from a region that fails, or follows an operator's word, is urgent and happens at once. So is
  what takes reads off a region that gets more than it can serve: whoever is shed there has lost it, too.
- Anything else moves no share by more than the policy's `weight_slew` in a second: a row goes a part of the way, and
  all of its shares the same part, so that it still sums to 1.
- A wish that differs from the one that is followed by less than `weight_hysteresis` in every share is noise, and is not
  followed (the dead band of a Schmitt trigger). Once followed, it is reached whole.

Bound: between two computations that are `t` apart no share moves by more than `slew·t` plus a quantum, unless urgent;
and a wish that stays is reached after at most `1/slew` seconds, but for the hysteresis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from primacy_wire.instant import SECOND_NS

from primacy_coordinator.core.routing import PARTIAL, QUANTA, SERVES, Matrix, Shares, WeightsInput, usable_of


@dataclass(frozen=True, slots=True)
class Shaped:
    """Rows on their way."""

    rows: Matrix = ()
    """What is given."""
    goals: Matrix = ()
    """What is followed."""

    @property
    def is_moving(self) -> bool:
        return self.rows != self.goals


def shape(
    before: Shaped, wanted: Matrix, elapsed_ns: int, slew: float, hysteresis: float, urgent: bool = False
) -> Shaped:
    """The next rows. `slew`: share per second; `urgent`: the wish is followed at once, and whole."""
    if urgent or not before.rows:
        return Shaped(wanted, wanted)
    rows, goals = dict(before.rows), dict(before.goals)
    found = [
        _shape_row(rows.get(client), goals.get(client), wish, slew * max(0, elapsed_ns) / SECOND_NS, hysteresis)
        for client, wish in wanted
    ]
    clients = [client for client, _ in wanted]
    return Shaped(
        tuple((client, row) for client, (row, _) in zip(clients, found, strict=True)),
        tuple((client, goal) for client, (_, goal) in zip(clients, found, strict=True)),
    )


def _shape_row(
    row: Shares | None, goal: Shares | None, wish: Shares, step: float, hysteresis: float
) -> tuple[Shares, Shares]:
    names = [name for name, _ in wish]
    if row is None or goal is None or [name for name, _ in row] != names or _is_empty(row) or _is_empty(wish):
        return wish, wish
    if _distance(goal, wish) >= hysteresis or not _given_alike(goal, wish):
        goal = wish
    far = _distance(row, goal)
    if far <= max(step, 1 / QUANTA):
        return goal, goal
    return _partway(row, goal, step / far), goal


def _is_empty(row: Shares) -> bool:
    return not any(share for _, share in row)


def _given_alike(goal: Shares, wish: Shares) -> bool:
    """Whether both give to the same regions: nothing is not a small share."""
    return all((share > 0) is (other > 0) for (_, share), (_, other) in zip(goal, wish, strict=True))


def _distance(one: Shares, other: Shares) -> float:
    return max(abs(share - wish) for (_, share), (_, wish) in zip(one, other, strict=True))


def _partway(row: Shares, goal: Shares, part: float) -> Shares:
    """A part of the way, in quanta that sum to 1: by the largest remainder, never past the goal."""
    exact = {name: (share + part * (wish - share)) * QUANTA for (name, share), (_, wish) in zip(row, goal, strict=True)}
    floors = {name: int(value) for name, value in exact.items()}
    missing = QUANTA - sum(floors.values())
    for name in sorted(exact, key=lambda n: (floors[n] - exact[n], n))[: max(0, missing)]:
        floors[name] += 1
    return tuple((name, floors[name] / QUANTA) for name, _ in row)


def relieves(given: WeightsInput, rows: Matrix, wanted: Matrix) -> bool:
    """Whether some region is over its capacity by the rows in force, as far as demand is known, and the wish helps."""
    demand = {region.name: region.demand for region in given.regions if region.demand >= 0}
    now, then = _loads(demand, rows), _loads(demand, wanted)
    for region in given.regions:
        room = region.capacity * (region.healthy_share if region.status in PARTIAL else 1.0)
        if 0 < room < now.get(region.name, 0.0) and then.get(region.name, 0.0) < now[region.name]:
            return True
    return False


def _loads(demand: Mapping[str, float], rows: Matrix) -> dict[str, float]:
    """Requests per second that each region gets by the rows."""
    found: dict[str, float] = {}
    for client, row in rows:
        for name, share in row if client in demand else ():
            found[name] = found.get(name, 0.0) + share * demand[client]
    return found


def is_urgent(before: WeightsInput | None, now: WeightsInput) -> bool:
    """Whether reads must follow at once: a region failed or lost health by its status, or somebody decided so."""
    if before is None:
        return True
    decided = (before.strategy, before.active_region, before.pins, before.panic_threshold, before.overprovisioning)
    if decided != (now.strategy, now.active_region, now.pins, now.panic_threshold, now.overprovisioning):
        return True
    then = {region.name: region for region in before.regions}
    if set(then) != {region.name for region in now.regions}:
        return True
    lost = {region.name for region in usable_of(before)} - {region.name for region in usable_of(now)}
    if lost:
        return True
    for region in now.regions:
        old = then[region.name]
        if region.drain != old.drain or region.weight != old.weight or region.location != old.location:
            return True
        if old.status in SERVES and region.status is not old.status and region.healthy_share < old.healthy_share:
            return True
    return False

"""The transportation problem: from whom how much goes where, so that the whole way is the shortest and all fits.

Successive shortest paths with node potentials (R. K. Ahuja, T. L. Magnanti, J. B. Orlin, "Network Flows", 1993, section
9.7), begun from a *pseudoflow*: everybody is at the nearest place, whether it fits or not. That is optimal but for the
places that are overfull, so that only what is too much is ever moved, and nothing where all fits:

1. From an overfull place Dijkstra's algorithm looks for the cheapest way to one with room. The ways lead over places:
   from `u` to `v` goes the client in `u` whose change for `v` costs least. As many units as the way takes are moved
   along.
2. The potentials are corrected by the distances found, so that no way costs less than nothing (reduced cost) next time.

So the search runs over places alone, and ends at the first one with room; clients are looked at when a place's leavers
change. All numbers are integers: the result is an optimum, not nearly one. Of several optima it is always the same one:
ties go to the lower index.

Cost: O(places²) for each path; about as many paths as there are overfull places, full ones, and clients that are split.
50 clients and 50 places take 1 to 10 ms, the most where all places end full.

Weakness: in theory the number of paths has no polynomial bound (N. Zadeh, 1973); instances that need many are made, not
met.
"""

from __future__ import annotations

from collections.abc import Sequence

FAR = 1 << 62
"""Longer than any way."""

Flows = list[dict[int, int]]
"""For each client: place -> units, only where there are any."""


def nearest(costs: Sequence[Sequence[int]]) -> list[int]:
    """Each client's cheapest place; of several the first."""
    return [row.index(min(row)) for row in costs]


class Transport:
    """A solution on its way: optimal for where everybody is, with places that may be overfull."""

    def __init__(self, costs: Sequence[Sequence[int]], supplies: Sequence[int]) -> None:
        """`costs[client][place]` is for one unit, 0 or more; `supplies[client]` are its units."""
        places = len(costs[0]) if costs else 0
        self._costs = costs
        self._supplies = supplies
        self._limits: list[int] | None = None
        self._potential = [0] * places
        self._load = [0] * places
        self._at: list[dict[int, int]] = [{} for _ in range(places)]
        """For each place: client -> units there."""
        for client, place in enumerate(nearest(costs)):
            if supplies[client] > 0:
                self._at[place][client] = supplies[client]
                self._load[place] += supplies[client]
        self._steps: list[list[int] | None] = [None] * places
        """For each place: what one unit's change for each other place costs at least. None: to be found anew."""
        self._leavers: list[list[int]] = [[] for _ in range(places)]
        """Which client that is."""

    def fit(self, limits: Sequence[int]) -> Flows:
        """Everybody's units in places, at the least cost that the limits allow.

        Another call goes on from there, which is cheap; no limit may then be higher. Raises ValueError when it is, and
        when the units are more than fit.
        """
        if sum(self._supplies) > sum(limits):
            raise ValueError(f"{sum(self._supplies)} units do not fit into {sum(limits)}")
        if self._limits is not None and any(new > old for new, old in zip(limits, self._limits, strict=True)):
            raise ValueError("a limit rose: what was sent away for want of room would have to come back")
        self._limits = list(limits)
        for place, limit in enumerate(limits):
            while self._load[place] > limit:
                self._relieve(place, self._limits)
        flows: Flows = [{} for _ in self._supplies]
        for place, clients in enumerate(self._at):
            for client, units in clients.items():
                flows[client][place] = units
        return flows

    def _relieve(self, overfull: int, limits: list[int]) -> None:
        """Move units from there to a place with room, by the cheapest way."""
        end, before = self._search(overfull, limits)
        moves = []
        place = end
        units = min(self._load[overfull] - limits[overfull], limits[end] - self._load[end])
        while place != overfull:
            source = before[place]
            client = self._leavers[source][place]
            units = min(units, self._at[source][client])
            moves.append((source, place, client))
            place = source
        for source, target, client in moves:
            self._move(client, source, target, units)
        self._load[overfull] -= units
        self._load[end] += units

    def _search(self, start: int, limits: list[int]) -> tuple[int, list[int]]:
        """(nearest place with room, each place's predecessor on the way to it). Corrects the potentials."""
        potential, load = self._potential, self._load
        before = [start] * len(limits)
        # Lengths as the potentials make them, but for that of the start, which all of them have in common.
        ways = [FAR] * len(limits)
        ways[start] = -potential[start]
        length_of = ways.__getitem__
        settled: list[int] = []
        open_places = list(range(len(limits)))
        while open_places:
            place = min(open_places, key=length_of)
            length = ways[place]
            if load[place] < limits[place]:
                for passed in settled:
                    potential[passed] -= length - ways[passed]
                return place, before
            open_places.remove(place)
            settled.append(place)
            if not self._at[place]:
                continue
            so_far, steps = length + potential[place], self._steps_from(place)
            for target in open_places:
                way = so_far + steps[target] - potential[target]
                if way < ways[target]:
                    ways[target] = way
                    before[target] = place
        raise AssertionError("the units fit, so there is a place with room")

    def _steps_from(self, place: int) -> list[int]:
        steps = self._steps[place]
        if steps is None:
            steps = [FAR] * len(self._load)
            leavers = [-1] * len(self._load)
            for client in sorted(self._at[place]):
                _offer(client, self._costs[client], place, steps, leavers)
            self._steps[place], self._leavers[place] = steps, leavers
        return steps

    def _move(self, client: int, source: int, target: int, units: int) -> None:
        left = self._at[source][client] - units
        if left:
            self._at[source][client] = left
        else:
            del self._at[source][client]
            self._steps[source] = None
        there = self._at[target]
        if client not in there:
            self._steps[target] = None
        there[client] = there.get(client, 0) + units


def _offer(client: int, costs: Sequence[int], place: int, steps: list[int], leavers: list[int]) -> None:
    """Let a client be the leaver where it is the cheapest one."""
    base = costs[place]
    for target, cost in enumerate(costs):
        if cost - base < steps[target]:
            steps[target] = cost - base
            leavers[target] = client

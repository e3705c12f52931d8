"""The transportation problem, held to a real solver and, where it is tiny, to trying everything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from primacy_coordinator.core.transport import Flows, Transport, nearest
from scipy.optimize import linprog

Instance = tuple[list[list[int]], list[int], list[int]]
"""(costs, supplies, limits)."""


@st.composite
def instances(draw: st.DrawFn, largest: int = 8, cost: int = 60, units: int = 60) -> Instance:
    """Small numbers collide, and ties are where bugs live. The limits leave little room, or none."""
    clients, places = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    row = st.lists(st.integers(0, cost), min_size=places, max_size=places)
    costs = draw(st.lists(row, min_size=clients, max_size=clients))
    supplies = draw(st.lists(st.integers(0, units), min_size=clients, max_size=clients))
    limits = draw(st.lists(st.integers(0, units), min_size=places, max_size=places))
    lacking = sum(supplies) - sum(limits)
    if lacking > 0:
        limits[draw(st.integers(0, places - 1))] += lacking
    return costs, supplies, limits


def cost_of(costs: Sequence[Sequence[int]], flows: Flows) -> int:
    return sum(costs[client][place] * units for client, flow in enumerate(flows) for place, units in flow.items())


def check(instance: Instance, flows: Flows) -> None:
    _, supplies, limits = instance
    assert [sum(flow.values()) for flow in flows] == supplies, "everybody is somewhere, whole"
    loads = [sum(flow.get(place, 0) for flow in flows) for place in range(len(limits))]
    assert all(load <= limit for load, limit in zip(loads, limits, strict=True)), "nothing is overfull"
    assert all(units > 0 for flow in flows for units in flow.values())


def solved_by_another(costs: list[list[int]], supplies: list[int], limits: list[int]) -> float:
    """The least cost, as HiGHS finds it."""
    clients, places = len(costs), len(costs[0])
    per_client = [[float(index // places == client) for index in range(clients * places)] for client in range(clients)]
    per_place = [[float(index % places == place) for index in range(clients * places)] for place in range(places)]
    found = linprog([c for row in costs for c in row], per_place, limits, per_client, supplies, method="highs")
    assert found.status == 0, found.message
    return float(found.fun)


def tried(costs: list[list[int]], supplies: list[int], limits: list[int]) -> int:
    """The least cost, by trying everything."""

    def ways(client: int, left: tuple[int, ...]) -> Iterator[int]:
        if client == len(supplies):
            yield 0
            return
        for parts in split(supplies[client], left):
            cost = sum(part * costs[client][place] for place, part in enumerate(parts))
            rest = tuple(room - part for room, part in zip(left, parts, strict=True))
            yield from (cost + other for other in ways(client + 1, rest))

    def split(units: int, left: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if not left:
            if units == 0:
                yield ()
            return
        for part in range(min(units, left[0]) + 1):
            yield from ((part, *rest) for rest in split(units - part, left[1:]))

    return min(ways(0, tuple(limits)))


@given(instances())
@settings(max_examples=300, deadline=None)
def test_it_costs_what_a_real_solver_finds(instance: Instance) -> None:
    flows = Transport(*instance[:2]).fit(instance[2])
    check(instance, flows)
    assert cost_of(instance[0], flows) == pytest.approx(solved_by_another(*instance), abs=1e-6)


@given(instances(largest=3, cost=9, units=4))
@settings(deadline=None)
def test_nothing_that_can_be_tried_costs_less(instance: Instance) -> None:
    assert cost_of(instance[0], Transport(*instance[:2]).fit(instance[2])) == tried(*instance)


@given(instances(), st.lists(st.floats(0, 1), min_size=8, max_size=8))
@settings(max_examples=200, deadline=None)
def test_going_on_under_lower_limits_is_as_good_as_starting_there(instance: Instance, parts: list[float]) -> None:
    costs, supplies, limits = instance
    lower = [int(limit * part) for limit, part in zip(limits, parts, strict=False)]
    transport = Transport(costs, supplies)
    transport.fit(limits)
    if sum(lower) < sum(supplies):
        with pytest.raises(ValueError, match="do not fit"):
            transport.fit(lower)
        return
    flows = transport.fit(lower)
    check((costs, supplies, lower), flows)
    assert cost_of(costs, flows) == cost_of(costs, Transport(costs, supplies).fit(lower))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("room", [1.0, 1.02, 1.3])
def test_large_ones_with_measured_looking_numbers(seed: int, room: float) -> None:
    """Twenty regions, as the weights make them: nanoseconds, and a thousand million units."""
    draw = Random(seed)
    places = [(draw.random(), draw.random()) for _ in range(20)]
    costs = [
        [round(5e6 + 3e8 * ((a - x) ** 2 + (b - y) ** 2) ** 0.5) for x, y in places] for a, b in places
    ]  # fmt: skip
    supplies = [draw.randrange(1, 10**8) for _ in places]
    limits = [draw.randrange(1, 10**8) for _ in places]
    limits = [-(-limit * round(sum(supplies) * room) // sum(limits)) for limit in limits]
    flows = Transport(costs, supplies).fit(limits)
    check((costs, supplies, limits), flows)
    assert cost_of(costs, flows) == pytest.approx(solved_by_another(costs, supplies, limits), rel=1e-9)


@given(instances())
def test_where_all_fit_everybody_is_at_the_nearest(instance: Instance) -> None:
    costs, supplies, _ = instance
    flows = Transport(costs, supplies).fit([sum(supplies)] * len(costs[0]))
    wanted = [{place: units} if units else {} for place, units in zip(nearest(costs), supplies, strict=True)]
    assert flows == wanted


def test_the_first_of_alike_places_is_taken() -> None:
    assert nearest([[3, 1, 1], [2, 2, 2]]) == [1, 0]
    assert Transport([[1, 1, 1]], [5]).fit([2, 2, 2]) == [{0: 2, 1: 2, 2: 1}]


def test_one_makes_room_for_another_where_that_is_cheaper() -> None:
    """The first client's second choice is as near as its first; the second client's is far."""
    assert Transport([[1, 2, 9], [1, 9, 9]], [4, 4]).fit([4, 4, 4]) == [{1: 4}, {0: 4}]


def test_what_does_not_fit_and_limits_that_rise_are_refused() -> None:
    with pytest.raises(ValueError, match="5 units do not fit into 4"):
        Transport([[1, 1]], [5]).fit([2, 2])
    transport = Transport([[1, 2]], [5])
    transport.fit([2, 5])
    with pytest.raises(ValueError, match="a limit rose"):
        transport.fit([3, 5])


def test_nobody_is_nowhere() -> None:
    assert Transport([], []).fit([]) == []
    assert Transport([[1, 2], [2, 1]], [0, 3]).fit([0, 3]) == [{}, {1: 3}]

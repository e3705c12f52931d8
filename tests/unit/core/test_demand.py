"""Where requests come from, told from what is measured; figures that are followed in steps; what OPTIMAL plans from."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_coordinator.core.basis import HOLD_NS, SMALL, Basis
from primacy_coordinator.core.demand import Counted, Measured, estimate, routed_since
from primacy_coordinator.core.model import RegionStatus, RoutingStrategy
from primacy_coordinator.core.planning import FILL
from primacy_coordinator.core.routing import Matrix, RegionInput, WeightsInput
from primacy_coordinator.core.steady import MEAN_NS, STEP, begun, follow, weight_of
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.messages import Load, RouteCount

from tests.unit.core.test_routing import region

NAMES = ("a", "b", "c")
HOME = {name: {name: 1.0} for name in NAMES}
NOTHING = Measured({}, {}, {}, 0)


def found(measured: Measured, before: dict[str, float] | None = None, **rows: dict[str, float]) -> dict[str, float]:
    estimated = estimate(NAMES, measured, before or {}, {**HOME, **rows})
    assert estimated is not None
    return dict(estimated.demand)


def test_nothing_measured_is_nothing_known() -> None:
    assert estimate(NAMES, NOTHING, {}, HOME) is None
    assert estimate(NAMES, replace(NOTHING, routed={"zz": 5.0}), {}, HOME) is None, "of no region of this group"


def test_the_policy_wins_and_says_proportions_alone() -> None:
    measured = Measured({"a": 3.0, "b": 1.0}, {"c": 100.0}, {"a": 200.0}, 0)
    assert found(measured) == {"a": 150, "b": 50, "c": 0}
    assert found(replace(measured, shares={"zz": 1.0}))["c"] > 0, "shares of others say nothing"


def test_routed_reads_count_where_they_are_at_least_half_of_all() -> None:
    measured = Measured({}, {"a": 30.0, "b": 10.0}, {"a": 50.0, "b": 0.0, "c": 30.0}, 0)
    assert found(measured) == {"a": 60, "b": 20, "c": 0}, "proportions of what was routed, all that was served"
    assert found(replace(measured, served={"a": 48.0})) == {"a": 30, "b": 10, "c": 0}, "a fifth more is noise"
    few = replace(measured, routed={"a": 39.0})
    assert found(few) == {"a": 50, "b": 0, "c": 30}, "a proxy routes the rest by itself: at first it stays at home"


def test_what_regions_served_is_divided_by_who_was_sent_there() -> None:
    before = {"a": 100.0, "b": 50.0, "c": 10.0}
    rows = {"a": {"a": 0.5, "b": 0.5}}
    measured = replace(NOTHING, served={"a": 60.0, "b": 110.0, "c": 10.0})
    # b served a tenth more than 50 from a and 50 from b; a a fifth more.
    assert found(measured, before, **rows) == pytest.approx({"a": 60 + 55, "b": 55, "c": 10})
    silent = replace(NOTHING, served={"a": 60.0, "c": 10.0}, unmeasured=1)
    assert found(silent, before, **rows) == pytest.approx({"a": 60 + 50, "b": 50, "c": 10}), (
        "as expected, if not measured"
    )


def test_what_nobody_was_sent_is_of_the_region_itself() -> None:
    rows = {"c": {"a": 1.0}}
    measured = replace(NOTHING, served={"a": 20.0, "b": 10.0, "c": 7.0})
    assert found(measured, {"a": 10.0, "b": 10.0, "c": 10.0}, **rows) == {"a": 10, "b": 10, "c": 17}


@given(st.lists(st.floats(1, 1000), min_size=3, max_size=3), st.integers(0, 1000))
def test_the_demand_is_found_where_rows_tell_regions_apart(true: list[float], seed: int) -> None:
    """Repeated, what each region would serve of the demand that is found is what it does serve."""
    draw = Random(seed)
    rows = {}
    for index, name in enumerate(NAMES):
        cuts = [draw.random() * (3 if other == index else 1) for other in range(3)]
        rows[name] = {other: cut / sum(cuts) for other, cut in zip(NAMES, cuts, strict=True)}
    demand = dict(zip(NAMES, true, strict=True))
    served = {to: sum(demand[name] * rows[name][to] for name in NAMES) for to in NAMES}
    told = dict.fromkeys(NAMES, 1.0)
    for _ in range(2000):
        told = found(replace(NOTHING, served=served), told, **rows)
    assert sum(told.values()) == pytest.approx(sum(true), rel=0.01)
    for to in NAMES:
        assert sum(told[name] * rows[name][to] for name in NAMES) == pytest.approx(served[to], rel=0.05)


def test_a_demand_of_nothing_can_grow_again() -> None:
    told = {"a": 0.0, "b": 100.0, "c": 100.0}
    rows = {"a": {"a": 0.9, "b": 0.1}}
    for _ in range(30):
        told = found(replace(NOTHING, served={"a": 50.0, "b": 100.0, "c": 100.0}), told, **rows)
    assert told["a"] > 50


def counted(count: int, at_s: float, incarnation: str = "life-1", client: str = "a") -> Counted:
    routed = (RouteCount(client, "b", 1, 7, "ok", count), RouteCount(client, "a", 2, 7, "ok", 9 * count))
    return Counted("a/1", incarnation, int(at_s * SECOND_NS), routed)


def test_what_an_agent_routes_is_told_from_two_reports_of_one_life() -> None:
    first = routed_since(None, counted(1000, 10))
    assert first.rates == {}, "how long that took is not known"
    second = routed_since(first, counted(1010, 12))
    assert second.rates == {"a": 5.0}, "writes do not count"
    assert routed_since(second, counted(1010, 12)) is second, "no new report says nothing new"
    assert routed_since(second, counted(1013, 12.1), SECOND_NS // 2) is second, (
        "30 a second in a tenth of one is chance"
    )
    assert routed_since(second, counted(1013, 12.6), SECOND_NS // 2).rates == {"a": pytest.approx(5)}
    assert routed_since(second, counted(5, 13, "life-2")).rates == {}
    assert routed_since(second, counted(900, 13)).rates == {"a": 0}, "counts never fall; if they do, nothing is told"


def test_a_figure_is_followed_in_steps() -> None:
    figure = begun(100.0)
    for measured in (105.0, 92.0, 111.0, 95.0) * 50:
        figure = follow(figure, measured, weight_of(SECOND_NS))
        assert figure.followed == 100.0
    for _ in range(30):
        figure = follow(figure, 150.0, weight_of(SECOND_NS))
    assert figure.followed == pytest.approx(150, rel=STEP)
    assert follow(begun(100.0), 200.0, weight_of(MEAN_NS)).mean == pytest.approx(163.2, abs=0.1)
    assert follow(begun(100.0), 200.0, weight_of(-5)).mean == 100.0
    assert follow(begun(1.0), 2.0, 1.0, least=100.0).followed == 1.0, "little of little is nothing"


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0.01, 1))
def test_what_is_followed_is_never_farther_off_than_a_step(measured: list[float], weight: float) -> None:
    figure = begun(measured[0])
    for value in measured:
        figure = follow(figure, value, weight)
        assert abs(figure.mean - figure.followed) <= STEP * figure.followed + 1e-9


def test_demand_that_is_not_followed_fits_into_the_headroom() -> None:
    """Of all client regions at once, those included that are smaller than their steps say."""
    assert FILL * (1 + STEP * (1 + SMALL)) <= 1


class Looking:
    """A basis and the time that passes between looks."""

    def __init__(self) -> None:
        self.basis = Basis()
        self.now_ns = 1_000 * SECOND_NS
        self.rows: Matrix = tuple((name, tuple(row.items())) for name, row in HOME.items())
        self.shares: tuple[tuple[str, float], ...] = ()
        self.said: frozenset[str] = frozenset()

    def look(
        self, *regions: RegionInput, rtt_ms: float = 20, seconds: float = 1, counted: tuple[Counted, ...] = ()
    ) -> WeightsInput:
        self.now_ns += int(seconds * SECOND_NS)
        rtts = (("a", "b", int(rtt_ms * MILLISECOND_NS)), ("a", "c", -1))
        given_ = WeightsInput(RoutingStrategy.OPTIMAL, regions, "a", (), rtts, 0.5)
        return self.basis.look(given_, self.said, self.shares, counted, self.rows, SECOND_NS, self.now_ns)


def served(**rates: float) -> tuple[RegionInput, ...]:
    return tuple(region(name, capacity=100.0, load=Load(request_rate=rate)) for name, rate in rates.items())


def demand_of(given_: WeightsInput) -> dict[str, float]:
    return {r.name: r.demand for r in given_.regions}


def test_what_is_the_same_to_the_plan_is_equal() -> None:
    looking = Looking()
    first = looking.look(*served(a=50, b=20, c=10))
    assert demand_of(first) == {"a": 50, "b": 20, "c": 10} and first.rtts == (("a", "b", 20 * MILLISECOND_NS),)
    assert looking.look(*served(a=53, b=19, c=11), rtt_ms=21) == first
    assert looking.look(*served(a=90, b=20, c=10), seconds=0.01) == first, "not twice in an interval"
    later = looking.look(*served(a=90, b=20, c=10), seconds=9)
    assert demand_of(later)["a"] > 80


def test_a_path_that_is_longer_for_good_is_followed_and_one_that_is_not_measured_stays() -> None:
    looking = Looking()
    regions = served(a=1, b=1, c=1)
    looking.look(*regions)
    looking.look(*regions, rtt_ms=90)
    far = looking.look(*regions, rtt_ms=90, seconds=20).rtts
    assert far == (("a", "b", pytest.approx(90 * MILLISECOND_NS, rel=STEP)),)
    assert looking.look(*regions, rtt_ms=-1).rtts == far
    assert looking.look(*regions[1:], rtt_ms=-1).rtts == (), "until one of the two is gone"


def test_a_capacity_that_is_said_is_exact_and_one_that_is_measured_is_steady() -> None:
    looking = Looking()
    looking.said = frozenset({"a"})

    def capacity_of(*values: float) -> list[float]:
        regions = [region(name, capacity=value) for name, value in zip(NAMES, values, strict=True)]
        return [r.capacity for r in looking.look(*regions).regions]

    assert capacity_of(100, 100, 0) == [100, 100, 0]
    assert capacity_of(101, 104, 0) == [101, 100, 0]
    assert capacity_of(101, 50, 0) == [101, 50, 0]
    assert capacity_of(101, 0, 70) == [101, 50, 70], "nobody is connected that could say it: what was known stays"
    looking.said = frozenset()
    assert capacity_of(101, 0, 70)[0] == 101


def test_after_a_jump_of_the_rows_what_regions_serve_is_not_believed_for_a_while() -> None:
    looking = Looking()
    looking.look(*served(a=50, b=50, c=50))
    looking.basis.hold(looking.now_ns)
    held = looking.look(*served(a=150, b=0, c=0), seconds=HOLD_NS / SECOND_NS - 1)
    assert demand_of(held) == {"a": 50, "b": 50, "c": 50}
    assert demand_of(looking.look(*served(a=150, b=1, c=1), seconds=5))["a"] > 80


def test_what_is_counted_at_its_source_is_believed_also_then() -> None:
    looking = Looking()
    regions = served(a=50, b=0, c=0)
    looking.look(*regions, counted=(counted(0, 1001),))
    looking.look(*regions, counted=(counted(50, 1002),))
    looking.basis.hold(looking.now_ns)
    given_ = looking.look(*served(a=5, b=0, c=0), counted=(counted(50 + 9 * 500, 1011),), seconds=9)
    assert demand_of(given_)["a"] > 300
    gone = looking.look(*served(a=5, b=5, c=5), counted=(), seconds=20)
    assert demand_of(gone)["a"] < 50, "an agent that is gone counts no more"


def test_clients_whose_agents_are_silent_stay_while_their_region_serves_and_enter_elsewhere_when_it_does_not() -> None:
    looking = Looking()

    def look(*counts: int, at_s: float, status: RegionStatus = RegionStatus.HEALTHY) -> dict[str, float]:
        words = tuple(
            replace(counted(count, at_s, client=name), agent=f"{name}/1")
            for name, count in zip(NAMES, counts, strict=False)
        )
        regions = (region("a"), region("b"), region("c", status))
        return demand_of(looking.look(*regions, counted=words))

    look(0, 0, 0, at_s=1)
    assert look(10, 20, 30, at_s=2) == {"a": 10, "b": 20, "c": 30}
    assert look(20, 40, at_s=3) == {"a": 10, "b": 20, "c": 30}, "its agents have lost their link, or start anew"
    assert look(30, 60, at_s=4, status=RegionStatus.SUSPECT)["c"] == 30
    assert look(40, 80, at_s=5, status=RegionStatus.DOWN) == {"a": 10, "b": 20, "c": 0}


def test_steps_get_smaller_as_all_regions_fill_up() -> None:
    def followed(first: float, then: float) -> float:
        looking = Looking()
        looking.look(*served(a=first, b=first, c=first))
        return demand_of(looking.look(*served(a=then, b=first, c=first), seconds=60))["a"]

    assert followed(40, 44) == 40 and followed(95, 99) == pytest.approx(99, abs=0.1), "of 100 that each can serve"


def test_a_new_region_and_one_that_is_gone() -> None:
    looking = Looking()
    looking.look(*served(a=50, b=20, c=10))
    assert demand_of(looking.look(*served(a=50, b=20))) == {"a": 50, "b": 20}
    assert demand_of(looking.look(*served(a=50, b=20, c=5)))["c"] == 5
    silent = tuple(region(name, RegionStatus.SUSPECT, capacity=100.0) for name in NAMES)
    assert demand_of(looking.look(*silent)) == {"a": 50, "b": 20, "c": 5}, "nobody says anything: it stays"

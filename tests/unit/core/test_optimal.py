"""The strategy OPTIMAL: as near as there is room, and what every strategy obeys. [I8]"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from primacy_coordinator.core.causes import explain
from primacy_coordinator.core.model import RegionStatus, RoutingStrategy
from primacy_coordinator.core.planning import ASSUMED_USE, FILL, Site, capacities, demands, plan
from primacy_coordinator.core.routing import QUANTA, SERVES, RegionInput, WeightsInput, WeightsResult, weigh
from primacy_wire.instant import MILLISECOND_NS
from scipy.optimize import linprog

from tests.unit.core.test_routing import INPUTS, region, three

SIZES = st.sampled_from([0.0, 0.1, 1.0, 5.0, 50.0, 100.0, 1000.0]) | st.floats(0.01, 1e6)
RTTS = (
    ("a", "b", 20 * MILLISECOND_NS),
    ("a", "c", 90 * MILLISECOND_NS),
    ("b", "a", 20 * MILLISECOND_NS),
    ("b", "c", 80 * MILLISECOND_NS),
    ("c", "a", 90 * MILLISECOND_NS),
    ("c", "b", 80 * MILLISECOND_NS),
)


def abc(*given_: tuple[float, float], **values: object) -> tuple[RegionInput, ...]:
    """Regions a, b and c by (capacity, demand); a and b are near each other, c is far."""
    return tuple(
        region(name, location=None, capacity=capacity, demand=demand, **values)
        for name, (capacity, demand) in zip("abc", given_, strict=True)
    )


def result_of(regions: tuple[RegionInput, ...], **values: object) -> WeightsResult:
    plain = WeightsInput(RoutingStrategy.OPTIMAL, regions, "a", (), RTTS, 0.5, 1.4)
    return weigh(replace(plain, **values))  # type: ignore[arg-type]


def reads(regions: tuple[RegionInput, ...], **values: object) -> dict[str, dict[str, float]]:
    return {client: dict(row) for client, row in result_of(regions, **values).read}


def loads(regions: tuple[RegionInput, ...], **values: object) -> dict[str, float]:
    """Requests per second that each region gets."""
    demand = {r.name: r.demand for r in regions}
    rows = reads(regions, **values)
    return {r.name: sum(demand[client] * row[r.name] for client, row in rows.items()) for r in regions}


def changed(regions: tuple[RegionInput, ...], name: str, **values: object) -> tuple[RegionInput, ...]:
    return tuple(replace(r, **values) if r.name == name else r for r in regions)  # type: ignore[arg-type]


def test_while_all_fits_reads_stay_at_home() -> None:
    rows = reads(abc((100, 80), (100, 10), (100, 0)))
    assert [rows[name][name] for name in "abc"] == [1, 1, 1]


def test_what_is_too_much_goes_to_the_nearest_with_room_and_from_there_on() -> None:
    rows = reads(abc((100, 160), (100, 20), (100, 20)))
    assert rows["a"] == {"a": 0.5, "b": 0.375, "c": 0.125}
    assert rows["b"]["b"] == rows["c"]["c"] == 1


def test_who_moves_is_who_loses_least() -> None:
    """a's overflow pushes nobody out: b's own reads would have to go farther than a's saved."""
    regions = abc((100, 100), (100, 80), (100, 0))
    assert reads(regions)["a"] == {"a": 0.8, "b": 0, "c": 0.2}
    # But where b's reads lose less by going on to c than a's would, they make room for them.
    rtts = (*RTTS[:1], ("a", "c", 500 * MILLISECOND_NS), *RTTS[2:3], ("b", "c", 30 * MILLISECOND_NS), *RTTS[4:])
    rows = reads(regions, rtts=rtts)
    assert rows["a"] == {"a": 0.8, "b": 0.2, "c": 0} and rows["b"] == {"a": 0, "b": 0.75, "c": 0.25}


def test_headroom_is_kept_while_it_can_be_and_given_up_by_all_alike() -> None:
    assert loads(abc((100, 100), (100, 100), (100, 0))) == pytest.approx({"a": 80, "b": 80, "c": 40}, abs=0.2)
    assert loads(abc((100, 200), (100, 50), (100, 20))) == pytest.approx(dict.fromkeys("abc", 90), abs=0.3)
    full = abc((100, 250), (200, 200), (50, 75))
    assert loads(full) == pytest.approx({"a": 150, "b": 300, "c": 75}, abs=0.5), "each at one and a half"
    assert result_of(full).overload and not result_of(abc((100, 250), (200, 50), (50, 40))).overload


def test_an_idle_group_and_one_that_nobody_can_serve() -> None:
    rows = reads(abc((100, 0), (100, 0), (100, 0)))
    assert [rows[name][name] for name in "abc"] == [1, 1, 1]
    assert loads(abc((1e-300, 1e300), (1e-300, 1e300), (1e-300, 0)))["a"] > 0


@pytest.mark.parametrize("status", [RegionStatus.DOWN, RegionStatus.JOINING, RegionStatus.UNKNOWN])
def test_the_reads_of_a_region_that_does_not_serve_go_where_there_is_room(status: RegionStatus) -> None:
    regions = changed(abc((100, 60), (100, 50), (100, 0)), "a", status=status)
    assert reads(regions)["a"] == {"a": 0, "b": 0.5, "c": 0.5}


def test_health_scales_capacity_and_a_region_with_half_of_its_instances_is_filled_to_less_than_those_can() -> None:
    regions = changed(
        abc((100, 60), (100, 0), (100, 0)), "a", status=RegionStatus.DEGRADED, healthy_share=0.5
    )  # fmt: skip
    assert reads(regions)["a"]["a"] == pytest.approx(0.5 * FILL * 100 / 60, abs=0.001)
    assert reads(regions, overprovisioning=2.0) == reads(regions), "the headroom is that room"
    assert reads(changed(regions, "a", status=RegionStatus.SUSPECT))["a"]["a"] == 1, "not asked while it is SUSPECT"
    # With too few that look healthy, figures of health are not believed.
    panic = changed(changed(regions, "b", status=RegionStatus.DOWN), "c", status=RegionStatus.DOWN)
    assert result_of(panic).panic and reads(panic)["a"]["a"] == 1


@pytest.mark.parametrize("capacity", [0.0, 100.0, 10_000.0])
def test_a_region_on_its_way_back_begins_with_a_tenth_whatever_its_room(capacity: float) -> None:
    regions = abc((capacity, 40), (capacity, 20), (capacity, 20))
    assert reads(changed(regions, "a", ramp=0.1))["a"] == {"a": 0.1, "b": 0.9, "c": 0}
    assert reads(changed(regions, "a", ramp=0.5))["a"]["a"] == 0.5
    assert reads(changed(regions, "a", drain=0.25))["a"] == {"a": 0.25, "b": 0.75, "c": 0}
    assert reads(changed(regions, "a", drain=0.0))["a"] == {"a": 0, "b": 1, "c": 0}


def test_where_the_others_have_no_room_a_region_on_its_way_back_takes_a_part_of_its_capacity() -> None:
    """b and c take 80 each at most; what is left over is more than a tenth of what a would have."""
    regions = changed(abc((1000, 200), (100, 80), (100, 80)), "a", ramp=0.1)
    found = loads(regions)
    assert found == pytest.approx(dict.fromkeys("abc", 120), abs=0.5), "alike over their limits"


def test_a_drain_of_all_but_one_that_just_came_back() -> None:
    regions = changed(abc((100, 50), (100, 0), (100, 0)), "a", drain=0.5)
    regions = changed(changed(regions, "b", ramp=0.1), "c", status=RegionStatus.DOWN)
    row = reads(regions)["a"]
    assert row["a"] > row["b"] > 0


def test_pins_win_and_take_room() -> None:
    regions = abc((100, 60), (100, 60), (100, 0))
    pinned = (("b", (("a", 1.0),)),)
    rows = reads(regions, pins=pinned)
    assert rows["b"] == {"a": 1, "b": 0, "c": 0}
    assert rows["a"] == pytest.approx({"a": 20 / 60, "b": 40 / 60, "c": 0}, abs=0.001), "80 less the 60 that are pinned"
    dead = changed(regions, "a", status=RegionStatus.DOWN)
    assert reads(dead, pins=pinned)["b"]["b"] == 1, "a pin to a dead region is the policy's again"
    everybody = reads(regions, pins=(("", (("a", 0.5), ("c", 0.5))),))
    assert all(row == {"a": 0.5, "b": 0, "c": 0.5} for row in everybody.values())


def test_a_region_without_a_capacity_counts_like_the_others() -> None:
    assert capacities([0, 10, 30, 20]) == [20, 10, 30, 20]
    assert reads(abc((100, 160), (0, 0), (100, 0)))["a"] == {"a": 0.5, "b": 0.5, "c": 0}
    rows = reads(abc((0, 1000), (0, 20), (0, 20)))
    assert [rows[name][name] for name in "abc"] == [1, 1, 1], "nothing is known to be full"
    assert not result_of(abc((0, 1000), (0, 20), (0, 20))).overload


def test_without_capacities_health_and_round_trips_decide() -> None:
    regions = changed(
        abc((0, -1), (0, -1), (0, -1)), "a", status=RegionStatus.DEGRADED, healthy_share=0.25
    )  # fmt: skip
    assert reads(regions, overprovisioning=1.0)["a"] == {"a": 0.25, "b": 0.75, "c": 0}


def test_demand_that_nobody_knows() -> None:
    assert demands([-1, 10, 30], [1, 1, 1]) == [20, 10, 30]
    assert demands([-1, -1], [100, 200]) == [ASSUMED_USE * 100, ASSUMED_USE * 200]
    regions = abc((100, -1), (100, -1), (100, -1))
    assert [reads(regions)[name][name] for name in "abc"] == [1, 1, 1]
    # 70 of the 60 that the others have left are 10 too many, so each is filled a little more than planned.
    row = reads(changed(regions, "a", status=RegionStatus.DOWN))["a"]
    assert row == {"a": 0, "b": 0.5, "c": 0.5}


def test_home_is_nearer_than_a_neighbour_at_the_same_distance() -> None:
    rtts = tuple((one, other, MILLISECOND_NS) for one in "abc" for other in "abc" if one != other)
    rows = reads(abc((100, 20), (100, 20), (100, 20)), rtts=rtts)
    assert [rows[name][name] for name in "abc"] == [1, 1, 1]
    # Of regions that are alike the name decides.
    assert reads(abc((100, 90), (100, 20), (100, 20)), rtts=rtts)["a"] == {"a": 0.889, "b": 0.111, "c": 0}


def test_what_nobody_measured_is_told_by_places() -> None:
    regions = tuple(replace(r, demand=160.0 if r.name == "eu-west" else 10.0) for r in three())
    rows = weigh(WeightsInput(RoutingStrategy.OPTIMAL, regions, "", (), (), 0.5)).read
    assert dict(dict(rows)["eu-west"]) == {"ap-south": 0.063, "eu-west": 0.5, "us-east": 0.437}


def test_reasons_name_who_spills_where() -> None:
    regions = abc((100, 160), (100, 20), (100, 20))
    assert dict(result_of(regions).reasons) == {
        "a": "HEALTHY: has no room for all that it is nearest to: the rest goes to b, c",
        "b": "HEALTHY: takes what has no room nearer by from a",
        "c": "HEALTHY: takes what has no room nearer by from a",
    }
    assert dict(result_of(abc((100, 1), (100, 1), (100, 1))).reasons)["a"] == "HEALTHY: takes what it is nearest to"
    idle = dict(result_of(abc((100, 1), (100, 1), (100, 1)), pins=(("c", (("a", 1.0),)),)).reasons)
    assert idle["c"] == "HEALTHY: is nearest to none, and nothing spills to it"
    sick = changed(regions, "a", status=RegionStatus.DEGRADED, healthy_share=0.1)
    assert dict(result_of(sick).reasons)["a"].startswith(
        "DEGRADED: counts for 10%, its healthy instances; it has no room"
    )


def test_the_example_of_the_page_is_what_comes_out() -> None:
    page = (Path(__file__).parents[3] / "docs" / "weights.md").read_text(encoding="utf-8")
    far = {("ap-south", "eu-west"): 120, ("ap-south", "us-east"): 190, ("eu-west", "us-east"): 80}
    rtts = tuple((a, b, ms * MILLISECOND_NS) for (x, y), ms in far.items() for a, b in ((x, y), (y, x)))
    sizes = (("ap-south", 200.0, 60.0), ("eu-west", 100.0, 130.0), ("us-east", 100.0, 50.0))
    regions = tuple(region(name, capacity=capacity, demand=demand) for name, capacity, demand in sizes)
    given_ = WeightsInput(RoutingStrategy.OPTIMAL, regions, "us-east", (), rtts, 0.5, 1.4)
    result = weigh(given_)
    causes = {(client, name): parts for client, row in explain(given_, result.read) for name, parts in row}
    for client, row in result.read:
        for name, share in row:
            if share:
                because = " ".join(
                    f"{'−' if part < 0 else '+'} {cause} {abs(part) * 100:.1f} %"
                    for cause, part in causes[client, name]
                ).removeprefix("+ ")
                line = f"{client} {name} {share * 100:.1f} % {because}".replace(".0 %", " %")
                assert re.search(re.escape(line).replace(r"\ ", " +"), page), line
    for name, reason in result.reasons:
        assert re.search(f"^{name} +{re.escape(reason)}$", page, re.MULTILINE), reason
    dead = replace(given_, regions=changed(regions, "eu-west", status=RegionStatus.DOWN))
    row = dict(dict(weigh(dead).read)["eu-west"])
    assert {name: round(share * 130) for name, share in row.items()} == {"ap-south": 100, "eu-west": 0, "us-east": 30}


@given(INPUTS, st.lists(st.tuples(SIZES, SIZES), min_size=6, max_size=6))
@settings(deadline=None)
def test_no_region_gets_more_than_its_limit_and_none_is_worse_off_than_another(
    given_: WeightsInput, sizes: list[tuple[float, float]]
) -> None:
    regions = tuple(
        replace(r, capacity=capacity, demand=demand, ramp=1.0, healthy_share=1.0, status=RegionStatus.HEALTHY)
        for r, (capacity, demand) in zip(given_.regions, sizes, strict=False)
    )
    found = replace(given_, strategy=RoutingStrategy.OPTIMAL, regions=regions)
    capacity = dict(zip((r.name for r in regions), capacities([r.capacity for r in regions]), strict=True))
    demand = {r.name: r.demand for r in regions}
    total, room = sum(demand.values()), sum(capacity.values())
    fill = max(FILL, total / room)
    for name, limit in capacity.items():
        load = sum(demand[client] * dict(row)[name] for client, row in weigh(found).read)
        assert load <= limit * fill + total / QUANTA + 1e-6 * total


@given(
    st.lists(st.lists(st.integers(0, 50), min_size=4, max_size=4), min_size=1, max_size=5),
    st.lists(st.floats(0.1, 100), min_size=5, max_size=5),
    st.lists(st.floats(1, 100), min_size=4, max_size=4),
)
@settings(deadline=None)
def test_the_whole_latency_is_what_a_real_solver_finds(
    costs: list[list[int]], demand: list[float], capacity: list[float]
) -> None:
    demand = demand[: len(costs)]
    found = plan(costs, demand, [Site(requests) for requests in capacity])
    assert found is not None
    ours = sum(demand[c] * share * costs[c][s] for c, row in enumerate(found.rows) for s, share in row.items())
    fill = max(FILL, sum(demand) / sum(capacity))
    clients, places = len(costs), len(capacity)
    theirs = linprog(
        [cost for row in costs for cost in row],
        [[float(i % places == place) for i in range(clients * places)] for place in range(places)],
        [requests * fill * (1 + 1e-7) for requests in capacity],
        [[float(i // places == client) for i in range(clients * places)] for client in range(clients)],
        demand,
    )
    assert theirs.status == 0
    assert ours == pytest.approx(theirs.fun, rel=1e-4, abs=1e-4)


@given(INPUTS)
def test_it_is_given_to_the_dead_by_none_while_another_serves(given_: WeightsInput) -> None:
    found = replace(given_, strategy=RoutingStrategy.OPTIMAL)
    serving = {r.name for r in found.regions if r.status in SERVES}
    for _, row in weigh(found).read:
        assert not serving or {name for name, share in row if share} <= serving

"""What HAProxy is told: percentages that stand to each other as the shares do, and states that never stick."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_agent.core.agent_checks import answers, percents
from primacy_agent.core.traffic import Traffic

REGIONS = ("ap", "eu", "us")


def traffic(read: tuple[float, ...] = (0.1, 0.2, 0.7), write: tuple[float, ...] = (0, 0, 1), **more: object) -> Traffic:
    rows = {"read": tuple(zip(REGIONS, read, strict=True)), "write": tuple(zip(REGIONS, write, strict=True))}
    endpoints = tuple((region, f"{region}:80") for region in REGIONS)
    return Traffic("shop", "us", 7, 5, **{**rows, "endpoints": endpoints, **more})  # type: ignore[arg-type]


def test_a_line_names_the_group_the_class_and_the_region() -> None:
    told = answers(traffic())
    assert told["shop/us"] == told["us"] == "up ready 70%"
    assert (told["shop/ap"], told["shop/eu"]) == ("up ready 10%", "up ready 20%")
    assert (told["shop.write/us"], told["shop.write/eu"]) == ("up ready 100%", "up ready 0%")
    assert "default/us" not in told and "shop/mars" not in told


def test_a_drained_region_is_drained_once_it_has_no_share_left() -> None:
    assert answers(traffic(drained=("us",)))["shop/us"] == "up ready 70%"
    told = answers(traffic((0.3, 0.7, 0), drained=("us",)))
    assert told["shop/us"] == told["us"] == "up drain 0%"
    # Writes go to whoever is active, drained or not.
    assert told["shop.write/us"] == "up ready 100%"
    assert answers(traffic((0.3, 0.7, 0)))["shop/us"] == "up ready 0%", "no share and not drained"


def test_before_there_is_an_active_region_writes_go_nowhere() -> None:
    told = answers(traffic(write=(0, 0, 0)))
    assert {told[f"shop.write/{region}"] for region in REGIONS} == {"up ready 0%"}


def test_the_best_fallback_gets_nearly_all_of_what_the_others_cannot_serve() -> None:
    told = answers(traffic((0, 0, 1), fallback=("eu", "ap")))
    assert [told[f"shop.fallback/{region}"] for region in REGIONS] == ["up ready 1%", "up ready 100%", "up ready 0%"]


def test_a_region_that_left_the_group_gets_nothing_while_others_do() -> None:
    told = answers(traffic(), gone=("mars", "us"))
    assert {told[line] for line in ("mars", "shop/mars", "shop.write/mars", "shop.fallback/mars")} == {"up drain 0%"}
    assert told["us"] == "up ready 70%"
    assert "mars" not in answers(traffic((0, 0, 0)), gone=("mars",)), "nobody else has a share: nothing is changed"


@pytest.mark.parametrize(
    ("shares", "wanted"),
    [
        ((0.7, 0.2, 0.1), [70, 20, 10]),
        ((1 / 3, 1 / 3, 1 / 3), [33, 33, 33]),
        ((0.001, 0.0, 0.999), [1, 0, 100]),
        ((0.004, 0.004, 0.992), [1, 1, 99]),
        ((0, 0, 0), [0, 0, 0]),
        ((), []),
    ],
)
def test_percentages(shares: tuple[float, ...], wanted: list[int]) -> None:
    assert list(percents(tuple((f"r{n}", share) for n, share in enumerate(shares))).values()) == wanted


def test_many_small_shares_do_not_all_shrink() -> None:
    row = (("big", 0.56), *((f"r{n}", 0.044) for n in range(10)))
    rounded = percents(row)
    assert abs(100 * rounded["big"] / sum(rounded.values()) - 56) < 1


@given(st.lists(st.floats(0, 1, allow_nan=False), min_size=1, max_size=20))
def test_no_share_is_a_point_off_or_lost(weights: list[float]) -> None:
    total = sum(weights)
    row = tuple((f"r{n:02}", weight / total if total else 0.0) for n, weight in enumerate(weights))
    rounded = percents(row)
    raised = sum(1 for _, share in row if 0 < share < 0.005)
    for region, share in row:
        assert (rounded[region] > 0) == (share > 0)
        assert 0 <= rounded[region] <= 100
        if share:
            assert abs(100 * rounded[region] / sum(rounded.values()) - 100 * share) <= 1 + raised

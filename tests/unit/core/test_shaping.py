"""Weights that change without a jolt, and the causes of every share."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from primacy_coordinator.core.model import RegionStatus, RoutingStrategy
from primacy_coordinator.core.routing import QUANTA, Matrix, Shares, WeightsInput, usable_of, weigh
from primacy_coordinator.core.shaping import Shaped, is_urgent, shape
from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Load

from tests.unit.core.test_routing import INPUTS, region, three

QUANTUM = 1 / QUANTA


@st.composite
def rows(draw: st.DrawFn, names: str = "abcd") -> Shares:
    parts = draw(st.lists(st.integers(0, 100), min_size=len(names), max_size=len(names)).filter(any))
    left, found = QUANTA, []
    for part in parts[:-1]:
        taken = min(left, QUANTA * part // sum(parts))
        found.append(taken)
        left -= taken
    return tuple((name, quanta / QUANTA) for name, quanta in zip(names, (*found, left), strict=True))


def matrix(row: Shares) -> Matrix:
    return (("client", row),)


def far(one: Shares, other: Shares) -> float:
    return max(abs(share - dict(other)[name]) for name, share in one)


@given(rows(), rows(), st.integers(0, 20 * SECOND_NS), st.floats(0.01, 1), st.floats(0, 0.5))
def test_a_step_is_bounded_and_every_row_sums_to_one(
    start: Shares, wish: Shares, elapsed_ns: int, slew: float, hysteresis: float
) -> None:
    shaped = shape(Shaped(matrix(start), matrix(start)), matrix(wish), elapsed_ns, slew, hysteresis)
    ((_, row),) = shaped.rows
    assert abs(sum(share for _, share in row) - 1) < 1e-9 and all(share >= 0 for _, share in row)
    assert far(row, start) <= slew * elapsed_ns / SECOND_NS + 2 * QUANTUM
    ((_, goal),) = shaped.goals
    assert far(goal, wish) < max(hysteresis, 1e-9) or goal == wish, "what is followed is never far from what is wanted"


@given(rows(), rows(), st.floats(0.05, 1), st.floats(0, 0.3))
def test_a_wish_that_stays_is_reached(start: Shares, wish: Shares, slew: float, hysteresis: float) -> None:
    shaped = Shaped(matrix(start), matrix(start))
    for _ in range(int(1 / slew) + 3):
        shaped = shape(shaped, matrix(wish), SECOND_NS, slew, hysteresis)
    assert not shaped.is_moving and far(shaped.rows[0][1], wish) <= hysteresis


@given(rows(), rows())
def test_what_is_urgent_happens_at_once(start: Shares, wish: Shares) -> None:
    shaped = shape(Shaped(matrix(start), matrix(start)), matrix(wish), 0, 0.01, 0.5, urgent=True)
    assert shaped.rows == matrix(wish) and not shaped.is_moving


def test_noise_moves_nothing() -> None:
    still = (("a", 0.5), ("b", 0.5))
    shaped = Shaped(matrix(still), matrix(still))
    for part in (0.01, -0.015, 0.008, 0.0, -0.019):
        noisy = (("a", round(0.5 + part, 3)), ("b", round(0.5 - part, 3)))
        shaped = shape(shaped, matrix(noisy), SECOND_NS, 0.1, 0.02)
        assert shaped.rows == matrix(still)


def test_a_share_of_nothing_is_not_noise() -> None:
    shaped = Shaped(matrix((("a", 0.99), ("b", 0.01))), matrix((("a", 0.99), ("b", 0.01))))
    shaped = shape(shaped, matrix((("a", 1.0), ("b", 0.0))), SECOND_NS, 0.1, 0.02)
    assert shaped.rows == matrix((("a", 1.0), ("b", 0.0)))


def plain(regions: tuple[object, ...], **values: object) -> WeightsInput:
    return replace(
        WeightsInput(RoutingStrategy.ROUND_ROBIN, regions, "us-east", (), (), 0.5),  # type: ignore[arg-type]
        **values,  # type: ignore[arg-type]
    )


def test_what_is_urgent_and_what_is_not() -> None:
    well = plain(three())
    assert is_urgent(None, well)
    assert not is_urgent(well, well)
    dead = plain(three(eu_west=RegionStatus.DOWN))
    assert is_urgent(well, dead), "a region failed"
    assert not is_urgent(dead, well), "and came back"
    busy = plain(tuple(replace(r, load=Load(error_rate=0.2)) for r in three()))
    assert not is_urgent(well, busy), "figures are noise until a verdict says otherwise"
    assert is_urgent(well, plain(three(), pins=(("", (("eu-west", 1.0),)),)))
    drained = tuple(replace(r, drain=0.5) if r.name == "eu-west" else r for r in three())
    assert is_urgent(well, plain(drained))


@given(INPUTS, st.sets(st.integers(0, 5), max_size=6))
def test_a_drained_region_gets_nothing_and_only_all_drained_is_nowhere(given_: WeightsInput, which: set[int]) -> None:
    regions = tuple(replace(r, drain=0.0) if index in which else r for index, r in enumerate(given_.regions))
    found = replace(given_, regions=regions)
    drained = {r.name for r in regions if r.drain == 0}
    for _, row in weigh(found).read:
        assert all(share == 0 for name, share in row if name in drained)
        assert abs(sum(share for _, share in row) - (1 if usable_of(found) else 0)) < 1e-9


@given(st.integers(2, 6), st.floats(0, 0.99), st.floats(0, 0.01))
def test_a_small_change_of_health_moves_shares_by_little(count: int, errors: float, more: float) -> None:
    """A share is c/(c + rest), with c = 1 - error rate and rest >= 1: its slope is at most 1."""

    def share(error_rate: float) -> float:
        regions = tuple(region(name) for name in "abcdef"[:count])
        regions = (replace(regions[0], load=Load(error_rate=error_rate)), *regions[1:])
        given_ = replace(plain(regions), strategy=RoutingStrategy.HEALTH)
        return dict(weigh(given_).read[0][1])["a"]

    assert abs(share(errors + more) - share(errors)) <= more + 2 * QUANTUM

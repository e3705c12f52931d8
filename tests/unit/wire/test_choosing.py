"""Whom a read may go to, and where to try next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from primacy_wire.choosing import alternatives, reachable_row
from primacy_wire.picker import Picker

ROW = (("ap", 0.5), ("eu", 0.3), ("us", 0.2), ("za", 0.0))
KNOWN = {"ap": "ap:80", "eu": "eu:80", "us": "us:80", "za": "za:80"}


def test_with_every_endpoint_known_the_row_stays() -> None:
    assert reachable_row(ROW, KNOWN, ("za",)) == (ROW, ())


def test_a_region_without_endpoint_is_passed_over_while_another_has_one() -> None:
    row, passed = reachable_row(ROW, KNOWN | {"ap": ""}, ())
    assert (dict(row), passed) == ({"ap": 0.0, "eu": 0.3, "us": 0.2, "za": 0.0}, ("ap",))
    assert {Picker(row).pick(unit / 100) for unit in range(100)} == {"eu", "us"}


def test_the_first_fallback_with_an_endpoint_gets_what_nobody_of_the_row_can() -> None:
    row = (("ap", 1.0), ("eu", 0.0), ("us", 0.0))
    assert reachable_row(row, {"us": "us:80"}, ("eu", "us")) == ((("ap", 0.0), ("eu", 0.0), ("us", 1.0)), ("ap",))
    assert reachable_row(row, {}, ("eu", "us")) == (row, ()), "services that find each other by other means"


def test_alternatives_come_by_share_then_as_fallback_and_never_unfit() -> None:
    picker = Picker(ROW)
    assert alternatives(picker, "ap", ("za",), KNOWN) == ["eu", "us", "za"]
    assert alternatives(picker, "ap", ("za",), KNOWN, unfit={"eu"}) == ["us", "za"]
    assert alternatives(picker, "ap", ("za",), KNOWN | {"eu": ""}) == ["us", "za"]
    assert alternatives(picker, "ap", ("za",), {}) == ["eu", "us", "za"]
    assert alternatives(Picker((("ap", 1.0),)), "ap", ("ap",), KNOWN) == []


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=3),
    st.frozensets(st.sampled_from("abc")),
    st.permutations("abc"),
)
def test_nobody_without_endpoint_is_picked_while_somebody_who_may_have_it_has_one(
    shares: list[float], known: frozenset[str], fallback: list[str]
) -> None:
    row = tuple(zip("abc", shares, strict=True))
    endpoints = {name: f"{name}:80" for name in known}
    idle = [name for name in fallback if not dict(row)[name]]
    picked, passed = reachable_row(row, endpoints, idle)
    positive = {name for name, share in picked if share > 0}
    assert bool(positive) == any(share > 0 for share in shares)
    may = {name for name, share in row if share > 0} | set(idle)
    if positive and known & may:
        assert positive <= known
    assert positive.isdisjoint(passed)

"""Picks follow the shares, and keys stay where they are as long as they may."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from primacy_wire.picker import Picker

ROWS = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.001, 1), min_size=1).map(lambda d: tuple(d.items()))
KEYS = [f"user-{n}" for n in range(4000)]


@given(ROWS, st.floats(0, 1, exclude_max=True))
def test_only_a_region_with_a_share_is_picked(row: tuple[tuple[str, float], ...], unit: float) -> None:
    picker = Picker((*row, ("none", 0.0)))
    assert picker.pick(unit) in dict(row)
    assert picker.pick_affine(str(unit)) in dict(row)


@pytest.mark.parametrize("total", [1.0, 7.0])
def test_picks_follow_the_shares_whatever_they_add_up_to(total: float) -> None:
    picker = Picker((("a", 0.2 * total), ("b", 0.0), ("c", 0.8 * total)))
    counts = Counter(picker.pick(n / 1000) for n in range(1000))
    assert counts == {"a": 200, "c": 800}


@pytest.mark.parametrize("row", [{"a": 0.25, "b": 0.75}, {"a": 0.02, "b": 0.18, "c": 0.3, "d": 0.5}])
def test_keys_follow_the_shares(row: dict[str, float]) -> None:
    counts = Counter(Picker(row.items()).pick_affine(key) for key in KEYS)
    for name, share in row.items():
        deviation = (share * (1 - share) / len(KEYS)) ** 0.5
        assert abs(counts[name] / len(KEYS) - share) < 4 * deviation


@given(ROWS, st.text(max_size=20), st.randoms(use_true_random=False))
def test_a_key_goes_the_same_way_in_whatever_order_the_row_is(
    row: tuple[tuple[str, float], ...], key: str, random: Random
) -> None:
    shuffled = list(row)
    random.shuffle(shuffled)
    assert Picker(row).pick_affine(key) == Picker(shuffled).pick_affine(key)


def test_a_key_that_is_no_valid_text_is_picked_for_like_any_other() -> None:
    assert Picker((("a", 0.5), ("b", 0.5))).pick_affine("\udc80") in {"a", "b"}


def test_only_keys_that_must_move_do() -> None:
    before = Picker((("a", 0.5), ("b", 0.3), ("c", 0.2)))
    after = Picker((("a", 0.5), ("b", 0.3), ("c", 0.0)))
    moved = [key for key in KEYS if before.pick_affine(key) != after.pick_affine(key)]
    assert all(before.pick_affine(key) == "c" for key in moved)
    assert 0.17 < len(moved) / len(KEYS) < 0.23


@given(ROWS, st.sampled_from("abcdef"), st.floats(0.001, 1), st.text(max_size=8))
def test_when_one_region_is_given_more_keys_move_to_it_alone(
    row: tuple[tuple[str, float], ...], favoured: str, more: float, key: str
) -> None:
    shares = dict(row)
    after = shares | {favoured: shares.get(favoured, 0.0) + more}
    before_pick, after_pick = Picker(row).pick_affine(key), Picker(after.items()).pick_affine(key)
    assert after_pick in {before_pick, favoured}


def test_a_shift_of_a_tenth_moves_a_tenth_of_the_keys() -> None:
    before = Picker((("a", 0.5), ("b", 0.3), ("c", 0.2)))
    after = Picker((("a", 0.4), ("b", 0.3), ("c", 0.3)))
    moved = sum(before.pick_affine(key) != after.pick_affine(key) for key in KEYS)
    # A tenth must move. What one region alone gives up reaches the others by their shares, so a little more does.
    assert 0.09 < moved / len(KEYS) < 0.16


@settings(max_examples=30, deadline=None)
@given(ROWS, ROWS)
def test_a_change_moves_only_the_share_that_must_move(
    before: tuple[tuple[str, float], ...], after: tuple[tuple[str, float], ...]
) -> None:
    """No key moves from a region that lost nothing against another to that other, and few more than must move."""
    old, new = dict(before), dict(after)
    names = old.keys() | new.keys()
    growth = {name: new.get(name, 0.0) / old[name] if old.get(name) else math.inf for name in names}
    picks = [(Picker(before).pick_affine(key), Picker(after).pick_affine(key)) for key in KEYS[:1000]]
    for one, other in picks:
        assert one == other or growth[other] > growth[one], "to whoever grew more, and to nobody else"
    moved = sum(one != other for one, other in picks) / len(picks)
    shares = {name: (old.get(name, 0) / sum(old.values()), new.get(name, 0) / sum(new.values())) for name in names}
    must = sum(max(0.0, share - was) for was, share in shares.values())
    error = 4 * (0.25 / len(picks)) ** 0.5
    assert must - error <= moved <= 2 * must + error, "at most what all regions together gave up and got"


@given(ROWS.filter(lambda row: len(row) > 1), st.data())
def test_when_a_region_dies_only_its_keys_move(row: tuple[tuple[str, float], ...], data: st.DataObject) -> None:
    dead = data.draw(st.sampled_from([name for name, _ in row]))
    before, after = Picker(row), Picker((name, 0.0 if name == dead else share) for name, share in row)
    for key in KEYS[:200]:
        if before.pick_affine(key) != dead:
            assert after.pick_affine(key) == before.pick_affine(key)


def test_the_smallest_shares_are_picked_for_as_well() -> None:
    picker = Picker((("a", 5e-324), ("b", 5e-324)))
    assert {picker.pick_affine(key) for key in KEYS[:50]} <= {"a", "b"}


def test_an_empty_row_picks_nobody() -> None:
    picker = Picker((("a", 0.0),))
    assert not picker
    with pytest.raises(LookupError):
        picker.pick(0.5)
    with pytest.raises(LookupError):
        picker.pick_affine("key")


def test_alternatives_come_by_share() -> None:
    assert Picker((("a", 0.2), ("b", 0.5), ("c", 0.3))).alternatives("b") == ("c", "a")

"""Picks follow the shares, and keys stay where they are as long as they may."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_wire.picker import Picker

ROWS = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.001, 1), min_size=1).map(lambda d: tuple(d.items()))
KEYS = [f"user-{n}" for n in range(4000)]


@given(ROWS, st.floats(0, 1, exclude_max=True))
def test_only_a_region_with_a_share_is_picked(row: tuple[tuple[str, float], ...], unit: float) -> None:
    picker = Picker((*row, ("none", 0.0)))
    assert picker.pick(unit) in dict(row)
    assert picker.pick_affine(str(unit)) in dict(row)


def test_picks_follow_the_shares() -> None:
    picker = Picker((("a", 0.2), ("b", 0.0), ("c", 0.8)))
    counts = Counter(picker.pick(n / 1000) for n in range(1000))
    assert counts == {"a": 200, "c": 800}


def test_keys_follow_the_shares() -> None:
    counts = Counter(Picker((("a", 0.25), ("b", 0.75))).pick_affine(key) for key in KEYS)
    assert 0.22 < counts["a"] / len(KEYS) < 0.28


def test_only_keys_that_must_move_do() -> None:
    before = Picker((("a", 0.5), ("b", 0.3), ("c", 0.2)))
    after = Picker((("a", 0.5), ("b", 0.3), ("c", 0.0)))
    moved = [key for key in KEYS if before.pick_affine(key) != after.pick_affine(key)]
    assert all(before.pick_affine(key) == "c" for key in moved)


def test_an_empty_row_picks_nobody() -> None:
    picker = Picker((("a", 0.0),))
    assert not picker
    with pytest.raises(LookupError):
        picker.pick(0.5)
    with pytest.raises(LookupError):
        picker.pick_affine("key")


def test_alternatives_come_by_share() -> None:
    assert Picker((("a", 0.2), ("b", 0.5), ("c", 0.3))).alternatives("b") == ("c", "a")

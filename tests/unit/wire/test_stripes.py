"""Stripes: everybody finds the same owners, each has its share, and who is away loses it to the others."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from primacy_wire.stripes import share_out, share_out_again

AGENTS = st.lists(st.sampled_from([f"r{number}/a" for number in range(12)]), min_size=1, unique=True)
SHARES = AGENTS.flatmap(
    lambda agents: st.tuples(*(st.tuples(st.just(agent), st.integers(0, 2**40)) for agent in agents))
)


@given(st.integers(0, 300), SHARES, st.randoms(use_true_random=False))
def test_the_order_in_which_shares_are_told_does_not_matter(
    count: int, shares: tuple[tuple[str, int], ...], draw: random.Random
) -> None:
    mixed = list(shares)
    draw.shuffle(mixed)
    owners = share_out(range(count), shares)
    assert owners == share_out(reversed(range(count)), mixed)
    assert owners.keys() == set(range(count)) and set(owners.values()) <= {agent for agent, _ in shares}


def test_each_gets_its_share_at_any_length() -> None:
    shares = [("ap/a", 40), ("eu/a", 30), ("sa/a", 10), ("us/a", 20)]
    for count in (50, 256, 1024, 5000):
        found = Counter(share_out(range(count), shares).values())
        for agent, weight in shares:
            assert abs(found[agent] - count * weight / 100) <= 3, (count, found)


def test_who_was_not_measured_counts_as_the_mean_and_nobody_starves() -> None:
    found = Counter(share_out(range(1000), [("a/a", 300), ("b/a", 0), ("c/a", 100)]).values())
    assert abs(found["b/a"] - 333) < 5
    assert Counter(share_out(range(1000), [("a/a", 10**9), ("b/a", 1)]).values())["b/a"] > 5
    assert share_out(range(5), []) == {}


@given(st.integers(1, 400), SHARES, st.data())
def test_the_others_keep_what_is_theirs_and_share_what_is_left(
    count: int, shares: tuple[tuple[str, int], ...], data: st.DataObject
) -> None:
    away = data.draw(st.sets(st.sampled_from([agent for agent, _ in shares])))
    before, after = share_out(range(count), shares), share_out_again(range(count), shares, away)
    left = {agent for agent, _ in shares} - away
    assert all(after[piece] == owner for piece, owner in before.items() if owner not in away)
    if left:
        assert set(after.values()) <= left
    else:
        assert after == before


def test_orphans_are_spread_over_all_that_are_left() -> None:
    shares = [(f"r{number}/a", 1) for number in range(5)]
    before, after = share_out(range(500), shares), share_out_again(range(500), shares, ["r2/a"])
    taken = Counter(after[piece] for piece, owner in before.items() if owner == "r2/a")
    assert len(taken) == 4 and max(taken.values()) - min(taken.values()) <= 4

"""What an agent does to its reads by itself: static stability [I6], and no blind panic [I8]."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from primacy_agent.core.observing import Sight
from primacy_agent.core.shunning import dead_regions, nearest_first, without


def seen(region: str, misses: int = 0, agent: str = "", serving: bool = True, rtt_ns: int = 10) -> Sight:
    return Sight(region, agent, "127.0.0.1:1", misses == 0, rtt_ns, 1, misses, serving)


@pytest.mark.parametrize(
    ("sights", "dead"),
    [
        ([seen("eu")], set()),
        ([seen("eu", misses=1)], set()),
        ([seen("eu", misses=2)], {"eu"}),
        # The endpoint is the way that clients take: an agent that still answers does not save it, nor does a dead one
        # condemn it.
        ([seen("eu", misses=2), seen("eu", agent="eu/one")], {"eu"}),
        ([seen("eu"), seen("eu", misses=9, agent="eu/one")], set()),
        # Without an endpoint all agents must be lost.
        ([seen("eu", misses=2, agent="eu/one"), seen("eu", misses=1, agent="eu/two")], set()),
        ([seen("eu", misses=2, agent="eu/one"), seen("eu", misses=2, agent="eu/two")], {"eu"}),
        # The port is open, but all who answer say that nothing works behind it.
        ([seen("eu"), seen("eu", agent="eu/one", serving=False)], {"eu"}),
        ([seen("eu"), seen("eu", agent="eu/one", serving=False), seen("eu", agent="eu/two")], set()),
    ],
)
def test_who_is_dead_to_this_agent(sights: list[Sight], dead: set[str]) -> None:
    assert dead_regions(sights, "us", own_is_down=False) == dead
    assert dead_regions(sights, "us", own_is_down=True) == dead | {"us"}


def test_shares_of_the_dead_go_to_the_others_in_proportion() -> None:
    row = (("ap", 0.5), ("eu", 0.3), ("us", 0.2))
    assert dict(without(row, frozenset({"ap"}), ())) == pytest.approx({"ap": 0.0, "eu": 0.6, "us": 0.4})


def test_when_all_the_share_was_theirs_the_nearest_gets_it() -> None:
    row = (("ap", 0.0), ("eu", 1.0), ("us", 0.0))
    order = nearest_first([seen("eu", rtt_ns=1), seen("ap", rtt_ns=90), seen("zz", rtt_ns=-1)], "us")
    assert order == ("us", "eu", "ap")
    assert dict(without(row, frozenset({"eu"}), order)) == {"ap": 0.0, "eu": 0.0, "us": 1.0}
    assert dict(without(row, frozenset({"eu", "us"}), order)) == {"ap": 1.0, "eu": 0.0, "us": 0.0}


NAMES = ("a", "b", "c", "d")


@given(
    shares=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    dead=st.frozensets(st.sampled_from(NAMES)),
    order=st.permutations(NAMES),
)
@example(shares=[0.0, 0.0, 0.0, 1e-178], dead=frozenset("a"), order=list(NAMES))  # its square is 0
@example(shares=[1.0, 0.0, 0.0, 5e-324], dead=frozenset("a"), order=list(NAMES))  # one part of it is infinite
def test_a_row_keeps_its_sum_and_moves_only_if_somebody_is_left(
    shares: list[float], dead: frozenset[str], order: list[str]
) -> None:
    row = tuple(zip(NAMES, shares, strict=True))
    shifted = without(row, dead, order)
    assert [name for name, _ in shifted] == list(NAMES)
    assert math.isclose(sum(share for _, share in shifted), sum(shares), rel_tol=1e-9, abs_tol=1e-300)
    if dead == set(NAMES):
        assert shifted == row
    else:
        assert all(share == 0 for name, share in shifted if name in dead)

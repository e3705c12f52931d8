"""What an agent does to its reads by itself: static stability [I6], and no blind panic [I8]."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from primacy_agent.core.observing import Sight
from primacy_agent.core.shunning import Shift, dead_regions, nearest_first, news_of, shifted

RTT_NS = 10
GOOD, LOST, REFUSED, DOWN = "good", "lost", "refused", "down"


def seen(region: str, *looks: str, agent: str = "", rtt_ns: int = RTT_NS) -> Sight:
    """After these looks, in this order."""
    sight = Sight(region, agent, f"{region}.example:80")
    for number, look in enumerate(looks, 1):
        reached = look in (GOOD, DOWN)
        sight = sight.after(reached, rtt_ns, number, look != DOWN, look == REFUSED, look if look != GOOD else "")
    return sight


@pytest.mark.parametrize(
    ("sights", "dead"),
    [
        ([seen("eu", GOOD)], set()),
        ([seen("eu", GOOD, LOST)], set()),
        ([seen("eu", GOOD, LOST, LOST)], {"eu"}),
        # A refused connection leaves no doubt.
        ([seen("eu", GOOD, REFUSED)], {"eu"}),
        # One good look may be luck.
        ([seen("eu", LOST, LOST, GOOD)], {"eu"}),
        ([seen("eu", LOST, LOST, GOOD, GOOD)], set()),
        ([seen("eu", LOST, LOST, GOOD, LOST, GOOD)], {"eu"}),
        # The endpoint is the way that clients take: an agent that still answers does not save it, nor does a dead one
        # condemn it.
        ([seen("eu", LOST, LOST), seen("eu", GOOD, agent="eu/one")], {"eu"}),
        ([seen("eu", GOOD), seen("eu", *[LOST] * 9, agent="eu/one")], set()),
        # Without an endpoint all agents must be lost.
        ([seen("eu", LOST, LOST, agent="eu/one"), seen("eu", LOST, agent="eu/two")], set()),
        ([seen("eu", LOST, LOST, agent="eu/one"), seen("eu", LOST, LOST, agent="eu/two")], {"eu"}),
        # Who was not looked at yet is not dead: an endpoint, and one of the agents.
        ([seen("eu"), seen("eu", LOST, LOST, agent="eu/one")], set()),
        ([seen("eu", LOST, LOST, agent="eu/one"), seen("eu", agent="eu/two")], set()),
        # The port is open, but all who speak say that nothing works behind it.
        ([seen("eu", GOOD), seen("eu", DOWN, agent="eu/one")], {"eu"}),
        ([seen("eu", GOOD), seen("eu", DOWN, agent="eu/one"), seen("eu", GOOD, agent="eu/two")], set()),
        # What they said stands until they say better twice, or are lost themselves.
        ([seen("eu", GOOD), seen("eu", DOWN, LOST, agent="eu/one")], {"eu"}),
        ([seen("eu", GOOD), seen("eu", DOWN, GOOD, agent="eu/one")], {"eu"}),
        ([seen("eu", GOOD), seen("eu", DOWN, GOOD, GOOD, agent="eu/one")], set()),
        ([seen("eu", GOOD), seen("eu", DOWN, LOST, LOST, agent="eu/one")], set()),
    ],
)
def test_who_is_dead_to_this_agent(sights: list[Sight], dead: set[str]) -> None:
    assert set(dead_regions(sights, "us", own_is_down=False)) == dead
    assert set(dead_regions(sights, "us", own_is_down=True)) == dead | {"us"}


def test_why_a_region_is_dead_is_said() -> None:
    sights = [
        seen("ap", LOST, REFUSED),
        seen("eu", GOOD), seen("eu", DOWN, agent="eu/one"),
        seen("sa", LOST, LOST, agent="sa/one"),
    ]  # fmt: skip
    assert dead_regions(sights, "us", own_is_down=True) == {
        "us": "its own instances are down",
        "ap": "ap.example:80: refused",
        "eu": "its agents say that its instances are down",
        "sa": "none of its agents can be reached: lost",
    }


def test_the_endpoint_of_an_own_region_that_others_share_decides() -> None:
    assert not dead_regions([seen("us", GOOD)], "us", own_is_down=True)
    assert set(dead_regions([seen("us", REFUSED)], "us", own_is_down=False)) == {"us"}


def test_a_look_that_does_not_agree_with_the_verdict_wants_another_one_soon() -> None:
    assert [seen("eu", *looks).is_settled for looks in ([GOOD], [GOOD, LOST], [GOOD, LOST, LOST], [REFUSED])] == [
        True, False, True, True,
    ]  # fmt: skip
    assert [seen("eu", *looks).is_settled for looks in ([REFUSED, GOOD], [REFUSED, GOOD, GOOD])] == [False, True]
    assert [seen("eu", *looks, agent="eu/one").is_settled for looks in ([DOWN], [DOWN, GOOD])] == [True, False]


def test_shares_of_the_dead_go_to_the_others_in_proportion() -> None:
    row = (("ap", 0.5), ("eu", 0.3), ("us", 0.2))
    shift = shifted(row, {"ap"}, (), (), 1.0)
    assert dict(shift.row) == pytest.approx({"ap": 0.0, "eu": 0.6, "us": 0.4})
    assert (shift.shunned, shift.moved) == (("ap",), 0.5)
    assert dict(shift.heirs) == pytest.approx({"eu": 0.3, "us": 0.2})


def test_no_more_than_the_limit_moves_and_from_each_in_proportion() -> None:
    row = (("ap", 0.4), ("eu", 0.4), ("us", 0.2))
    assert dict(shifted(row, {"ap", "eu"}, (), (), 0.4).row) == pytest.approx({"ap": 0.2, "eu": 0.2, "us": 0.6})
    assert shifted(row, {"ap", "eu"}, (), (), 0.0) == Shift(row)


def test_a_drained_region_keeps_what_it_has_and_gets_nothing() -> None:
    row = (("ap", 0.5), ("eu", 0.3), ("us", 0.2))
    assert dict(shifted(row, {"ap"}, (), {"eu"}, 1.0).row) == pytest.approx({"ap": 0.0, "eu": 0.3, "us": 0.7})
    assert shifted((("ap", 1.0), ("eu", 0.0)), {"ap"}, ("eu",), {"eu"}, 1.0).shunned == ()


def test_when_all_the_share_was_theirs_the_first_who_may_gets_it() -> None:
    row = (("ap", 0.0), ("eu", 1.0), ("us", 0.0))
    order = nearest_first([seen("eu", GOOD, rtt_ns=1), seen("ap", GOOD, rtt_ns=90), seen("zz", LOST)], "us")
    assert order == ("us", "eu", "ap")
    assert dict(shifted(row, {"eu"}, order, (), 1.0).row) == {"ap": 0.0, "eu": 0.0, "us": 1.0}
    assert dict(shifted(row, {"eu", "us"}, order, (), 1.0).row) == {"ap": 1.0, "eu": 0.0, "us": 0.0}
    # Who is not named, the coordinator would not have sent reads to.
    assert shifted(row, {"eu"}, (), (), 1.0) == Shift(row)
    assert shifted(row, {"eu"}, ("unheard-of",), (), 1.0) == Shift(row)


def test_where_room_is_known_what_moves_goes_by_it() -> None:
    """Whoever has a share is not meant: it may be full. Nor is who is nearest."""
    row = (("ap", 0.0), ("eu", 0.9), ("sa", 0.0), ("us", 0.1))
    room = (("ap", 0.6), ("eu", 0.0), ("sa", 0.2), ("us", 0.2))
    assert dict(shifted(row, {"eu"}, ("us",), (), 1.0, room).row) == pytest.approx(
        {"ap": 0.54, "eu": 0.0, "sa": 0.18, "us": 0.28}
    )
    # Those that are dead as well, drained or gone from the row leave theirs to the others.
    assert dict(shifted(row, {"eu", "ap"}, (), {"sa"}, 1.0, (*room, ("zz", 9.0))).row)["us"] == pytest.approx(1.0)
    assert dict(shifted(row, {"ap", "eu", "us"}, (), (), 1.0, (("us", 1.0),)).row) == dict(row)


def test_cut_off_from_all_others_its_own_region_gets_the_reads_if_it_may() -> None:
    row = (("ap", 0.5), ("eu", 0.5), ("us", 0.0))
    assert dict(shifted(row, {"ap", "eu"}, ("us",), (), 1.0).row)["us"] == 1.0
    assert shifted(row, {"ap", "eu"}, ("us",), {"us"}, 1.0) == Shift(row)


def test_what_the_journal_is_told() -> None:
    row = (("ap", 0.5), ("eu", 0.3), ("us", 0.2))
    whole = Shift(row)
    dead = {"ap": "refused"}
    shift = shifted(row, dead, (), (), 1.0)
    began = news_of(whole, shift, dead)
    assert began is not None and (began.name, began.warning) == ("local-shift", True)
    assert began.text == "moves 50.0% of its reads away from ap (refused): to eu 30.0%, us 20.0%"
    assert news_of(shift, shift, dead) is None
    assert news_of(whole, whole, dead) is None
    more = shifted(row, dead | {"eu": "lost"}, (), (), 1.0)
    changed = news_of(shift, more, dead | {"eu": "lost"})
    assert changed is not None and changed.name == "local-shift"

    def ended(after: Shift, dead: dict[str, str]) -> str:
        news = news_of(shift, after, dead)
        assert news is not None and news.name == "local-shift-ended"
        return news.text

    assert ended(whole, {}) == "ap can be reached again: reads follow the weights"
    newer = shifted((("ap", 0.0), ("eu", 0.6), ("us", 0.4)), dead, (), (), 1.0)
    assert newer.shunned == ()
    assert ended(newer, dead) == "the weights give ap nothing any more: reads follow them"
    assert "no region is left" in ended(whole, dead | {"eu": "lost", "us": "down"})


NAMES = ("a", "b", "c", "d")


@given(
    shares=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    dead=st.frozensets(st.sampled_from(NAMES)),
    drained=st.frozensets(st.sampled_from(NAMES)),
    order=st.permutations(NAMES).flatmap(lambda names: st.integers(0, 4).map(lambda count: names[:count])),
    limit=st.floats(0, 1) | st.just(1.0),
    parts=st.just(()) | st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
@example([0.0, 0.0, 0.0, 1e-178], frozenset("a"), frozenset(), list(NAMES), 1.0, ())  # its square is 0
@example([1.0, 0.0, 0.0, 5e-324], frozenset("a"), frozenset(), list(NAMES), 1.0, ())  # one part of it is infinite
@example([5e-324, 0.0, 0.0, 5e-324], frozenset("a"), frozenset(), list(NAMES), 0.5, ())
def test_a_shift_keeps_the_sum_and_its_limits_and_gives_nothing_to_who_may_not(
    shares: list[float],
    dead: frozenset[str],
    drained: frozenset[str],
    order: list[str],
    limit: float,
    parts: Sequence[float],
) -> None:
    row = tuple(zip(NAMES, shares, strict=True))
    total = sum(shares)
    shift = shifted(row, dead, order, drained, limit, tuple(zip(NAMES, parts, strict=False)))
    now = dict(shift.row)
    assert [name for name, _ in shift.row] == list(NAMES)
    assert math.isclose(sum(now.values()), total, rel_tol=1e-9, abs_tol=1e-300)
    taken = sum(share - now[name] for name, share in row if name in dead)
    assert taken <= limit * total * (1 + 1e-9) + 1e-300
    for name, share in row:
        assert now[name] >= 0
        assert now[name] <= share if name in dead | drained else now[name] >= share
        assert name not in dead or name in drained or now[name] == share or name in shift.shunned
    if dead == set(NAMES):
        assert shift == Shift(row), "when everything looks dead, nothing moves [I8]"
    heirs = [name for name, share in row if name not in dead | drained and (share > 0 or name in order)]
    if heirs and limit == 1:
        assert all(now[name] == 0 for name in dead), "all of it moves as soon as anybody may have it [I6]"

"""Which piece is asked of whom: holders for what is owned here and nobody else has, peers for what they have."""

from __future__ import annotations

import random
import time

from hypothesis import given
from hypothesis import strategies as st
from primacy_agent.transfer.pieces import PIECE_BYTES_MAX, PIECE_CHUNKS_MAX, cut_pieces
from primacy_agent.transfer.sources import Source
from primacy_agent.transfer.work import Work

ME, OTHER = "us/a", "eu/a"


def holder(agent: str = "ap/a") -> Source:
    return Source(agent, holder=True, near=False, complete=True)


def peer(agent: str = OTHER) -> Source:
    return Source(agent, holder=False, near=False)


def work(count: int = 6) -> Work:
    """Even pieces are owned here, odd ones by another one."""
    found = Work(ME, range(count), random.Random(1))
    found.own({piece: (ME, OTHER)[piece % 2] for piece in range(count)})
    return found


def all_of(found: Work, source: Source, peers: tuple[Source, ...] = (), anything: bool = False) -> list[int]:
    taken = []
    while (piece := found.next_for(source, peers, anything)) is not None:
        found.asked(piece)
        taken.append(piece)
    return taken


def test_a_holder_is_asked_for_what_is_owned_here_in_order() -> None:
    assert all_of(work(), holder()) == [0, 2, 4]


def test_a_holder_is_asked_for_anything_when_that_is_allowed_what_is_owned_here_first() -> None:
    assert all_of(work(), holder(), anything=True) == [0, 2, 4, 1, 3, 5]


def test_what_a_live_peer_has_by_now_is_left_to_it() -> None:
    found, other = work(), peer()
    found.heard(other, [2, 3], complete=False)
    assert all_of(found, holder(), (other,)) == [0, 4]
    assert sorted(all_of(found, other)) == [2, 3]


def test_what_only_a_failed_peer_has_is_asked_of_a_holder() -> None:
    found, other = work(), peer()
    found.heard(other, [2], complete=False)
    other.failed("UNAVAILABLE")
    assert all_of(found, holder(), (other,)) == [0, 2, 4]


def test_a_peer_is_asked_for_what_it_has_each_once() -> None:
    found, one, two = work(), peer("a/a"), peer("b/a")
    found.heard(one, [1, 2, 3], complete=False)
    found.heard(two, [1, 2, 3], complete=False)
    first = all_of(found, one)
    assert sorted(first) == [1, 2, 3] and all_of(found, two) == []


def test_a_peer_that_has_all_of_it_is_asked_for_anything() -> None:
    found, other = work(), peer()
    found.heard(other, [], complete=True)
    assert sorted(all_of(found, other)) == list(range(6))


def test_what_did_not_come_is_open_again_for_all_that_have_it() -> None:
    found, one, two = work(), peer("a/a"), peer("b/a")
    for source in (one, two):
        found.heard(source, [1], complete=False)
    assert all_of(found, one) == [1]
    assert all_of(found, two) == []
    found.returned(1, [one, two])
    one.lacks.add(1)
    assert all_of(found, one) == [] and all_of(found, two) == [1]


def test_a_holder_that_lacks_a_piece_leaves_it_to_another_one() -> None:
    found, one, two = work(), holder("a/a"), holder("b/a")
    one.lacks.add(0)
    assert all_of(found, one) == [2, 4] and all_of(found, two) == [0]


def test_only_one_more_takes_over_what_another_one_is_quiet_about() -> None:
    found, one, two = work(), holder("a/a"), holder("b/a")
    found.asked(0)
    assert found.may_take_over(one, 0, anything=False)
    assert not found.may_take_over(one, 1, anything=False), "it is owned by another one"
    found.asked(0)
    assert not found.may_take_over(two, 0, anything=True)


def test_a_source_that_failed_rests_longer_each_time_and_a_liar_for_good() -> None:
    source = holder()
    source.failed("UNAVAILABLE")
    first = source.rest_until - time.monotonic()
    source.failed("UNAVAILABLE")
    assert source.rest_until - time.monotonic() > first > 0
    assert not source.gives(0)
    source.rest_until = 0.0
    assert source.gives(0)
    source.failed("it lied", lied=True)
    source.rest_until = 0.0
    assert not source.gives(0)


@given(st.lists(st.integers(1, 256 * 1024), max_size=2_000))
def test_pieces_are_all_chunks_in_order_and_of_a_bounded_size(lengths: list[int]) -> None:
    pieces = cut_pieces(lengths)
    assert [index for piece in pieces for index in piece] == list(range(len(lengths)))
    for piece in pieces:
        assert 0 < len(piece) <= PIECE_CHUNKS_MAX
        assert len(piece) == 1 or sum(lengths[index] for index in piece) <= PIECE_BYTES_MAX


@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_whatever_happens_everything_comes_and_nothing_is_forgotten(draw: random.Random, count: int) -> None:
    """Requests succeed and fail in any order, owners change, peers get pieces: at the end nothing is open or lost."""
    found = Work(ME, range(count), draw)
    sources = [holder(), peer("a/a"), peer("b/a")]
    found.own({piece: draw.choice([ME, "a/a", "b/a"]) for piece in range(count)})
    under_way: list[int] = []
    for _ in range(10 * count):
        source = draw.choice(sources)
        what = draw.random()
        if what < 0.4 and (piece := found.next_for(source, sources[1:], anything=False)) is not None:
            found.asked(piece)
            under_way.append(piece)
        elif what < 0.6 and under_way:
            piece = under_way.pop(draw.randrange(len(under_way)))
            if draw.random() < 0.5:
                found.came(piece)
            found.returned(piece, sources)
        elif what < 0.8:
            found.heard(draw.choice(sources[1:]), [draw.randrange(count)], complete=False)
        elif what < 0.85:
            found.own({piece: draw.choice([ME, "a/a", "b/a"]) for piece in range(count)})
    for piece in under_way:
        found.returned(piece, sources)
    assert sorted(all_of(found, sources[0], anything=True)) == sorted(found.todo)

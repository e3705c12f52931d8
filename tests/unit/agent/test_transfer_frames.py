"""Frames by hand are the message of the contract: what one writes the other reads, and nonsense is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy.agent.v1 import peer_service_pb2 as pb
from primacy_agent.transfer import frames

CHUNKS = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20)
FIRST = st.integers(0, 2**31 - 1)


@given(FIRST, CHUNKS)
def test_the_generated_code_reads_what_is_written_by_hand(first: int, chunks: list[bytes]) -> None:
    found = pb.FetchChunksResponse.FromString(frames.encode(first, chunks))
    assert (found.data, found.first) == (b"".join(chunks), first)
    assert list(found.lengths) == [len(chunk) for chunk in chunks]


@given(FIRST, CHUNKS)
def test_what_the_generated_code_writes_is_read_by_hand(first: int, chunks: list[bytes]) -> None:
    message = pb.FetchChunksResponse(data=b"".join(chunks), first=first, lengths=[len(chunk) for chunk in chunks])
    found = frames.decode(message.SerializeToString())
    assert [(index, bytes(data)) for index, data in found.chunks()] == list(enumerate(chunks, first))


def test_fields_of_a_later_version_and_lengths_one_by_one_are_taken() -> None:
    unknown = b"\x22\x02hi" + b"\x2d\x01\x02\x03\x04" + b"\x31" + bytes(8) + b"\x38\x96\x01"
    one_by_one = b"\x0a\x03abc" + b"\x18\x01" + b"\x18\x02"
    found = frames.decode(unknown + one_by_one + unknown)
    assert [(index, bytes(data)) for index, data in found.chunks()] == [(0, b"a"), (1, b"bc")]


@given(st.binary(max_size=200))
def test_nonsense_is_refused_or_read_and_raises_nothing_else(raw: bytes) -> None:
    try:
        frames.decode(raw).chunks()
    except frames.BadFrame:
        return


@pytest.mark.parametrize("lengths", [[], [2], [4], [3, 0], [1, 1]])
def test_lengths_must_be_those_of_the_bytes(lengths: list[int]) -> None:
    message = pb.FetchChunksResponse(data=b"abc", lengths=lengths)
    with pytest.raises(frames.BadFrame):
        frames.decode(message.SerializeToString()).chunks()


@given(FIRST, CHUNKS, st.data())
def test_what_was_cut_off_is_refused(first: int, chunks: list[bytes], data: st.DataObject) -> None:
    raw = frames.encode(first, chunks)
    with pytest.raises(frames.BadFrame):
        frames.decode(raw[: data.draw(st.integers(0, len(raw) - 1))]).chunks()

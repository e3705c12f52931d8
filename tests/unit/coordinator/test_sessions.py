"""What waits for one session is bounded, and its writes never interleave."""

from __future__ import annotations

import asyncio

from primacy_coordinator.core.effects import CloseReason, CloseSession
from primacy_coordinator.shell.sessions import BULK_COUNT_MAX, WAITING_COUNT_MAX, Session, StreamClosed
from primacy_wire.log_messages import Entries, GroupMetrics, MetricsSnapshot
from primacy_wire.messages import (
    PROTOCOL_VERSION,
    Answer,
    Directory,
    Hello,
    Lineage,
    Membership,
    Thaw,
    ToAgent,
    WeightsUpdate,
)

from tests.unit.coordinator.shells import ListStream

HELLO = Hello("default", "eu", "one", "life-1", "host-1", PROTOCOL_VERSION, Lineage(), 0, Membership(), "")


def answer(report: int) -> Answer:
    return Answer("life-1", report, Lineage(), 1, False, 0, 0, 0, 1)


def weights(version: int) -> WeightsUpdate:
    return WeightsUpdate(version, 1, (), (), "", 0, ())


def directory(version: int) -> Directory:
    return Directory(Membership(version, ()), (), ())


def entries(after: int) -> Entries:
    return Entries("store", after, 0, after + 1, 0, (), after + 1)


def metrics(version: int, *regions: str) -> GroupMetrics:
    return GroupMetrics(tuple(MetricsSnapshot(region, "", "run", version, 1, 1) for region in regions))


def thaw(number: int) -> Thaw:
    return Thaw(str(number), "store")


async def settle() -> None:
    for _ in range(2 * WAITING_COUNT_MAX):
        await asyncio.sleep(0)


async def test_of_answers_weights_and_directories_only_the_newest_waits() -> None:
    stream = ListStream()
    session = Session(1, HELLO, stream)
    stream.gate.clear()
    session.put(thaw(0))
    await settle()  # The first is with the transport now.
    for number in range(1, 4):
        session.put(directory(number))
        session.put(answer(number))
        session.put(weights(number))
        session.put(thaw(number))
    stream.gate.set()
    await settle()
    expected: list[ToAgent] = [thaw(0), thaw(1), thaw(2), thaw(3), answer(3), weights(3), directory(3)]
    assert stream.written == expected


async def test_a_session_that_cannot_take_it_is_closed_not_thinned_out() -> None:
    stream = ListStream()
    session = Session(1, HELLO, stream)
    stream.gate.clear()
    session.put(thaw(0))
    await settle()
    for number in range(WAITING_COUNT_MAX):
        session.put(thaw(number))
    before = session.closed
    session.put(thaw(-1))
    assert (before, session.closed) == (False, True)
    await settle()
    assert stream.aborted is not None
    assert stream.aborted.reason is CloseReason.DEAF


async def test_bulk_goes_last_and_in_order() -> None:
    stream = ListStream()
    session = Session(1, HELLO, stream)
    stream.gate.clear()
    session.put(entries(0))
    await settle()  # The first is with the transport now.
    session.put(entries(1))
    session.put(metrics(1, "eu"))
    session.put(entries(2))
    session.put(directory(1))
    session.put(answer(1))
    session.put(thaw(1))
    stream.gate.set()
    await settle()
    ordered: list[ToAgent] = [entries(0), thaw(1), answer(1), directory(1), entries(1), entries(2), metrics(1, "eu")]
    assert stream.written == ordered


async def test_of_metrics_that_wait_only_the_newest_of_each_region_count() -> None:
    stream = ListStream()
    session = Session(1, HELLO, stream)
    stream.gate.clear()
    session.put(entries(0))
    await settle()
    for version in range(3 * BULK_COUNT_MAX):
        session.put(metrics(version, "eu", "us"))
        session.put(metrics(version, "us"))
    session.put(metrics(-1, "ap"))
    assert not session.closed
    stream.gate.set()
    await settle()
    last = 3 * BULK_COUNT_MAX - 1
    assert stream.written == [entries(0), metrics(last, "eu", "us"), metrics(last, "us"), metrics(-1, "ap")]


async def test_metrics_alone_are_written_behind_the_reading() -> None:
    stream = ListStream()
    session = Session(1, HELLO, stream)
    stream.gate.clear()
    session.begin_inline()
    session.put(metrics(1, "eu"))
    async with asyncio.timeout(5):
        await session.end_inline()
    stream.gate.set()
    await settle()
    assert stream.written == [metrics(1, "eu")]


async def test_the_stream_is_read_while_bulk_is_written() -> None:
    stream = ListStream()
    session = Session(1, HELLO, stream)
    stream.gate.clear()
    session.begin_inline()
    session.put(entries(0))
    session.put(answer(1))
    async with asyncio.timeout(5):
        await session.end_inline()  # Though the transport takes nothing.
    assert stream.written == []
    stream.gate.set()
    await settle()
    assert stream.written == [answer(1), entries(0)]


async def test_much_of_the_log_may_wait_but_not_without_end() -> None:
    stream = ListStream()
    session = Session(1, HELLO, stream)
    stream.gate.clear()
    session.put(thaw(0))
    await settle()
    for number in range(BULK_COUNT_MAX):
        session.put(entries(number))
    session.put(thaw(1))
    assert not session.closed
    session.put(entries(-1))
    assert session.closed


async def test_pushes_and_inline_answers_do_not_interleave() -> None:
    busy = 0
    order: list[ToAgent] = []

    class SlowStream(ListStream):
        async def write(self, message: ToAgent) -> None:
            nonlocal busy
            busy += 1
            assert busy == 1, "two writes at once on one stream"
            await asyncio.sleep(0.001)
            order.append(message)
            busy -= 1

    session = Session(1, HELLO, SlowStream())
    for number in range(20):
        session.put(thaw(number))
        session.begin_inline()
        session.put(answer(number))
        await session.end_inline()
    await asyncio.sleep(0.05)
    assert [message for message in order if isinstance(message, Thaw)] == [thaw(number) for number in range(20)]
    assert order[-1] == answer(19)


async def test_an_inline_answer_is_written_when_end_inline_returns() -> None:
    stream = ListStream()
    session = Session(1, HELLO, stream)
    session.begin_inline()
    session.put(answer(1))
    assert stream.written == []
    await session.end_inline()
    assert stream.written == [answer(1)]


async def test_a_closed_session_says_nothing_more() -> None:
    stream = ListStream()
    session = Session(1, HELLO, stream)
    stream.gate.clear()
    session.put(thaw(0))
    session.put(thaw(1))
    await settle()
    session.close(CloseSession(1, CloseReason.SUPERSEDED, "TWIN", "gone"))
    session.put(thaw(2))
    stream.gate.set()
    await settle()
    assert stream.written == [thaw(0)]
    assert stream.aborted is not None


async def test_a_lost_stream_ends_the_session_quietly() -> None:
    class LostStream(ListStream):
        async def write(self, message: ToAgent) -> None:
            raise StreamClosed

    session = Session(1, HELLO, LostStream())
    session.put(thaw(0))
    await settle()
    assert session.closed

"""What listeners of a feed get: the newest of what changes, and every entry of the journal or word of a gap."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.protobuf.message import Message
from primacy.v1.event_pb2 import Event
from primacy.v1.replication_service_pb2 import GetReplicationStatusResponse
from primacy.v1.status_service_pb2 import GetStatusResponse, ListAlertsResponse
from primacy_coordinator.shell.failures import GroupGone
from primacy_coordinator.web import feed as feeds
from primacy_coordinator.web.feed import BEHIND_COUNT_MAX, FIRST_COUNT, JOURNAL_KEPT, Feed, Listener, Sources
from primacy_coordinator.web.frames import PACKED_HEAD, frame
from primacy_wire.errors import Unavailable

Seen = tuple[str, Any, str]
"""Kind, data, id."""


class Group:
    """A group whose changes are in the test's hand; it stands for runner and servicers."""

    name = "default"

    def __init__(self, entry_count: int = 0) -> None:
        self.retired = False
        self.epoch = 1
        self.alert = ""
        self.status_count = 0
        self.trouble = ""
        self.entries = [Event(sequence=number, message=f"event {number}") for number in range(1, entry_count + 1)]
        self.reads: list[int | None] = []
        """After which entries the journal was read."""
        self._changed = asyncio.Event()

    def change(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def add(self, count: int) -> None:
        first = self.entries[-1].sequence + 1 if self.entries else 1
        self.entries += [Event(sequence=first + each, message=f"event {first + each}") for each in range(count)]
        self.change()

    # ---- as a runner

    async def watch(self, *_: object) -> AsyncGenerator[None, None]:
        while True:
            if self.retired:
                raise GroupGone("gone")
            yield None
            await self._changed.wait()

    # ---- as the servicers

    async def status(self, _: str) -> Message:
        self.status_count += 1
        if self.trouble:
            raise Unavailable(self.trouble, "STORE_TROUBLE")
        return GetStatusResponse(group="default", epoch=self.epoch)

    async def alerts(self, _: str) -> Message:
        if not self.alert:
            raise Unavailable("nothing is measured yet", "NOT_MEASURED")
        return ListAlertsResponse(alerts=[{"rule": self.alert}])

    async def replication(self, _: str) -> Message:
        return GetReplicationStatusResponse(group="default")

    async def events(self, _: str, after: int | None) -> AsyncGenerator[Sequence[Event], None]:
        self.reads.append(after)
        batch = self.entries[-100:] if after is None else [each for each in self.entries if each.sequence > after]
        yield batch[:1000]
        last = batch[-1].sequence if batch else after or 0
        while True:
            batch = [each for each in self.entries if each.sequence > last]
            if batch:
                last = batch[-1].sequence
                yield batch
            else:
                await self._changed.wait()


@asynccontextmanager
async def running(group: Group) -> AsyncIterator[Feed]:
    runner: Any = group
    feed = Feed(runner, Sources(group.status, group.alerts, group.replication, group.events))
    try:
        yield feed
    finally:
        feed.end("the test is over")
        await asyncio.gather(*feed._tasks, return_exceptions=True)


def listener(feed: Feed, position: int | None = None) -> Listener:
    found = Listener(position, lambda: None)
    feed.join(found)
    return found


async def news(feed: Feed, who: Listener) -> list[Seen]:
    """The next piece, as a browser reads it."""
    async with asyncio.timeout(10):
        piece = await feed.take(who)
    assert piece, feed.ended
    return parse(piece)


async def until_seen(feed: Feed, who: Listener, kind: str, count: int = 1) -> list[Seen]:
    """Everything up to the last of so many frames of that kind."""
    found: list[Seen] = []
    while sum(each[0] == kind for each in found) < count:
        found += await news(feed, who)
    return found


def parse(piece: bytes) -> list[Seen]:
    found = []
    for block in piece.decode().split("\n\n")[:-1]:
        lines = dict(line.partition(": ")[::2] for line in block.split("\n"))
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"]), lines.get("id", "")))
    return found


def entries(found: list[Seen]) -> list[int]:
    return [int(event_id) for kind, _, event_id in found if kind == "journal"]


async def test_a_newcomer_gets_everything_there_is() -> None:
    group = Group(entry_count=60)
    group.alert = "RegionDown"
    async with running(group) as feed:
        who = listener(feed)
        found = await until_seen(feed, who, "journal", FIRST_COUNT)
        found += [] if any(each[0] == "alerts" for each in found) else await until_seen(feed, who, "alerts")
        assert {each[0] for each in found} >= {"status", "journal", "alerts", "replication"}
        assert entries(found) == list(range(11, 61))
        status = next(each[1] for each in found if each[0] == "status")
        assert status["epoch"] == "1"
        assert "events" not in status or status["events"] == []


async def test_every_listener_gets_the_same_bytes_rendered_once() -> None:
    group = Group()
    async with running(group) as feed:
        many = [listener(feed) for _ in range(100)]
        first = await asyncio.gather(*(until_seen(feed, each, "status") for each in many))
        assert all(found[0] == first[0][0] for found in first)
        assert group.status_count <= 2


def test_compressed_frames_stand_alone() -> None:
    """Whatever a stream has had before, the next frame can be read at once."""
    frames = [frame("status", b"x" * size) for size in (1, 500, 100_000)]
    for first in frames:
        for second in frames:
            unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
            assert unpacker.decompress(PACKED_HEAD + first.packed) == first.plain
            assert unpacker.decompress(second.packed) == second.plain
    assert len(frames[-1].packed) < 1000


async def test_changes_close_together_are_one_status() -> None:
    group = Group()
    async with running(group) as feed:
        who = listener(feed)
        await until_seen(feed, who, "status")
        before = group.status_count
        for _ in range(100):
            group.epoch += 1
            group.change()
            await asyncio.sleep(0)
        found = await until_seen(feed, who, "status")
        assert found[-1][1]["epoch"] == "101"
        assert group.status_count == before + 1


async def test_a_status_comes_also_when_nothing_changes() -> None:
    async with running(Group()) as feed:
        who = listener(feed)
        assert len(await until_seen(feed, who, "status", 3)) >= 3


async def test_one_that_was_away_gets_the_newest_status_and_every_entry() -> None:
    group = Group(entry_count=1)
    async with running(group) as feed:
        slow, quick = listener(feed), listener(feed)
        await until_seen(feed, slow, "journal")
        for _ in range(3):
            group.epoch += 1
            group.add(10)
            await until_seen(feed, quick, "status")
        found = await news(feed, slow)
        assert [each[1]["epoch"] for each in found if each[0] == "status"] == [str(group.epoch)]
        assert entries(found) == list(range(2, 32))


async def test_what_the_feed_has_dropped_is_read_from_the_journal_again() -> None:
    group = Group(entry_count=1)
    async with running(group) as feed:
        slow, quick = listener(feed), listener(feed)
        await until_seen(feed, slow, "journal")
        await until_seen(feed, quick, "journal")
        group.add(JOURNAL_KEPT + 50)
        seen = []
        while len(seen) < JOURNAL_KEPT + 50:
            seen += entries(await news(feed, quick))
        found = await news(feed, slow)
        assert entries(found) == seen == list(range(2, JOURNAL_KEPT + 52))
        assert not [each for each in found if each[0] == "gap"]
        assert 1 in group.reads


async def test_one_that_comes_back_resumes_after_what_it_has_seen() -> None:
    group = Group(entry_count=300)
    async with running(group) as feed:
        assert entries(await until_seen(feed, listener(feed, 298), "journal")) == [299, 300]
        assert entries(await until_seen(feed, listener(feed, 50), "journal")) == list(range(51, 301))
        current = listener(feed, 300)
        assert entries(await until_seen(feed, current, "status")) == []
        group.add(1)
        assert entries(await until_seen(feed, current, "journal")) == [301]


async def test_one_that_is_too_far_behind_is_told_of_the_gap() -> None:
    group = Group(entry_count=BEHIND_COUNT_MAX + 100)
    async with running(group) as feed:
        found = await until_seen(feed, listener(feed, 10), "journal")
        (gap,) = [each[1] for each in found if each[0] == "gap"]
        assert gap["afterSequence"] == "10"
        assert entries(found) == list(range(101, BEHIND_COUNT_MAX + 101))


async def test_a_journal_that_lost_its_numbers_begins_anew() -> None:
    async with running(Group(entry_count=3)) as feed:
        found = await until_seen(feed, listener(feed, 1000), "journal")
        assert [each[1]["reason"] for each in found if each[0] == "gap"] == ["the journal begins anew"]
        assert entries(found) == [1, 2, 3]


async def test_entries_that_come_while_old_ones_are_read_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The feed moves on while a listener waits for the disk."""
    group = Group(entry_count=150)
    plain = group.events

    async def slowly(name: str, after: int | None) -> AsyncGenerator[Sequence[Event], None]:
        if after == 10:
            group.add(JOURNAL_KEPT + 10)
            await until_seen(feed, quick, "journal")
        async for batch in plain(name, after):
            yield batch

    group.events = slowly  # type: ignore[method-assign]
    async with running(group) as feed:
        quick = listener(feed)
        await until_seen(feed, quick, "journal")
        found = await until_seen(feed, listener(feed, 10), "journal")
        assert entries(found) == list(range(11, 150 + JOURNAL_KEPT + 11))


async def test_a_status_that_cannot_be_read_is_told_and_newcomers_see_no_old_one() -> None:
    group = Group()
    async with running(group) as feed:
        who = listener(feed)
        await until_seen(feed, who, "status")
        group.trouble = "the disk is full"
        group.change()
        found = await until_seen(feed, who, "trouble")
        assert found[-1][1]["reason"] == "STORE_TROUBLE"
        assert [each[0] for each in await news(feed, listener(feed)) if each[0] != "replication"] == ["trouble"]
        group.trouble = ""
        await until_seen(feed, who, "status")
        assert "trouble" not in [each[0] for each in await news(feed, listener(feed))]


async def test_alerts_come_when_they_change_only() -> None:
    group = Group()
    group.alert = "RegionDown"
    async with running(group) as feed:
        who = listener(feed)
        await until_seen(feed, who, "alerts")
        assert "alerts" not in [each[0] for each in await until_seen(feed, who, "status", 3)]
        group.alert = "LagHigh"
        found = await until_seen(feed, who, "alerts")
        assert found[-1][1]["alerts"][0]["rule"] == "LagHigh"


async def test_a_feed_that_ends_says_why_and_lets_everybody_go() -> None:
    group = Group()
    async with running(group) as feed:
        waiting = listener(feed)
        await until_seen(feed, waiting, "status")
        group.retired = True
        group.change()
        async with asyncio.timeout(10):
            while await feed.take(waiting):
                pass
        assert "closing" in feed.ended


async def test_a_bug_ends_the_feed_and_not_the_coordinator(caplog: pytest.LogCaptureFixture) -> None:
    group = Group()
    group.status = bug  # type: ignore[method-assign]
    async with running(group) as feed:
        who = listener(feed)
        async with asyncio.timeout(10):
            while await feed.take(who):
                pass
        assert "internal error" in feed.ended
    assert "ZeroDivisionError" in caplog.text


async def test_a_bug_in_alerts_costs_the_alerts(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "EVERY_S", 0.01)
    group = Group()
    group.alerts = bug  # type: ignore[method-assign]
    async with running(group) as feed:
        kinds = {each[0] for each in await until_seen(feed, listener(feed), "status", 3)}
        assert kinds == {"status", "replication"}
    assert caplog.text.count("goes without its alerts") == 1


async def bug(_: str) -> Message:
    raise ZeroDivisionError


async def test_one_that_left_gets_nothing_more() -> None:
    async with running(Group()) as feed:
        who = listener(feed)
        who.leave()
        assert await feed.take(who) == b""


async def test_silence_is_broken_by_a_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "QUIET_S", 0.01)
    monkeypatch.setattr(feeds, "EVERY_S", 60.0)
    async with running(Group()) as feed:
        who = listener(feed)
        await until_seen(feed, who, "status")
        async with asyncio.timeout(10):
            while b": still here\n\n" not in await feed.take(who):
                pass

"""The journal against the replica's own memory: what one life kept, the next one finds."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from primacy_agent.core.replica.memory import Begin, ReplicaMemory, Settle, Take
from primacy_agent.replication.journal import VERSIONS_KEPT, Journal, Queued
from primacy_wire.daemon import FolderError
from primacy_wire.hlc import HybridTime
from primacy_wire.log_messages import Entry, EntryKind, ParkedNote


def entry(sequence: int, key: str = "limits", version: int = 0, **more: object) -> Entry:
    made = Entry(
        sequence, f"id-{sequence}", EntryKind.CONFIG, key, "d" * 64, 3, version or sequence, 0,
        HybridTime(1_000 + sequence, 0, "eu/a"), 1, "eu", "eu/a", 5_000, b"a: 1", "yaml",
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


async def kept(journal: Journal, *changes: Take | Settle | Begin) -> None:
    done = asyncio.Event()
    journal.keep(changes, done.set)
    await asyncio.wait_for(done.wait(), 10)


async def test_the_next_life_finds_what_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "replication.db"
    journal = Journal(path)
    assert journal.memory == ReplicaMemory()
    one, two, three = entry(1), entry(2, "other"), entry(3, "third", origin="us", by_active=True)
    await kept(journal, Take("store", 3, 77, (one, two, three)))
    note = ParkedNote(2, "other", "the disk is full", 8)
    await kept(journal, Settle(1, (one,)), Settle(2, (), (note,)))
    journal.close()
    journal = Journal(path)
    memory = journal.memory
    assert (memory.store_id, memory.received, memory.chain, memory.settled) == ("store", 3, 77, 2)
    assert memory.pending == {2: two, 3: three}
    assert memory.parked == {2: note}
    assert memory.current == {(EntryKind.CONFIG, "limits"): one}
    await kept(journal, Settle(3, (three,)), Settle(3, (two,), (), (2,)))
    journal.close()
    memory = Journal(path).memory
    assert (memory.pending, memory.parked, set(memory.current.values())) == ({}, {}, {one, two, three})


async def test_another_log_leaves_what_is_in_force(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "replication.db")
    old, same, waiting = entry(1), entry(2, "same"), entry(3, "waiting")
    await kept(journal, Take("store", 3, 9, (old, same, waiting)), Settle(2, (old, same)))
    renumbered, fresh = replace(same, sequence=7), entry(9, "fresh")
    await kept(journal, Begin("store-2", 10, 5, 8, (fresh,), (renumbered,)))
    journal.close()
    memory = Journal(tmp_path / "replication.db").memory
    assert (memory.store_id, memory.received, memory.chain, memory.settled) == ("store-2", 10, 5, 8)
    assert memory.pending == {9: fresh}
    assert set(memory.current.values()) == {old, renumbered}


async def test_versions_are_kept_up_to_a_number(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "replication.db")
    for number in range(1, VERSIONS_KEPT + 6):
        await kept(journal, Take("store", number, number, (entry(number),)), Settle(number, (entry(number),)))
    versions = await journal.versions(EntryKind.CONFIG, "limits")
    assert [one.version for one in versions] == list(range(VERSIONS_KEPT + 5, 5, -1))
    assert await journal.versions(EntryKind.MODEL, "limits") == []
    journal.close()


async def test_queued_writes_and_pins_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "replication.db"
    journal = Journal(path)
    first, second = entry(0, id="w1"), entry(0, id="w2")
    await journal.enqueue(Queued(first))
    await journal.enqueue(Queued(second, "w1"))
    await journal.pin("bert", 3, pinned=True)
    await journal.pin("bert", 4, pinned=True)
    await journal.pin("bert", 3, pinned=False)
    journal.close()
    journal = Journal(path)
    assert journal.queue == [Queued(first), Queued(second, "w1")]
    assert journal.pins == {("bert", 4)}
    follower = Queued(replace(second, parent=12))
    await journal.dequeue("w1", [follower])
    assert journal.queue == [follower]
    journal.close()
    assert Journal(path).queue == [follower]


async def test_a_disk_that_takes_nothing_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("primacy_agent.replication.journal.AGAIN_S", 0.01)
    monkeypatch.setattr("primacy_agent.replication.journal.BUSY_S", 0.05)
    path = tmp_path / "replication.db"
    journal = Journal(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    done = asyncio.Event()
    journal.keep((Take("store", 1, 1, (entry(1),)),), done.set)
    while not journal.trouble:
        await asyncio.sleep(0.01)
    assert not done.is_set()
    refused = asyncio.create_task(journal.enqueue(Queued(entry(0))))
    other.execute("COMMIT")
    await asyncio.wait_for(done.wait(), 10)
    await refused
    assert journal.trouble == ""
    journal.close()


def test_a_damaged_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "replication.db"
    path.write_bytes(random.Random(1).randbytes(8192))
    with pytest.raises(FolderError, match="left as it was"):
        Journal(path)
    assert path.read_bytes() == random.Random(1).randbytes(8192)


async def test_who_gives_up_waiting_costs_nobody_else_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "replication.db")
    hold = sqlite3.connect(tmp_path / "replication.db", isolation_level=None)
    hold.execute("BEGIN IMMEDIATE")  # So that the write is under way when its caller goes.
    waiting = asyncio.create_task(journal.pin("bert", 1, True))
    await asyncio.sleep(0.1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    hold.execute("COMMIT")
    hold.close()
    await asyncio.wait_for(journal.pin("bert", 2, True), 20)
    assert ("bert", 2) in journal.pins
    journal.close()

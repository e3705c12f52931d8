"""What every store must do, whatever is behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from primacy_coordinator.core.effects import Drop
from primacy_coordinator.core.model import (
    CandidateResult,
    DoubtRecord,
    FailoverKind,
    FailoverPhase,
    FailoverRecord,
    FailoverState,
    LeasePhase,
    LeaseRecord,
    LineageRecord,
    MembershipRecord,
    Policy,
    PolicyRecord,
    RegionRecord,
    RegionSettings,
    RegionStatus,
    VerdictRecord,
)
from primacy_coordinator.store.api import GroupRow, StateStore, StoreError, StoreLocked, StoreRefused, Write
from primacy_coordinator.store.sqlite import SqliteStore

from tests.unit.store.stores import apply, apply_all, region, same_number

Opener = Callable[[], Awaitable[StateStore]]


@pytest.fixture(params=["sqlite"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Opens the same store, as often as it is called."""
    match request.param:
        case "sqlite":
            return lambda: SqliteStore.open(tmp_path / "store.db")
        case other:
            raise AssertionError(other)


EVERY_KIND: list[Write] = [
    LeaseRecord(7, "eu", LeasePhase.ACCEPTED, 5_000_000_000, 10_000, 3, 7, "eu", "f-7", ""),
    RegionRecord(
        "eu", 1, 2, RegionSettings(52.5, 13.4, 10, 99.5, "eu:1", (("tier", "a"),)), RegionSettings(priority=1)
    ),
    region("us"),
    VerdictRecord("eu", RegionStatus.HEALTHY, "all is well", ("seen by us", "3 of 3 probes"), 1),
    PolicyRecord(Policy(region_weights=(("eu", 0.25), ("us", 1.0))), 4),
    MembershipRecord(9),
    DoubtRecord("a stranger", 8, True, store_ids=("a", "b")),
    LineageRecord(("a",), ("r1", "r2")),
    FailoverRecord(
        "f-7",
        FailoverKind.AUTOMATIC,
        FailoverState.SUCCEEDED,
        "us",
        "eu",
        7,
        "us is down",
        1,
        2,
        (FailoverPhase("detect", 1, 2, 3, "note"), FailoverPhase("wait", 2)),
        (CandidateResult("eu", 1, scores=(("priority", 100.0),)), CandidateResult("us", 0, "DOWN", "it is down")),
        ("connection refused — überall",),
    ),
]


async def test_a_new_store_is_empty_and_has_identity(opener: Opener) -> None:
    store = await opener()
    loaded = await store.load("default")
    assert await store.groups() == ()
    assert loaded.records == ()
    assert loaded.store_id == store.store_id != ""
    assert loaded.run_id == store.run_id
    assert loaded.run_ids == {store.run_id}
    assert loaded.run_count == 1
    await store.close()


async def test_every_start_is_noted_and_none_forgotten(opener: Opener) -> None:
    ids, runs = set(), []
    for _ in range(4):
        store = await opener()
        ids.add(store.store_id)
        runs.append(store.run_id)
        loaded = await store.load("any")
        assert loaded.run_ids == set(runs)
        assert loaded.run_count == len(runs) == len(set(runs))
        await store.close()
    assert len(ids) == 1


async def test_two_stores_are_never_the_same(tmp_path: Path) -> None:
    one, two = await SqliteStore.open(tmp_path / "one.db"), await SqliteStore.open(tmp_path / "two.db")
    assert one.store_id != two.store_id
    assert one.run_id != two.run_id
    await one.close()
    await two.close()


async def test_records_come_back_as_they_were(opener: Opener) -> None:
    store = await opener()
    await apply(store, "default", *EVERY_KIND)
    assert set((await store.load("default")).records) == set(EVERY_KIND)
    await store.close()
    store = await opener()
    assert set((await store.load("default")).records) == set(EVERY_KIND)
    await store.close()


async def test_groups_do_not_see_each_other(opener: Opener) -> None:
    store = await opener()
    await apply(store, "a", region("eu", 1))
    await apply(store, "b", region("eu", 2))
    await apply(store, "b", Drop("region", "none"))
    assert (await store.load("a")).records == (region("eu", 1),)
    assert (await store.load("b")).records == (region("eu", 2),)
    await store.close()


async def test_a_record_replaces_and_a_drop_removes(opener: Opener) -> None:
    store = await opener()
    await apply(store, "default", region("eu", 1), region("us", 1))
    await apply(store, "default", region("eu", 2), Drop("region", "us"), Drop("region", "never-there"))
    assert (await store.load("default")).records == (region("eu", 2),)
    await store.close()


async def test_of_writes_to_one_key_the_last_counts(opener: Opener) -> None:
    store = await opener()
    await apply(store, "default", region("eu", 1), region("eu", 2))
    await apply(store, "default", region("us", 1), Drop("region", "us"))
    await apply(store, "default", Drop("region", "asia"), region("asia", 3))
    assert set((await store.load("default")).records) == {region("eu", 2), region("asia", 3)}
    await store.close()


async def test_an_empty_batch_settles(opener: Opener) -> None:
    store = await opener()
    await apply(store, "default")
    await store.close()


async def test_batches_end_in_order_and_the_last_state_stays(opener: Opener) -> None:
    store = await opener()
    ended: list[int] = []
    for number in range(1, 2001):
        store.submit("default", same_number(number), lambda error, n=number: ended.append(n))  # type: ignore[misc]
    # What is asked after them sees them all.
    loaded = await store.load("default")
    assert ended == list(range(1, 2001))
    assert set(loaded.records) == set(same_number(2000))
    await store.close()


async def test_closing_finishes_what_was_submitted(opener: Opener) -> None:
    store = await opener()
    ended: list[StoreError | None] = []
    for number in range(1, 501):
        store.submit("default", same_number(number), ended.append)
    await store.close()
    await asyncio.sleep(0)
    assert ended == [None] * 500
    store = await opener()
    assert set((await store.load("default")).records) == set(same_number(500))
    await store.close()


async def test_a_closed_store_says_so(opener: Opener) -> None:
    store = await opener()
    await store.close()
    await store.close()
    with pytest.raises(StoreRefused, match="closed"):
        await apply(store, "default", region("eu"))
    with pytest.raises(StoreRefused, match="closed"):
        await store.load("default")


async def test_a_store_has_one_owner(opener: Opener) -> None:
    store = await opener()
    with pytest.raises(StoreLocked):
        await opener()
    await apply(store, "default", region("eu"))
    await store.close()
    again = await opener()
    assert (await again.load("default")).run_count == 2  # The one that was refused left no trace.
    await again.close()


async def test_groups_are_made_listed_and_deleted(opener: Opener) -> None:
    store = await opener()
    assert await store.create_group("b", 5) == GroupRow("b", 5)
    assert await store.create_group("a", 6) == GroupRow("a", 6)
    assert await store.create_group("a", 7) == GroupRow("a", 6), "made already: stays as it was"
    assert await store.groups() == (GroupRow("a", 6), GroupRow("b", 5))
    await apply(store, "a", region("eu"))
    await apply(store, "b", region("eu"))
    await store.delete_group("a", 8, 41)
    await store.close()
    store = await opener()
    assert await store.groups() == (GroupRow("a", 6, 8, 41), GroupRow("b", 5))
    assert (await store.load("b")).records == (region("eu"),)
    await store.close()


async def test_a_group_made_again_goes_on_above_its_epochs(opener: Opener) -> None:
    """I2: whoever heard of epoch 41 must not hear of it again from another group of that name."""
    store = await opener()
    await store.create_group("a", 6)
    await apply(store, "a", LeaseRecord(epoch=41, holder="eu"), region("eu"))
    await store.delete_group("a", 8, 41)
    assert await store.create_group("a", 9) == GroupRow("a", 9, 0, 41)
    assert (await store.load("a")).records == (LeaseRecord(epoch=41),)
    # A second, shorter life takes nothing back.
    await store.delete_group("a", 10, 3)
    assert await store.create_group("a", 11) == GroupRow("a", 11, 0, 41)
    await apply(store, "a", LeaseRecord(epoch=42))
    assert (await store.load("a")).records == (LeaseRecord(epoch=42),)
    await store.close()


async def test_a_record_that_could_not_be_read_again_is_refused_with_all_that_follows(opener: Opener) -> None:
    """JSON has no infinity: stored, it would bar the next start."""
    store = await opener()
    await apply(store, "default", region("eu", 1))
    ends = await apply_all(
        store,
        [
            ("default", [region("us", 1), PolicyRecord(Policy(panic_threshold=float("inf")))]),
            ("default", [region("eu", 2)]),
            ("other", [region("eu", 3)]),
        ],
    )
    assert [type(end) for end in ends] == [StoreRefused, StoreRefused, type(None)]
    assert "policy" in str(ends[0])
    assert (await store.load("default")).records == (region("eu", 1),)
    assert (await store.load("other")).records == (region("eu", 3),)
    await apply(store, "default", region("eu", 4))
    await store.close()

"""Batches, and stores to try them on."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from primacy_coordinator.core.effects import Journal, Severity
from primacy_coordinator.core.model import AgentRecord, LeaseRecord, MembershipRecord, RegionRecord
from primacy_coordinator.store.api import StateStore, StoreError, Write


async def apply(store: StateStore, group: str, *writes: Write) -> None:
    """Submits one batch and waits for its end. Raises the StoreError that refused it."""
    settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(error: StoreError | None) -> None:
        if error is None:
            settled.set_result(None)
        else:
            settled.set_exception(error)

    store.submit(group, writes, end)
    async with asyncio.timeout(10):
        await settled


async def apply_all(store: StateStore, batches: Sequence[tuple[str, Sequence[Write]]]) -> list[StoreError | None]:
    """Submits all batches without waiting in between, and returns how each ended, in the order of their ends."""
    ends: list[StoreError | None] = []
    done = asyncio.Event()

    def end(error: StoreError | None) -> None:
        ends.append(error)
        if len(ends) == len(batches):
            done.set()

    for group, writes in batches:
        store.submit(group, writes, end)
    async with asyncio.timeout(30):
        await done.wait()
    return ends


def region(name: str, version: int = 1) -> RegionRecord:
    return RegionRecord(name, 1_700_000_000_000_000_000, version)


def same_number(number: int, ballast: int = 0) -> list[Write]:
    """A batch of several records that all carry the number: any mixture with another batch shows."""
    return [
        LeaseRecord(epoch=number, holder="eu"),
        MembershipRecord(version=number),
        region("eu", number),
        region("us", number),
        AgentRecord("eu", "one", "", "h" * ballast, f"life-{number}"),
    ]


def number_of(path: Path, group: str = "default") -> int:
    """The number that every record in the file carries, read by SQLite alone; 0: no record. A mixture fails."""
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute(
            "SELECT kind, key, coalesce(body ->> 'epoch', body ->> 'version', substr(body ->> 'incarnation', 6)) "
            "FROM records WHERE group_name = ?",
            (group,),
        ).fetchall()
    finally:
        connection.close()
    numbers = {int(number) for _, _, number in rows}
    assert len(rows) in (0, 5), rows
    assert len(numbers) <= 1, rows
    return numbers.pop() if numbers else 0


def poison(path: Path, key: str = "poison") -> None:
    """From now on the file refuses every batch with a record of that key, and that batch alone."""
    with sqlite3.connect(path) as connection:
        connection.execute(
            f"CREATE TRIGGER no_{key} BEFORE INSERT ON records WHEN new.key = '{key}' "
            "BEGIN SELECT raise(ABORT, 'poisoned'); END"
        )
    connection.close()


def entry(sequence: int, severity: Severity = Severity.INFO, **more: object) -> Journal:
    values = {"kind": "region-status", "message": f"event {sequence}", **more}
    return Journal(sequence=sequence, wall_ns=1_700_000_000_000_000_000 + sequence, severity=severity, **values)  # type: ignore[arg-type]


def bytes_of(folder: Path) -> dict[str, bytes]:
    """What is in the folder, the lock apart; `-shm` is SQLite's index of the log and is made anew at will."""
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.suffix != ".lock" and not path.name.endswith("-shm")
    }

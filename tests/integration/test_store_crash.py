"""Commits cut short on the real file: by SIGKILL at any instant, and at every byte of what a commit writes.

Every batch carries one number in several records (see `same_number`), so that half a batch shows as a mixture.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from primacy_coordinator.store.files import open_file
from primacy_coordinator.store.sqlite import STORE, SqliteStore

from tests.unit.store.stores import apply, number_of, same_number

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]

COMMIT_ON = """
import asyncio, os, sys
from pathlib import Path
from primacy_coordinator.store.sqlite import SqliteStore
from tests.unit.store.stores import same_number

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]))
    number = int(sys.argv[2])
    os.write(1, f"run {store.run_id}\\n".encode())

    def settled(settled_number):
        def tell(error):
            assert error is None, error
            os.write(1, f"{settled_number}\\n".encode())
        return tell

    while True:
        # Bursts of several, so that the kill also meets commits of many batches; some larger than a page.
        for _ in range(1 + number % 7):
            number += 1
            store.submit("default", same_number(number, number * 997 % 9000), settled(number))
        await store.groups()

asyncio.run(main())
"""

CREATE_ON = """
import asyncio, os, sys
from pathlib import Path
from primacy_coordinator.store.sqlite import SqliteStore

async def main():
    os.write(1, b"ready\\n")
    number = 0
    while True:
        number += 1
        folder = Path(sys.argv[1]) / str(number)
        folder.mkdir()
        store = await SqliteStore.open(folder / "store.db")
        os.write(1, f"{number} {store.store_id} {store.run_id}\\n".encode())
        await store.close()

asyncio.run(main())
"""


def child(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def read_killed(process: subprocess.Popen[str], chance: random.Random, seconds: float) -> list[str]:
    """Lets the child run for up to `seconds` after its first line, kills it, and returns every whole line it wrote."""
    assert process.stdout is not None
    try:
        first = process.stdout.readline()
        time.sleep(chance.uniform(0, seconds))  # Not to wait for anything: to strike at any instant.
    finally:
        process.kill()
    rest = process.stdout.read()
    process.wait()
    assert process.returncode == -9
    return [first.strip(), *(line for line in rest.split("\n")[:-1])]


async def test_kills_at_any_instant_leave_whole_batches_and_every_one_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    acknowledged, runs, unheard = 0, set(), 0
    for _ in range(40):
        lines = read_killed(child(COMMIT_ON, str(path), str(acknowledged)), chance, 0.12)
        runs.add(lines[0].removeprefix("run "))
        acknowledged = max([acknowledged, *(int(line) for line in lines[1:])])
        shutil.copytree(tmp_path, tmp_path.parent / "as-it-was", dirs_exist_ok=True)
        found = number_of(path)
        assert found >= acknowledged, "what was acknowledged is there"
        unheard += found > acknowledged
        acknowledged = found
    assert acknowledged > 1000
    store = await SqliteStore.open(path)
    loaded = await store.load("default")
    assert {record.kind for record in loaded.records} == {"lease", "membership", "region", "agent"}
    assert runs < loaded.run_ids
    assert loaded.run_count == 41
    await store.close()
    # The kills did strike between commit and acknowledgement, not only in quiet moments.
    print(f"{acknowledged} batches, after {unheard} of the kills more than was told")
    assert unheard > 0


async def test_kills_while_a_store_is_made_leave_one_that_can_be_used(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    unfinished = 0
    for turn in range(25):
        folder = tmp_path / str(turn)
        folder.mkdir()
        lines = read_killed(child(CREATE_ON, str(folder)), chance, 0.1)
        told = {line.split()[0]: line.split()[1:] for line in lines[1:]}
        for made in folder.iterdir():
            store = await SqliteStore.open(made / "store.db")
            loaded = await store.load("default")
            if made.name in told:
                assert store.store_id == told[made.name][0]
                assert told[made.name][1] in loaded.run_ids
            else:
                unfinished += 1
            assert loaded.run_count <= 2
            await apply(store, "default", *same_number(3))
            await store.close()
            assert number_of(made / "store.db") == 3
    print(f"{unfinished} of 25 were unfinished")
    assert unfinished > 0


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: thousands of files are opened."""
    memory = Path("/dev/shm")
    folder = memory / f"primacy-{tmp_path.name}-{time.time_ns()}" if memory.is_dir() else tmp_path / "scratch"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


async def two_commits(folder: Path) -> tuple[bytes, bytes, int]:
    """A store's file and log after batches 1 and 2, as a crash leaves them, and where batch 2 begins in the log."""
    store = await SqliteStore.open(folder / "made.db")
    await apply(store, "default", *same_number(1))
    wal = folder / "made.db-wal"
    start = wal.stat().st_size
    await apply(store, "default", *same_number(2, 5000))  # Larger than a page: several frames.
    content, log = (folder / "made.db").read_bytes(), wal.read_bytes()
    await store.close()
    assert len(log) - start >= 3 * 4096
    return content, log, start


async def test_a_log_cut_at_any_byte_of_its_last_commit_holds_it_whole_or_not_at_all(scratch: Path) -> None:
    content, log, start = await two_commits(scratch)
    path = scratch / "store.db"
    for length in range(start, len(log) + 1):
        path.write_bytes(content)
        Path(f"{path}-wal").write_bytes(log[:length])
        assert number_of(path) == (2 if length == len(log) else 1), f"cut to {length} bytes"
        Path(f"{path}-shm").unlink(missing_ok=True)


async def test_a_store_opens_on_a_log_cut_anywhere(scratch: Path) -> None:
    """The same through the store's own door, with its checks, at fewer places; then it can be written."""
    content, log, start = await two_commits(scratch)
    path = scratch / "store.db"
    edges = [start + frame * 4120 + off for frame in range((len(log) - start) // 4120 + 1) for off in (-1, 0, 1, 24)]
    for length in sorted({*(edge for edge in edges if start <= edge <= len(log)), *range(start, len(log), 499)}):
        path.write_bytes(content)
        Path(f"{path}-wal").write_bytes(log[:length])
        store = await SqliteStore.open(path)
        assert set((await store.load("default")).records) == set(
            same_number(2, 5000) if length == len(log) else same_number(1)
        ), f"cut to {length} bytes"
        await apply(store, "default", *same_number(3))
        await store.close()
        assert number_of(path) == 3


async def test_a_log_with_a_wrong_byte_in_its_last_commit_loses_that_commit_alone(scratch: Path) -> None:
    content, log, start = await two_commits(scratch)
    path = scratch / "store.db"
    for place in range(start, len(log), 41):
        wrong = bytearray(log)
        wrong[place] ^= 0x5A
        path.write_bytes(content)
        Path(f"{path}-wal").write_bytes(wrong)
        assert number_of(path) == 1, f"byte {place} is wrong"
        Path(f"{path}-shm").unlink(missing_ok=True)


async def test_a_checkpoint_cut_short_loses_nothing(scratch: Path) -> None:
    """The log is copied into the file page by page: whatever part of that is done, file and log together say it all."""
    content, log, _ = await two_commits(scratch)
    path = scratch / "store.db"
    path.write_bytes(content)
    Path(f"{path}-wal").write_bytes(log)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    whole = path.read_bytes()
    connection.close()
    pages = len(whole) // 4096
    content = content.ljust(len(whole), b"\0")
    for done in range(pages + 1):
        for torn in (0, 1024):
            cut = min(done * 4096 + torn, len(whole))
            # Page 1, which says how many there are, comes last as well as first.
            for first in (whole[:4096], content[:4096]):
                path.write_bytes((first + whole[4096:])[: max(cut, 4096)] + content[max(cut, 4096) :])
                Path(f"{path}-wal").write_bytes(log)
                open_file(path, STORE).close()
                assert number_of(path) == 2, (done, torn)

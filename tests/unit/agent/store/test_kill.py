"""A process that is killed (SIGKILL) while it takes in or puts together: the next one goes on, and nothing was shown
that was not verified.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from primacy_agent.store import ContentStore, Manifest, StoreBusy

from tests.unit.agent.store.stores import contents, damaged, nothing, opened, read_all

VICTIM = Path(__file__).with_name("victim.py")
FILES = {
    "config.pbtxt": b"config",
    "deep/same.bin": random.Random(4).randbytes(700_000),
    "empty": b"",
    "same.bin": random.Random(4).randbytes(700_000),
    "weights.bin": random.Random(3).randbytes(9_000_000),
}
RELEASE = {name if name == "config.pbtxt" else f"1/{name}": content for name, content in FILES.items()}
KILLS = 25


@dataclass
class Lab:
    folder: Path
    manifest: Manifest
    chunks: dict[int, bytes]

    @property
    def victim(self) -> Path:
        return self.folder / "victim"


@pytest.fixture
async def lab(tmp_path: Path) -> Lab:
    for name, content in FILES.items():
        place = tmp_path / "model" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    with opened(tmp_path / "origin") as origin:
        manifest = (await origin.ingest(tmp_path / "model", nothing)).manifest
        return Lab(tmp_path, manifest, await read_all(origin, manifest))


@dataclass
class Run:
    ready: int = 0
    put: int = 0
    is_done: bool = False


def run(lab: Lab, what: str, step: int = 0, kill_after: int = 0) -> Run:
    """Let the victim run until its end, its STEP-th change, or its line number `kill_after` (0: no end by us)."""
    command = [sys.executable, str(VICTIM), str(lab.folder), what, str(step)]
    found = Run()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        for number, line in enumerate(process.stdout, start=1):
            word, _, count = line.strip().partition(" ")
            found.ready += int(count) if word == "ready" else 0
            found.put += int(count) if word == "put" else 0
            found.is_done |= word == "done"
            if number == kill_after:
                process.send_signal(signal.SIGKILL)
        failure = process.stderr.read()
    assert failure == ""
    assert process.returncode == (0 if found.is_done and process.returncode == 0 else -signal.SIGKILL)
    return found


async def look(lab: Lab) -> int:
    """Open what the killed one left; how many chunks are here."""
    digest = lab.manifest.digest
    current = lab.victim / "models" / "m" / "current"
    if current.is_symlink():
        assert contents(current) == RELEASE
    with opened(lab.victim) as store:
        for name, version in store.installed():
            assert contents(lab.victim / "models" / name / "releases" / str(version)) == RELEASE
        known = store.manifest(digest)
        found = await read_all(store, lab.manifest)
        assert all(lab.chunks[index] == data for index, data in found.items())
        if store.is_complete(digest):
            assert len(found) == len(lab.chunks)
            assert await damaged(store, digest) == []
        elif known is None:
            assert found == {}, "what was not taken in to its end is not there at all"
        assert [path.name for path in (lab.victim / "store" / "incoming").glob("ingest-*")] == []
        return len(found)


@pytest.mark.parametrize("how", ["step", "moment"])
@pytest.mark.parametrize("what", ["ingest", "fetch"])
async def test_killed_anywhere_the_next_one_goes_on(lab: Lab, what: str, how: str) -> None:
    """At changes of names and of the index, one process after the other; and at moments that are nobody's choice."""
    draw = random.Random(f"{what} {how}")
    ends = 0
    had = 0
    for _ in range(KILLS):
        at = draw.choice((draw.randint(1, 30), draw.randint(1, 120))) if how == "step" else draw.randint(1, 12)
        went = run(lab, what, step=at) if how == "step" else run(lab, what, kill_after=at)
        if what == "fetch" and (went.ready or went.put):
            assert went.ready >= had, "what was accepted is not asked for again"
        here = await look(lab)
        if what == "fetch":
            had = max(had, went.ready + went.put)
            assert here >= had
        if here == len(lab.chunks):
            ends += 1
            shutil.rmtree(lab.victim)
            had = 0
    last = run(lab, what)
    assert last.is_done
    assert await look(lab) == len(lab.chunks)
    assert ends < KILLS


async def test_a_store_that_a_living_process_has_is_refused_and_that_of_a_killed_one_is_not(lab: Lab) -> None:
    command = [sys.executable, str(VICTIM), str(lab.folder), "fetch", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready")
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(StoreBusy, match="another process has this store"):
            ContentStore(lab.victim / "store", lab.victim / "other")
        assert not (lab.victim / "other").exists()
        process.kill()
    assert await look(lab) < len(lab.chunks)

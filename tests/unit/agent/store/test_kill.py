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
KILLS = 20
LATE = 40
NEVER = 1_000_000


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
    steps: int = 0
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
            found.steps += int(count) if word == "steps" else 0
            found.is_done |= word == "done"
            if number == kill_after:
                process.send_signal(signal.SIGKILL)
        failure = process.stderr.read()
    assert failure == ""
    assert process.returncode == -signal.SIGKILL or (process.returncode == 0 and found.is_done)
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


@pytest.mark.parametrize("what", ["ingest", "fetch"])
async def test_killed_at_any_change_the_next_one_goes_on(lab: Lab, what: str) -> None:
    """Before a change of a file's name or of the index. Half of them come late, when all chunks are here."""
    draw = random.Random(what)
    steps = run(lab, what, step=NEVER).steps
    assert steps > 30
    for number in range(KILLS):
        shutil.rmtree(lab.victim)
        late = steps - draw.randint(0, LATE)
        went = run(lab, what, step=late if number % 2 else draw.randint(1, steps))
        had = await look(lab)
        assert had >= went.put, "what was accepted is here"
        went = run(lab, what, step=draw.randint(1, LATE))
        assert what == "ingest" or went.ready in (0, had)
        assert await look(lab) >= had
        assert run(lab, what).is_done
        assert await look(lab) == len(lab.chunks)


@pytest.mark.parametrize("what", ["ingest", "fetch"])
async def test_killed_at_any_moment_the_next_one_goes_on(lab: Lab, what: str) -> None:
    draw = random.Random(what)
    had = ends = 0
    for _ in range(KILLS):
        went = run(lab, what, kill_after=draw.randint(1, 12))
        here = await look(lab)
        if what == "fetch":
            assert went.ready in (0, had)
            assert here >= had + went.put
        had = here
        if here == len(lab.chunks):
            ends += 1
            shutil.rmtree(lab.victim)
            had = 0
    assert ends < KILLS
    assert run(lab, what).is_done
    assert await look(lab) == len(lab.chunks)


async def test_a_store_that_a_living_process_has_is_refused_and_that_of_a_killed_one_is_not(lab: Lab) -> None:
    command = [sys.executable, str(VICTIM), str(lab.folder), "fetch", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready")
        process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(StoreBusy, match="another process has this store"):
                ContentStore(lab.victim / "store", lab.victim / "other")
            assert not (lab.victim / "other").exists()
        finally:
            process.kill()
    assert await look(lab) < len(lab.chunks)

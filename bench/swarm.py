"""Processes that hold and fetch a model (`bench.peers`), and orders to them."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

ORIGIN = "origin/a"


@contextmanager
def process(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A child with pipes at both ends; it is killed at the end."""
    child = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def write_random(path: Path, size: int) -> None:
    """The same bytes in every run."""
    draw = random.Random(1)
    with path.open("wb") as file:
        for at in range(0, size, 1 << 20):
            file.write(draw.randbytes(min(1 << 20, size - at)))


class Member:
    """One of them."""

    def __init__(self, key: str, folder: str, child: subprocess.Popen[str]) -> None:
        self.key = key
        self._folder = folder
        self._child = child
        self.pid = child.pid
        self.address = f"127.0.0.1:{int(self.read())}"

    def read(self) -> str:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.key} ended early")
        return line

    def send(self, order: str, given: object = "") -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(f"{order} {given if isinstance(given, str) else json.dumps(given)}\n")
        self._child.stdin.flush()

    def ask(self, order: str, given: object = "") -> dict[str, Any]:
        self.send(order, given)
        found: dict[str, Any] = json.loads(self.read())
        return found

    def kill(self) -> None:
        self._child.kill()
        self._child.wait()

    @property
    def here(self) -> int:
        """Bytes that its store takes on disk."""
        found = 0
        for place, _, names in os.walk(self._folder):
            for name in names:
                with suppress(FileNotFoundError):
                    found += os.stat(os.path.join(place, name)).st_blocks * 512
        return found

    @property
    def sent(self) -> int:
        """Bytes that it has sent of contents."""
        return int(self.ask("sent")["sent"])


class Swarm:
    def __init__(self, members: Sequence[Member], path: Path) -> None:
        self.origin, *self.takers = members
        addresses = {member.key: member.address for member in members}
        for member in members:
            member.ask("peers", addresses)
        self.path = path
        found = self.origin.ask("ingest", str(path))
        self.digest, self.size = str(found["digest"]), int(found["size"])

    def fetch(self, striped: bool, weights: Sequence[int] = (), kill_at: float | None = None) -> tuple[float, float]:
        """All at once, from empty stores: (seconds until the last has it, bytes that the origin sent for each byte).

        `striped`: by one plan; else everybody takes everything from the origin. `kill_at`: the first of them is killed
        when it has that share of the model, and counts no more.
        """
        keys = [taker.key for taker in self.takers]
        shares = [list(share) for share in zip(keys, weights or [0] * len(keys), strict=True)]
        for taker in self.takers:
            taker.ask("forget")
        before = self.origin.sent
        for taker in self.takers:
            taker.send("fetch", {"digest": self.digest, "holders": [ORIGIN], "shares": shares if striped else []})
        if kill_at is not None:
            victim = self.takers.pop(0)
            while victim.here < kill_at * self.size:
                time.sleep(0.01)
            victim.kill()
        seconds = max(float(json.loads(taker.read())["seconds"]) for taker in self.takers)
        return seconds, (self.origin.sent - before) / self.size


@contextmanager
def swarm(size: int, uplinks: Sequence[int]) -> Iterator[Swarm]:
    """An origin with a model of so many random bytes, and who fetches it. `uplinks`: of the origin first; 0: no limit.

    Everything lies in memory where the machine has a file system for it, for disks differ too much from run to run.
    """
    shm = Path("/dev/shm")
    where = str(shm) if os.access(shm, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where) as folder, ExitStack() as stack:
        path = Path(folder) / "model.bin"
        write_random(path, size)
        members = []
        for number, uplink in enumerate(uplinks):
            key = f"r{number}/a" if number else ORIGIN
            own = f"{folder}/{number}"
            members.append(Member(key, own, stack.enter_context(process("bench.peers", own, key, str(uplink)))))
        yield Swarm(members, path)

"""The weights as a JSON file, for whatever can read one.

A thread of its own writes it: a disk that hangs stops this output and nothing else. The newest weights win: what came
while the disk was busy is written once, as it is in the end. Before the first weights of this life nothing is touched,
so a reader keeps what an earlier life left.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from primacy.v1 import routing_pb2
from primacy_wire.backoff import Backoff
from primacy_wire.clock import read_now
from primacy_wire.daemon import write_file
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS

from primacy_agent.core.traffic import Row, Traffic
from primacy_agent.dataplane.outputs import Figure, Tell
from primacy_agent.own_thread import OwnThread
from primacy_agent.tasks import Tasks

SLOW_S = 5.0
"""A disk that takes longer is told of."""
AGAIN_FIRST_NS, AGAIN_MOST_NS = 500 * MILLISECOND_NS, 10 * SECOND_NS
"""After the disk refused; weights that changed are tried at once."""
NEW_MODE = 0o644
"""Weights are no secret, and proxies run as somebody else. A file that is there keeps its mode."""
_SHARE_DIGITS = 6


class WeightsFile:
    """Output `file`. `written` is called with each weights that are in place."""

    name = "file"

    def __init__(self, path: Path, tell: Tell, tasks: Tasks, written: Callable[[Traffic], None]) -> None:
        self.address = str(path)
        self.version = 0
        self.trouble = ""
        self.counts: Counter[str] = Counter()
        """Writes by what became of them."""
        self._path = path
        self._tell = tell
        self._tasks = tasks
        self._written = written
        self._wanted: Traffic | None = None
        self._changed = asyncio.Event()
        self._thread = OwnThread("weights file")
        self._backoff = Backoff(random.Random(), AGAIN_FIRST_NS, AGAIN_MOST_NS)

    def apply(self, traffic: Traffic) -> None:
        if traffic != self._wanted:
            self._wanted = traffic
            self._changed.set()

    def figures(self) -> Iterator[Figure]:
        for outcome in ("succeeded", "failed"):
            yield Figure("weights_file_writes_total", self.counts[outcome], {"outcome": outcome})

    async def start(self) -> None:
        self._tasks.start(self._run(), name="weights file")

    async def close(self) -> None:
        self._thread.end()

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            traffic = self._wanted
            assert traffic is not None
            if await self._write(traffic):
                self._written(traffic)
                continue
            # Again after a while, or when there are other weights to write.
            try:
                async with asyncio.timeout(self._backoff.next_ns() / SECOND_NS):
                    await self._changed.wait()
            except TimeoutError:
                self._changed.set()

    async def _write(self, traffic: Traffic) -> bool:
        content = render_weights(traffic, read_now().wall_ns)
        writing = self._thread.call(lambda: _replace(self._path, content))
        done, _ = await asyncio.wait((writing,), timeout=SLOW_S)
        if not done:
            self._fault(f"{self._path} has not been written for {SLOW_S:g} s: does its disk answer?")
            await asyncio.wait((writing,))
        try:
            writing.result()
        except OSError as error:
            self.counts["failed"] += 1
            self._fault(f"{self._path} cannot be written: {error.strerror or error}; {_advice(error)}")
            return False
        self.counts["succeeded"] += 1
        self._backoff.reset()
        self.version = traffic.version
        if self.trouble:
            self.trouble = ""
            self._tell("weights-file-written", f"{self._path} is written again", False)
        return True

    def _fault(self, fault: str) -> None:
        """Told once, until it is another one or over."""
        if fault != self.trouble:
            self.trouble = fault
            self._tell("weights-file-failed", fault, True)


def _advice(error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return "make its folder"
        case PermissionError():
            return "let the agent's user write into its folder"
        case IsADirectoryError() | NotADirectoryError():
            return "name a file in dataplane.file.path"
        case _:
            return "readers keep the weights that are there, and it is tried again"


def _replace(path: Path, content: bytes) -> None:
    """Raises OSError."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        mode = NEW_MODE
    write_file(path, content, mode)


def render_weights(traffic: Traffic, wall_ns: int) -> bytes:
    """The file: an object with the keys of docs/dataplane.md."""
    written = dt.datetime.fromtimestamp(wall_ns / SECOND_NS, dt.UTC)
    strategy = routing_pb2.RoutingStrategy
    known = traffic.strategy in strategy.values()
    content: dict[str, Any] = {
        "group": traffic.group,
        "region": traffic.region,
        "version": traffic.version,
        "strategy": strategy.Name(strategy.ValueType(traffic.strategy)) if known else str(traffic.strategy),
        "read": _shares(traffic.read),
        "write": _shares(traffic.write),
        "endpoints": dict(traffic.endpoints),
        "fallback": list(traffic.fallback),
        "drained": list(traffic.drained),
        "shunned": list(traffic.shunned),
        "activeRegion": traffic.active_region,
        "activeEpoch": traffic.active_epoch,
        "writeTime": written.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    return json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"


def _shares(row: Row) -> dict[str, float]:
    """A share that is not 0 does not become it."""
    return {region: round(share, _SHARE_DIGITS) or share for region, share in row}

"""A process that works with a store until it is killed: python victim.py FOLDER ingest|fetch STEP.

It says "ready N" with the number of chunks that were here already, "put N" for N more that were accepted or "read" for
some megabytes that were read, "steps N" with the number of changes that it made, and "done". Before its STEP-th change
of a file name or of the index it kills itself; 0: it does not count.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from primacy_agent.store import ContentStore

CHANGES = {"os.rename", "os.remove", "os.truncate", "os.link", "os.symlink", "os.mkdir", "os.chmod", "os.rmdir"}
WRITES = ("INSERT", "UPDATE", "DELETE", "COMMIT")
BATCH = 5


class Killer:
    """Counts changes, and ends the process at one of them."""

    def __init__(self, step: int) -> None:
        self._last = step
        self.count = 0
        self._connect = sqlite3.connect
        sys.addaudithook(self._audit)
        vars(sqlite3)["connect"] = self._traced

    def _audit(self, event: str, given: tuple[Any, ...]) -> None:
        if event in CHANGES or (event == "open" and isinstance(given[2], int) and given[2] & os.O_CREAT):
            self._step()

    def _traced(self, *given: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = self._connect(*given, **named)
        connection.set_trace_callback(lambda text: self._step() if text.startswith(WRITES) else None)
        return connection

    def _step(self) -> None:
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)


def say(what: str) -> None:
    os.write(1, what.encode() + b"\n")


def nothing(*_: object) -> None:
    pass


async def ingest(folder: Path, store: ContentStore) -> None:
    say("ready 0")
    await store.ingest(folder / "model", lambda *_: say("read"))


async def fetch(folder: Path, store: ContentStore) -> None:
    source = ContentStore(folder / "origin" / "store", folder / "origin" / "models")
    (path,) = (folder / "origin" / "store" / "manifests").iterdir()
    digest = path.name
    manifest = await store.put_manifest(digest, path.read_bytes())
    missing = sorted(await store.fill(digest, nothing))
    say(f"ready {len(store.here(digest))}")
    chunks = [(index, source.read_chunks([manifest.chunks[index].digest])) for index in missing]
    for at in range(0, len(chunks), BATCH):
        batch = [(index, data) for index, found in chunks[at : at + BATCH] async for ((_, data),) in found]
        await store.put_chunks(digest, batch)
        say(f"put {len(batch)}")
    await store.finish(digest)
    await store.install("m", 1, digest)
    await store.switch("m", 1)


async def main(folder: Path, what: str, step: int) -> None:
    killer = Killer(step) if step else None
    store = ContentStore(folder / "victim" / "store", folder / "victim" / "models")
    await (ingest if what == "ingest" else fetch)(folder, store)
    if killer:
        say(f"steps {killer.count}")
    say("done")
    store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))

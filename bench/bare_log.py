"""The floors of appends: SQLite with group commit and nothing else, in one process or behind a bare gRPC server.

usage: python -m bench.bare_log ADDRESS FOLDER   (serves `Append`: a row is numbered, written as it came, and answered)
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc.aio
from primacy.v1 import replication_service_pb2 as pb
from primacy.v1 import replication_service_pb2_grpc
from primacy_wire.server import listen

Row = tuple[int, bytes]
ROWS_TOGETHER_MAX = 256


class BareLog:
    """One thread that commits together whatever waits, on disk before anybody is told."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[tuple[Row, asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.head = 0

    async def append(self, body: bytes) -> int:
        """The number of the row, once it is on disk."""
        self.head = number = self.head + 1
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(((number, body), done))
        await done
        return number

    async def close(self) -> None:
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        db = sqlite3.connect(self._path, isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, body BLOB)")
        while (first := self._queue.get()) is not None:
            taken = [first]
            try:
                while len(taken) < ROWS_TOGETHER_MAX:
                    more = self._queue.get_nowait()
                    if more is None:
                        self._queue.put(None)
                        break
                    taken.append(more)
            except queue.Empty:
                pass
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO rows VALUES (?, ?)", [row for row, _ in taken])
            db.execute("COMMIT")
            self._loop.call_soon_threadsafe(_tell, [done for _, done in taken])
        db.close()


def _tell(waiting: Sequence[asyncio.Future[None]]) -> None:
    for one in waiting:
        if not one.done():
            one.set_result(None)


class BareReplicationService(replication_service_pb2_grpc.ReplicationServiceServicer):
    def __init__(self, log: BareLog) -> None:
        self._log = log

    async def Append(self, request: pb.AppendRequest, context: Any) -> pb.AppendResponse:  # noqa: ARG002, N802
        number = await self._log.append(request.entry.SerializeToString())
        return pb.AppendResponse(sequence=number, version=1, outcome=pb.APPEND_OUTCOME_APPENDED)


async def main(address: str, folder: str) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    log = BareLog(Path(folder) / "rows.db")
    replication_service_pb2_grpc.add_ReplicationServiceServicer_to_server(BareReplicationService(log), server)
    listen(server, address)
    await server.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))

"""A TCP proxy whose two directions can be delayed or stopped apart, or be cut, as a network would."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable


class TcpProxy:
    """Forwards one local port to another, in a thread of its own. Use as a context manager."""

    def __init__(self, port: int, target_port: int) -> None:
        self.port = port
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._ready = threading.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._open = {"out": asyncio.Event(), "in": asyncio.Event()}
        self._refusing = False
        self._delay_s = 0.0

    def __enter__(self) -> TcpProxy:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    # ---- what a test does to it

    def stop(self, *directions: str) -> None:
        """`out` is from the client, `in` is towards it: bytes wait, connections stay (a silent partition)."""
        self._call(lambda: [self._open[direction].clear() for direction in directions])

    def delay(self, seconds: float) -> None:
        """Every piece of data takes so long, many at a time."""
        self._delay_s = seconds

    def cut(self) -> None:
        """Connections end, and new ones are refused."""

        def close() -> None:
            self._refusing = True
            for writer in self._writers:
                writer.transport.abort()

        self._call(close)

    def mend(self) -> None:
        def mend() -> None:
            self._refusing = False
            self._delay_s = 0.0
            for event in self._open.values():
                event.set()

        self._call(mend)

    def _call(self, work: Callable[[], object]) -> None:
        done = threading.Event()

        def run() -> None:
            work()
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(10)

    # ---- the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        for event in self._open.values():
            event.set()
        self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self._ready.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, there_writer}
        self._writers |= pair
        try:
            await asyncio.gather(
                self._pump(reader, there_writer, "out"), self._pump(there_reader, writer, "in"), return_exceptions=True
            )
        finally:
            self._writers -= pair
            for each in pair:
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        arriving = asyncio.create_task(self._arrive(under_way, writer, direction))
        try:
            while data := await reader.read(65_536):
                under_way.put_nowait((self._loop.time() + self._delay_s, data))
            under_way.put_nowait((0.0, b""))
            await arriving
        finally:
            arriving.cancel()
            writer.transport.abort()

    async def _arrive(
        self, under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, direction: str
    ) -> None:
        while True:
            at, data = await under_way.get()
            await asyncio.sleep(max(at - self._loop.time(), 0))
            await self._open[direction].wait()
            if not data:
                return
            writer.write(data)
            await writer.drain()

"""A receiver of webhooks on a real socket, that answers, refuses, hangs or hangs up as a test says."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h11
from primacy_coordinator.core.monitor.alerts.alert import Alert
from primacy_coordinator.core.monitor.alerts.evaluate import AlertState, Life
from primacy_coordinator.core.monitor.alerts.finding import Finding
from primacy_coordinator.core.severity import Severity

HANG = 0
"""As a status: no answer at all."""
HANG_UP = -1
"""The connection is closed without an answer."""
WAIT_S = 20.0


class AtOnce(random.Random):
    """Draws the shortest wait."""

    def randint(self, a: int, b: int) -> int:
        return a


@dataclass
class Got:
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def __str__(self) -> str:
        return f"{self.json['kind']} {self.json['alert']['id']}"


@dataclass
class Receiver:
    url: str = ""
    status: int = 200
    statuses: dict[str, int] = field(default_factory=dict)
    """By id of the alert, instead of `status`."""
    tries: int = 0
    got: list[Got] = field(default_factory=list)
    """What was taken."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, fact: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not fact():
                self.changed.clear()
                try:
                    await asyncio.wait_for(self.changed.wait(), 0.05)
                except TimeoutError:
                    continue

    def kinds(self) -> list[str]:
        return [str(one) for one in self.got]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        headers: dict[str, str] = {}
        body = b""
        try:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await reader.read(65_536))
                elif isinstance(event, h11.Request):
                    headers = {name.decode(): value.decode() for name, value in event.headers}
                elif isinstance(event, h11.Data):
                    body += event.data
                else:
                    break
            got = Got(headers, body)
            status = self.statuses.get(got.json["alert"]["id"], self.status)
            self.tries += 1
            self.changed.set()
            if status == HANG:
                await asyncio.sleep(3600)
            if status == HANG_UP:
                return
            if status < 300:
                self.got.append(got)
                self.changed.set()
            answer = h11.Response(status_code=status, headers=[("Content-Length", "2")])
            for part in (answer, h11.Data(data=b"ok"), h11.EndOfMessage()):
                writer.write(connection.send(part) or b"")
            await writer.drain()
        finally:
            writer.transport.abort()


@asynccontextmanager
async def receiver(port: int = 0) -> AsyncIterator[Receiver]:
    made = Receiver()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await made.serve(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield made
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def alert(
    rule: str = "region-down",
    region: str = "eu",
    state: AlertState = AlertState.FIRING,
    fire_wall_ns: int = 10**18,
    severity: Severity = Severity.CRITICAL,
    announced: bool = True,
    **more: Any,
) -> Alert:
    return Alert(
        Finding(rule, region, value=1.5),
        Life(state),
        severity,
        summary=f"{rule} in {region}",
        advice="look",
        start_wall_ns=fire_wall_ns,
        fire_wall_ns=fire_wall_ns,
        resolve_wall_ns=fire_wall_ns + 10**9 if state is AlertState.RESOLVED else 0,
        announced=announced,
        **more,
    )

"""Believable clients in every region of a local cluster: what makes its figures move.

Each client region asks its own agent where to send a request, as any client would, and counts what became of it there.
Reads are predictions; now and then somebody writes a note to the active region, under its epoch.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from primacy_agent.client import Client, ClientError, Pick
from primacy_wire.daemon import FolderError, StateFolder, follow_parent
from primacy_wire.http_client import Answer, HttpFailure, request

from primacy_cli.demo.counts import Counts, RegionCounts
from primacy_cli.demo.demand import Demand
from primacy_cli.demo.model import INPUTS

PROGRAM = "primacy-demo-traffic"
RATE_MAX = 200.0
"""Requests per second of each region: what runs here is one process, on somebody's laptop."""
ANSWER_S_MAX = 2.5
WAITING_MAX = 200
"""Requests of one region that are under way; more are not sent."""
WRITE_EVERY = 100
"""One request of so many is a write."""
TICK_S = 0.02
TELL_S = 1.0


class Clients:
    """Everybody in one region who sends requests."""

    def __init__(self, region: str, client: Client, demand: Demand, counts: RegionCounts) -> None:
        self._region = region
        self._client = client
        self._demand = demand
        self._counts = counts
        self._draw = random.Random(region)
        self._under_way: set[asyncio.Task[None]] = set()
        self._sent = 0

    async def run(self) -> None:
        """Send until cancelled, from when the agent has said where to."""
        while not self._is_ready():
            self._counts.trouble = self._client.trouble or "its agent knows no weights yet"
            await asyncio.sleep(10 * TICK_S)
        begun = last = time.monotonic()
        owed, told_at, told_sent = 0.0, begun, 0
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            # After a standstill nothing is caught up with: nobody's users wait in line to ask all at once.
            owed += self._demand.at(now - begun) * min(now - last, 10 * TICK_S)
            last = now
            while owed >= 1:
                owed -= 1
                self._send()
            if now - told_at >= TELL_S:
                self._counts.rate = (self._sent - told_sent) / (now - told_at)
                self._counts.trouble = self._client.trouble
                told_at, told_sent = now, self._sent

    def _is_ready(self) -> bool:
        try:
            self._client.weights()
        except ClientError:
            return False
        return True

    async def end(self) -> None:
        """Ask for nothing more, and wait for no answer."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _send(self) -> None:
        if len(self._under_way) >= WAITING_MAX:
            self._counts.skipped += 1
            return
        self._sent += 1
        task = asyncio.create_task(self._write() if self._draw.randrange(WRITE_EVERY) == 0 else self._read())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _read(self) -> None:
        body = json.dumps({"inputs": [round(self._draw.gauss(0, 1), 3) for _ in range(INPUTS)]}).encode()
        try:
            first = self._client.pick()
        except ClientError:
            self._counts.failed += 1
            return
        if await self._predicted(first, body):
            self._counts.reads += 1
            return
        for other in self._client.alternatives(first.region)[:1]:
            self._client.count(other.region, "retry")
            if await self._predicted(other, body):
                self._counts.reads += 1
                self._counts.retried += 1
                return
        self._counts.failed += 1

    async def _predicted(self, pick: Pick, body: bytes) -> bool:
        answer = await self._post(pick, "/predict", body, {"Content-Type": "application/json"})
        if answer is not None and answer.status == 200:
            return True
        self._client.count(pick.region, "error")
        return False

    async def _write(self) -> None:
        try:
            target = self._client.pick(write=True)
        except ClientError:
            self._counts.refused += 1
            return
        note = f"a note from {self._region}".encode()
        answer = await self._post(target, "/notes", note, {"Primacy-Epoch": str(target.epoch)})
        if answer is not None and answer.status == 200:
            self._counts.writes += 1
        else:
            self._counts.refused += 1
            self._client.count(target.region, "error", write=True)

    async def _post(self, pick: Pick, path: str, body: bytes, headers: dict[str, str]) -> Answer | None:
        """None: nobody answered."""
        if not pick.endpoint:
            return None
        try:
            return await request("POST", f"http://{pick.endpoint}{path}", body, headers, ANSWER_S_MAX)
        except HttpFailure:
            return None


async def _run(regions: Sequence[tuple[str, str, float]], rate: float, folder: Path) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    counts = Counts({name: RegionCounts() for name, _, _ in regions})
    with ExitStack() as stack:
        crowds = [
            Clients(name, stack.enter_context(Client(agent)), Demand(rate, longitude, name), counts.regions[name])
            for name, agent, longitude in regions
        ]
        tasks = [asyncio.create_task(crowd.run()) for crowd in crowds]
        print(f"sending {rate:g} requests/s from each of {len(regions)} regions", flush=True)
        while not stopping.is_set():
            counts.write(folder)
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), TELL_S)
            for task in tasks:
                if task.done():
                    task.result()  # A mistake of ours ends the program, instead of a silence.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for crowd in crowds:
            await crowd.end()


def _region(text: str) -> tuple[str, str, float]:
    """`NAME=AGENT@LONGITUDE`. Raises ValueError."""
    name, _, rest = text.partition("=")
    agent, _, longitude = rest.rpartition("@")
    if not (name and agent):
        raise ValueError(text)
    return name, agent, float(longitude)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 stopped as told, 1 cannot run, 2 wrong usage."""
    follow_parent()
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Clients of a local cluster.")
    parser.add_argument("--state-dir", required=True, type=Path, metavar="DIR", help="folder of its counts")
    parser.add_argument("--rate", required=True, type=float, metavar="N", help="requests per second of each region")
    parser.add_argument(
        "--region",
        required=True,
        action="append",
        type=_region,
        metavar="NAME=AGENT@LONGITUDE",
        help="a client region and the gRPC address of its agent",
    )
    arguments = parser.parse_args(argv)
    if not 0 < arguments.rate <= RATE_MAX:
        parser.error(f"--rate: must be above 0, and {RATE_MAX:g} at most")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    try:
        with StateFolder(arguments.state_dir, PROGRAM):
            asyncio.run(_run(arguments.region, arguments.rate, arguments.state_dir))
    except (FolderError, OSError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Many agents in one process, spoken by hand: each has a connection and a session, and reports at a rate.

usage: python -m bench.load ADDRESS FIRST END RATE   (agents FIRST to END - 1; RATE: reports a second, of all of them)

Says `ready` when every agent has its welcome, then obeys one order a line: `rate N`, or `sample`, which prints what
happened since the sample before as a line of JSON. Ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from primacy.v1 import agent_pb2
from primacy.v1 import agent_service_pb2 as pb
from primacy.v1.agent_service_pb2_grpc import AgentServiceStub
from primacy_wire.channel import make_channel
from primacy_wire.messages import (
    PROTOCOL_VERSION,
    Hello,
    Lineage,
    Load,
    Membership,
    Phase,
    RegionSpec,
    Report,
    ServiceHealth,
    ServiceState,
)
from primacy_wire.session_codec import from_agent_to_proto

REGIONS = 10
CONNECTING_AT_ONCE = 50


def make_detail() -> agent_pb2.ReportDetail:
    """Ten probes and twenty series, as a busy agent sends them."""
    probes = [
        agent_pb2.ProbeResult(name=f"probe-{n}", kind="http", target=f"http://10.0.0.{n}/healthz", healthy=True)
        for n in range(10)
    ]
    series = [
        agent_pb2.Series(name=f"series_{n}", labels={"model": "m1", "shard": str(n)}, value=n * 1.5) for n in range(20)
    ]
    return agent_pb2.ReportDetail(probes=probes, series=series)


class Totals:
    """What happened since the last sample, and the pace."""

    def __init__(self, rate: float, agents: int) -> None:
        self.agents = agents
        self.interval_s = agents / rate
        self.welcomes = 0
        self.clear()

    def clear(self) -> None:
        self.reports = 0
        self.answers = 0
        self.worst_s = 0.0
        self.weights: dict[int, list[float]] = {}

    def line(self) -> str:
        worst_s = self.worst_s if self.answers else float("inf")
        found = {"reports": self.reports, "answers": self.answers, "worst": worst_s, "weights": self.weights}
        self.clear()
        return json.dumps(found)


class Agent:
    """One session."""

    def __init__(self, number: int, totals: Totals) -> None:
        self.incarnation = f"life-{number}"
        self._totals = totals
        self._sent: dict[int, float] = {}
        self._writing = asyncio.Lock()
        """gRPC takes one write of a stream at a time."""
        self._hello = Hello("default", f"r{number % REGIONS}", f"a{number}", self.incarnation, "host",
                            PROTOCOL_VERSION, Lineage(), 0, Membership(), f"10.0.0.1:{number + 1}",
                            RegionSpec())  # fmt: skip
        report = Report(self.incarnation, 0, 0, False, Phase.STANDBY, 0, Lineage(), 0, 0, 0, "",
                        ServiceHealth(ServiceState.UP, 1, 1), Load(100.0, 0.0, 5_000_000, 0.5, 1000.0), (), (),
                        detail=make_detail())  # fmt: skip
        self._request = from_agent_to_proto(report)

    async def run(self, address: str, share: float, gate: asyncio.Semaphore, ready: asyncio.Event) -> None:
        """`share`: how far into the interval its reports fall, 0 to 1."""
        async with make_channel(address) as channel:
            call = AgentServiceStub(channel).Session(wait_for_ready=True)
            async with gate:
                await call.write(from_agent_to_proto(self._hello))
                welcome = await call.read()
                # Who does not follow the store is greeted anew with each report.
                self._request.report.lineage.CopyFrom(welcome.welcome.lineage)
            self._totals.welcomes += 1
            reading = asyncio.create_task(self._read(call))
            await ready.wait()
            try:
                await self._report(call, share, reading)
            finally:
                call.cancel()

    async def _report(self, call: Any, share: float, reading: asyncio.Task[None]) -> None:
        await asyncio.sleep(share * self._totals.interval_s)
        due = time.monotonic()
        report = self._request.report
        while not reading.done():
            report.number += 1
            self._sent[report.number] = time.monotonic()
            async with self._writing:
                await call.write(self._request)
            self._totals.reports += 1
            # Whoever is late goes on from now: a backlog would be no rate.
            due = max(due + self._totals.interval_s, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
        reading.result()
        raise RuntimeError("the server ended a session")

    async def _read(self, call: Any) -> None:
        totals, report = self._totals, self._request.report
        while isinstance(message := await call.read(), pb.SessionResponse):
            if message.HasField("answer"):
                number = message.answer.report
                report.answered = max(report.answered, number)
                began = self._sent.pop(number, None)
                if began is not None:
                    totals.answers += 1
                    totals.worst_s = max(totals.worst_s, time.monotonic() - began)
            elif message.HasField("weights"):
                totals.weights.setdefault(message.weights.version, []).append(time.monotonic())
            elif message.HasField("offer"):
                report.epoch, report.valid = message.offer.epoch, True
                accept = pb.Accept(incarnation=self.incarnation, epoch=message.offer.epoch)
                async with self._writing:
                    await call.write(pb.SessionRequest(accept=accept))


async def main(address: str, first: int, end: int, rate: float) -> None:
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    totals = Totals(rate, end - first)
    ready = asyncio.Event()
    gate = asyncio.Semaphore(CONNECTING_AT_ONCE)
    async with asyncio.TaskGroup() as group:
        for number in range(first, end):
            group.create_task(Agent(number, totals).run(address, (number - first) / (end - first), gate, ready))
        while totals.welcomes < end - first:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        print("ready", flush=True)
        ready.set()
        while order := (await orders.readline()).decode().split():
            if order[0] == "rate":
                totals.interval_s = totals.agents / float(order[1])
            else:
                print(totals.line(), flush=True)
        raise SystemExit


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))

"""Many agents in one process, spoken by hand: each has a session and reports at a rate. Prints JSON lines.

usage: python -m bench.load ADDRESS AGENTS RATE SECONDS   (RATE: reports a second, over all agents)
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

from bench.rows import percentile

AGENTS_PER_CHANNEL = 10
REGIONS = 10


def _detail() -> agent_pb2.ReportDetail:
    """Ten probes and twenty series, as a busy agent would send."""
    probes = [
        agent_pb2.ProbeResult(name=f"probe-{n}", kind="http", target=f"http://10.0.0.{n}/healthz", healthy=True)
        for n in range(10)
    ]
    series = [
        agent_pb2.Series(name=f"series_{n}", labels={"model": "m1", "shard": str(n)}, value=n * 1.5) for n in range(20)
    ]
    return agent_pb2.ReportDetail(probes=probes, series=series)


class Agent:
    """One session."""

    def __init__(self, number: int, totals: dict[str, Any]) -> None:
        self.region = f"r{number % REGIONS}"
        self.incarnation = f"life-{number}"
        self.name = f"a{number}"
        self.totals = totals
        self.sent: dict[int, float] = {}
        report = Report(self.incarnation, 0, 0, False, Phase.STANDBY, 0, Lineage(), 0, 0, 0, "",
                        ServiceHealth(ServiceState.UP, 1, 1), Load(100.0, 0.0, 5_000_000, 0.5, 1000.0), (), (),
                        _detail())  # fmt: skip
        self.request = from_agent_to_proto(report)

    async def run(self, stub: AgentServiceStub, interval_s: float, phase_s: float, ready: asyncio.Event) -> None:
        call = stub.Session()
        hello = Hello("default", self.region, self.name, self.incarnation, "host", PROTOCOL_VERSION, Lineage(), 0,
                      Membership(), f"10.0.0.1:{len(self.name)}", RegionSpec())  # fmt: skip
        await call.write(from_agent_to_proto(hello))
        await call.read()
        self.totals["connected"] += 1
        reading = asyncio.create_task(self._read(call))
        await ready.wait()
        await asyncio.sleep(phase_s)
        due = time.monotonic()
        try:
            while not reading.done():
                report = self.request.report
                report.number += 1
                self.sent[report.number] = time.monotonic()
                await call.write(self.request)
                self.totals["reports"] += 1
                due += interval_s
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            reading.result()
        finally:
            call.cancel()

    async def _read(self, call: Any) -> None:
        while isinstance(message := await call.read(), pb.SessionResponse):
            if message.HasField("answer"):
                report = self.request.report
                report.answered = max(report.answered, message.answer.report)
                began = self.sent.pop(message.answer.report, None)
                if began is not None:
                    self.totals["latencies"].append(time.monotonic() - began)
            elif message.HasField("weights"):
                self.totals["weights"].setdefault(str(message.weights.version), []).append(time.monotonic())
            elif message.HasField("offer"):
                self.request.report.epoch = message.offer.epoch
                self.request.report.valid = True
                accept = pb.Accept(incarnation=self.incarnation, epoch=message.offer.epoch)
                await call.write(pb.SessionRequest(accept=accept))


async def main(address: str, agents: int, rate: float, seconds: float) -> None:
    totals: dict[str, Any] = {"connected": 0, "reports": 0, "latencies": [], "weights": {}}
    ready = asyncio.Event()
    channels = [make_channel(address) for _ in range(-(-agents // AGENTS_PER_CHANNEL))]
    stubs = [AgentServiceStub(channel) for channel in channels]
    interval_s = agents / rate
    tasks = [
        asyncio.create_task(
            Agent(n, totals).run(stubs[n // AGENTS_PER_CHANNEL], interval_s, interval_s * n / agents, ready)
        )
        for n in range(agents)
    ]
    while totals["connected"] < agents:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    print(json.dumps({"ready": True}), flush=True)
    ready.set()
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        await asyncio.sleep(1.0)
        latencies, totals["latencies"] = totals["latencies"], []
        line = {
            "at": time.monotonic(),
            "reports": totals["reports"],
            "answers": len(latencies),
            "p50": percentile(latencies, 0.5) if latencies else None,
            "p99": percentile(latencies, 0.99) if latencies else None,
        }
        print(json.dumps(line), flush=True)
    print(json.dumps({"weights": totals["weights"]}), flush=True)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for channel in channels:
        await channel.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))

"""How long a change of the weights takes to 1,000 agents, from the call that causes it."""

from __future__ import annotations

import time

from primacy.v1 import region_pb2, region_service_pb2
from primacy.v1.region_service_pb2_grpc import RegionServiceStub
from primacy_wire.channel import make_sync_channel

from bench.rows import Row, percentile
from bench.servers import coordinator, load

CHANGES = 5


def run(agents: int = 1000) -> list[Row]:
    calls: list[float] = []
    received: dict[str, list[float]] = {}
    with (
        coordinator() as (_, address),
        load(address, agents, float(agents), CHANGES + 6) as lines,
        make_sync_channel(address) as channel,
    ):
        stub = RegionServiceStub(channel)
        for count, line in enumerate(lines):
            received = line.get("weights", received)
            if 4 <= count < 4 + CHANGES:
                region = region_pb2.Region(name="r1", endpoint=f"10.0.0.{count}:80")
                request = region_service_pb2.UpdateRegionRequest(region=region)
                request.update_mask.paths.append("endpoint")
                calls.append(time.monotonic())
                stub.UpdateRegion(request, timeout=10)
    took = []
    for began in calls:
        after = [sorted(times) for times in received.values() if len(times) == agents and min(times) >= began]
        if after:
            first = min(after, key=lambda times: times[0])
            took.append([at - began for at in first])
    p50 = percentile([percentile(times, 0.5) for times in took], 0.5) * 1000
    p99 = percentile([percentile(times, 0.99) for times in took], 0.5) * 1000
    return [
        Row(f"push: weights to {agents} agents, p50", p50, "ms"),
        Row(f"push: weights to {agents} agents, p99", p99, "ms"),
    ]

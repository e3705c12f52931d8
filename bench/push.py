"""How long a change of the weights takes to 1,000 agents, from the call that causes it to each stream's end.

The floor is a bare server that sends the same message to as many streams. In both, agents report once a second.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from primacy.v1 import region_pb2, region_service_pb2
from primacy.v1.region_service_pb2_grpc import RegionServiceStub
from primacy_wire.channel import make_sync_channel

from bench.reports import SETTLE_S
from bench.rows import Row, percentile
from bench.servers import Agents, Server, agents, bare, coordinator

CHANGES = 5
ARRIVE_S = 1.0


def _through_coordinator(server: Server, load: Agents, count: int) -> list[list[float]]:
    with make_sync_channel(server.address) as channel:
        stub = RegionServiceStub(channel)

        def change(number: int) -> None:
            region = region_pb2.Region(name="r1", endpoint=f"10.0.0.{number + 1}:80")
            request = region_service_pb2.UpdateRegionRequest(region=region)
            request.update_mask.paths.append("endpoint")
            stub.UpdateRegion(request, timeout=10)

        return _times(change, load, count)


def _times(change: Callable[[int], None], load: Agents, count: int) -> list[list[float]]:
    """For each change, how many ms it took to each agent, sorted. Raises RuntimeError if one did not hear of it."""
    found = []
    for number in range(CHANGES):
        load.sample()
        began = time.monotonic()
        change(number)
        time.sleep(ARRIVE_S + 0.137)  # Not in step with the reports.
        whole = [times for times in load.sample().weights.values() if len(times) == count]
        if not whole:
            raise RuntimeError(f"change {number} did not reach all {count} agents within {ARRIVE_S} s")
        found.append(sorted((at - began) * 1000 for at in min(whole)))
    return found


def run(count: int = 1000, settle_s: float = SETTLE_S) -> list[Row]:
    with coordinator() as server, agents(server.address, count) as load:
        time.sleep(settle_s)
        ours = _through_coordinator(server, load, count)
    with bare() as server, agents(server.address, count) as load:
        time.sleep(1.0)

        def order(_: int) -> None:
            server.orders.write("push\n")
            server.orders.flush()

        floor = _times(order, load, count)
    return [
        Row(
            f"push: weights to {count} agents, p{share * 100:.0f}",
            statistics.median(percentile(times, share) for times in ours), "ms",
            "bare server", statistics.median(percentile(times, share) for times in floor),
        )
        for share in (0.5, 0.99)
    ]  # fmt: skip

"""What both xDS servers under test push, how they are ordered to, and the client that takes it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio
from primacy_agent.dataplane.xds.descriptors import message
from primacy_agent.dataplane.xds.kinds import ENDPOINTS

REGIONS = ("ap", "eu", "us")


def weights(number: int) -> tuple[tuple[str, float], ...]:
    """(region, share); each push has others than those before."""
    moved = number % 6_000 / 10_000
    return (("ap", 0.1 + moved), ("eu", 0.2), ("us", 0.7 - moved))


async def answer_orders(push: Callable[[], Awaitable[float]]) -> None:
    """Each line of standard input is a count of pushes; answered with what each took, in seconds."""
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        took = [await push() for _ in range(int(line))]
        print(json.dumps(took), flush=True)


async def follow(address: str) -> None:
    """Take every push at once, as a proxy does."""
    request, response = (message(f"envoy.service.discovery.v3.Discovery{kind}") for kind in ("Request", "Response"))
    async with grpc.aio.insecure_channel(address) as channel:
        call: Any = channel.stream_stream(
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )()
        asked = request(type_url=ENDPOINTS, resource_names=["shop"], node={"id": "bench"})
        await call.write(asked)
        while (pushed := await call.read()) is not grpc.aio.EOF:
            asked.response_nonce = pushed.nonce
            asked.version_info = pushed.version_info
            await call.write(asked)


if __name__ == "__main__":
    asyncio.run(follow(sys.argv[1]))

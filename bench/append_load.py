"""So many callers in one process, each appending one document after the other over gRPC.

usage: python -m bench.append_load ADDRESS CALLERS EPOCH local|regions REGION

Says `ready` when every caller has had an answer, then obeys one order a line: `run SECONDS`, which prints a line of
JSON with how many appends were acknowledged in that time and how long each took. Ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import grpc
import grpc.aio
from blake3 import blake3
from primacy.v1 import replication_pb2
from primacy.v1 import replication_service_pb2 as pb
from primacy_wire.channel import make_channel

METHOD = "/primacy.v1.ReplicationService/Append"
CONTENT = b'{"limit": 100, "names": ["resnet", "bert"], "weights": {"eu": 0.5, "us": 0.25, "ap": 0.25}}'
KEYS = 1_000
"""Documents that are written in turn, each by one caller alone."""


def make_request(epoch: int, durability: replication_pb2.Durability.ValueType, region: str) -> pb.AppendRequest:
    entry = replication_pb2.Entry(
        kind=replication_pb2.ENTRY_KIND_CONFIG,
        digest=blake3(CONTENT).hexdigest(),
        time=replication_pb2.HybridTime(wall_ns=time.time_ns()),
        epoch=epoch,
        origin=region,
        agent=f"{region}/a0",
        content=CONTENT,
        format="json",
    )
    return pb.AppendRequest(entry=entry, durability=durability)


class Caller:
    """Appends versions of documents of its own, so that none is a conflict."""

    def __init__(self, number: int, callers: int, call: grpc.aio.UnaryUnaryMultiCallable, request: pb.AppendRequest):
        self._keys = [f"bench/{number}/{each}" for each in range(max(1, KEYS // callers))]
        self._parents = dict.fromkeys(self._keys, 0)
        self._call = call
        self._request = pb.AppendRequest()
        self._request.CopyFrom(request)
        self._number = number
        self._count = 0

    async def append(self) -> None:
        key = self._keys[self._count % len(self._keys)]
        entry = self._request.entry
        entry.id = f"{self._number}-{self._count}"
        entry.key = key
        entry.parent = self._parents[key]
        self._count += 1
        response = await self._call(self._request)
        if response.outcome != pb.APPEND_OUTCOME_APPENDED:
            raise RuntimeError(f"an append ended as {response}")
        self._parents[key] = response.sequence

    async def append_on(self, until: float, times: list[float]) -> None:
        now = time.monotonic()
        while now < until:
            began = now
            await self.append()
            now = time.monotonic()
            times.append(now - began)


async def main(address: str, count: int, epoch: int, durability: str, region: str) -> None:
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    request = make_request(epoch, replication_pb2.Durability.Value(f"DURABILITY_{durability.upper()}"), region)
    async with make_channel(address) as channel:
        call = channel.unary_unary(
            METHOD,
            request_serializer=pb.AppendRequest.SerializeToString,
            response_deserializer=pb.AppendResponse.FromString,
        )
        callers = [Caller(number, count, call, request) for number in range(count)]
        await asyncio.gather(*(caller.append() for caller in callers))
        print("ready", flush=True)
        while order := (await orders.readline()).decode().split():
            times: list[float] = []
            began = time.monotonic()
            await asyncio.gather(*(caller.append_on(began + float(order[1]), times) for caller in callers))
            times.sort()
            print(
                json.dumps(
                    {
                        "rate": len(times) / (time.monotonic() - began),
                        "p50": times[len(times) // 2],
                        "p99": times[int(len(times) * 0.99)],
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]))

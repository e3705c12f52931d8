"""The floor: a grpc.aio server that parses a session's messages and answers each, and does nothing else.

usage: python -m bench.bare_server ADDRESS   (each line on its standard input sends new weights to every session)
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

from primacy.v1 import agent_service_pb2 as pb
from primacy.v1 import agent_service_pb2_grpc, routing_pb2
from primacy_wire.server import listen, make_server

from bench.load import REGIONS


class BareAgentService(agent_service_pb2_grpc.AgentServiceServicer):
    def __init__(self) -> None:
        self._sessions: dict[Any, asyncio.Lock] = {}

    async def Session(  # type: ignore[override]  # noqa: N802
        self, _: AsyncIterator[pb.SessionRequest], context: Any
    ) -> None:
        lock = self._sessions[context] = asyncio.Lock()
        try:
            while isinstance(request := await context.read(), pb.SessionRequest):
                if request.HasField("report"):
                    report = request.report
                    answer = pb.Answer(incarnation=report.incarnation, report=report.number, ttl_ns=5_000_000_000)
                    response = pb.SessionResponse(answer=answer)
                else:
                    response = pb.SessionResponse(welcome=pb.Welcome(report_interval_ns=1_000_000_000))
                async with lock:  # gRPC allows one write of a stream at a time.
                    await context.write(response)
        finally:
            del self._sessions[context]

    async def push(self, version: int) -> None:
        """To every session, as fast as it goes."""
        names = [f"r{number}" for number in range(REGIONS)]
        weights = pb.WeightsUpdate(
            version=version,
            strategy=routing_pb2.ROUTING_STRATEGY_GEOGRAPHIC,
            read=dict.fromkeys(names, 0.1),
            write={**dict.fromkeys(names, 0.0), names[0]: 1.0},
            active_region=names[0],
            active_epoch=1,
            endpoints=dict.fromkeys(names, "10.0.0.1:80"),
        )
        response = pb.SessionResponse(weights=weights)

        async def send(context: Any, lock: asyncio.Lock) -> None:
            async with lock:
                await context.write(response)

        await asyncio.gather(*(send(context, lock) for context, lock in self._sessions.items()))


async def main(address: str) -> None:
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    server = make_server()
    service = BareAgentService()
    agent_service_pb2_grpc.add_AgentServiceServicer_to_server(service, server)
    listen(server, address)
    await server.start()
    print("ready", flush=True)
    version = 0
    while await orders.readline():
        version += 1
        await service.push(version)
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

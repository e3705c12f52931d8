"""The floor: a grpc.aio server that parses a session's messages and answers each, and does nothing else."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

from primacy.v1 import agent_service_pb2 as pb
from primacy.v1 import agent_service_pb2_grpc
from primacy_wire.server import listen, make_server


class BareAgentService(agent_service_pb2_grpc.AgentServiceServicer):
    async def Session(  # type: ignore[override]  # noqa: N802
        self, _: AsyncIterator[pb.SessionRequest], context: Any
    ) -> None:
        while True:
            request = await context.read()
            if not isinstance(request, pb.SessionRequest):
                return
            if request.HasField("hello"):
                await context.write(pb.SessionResponse(welcome=pb.Welcome(report_interval_ns=1_000_000_000)))
            elif request.HasField("report"):
                report = request.report
                answer = pb.Answer(incarnation=report.incarnation, report=report.number, ttl_ns=5_000_000_000)
                await context.write(pb.SessionResponse(answer=answer))


async def main(address: str) -> None:
    server = make_server()
    agent_service_pb2_grpc.add_AgentServiceServicer_to_server(BareAgentService(), server)
    listen(server, address)
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

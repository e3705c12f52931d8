"""LocalService for the own service, PeerService for other agents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc.aio
from primacy.agent.v1 import local_service_pb2 as pb
from primacy.agent.v1 import peer_service_pb2
from primacy.agent.v1.local_service_pb2_grpc import LocalServiceServicer
from primacy.agent.v1.peer_service_pb2_grpc import PeerServiceServicer
from primacy.v1 import agent_pb2
from primacy_wire.errors import NotFound

from primacy_agent.local.answers import Answers
from primacy_agent.node import Node

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class LocalService(LocalServiceServicer):
    """Translates; `Answers` knows."""

    def __init__(self, node: Node, answers: Answers) -> None:
        self._node = node
        self._answers = answers

    async def GetActive(self, request: pb.GetActiveRequest, context: Context) -> pb.GetActiveResponse:
        self._answers.check_group(request.group)
        return self._answers.active()

    async def WatchActive(
        self, request: pb.WatchActiveRequest, context: Context
    ) -> AsyncIterator[pb.WatchActiveResponse]:
        self._answers.check_group(request.group)
        last = None
        async with aclosing(self._node.changes()) as changes:
            async for _ in changes:
                answer = self._answers.watched()
                remaining = answer.remaining.ToNanoseconds()
                answer.ClearField("remaining")
                if answer == last:
                    continue  # The weights changed, and this did not.
                last = pb.WatchActiveResponse()
                last.CopyFrom(answer)
                answer.remaining.FromNanoseconds(remaining)
                yield answer

    async def GetWeights(self, request: pb.GetWeightsRequest, context: Context) -> pb.GetWeightsResponse:
        self._answers.check_group(request.group)
        return self._answers.weights(request.traffic_class)

    async def Route(self, request: pb.RouteRequest, context: Context) -> pb.RouteResponse:
        return self._answers.route(request)

    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        self._answers.check_group(request.group)
        return self._answers.status()


class PeerService(PeerServiceServicer):
    def __init__(self, node: Node) -> None:
        self._node = node

    async def Ping(self, request: peer_service_pb2.PingRequest, context: Context) -> peer_service_pb2.PingResponse:
        node = self._node
        if request.group not in ("", node.config.group):
            raise NotFound("group", request.group, f"this agent belongs to {node.config.group!r}")
        if request.to_agent not in ("", node.key):
            raise NotFound("agent", request.to_agent, f"this is {node.key}")
        return peer_service_pb2.PingResponse(
            group=node.config.group,
            agent=node.key,
            incarnation=node.incarnation,
            service_state=agent_pb2.ServiceState.ValueType(int(node.probes.health.state)),
        )

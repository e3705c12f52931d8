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
from primacy_agent.local.documents import Documents
from primacy_agent.local.models import ModelAnswers
from primacy_agent.node import Node

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class LocalService(LocalServiceServicer):
    """Translates; `Answers` knows."""

    def __init__(self, node: Node, answers: Answers) -> None:
        self._node = node
        self._answers = answers
        self._documents = Documents(node.replication)
        self._models = ModelAnswers(node.replication)

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

    async def WatchWeights(
        self, request: pb.WatchWeightsRequest, context: Context
    ) -> AsyncIterator[pb.WatchWeightsResponse]:
        self._answers.check_group(request.group)
        last = None
        async with aclosing(self._node.changes()) as changes:
            async for _ in changes:
                traffic = self._node.rows.traffic
                if last is None or traffic is not last[0]:
                    last = (traffic,)
                    yield self._answers.watched_weights()

    async def CountRoutes(self, request: pb.CountRoutesRequest, context: Context) -> pb.CountRoutesResponse:
        return self._answers.count(request)

    async def Route(self, request: pb.RouteRequest, context: Context) -> pb.RouteResponse:
        return self._answers.route(request)

    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        self._answers.check_group(request.group)
        return self._answers.status()

    # ---- what is replicated

    async def Publish(self, request: pb.PublishRequest, context: Context) -> AsyncIterator[pb.PublishResponse]:
        self._answers.check_group(request.group)
        async with aclosing(self._models.publish(request)) as stages:
            async for stage in stages:
                yield stage

    async def WaitApplied(self, request: pb.WaitAppliedRequest, context: Context) -> pb.WaitAppliedResponse:
        self._answers.check_group(request.group)
        return await self._documents.wait_applied(request.sequence)

    async def PutConfig(self, request: pb.PutConfigRequest, context: Context) -> pb.PutConfigResponse:
        self._answers.check_group(request.group)
        return await self._documents.put(request)

    async def GetConfig(self, request: pb.GetConfigRequest, context: Context) -> pb.GetConfigResponse:
        self._answers.check_group(request.group)
        return await self._documents.get(request)

    async def ListConfigs(self, request: pb.ListConfigsRequest, context: Context) -> pb.ListConfigsResponse:
        self._answers.check_group(request.group)
        return await self._documents.list_configs(request)

    async def WatchConfig(
        self, request: pb.WatchConfigRequest, context: Context
    ) -> AsyncIterator[pb.WatchConfigResponse]:
        self._answers.check_group(request.group)
        async with aclosing(self._documents.watch(request)) as found:
            async for one in found:
                yield one

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        self._answers.check_group(request.group)
        return await self._models.list_models(request.name)

    async def ManageModel(self, request: pb.ManageModelRequest, context: Context) -> pb.ManageModelResponse:
        self._answers.check_group(request.group)
        return await self._models.manage(request)

    async def VerifyModels(
        self, request: pb.VerifyModelsRequest, context: Context
    ) -> AsyncIterator[pb.VerifyModelsResponse]:
        self._answers.check_group(request.group)
        async with aclosing(self._models.verify(request.name)) as found:
            async for one in found:
                yield one


class PeerService(PeerServiceServicer):
    def __init__(self, node: Node) -> None:
        self._node = node

    async def Ping(self, request: peer_service_pb2.PingRequest, context: Context) -> peer_service_pb2.PingResponse:
        node = self._node
        self._check_group(request.group)
        if request.to_agent not in ("", node.key):
            raise NotFound("agent", request.to_agent, f"this is {node.key}")
        return peer_service_pb2.PingResponse(
            group=node.config.group,
            agent=node.key,
            incarnation=node.incarnation,
            service_state=agent_pb2.ServiceState.ValueType(int(node.probes.health.state)),
        )

    async def FetchChunks(
        self, request: peer_service_pb2.FetchChunksRequest, context: Context
    ) -> AsyncIterator[peer_service_pb2.FetchChunksResponse]:
        """The same as `PieceServer.handler`, for whoever calls this class; the server is given the faster one."""
        async with aclosing(self._node.replication.pieces.fetch_chunks(request)) as found:
            async for frame in found:
                yield peer_service_pb2.FetchChunksResponse.FromString(frame)

    async def WatchPieces(
        self, request: peer_service_pb2.WatchPiecesRequest, context: Context
    ) -> AsyncIterator[peer_service_pb2.WatchPiecesResponse]:
        self._check_group(request.group)
        async with aclosing(self._node.replication.pieces.watch_pieces(request)) as found:
            async for one in found:
                yield one

    async def ShareMetrics(
        self, request: peer_service_pb2.ShareMetricsRequest, context: Context
    ) -> peer_service_pb2.ShareMetricsResponse:
        self._check_group(request.group)
        return self._node.replication.metrics.share(request)

    def _check_group(self, group: str) -> None:
        if group not in ("", self._node.config.group):
            raise NotFound("group", group, f"this agent belongs to {self._node.config.group!r}")

"""What this agent measures, rolled up, and what it knows of all regions, by the coordinator and by other agents."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

import grpc.aio
from primacy.agent.v1 import peer_service_pb2 as pb
from primacy.v1 import agent_service_pb2
from primacy_wire.clock import read_now
from primacy_wire.codec_log import metrics_from_proto, metrics_to_proto
from primacy_wire.errors import InvalidRequest
from primacy_wire.instant import SECOND_NS, Now
from primacy_wire.log_messages import GroupMetrics, MetricsSnapshot

from primacy_agent.core.rollup import WINDOW_NS, Rollup
from primacy_agent.core.sharing import GroupMetricsView, Kept
from primacy_agent.replication.appending import Link
from primacy_agent.transfer.sources import Links, SourceFailed

if TYPE_CHECKING:
    from primacy.agent.v1.peer_service_pb2_grpc import PeerServiceAsyncStub

CALL_S = 2.0
ROUND_S = WINDOW_NS / SECOND_NS
OFFERED_MAX = 256
"""Snapshots in one call."""


class MetricsShare:
    """Everything runs on the event loop's thread."""

    def __init__(self, group: str, region: str, key: str, incarnation: str, link: Link, links: Links) -> None:
        self._group = group
        self._region = region
        self._key = key
        self._link = link
        self._links = links
        self._rollup = Rollup(region, key, incarnation, read_now())
        self._view = GroupMetricsView()
        self._draw = random.Random()

    # ---- the own region

    def observe(self, values: Mapping[str, float]) -> None:
        """What the probes read just now, by name."""
        for name, value in values.items():
            self._rollup.observe(name, value)

    def due(self, now: Now) -> MetricsSnapshot | None:
        """The window that has just ended, to be told."""
        snapshot = self._rollup.close(now)
        if snapshot is not None:
            self._view.take((snapshot,), now.mono_ns)
        return snapshot

    # ---- the others

    def heard(self, metrics: GroupMetrics) -> None:
        self._view.take(metrics.snapshots, read_now().mono_ns)

    def share(self, request: pb.ShareMetricsRequest) -> pb.ShareMetricsResponse:
        """Another agent hands over what it has; it gets what is newer here. Raises InvalidRequest."""
        theirs = [_read(one) for one in request.snapshots[:OFFERED_MAX]]
        answer = self._view.newer_than(theirs)[:OFFERED_MAX]
        self._view.take(theirs, read_now().mono_ns)
        return pb.ShareMetricsResponse(snapshots=[metrics_to_proto(one) for one in answer])

    def regions(self) -> list[Kept]:
        """One for each region, sorted."""
        return self._view.regions()

    async def run(self) -> None:
        """Share with others: with one at random, with each while no coordinator is heard. Never returns."""
        while True:
            await asyncio.sleep(ROUND_S * self._draw.uniform(0.8, 1.2))
            others = sorted(self._links.addresses())
            if others and self._link.connected:
                others = [self._draw.choice(others)]
            for agent in others:
                await self._share_with(agent)
            self._view.forget(read_now().mono_ns)

    async def _share_with(self, agent: str) -> None:
        request = pb.ShareMetricsRequest(
            group=self._group,
            from_agent=self._key,
            snapshots=[metrics_to_proto(one) for one in self._view.of_agents()[:OFFERED_MAX]],
        )
        try:
            stub: PeerServiceAsyncStub = self._links.stub(agent)
            answer = await stub.ShareMetrics(request, timeout=CALL_S)
            self._view.take([_read(one) for one in answer.snapshots], read_now().mono_ns)
        except (SourceFailed, grpc.aio.AioRpcError, InvalidRequest):
            return  # Who cannot be reached now is asked another time.


def _read(proto: agent_service_pb2.MetricsSnapshot) -> MetricsSnapshot:
    """Raises InvalidRequest."""
    return metrics_from_proto(proto)

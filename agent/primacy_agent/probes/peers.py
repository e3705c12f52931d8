"""Looks at other regions: pings their agents and connects to their endpoints. More observers beat more retries."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable

import grpc
import grpc.aio
from primacy.agent.v1 import peer_service_pb2, peer_service_pb2_grpc
from primacy_wire.channel import ClientTls, make_channel
from primacy_wire.clock import read_now
from primacy_wire.messages import Directory, PeerSight

from primacy_agent.core.observing import Sight
from primacy_agent.probes.looks import look_tcp

logger = logging.getLogger(__name__)


class Peers:
    """Keeps one look a target going, as the directory says. `changed` is called when a target's reachability did."""

    def __init__(
        self,
        group: str,
        own_key: str,
        interval_s: float,
        timeout_s: float,
        tls: ClientTls | None,
        changed: Callable[[], None],
        draw: random.Random,
    ) -> None:
        self._group = group
        self._own_key = own_key
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._tls = tls
        self._changed = changed
        self._draw = draw
        self._sights: dict[tuple[str, str], Sight] = {}
        self._tasks: dict[tuple[str, str, str], asyncio.Task[None]] = {}

    def follow(self, directory: Directory) -> None:
        """Look at whom the directory names, and at nobody else."""
        wanted = {(p.region, p.agent, p.address) for p in directory.peers}
        wanted |= {(region, "", endpoint) for region, endpoint in directory.endpoints}
        for target in [t for t in self._tasks if t not in wanted]:
            self._tasks.pop(target).cancel()
            self._sights.pop(target[:2], None)
        for target in wanted - set(self._tasks):
            self._tasks[target] = asyncio.create_task(self._watch(*target))

    async def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def sights(self) -> tuple[PeerSight, ...]:
        """What was last seen, as it goes into a report."""
        now_ns = read_now().mono_ns
        return tuple(sight.report(now_ns) for _, sight in sorted(self._sights.items()))

    def all(self) -> list[Sight]:
        return [sight for _, sight in sorted(self._sights.items())]

    async def _watch(self, region: str, agent: str, address: str) -> None:
        channel = make_channel(address, self._tls) if agent else None
        stub = peer_service_pb2_grpc.PeerServiceStub(channel) if channel is not None else None
        sight = Sight(region, agent, address, False, -1, 0)
        try:
            while True:
                began_ns = time.monotonic_ns()
                if stub is not None:
                    reached = await self._ping(stub, agent)
                else:
                    reached = (await look_tcp(address, self._timeout_s)).good
                before, sight = sight, sight.after(reached, time.monotonic_ns() - began_ns, read_now().mono_ns)
                self._sights[region, agent] = sight
                if before.looked_ns == 0 or before.reachable is not sight.reachable:
                    self._changed()
                await asyncio.sleep(self._interval_s * (1 - 0.1 * self._draw.random()))
        finally:
            if channel is not None:
                await channel.close()

    async def _ping(self, stub: peer_service_pb2_grpc.PeerServiceAsyncStub, agent: str) -> bool:
        request = peer_service_pb2.PingRequest(group=self._group, from_agent=self._own_key, to_agent=agent)
        try:
            answer = await stub.Ping(request, timeout=self._timeout_s)
        except grpc.aio.AioRpcError:
            return False
        return answer.agent == agent

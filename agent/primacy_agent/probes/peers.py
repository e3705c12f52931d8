"""Looks at other regions: pings their agents and connects to their endpoints. More observers beat more retries.

After a look that does not agree with the verdict, the next one comes sooner: that is what moves traffic.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import grpc
import grpc.aio
from primacy.agent.v1 import peer_service_pb2, peer_service_pb2_grpc
from primacy.v1 import agent_pb2
from primacy_wire.channel import ClientTls, make_channel
from primacy_wire.clock import read_now
from primacy_wire.messages import Directory, PeerSight

from primacy_agent.core.observing import Sight
from primacy_agent.probes.looks import look_tcp
from primacy_agent.tasks import Tasks

SOONER = 4
"""So many times sooner."""

_Target = tuple[str, str, str]
"""(region, agent or empty, address)."""


class Peers:
    """Keeps one look a target going, as the directory says. `changed` is called when what is made of one did."""

    def __init__(
        self,
        group: str,
        region: str,
        own_key: str,
        interval_s: float,
        timeout_s: float,
        tls: ClientTls | None,
        changed: Callable[[], None],
        draw: random.Random,
        tasks: Tasks,
    ) -> None:
        self._group = group
        self._region = region
        self._own_key = own_key
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._tls = tls
        self._changed = changed
        self._draw = draw
        self._started = tasks
        self._sights: dict[tuple[str, str], Sight] = {}
        self._tasks: dict[_Target, asyncio.Task[None]] = {}

    def follow(self, directory: Directory, own_endpoint: str = "") -> None:
        """Look at whom the directory names, and at nobody else; at the own region's endpoint where others share it."""
        wanted = {(p.region, p.agent, p.address) for p in directory.peers}
        wanted |= {(region, "", endpoint) for region, endpoint in directory.endpoints}
        if own_endpoint and any(
            agent.startswith(f"{self._region}/") and agent != self._own_key for agent in directory.membership.agents
        ):
            wanted.add((self._region, "", own_endpoint))
        for target in [t for t in self._tasks if t not in wanted]:
            self._tasks.pop(target).cancel()
            self._sights.pop(target[:2], None)
        for target in wanted - set(self._tasks):
            # Known at once: what was not looked at yet is not dead, and speaks against nobody.
            self._sights[target[:2]] = Sight(*target)
            self._tasks[target] = self._started.start(self._watch(*target), name=f"peer {target}")

    def sights(self) -> tuple[PeerSight, ...]:
        """What was last seen of other regions, as it goes into a report."""
        now_ns = read_now().mono_ns
        return tuple(sight.report(now_ns) for sight in self.seen() if sight.region != self._region)

    def all(self) -> list[Sight]:
        """Everybody, also who was not looked at yet."""
        return [sight for _, sight in sorted(self._sights.items())]

    def seen(self) -> list[Sight]:
        """Who was looked at."""
        return [sight for sight in self.all() if sight.looked_ns]

    async def _watch(self, region: str, agent: str, address: str) -> None:
        channel = make_channel(address, self._tls) if agent else None
        stub = peer_service_pb2_grpc.PeerServiceStub(channel) if channel is not None else None
        sight = Sight(region, agent, address)
        try:
            while True:
                before = sight
                if stub is None:
                    look = await look_tcp(address, self._timeout_s)
                    sight = sight.after(
                        look.good, look.latency_ns, read_now().mono_ns, certain=look.certain, why=look.message
                    )
                else:
                    sight = await self._ping(stub, sight)
                self._sights[region, agent] = sight
                if before.looked_ns == 0 or before.verdict != sight.verdict:
                    self._changed()
                pause_s = self._interval_s if sight.is_settled else self._interval_s / SOONER
                await asyncio.sleep(pause_s * (1 - 0.1 * self._draw.random()))
        finally:
            if channel is not None:
                await channel.close()

    async def _ping(self, stub: peer_service_pb2_grpc.PeerServiceAsyncStub, sight: Sight) -> Sight:
        request = peer_service_pb2.PingRequest(group=self._group, from_agent=self._own_key, to_agent=sight.agent)
        # The first ping on a new connection also pays for the connection: it says nothing about the way.
        why = ""
        for last in (True,) if sight.reachable else (False, True):
            began_ns = time.monotonic_ns()
            try:
                answer = await stub.Ping(request, timeout=self._timeout_s)
            except grpc.aio.AioRpcError as error:
                why = f"{error.code().name}: {error.details()}"
                break
            rtt_ns = time.monotonic_ns() - began_ns
            if answer.agent != sight.agent:
                why = f"{answer.agent or 'something else'} answers there"
                break
            if last:
                serving = answer.service_state != agent_pb2.SERVICE_STATE_DOWN
                return sight.after(True, rtt_ns, read_now().mono_ns, serving, why="its instances are down")
        return sight.after(False, 0, read_now().mono_ns, why=why)

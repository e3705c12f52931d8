"""The discovery services over gRPC: one task reads what a client asks, another sends it what it lacks.

Nothing queues up: what is sent is built from the newest snapshot when the client has taken what came before.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import grpc
import grpc.aio
from primacy_wire.clock import read_now
from primacy_wire.errors import Exhausted

from primacy_agent.dataplane.outputs import XdsClientView
from primacy_agent.dataplane.xds.descriptors import message
from primacy_agent.dataplane.xds.envelopes import describe_node, parse_delta, parse_world, render_delta, render_world
from primacy_agent.dataplane.xds.incremental import DeltaStream
from primacy_agent.dataplane.xds.kinds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, short
from primacy_agent.dataplane.xds.snapshot import Snapshot
from primacy_agent.dataplane.xds.subscriptions import Heard, Rejection
from primacy_agent.dataplane.xds.world import WorldStream

CLIENTS_MAX = 256
"""Streams at once: an agent serves the proxies beside it, not a fleet."""
ENVOY = "envoy"
NO_LISTENERS = frozenset({LISTENER})
"""Of these there are only those that gRPC clients dial; Envoy would not take them."""

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Rejected = Callable[[str, Rejection], None]
"""(node that rejects, what)."""

_SERVICES = (
    ("envoy.service.discovery.v3.AggregatedDiscoveryService", "AggregatedResources", ""),
    ("envoy.service.cluster.v3.ClusterDiscoveryService", "Clusters", CLUSTER),
    ("envoy.service.endpoint.v3.EndpointDiscoveryService", "Endpoints", ENDPOINTS),
    ("envoy.service.listener.v3.ListenerDiscoveryService", "Listeners", LISTENER),
    ("envoy.service.route.v3.RouteDiscoveryService", "Routes", ROUTES),
)
"""(service, what its methods are called after, its only type)."""


class _Client:
    """One stream."""

    def __init__(self, stream: WorldStream | DeltaStream, peer: str) -> None:
        self.stream = stream
        self.peer = peer
        self.node = ""
        self.user_agent = ""
        self.began_ns = read_now().mono_ns
        self.wake = asyncio.Event()
        """There may be something to send."""

    def introduced(self, request: Any) -> None:
        """The first message of a stream says whose it is; later ones need not."""
        if request.HasField("node"):
            self.node, self.user_agent = describe_node(request.node)
            self.stream.hidden = NO_LISTENERS if request.node.user_agent_name == ENVOY else frozenset()

    def view(self) -> XdsClientView:
        incremental = isinstance(self.stream, DeltaStream)
        connected_ns = read_now().mono_ns - self.began_ns
        shown = self.stream.views(self.stream.subscriptions)
        return XdsClientView(self.node, self.user_agent, self.peer, incremental, connected_ns, shown)


class Discovery:
    """All streams of all discovery services."""

    def __init__(self, rejected: Rejected, accepted: Callable[[], None]) -> None:
        """`accepted` is called when a client has taken what it was sent."""
        self.snapshot: Snapshot | None = None
        self.counts: Counter[tuple[str, str]] = Counter()
        """(what: `push`, `ack`, `nack`, `stale`, `bogus`; short name of the type) to how often, in this life."""
        self._rejected = rejected
        self._accepted = accepted
        self._clients: set[_Client] = set()
        self._closing = False

    def publish(self, snapshot: Snapshot) -> None:
        """From now on this is what there is."""
        self.snapshot = snapshot
        for client in self._clients:
            client.stream.snapshot = snapshot
            client.wake.set()

    def views(self) -> list[XdsClientView]:
        """Who is connected."""
        return [client.view() for client in self._clients]

    def close(self) -> None:
        """End every stream, and take no other."""
        self._closing = True
        for client in self._clients:
            client.wake.set()

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """For a server."""
        return [
            grpc.method_handlers_generic_handler(
                service, {f"Stream{noun}": self._world_handler(only), f"Delta{noun}": self._delta_handler(only)}
            )
            for service, noun, only in _SERVICES
        ]

    def _world_handler(self, only_type: str) -> Any:
        async def serve(requests: AsyncIterator[Any], context: Context) -> None:
            stream = WorldStream(self.snapshot)

            def hear(request: Any) -> tuple[str, Heard, Rejection | None]:
                parsed = parse_world(request, only_type)
                return (parsed.type_url, *stream.heard(parsed))

            def take() -> Any:
                response = stream.take()
                return render_world(response) if response is not None else None

            await self._serve(_Client(stream, context.peer()), requests, context, hear, take)

        return grpc.stream_stream_rpc_method_handler(
            serve,
            request_deserializer=message("envoy.service.discovery.v3.DiscoveryRequest").FromString,
            response_serializer=message("envoy.service.discovery.v3.DiscoveryResponse").SerializeToString,
        )

    def _delta_handler(self, only_type: str) -> Any:
        async def serve(requests: AsyncIterator[Any], context: Context) -> None:
            stream = DeltaStream(self.snapshot)

            def hear(request: Any) -> tuple[str, Heard, Rejection | None]:
                parsed = parse_delta(request, only_type)
                return (parsed.type_url, *stream.heard(parsed))

            def take() -> Any:
                response = stream.take()
                return render_delta(response) if response is not None else None

            await self._serve(_Client(stream, context.peer()), requests, context, hear, take)

        return grpc.stream_stream_rpc_method_handler(
            serve,
            request_deserializer=message("envoy.service.discovery.v3.DeltaDiscoveryRequest").FromString,
            response_serializer=message("envoy.service.discovery.v3.DeltaDiscoveryResponse").SerializeToString,
        )

    async def _serve(
        self,
        client: _Client,
        requests: AsyncIterator[Any],
        context: Context,
        hear: Callable[[Any], tuple[str, Heard, Rejection | None]],
        take: Callable[[], Any],
    ) -> None:
        if len(self._clients) >= CLIENTS_MAX:
            raise Exhausted(f"{CLIENTS_MAX} streams are open, and this agent serves no more", "XDS_CLIENTS")
        self._clients.add(client)
        reading = asyncio.create_task(self._read(client, requests, hear), name="xds reader")
        try:
            while not self._closing and not reading.done():
                client.wake.clear()
                while (response := take()) is not None:
                    self.counts["push", short(response.type_url)] += 1
                    await context.write(response)
                await client.wake.wait()
            if reading.done():
                await reading
        finally:
            self._clients.discard(client)
            await _end(reading)

    async def _read(
        self,
        client: _Client,
        requests: AsyncIterator[Any],
        hear: Callable[[Any], tuple[str, Heard, Rejection | None]],
    ) -> None:
        try:
            async for request in requests:
                client.introduced(request)
                type_url, heard, rejection = hear(request)
                if heard is not Heard.SUBSCRIBED:
                    self.counts[heard.name.lower(), short(type_url)] += 1
                if rejection is not None:
                    self._rejected(client.node, rejection)
                elif heard is Heard.ACK:
                    self._accepted()
                client.wake.set()
        finally:
            client.wake.set()


async def _end(task: asyncio.Task[None]) -> None:
    if task.done():
        return
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

"""What Envoy and gRPC clients say they sent where: the load reporting service.

It is a signal, not accounting: a client counts from its first answer on, and what it sent while the agent was away is
lost. Envoy counts every try of a request, and as an error what failed though another try saved it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeAlias

import grpc
import grpc.aio
from primacy_wire.bootstraps import WRITE_SUFFIX
from primacy_wire.errors import Exhausted
from primacy_wire.instant import SECOND_NS

from primacy_agent.core.traffic import Traffic
from primacy_agent.dataplane.outputs import Counted
from primacy_agent.dataplane.xds.descriptors import message

INTERVAL_S = 5
"""Each of Envoy's reports brings along the list of its extensions: 61 KB."""
CLIENTS_MAX = 256
COUNT_MAX = 1_000_000_000
"""Of one report: nobody sends more in an interval."""
READ, WRITE = 1, 2
"""Numbers of `primacy.v1.TrafficClass`."""

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Loads:
    """Every client's reports, added up by whoever is `counted`."""

    def __init__(self, group: str, counted: Counted) -> None:
        self.reports_count = 0
        self._classes = {group: READ, group + WRITE_SUFFIX: WRITE}
        self._counted = counted
        self._readers: set[asyncio.Task[bool]] = set()
        self._streams = 0
        self._closed = False
        self.traffic: Traffic | None = None
        """It knows which regions are registered; what is said of others is not counted."""

    def handler(self) -> grpc.GenericRpcHandler:
        """For a server."""
        handle = grpc.stream_stream_rpc_method_handler(
            self._serve,
            request_deserializer=message("envoy.service.load_stats.v3.LoadStatsRequest").FromString,
            response_serializer=message("envoy.service.load_stats.v3.LoadStatsResponse").SerializeToString,
        )
        return grpc.method_handlers_generic_handler(
            "envoy.service.load_stats.v3.LoadReportingService", {"StreamLoadStats": handle}
        )

    def close(self) -> None:
        """End every stream."""
        self._closed = True
        for reader in self._readers:
            reader.cancel()

    async def _serve(self, requests: AsyncIterator[Any], context: Context) -> None:
        if self._streams >= CLIENTS_MAX:
            raise Exhausted(f"{CLIENTS_MAX} clients report already", "XDS_CLIENTS")
        self._streams += 1
        try:
            # The first says who it is, and wants to know what to report. Clusters may have names of their own, and be
            # known by what they ask endpoints for; clients that cannot report all are asked for the usual.
            if await self._until_closed(self._first(requests)):
                # Nothing may cancel this: a stream whose first message is cut off can not be ended well (gRPC would
                # send its headers twice).
                await context.write(
                    message("envoy.service.load_stats.v3.LoadStatsResponse")(
                        send_all_clusters=True,
                        clusters=sorted(self._classes),
                        load_reporting_interval={"seconds": INTERVAL_S},
                    )
                )
                await self._until_closed(self._rest(requests))
        finally:
            self._streams -= 1

    async def _until_closed(self, reading: Coroutine[Any, Any, bool]) -> bool:
        """What `reading` says, or False where `close` ended it."""
        reader = asyncio.create_task(reading, name="xds load reports")
        self._readers.add(reader)
        if self._closed:
            reader.cancel()
        try:
            await asyncio.wait((reader,))
            return not reader.cancelled() and reader.result()
        finally:
            self._readers.discard(reader)
            reader.cancel()

    async def _first(self, requests: AsyncIterator[Any]) -> bool:
        async for request in requests:
            self.hear(request)
            return True
        return False

    async def _rest(self, requests: AsyncIterator[Any]) -> bool:
        async for request in requests:
            self.hear(request)
        return True

    def hear(self, request: Any) -> None:
        """Count one report."""
        self.reports_count += bool(request.cluster_stats)
        regions = set(self.traffic.regions) if self.traffic is not None else set()
        for cluster in request.cluster_stats:
            traffic_class = self._classes.get(cluster.cluster_service_name or cluster.cluster_name)
            if traffic_class is None:
                continue
            for place in cluster.upstream_locality_stats:
                region = place.locality.region
                if region in regions:
                    self._count(region, traffic_class, "ok", place.total_successful_requests)
                    self._count(region, traffic_class, "error", place.total_error_requests)
            self._count("", traffic_class, "dropped", cluster.total_dropped_requests)

    def _count(self, region: str, traffic_class: int, outcome: str, count: int) -> None:
        if count:
            self._counted(region, traffic_class, outcome, min(count, COUNT_MAX), INTERVAL_S * SECOND_NS)

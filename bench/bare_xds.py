"""The floor of pushing weights by xDS: an ADS server that knows endpoints only, of one cluster, and checks nothing.

usage: python -m bench.bare_xds ADDRESS   (each line of standard input is a count: so many pushes, one after the other's
ACK; answered with the times of all, in microseconds, as JSON)
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from primacy_agent.dataplane.xds.descriptors import message
from primacy_agent.dataplane.xds.kinds import ENDPOINTS

from bench.xds_load import answer_orders, weights

Assignment = message("envoy.config.endpoint.v3.ClusterLoadAssignment")
Response = message("envoy.service.discovery.v3.DiscoveryResponse")


class BareAds:
    def __init__(self) -> None:
        self.subscribed = asyncio.Event()
        self._acked = asyncio.Event()
        self._wake = asyncio.Event()
        self._pushes_count = 0

    async def serve(self, requests: AsyncIterator[Any], context: Any) -> None:
        reading = asyncio.create_task(self._read(requests))
        while True:
            await self._wake.wait()
            self._wake.clear()
            if reading.done():
                return
            await context.write(self._response())

    async def push(self) -> float:
        self._pushes_count += 1
        self._acked.clear()
        began = time.perf_counter()
        self._wake.set()
        await self._acked.wait()
        return time.perf_counter() - began

    async def _read(self, requests: AsyncIterator[Any]) -> None:
        async for request in requests:
            self.subscribed.set()
            if request.response_nonce == str(self._pushes_count) and not request.HasField("error_detail"):
                self._acked.set()
        self._wake.set()

    def _response(self) -> Any:
        assignment = Assignment(cluster_name="shop")
        for region, weight in weights(self._pushes_count):
            group = assignment.endpoints.add(
                locality={"region": region}, load_balancing_weight={"value": round(weight * 10_000)}
            )
            address = group.lb_endpoints.add().endpoint.address.socket_address
            address.address, address.port_value = "127.0.0.1", 9_000
        response = Response(type_url=ENDPOINTS, nonce=str(self._pushes_count))
        response.resources.add().Pack(assignment, deterministic=True)
        response.version_info = hashlib.sha256(response.resources[0].value).hexdigest()[:12]
        return response


async def main(address: str) -> None:
    ads = BareAds()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    method = grpc.stream_stream_rpc_method_handler(
        ads.serve,
        request_deserializer=message("envoy.service.discovery.v3.DiscoveryRequest").FromString,
        response_serializer=Response.SerializeToString,
    )
    name = "envoy.service.discovery.v3.AggregatedDiscoveryService"
    handlers = {"StreamAggregatedResources": method}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    server.add_insecure_port(address)
    await server.start()
    await answer_orders(ads.push)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

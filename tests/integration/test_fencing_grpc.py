"""Real gRPC servers with a fence: calls of an epoch that is over never reach the handler."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent import futures
from pathlib import Path

import grpc
import grpc.aio
import pytest
from primacy.agent.v1 import peer_service_pb2, peer_service_pb2_grpc
from primacy_agent.fencing import METADATA, Fence
from primacy_agent.fencing_grpc import AsyncFencing, Fencing

pytestmark = pytest.mark.integration
PING = "/primacy.agent.v1.PeerService/Ping"


class Sink(peer_service_pb2_grpc.PeerServiceServicer):
    """Any service will do."""

    def __init__(self) -> None:
        self.writes = 0

    def Ping(self, request: peer_service_pb2.PingRequest, context: grpc.ServicerContext) -> object:
        self.writes += 1
        return peer_service_pb2.PingResponse()


class AsyncSink(peer_service_pb2_grpc.PeerServiceServicer):
    def __init__(self) -> None:
        self.writes = 0

    async def Ping(self, request: object, context: object) -> object:
        self.writes += 1
        return peer_service_pb2.PingResponse()


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[tuple[Sink, str]]:
    server = grpc.server(futures.ThreadPoolExecutor(2), interceptors=[Fencing(Fence(tmp_path / "fence"), {PING})])
    sink = Sink()
    peer_service_pb2_grpc.add_PeerServiceServicer_to_server(sink, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield sink, f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture
async def async_sink(tmp_path: Path) -> AsyncIterator[tuple[AsyncSink, str]]:
    server = grpc.aio.server(interceptors=[AsyncFencing(Fence(tmp_path / "fence"))])
    sink = AsyncSink()
    peer_service_pb2_grpc.add_PeerServiceServicer_to_server(sink, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield sink, f"127.0.0.1:{port}"
    await server.stop(None)


CALLS = [
    (None, grpc.StatusCode.INVALID_ARGUMENT),
    ("none", grpc.StatusCode.INVALID_ARGUMENT),
    ("5", None),
    ("4", grpc.StatusCode.FAILED_PRECONDITION),
    ("6", None),
    ("5", grpc.StatusCode.FAILED_PRECONDITION),
    ("6", None),
]


def test_a_server_with_threads_admits_what_is_not_over(sink: tuple[Sink, str]) -> None:
    service, address = sink
    with grpc.insecure_channel(address) as channel:
        stub = peer_service_pb2_grpc.PeerServiceStub(channel)
        for epoch, refused in CALLS:
            metadata = ((METADATA, epoch),) if epoch is not None else ()
            before = service.writes
            try:
                stub.Ping(peer_service_pb2.PingRequest(), metadata=metadata, timeout=10)
                code = None
            except grpc.RpcError as error:
                code = error.code()
            assert code is refused and service.writes - before == (refused is None)


async def test_an_async_server_admits_what_is_not_over(async_sink: tuple[AsyncSink, str]) -> None:
    service, address = async_sink
    async with grpc.aio.insecure_channel(address) as channel:
        stub = peer_service_pb2_grpc.PeerServiceStub(channel)
        for epoch, refused in CALLS:
            metadata = ((METADATA, epoch),) if epoch is not None else ()
            before = service.writes
            try:
                await stub.Ping(peer_service_pb2.PingRequest(), metadata=metadata, timeout=10)
                code = None
            except grpc.aio.AioRpcError as error:
                code = error.code()
            assert code is refused and service.writes - before == (refused is None)

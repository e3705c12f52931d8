"""Where servers listen, what they tell of themselves, and what reflection shows."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from primacy.agent.v1 import local_service_pb2
from primacy.v1 import election_service_pb2
from primacy_wire.channel import make_channel, make_sync_channel
from primacy_wire.reflection import json_name, json_named_pool
from primacy_wire.server import (
    Health,
    ListenError,
    PortInUse,
    add_health_and_reflection,
    check_exposure,
    listen,
    make_server,
)

ELECTION = election_service_pb2.DESCRIPTOR.services_by_name["ElectionService"].full_name
LOCAL = local_service_pb2.DESCRIPTOR.services_by_name["LocalService"].full_name


@pytest.fixture
async def served() -> AsyncIterator[tuple[int, Health]]:
    server = make_server()
    health = await add_health_and_reflection(server, [ELECTION, LOCAL])
    port = listen(server, "127.0.0.1:0")
    await server.start()
    yield port, health
    await server.stop(None)


async def test_health_says_serving_only_once_told(served: tuple[int, Health]) -> None:
    port, health = served
    async with make_channel(f"127.0.0.1:{port}") as channel:
        stub = _health(channel)

        async def ask(service: str) -> str:
            response = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
            return health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)

        assert [await ask(name) for name in ("", ELECTION, LOCAL)] == ["NOT_SERVING"] * 3
        await health.set_serving(True)
        assert [await ask(name) for name in ("", ELECTION, LOCAL)] == ["SERVING"] * 3
        await health.stop()
        assert [await ask(name) for name in ("", ELECTION, LOCAL)] == ["NOT_SERVING"] * 3
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask("primacy.v1.Nonsense")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_the_services_and_names_fields_as_json_does(served: tuple[int, Health]) -> None:
    port, _ = served

    def look() -> tuple[set[str], dict[str, str], dict[str, str]]:
        with make_sync_channel(f"127.0.0.1:{port}") as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            names = set(database.get_services())
            file = database.FindFileContainingSymbol("primacy.v1.GetActiveRegionResponse")
            nested = database.FindFileContainingSymbol("primacy.agent.v1.GetStatusResponse")
            return names, _json_names(file, "GetActiveRegionResponse"), _json_names(nested, "SessionStatus")

    names, response, status = await asyncio.to_thread(look)
    assert names == {ELECTION, LOCAL, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    assert response["expire_time"] == "expireTime"
    assert status["last_answer_age"] == "lastAnswerAge"


def _health(channel: grpc.aio.Channel) -> Any:
    return health_pb2_grpc.HealthStub(channel)


def _json_names(file: Any, message: str) -> dict[str, str]:
    (found,) = [each for each in file.message_type if each.name == message]
    return {field.name: field.json_name for field in found.field}


def test_json_names_are_those_of_protobuf_itself() -> None:
    """protobuf computes the same names when a descriptor has none."""
    pool = json_named_pool([ELECTION, LOCAL])
    for message in ("primacy.v1.Failover", "primacy.v1.Policy", "primacy.agent.v1.GetStatusResponse"):
        for field in pool.FindMessageTypeByName(message).fields:
            assert field.json_name == json_name(field.name)
            assert "_" not in field.json_name
    assert pool.FindMessageTypeByName("google.rpc.BadRequest.FieldViolation") is not None


async def test_a_port_in_use_is_named(served: tuple[int, Health]) -> None:
    port, _ = served
    with pytest.raises(PortInUse, match=f"127.0.0.1:{port}: another process has port {port}"):
        listen(make_server(), f"127.0.0.1:{port}")


async def test_a_port_that_something_else_has_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        with pytest.raises(PortInUse):
            listen(make_server(), f"127.0.0.1:{other.getsockname()[1]}")


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.0.0.1:", ":7400", "127.0.0.1:70000", "127.0.0.1:x", "::1:7400", "127.0.0.1:-1"]
)
async def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ListenError, match="is not an address"):
        listen(make_server(), address)


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "10.0.0.1:7400", "example.org:7400"])
def test_plain_traffic_beyond_the_machine_needs_a_word(address: str) -> None:
    with pytest.raises(ListenError, match="--insecure"):
        check_exposure(address, secured=False, insecure=False)
    check_exposure(address, secured=True, insecure=False)
    check_exposure(address, secured=False, insecure=True)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "[::1]:1", "127.8.8.8:1", "unix:/run/primacy.sock"])
def test_loopback_needs_no_word(address: str) -> None:
    check_exposure(address, secured=False, insecure=False)


async def test_a_unix_socket_serves(tmp_path: Path) -> None:
    server = make_server()
    health = await add_health_and_reflection(server, [LOCAL])
    assert listen(server, f"unix:{tmp_path}/local.sock") is not None
    await server.start()
    await health.set_serving(True)
    async with make_channel(f"unix:{tmp_path}/local.sock") as channel:
        response = await _health(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert response.status == health_pb2.HealthCheckResponse.SERVING
    await server.stop(None)
    with pytest.raises(ListenError, match="folder"):
        listen(make_server(), f"unix:{tmp_path}/missing/local.sock")


async def test_an_oversized_message_is_refused(served: tuple[int, Health]) -> None:
    port, _ = served
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{port}", options=[("grpc.max_send_message_length", -1)]
    ) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _health(channel).Check(health_pb2.HealthCheckRequest(service="x" * 5 * 1024 * 1024), timeout=10)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

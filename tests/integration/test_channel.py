"""Channels against real peers: a frozen one is noticed, and TLS lets nobody else in."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from primacy_wire.channel import PING_INTERVAL_MS, PING_TIMEOUT_MS, ClientTls, make_channel, make_sync_channel
from primacy_wire.server import Health, ListenError, ServerTls, add_health_and_reflection, listen, make_server

pytestmark = pytest.mark.integration

PEER = """
import asyncio
from primacy_wire.server import add_health_and_reflection, listen, make_server

async def main() -> None:
    server = make_server()
    await add_health_and_reflection(server, [])
    port = listen(server, "127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()

asyncio.run(main())
"""


def _health(channel: grpc.aio.Channel) -> Any:
    return health_pb2_grpc.HealthStub(channel)


async def test_a_frozen_peer_is_noticed_within_interval_and_timeout() -> None:
    peer = await asyncio.create_subprocess_exec(sys.executable, "-c", PEER, stdout=subprocess.PIPE)
    try:
        assert peer.stdout is not None
        port = int(await peer.stdout.readline())
        async with make_channel(f"127.0.0.1:{port}") as channel:
            watch = _health(channel).Watch(health_pb2.HealthCheckRequest())
            await watch.read()
            os.kill(peer.pid, signal.SIGSTOP)
            # Without its own timeout for pings, gRPC would take a minute longer.
            async with asyncio.timeout((2 * PING_INTERVAL_MS + PING_TIMEOUT_MS) / 1000 + 2):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await watch.read()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        peer.kill()
        await peer.wait()


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority with a server's and a client's certificate, and another authority with a client's."""
    folder = tmp_path_factory.mktemp("pems")
    for authority, names in (("ca", ("server", "client")), ("other-ca", ("stranger",))):
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
            *("-subj", f"/CN={authority}", "-keyout", f"{folder}/{authority}.key", "-out", f"{folder}/{authority}.pem"),
        )
        for name in names:
            _openssl(
                *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}"),
                *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
                *("-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.csr"),
            )
            _openssl(
                *("x509", "-req", "-in", f"{folder}/{name}.csr", "-days", "2", "-copy_extensions", "copy"),
                *("-CA", f"{folder}/{authority}.pem", "-CAkey", f"{folder}/{authority}.key", "-CAcreateserial"),
                *("-out", f"{folder}/{name}.pem"),
            )
    return folder


@pytest.fixture
async def secured(pems: Path) -> AsyncIterator[str]:
    server = make_server()
    health: Health = await add_health_and_reflection(server, [])
    tls = ServerTls(f"{pems}/server.pem", f"{pems}/server.key", f"{pems}/ca.pem")
    port = listen(server, "0.0.0.0:0", tls)
    await server.start()
    await health.set_serving(True)
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def test_a_known_client_gets_through(secured: str, pems: Path) -> None:
    tls = ClientTls(f"{pems}/ca.pem", f"{pems}/client.pem", f"{pems}/client.key")
    async with make_channel(secured, tls) as channel:
        response = await _health(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert response.status == health_pb2.HealthCheckResponse.SERVING

    def ask() -> Any:
        with make_sync_channel(secured, tls) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            return stub.Check(health_pb2.HealthCheckRequest(), timeout=10)

    assert (await asyncio.to_thread(ask)).status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("who", ["nobody", "stranger", "plain"])
async def test_nobody_else_gets_through(secured: str, pems: Path, who: str) -> None:
    tls = {
        "nobody": ClientTls(f"{pems}/ca.pem"),
        "stranger": ClientTls(f"{pems}/ca.pem", f"{pems}/stranger.pem", f"{pems}/stranger.key"),
        "plain": None,
    }[who]
    async with make_channel(secured, tls) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _health(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_client_does_not_trust_another_authority(secured: str, pems: Path) -> None:
    tls = ClientTls(f"{pems}/other-ca.pem", f"{pems}/client.pem", f"{pems}/client.key")
    async with make_channel(secured, tls) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _health(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_missing_tls_file_is_named(pems: Path) -> None:
    with pytest.raises(ListenError, match=r"none\.key: No such file"):
        listen(make_server(), "127.0.0.1:0", ServerTls(f"{pems}/server.pem", f"{pems}/none.key"))

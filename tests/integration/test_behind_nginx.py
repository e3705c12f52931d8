"""The dashboard behind a real nginx, with the settings that docs/dashboard.md shows."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from primacy.v1 import region_service_pb2 as regions
from primacy.v1.region_service_pb2_grpc import RegionServiceStub
from primacy_wire.channel import make_sync_channel

from tests.integration.coordinators import CoordinatorProcess, free_port
from tests.integration.event_streams import EventStream
from tests.integration.test_http_port import CORDON, CORDON_EU, STATUS, act, ask, call

pytestmark = [pytest.mark.integration, pytest.mark.needs("nginx")]

PAGE = Path(__file__).parents[2] / "docs" / "dashboard.md"
NAME = "primacy.example.com"
AROUND = """\
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {server}
}}
"""


def settings(folder: Path, address: str, http: str) -> str:
    """The page's server block, without the certificates and users that a reader has."""
    block = re.search(r"```text\n(server.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    server = re.sub(r"^.*(ssl_certificate|auth_basic).*\n", "", block[1], flags=re.MULTILINE)
    server = server.replace("listen 443 ssl", f"listen {address}").replace("127.0.0.1:7480", http)
    return AROUND.format(folder=folder, server=server)


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[CoordinatorProcess]:
    process = CoordinatorProcess(tmp_path / "state", "--set", f"http.hosts={NAME}")
    process.start()
    yield process
    process.close()


@pytest.fixture
def proxy(tmp_path: Path, coordinator: CoordinatorProcess) -> Iterator[str]:
    """nginx's address."""
    folder = tmp_path / "nginx"
    folder.mkdir()
    address = f"127.0.0.1:{free_port()}"
    (folder / "nginx.conf").write_text(settings(folder, address, coordinator.http))
    program = shutil.which("nginx")
    assert program is not None
    child = subprocess.Popen([program, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL)
    try:
        yield address
    finally:
        child.terminate()
        child.wait(10)


async def wait_for(address: str) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await asyncio.to_thread(ask, address, "GET", "/healthz")
            except ConnectionError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_looking_works_and_acting_needs_a_word(coordinator: CoordinatorProcess, proxy: str) -> None:
    await wait_for(proxy)
    named = {"host": NAME, "origin": f"https://{NAME}"}
    with make_sync_channel(coordinator.grpc) as channel:
        RegionServiceStub(channel).RegisterRegion(regions.RegisterRegionRequest(region={"name": "eu"}))
    page = await asyncio.to_thread(ask, proxy, "GET", "/", host=NAME)
    assert page.status == 200
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert call(proxy, STATUS, {}, **named).json["group"] == "default"
    assert act(proxy, CORDON, CORDON_EU, **named).json["reason"] == "ACTIONS_OFF"
    assert act(proxy, CORDON, {**CORDON_EU, "validateOnly": True}, **named).status == 200
    assert act(proxy, CORDON, CORDON_EU, host=NAME, origin="https://evil.example").json["reason"] == "CROSS_ORIGIN"
    assert ask(proxy, "GET", "/", host="evil.example").status == 421
    coordinator.stop()
    coordinator.flags += ("--set", "dashboard.actions=true")
    coordinator.start()
    assert act(proxy, CORDON, CORDON_EU, **named).status == 200
    assert act(proxy, CORDON, CORDON_EU, host=NAME, origin="https://evil.example").json["reason"] == "CROSS_ORIGIN"


@pytest.mark.parametrize("packed", [False, True])
async def test_streams_come_at_once_and_end_with_the_coordinator(
    coordinator: CoordinatorProcess, proxy: str, packed: bool
) -> None:
    await wait_for(proxy)
    stream = await EventStream.open(proxy, packed=packed, host=NAME)
    hello = await stream.until("hello")
    assert hello.data["actions"] is False
    await stream.until("status")
    with make_sync_channel(coordinator.grpc) as channel:
        RegionServiceStub(channel).RegisterRegion(regions.RegisterRegionRequest(region={"name": "eu"}))
    found = await stream.until("journal", region="eu")
    assert found.data["sequence"] == found.id
    assert await asyncio.to_thread(coordinator.stop) == 0
    await stream.to_the_end()
    assert stream.seen[-1].kind == "closing"
    await stream.close()

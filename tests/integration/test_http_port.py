"""The HTTP port of a real coordinator, over real connections: its API, its streams, its page, and whom it refuses."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from primacy.v1 import group_service_pb2 as groups
from primacy.v1 import region_service_pb2 as regions
from primacy.v1.group_service_pb2_grpc import GroupServiceStub
from primacy.v1.region_service_pb2_grpc import RegionServiceStub
from primacy_coordinator.web.gateway import ACTIONS, BODY_BYTES_MAX, READS
from primacy_coordinator.web.static import FOLDER
from primacy_coordinator.web.stream import LISTENERS_COUNT_MAX
from primacy_wire.channel import make_sync_channel

from tests.integration.coordinators import READY_SECONDS_MAX, CoordinatorProcess, HandAgent, until
from tests.integration.event_streams import EventStream

pytestmark = pytest.mark.integration

POLICY = "leaseTtl: 2s\nreportInterval: 0.25s\ngrace: 0.25s\nfirstWait: 0.25s\nstableFor: 0s\n"
STATUS = "/api/primacy.v1.StatusService/GetStatus"
CORDON = "/api/primacy.v1.RegionService/CordonRegion"
CORDON_EU = {"name": "eu", "reason": "a test"}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("policy") / "policy.yaml"
    file.write_text(POLICY)
    return file


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory, policy: Path) -> Iterator[CoordinatorProcess]:
    process = CoordinatorProcess(tmp_path_factory.mktemp("http") / "state", "--policy", str(policy))
    process.start()
    with make_sync_channel(process.grpc) as channel:
        RegionServiceStub(channel).RegisterRegion(regions.RegisterRegionRequest(region={"name": "eu"}))
    yield process
    process.close()


@pytest.fixture
def own(tmp_path: Path, policy: Path) -> Iterator[CoordinatorProcess]:
    """A coordinator that the test may end."""
    process = CoordinatorProcess(tmp_path / "state", "--policy", str(policy))
    yield process
    process.close()


@pytest.fixture
async def opened() -> AsyncIterator[list[EventStream]]:
    """Streams that are closed at the end."""
    streams: list[EventStream] = []
    yield streams
    for stream in streams:
        await stream.close()


class Reply:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(address: str, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
    """`host` replaces the Host header; names have `_` for `-`."""
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.putrequest(method, path, skip_host="host" in named, skip_accept_encoding=True)
        for name, value in named.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return Reply(connection.getresponse())
    finally:
        connection.close()


def call(address: str, path: str, request: object, **headers: str) -> Reply:
    sent = {"content_type": "application/json", **headers}
    return ask(address, "POST", path, json.dumps(request).encode(), **sent)


def act(address: str, path: str, request: object, **headers: str) -> Reply:
    return call(address, path, request, primacy_request="1", **headers)


def make_group(address: str, name: str) -> str:
    with make_sync_channel(address) as channel:
        GroupServiceStub(channel).CreateGroup(groups.CreateGroupRequest(group=name))
    return name


# ---- the API


def test_an_answer_is_what_grpc_says(coordinator: CoordinatorProcess) -> None:
    reply = call(coordinator.http, "/api/primacy.v1.RegionService/GetRegion", {"name": "eu"})
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.headers["cache-control"] == "no-store"
    with make_sync_channel(coordinator.grpc) as channel:
        said = RegionServiceStub(channel).GetRegion(regions.GetRegionRequest(name="eu"))
    shown = MessageToDict(said, always_print_fields_with_no_presence=True)
    assert set(reply.json["region"]) == set(shown["region"])
    assert reply.json["region"]["name"] == "eu"


@pytest.mark.parametrize(
    "name", sorted(f"primacy.v1.{service}Service/{method}" for service, names in READS.items() for method in names)
)
def test_every_read_is_there(coordinator: CoordinatorProcess, name: str) -> None:
    reply = call(coordinator.http, f"/api/{name}", {})
    assert reply.status in (200, 400, 404, 503), reply.body
    if reply.status != 200:
        assert set(reply.json) == {"code", "message", "reason", "metadata", "fields"}


@pytest.mark.parametrize(
    "name", sorted(f"primacy.v1.{service}Service/{method}" for service, names in ACTIONS.items() for method in names)
)
def test_every_action_wants_its_header(coordinator: CoordinatorProcess, name: str) -> None:
    assert call(coordinator.http, f"/api/{name}", {}).json["reason"] == "HEADER_MISSING"
    assert act(coordinator.http, f"/api/{name}", {}).status in (200, 400, 404, 503)


def test_an_action_and_its_dry_run(coordinator: CoordinatorProcess) -> None:
    dry = act(coordinator.http, CORDON, {**CORDON_EU, "validateOnly": True})
    assert dry.status == 200, dry.body
    assert not region(coordinator)["cordoned"]
    assert act(coordinator.http, CORDON, CORDON_EU, origin=f"http://{coordinator.http}").status == 200
    assert region(coordinator)["cordoned"]
    assert act(coordinator.http, CORDON.replace("Cordon", "Uncordon"), {"name": "eu"}).status == 200
    assert not region(coordinator)["cordoned"]


def region(coordinator: CoordinatorProcess) -> Any:
    return call(coordinator.http, "/api/primacy.v1.RegionService/GetRegion", {"name": "eu"}).json["region"]


def test_failures_say_what_to_do(coordinator: CoordinatorProcess) -> None:
    absent = call(coordinator.http, STATUS, {"group": "absent"})
    assert (absent.status, absent.json["code"], absent.json["reason"]) == (404, "NOT_FOUND", "GROUP_NOT_FOUND")
    assert absent.json["metadata"] == {"group": "absent"}
    bad = act(coordinator.http, CORDON, {"name": "eu"})
    assert bad.status == 400
    assert [field["path"] for field in bad.json["fields"]] == ["reason"]
    unknown = call(coordinator.http, STATUS, {"grup": "default"})
    assert [field["path"] for field in unknown.json["fields"]] == ["grup"]


def test_unknown_methods_name_those_that_there_are(coordinator: CoordinatorProcess) -> None:
    for path in ("StatusService/Frobnicate", "OddService/GetStatus", "PolicyService/SetPolicy", "AgentService/Session"):
        reply = act(coordinator.http, f"/api/primacy.v1.{path}", {})
        assert (reply.status, reply.json["reason"]) == (404, "METHOD_UNKNOWN"), path
        assert "GetStatus" in reply.json["message"]
    assert ask(coordinator.http, "GET", "/absent").json["reason"] == "PAGE_NOT_FOUND"
    assert ask(coordinator.http, "GET", "/assets/..%2fapp.py").status == 404
    assert ask(coordinator.http, "GET", "/assets/../app.py").status == 404


def test_a_call_is_a_post_of_json(coordinator: CoordinatorProcess) -> None:
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        reply = ask(coordinator.http, method, STATUS)
        assert (reply.status, reply.headers["allow"], reply.json["reason"]) == (405, "POST", "NOT_A_POST"), method
        assert "access-control-allow-origin" not in reply.headers
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert call(coordinator.http, STATUS, {}, content_type=kind).json["reason"] == "CONTENT_TYPE"
    assert call(coordinator.http, STATUS, {}, content_type="Application/JSON; charset=utf-8").status == 200
    assert ask(coordinator.http, "POST", STATUS, b"{", content_type="application/json").status == 400


def test_a_huge_body_is_not_read(coordinator: CoordinatorProcess) -> None:
    reply = call(coordinator.http, STATUS, {"group": "x" * BODY_BYTES_MAX})
    assert (reply.status, reply.json["reason"]) == (413, "BODY_TOO_LARGE")
    # One that says it is huge is not waited for, and one that does not say is cut off.
    with socket.create_connection(coordinator.http.rsplit(":", 1), timeout=20) as one:
        one.sendall(head(coordinator, f"Content-Length: {1 << 40}") + b"{")
        assert b" 413 " in one.recv(1 << 16)
    with socket.create_connection(coordinator.http.rsplit(":", 1), timeout=20) as one:
        one.sendall(head(coordinator, "Transfer-Encoding: chunked"))
        for _ in range(BODY_BYTES_MAX // 4096 + 1):
            one.sendall(b"1000\r\n" + b" " * 4096 + b"\r\n")
        assert b" 413 " in one.recv(1 << 16)
    assert call(coordinator.http, STATUS, {}).status == 200


def head(coordinator: CoordinatorProcess, *lines: str) -> bytes:
    every = [f"POST {STATUS} HTTP/1.1", f"Host: {coordinator.http}", "Content-Type: application/json", *lines]
    return ("\r\n".join(every) + "\r\n\r\n").encode()


# ---- whom it refuses


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_pages_of_other_origins(coordinator: CoordinatorProcess, headers: dict[str, str]) -> None:
    for reply in (
        act(coordinator.http, CORDON, CORDON_EU, **headers),
        call(coordinator.http, STATUS, {}, **headers),
        ask(coordinator.http, "GET", "/api/stream", **headers),
    ):
        assert (reply.status, reply.json["reason"]) == (403, "CROSS_ORIGIN")
    assert not region(coordinator)["cordoned"]


def test_names_that_were_made_to_resolve_to_here(coordinator: CoordinatorProcess) -> None:
    port = coordinator.http.rpartition(":")[2]
    for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example"):
        origin = f"http://{host}"
        for reply in (
            act(coordinator.http, CORDON, CORDON_EU, host=host, origin=origin),
            ask(coordinator.http, "GET", "/api/stream", host=host, origin=origin),
        ):
            assert (reply.status, reply.json["reason"]) == (421, "HOST_UNKNOWN")
            assert "http.hosts" in reply.json["message"]
        page = ask(coordinator.http, "GET", "/", host=host)
        assert page.status == 421
        assert b"http.hosts" in page.body
    assert not region(coordinator)["cordoned"]
    # Probes and scrapers come under any name.
    assert ask(coordinator.http, "GET", "/healthz", host="coordinator.svc").status == 200
    assert ask(coordinator.http, "GET", "/metrics", host="coordinator.svc").status == 200


def test_proxied_actions_need_a_word_in_the_settings(coordinator: CoordinatorProcess, own: CoordinatorProcess) -> None:
    reply = act(coordinator.http, CORDON, CORDON_EU, x_forwarded_for="10.1.2.3")
    assert (reply.status, reply.json["reason"]) == (403, "ACTIONS_OFF")
    assert "dashboard.actions" in reply.json["message"]
    # What it would do may be asked all the same.
    assert act(coordinator.http, CORDON, {**CORDON_EU, "validateOnly": True}, x_forwarded_for="10.1.2.3").status == 200
    own.flags += ("--set", "dashboard.actions=true", "--set", "http.hosts=primacy.example.com")
    own.start()
    proxied = {"host": "primacy.example.com", "origin": "https://primacy.example.com", "x_forwarded_for": "10.1.2.3"}
    assert act(own.http, CORDON, CORDON_EU, **proxied).json["reason"] == "REGION_NOT_FOUND"
    assert act(own.http, CORDON, CORDON_EU, **{**proxied, "origin": "https://evil.example"}).status == 403


def test_actions_can_be_off_for_everybody(own: CoordinatorProcess) -> None:
    own.flags += ("--set", "dashboard.actions=false")
    own.start()
    assert act(own.http, CORDON, CORDON_EU).json["reason"] == "ACTIONS_OFF"
    assert call(own.http, STATUS, {}).status == 200


def test_a_connection_that_never_asks_is_ended(coordinator: CoordinatorProcess) -> None:
    with socket.create_connection(coordinator.http.rsplit(":", 1), timeout=30) as silent:
        silent.sendall(b"GET / HTTP/1.1\r\nHost:")
        assert silent.recv(1) == b""
    # Nor is one that asked once kept for the beginning of another request.
    with socket.create_connection(coordinator.http.rsplit(":", 1), timeout=30) as stuck:
        stuck.sendall(f"GET /healthz HTTP/1.1\r\nHost: {coordinator.http}\r\n\r\n".encode())
        answer = b""
        while b"}" not in answer:
            answer += stuck.recv(1 << 16)
        stuck.sendall(b"G")
        assert stuck.recv(1) == b""


# ---- the page


def test_every_answer_carries_the_safety_headers(coordinator: CoordinatorProcess) -> None:
    replies = [ask(coordinator.http, "GET", path) for path in ("/", "/absent", "/healthz", "/metrics", STATUS)]
    replies += [call(coordinator.http, STATUS, {}), ask(coordinator.http, "GET", "/", host="evil.example")]
    for reply in replies:
        policy = reply.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.skipif(not (FOLDER / "index.html").exists(), reason="the dashboard is not bundled")
def test_the_page_and_what_it_names(coordinator: CoordinatorProcess) -> None:
    page = ask(coordinator.http, "GET", "/")
    assert (page.status, page.headers["cache-control"]) == (200, "no-cache")
    again = ask(coordinator.http, "GET", "/", if_none_match=page.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    text = page.body.decode()
    assert not re.search(r"https?://", text)
    named = re.findall(r'"(/assets/[^"]+)"', text)
    assert len(named) >= 2
    for name in named:
        plain = ask(coordinator.http, "GET", name)
        packed = ask(coordinator.http, "GET", name, accept_encoding="gzip, br")
        assert packed.headers["content-encoding"] == "br"
        assert len(packed.body) < len(plain.body)
        assert "immutable" in packed.headers["cache-control"]
    assert ask(coordinator.http, "GET", "/assets/licences.txt").status == 200
    assert ask(coordinator.http, "GET", "/assets/bundle.json").status == 404


# ---- streams


async def test_a_group_live(coordinator: CoordinatorProcess, opened: list[EventStream]) -> None:
    group = make_group(coordinator.grpc, "live")
    stream = await EventStream.open(coordinator.http, f"?group={group}")
    opened.append(stream)
    hello = await stream.until("hello")
    assert (hello.data["group"], hello.data["actions"], hello.data["grpc"]) == (group, True, coordinator.grpc)
    assert stream.retry_ms > 0
    first = await stream.until("status", group=group)
    assert first.data["events"] == []
    assert (await stream.until("replication", group=group)).data["head"] == "0"
    async with HandAgent(coordinator.grpc, "eu", group=group) as eu:
        await eu.join()
        await stream.until("status", activeRegion="eu")
        joined = await stream.until("journal", region="eu")
        assert joined.id == joined.data["sequence"]
    numbers = stream.numbers()
    assert numbers == sorted(set(numbers))


async def test_resume_after_a_broken_connection(coordinator: CoordinatorProcess, opened: list[EventStream]) -> None:
    group = make_group(coordinator.grpc, "resume")
    with make_sync_channel(coordinator.grpc) as channel:
        stub = RegionServiceStub(channel)
        stub.RegisterRegion(regions.RegisterRegionRequest(group=group, region={"name": "eu"}))
        first = await EventStream.open(coordinator.http, f"?group={group}")
        opened.append(first)
        await first.until("journal", region="eu")
        await first.close()
        for name in ("us", "ap"):
            stub.RegisterRegion(regions.RegisterRegionRequest(group=group, region={"name": name}))
    second = await EventStream.open(coordinator.http, f"?group={group}", last_id=first.last_id)
    third = await EventStream.open(coordinator.http, f"?group={group}&after={first.last_id}")
    opened += [second, third]
    for stream in (second, third):
        await stream.until("journal", region="ap")
        assert stream.numbers() == list(range(int(first.last_id) + 1, int(stream.last_id) + 1))
        assert "gap" not in stream.kinds()


def test_what_is_no_stream(coordinator: CoordinatorProcess) -> None:
    absent = ask(coordinator.http, "GET", "/api/stream?group=absent")
    assert (absent.status, absent.json["reason"]) == (404, "GROUP_NOT_FOUND")
    assert ask(coordinator.http, "GET", "/api/stream?group=Odd%20Name").json["fields"][0]["path"] == "group"
    for odd in ("x", "-1", "9" * 30, "1.5"):
        assert ask(coordinator.http, "GET", f"/api/stream?after={odd}").json["fields"][0]["path"] == "after"
    assert ask(coordinator.http, "POST", "/api/stream").status == 405
    assert ask(coordinator.http, "HEAD", "/api/stream").status == 200


async def test_a_browser_that_takes_gzip(coordinator: CoordinatorProcess, opened: list[EventStream]) -> None:
    """Each piece comes whole, and can be read before the next one comes."""
    group = make_group(coordinator.grpc, "packed")
    packed = await EventStream.open(coordinator.http, f"?group={group}", packed=True)
    plain = await EventStream.open(coordinator.http, f"?group={group}")
    opened += [packed, plain]
    async with HandAgent(coordinator.grpc, "eu", group=group) as eu:
        await eu.join()
        for stream in opened:
            await stream.until("status", activeRegion="eu")
            await stream.until("journal", region="eu")
    with make_sync_channel(coordinator.grpc) as channel:
        RegionServiceStub(channel).RegisterRegion(regions.RegisterRegionRequest(group=group, region={"name": "us"}))
    for stream in opened:
        await stream.until("journal", region="us")
    assert packed.numbers() == plain.numbers()


async def test_an_odd_last_event_id_is_none(coordinator: CoordinatorProcess, opened: list[EventStream]) -> None:
    stream = await EventStream.open(coordinator.http, last_id="odd; id")
    opened.append(stream)
    await stream.until("journal")


async def test_a_hundred_browsers_see_the_same(coordinator: CoordinatorProcess, opened: list[EventStream]) -> None:
    group = make_group(coordinator.grpc, "hundred")
    opened += await asyncio.gather(*(EventStream.open(coordinator.http, f"?group={group}") for _ in range(100)))
    await asyncio.gather(*(stream.until("status") for stream in opened))
    async with HandAgent(coordinator.grpc, "eu", group=group) as eu:
        await eu.join()
        await asyncio.gather(*(stream.until("status", activeRegion="eu", seconds=30) for stream in opened))
        await asyncio.gather(*(stream.until("journal", region="eu", seconds=30) for stream in opened))
    assert len({stream.numbers()[0] for stream in opened}) == 1


async def test_a_slow_browser_gets_the_newest_and_slows_nobody(
    coordinator: CoordinatorProcess, opened: list[EventStream]
) -> None:
    """It reads nothing while a large group changes; then it sees the last state, not all before, and every event."""
    group = make_group(coordinator.grpc, "slow")
    slow = await EventStream.open(coordinator.http, f"?group={group}", receive_bytes=64 * 1024)
    quick = await EventStream.open(coordinator.http, f"?group={group}")
    opened += [slow, quick]
    labels = {f"key{each}": "x" * 200 for each in range(20)}
    with make_sync_channel(coordinator.grpc) as channel:
        stub = RegionServiceStub(channel)
        for number in range(40):
            asked = regions.RegisterRegionRequest(group=group, region={"name": f"r{number}", "labels": labels})
            stub.RegisterRegion(asked)
        await quick.until("journal", region="r39", seconds=60)
        for number in range(8):
            name = f"r{number}"
            stub.CordonRegion(regions.CordonRegionRequest(group=group, name=name, reason="a test"))
            await quick.until("journal", region=name, kind="cordon-set", seconds=60)
            await quick.next("status")
    await slow.until("journal", region="r7", kind="cordon-set", seconds=60)
    await until_cordoned(slow, 8)
    await until_cordoned(quick, 8)
    both = min(slow.numbers()[-1], quick.numbers()[-1])
    assert [each for each in slow.numbers() if each <= both] == [each for each in quick.numbers() if each <= both]
    assert slow.kinds().count("status") < quick.kinds().count("status")


async def until_cordoned(stream: EventStream, count: int) -> None:
    """Reads until the newest status has so many cordoned regions."""
    async with asyncio.timeout(60):
        while True:
            last = next(each.data for each in reversed(stream.seen) if each.kind == "status")
            if sum(region["cordoned"] for region in last["regions"]) == count:
                return
            assert await stream.read(), "the stream ended"


async def test_streams_are_counted(own: CoordinatorProcess, opened: list[EventStream]) -> None:
    own.start()
    for _ in range(5):
        opened += await asyncio.gather(*(EventStream.open(own.http) for _ in range(LISTENERS_COUNT_MAX // 5)))
    reply = await asyncio.to_thread(ask, own.http, "GET", "/api/stream")
    assert (reply.status, reply.json["reason"]) == (429, "STREAMS_TOO_MANY")
    assert int(reply.headers["retry-after"]) > 0
    assert (await asyncio.to_thread(ask, own.http, "GET", "/healthz")).status == 200
    for stream in opened:
        await stream.close()
    opened.clear()

    async def again() -> EventStream | None:
        try:
            return await EventStream.open(own.http)
        except AssertionError:
            return None

    opened.append(await until(again))


async def test_the_coordinator_stops_with_a_word_and_at_once(
    own: CoordinatorProcess, opened: list[EventStream]
) -> None:
    own.start()
    opened += [await EventStream.open(own.http) for _ in range(3)]
    await asyncio.gather(*(stream.until("status") for stream in opened))
    own.signal(signal.SIGTERM)
    await asyncio.gather(*(stream.to_the_end() for stream in opened))
    for stream in opened:
        assert stream.seen[-1].kind == "closing"
        assert "stops" in stream.seen[-1].data["reason"]
    assert await asyncio.to_thread(own.wait) == 0
    log = own.log.read_text()
    assert "ERROR" not in log
    assert "Traceback" not in log


async def test_a_browser_that_reads_nothing_does_not_hold_up_the_stop(own: CoordinatorProcess) -> None:
    own.start()
    host, port = own.http.rsplit(":", 1)
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        stuck.connect((host, int(port)))
        stuck.sendall(f"GET /api/stream HTTP/1.1\r\nHost: {own.http}\r\n\r\n".encode())
        quick = await EventStream.open(own.http)
        with make_sync_channel(own.grpc) as channel:
            stub = RegionServiceStub(channel)
            for number in range(100):
                labels = {f"key{each}": "x" * 60 for each in range(20)}
                stub.RegisterRegion(regions.RegisterRegionRequest(region={"name": f"r{number}", "labels": labels}))
        await quick.until("journal", region="r99", seconds=60)
        await quick.close()
        assert await asyncio.to_thread(own.stop) == 0
    assert "Traceback" not in own.log.read_text()


async def test_a_killed_coordinator_and_its_successor(own: CoordinatorProcess, opened: list[EventStream]) -> None:
    own.start()
    with make_sync_channel(own.grpc) as channel:
        RegionServiceStub(channel).RegisterRegion(regions.RegisterRegionRequest(region={"name": "eu"}))
    before = await EventStream.open(own.http)
    opened.append(before)
    await before.until("journal", region="eu")
    own.kill()
    await before.to_the_end()
    assert "closing" not in before.kinds()
    own.start()
    after = await EventStream.open(own.http, last_id=before.last_id)
    opened.append(after)
    await after.until("status")
    with make_sync_channel(own.grpc) as channel:
        RegionServiceStub(channel).RegisterRegion(regions.RegisterRegionRequest(region={"name": "us"}))
    await after.until("journal", region="us")
    assert after.numbers()[0] == int(before.last_id) + 1
    assert "gap" not in after.kinds()


async def test_a_deleted_group_ends_its_streams(coordinator: CoordinatorProcess, opened: list[EventStream]) -> None:
    group = make_group(coordinator.grpc, "deleted")
    stream = await EventStream.open(coordinator.http, f"?group={group}")
    opened.append(stream)
    await stream.until("status")
    with make_sync_channel(coordinator.grpc) as channel:
        GroupServiceStub(channel).DeleteGroup(groups.DeleteGroupRequest(group=group))
    await stream.to_the_end()
    assert stream.seen[-1].kind == "closing"
    assert "Traceback" not in coordinator.log.read_text()


def test_where_clients_need_certificates_the_page_is_no_way_around_them(
    own: CoordinatorProcess, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    made = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *subject)
    subprocess.run((*made, "-keyout", str(key), "-out", str(certificate)), check=True, capture_output=True)
    for name, file in (("certificate", certificate), ("key", key), ("clientCa", certificate)):
        own.flags += ("--set", f"tls.{name}={file}")
    own.spawn()
    until_answered(own)
    reply = act(own.http, CORDON, CORDON_EU)
    assert (reply.status, reply.json["reason"]) == (403, "ACTIONS_OFF")
    assert "tls.clientCa" in reply.json["message"]
    assert call(own.http, STATUS, {}).status == 200
    own.stop()
    own.flags += ("--set", "dashboard.actions=true")
    own.spawn()
    until_answered(own)
    assert act(own.http, CORDON, CORDON_EU).json["reason"] == "REGION_NOT_FOUND"


def until_answered(process: CoordinatorProcess) -> None:
    deadline = time.monotonic() + READY_SECONDS_MAX
    while True:
        assert process.process is not None
        assert process.process.poll() is None, process.log.read_text()
        assert time.monotonic() < deadline, process.log.read_text()
        try:
            if ask(process.http, "GET", "/healthz").status == 200:
                return
        except OSError:
            time.sleep(0.05)

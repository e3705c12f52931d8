"""gRPC health, metrics pages and smoke probes against real servers that are well, ill, slow, or talk nonsense."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from primacy_agent.core.mapping import Mapped, Missing
from primacy_agent.core.probing import OWED, Look
from primacy_agent.core.selectors import Selector
from primacy_agent.probe_config import (
    ConditionConfig,
    ExecProbe,
    GrpcProbe,
    HttpProbe,
    PrometheusProbe,
    SeriesConfig,
)
from primacy_agent.probes.exposition import Measuring
from primacy_agent.probes.grpc_check import look_grpc
from primacy_agent.probes.http_get import BODY_BYTES_MAX
from primacy_agent.probes.page_looks import PrometheusLook
from primacy_agent.probes.running import Probes
from primacy_wire.channel import ClientTls
from primacy_wire.durations import Duration
from primacy_wire.messages import Lag, ServiceState

from tests.integration.coordinators import free_port
from tests.integration.probed import response, serving, until, watching

pytestmark = pytest.mark.integration

LONG_S = 30.0
"""More than any of these looks needs, however busy the machine is."""
FAST = Duration.of("20ms")
PATIENT = Duration.of("10s")
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


# ---- gRPC


@asynccontextmanager
async def health_server(
    credentials: grpc.ServerCredentials | None = None, port: int = 0
) -> AsyncIterator[tuple[str, health_aio.HealthServicer]]:
    """A server with the health service of grpcio-health-checking."""
    server, servicer = grpc.aio.server(options=[("grpc.so_reuseport", 0)]), health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    address = f"127.0.0.1:{port}"
    bound = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    try:
        yield f"127.0.0.1:{bound}", servicer
    finally:
        await server.stop(None)


async def test_a_server_is_believed_for_each_service_by_itself() -> None:
    async with health_server() as (address, servicer):
        await servicer.set("shop.Cart", SERVING)
        await servicer.set("shop.Pay", NOT_SERVING)
        await servicer.set("shop.New", health_pb2.HealthCheckResponse.UNKNOWN)
        seen = {
            service: await look_grpc(address, service, None, LONG_S)
            for service in ("", "shop.Cart", "shop.Pay", "shop.New", "shop.None")
        }
        assert {service: (look.good, look.message) for service, look in seen.items()} == {
            "": (True, ""),
            "shop.Cart": (True, ""),
            "shop.Pay": (False, "service 'shop.Pay' says NOT_SERVING"),
            "shop.New": (False, "service 'shop.New' says UNKNOWN"),
            "shop.None": (False, "the server's health service does not know service 'shop.None'"),
        }
        assert not any(look.certain for look in seen.values())
        assert all(look.latency_ns > 0 for look in seen.values())


async def test_a_server_without_the_health_service_is_explained() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    look = await look_grpc(f"127.0.0.1:{port}", "", None, LONG_S)
    await server.stop(None)
    assert not look.good
    assert look.message == ("the server does not serve grpc.health.v1.Health: register it there, or use a tcp probe")


async def test_nobody_listening_is_certain_and_silence_is_not() -> None:
    look = await look_grpc(f"127.0.0.1:{free_port()}", "", None, LONG_S)
    assert (look.good, look.certain, look.message) == (False, True, "connection refused")
    async with serving(b"", linger=True) as port:
        look = await look_grpc(f"127.0.0.1:{port}", "", None, 0.2)
    assert (look.good, look.certain) == (False, False)
    assert look.message == "no answer within 0.2 s"


async def test_a_server_that_speaks_something_else_is_a_bad_look() -> None:
    async with serving(response("200 OK", "hello")) as port:
        look = await look_grpc(f"127.0.0.1:{port}", "", None, 2.0)
    assert (look.good, look.certain) == (False, False)
    assert look.message and len(look.message) <= 200


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two certificates that are their own authorities, both for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("pems")
    for name in ("server", "stranger"):
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:shop.example"),
                *("-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"),
            ],
            check=True,
            capture_output=True,
        )
    return folder


async def test_tls_is_spoken_and_strangers_are_not_trusted(pems: Path, tmp_path: Path) -> None:
    pair = ((pems / "server.key").read_bytes(), (pems / "server.pem").read_bytes())
    own = pair[1]
    (tmp_path / "garbage.pem").write_text("no certificate")
    async with health_server(grpc.ssl_server_credentials([pair], own, require_client_auth=True)) as (address, _):
        known = ClientTls(f"{pems}/server.pem", f"{pems}/server.pem", f"{pems}/server.key")
        assert (await look_grpc(address, "", known, LONG_S)).good
        named = ClientTls(f"{pems}/server.pem", f"{pems}/server.pem", f"{pems}/server.key", "shop.example")
        assert (await look_grpc(address, "", named, LONG_S)).good
        for tls in (
            None,
            ClientTls(""),
            ClientTls(f"{pems}/server.pem"),
            ClientTls(f"{pems}/stranger.pem", f"{pems}/server.pem", f"{pems}/server.key"),
            ClientTls(f"{pems}/server.pem", f"{pems}/stranger.pem", f"{pems}/stranger.key"),
            ClientTls(f"{pems}/server.pem", f"{pems}/server.pem", f"{pems}/server.key", "other.example"),
            ClientTls(f"{tmp_path}/garbage.pem"),
        ):
            look = await look_grpc(address, "", tls, 5.0)
            assert (look.good, look.certain) == (False, False)
            assert look.message
        look = await look_grpc(address, "", ClientTls(f"{tmp_path}/none.pem"), LONG_S)
        assert look.message == f"the TLS files cannot be read: {tmp_path}/none.pem: No such file or directory"


async def test_a_grpc_probe_follows_its_server() -> None:
    port = free_port()
    probe = GrpcProbe(name="cart", address=f"127.0.0.1:{port}", service="c", interval=FAST, timeout=PATIENT, fall=3)
    async with watching(probe) as (probes, _):
        await until(lambda: probes.health.state is ServiceState.DOWN, "refused: a whole fall at once")
        async with health_server(port=port) as (_, servicer):
            await until(lambda: "does not know" in probes.health.reason, "found, but not known")
            await servicer.set("c", SERVING)
            await until(lambda: probes.health.state is ServiceState.UP, "up")
            await servicer.set("c", NOT_SERVING)
            await until(lambda: probes.health.reason == "cart: service 'c' says NOT_SERVING", "down")
        await until(lambda: probes.health.reason == "cart: connection refused", "gone")
    assert (probes.results()[0].kind, probes.results()[0].target) == ("grpc", f"127.0.0.1:{port}/c")


# ---- metrics pages


@asynccontextmanager
async def page_server(body: Callable[[], bytes]) -> AsyncIterator[str]:
    """Answers every request with what `body` gives at that time."""

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        content = body()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/metrics"
    finally:
        server.close()


def scrape(url: str) -> PrometheusLook:
    return PrometheusLook(url, Measuring([Mapped("queue", Selector("queue"))]), None)


async def scraped(answer: bytes) -> Look:
    async with serving(answer) as port:
        return await scrape(f"http://127.0.0.1:{port}/metrics")(LONG_S)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (response("404 Not Found", "queue 3\n"), "answered 404"),
        (response("204 No Content"), "answered 204"),
        (response("200 OK", "<html>please log in</html>"), "not in the Prometheus text format: line 1: '<html>please"),
        (response("200 OK", "other 3\n"), "there is no series queue for queue"),
        (response("200 OK", "queue NaN\n"), "queue is nan, which is no number for queue"),
        (response("200 OK", "queue three\n"), "not in the Prometheus text format: line 1: 'queue three'"),
        (response("200 OK"), "there is no series queue for queue"),
        (b"\x16\x03\x01\x02\x00garbage\r\n\r\n", ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nqueue 3\n", ""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nqueue 3\n", ""),
        (b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 300_000 + b"\r\n\r\n", ""),
        (b"", ""),
    ],
)
async def test_a_page_that_cannot_be_used_says_why(answer: bytes, message: str) -> None:
    look = await scraped(answer)
    assert (look.good, look.certain, look.readings.values) == (False, False, {})
    assert look.message.startswith(message)
    assert 0 < len(look.message) <= 200


async def test_a_page_is_taken_whatever_else_is_on_it() -> None:
    for body in ("queue 3\n", "# HELP queue Waiting.\n# TYPE queue gauge\nqueue 3 1700000000000\nnan NaN\n", "queue 3"):
        look = await scraped(response("200 OK", body))
        assert (look.good, look.message, look.readings.values) == (True, "", {"queue": 3})
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nqueu\r\n4\r\ne 3\n\r\n0\r\n\r\n"
    assert (await scraped(chunked)).readings.values == {"queue": 3}


async def test_a_huge_page_is_refused_and_a_slow_one_given_up() -> None:
    huge = response("200 OK", "queue 3\n" + "# " + "x" * BODY_BYTES_MAX)
    look = await scraped(huge)
    assert (look.good, look.message) == (False, f"the answer is longer than {BODY_BYTES_MAX} bytes")

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b"queue 3\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    look = await scrape(f"http://127.0.0.1:{port}/metrics")(0.3)
    server.close()
    assert (look.good, look.message) == (False, "no answer within 0.3 s")
    look = await scrape(f"http://127.0.0.1:{port}/metrics")(LONG_S)
    assert (look.good, look.certain, look.message) == (False, True, "connection refused")


def series_of(probes: Probes) -> dict[str, float]:
    return {each.name: each.value for each in probes.series()}


async def test_a_page_becomes_load_lag_and_series_and_its_failure_hurts_nobody() -> None:
    page = [b""]
    series: dict[str, str | SeriesConfig] = {
        "requests": "http_requests_total",
        "errors": SeriesConfig(series='http_requests_total{code=~"5.."}', if_missing=Missing.ZERO),
        "in_flight": "http_in_flight",
        "lag_seconds": SeriesConfig(series="replica_behind_ms", scale=0.001),
        "queue_depth": "queue",
        "evictions": SeriesConfig(series="evictions_total", rate=True),
    }
    async with page_server(lambda: page[0]) as url:
        web = HttpProbe(name="web", url=url, interval=FAST, timeout=PATIENT, rise=1)
        probe = PrometheusProbe(
            name="page", url=url, instance="a", series=series, interval=FAST, timeout=PATIENT, rise=1, fall=1
        )
        page[0] = (
            b'http_requests_total{code="200"} 5\nhttp_in_flight 2\nreplica_behind_ms{db="1"} 40\n'
            b'replica_behind_ms{db="2"} 1500\nqueue 7\nevictions_total 1\n'
        )
        async with watching(web, probe) as (probes, _):
            await until(lambda: "evictions" in series_of(probes), "two looks")
            load, lag = probes.readings.load(), probes.readings.lag()
            assert (load.request_rate, load.error_rate, load.in_flight, load.capacity) == (0, 0, 2, -1)
            assert lag == Lag(1_500_000_000, -1, -1)
            assert series_of(probes) == {
                "requests_per_second": 0,
                "error_rate": 0,
                "in_flight": 2,
                "lag_seconds": 1.5,
                "queue_depth": 7,
                "evictions": 0,
            }
            own = next(each for each in probes.series() if each.name == "queue_depth")
            assert dict(own.labels) == {"probe": "page", "instance": "a"}
            page[0] = b"now something else"
            await until(lambda: probes.results()[1].healthy is False, "the probe says so")
            assert "there is no series" in probes.results()[1].message
            assert series_of(probes) == {}
            assert probes.readings.lag() == Lag()
            assert (probes.health.state, probes.health.total) == (ServiceState.UP, 1)


async def test_a_condition_decides_about_the_instance() -> None:
    page = [b"busy 0.5"]
    async with page_server(lambda: page[0]) as url:
        probe = PrometheusProbe(
            name="load",
            url=url,
            series={"utilisation": "busy"},
            healthy_when=ConditionConfig(series="utilisation", below=0.9),
            interval=FAST,
            timeout=PATIENT,
        )
        async with watching(probe) as (probes, _):
            await until(lambda: probes.health.state is ServiceState.UP, "below")
            page[0] = b"busy 0.97"
            await until(lambda: probes.health.state is ServiceState.DOWN, "above")
            assert probes.health.reason == "load: utilisation is 0.97, not below 0.9"
            assert probes.readings.load().utilisation == 0.97, "what is too much is still known"
            page[0] = b"busy 0.2"
            await until(lambda: probes.health.state is ServiceState.UP, "below again")
            page[0] = b"<html>"
            await until(lambda: "not in the Prometheus text format" in probes.health.reason, "garbage is no health")


async def test_a_rate_decides_from_its_second_look_on() -> None:
    count = [0]

    def body() -> bytes:
        count[0] += 1
        return b"restarts_total %d" % (count[0] * 1000)

    async with page_server(body) as url:
        probe = PrometheusProbe(
            name="calm",
            url=url,
            series={"restarts": SeriesConfig(series="restarts_total", rate=True)},
            healthy_when=ConditionConfig(series="restarts", below=1),
            interval=FAST,
            timeout=PATIENT,
            rise=1,
            fall=1,
        )
        async with watching(probe) as (probes, _):
            await until(lambda: probes.health.state is not ServiceState.STARTING, "judged")
            assert probes.health.state is ServiceState.DOWN, "the first look says nothing"
            assert count[0] >= 2


# ---- recovery


async def test_what_was_down_is_up_when_its_smoke_probes_passed_once(tmp_path: Path) -> None:
    ran, verdict, well, asked = tmp_path / "ran", tmp_path / "verdict", [True], [0]
    verdict.write_text("1")
    smoke = ExecProbe(
        name="write-read",
        argv=["/bin/sh", "-c", f"echo x >> {ran}; echo row is $(cat {verdict}); exit $(cat {verdict})"],
        smoke=True,
        interval=FAST,
        timeout=PATIENT,
    )

    def body() -> bytes:
        asked[0] += 1
        return b"up 1" if well[0] else b"<html>"

    async with page_server(body) as url:
        page = PrometheusProbe(
            name="page",
            url=url,
            series={"works": "up"},
            healthy_when=ConditionConfig(series="works", above=0),
            interval=FAST,
            timeout=PATIENT,
        )
        async with watching(page, smoke) as (probes, _):
            await until(lambda: probes.health.state is ServiceState.UP, "up at first")
            assert not ran.exists(), "an agent's start is no recovery"
            assert not probes.results()[1].HasField("healthy")
            well[0] = False
            await until(lambda: probes.health.state is ServiceState.DOWN, "down")
            assert probes.results()[1].message == OWED
            assert not ran.exists(), "not before the others pass"
            well[0] = True
            await until(lambda: probes.results()[1].message == "exited with 1: row is 1", "smoke runs, and fails")
            assert (probes.results()[0].healthy, probes.results()[1].healthy) == (True, False)
            assert probes.health.state is ServiceState.DOWN
            assert probes.health.reason == "write-read: exited with 1: row is 1"
            verdict.write_text("0")
            await until(lambda: probes.health.state is ServiceState.UP, "up again")
            assert (probes.results()[1].healthy, probes.results()[1].message) == (True, "row is 0")
            runs = ran.read_text()
            seen = asked[0]
            await until(lambda: asked[0] > seen + 10, "time for further looks")
            assert ran.read_text() == runs, "once is enough"


async def test_after_a_boot_smoke_probes_run_before_anything_is_up(tmp_path: Path) -> None:
    smoke = ExecProbe(name="deep", argv=["/bin/sh", "-c", f"[ -e {tmp_path}/ok ]"], smoke=True, interval=FAST)
    async with serving(response("200 OK")) as port:
        web = HttpProbe(name="web", url=f"http://127.0.0.1:{port}/", interval=FAST, timeout=PATIENT)
        async with watching(web, smoke, recovering=True) as (probes, _):
            await until(lambda: probes.results()[1].message == "exited with 1", "smoke fails")
            assert probes.health.state is ServiceState.DOWN
            (tmp_path / "ok").touch()
            await until(lambda: probes.health.state is ServiceState.UP, "up")

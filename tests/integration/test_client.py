"""`primacy_agent.client` at a real agent, which is killed, frozen and started again. [I1, I6]"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from primacy.agent.v1 import local_service_pb2 as pb
from primacy.v1 import election_service_pb2, routing_pb2, routing_service_pb2
from primacy.v1.routing_service_pb2_grpc import RoutingServiceStub
from primacy_agent.client import Authority, Client, Closed, Forked, NoDocument, NoRegion, NotReady
from primacy_wire.channel import make_sync_channel

from tests.integration.clusters import AgentProcess, Cluster, until
from tests.integration.coordinators import free_port

pytestmark = pytest.mark.integration
EXAMPLE = Path(__file__).parents[2] / "examples" / "python-client"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("client"), readStrategy="ROUND_ROBIN") as cluster:
        yield cluster


@pytest.fixture
def us(cluster: Cluster) -> AgentProcess:
    """The agent of the active region."""
    (agent,) = cluster.of("us-east")
    if agent.process is None or agent.process.poll() is not None:
        agent.start()
    if cluster.active()[0] != "us-east":
        move = election_service_pb2.FailoverRequest(target_region="us-east", reason="back", owner="test", wait=True)
        until(lambda: cluster.elections.Failover(move, timeout=10), "back home", 30)
    until(lambda: agent.active().active, "active")
    until(lambda: agent.reads()["us-east"] > 0.3, "a third each")
    return agent


def test_a_service_gets_it_all_in_five_lines(cluster: Cluster, us: AgentProcess) -> None:
    us.local.PutConfig(pb.PutConfigRequest(key="app/limits.yaml", content=b"rate: 100\nburst: [1, 2]\n"), timeout=5)
    with Client(us.grpc) as primacy:
        primacy.wait_ready()
        assert primacy.is_active() and primacy.epoch == cluster.active()[1]
        assert primacy.pick().endpoint.startswith("127.0.0.1:")
        assert primacy.config("app/limits.yaml") == {"rate": 100, "burst": [1, 2]}
        assert primacy.trouble == ""
        assert primacy.authority().region == "us-east"
        weights = primacy.weights()
        assert (weights.region, weights.strategy, weights.shunned) == ("us-east", "ROUND_ROBIN", ())
        assert weights.read == pytest.approx({"ap-south": 1 / 3, "eu-west": 1 / 3, "us-east": 1 / 3}, abs=0.01)
        assert weights.age_s >= 0
        write = primacy.pick(write=True)
        assert (write.region, write.epoch) == ("us-east", primacy.epoch)
        picked = Counter(primacy.pick().region for _ in range(3000))
        assert all(800 < count < 1200 for count in picked.values()), picked
        assert len({primacy.pick("customer-7").region for _ in range(50)}) == 1
        first = primacy.pick("customer-7").region
        assert first not in {other.region for other in primacy.alternatives(first)}
        assert len(primacy.alternatives(first)) == 2
    assert not primacy.is_active()
    with pytest.raises(Closed):
        primacy.pick()


def test_documents_are_followed(us: AgentProcess) -> None:
    with Client(us.grpc) as primacy:
        with pytest.raises(NoDocument):
            primacy.config("app/none.yaml")
        assert primacy.config("app/none.yaml", {"rate": 1}) == {"rate": 1}
        us.local.PutConfig(pb.PutConfigRequest(key="app/none.yaml", content=b"rate: 2"), timeout=5)
        until(lambda: primacy.config("app/none.yaml", None) == {"rate": 2}, "the new document")
        document = primacy.document("app/none.yaml")
        assert (document.version, document.format, document.content) == (1, "yaml", b"rate: 2")
        us.local.PutConfig(pb.PutConfigRequest(key="app/none.yaml", remove=True), timeout=5)
        until(lambda: primacy.config("app/none.yaml", None) is None, "it is removed")


def test_picks_are_counted_by_the_agent_and_at_the_coordinator(cluster: Cluster, us: AgentProcess) -> None:
    def counted(outcome: str) -> int:
        with make_sync_channel(cluster.coordinator.grpc) as channel:
            request = routing_service_pb2.GetRoutingStatsRequest(client_region="us-east")
            stats = RoutingServiceStub(channel).GetRoutingStats(request, timeout=10).stats
        return sum(stat.count for stat in stats if stat.outcome == outcome and stat.agent == "us-east/agent-1")

    ok, failed = counted("ok"), counted("error")
    with Client(us.grpc) as primacy:
        primacy.wait_ready()
        for _ in range(500):
            primacy.pick()
        primacy.pick(write=True)
        primacy.count("eu-west", "error", count=7)
    until(lambda: counted("error") - failed == 7, "what failed is counted")
    assert counted("ok") - ok >= 501, "what came before is told at the latest with it"
    with make_sync_channel(cluster.coordinator.grpc) as channel:
        request = routing_service_pb2.GetRoutingStatsRequest(client_region="us-east")
        stats = RoutingServiceStub(channel).GetRoutingStats(request, timeout=10).stats
    (read,) = [s for s in stats if (s.target_region, s.outcome) == ("eu-west", "error")]
    assert read.strategy == routing_pb2.ROUTING_STRATEGY_ROUND_ROBIN
    assert read.rate > 0


def test_a_watch_tells_of_each_change(cluster: Cluster, us: AgentProcess) -> None:
    told: list[Authority] = []
    with Client(us.grpc) as primacy:
        thread = threading.Thread(target=lambda: told.extend(primacy.watch()))
        thread.start()
        until(primacy.is_active, "active")
        (epoch,) = {primacy.epoch}
        move = election_service_pb2.FailoverRequest(target_region="eu-west", reason="test", owner="test", wait=True)
        cluster.elections.Failover(move, timeout=10)
        until(lambda: not primacy.is_active(), "no longer active")
        until(lambda: primacy.authority().region == "eu-west", "another is")
        write = primacy.pick(write=True)
        assert (write.region, write.epoch) == ("eu-west", epoch + 1)
    thread.join(10)
    assert not thread.is_alive(), "it ends with the client"
    # A watch that began after the agent's first word begins with that.
    assert told[0].epoch == 0 or told[0].active, "the first word, before the agent's, or the agent's"
    # A renewal is no change; what else happened is.
    assert [one.active for one in told].count(True) == 1
    assert told[-1].region == "eu-west"


def test_a_frozen_agent_stops_nobody_beyond_the_lease(us: AgentProcess) -> None:
    """Fails closed: the deadline counts on this machine's clock, whoever is silent."""
    with Client(us.grpc) as primacy:
        primacy.wait_ready()
        until(primacy.is_active, "active")
        watch = primacy.watch()
        assert next(watch).active
        deadline_ns = primacy.authority().deadline_ns
        us.signal(signal.SIGSTOP)
        try:
            told = next(watch)
            assert not told.active, "the watch tells of the end, though nobody said it"
            now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            assert now_ns >= deadline_ns, "not before the lease has run out"
            assert not primacy.is_active()
            assert "ran out" in primacy.authority().reason
            assert primacy.pick().region, "reads go on by the last weights"
            with pytest.raises(NoRegion):
                primacy.pick(write=True)
        finally:
            us.signal(signal.SIGCONT)
        until(lambda: primacy.trouble == "" and primacy.authority().region, "it follows again", 20)


def test_agent_and_coordinator_restart_and_the_last_weights_stay(cluster: Cluster, us: AgentProcess) -> None:
    us.local.PutConfig(pb.PutConfigRequest(key="app/kept.json", content=b'{"a": 1}'), timeout=5)
    with Client(us.grpc) as primacy:
        primacy.wait_ready()
        assert primacy.config("app/kept.json") == {"a": 1}
        cluster.coordinator.kill()
        us.kill()
        until(lambda: primacy.trouble, "the agent is gone")
        age_s = primacy.weights().age_s
        assert primacy.pick().region and primacy.pick("key").region
        assert primacy.config("app/kept.json") == {"a": 1}
        until(lambda: not primacy.is_active(), "the lease has run out")
        us.start()
        until(lambda: not primacy.trouble, "the agent is back")
        assert primacy.weights().age_s > age_s, "its weights are as old as they are"
        assert primacy.pick().region
        with pytest.raises(NoRegion, match="no region is active"):
            primacy.pick(write=True)
        cluster.coordinator.start()
        until(primacy.is_active, "active again", 30)
        us.local.PutConfig(pb.PutConfigRequest(key="app/kept.json", content=b'{"a": 2}'), timeout=5)
        until(lambda: primacy.config("app/kept.json") == {"a": 2}, "documents are followed again")


def test_the_example_works_in_the_active_region_at_the_rate_of_its_document(
    cluster: Cluster, us: AgentProcess, tmp_path: Path
) -> None:
    us.local.PutConfig(pb.PutConfigRequest(key="worker/limits.yaml", content=b"rate: 50"), timeout=5)
    files = {agent.region: tmp_path / f"{agent.region}.log" for agent in cluster.agents}
    workers = []
    try:
        for agent in cluster.agents:
            environment = {**os.environ, "PRIMACY_AGENT": agent.grpc}
            command = [sys.executable, str(EXAMPLE / "worker.py"), str(files[agent.region])]
            workers.append(subprocess.Popen(command, env=environment))
        until(lambda: files["us-east"].read_text().count(" 50\n") > 5, "pieces of work")
        assert {line.split()[0] for line in files["us-east"].read_text().splitlines()} == {str(cluster.active()[1])}
        us.local.PutConfig(pb.PutConfigRequest(key="worker/limits.yaml", content=b"rate: 100"), timeout=5)
        until(lambda: files["us-east"].read_text().endswith(" 100\n"), "the new rate")
        assert files["eu-west"].read_text() == files["ap-south"].read_text() == "", "standbys do nothing"
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGINT)
    assert [worker.wait(30) for worker in workers] == [0, 0, 0]


def test_an_agent_that_is_not_there_costs_no_start(tmp_path: Path) -> None:
    began = time.monotonic()
    with Client(f"127.0.0.1:{free_port()}") as primacy:
        assert (primacy.is_active(), primacy.epoch) == (False, 0)
        with pytest.raises(NoRegion, match="no weights are known yet"):
            primacy.pick()
        with pytest.raises(NotReady, match="UNAVAILABLE"):
            primacy.wait_ready(1.0)
        with pytest.raises(NotReady, match=r"app/limits\.yaml"):
            primacy.config("app/limits.yaml", timeout_s=0.1)
    assert time.monotonic() - began < 30


def test_a_group_that_is_not_the_agents_is_said(us: AgentProcess) -> None:
    with Client(us.grpc, group="shop") as primacy, pytest.raises(NotReady, match="shop"):
        primacy.wait_ready(1.0)


def test_a_child_of_a_fork_is_never_active(us: AgentProcess) -> None:
    program = f"""
import os, sys
from primacy_agent.client import Client, Forked
primacy = Client({us.grpc!r})
primacy.wait_ready()
assert primacy.is_active()
child = os.fork()
if child == 0:
    assert not primacy.is_active()
    try:
        primacy.pick()
    except Forked:
        os._exit(7)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert primacy.is_active()
primacy.close()
"""
    environment = {**os.environ, "GRPC_VERBOSITY": "NONE"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, env=environment, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert Forked.__doc__


def test_its_import_is_light() -> None:
    program = "import sys, primacy_agent.client; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    loaded = set(done.stdout.split())
    daemon = {name for name in loaded if name.startswith("primacy_agent.") and "client" not in name}
    assert not daemon
    assert not loaded & {"yaml", "msgspec", "blake3", "h11", "sqlite3", "pyfastcdc"}

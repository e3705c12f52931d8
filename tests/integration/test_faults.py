"""Real processes, real faults: who is active, at which epoch, what weights every agent holds, what history says."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import grpc
import pytest
from primacy.v1 import election_pb2, election_service_pb2, group_service_pb2, group_service_pb2_grpc, routing_pb2
from primacy_wire.channel import make_sync_channel

from tests.integration.clusters import PLACES, Cluster, until

pytestmark = pytest.mark.integration
TTL_S = 3.0


def test_a_killed_service_moves_reads_and_writes_and_comes_back_without_moving_again(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.services["us-east"].kill()
        cluster.expect_active("eu-west", 2, TTL_S)
        for agent in cluster.agents:
            until(lambda agent=agent: agent.reads()["us-east"] == 0, f"no reads to us-east at {agent.name}")
            assert agent.route(routing_pb2.TRAFFIC_CLASS_WRITE).region == "eu-west"
        (newest, first) = cluster.failovers()
        assert (newest["kind"], newest["state"]) == ("FAILOVER_KIND_AUTOMATIC", "FAILOVER_STATE_SUCCEEDED")
        assert (newest["fromRegion"], newest["toRegion"], newest["epoch"]) == ("us-east", "eu-west", "2")
        assert "us-east is down" in newest["cause"]
        assert [phase["name"] for phase in newest["phases"]] == ["down", "release", "offer"]
        rules = {candidate["region"]: candidate.get("rule", "") for candidate in newest["candidates"]}
        assert rules["us-east"] == "DOWN"
        assert first["kind"] == "FAILOVER_KIND_INITIAL"
        assert cluster.region("us-east")["status"] == "REGION_STATUS_DOWN"

        cluster.services["us-east"].start()
        until(lambda: cluster.region("us-east")["status"] == "REGION_STATUS_HEALTHY", "us-east healthy again")
        until(lambda: cluster.of("us-east")[0].reads()["us-east"] == 1, "its own reads are back")
        assert cluster.active() == ("eu-west", 2), "failback is manual"


def test_a_killed_agent_costs_the_lease_but_no_reads(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        (agent,) = cluster.of("us-east")
        agent.kill()
        until(lambda: cluster.region("us-east")["status"] == "REGION_STATUS_SUSPECT", "us-east suspect", 3)
        cluster.expect_active("eu-west", 2, TTL_S + 3)
        region = cluster.region("us-east")
        assert region["status"] == "REGION_STATUS_SUSPECT"
        assert "other regions reach it" in region["statusReason"]
        assert cluster.of("eu-west")[0].reads() == {"ap-south": 0, "eu-west": 1, "us-east": 0}
        agent.start()
        until(lambda: cluster.region("us-east")["status"] == "REGION_STATUS_HEALTHY", "us-east healthy again")
        until(lambda: agent.reads() == {"ap-south": 0, "eu-west": 0, "us-east": 1}, "it never lost its own reads")
        assert "ran out" in cluster.failovers()[0]["cause"]
        assert cluster.believers() == {"eu-west"}


def test_a_killed_coordinator_comes_back_and_nothing_has_moved(tmp_path: Path) -> None:
    ttl_s = 8.0  # On a busy machine a start and a session take a while.
    with Cluster(tmp_path, leaseTtl=f"{ttl_s}s") as cluster:
        (agent,) = cluster.of("us-east")
        before, events = cluster.failovers(), cluster.events("lease-granted")
        for stop in (cluster.coordinator.kill, cluster.coordinator.stop):
            stop()
            cluster.coordinator.start()
            deadline = time.monotonic() + 1.25 * ttl_s
            while time.monotonic() < deadline:
                assert agent.active().active, "a restart costs no lease"
                time.sleep(0.05)
            assert cluster.active() == ("us-east", 1)
            assert cluster.failovers() == before
            assert cluster.events("lease-granted") == events
            assert all(cluster.region(name)["status"] == "REGION_STATUS_HEALTHY" for name in PLACES)


def test_a_verdict_survives_the_coordinator(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.services["ap-south"].kill()
        until(lambda: cluster.region("ap-south")["status"] == "REGION_STATUS_DOWN", "ap-south down")
        since = cluster.region("ap-south")["statusSinceTime"]
        cluster.coordinator.kill()
        cluster.coordinator.start()
        until(lambda: cluster.region("ap-south")["agents"][0].get("connected"), "its agent is back")
        region = cluster.region("ap-south")
        assert (region["status"], region["statusSinceTime"]) == ("REGION_STATUS_DOWN", since)


def test_the_coordinator_and_the_active_region_die_together(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.coordinator.kill()
        cluster.services["us-east"].kill()
        for agent in cluster.of("us-east"):
            agent.kill()
        started = time.monotonic()
        cluster.coordinator.start()
        cluster.expect_active("eu-west", 2, 5 * TTL_S)
        assert time.monotonic() - started >= TTL_S * 0.9, "what the one before it granted is waited out"


def test_a_frozen_agent_wakes_up_knowing_that_it_is_not_active(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        (agent,) = cluster.of("us-east")
        agent.signal(signal.SIGSTOP)
        until(lambda: cluster.active() == ("eu-west", 2), "eu-west active", TTL_S + 5)
        agent.signal(signal.SIGCONT)
        status, headers, answer = until(lambda: agent.page("/active"), "an answer of the thawed agent")
        assert status == 503 and answer["active"] is False and headers["Primacy-Epoch"] in ("1", "2")
        cluster.expect_active("eu-west", 2)


def test_every_agent_of_the_active_region_restarts_and_nothing_moves(tmp_path: Path) -> None:
    with Cluster(tmp_path, agents_per_region=2) as cluster:
        agents = cluster.of("us-east")
        for agent in agents:
            agent.kill()
            agent.start()
            until(lambda agent=agent: agent.active().active, f"{agent.name} active again")
        for agent in agents:
            agent.kill()
        for agent in agents:
            agent.start()
        for agent in agents:
            until(lambda agent=agent: agent.active().active, f"{agent.name} active again")
        until(lambda: cluster.region("us-east")["status"] == "REGION_STATUS_HEALTHY", "us-east healthy")
        assert cluster.active() == ("us-east", 1)
        assert len(cluster.failovers()) == 1
        assert cluster.of("eu-west")[0].reads()["eu-west"] == 1


def test_a_planned_switchover_under_load_leaves_exactly_one_active(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        request = election_service_pb2.FailoverRequest(
            target_region="ap-south", reason="maintenance", owner="test", wait=True
        )
        answer = cluster.elections.Failover(request, timeout=10)
        assert answer.failover.state == election_pb2.FAILOVER_STATE_SUCCEEDED
        cluster.expect_active("ap-south", 2)
        assert [phase.name for phase in answer.failover.phases] == ["freeze", "release", "offer"]
        stale = election_service_pb2.FailoverRequest(target_region="eu-west", if_epoch=1)
        with pytest.raises(grpc.RpcError) as refused:
            cluster.elections.Failover(stale, timeout=5)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION  # type: ignore[attr-defined]
        assert cluster.active() == ("ap-south", 2)


@pytest.mark.parametrize("fault", ["cut", "silent", "deaf", "mute"])
def test_only_the_coordinator_link_of_the_active_region_is_broken(tmp_path: Path, fault: str) -> None:
    """Its peers see it: it is not down, but without answers its lease runs out and another region takes over."""
    with Cluster(tmp_path, proxied="us-east") as cluster:
        assert cluster.proxy is not None
        match fault:
            case "cut":
                cluster.proxy.cut()
            case "silent":
                cluster.proxy.stop("out", "in")
            case "deaf":
                cluster.proxy.stop("in")
            case "mute":
                cluster.proxy.stop("out")
        cluster.expect_active("eu-west", 2, 2 * TTL_S + 6)
        assert cluster.region("us-east")["status"] == "REGION_STATUS_SUSPECT"
        cluster.proxy.mend()
        until(lambda: cluster.region("us-east")["status"] == "REGION_STATUS_HEALTHY", "us-east healthy again", 20)
        cluster.expect_active("eu-west", 2)


def test_a_slow_link_costs_nothing(tmp_path: Path) -> None:
    with Cluster(tmp_path, proxied="us-east") as cluster:
        assert cluster.proxy is not None
        cluster.proxy.delay(0.3)
        deadline = time.monotonic() + 2 * TTL_S
        while time.monotonic() < deadline:
            assert cluster.of("us-east")[0].active().active
            time.sleep(0.05)
        assert cluster.active() == ("us-east", 1)


def test_a_lost_store_waits_for_the_operator_and_goes_on_above_every_epoch(tmp_path: Path) -> None:
    """`primacy recover`: the longest lease that anybody could hold is waited out, which takes a minute."""
    with Cluster(tmp_path) as cluster:
        cluster.coordinator.kill()
        cluster.coordinator.folder.rename(tmp_path / "lost")
        cluster.coordinator.start()
        with make_sync_channel(cluster.coordinator.grpc) as channel:
            groups = group_service_pb2_grpc.GroupServiceStub(channel)
            asking = group_service_pb2.RecoverGroupRequest(validate_only=True)

            def heard_all() -> group_service_pb2.RecoveryPlan | None:
                plan = groups.RecoverGroup(asking, timeout=2).plan
                return plan if plan.needed and not plan.missing_agents else None

            plan = until(heard_all, "a plan that has heard every agent")
            assert plan is not None
            assert plan.operator_needed and plan.next_epoch == 2
            assert max(agent.heard_epoch for agent in plan.agents) == 1
            groups.RecoverGroup(group_service_pb2.RecoverGroupRequest(owner="test"), timeout=2)
        until(lambda: not cluster.believers(), "the old lease ran out", 2 * TTL_S)
        assert cluster.active()[0] == ""
        until(lambda: cluster.active()[0] == "us-east", "us-east elected again", 90)
        unheard = [e["message"] for e in cluster.events("region-status") if "no agent of it is heard" in e["message"]]
        assert not unheard, "agents of another store are heard, though they follow nobody"
        cluster.expect_active("us-east", 3)
        assert cluster.failovers()[0]["kind"] in ("FAILOVER_KIND_INITIAL", "FAILOVER_KIND_AUTOMATIC")

"""Hooks of real agents beside a real coordinator: phases on every face, history, failures, and what a standby says."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import MessageToDict
from primacy.v1 import (
    agent_pb2,
    election_service_pb2,
    election_service_pb2_grpc,
    region_service_pb2,
    region_service_pb2_grpc,
)
from primacy_wire.channel import make_sync_channel

from tests.integration.clusters import AgentProcess, until
from tests.integration.coordinators import CoordinatorProcess

pytestmark = pytest.mark.integration
POLICY = {"leaseTtl": "3s", "reportInterval": "0.25s", "grace": "0.25s", "firstWait": "3s", "stableFor": "1s",
          "holdDown": "1s", "coolDown": "0s"}  # fmt: skip
HOOK = """#!/bin/sh
# {name}: says what it got, waits for the test when it shall, and ends as the test wants.
cd {folder}
echo "$PRIMACY_EPOCH $PRIMACY_GROUP $PRIMACY_REGION $PRIMACY_FROM $PRIMACY_REASON" >>{name}.log
echo "{name} prints for epoch $PRIMACY_EPOCH"
while [ -e {name}.hold ]; do sleep 0.05; done
exit $(cat {name}.exit 2>/dev/null || echo 0)
"""

ENDED = ("FAILOVER_STATE_SUCCEEDED", "FAILOVER_STATE_FAILED", "FAILOVER_STATE_ABORTED")


class Place:
    """A region with one agent, and two hooks that a test steers by files."""

    def __init__(self, folder: Path, region: str, coordinator: str, priority: int, **hooks: Any) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        for name in ("promote", "demote"):
            path = folder / name
            path.write_text(HOOK.format(name=name, folder=folder))
            path.chmod(0o755)
        (folder / "lag").write_text("lag_seconds 0.25\n")
        self.service = socket.create_server(("127.0.0.1", 0), backlog=1_000)
        """What users of the region reach; without it an agent that restarts would be a region that is gone."""
        config = {
            "coordinators": [coordinator], "priority": priority,
            "endpoint": f"127.0.0.1:{self.service.getsockname()[1]}", "peerInterval": "0.25s",
            "hooks": {"onPromote": [str(folder / "promote")], "onDemote": [str(folder / "demote")], **hooks},
            "probes": [{
                "name": "lag", "kind": "exec", "argv": ["/bin/cat", str(folder / "lag")], "interval": "0.2s",
                "timeout": "5s", "series": {"lag_seconds": "lag_seconds"},
            }],
        }  # fmt: skip
        self.agent = AgentProcess(folder / "agent", region, "agent-1", config)

    def close(self) -> None:
        self.agent.close()
        self.service.close()

    def hold(self, name: str) -> None:
        (self.folder / f"{name}.hold").touch()

    def let(self, name: str) -> None:
        (self.folder / f"{name}.hold").unlink()

    def fail(self, name: str, exit_code: int) -> None:
        (self.folder / f"{name}.exit").write_text(str(exit_code))

    def ran(self, name: str) -> list[str]:
        """What each run of the hook was told."""
        path = self.folder / f"{name}.log"
        return path.read_text().splitlines() if path.exists() else []

    def phase(self) -> str:
        return agent_pb2.Phase.Name(self.agent.active().phase).removeprefix("PHASE_")


class Group:
    """Two regions, eu preferred, and their coordinator."""

    def __init__(self, folder: Path, **hooks: Any) -> None:
        self.stack = ExitStack()
        policy = folder / "policy.yaml"
        policy.write_text(yaml.safe_dump(POLICY))
        self.coordinator = CoordinatorProcess(folder / "coordinator", "--policy", str(policy))
        self.stack.callback(self.coordinator.close)
        self.eu = Place(folder / "eu", "eu", self.coordinator.grpc, 200, **hooks)
        self.us = Place(folder / "us", "us", self.coordinator.grpc, 100, **hooks)
        for place in (self.eu, self.us):
            self.stack.callback(place.close)

    def start(self) -> None:
        self.coordinator.start()
        for place in (self.eu, self.us):
            place.agent.start()
        channel = self.stack.enter_context(make_sync_channel(self.coordinator.grpc))
        self.elections = election_service_pb2_grpc.ElectionServiceStub(channel)
        self.regions = region_service_pb2_grpc.RegionServiceStub(channel)

    def move(self) -> dict[str, Any]:
        """The newest move."""
        answer = self.elections.ListFailovers(election_service_pb2.ListFailoversRequest(), timeout=5)
        moves = MessageToDict(answer).get("failovers", [])
        return dict(moves[0]) if moves else {}

    def fail_over(self, target: str) -> None:
        """Once the move before it has ended for the coordinator too, which hears of it later than the agent."""
        until(lambda: self.move().get("state") in ENDED, "the end of the move before")
        request = election_service_pb2.FailoverRequest(target_region=target, reason="a test")
        self.elections.Failover(request, timeout=5)

    def agent_of(self, region: str) -> dict[str, Any]:
        """The agent of a region as its coordinator shows it."""
        answer = self.regions.GetRegion(region_service_pb2.GetRegionRequest(name=region), timeout=5)
        return dict(MessageToDict(answer.region)["agents"][0])


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Group]]:
    groups: list[Group] = []

    def make_group(**hooks: Any) -> Group:
        groups.append(Group(tmp_path / str(len(groups)), **hooks))
        return groups[-1]

    (tmp_path / "0").mkdir()
    yield make_group
    for group in groups:
        group.stack.close()


def test_a_region_is_active_when_its_service_is_promoted(make: Callable[..., Group]) -> None:
    group = make()
    group.eu.hold("promote")
    group.start()
    until(lambda: group.eu.phase() == "PROMOTING", "the promotion of eu", 30)
    status, headers, shown = group.eu.agent.page("/active")
    assert (status, shown["active"], shown["phase"], headers["Primacy-Epoch"]) == (503, False, "PHASE_PROMOTING", "1")
    assert "on_promote runs for epoch 1" in shown["reason"]
    until(lambda: group.move().get("state") == "FAILOVER_STATE_PROMOTING", "a move that waits for the promotion")
    until(lambda: group.agent_of("eu").get("phase") == "PHASE_PROMOTING", "the phase at the coordinator")
    # Longer than a lease lasts without renewals.
    renewed_ns = group.eu.agent.active().deadline_boottime_ns + 3_500_000_000
    until(lambda: group.eu.agent.active().deadline_boottime_ns > renewed_ns, "renewals while it runs")
    assert group.eu.phase() == "PROMOTING"
    group.eu.let("promote")
    until(lambda: group.eu.agent.active().active, "an active eu")
    move = until(lambda: m if (m := group.move()).get("state") == "FAILOVER_STATE_SUCCEEDED" else {}, "the move's end")
    assert group.eu.agent.page("/active")[0] == 200
    (told,) = group.eu.ran("promote")
    assert told.startswith("1 default eu ")
    hooks = until(lambda: group.move().get("hooks"), "the hook in the move's history")
    assert [(h["agent"], h["hook"], h["outcome"], h["output"]) for h in hooks] == [
        ("eu/agent-1", "on_promote", "succeeded", "promote prints for epoch 1\n")
    ]
    assert move["toRegion"] == "eu"
    assert {hook["hook"]: hook["program"] for hook in group.agent_of("eu")["detail"]["hooks"]} == {
        "on_promote": str(group.eu.folder / "promote"), "on_demote": str(group.eu.folder / "demote"),
    }  # fmt: skip


def test_a_switchover_demotes_before_it_promotes(make: Callable[..., Group]) -> None:
    group = make(demoteTimeout="60s")
    group.start()
    until(lambda: group.eu.agent.active().active, "an active eu", 30)
    group.eu.hold("demote")
    group.fail_over("us")
    until(lambda: group.eu.phase() == "DEMOTING", "eu is demoted")
    assert group.eu.agent.page("/active")[0] == 503
    assert group.eu.agent.page("/standby")[0] == 503
    assert group.us.ran("promote") == []
    group.eu.let("demote")
    until(lambda: group.us.agent.active().active, "an active us")
    (told,) = group.eu.ran("demote")
    assert told.split()[:4] == ["1", "default", "eu", "eu"]
    assert group.us.ran("promote")[0].split()[:4] == ["2", "default", "us", "eu"]
    until(lambda: group.eu.phase() == "STANDBY", "eu is a standby")
    hooks = until(lambda: h if len(h := group.move().get("hooks", [])) == 2 else [], "both hooks in the history")
    assert [(hook["agent"], hook["hook"]) for hook in hooks] == [
        ("eu/agent-1", "on_demote"), ("us/agent-1", "on_promote"),
    ]  # fmt: skip


def test_a_region_whose_service_cannot_be_promoted_is_passed_by(make: Callable[..., Group]) -> None:
    group = make()
    group.eu.fail("promote", 4)
    group.start()
    until(lambda: group.us.agent.active().active, "us instead of eu", 30)
    assert group.us.agent.active().epoch >= 2
    assert group.eu.ran("demote")
    hooks = until(lambda: h if len(h := group.move().get("hooks", [])) >= 3 else [], "the hooks in the history")
    first = hooks[0]
    assert (first["hook"], first["outcome"], first["exitCode"]) == ("on_promote", "failed", 4)
    assert first["output"] == "promote prints for epoch 1\n"


def test_a_promotion_that_hangs_is_given_up(make: Callable[..., Group]) -> None:
    group = make(promoteTimeout="1s")
    group.eu.hold("promote")
    group.start()
    until(lambda: group.us.agent.active().active, "us instead of eu", 30)
    hooks = until(lambda: h if len(h := group.move().get("hooks", [])) >= 3 else [], "the hooks in the history")
    assert (hooks[0]["outcome"], hooks[0]["output"]) == ("timed out", "promote prints for epoch 1\n")


def test_leaving_without_a_coordinator_still_demotes_the_service(make: Callable[..., Group]) -> None:
    group = make(demoteTimeout="60s")
    group.eu.agent.command += ["--release-on-stop"]
    group.start()
    until(lambda: group.eu.agent.active().active, "an active eu", 30)
    group.coordinator.kill()
    group.eu.hold("demote")
    assert group.eu.agent.process is not None
    group.eu.agent.signal(signal.SIGTERM)
    until(lambda: group.eu.ran("demote"), "the demotion")
    assert group.eu.agent.process.poll() is None
    group.eu.let("demote")
    assert group.eu.agent.process.wait(20) == 0


def test_a_restart_of_the_agent_runs_the_hook_again_and_moves_nothing(make: Callable[..., Group]) -> None:
    group = make()
    group.start()
    until(lambda: group.eu.agent.active().active, "an active eu", 30)
    assert group.eu.agent.process is not None
    group.eu.hold("promote")
    group.eu.agent.signal(signal.SIGTERM)
    group.eu.agent.process.wait(10)
    group.eu.agent.start()
    until(lambda: len(group.eu.ran("promote")) == 2, "a second run")
    # It is active although the hook has not ended.
    until(lambda: group.eu.agent.active().active, "an active eu again")
    assert group.eu.agent.active().epoch == 1
    group.eu.let("promote")
    assert group.eu.ran("demote") == []


def test_a_killed_agent_that_returns_to_another_epoch_demotes_its_service(make: Callable[..., Group]) -> None:
    group = make()
    group.start()
    until(lambda: group.eu.agent.active().active, "an active eu", 30)
    group.eu.agent.kill()
    until(lambda: group.us.agent.active().active, "an active us", 30)
    assert group.eu.ran("demote") == []
    group.eu.agent.start()
    (told,) = until(lambda: group.eu.ran("demote"), "a demotion of eu")
    assert told == "1 default eu eu epoch 2 was decided"
    until(lambda: group.eu.phase() == "STANDBY", "eu is a standby")
    assert group.us.agent.active().epoch == 2


def test_what_a_proxy_learns_of_a_standby(make: Callable[..., Group]) -> None:
    group = make()
    group.start()
    until(lambda: group.eu.agent.active().active, "an active eu", 30)
    standby = group.us.agent
    until(lambda: standby.page("/standby?max_lag=10s")[0] == 200, "a healthy standby")
    status, headers, shown = standby.page("/standby?max_lag=250ms")
    assert (status, headers["Primacy-Epoch"]) == (200, "1")
    assert shown == {
        "standby": True, "phase": "PHASE_STANDBY", "lag": {"age": "0.25s", "entries": None, "bytes": None},
        "reason": "",
    }  # fmt: skip
    status, _, shown = standby.page("/standby?max_lag=0.2s")
    assert (status, shown["standby"], shown["reason"]) == (503, False, "its data is 0.25s behind, more than 0.2s")
    assert standby.page("/standby")[0] == 200
    status, _, shown = group.eu.agent.page("/standby?max_lag=10s")
    assert (status, shown["reason"]) == (503, "it is ACTIVE")
    for query, named in (
        ("max_lag=soon", "max_lag: must be a time like 10s or 500ms, got 'soon'"),
        ("max_lag=", "max_lag: must be a time"),
        ("max_lag=-1s", "max_lag: must be a time"),
        ("max_lag=1s&max_lag=2s", "max_lag: is given twice"),
        ("maxlag=1s", "maxlag: unknown parameter: there is max_lag"),
    ):
        status, _, shown = standby.page(f"/standby?{query}")
        assert status == 400
        assert named in shown["error"]
    # A lag that nobody measures any more is too far for who sets a limit.
    (group.us.folder / "lag").write_text("another_series 1\n")
    until(lambda: "not known" in standby.page("/standby?max_lag=10s")[2]["reason"]
          or "its service" in standby.page("/standby?max_lag=10s")[2]["reason"], "a standby without a lag")  # fmt: skip
    os.rename(group.us.folder / "lag", group.us.folder / "lag.gone")
    until(lambda: "its service is DOWN" in standby.page("/standby")[2]["reason"], "a standby whose probe fails")
    until(lambda: "lag" not in group.agent_of("us") or group.agent_of("us")["lag"].get("age") is None, "no lag told")

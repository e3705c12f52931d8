"""Documents on real processes: written anywhere, in force everywhere, whatever is cut or killed meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from primacy.agent.v1 import local_service_pb2 as pb
from primacy.v1 import replication_service_pb2
from primacy_wire.rpc_errors import RpcFailure, from_rpc_error

from tests.integration.clusters import AgentProcess, Cluster, until

pytestmark = pytest.mark.integration


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, proxied="ap-south") as running:
        yield running


def put(agent: AgentProcess, key: str, content: bytes, **more: object) -> pb.PutConfigResponse:
    request = pb.PutConfigRequest(key=key, content=content, **more)  # type: ignore[arg-type]
    return agent.local.PutConfig(request, timeout=20)


def refused(call: object, request: object) -> RpcFailure:
    with pytest.raises(grpc.RpcError) as error:
        call(request, timeout=20)  # type: ignore[operator]
    return from_rpc_error(error.value)


def get(agent: AgentProcess, key: str, version: int = 0) -> pb.Config:
    return agent.local.GetConfig(pb.GetConfigRequest(key=key, version=version), timeout=5).config


def wait(agent: AgentProcess, sequence: int) -> None:
    agent.local.WaitApplied(pb.WaitAppliedRequest(sequence=sequence), timeout=20)


def file(agent: AgentProcess, key: str) -> Path:
    return agent.state / "configs" / key


def test_a_document_is_in_force_everywhere(cluster: Cluster) -> None:
    ap, eu, us = cluster.agents
    seen: list[pb.Config] = []
    watch = eu.local.WatchConfig(pb.WatchConfigRequest())
    watching = threading.Thread(target=lambda: seen.extend(_watched(watch)))
    watching.start()
    first = put(us, "app/limits.yaml", b"rate: 100\n", message="to begin with")
    assert not first.queued
    assert (first.appended.version, first.appended.at_risk) == (1, False) or first.appended.at_risk
    for agent in (ap, eu, us):
        wait(agent, first.appended.sequence)
        assert file(agent, "app/limits.yaml").read_bytes() == b"rate: 100\n"
    shown = get(eu, "app/limits.yaml")
    assert (shown.content, shown.version, shown.origin, shown.message) == (
        b"rate: 100\n",
        1,
        "us-east",
        "to begin with",
    )
    # A writer's own next version knows of the one before, applied or not.
    for number in range(2, 12):
        assert put(eu, "app/limits.yaml", f"rate: {number}\n".encode()).appended.version == number
    last = put(eu, "app/limits.yaml", b"rate: 12\n", if_version=11)
    wait(us, last.appended.sequence)
    history = us.local.ListConfigs(pb.ListConfigsRequest(key="app/limits.yaml"), timeout=5).configs
    assert [one.version for one in history] == list(range(12, 0, -1))
    assert get(us, "app/limits.yaml", version=3).content == b"rate: 3\n"
    # Compare and set, what is no document, what is no key, what does not exist.
    stale = refused(us.local.PutConfig, pb.PutConfigRequest(key="app/limits.yaml", content=b"a: 1", if_version=4))
    assert (stale.code, stale.reason) == ("ABORTED", "VERSION_MISMATCH")
    bad = refused(us.local.PutConfig, pb.PutConfigRequest(key="../x", content=b"{", format="json"))
    assert bad.code == "INVALID_ARGUMENT"
    assert [field.path for field in bad.fields] == ["key", "content"]
    assert refused(us.local.GetConfig, pb.GetConfigRequest(key="nothing")).code == "NOT_FOUND"
    for key in ("app", "app/limits.yaml/more"):
        taken = refused(eu.local.PutConfig, pb.PutConfigRequest(key=key, content=b"a: 1"))
        assert (taken.code, taken.reason) == ("FAILED_PRECONDITION", "KEY_TAKEN")
    gone = us.local.PutConfig(pb.PutConfigRequest(key="app/limits.yaml", remove=True), timeout=20)
    for agent in (ap, eu, us):
        wait(agent, gone.appended.sequence)
        assert not file(agent, "app").exists()
    assert us.local.ListConfigs(pb.ListConfigsRequest(), timeout=5).configs == []
    until(lambda: seen and seen[-1].removed, "the watch sees the removal")
    watch.cancel()
    watching.join()
    assert [one.version for one in seen] == sorted(one.version for one in seen)


def _watched(watch: object) -> Iterator[pb.Config]:
    try:
        for response in watch:  # type: ignore[attr-defined]
            yield response.config
    except grpc.RpcError:
        return


def test_writes_on_both_sides_of_a_cut_meet_again(cluster: Cluster) -> None:
    ap, eu, us = cluster.agents
    base = put(us, "limits.json", b'{"rate": 100, "burst": 5}')
    wait(ap, base.appended.sequence)
    until(lambda: ap.active().active_epoch == us.active().epoch, "ap has heard of the epoch in force")
    assert cluster.proxy is not None
    cluster.proxy.cut()
    until(lambda: not ap.local.GetStatus(pb.GetStatusRequest(), timeout=5).session.connected, "ap is cut off")
    ours = put(us, "limits.json", b'{"rate": 200, "burst": 5}')
    theirs = put(ap, "limits.json", b'{"rate": 100, "burst": 9}')
    assert theirs.queued and theirs.config.queued
    assert file(ap, "limits.json").read_bytes() == b'{"rate": 100, "burst": 9}', "in force where it was written"
    put(us, "own", b"by: us\n")
    assert put(ap, "own/more", b"by: ap\n").queued, "neither knows that both cannot be"
    certain = pb.PutConfigRequest(key="limits.json", content=b"{}", if_version=1)
    assert refused(ap.local.PutConfig, certain).code == "UNAVAILABLE"
    # It is on disk: the agent may die meanwhile.
    ap.kill()
    ap.start()
    until(lambda: get(ap, "limits.json").queued, "the write waits in the next life")
    wait(eu, ours.appended.sequence)
    cluster.proxy.mend()

    def conflicts() -> dict[str, str]:
        asked = replication_service_pb2.ListConflictsRequest()
        return {one.key: one.cause for one in cluster.replication.ListConflicts(asked, timeout=5).conflicts}

    found = until(lambda: len(known := conflicts()) == 2 and known, "the conflicts are listed")
    # On a machine that stood still the lease may have moved meanwhile.
    assert found in ({"limits.json": cause, "own/more": "KEY_TAKEN"} for cause in ("CONCURRENT", "STALE_EPOCH"))
    until(lambda: len({file(agent, "limits.json").read_bytes() for agent in cluster.agents}) == 1, "all agree")
    until(lambda: not get(ap, "limits.json").queued, "nothing waits")
    texts = {get(agent, "limits.json").content for agent in cluster.agents}
    assert len(texts) == 1
    until(lambda: file(ap, "own").read_bytes() == b"by: us\n", "what came first in the log is in force")


def test_nothing_acknowledged_is_lost_when_processes_are_killed(cluster: Cluster) -> None:
    ap, eu, us = cluster.agents
    acknowledged: dict[str, bytes] = {}
    for number in range(60):
        key, content = f"k{number % 20}", f"n: {number}\n".encode()
        if number == 20:
            eu.kill()
        if number == 30:
            cluster.coordinator.kill()
            cluster.coordinator.start()
        if number == 45:
            eu.start()
        put(us, key, content)
        acknowledged[key] = content
    for agent in (ap, eu, us):
        until(
            lambda agent=agent: all(file(agent, key).read_bytes() == content for key, content in acknowledged.items()),
            f"{agent.name} has everything",
            30,
        )


def test_what_cannot_be_applied_is_parked_and_tried_again(cluster: Cluster) -> None:
    _, eu, us = cluster.agents
    file(eu, "a").mkdir(parents=True)
    (file(eu, "a") / "stranger").touch()
    first = put(us, "a", b"n: 1\n")
    second = put(us, "b", b"n: 2\n")
    wait(us, second.appended.sequence)
    status = cluster.replication.GetReplicationStatus
    parked = until(
        lambda: next(
            (
                region.parked
                for region in status(replication_service_pb2.GetReplicationStatusRequest(), timeout=5).regions
                if region.region == "eu-west" and region.parked
            ),
            None,
        ),
        "the entry is parked",
        150,
    )
    assert parked[0].sequence == first.appended.sequence
    assert "cannot be a file" in parked[0].reason
    wait(eu, second.appended.sequence)  # A parked entry holds back its own key only.
    assert file(eu, "b").read_bytes() == b"n: 2\n"
    refusal = refused(eu.local.WaitApplied, pb.WaitAppliedRequest(sequence=first.appended.sequence))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "PARKED")
    (file(eu, "a") / "stranger").unlink()
    file(eu, "a").rmdir()
    retry = replication_service_pb2.RetryEntryRequest(region="eu-west", sequence=first.appended.sequence)
    cluster.replication.RetryEntry(retry, timeout=5)
    until(lambda: file(eu, "a").read_bytes() == b"n: 1\n", "it is in force")
    until(lambda: wait(eu, first.appended.sequence) or True, "it is known to be in force")

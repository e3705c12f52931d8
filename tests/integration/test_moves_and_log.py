"""Moves of the lease and the log on real processes: nothing acknowledged is lost, and nothing late gets in."""

from __future__ import annotations

import http.client
import json
import random
import signal
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest
from primacy.agent.v1 import local_service_pb2 as pb
from primacy.v1 import election_pb2, election_service_pb2, replication_pb2
from primacy_wire.rpc_errors import from_rpc_error

from tests.integration.clusters import AgentProcess, Cluster, until

pytestmark = pytest.mark.integration

TRIES = 300


def put(agent: AgentProcess, key: str, number: int) -> pb.PutConfigResponse:
    return agent.local.PutConfig(pb.PutConfigRequest(key=key, content=f"n: {number}\n".encode()), timeout=20)


def post(address: str, text: str, epoch: int) -> tuple[int, dict[str, Any]]:
    """A write to the demo service as a sink."""
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    try:
        connection.request("POST", "/notes", text, {"Primacy-Epoch": str(epoch)})
        answer = connection.getresponse()
        return answer.status, json.load(answer)
    finally:
        connection.close()


def test_a_planned_move_under_writes_loses_none_that_was_acknowledged(tmp_path: Path) -> None:
    with Cluster(tmp_path, switchoverTimeout="20s") as cluster:
        ap, eu, us = cluster.agents
        acknowledged: list[int] = []
        refused: list[str] = []
        stop = threading.Event()

        def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                try:
                    put(us, f"k{number % 10}", number)
                    acknowledged.append(number)
                except grpc.RpcError as error:
                    refused.append(from_rpc_error(error).reason)

        writing = threading.Thread(target=write)
        writing.start()
        try:
            for region in ("eu-west", "us-east", "ap-south"):
                count = len(acknowledged)
                until(lambda count=count: len(acknowledged) > count + 20, "writes go on", 30)
                request = election_service_pb2.FailoverRequest(
                    target_region=region, reason="a test", owner="test", wait=True
                )
                answer = cluster.elections.Failover(request, timeout=30)
                assert answer.failover.state == election_pb2.FAILOVER_STATE_SUCCEEDED
                until(lambda region=region: cluster.believers() == {region}, f"{region} is active")
        finally:
            stop.set()
            writing.join()
        assert set(refused) <= {"FROZEN", "STALE_EPOCH"}
        newest = {number % 10: number for number in acknowledged}
        for agent in (ap, eu, us):
            for slot, number in newest.items():
                file = agent.state / "configs" / f"k{slot}"
                until(lambda file=file, number=number: file.read_text() == f"n: {number}\n", f"{file} is {number}")


def test_a_planned_move_waits_until_the_other_region_has_everything(tmp_path: Path) -> None:
    model = tmp_path / "weights.bin"
    model.write_bytes(random.Random(2).randbytes(4_000_000))
    (tmp_path / "group").mkdir()
    with Cluster(tmp_path / "group", replication={"bandwidth": 500_000}, switchoverTimeout="40s") as cluster:
        _, eu, us = cluster.agents
        # By default the answer waits until another region has it: the move would have nothing to wait for.
        local = replication_pb2.DURABILITY_LOCAL
        list(us.local.Publish(pb.PublishRequest(name="m", path=str(model), durability=local), timeout=60))
        assert not (eu.state / "models/m/current").exists()
        sequence = us.local.GetStatus(pb.GetStatusRequest(), timeout=5).replication.head
        request = election_service_pb2.FailoverRequest(
            target_region="eu-west", reason="a test", owner="test", wait=True, override_rules=["LAG", "PARKED"]
        )
        answer = cluster.elections.Failover(request, timeout=60)
        assert answer.failover.state == election_pb2.FAILOVER_STATE_SUCCEEDED
        assert (eu.state / "models/m/current/1/weights.bin").stat().st_size == 4_000_000, "before it became active"
        assert sequence >= 1
        cluster.expect_active("eu-west", 2)


def test_a_writer_that_was_frozen_beyond_its_lease_gets_nothing_in(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        _, eu, us = cluster.agents
        sink = cluster.services["ap-south"].command[cluster.services["ap-south"].command.index("--address") + 1]
        old = us.active().epoch
        assert post(sink, "while it was active", old)[0] == 200
        us.signal(signal.SIGSTOP)
        until(lambda: eu.active().active, "eu takes over", 20)
        new = eu.active().epoch
        assert post(sink, "first of the new epoch", new)[0] == 200
        # Its service thaws first, in the middle of a line that it began under the old epoch; then its agent.
        late = [post(sink, f"late {number}", old)[0] for number in range(TRIES // 2)]
        us.signal(signal.SIGCONT)
        late += [post(sink, f"later {number}", old)[0] for number in range(TRIES // 2)]
        assert set(late) == {409}
        until(lambda: not us.active().active and us.active().active_epoch == new, "us knows")
        assert post(sink, "and again", new)[0] == 200
        host, _, port = sink.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=5)
        connection.request("GET", "/notes")
        notes = json.load(connection.getresponse())["notes"]
        connection.close()
        assert [note["text"] for note in notes] == ["while it was active", "first of the new epoch", "and again"]


def test_a_write_of_an_epoch_that_is_over_is_a_conflict_or_refused(tmp_path: Path) -> None:
    with Cluster(tmp_path, proxied="us-east", conflictPolicy="MANUAL", grace="0.25s") as cluster:
        _, eu, us = cluster.agents
        before = put(us, "limits", 1)
        for agent in (eu, us):
            agent.local.WaitApplied(pb.WaitAppliedRequest(sequence=before.appended.sequence), timeout=20)
        assert cluster.proxy is not None
        cluster.proxy.cut()
        until(lambda: eu.active().active, "eu takes over", 30)
        # It has not heard of the new epoch: what it writes now is kept, and comes later under the old one.
        queued = put(us, "limits", 2)
        assert queued.queued
        cluster.proxy.mend()

        def conflicts() -> list[Any]:
            from primacy.v1.replication_service_pb2 import ListConflictsRequest

            return list(cluster.replication.ListConflicts(ListConflictsRequest(with_content=True), timeout=5).conflicts)

        (found,) = until(conflicts, "a conflict", 30)
        assert found.cause == "STALE_EPOCH"
        assert (found.incoming.content, found.current.content) == (b"n: 2\n", b"n: 1\n")
        until(lambda: (us.state / "configs/limits").read_text() == "n: 1\n", "what is in force is in force there, too")

"""What agents do with their reads before any coordinator speaks, and after a restart without one. [I6, I8]"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from primacy.agent.v1 import local_service_pb2 as pb
from primacy.v1 import routing_pb2
from primacy_agent.core.traffic import Traffic
from primacy_agent.node import Node
from primacy_wire.durations import Duration
from primacy_wire.messages import Directory, Notice, Report, WeightsUpdate
from primacy_wire.session_codec import to_agent_to_proto

from tests.integration.clusters import Cluster
from tests.integration.clusters import until as until_true
from tests.integration.coordinators import free_port
from tests.integration.test_agent_session import MEMBERS, Desk, agent, coordinating, until

pytestmark = pytest.mark.integration
READ, WRITE = routing_pb2.TRAFFIC_CLASS_READ, routing_pb2.TRAFFIC_CLASS_WRITE


class Taken:
    """An output that remembers what it was given."""

    name, address, version, trouble = "file", "", 0, ""

    def __init__(self) -> None:
        self.values: list[Traffic] = []

    def apply(self, traffic: Traffic) -> None:
        self.values.append(traffic)

    async def start(self) -> None: ...

    async def close(self) -> None: ...


@asynccontextmanager
async def service(address: str) -> AsyncIterator[None]:
    """Something that listens."""
    host, port = address.split(":")
    async with await asyncio.start_server(lambda _, writer: writer.close(), host, int(port)):
        yield


def weights(version: int, endpoint: str, **more: object) -> WeightsUpdate:
    first = WeightsUpdate(
        version=version,
        strategy=6,
        read=(("ap", 0.0), ("eu", 0.75), ("us", 0.25)),
        write=(("ap", 0.0), ("eu", 1.0), ("us", 0.0)),
        active_region="eu",
        active_epoch=1,
        endpoints=(("ap", "127.0.0.1:1"), ("eu", endpoint), ("us", "")),
        fallback=("ap",),
    )
    return replace(first, **more)  # type: ignore[arg-type]


@asynccontextmanager
async def told(folder: Path, endpoint: str, update: WeightsUpdate) -> AsyncIterator[tuple[Node, Desk, Taken]]:
    """An agent of region us whose coordinator answers every report and says nothing else after these weights."""
    address = f"127.0.0.1:{free_port()}"
    quick = {"peer_interval": Duration.of("100ms"), "peer_timeout": Duration.of("500ms")}
    async with coordinating(Desk(), address) as desk, agent(folder, address, **quick) as node:
        taken = Taken()
        node.outputs.all = (taken,)
        desk.say.put_nowait(to_agent_to_proto(Directory(MEMBERS, (), (("eu", endpoint),))))
        desk.say.put_nowait(to_agent_to_proto(update))
        await until(lambda: taken.values, "the weights")
        yield node, desk, taken


def shares(taken: Taken) -> dict[str, float]:
    return dict(taken.values[-1].read)


async def test_reads_leave_a_dead_region_while_the_coordinator_answers_and_says_nothing(tmp_path: Path) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    async with AsyncExitStack() as up, AsyncExitStack() as running:
        await running.enter_async_context(service(endpoint))
        node, desk, taken = await up.enter_async_context(told(tmp_path, endpoint, weights(1, endpoint)))
        await until(lambda: any(sight.hits > 1 for sight in node.peers.all()), "it is seen")
        assert shares(taken) == {"ap": 0.0, "eu": 0.75, "us": 0.25}
        await running.aclose()
        before = len(taken.values)
        await until(lambda: shares(taken) == {"ap": 0.0, "eu": 0.0, "us": 1.0}, "reads leave eu")
        assert len(taken.values) == before + 1, "data planes are told once"
        assert taken.values[-1].shunned == ("eu",)
        assert dict(taken.values[-1].write)["eu"] == 1.0, "writes are never moved"
        await until(lambda: desk.all(Report)[-1].shunned == ("eu",), "the coordinator hears of it")
        assert node.session.connected
        await until(lambda: desk.all(Notice), "and so does the journal")
        (notice,) = desk.all(Notice)
        assert (notice.name, notice.warning) == ("local-shift", True)
        assert "away from eu (127.0.0.1:" in notice.text and "connection refused" in notice.text
        async with service(endpoint):
            await until(lambda: shares(taken)["eu"] == 0.75, "as told again")
            await until(lambda: not desk.all(Report)[-1].shunned, "the coordinator hears of that, too")
            await until(lambda: len(desk.all(Notice)) == 2, "the journal")
            ended = desk.all(Notice)[1]
            assert (ended.name, ended.warning) == ("local-shift-ended", False)
            assert "can be reached again" in ended.text


async def test_no_more_than_the_policy_allows_moves_and_a_newer_row_ends_it(tmp_path: Path) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    async with told(tmp_path, endpoint, weights(1, endpoint, local_shift_max=0.25)) as (_, desk, taken):
        await until(lambda: shares(taken) == pytest.approx({"ap": 0.0, "eu": 0.5, "us": 0.5}), "a part of them moves")
        row = (("ap", 0.0), ("eu", 0.0), ("us", 1.0))
        desk.say.put_nowait(to_agent_to_proto(weights(2, endpoint, read=row, local_shift_max=0.25)))
        await until(lambda: taken.values[-1].version == 2, "newer weights")
        assert (taken.values[-1].read, taken.values[-1].shunned) == (row, ())
        await until(lambda: len(desk.all(Notice)) == 2, "the journal")
        assert "the weights give eu nothing any more" in desk.all(Notice)[1].text
        desk.say.put_nowait(to_agent_to_proto(weights(3, endpoint, local_shift_max=0.0)))
        await until(lambda: taken.values[-1].version == 3, "newer weights")
        assert (shares(taken), taken.values[-1].shunned) == ({"ap": 0.0, "eu": 0.75, "us": 0.25}, ())


async def test_with_everything_dead_nothing_moves(tmp_path: Path) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    row = (("ap", 0.0), ("eu", 1.0), ("us", 0.0))
    async with told(tmp_path, endpoint, weights(1, endpoint, read=row, fallback=())) as (node, desk, taken):
        await until(lambda: any(sight.lost for sight in node.peers.all()), "eu is seen dead")
        number = desk.all(Report)[-1].number
        await until(lambda: desk.all(Report)[-1].number > number + 2, "reports go on")
        assert (shares(taken)["eu"], desk.all(Report)[-1].shunned, desk.all(Notice)) == (1.0, (), [])


def test_a_region_dies_while_the_coordinator_is_frozen(tmp_path: Path) -> None:
    with Cluster(tmp_path, readStrategy="ROUND_ROBIN") as cluster:
        others = [agent for agent in cluster.agents if agent.region != "us-east"]
        until_true(lambda: all(agent.reads()["us-east"] > 0.3 for agent in others), "a third each")
        assert cluster.coordinator.process is not None
        cluster.coordinator.process.send_signal(signal.SIGSTOP)
        cluster.services["us-east"].kill()
        for agent in cluster.of("us-east"):
            agent.kill()
        for agent in others:
            until_true(lambda agent=agent: agent.reads()["us-east"] == 0, f"reads leave us-east at {agent.name}", 5)
            page = agent.page("/weights")[2]
            assert page["shunned"] == ["us-east"]
            assert page["row"]["weights"] == pytest.approx({"ap-south": 0.5, "eu-west": 0.5, "us-east": 0}, abs=0.01)
            older = agent.local.GetWeights(pb.GetWeightsRequest(), timeout=2).age.ToNanoseconds()
            until_true(
                lambda agent=agent, older=older: (
                    agent.local.GetWeights(pb.GetWeightsRequest(), timeout=2).age.ToNanoseconds() > older
                ),
                "the age grows",
            )
            assert agent.route(READ).region != "us-east"
            status = agent.local.GetStatus(pb.GetStatusRequest(), timeout=2)
            (seen,) = [peer for peer in status.peers if peer.region == "us-east" and not peer.agent]
            assert seen.lost and "refused" in seen.reason
        cluster.coordinator.process.send_signal(signal.SIGCONT)
        for agent in others:
            until_true(
                lambda agent=agent: any(agent.name in event["message"] for event in cluster.events("local-shift")),
                f"the journal has it of {agent.name}",
            )
        cluster.services["us-east"].start()
        for agent in cluster.of("us-east"):
            agent.start()
        until_true(lambda: all(agent.reads()["us-east"] > 0.3 for agent in others), "a third each again", 30)
        assert cluster.events("local-shift-ended")


def test_a_restarted_agent_knows_its_weights_before_any_coordinator_answers(tmp_path: Path) -> None:
    with Cluster(tmp_path, readStrategy="ROUND_ROBIN") as cluster:
        (agent,) = cluster.of("eu-west")
        until_true(lambda: agent.reads()["us-east"] > 0.3, "a third each")
        told = agent.reads()
        file = agent.state / "weights.json"
        until_true(lambda: json.loads(file.read_text())["weights"]["read"] == pytest.approx(told), "it is on the disk")
        cluster.coordinator.kill()
        older = agent.local.GetWeights(pb.GetWeightsRequest(), timeout=2).age.ToNanoseconds()
        agent.kill()
        agent.start()
        answer = until_true(lambda: agent.local.GetWeights(pb.GetWeightsRequest(), timeout=2), "it answers")
        assert dict(answer.row.weights) == pytest.approx(told)
        assert answer.age.ToNanoseconds() > older, "as old as they are, not as this life is"
        assert agent.route(READ).region in told
        with pytest.raises(grpc.RpcError) as refused:
            agent.route(WRITE)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]
        assert not agent.active().region, "who is active, only a session says"
        # It knows where the others' users go, so it still sees one die.
        cluster.services["us-east"].kill()
        until_true(lambda: agent.reads()["us-east"] == 0, "reads leave us-east", 5)
        # What cannot be read is no reason not to start.
        agent.kill()
        file.write_text('{"owner": {"group": "default"')
        agent.start()
        answer = until_true(lambda: agent.local.GetWeights(pb.GetWeightsRequest(), timeout=2), "it answers")
        assert answer.version == 0 and not answer.HasField("row")
        assert "the kept weights cannot be used" in agent.log.read_text()
        cluster.coordinator.start()
        until_true(agent.reads, "the coordinator's")

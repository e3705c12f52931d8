"""A real coordinator and agents that speak by hand: who becomes active, what survives a restart, who is sent away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from primacy.v1 import agent_service_pb2 as agent_pb
from primacy.v1 import election_service_pb2 as election_pb
from primacy.v1.agent_service_pb2_grpc import AgentServiceStub
from primacy.v1.election_service_pb2_grpc import ElectionServiceStub
from primacy_wire.channel import make_channel
from primacy_wire.messages import Answer, Offer, WeightsUpdate, Welcome
from primacy_wire.rpc_errors import from_rpc_error
from primacy_wire.session_codec import from_agent_to_proto

from tests.integration.coordinators import CoordinatorProcess, HandAgent, until

pytestmark = pytest.mark.integration

POLICY = "leaseTtl: 2s\nreportInterval: 0.25s\ngrace: 0.25s\nfirstWait: 0.25s\n"


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[CoordinatorProcess]:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    process = CoordinatorProcess(tmp_path / "state", "--policy", str(policy))
    process.start()
    yield process
    process.close()


@pytest.fixture
async def elections(coordinator: CoordinatorProcess) -> AsyncIterator[ElectionServiceStub]:
    async with make_channel(coordinator.grpc) as channel:
        yield ElectionServiceStub(channel)


async def active(elections: ElectionServiceStub) -> election_pb.GetActiveRegionResponse:
    async def ask() -> election_pb.GetActiveRegionResponse | None:
        reply = await elections.GetActiveRegion(election_pb.GetActiveRegionRequest(), timeout=5, wait_for_ready=True)
        return reply if reply.region else None

    return await until(ask)


async def test_the_first_region_that_accepts_is_active(
    coordinator: CoordinatorProcess, elections: ElectionServiceStub
) -> None:
    async with HandAgent(coordinator.grpc, "us-east") as agent:
        await agent.join()
        offer = await agent.wait_for(Offer)
        assert offer.epoch == 1
        reply = await active(elections)
        assert (reply.group, reply.region, reply.epoch) == ("default", "us-east", 1)
        renewal = await agent.wait_for(Answer, lambda answer: answer.renews)
        assert renewal.epoch == 1
        weights = await agent.wait_for(WeightsUpdate, lambda update: update.active_epoch == 1)
        assert weights.active_region == "us-east"
        assert dict(weights.write) == {"us-east": 1.0}


async def test_a_killed_coordinator_comes_back_without_a_failover(
    coordinator: CoordinatorProcess, elections: ElectionServiceStub
) -> None:
    async with HandAgent(coordinator.grpc, "us-east") as agent:
        await agent.join()
        assert (await active(elections)).epoch == 1
        coordinator.kill()
        await agent.wait_for_end()
        await agent.stop_reporting()
        before = len(agent.heard)
        coordinator.spawn()
        while True:
            try:
                await agent.connect()
                await agent.wait_for(Welcome, after=before)
                break
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)
        report = agent.report()
        await agent.send(report)
        answer = await agent.wait_for(Answer, lambda answer: answer.report == report.number, after=before)
        assert answer.renews
        assert answer.epoch == 1
        agent.start_reporting()
        reply = await active(elections)
        assert (reply.region, reply.epoch) == ("us-east", 1)
        moves = await elections.ListFailovers(election_pb.ListFailoversRequest())
        assert [move.to_region for move in moves.failovers] == ["us-east"]


async def test_a_newer_life_sends_the_older_away(coordinator: CoordinatorProcess) -> None:
    async with (
        HandAgent(coordinator.grpc, "us-east", host="host-old") as old,
        HandAgent(coordinator.grpc, "us-east", host="host-new") as new,
    ):
        await old.join()
        await new.join()
        error = await old.wait_for_end()
        assert error.code() is grpc.StatusCode.ALREADY_EXISTS
        assert "host-old" in str(error.details())
        assert "host-new" in str(error.details())
        assert from_rpc_error(error).reason == "TWIN"
        # It is refused for good, also when it tries again.
        await old.connect()
        assert (await old.wait_for_end()).code() is grpc.StatusCode.ALREADY_EXISTS
        await new.exchange()


async def test_a_session_needs_a_hello_first(coordinator: CoordinatorProcess) -> None:
    async with HandAgent(coordinator.grpc, "us-east") as agent, make_channel(coordinator.grpc) as channel:
        call = AgentServiceStub(channel).Session()
        await call.write(from_agent_to_proto(agent.report()))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert from_rpc_error(caught.value).fields[0].path == "hello"


async def test_an_unknown_group_is_not_made_by_a_hello(coordinator: CoordinatorProcess) -> None:
    async with HandAgent(coordinator.grpc, "us-east", group="typo") as agent:
        await agent.connect()
        error = await agent.wait_for_end()
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert "typo" in str(error.details())


async def test_a_protocol_version_too_far_off_is_refused(coordinator: CoordinatorProcess) -> None:
    async with HandAgent(coordinator.grpc, "us-east", protocol_version=9) as agent:
        await agent.connect()
        error = await agent.wait_for_end()
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert from_rpc_error(error).reason == "PROTOCOL_VERSION"


async def test_a_malformed_report_names_its_fields_and_ends_the_session(coordinator: CoordinatorProcess) -> None:
    async with HandAgent(coordinator.grpc, "us-east") as agent:
        await agent.connect()
        await agent.wait_for(Welcome)
        report = agent_pb.Report(incarnation=agent.incarnation, number=1)
        report.load.request_rate = float("nan")
        report.load.capacity = -1
        await agent.send_raw(agent_pb.SessionRequest(report=report))
        error = await agent.wait_for_end()
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        paths = {field.path for field in from_rpc_error(error).fields}
        assert {"report.load.requestRate", "report.load.capacity"} <= paths


async def test_a_malformed_report_ends_the_session_also_while_the_welcome_is_on_its_way(
    coordinator: CoordinatorProcess,
) -> None:
    for _ in range(20):
        async with HandAgent(coordinator.grpc, "us-east") as agent:
            await agent.connect()
            await agent.send_raw(agent_pb.SessionRequest(report=agent_pb.Report(incarnation=agent.incarnation)))
            assert (await agent.wait_for_end()).code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_oversized_message_is_refused(coordinator: CoordinatorProcess) -> None:
    async with (
        HandAgent(coordinator.grpc, "us-east") as agent,
        # A careless client: ours would not even send it.
        grpc.aio.insecure_channel(coordinator.grpc, options=[("grpc.max_send_message_length", -1)]) as channel,
    ):
        call = AgentServiceStub(channel).Session()
        await call.write(from_agent_to_proto(agent.hello))
        assert (await call.read()).HasField("welcome")
        report = agent_pb.Report(incarnation=agent.incarnation, number=1)
        report.health.reason = "x" * (5 * 1024 * 1024)
        await call.write(agent_pb.SessionRequest(report=report))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _read_to_end(call)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        # Others do not notice.
        await agent.connect()
        await agent.wait_for(Welcome)


async def _read_to_end(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def test_a_stopping_coordinator_sends_agents_to_come_again(coordinator: CoordinatorProcess) -> None:
    async with HandAgent(coordinator.grpc, "us-east") as agent:
        await agent.join()
        assert await asyncio.to_thread(coordinator.stop) == 0
        assert (await agent.wait_for_end()).code() is grpc.StatusCode.UNAVAILABLE

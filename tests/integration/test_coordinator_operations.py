"""Drains, cordons, pauses, pins, approvals, promotions at a real coordinator: what each does, and what is refused."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from primacy.v1 import election_pb2, override_pb2, policy_pb2, region_pb2
from primacy.v1 import election_service_pb2 as election
from primacy.v1 import group_service_pb2 as group
from primacy.v1 import policy_service_pb2 as policies
from primacy.v1 import region_service_pb2 as region
from primacy.v1 import routing_service_pb2 as routing
from primacy.v1 import status_service_pb2 as status
from primacy_wire.channel import make_channel
from primacy_wire.messages import HookRan, Release, Released, ServiceHealth, ServiceState
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.coordinators import CoordinatorProcess, HandAgent, until
from tests.integration.test_coordinator_api import Api

pytestmark = pytest.mark.integration

INVALID = grpc.StatusCode.INVALID_ARGUMENT
MISSING = grpc.StatusCode.NOT_FOUND
REFUSED = grpc.StatusCode.FAILED_PRECONDITION
DOWN = ServiceHealth(ServiceState.DOWN, 0, 1, "connection refused")


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoordinatorProcess]:
    process = CoordinatorProcess(tmp_path_factory.mktemp("coordinator") / "state")
    process.start()
    yield process
    process.close()


@pytest.fixture
async def api(coordinator: CoordinatorProcess) -> AsyncIterator[Api]:
    async with make_channel(coordinator.grpc) as channel:
        yield Api(channel)


@pytest.fixture
async def name(api: Api, request: pytest.FixtureRequest) -> str:
    found = request.node.originalname.replace("_", "-")[:60].strip("-")
    policy = policy_pb2.Policy(
        lease_ttl=Duration(seconds=2),
        report_interval=Duration(nanos=250_000_000),
        grace=Duration(nanos=100_000_000),
        first_wait=Duration(nanos=100_000_000),
        stable_for=Duration(),
        drain_time=Duration(nanos=500_000_000),
        slow_start=Duration(),
        cool_down=Duration(),
        max_loss=policy_pb2.Limits(entries=10),
    )
    await api.Group.CreateGroup(group.CreateGroupRequest(group=found, policy=policy))
    return found


def at(seconds: float) -> Timestamp:
    return Timestamp(seconds=int(time.time() + seconds))


async def is_active(api: Api, name: str, wanted: str) -> bool:
    found = await api.Election.GetActiveRegion(election.GetActiveRegionRequest(group=name))
    return bool(found.region == wanted)


async def two(coordinator: CoordinatorProcess, api: Api, name: str, stack: list[HandAgent]) -> None:
    """Regions `eu` (active) and `us`, each with an agent that takes every offer and gives up when ordered."""
    for where in ("eu", "us"):
        agent = HandAgent(coordinator.grpc, where, group=name)
        stack.append(agent)
        await agent.join()
        if where == "eu":
            await until(lambda: is_active(api, name, "eu"))

    async def well() -> bool:
        found = await api.Region.ListRegions(region.ListRegionsRequest(group=name))
        return [r.status for r in found.regions] == [region_pb2.REGION_STATUS_HEALTHY] * 2

    await until(well)


@pytest.fixture
async def agents() -> AsyncIterator[list[HandAgent]]:
    found: list[HandAgent] = []
    yield found
    for agent in found:
        await agent.close()


async def give_up(agent: HandAgent) -> None:
    """Answer the next release order."""
    order = await agent.wait_for(Release)
    agent.epoch, agent.released = 0, order.epoch
    await agent.send(Released(agent.incarnation, order.epoch, "ordered"))


async def events(api: Api, name: str, kind: str) -> list[Any]:
    return list((await api.Status.ListEvents(status.ListEventsRequest(group=name, kinds=[kind]))).events)


async def test_a_drain_takes_reads_away_and_shows_how_far_it_is(
    coordinator: CoordinatorProcess, api: Api, name: str, agents: list[HandAgent]
) -> None:
    await two(coordinator, api, name, agents)
    await api.Policy.SetPolicy(
        policies.SetPolicyRequest(
            group=name,
            policy={"read_strategy": "ROUTING_STRATEGY_ROUND_ROBIN", "drain_time": {"nanos": 500_000_000}},
        )
    )
    answer = await api.Region.DrainRegion(region.DrainRegionRequest(group=name, name="us", reason="disk", owner="ann"))
    assert answer.region.drain_state == override_pb2.DRAIN_STATE_DRAINING and len(answer.steps) == 1

    async def drained() -> bool:
        found = await api.Region.GetRegion(region.GetRegionRequest(group=name, name="us"))
        return bool(found.region.drain_state == override_pb2.DRAIN_STATE_DRAINED)

    await until(drained)
    weights = await api.Routing.GetWeights(routing.GetWeightsRequest(group=name, client_region="us"))
    assert dict(weights.rows[0].weights) == {"eu": 1.0, "us": 0.0}
    causes = weights.rows[0].causes["us"].causes
    assert [cause.name for cause in causes] == ["policy", "drain"] and abs(sum(c.share for c in causes)) < 1e-9
    (override,) = (await api.Status.ListOverrides(status.ListOverridesRequest(group=name))).overrides
    assert override.kind == override_pb2.OVERRIDE_KIND_DRAIN and override.owner == "ann"
    assert 3590 < override.remaining.seconds <= 3600
    await api.Region.UndrainRegion(region.UndrainRegionRequest(group=name, name="us"))
    assert not (await api.Status.ListOverrides(status.ListOverridesRequest(group=name))).overrides
    (told,) = await events(api, name, "drain-set")
    assert "ann" in told.message and "disk" in told.message


async def test_draining_the_active_region_is_a_planned_switchover(
    coordinator: CoordinatorProcess, api: Api, name: str, agents: list[HandAgent]
) -> None:
    await two(coordinator, api, name, agents)
    request = region.DrainRegionRequest(group=name, name="eu", reason="reboot", validate_only=True)
    dry = await api.Region.DrainRegion(request)
    assert len(dry.steps) == 2 and dry.region.drain_state == override_pb2.DRAIN_STATE_NONE
    assert await is_active(api, name, "eu")
    request.validate_only = False
    answer = await api.Region.DrainRegion(request)
    assert answer.failover.kind == election_pb2.FAILOVER_KIND_PLANNED
    cancelled = await api.Election.CancelFailover(
        election.CancelFailoverRequest(group=name, id=answer.failover.id, reason="not now", owner="ann")
    )
    assert cancelled.failover.state == election_pb2.FAILOVER_STATE_ABORTED

    async def abandoned() -> bool:
        return bool(await events(api, name, "drain-abandoned"))

    await until(abandoned)
    assert await is_active(api, name, "eu")


async def test_a_cordoned_region_is_refused_by_that_name(
    coordinator: CoordinatorProcess, api: Api, name: str, agents: list[HandAgent]
) -> None:
    await two(coordinator, api, name, agents)
    answer = await api.Region.CordonRegion(region.CordonRegionRequest(group=name, name="us", reason="old build"))
    assert answer.region.cordoned
    failure = await api.fails("Election", "Failover", election.FailoverRequest(group=name, target_region="us"))
    assert (failure.code, failure.reason) == (REFUSED.name, "CORDONED") and "old build" in failure.message
    explained = await api.Election.ExplainElection(election.ExplainElectionRequest(group=name, if_down="eu"))
    assert {c.region: c.rule for c in explained.candidates}["us"] == "CORDONED" and not explained.would_move
    await api.Region.UncordonRegion(region.UncordonRegionRequest(group=name, name="us"))
    explained = await api.Election.ExplainElection(election.ExplainElectionRequest(group=name, if_down="eu"))
    assert explained.winner == "us" and explained.candidates[0].HasField("price")


async def test_a_pause_is_listed_and_resumed(
    coordinator: CoordinatorProcess, api: Api, name: str, agents: list[HandAgent]
) -> None:
    await two(coordinator, api, name, agents)
    answer = await api.Election.PauseElection(
        election.PauseElectionRequest(group=name, reason="migration", owner="bob", expire_time=at(600))
    )
    assert 590 < answer.pause.remaining.seconds <= 600
    agents[0].health = DOWN

    async def is_down() -> bool:
        found = await api.Region.GetRegion(region.GetRegionRequest(group=name, name="eu"))
        return bool(found.region.status == region_pb2.REGION_STATUS_DOWN)

    await until(is_down)
    seen = await api.Status.GetStatus(status.GetStatusRequest(group=name))
    assert [o.kind for o in seen.overrides] == [override_pb2.OVERRIDE_KIND_PAUSE] and not seen.HasField("failover")
    releasing = asyncio.create_task(give_up(agents[0]))
    await api.Election.ResumeElection(election.ResumeElectionRequest(group=name, owner="bob"))
    await until(lambda: is_active(api, name, "us"))
    await releasing


async def test_pins_set_reads_by_hand(
    coordinator: CoordinatorProcess, api: Api, name: str, agents: list[HandAgent]
) -> None:
    await two(coordinator, api, name, agents)
    await api.Routing.PinWeights(
        routing.PinWeightsRequest(group=name, weights={"eu": 0.25, "us": 0.75}, reason="canary", owner="ann")
    )

    async def pinned() -> bool:
        found = await api.Routing.GetWeights(routing.GetWeightsRequest(group=name, client_region="eu"))
        return dict(found.rows[0].weights) == {"eu": 0.25, "us": 0.75}

    await until(pinned)
    ended = await api.Routing.UnpinWeights(routing.UnpinWeightsRequest(group=name))
    assert dict(ended.pin.weights) == {"eu": 0.25, "us": 0.75}


async def test_a_promotion_is_a_phase_of_the_move_and_keeps_what_its_hook_printed(
    coordinator: CoordinatorProcess, api: Api, name: str, agents: list[HandAgent]
) -> None:
    await two(coordinator, api, name, agents)
    releasing = asyncio.create_task(give_up(agents[0]))
    agents[0].health = DOWN
    await until(lambda: is_active(api, name, "us"))
    await releasing
    us = agents[1]
    ran = HookRan(us.incarnation, us.epoch, "on_promote", 0, "succeeded", "pg_ctl: server promoting", 5_000_000)
    await us.send(ran)

    async def kept() -> Any:
        (newest, *_) = (await api.Election.ListFailovers(election.ListFailoversRequest(group=name))).failovers
        return list(newest.hooks)

    (hook,) = await until(kept)
    assert (hook.agent, hook.hook, hook.outcome) == ("us/one", "on_promote", "succeeded")
    assert hook.output == "pg_ctl: server promoting"


BAD_INPUT: list[tuple[str, str, Any, grpc.StatusCode, str]] = [
    ("Region", "DrainRegion", region.DrainRegionRequest(name="eu"), INVALID, "reason"),
    ("Region", "DrainRegion", region.DrainRegionRequest(name="E U", reason="x"), INVALID, "name"),
    ("Region", "DrainRegion", region.DrainRegionRequest(name="mars", reason="x"), MISSING, "REGION_NOT_FOUND"),
    (
        "Region",
        "DrainRegion",
        region.DrainRegionRequest(name="eu", reason="x", override_rules=["LAGG"]),
        INVALID,
        "overrideRules[0]",
    ),
    ("Region", "CordonRegion", region.CordonRegionRequest(name="eu", reason="x", expire_time=at(-5)), INVALID,
     "expireTime"),
    ("Region", "UndrainRegion", region.UndrainRegionRequest(name="eu"), REFUSED, "NOT_DRAINED"),
    ("Region", "UncordonRegion", region.UncordonRegionRequest(name="eu"), REFUSED, "NOT_CORDONED"),
    ("Election", "PauseElection", election.PauseElectionRequest(), INVALID, "reason"),
    (
        "Election",
        "PauseElection",
        election.PauseElectionRequest(reason="x", expire_time=at(73 * 3600)),
        INVALID,
        "expireTime",
    ),
    ("Election", "ResumeElection", election.ResumeElectionRequest(), REFUSED, "NOT_PAUSED"),
    ("Election", "ApproveFailover", election.ApproveFailoverRequest(), INVALID, "id"),
    ("Election", "ApproveFailover", election.ApproveFailoverRequest(id="fo-9"), MISSING, "FAILOVER_NOT_FOUND"),
    ("Election", "CancelFailover", election.CancelFailoverRequest(id="fo-1"), REFUSED, "FAILOVER_ENDED"),
    ("Election", "Failover", election.FailoverRequest(if_epoch=99), REFUSED, "EPOCH_MISMATCH"),
    ("Routing", "PinWeights", routing.PinWeightsRequest(weights={"eu": 0.5}, reason="x"), INVALID, "weights"),
    ("Routing", "PinWeights", routing.PinWeightsRequest(weights={"eu": float("nan")}, reason="x"), INVALID,
     "weights.eu"),
    ("Routing", "PinWeights", routing.PinWeightsRequest(weights={"mars": 1.0}, reason="x"), MISSING,
     "REGION_NOT_FOUND"),
    ("Routing", "UnpinWeights", routing.UnpinWeightsRequest(), REFUSED, "NOT_PINNED"),
    ("Policy", "SetPolicy", policies.SetPolicyRequest(policy={"flap_limit": 0.5}), INVALID, "policy.flapLimit"),
    ("Policy", "SetPolicy", policies.SetPolicyRequest(policy={"max_lag": {"entries": -1}}), INVALID,
     "policy.maxLag.entries"),
    (
        "Policy",
        "SetPolicy",
        policies.SetPolicyRequest(policy={"failback": "FAILBACK_AUTO", "failback_after": {"seconds": 1}}),
        INVALID,
        "policy.failbackAfter",
    ),
    (
        "Policy",
        "SetPolicy",
        policies.SetPolicyRequest(policy={"approval_action": "APPROVAL_ACTION_MOVE"}),
        INVALID,
        "policy.approvalAction",
    ),
]  # fmt: skip


async def test_what_cannot_be_is_refused_with_its_place_and_changes_nothing(
    coordinator: CoordinatorProcess, api: Api, name: str, agents: list[HandAgent]
) -> None:
    await two(coordinator, api, name, agents)

    async def facts() -> tuple[Any, ...]:
        seen = await api.Status.GetStatus(status.GetStatusRequest(group=name))
        return list(seen.overrides), seen.policy, seen.active_region, [(r.name, r.cordoned) for r in seen.regions]

    before = await facts()
    for service, method, request, code, where in BAD_INPUT:
        request.group = name
        failure = await api.fails(service, method, request)
        assert failure.code == code.name, (method, failure)
        assert where in {failure.reason, *(field.path for field in failure.fields)}, (method, failure)
        assert failure.message
    assert await facts() == before


async def test_the_worst_case_follows_from_the_policy(api: Api, name: str) -> None:
    found = await api.Policy.GetPolicy(policies.GetPolicyRequest(group=name))
    terms = {term.name: term.duration.ToNanoseconds() for term in found.worst_case.terms}
    assert sum(terms.values()) == found.worst_case.total.ToNanoseconds() > 2_000_000_000
    assert any("approval" in wait for wait in found.worst_case.unbounded), "for maxLoss is set"


async def test_metrics_show_what_operators_set(
    coordinator: CoordinatorProcess, api: Api, name: str, agents: list[HandAgent]
) -> None:
    await two(coordinator, api, name, agents)
    await api.Region.CordonRegion(region.CordonRegionRequest(group=name, name="us", reason="x"))
    await api.Election.PauseElection(election.PauseElectionRequest(group=name, reason="x"))

    def page() -> str:
        with urllib.request.urlopen(f"http://{coordinator.http}/metrics", timeout=5) as reply:
            return str(reply.read().decode())

    found = {
        (sample.name, sample.labels.get("region", ""), sample.labels.get("kind", "")): sample.value
        for family in text_string_to_metric_families(await asyncio.to_thread(page))
        for sample in family.samples
        if sample.labels.get("group") == name
    }
    assert found["primacy_region_cordoned", "us", ""] == 1 and found["primacy_region_cordoned", "eu", ""] == 0
    assert found["primacy_override_remaining_seconds", "", "pause"] > 3500
    assert found["primacy_group_self_doubt", "", ""] == 0

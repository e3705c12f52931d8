"""Every method of a real coordinator, with good input and with bad: the right status, the field, the fix, no change."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from primacy.v1 import election_pb2, policy_pb2, region_pb2, routing_pb2
from primacy.v1 import election_service_pb2 as election
from primacy.v1 import group_service_pb2 as group
from primacy.v1 import policy_service_pb2 as policies
from primacy.v1 import region_service_pb2 as region
from primacy.v1 import routing_service_pb2 as routing
from primacy.v1 import status_service_pb2 as status
from primacy.v1.election_service_pb2_grpc import ElectionServiceStub
from primacy.v1.group_service_pb2_grpc import GroupServiceStub
from primacy.v1.policy_service_pb2_grpc import PolicyServiceStub
from primacy.v1.region_service_pb2_grpc import RegionServiceStub
from primacy.v1.routing_service_pb2_grpc import RoutingServiceStub
from primacy.v1.status_service_pb2_grpc import StatusServiceStub
from primacy_wire.channel import make_channel
from primacy_wire.messages import Freeze, Frozen, RegionSpec, Release, Released, RouteCount, WeightsUpdate
from primacy_wire.rpc_errors import RpcFailure, from_rpc_error
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.coordinators import CoordinatorProcess, HandAgent, until

pytestmark = pytest.mark.integration

POLICY = (
    "leaseTtl: 2s\nreportInterval: 0.25s\ngrace: 0.25s\nfirstWait: 0.25s\nreadStrategy: ROUND_ROBIN\nstableFor: 0s\n"
)
INVALID = grpc.StatusCode.INVALID_ARGUMENT
MISSING = grpc.StatusCode.NOT_FOUND
NAN, INF = float("nan"), float("inf")
STUBS = {
    "Election": ElectionServiceStub,
    "Group": GroupServiceStub,
    "Policy": PolicyServiceStub,
    "Region": RegionServiceStub,
    "Routing": RoutingServiceStub,
    "Status": StatusServiceStub,
}


class Api:
    """All services of one coordinator: `await api.Region.GetRegion(request)`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stubs: dict[str, Any] = {name: stub(channel) for name, stub in STUBS.items()}

    def __getattr__(self, service: str) -> Any:
        return self._stubs[service]

    async def fails(self, service: str, method: str, request: Any) -> RpcFailure:
        call = getattr(self._stubs[service], method)(request, timeout=10)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await (call.read() if method.startswith("Watch") else call)
        return from_rpc_error(caught.value)


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoordinatorProcess]:
    folder = tmp_path_factory.mktemp("coordinator")
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    process = CoordinatorProcess(folder / "state", "--policy", str(policy))
    process.start()
    yield process
    process.close()


@pytest.fixture
async def api(coordinator: CoordinatorProcess) -> AsyncIterator[Api]:
    async with make_channel(coordinator.grpc) as channel:
        yield Api(channel)


@pytest.fixture
async def name(api: Api, request: pytest.FixtureRequest) -> str:
    """A group of the test's own."""
    found = request.node.originalname.replace("_", "-")[:60].strip("-")
    policy = policy_pb2.Policy(
        lease_ttl=Duration(seconds=2),
        report_interval=Duration(nanos=250_000_000),
        grace=Duration(nanos=100_000_000),
        first_wait=Duration(nanos=100_000_000),
        stable_for=Duration(),
        read_strategy=routing_pb2.ROUTING_STRATEGY_ROUND_ROBIN,
    )
    await api.Group.CreateGroup(group.CreateGroupRequest(group=found, policy=policy))
    return found


def placed(latitude: float, longitude: float) -> region_pb2.Region:
    return region_pb2.Region(name="eu", location=region_pb2.Location(latitude=latitude, longitude=longitude))


BAD_INPUT: list[tuple[str, str, Any, grpc.StatusCode, str]] = [
    ("Region", "RegisterRegion", region.RegisterRegionRequest(), INVALID, "region.name"),
    ("Region", "RegisterRegion", region.RegisterRegionRequest(region={"name": "Odd Name"}), INVALID, "region.name"),
    (
        "Region",
        "RegisterRegion",
        region.RegisterRegionRequest(region=placed(91, 0)),
        INVALID,
        "region.location.latitude",
    ),
    (
        "Region",
        "RegisterRegion",
        region.RegisterRegionRequest(region=placed(0, NAN)),
        INVALID,
        "region.location.longitude",
    ),
    (
        "Region",
        "RegisterRegion",
        region.RegisterRegionRequest(region={"name": "a", "capacity": -1}),
        INVALID,
        "region.capacity",
    ),
    (
        "Region",
        "RegisterRegion",
        region.RegisterRegionRequest(region={"name": "a", "capacity": NAN}),
        INVALID,
        "region.capacity",
    ),
    (
        "Region",
        "RegisterRegion",
        region.RegisterRegionRequest(region={"name": "a", "capacity": INF}),
        INVALID,
        "region.capacity",
    ),
    (
        "Region",
        "RegisterRegion",
        region.RegisterRegionRequest(region={"name": "a", "endpoint": "x"}),
        INVALID,
        "region.endpoint",
    ),
    (
        "Region",
        "RegisterRegion",
        region.RegisterRegionRequest(group="typo", region={"name": "a"}),
        MISSING,
        "GROUP_NOT_FOUND",
    ),
    ("Region", "RegisterRegion", region.RegisterRegionRequest(group="Bad!", region={"name": "a"}), INVALID, "group"),
    ("Region", "GetRegion", region.GetRegionRequest(name="absent"), MISSING, "REGION_NOT_FOUND"),
    ("Region", "GetRegion", region.GetRegionRequest(), INVALID, "name"),
    ("Region", "ListRegions", region.ListRegionsRequest(page_size=-1), INVALID, "pageSize"),
    ("Region", "ListRegions", region.ListRegionsRequest(page_token="garbage"), INVALID, "pageToken"),
    ("Region", "ListRegions", region.ListRegionsRequest(page_token="näh"), INVALID, "pageToken"),
    ("Region", "UpdateRegion", region.UpdateRegionRequest(region={"name": "absent"}), MISSING, "REGION_NOT_FOUND"),
    ("Region", "DeregisterRegion", region.DeregisterRegionRequest(name="absent"), MISSING, "REGION_NOT_FOUND"),
    ("Region", "WatchRegions", region.WatchRegionsRequest(group="typo"), MISSING, "GROUP_NOT_FOUND"),
    ("Election", "GetActiveRegion", election.GetActiveRegionRequest(group="typo"), MISSING, "GROUP_NOT_FOUND"),
    ("Election", "WatchActiveRegion", election.WatchActiveRegionRequest(group="typo"), MISSING, "GROUP_NOT_FOUND"),
    ("Election", "Failover", election.FailoverRequest(target_region="absent"), MISSING, "REGION_NOT_FOUND"),
    ("Election", "Failover", election.FailoverRequest(target_region="No!"), INVALID, "targetRegion"),
    ("Election", "Failover", election.FailoverRequest(if_epoch=-1), INVALID, "ifEpoch"),
    ("Election", "Failover", election.FailoverRequest(override_rules=["TYPO"]), INVALID, "overrideRules[0]"),
    ("Election", "Failover", election.FailoverRequest(holder_fenced="eu"), INVALID, "holderFenced"),
    ("Election", "Failover", election.FailoverRequest(mode=9), INVALID, "mode"),  # type: ignore[arg-type]
    ("Election", "GetFailover", election.GetFailoverRequest(id="absent"), MISSING, "FAILOVER_NOT_FOUND"),
    ("Election", "GetFailover", election.GetFailoverRequest(), INVALID, "id"),
    ("Election", "ListFailovers", election.ListFailoversRequest(page_token="x"), INVALID, "pageToken"),
    ("Election", "ExplainElection", election.ExplainElectionRequest(if_down="absent"), MISSING, "REGION_NOT_FOUND"),
    (
        "Election",
        "ExplainElection",
        election.ExplainElectionRequest(failover_id="absent"),
        MISSING,
        "FAILOVER_NOT_FOUND",
    ),
    (
        "Election",
        "ExplainElection",
        election.ExplainElectionRequest(if_down="a", failover_id="b"),
        INVALID,
        "failoverId",
    ),
    ("Routing", "GetWeights", routing.GetWeightsRequest(client_region="absent"), MISSING, "REGION_NOT_FOUND"),
    ("Routing", "GetWeights", routing.GetWeightsRequest(traffic_class=7), INVALID, "trafficClass"),  # type: ignore[arg-type]
    ("Routing", "WatchWeights", routing.WatchWeightsRequest(group="typo"), MISSING, "GROUP_NOT_FOUND"),
    ("Routing", "Route", routing.RouteRequest(client_region="absent"), MISSING, "REGION_NOT_FOUND"),
    (
        "Routing",
        "Route",
        routing.RouteRequest(location={"latitude": 0, "longitude": 181}),
        INVALID,
        "location.longitude",
    ),
    ("Routing", "Route", routing.RouteRequest(affinity_key="x" * 2000), INVALID, "affinityKey"),
    ("Routing", "GetRoutingStats", routing.GetRoutingStatsRequest(client_region="?"), INVALID, "clientRegion"),
    ("Policy", "GetPolicy", policies.GetPolicyRequest(group="typo"), MISSING, "GROUP_NOT_FOUND"),
    ("Policy", "SetPolicy", policies.SetPolicyRequest(), INVALID, "policy"),
    (
        "Policy",
        "SetPolicy",
        policies.SetPolicyRequest(policy={"lease_ttl": {"seconds": 61}}),
        INVALID,
        "policy.leaseTtl",
    ),
    (
        "Policy",
        "SetPolicy",
        policies.SetPolicyRequest(policy={"lease_ttl": {"seconds": -5}}),
        INVALID,
        "policy.leaseTtl",
    ),
    (
        "Policy",
        "SetPolicy",
        policies.SetPolicyRequest(policy={"lease_ttl": {"seconds": 2}, "report_interval": {"seconds": 2}}),
        INVALID,
        "policy.reportInterval",
    ),
    (
        "Policy",
        "SetPolicy",
        policies.SetPolicyRequest(policy={"panic_threshold": NAN}),
        INVALID,
        "policy.panicThreshold",
    ),
    (
        "Policy",
        "SetPolicy",
        policies.SetPolicyRequest(policy={"region_weights": {"a": -1}}),
        INVALID,
        "policy.regionWeights.a",
    ),
    (
        "Policy",
        "SetPolicy",
        policies.SetPolicyRequest(policy={"region_weights": {"a": INF}}),
        INVALID,
        "policy.regionWeights.a",
    ),
    ("Policy", "SetPolicy", policies.SetPolicyRequest(policy={"strategy": 77}), INVALID, "policy.strategy"),  # type: ignore[dict-item]
    (
        "Policy",
        "SetPolicy",
        policies.SetPolicyRequest(policy={"etag": "9999"}),
        grpc.StatusCode.ABORTED,
        "ETAG_MISMATCH",
    ),
    ("Group", "CreateGroup", group.CreateGroupRequest(), INVALID, "group"),
    ("Group", "CreateGroup", group.CreateGroupRequest(group="default"), grpc.StatusCode.ALREADY_EXISTS, "GROUP_EXISTS"),
    (
        "Group",
        "CreateGroup",
        group.CreateGroupRequest(group="new", policy={"lease_ttl": {"nanos": 1}}),
        INVALID,
        "policy.leaseTtl",
    ),
    ("Group", "GetGroup", group.GetGroupRequest(group="typo"), MISSING, "GROUP_NOT_FOUND"),
    ("Group", "ListGroups", group.ListGroupsRequest(page_token="!"), INVALID, "pageToken"),
    ("Group", "DeleteGroup", group.DeleteGroupRequest(), INVALID, "group"),
    ("Group", "DeleteGroup", group.DeleteGroupRequest(group="typo"), MISSING, "GROUP_NOT_FOUND"),
    ("Group", "RecoverGroup", group.RecoverGroupRequest(group="typo"), MISSING, "GROUP_NOT_FOUND"),
    ("Status", "GetStatus", status.GetStatusRequest(group="typo"), MISSING, "GROUP_NOT_FOUND"),
    ("Status", "ListEvents", status.ListEventsRequest(page_size=-5), INVALID, "pageSize"),
    ("Status", "ListEvents", status.ListEventsRequest(page_token="AAAA"), INVALID, "pageToken"),
    ("Status", "ListEvents", status.ListEventsRequest(min_severity=9), INVALID, "minSeverity"),  # type: ignore[arg-type]
    ("Status", "WatchEvents", status.WatchEventsRequest(after_sequence=-1), INVALID, "afterSequence"),
    ("Status", "WatchEvents", status.WatchEventsRequest(group="typo"), MISSING, "GROUP_NOT_FOUND"),
]


@pytest.mark.parametrize(
    ("service", "method", "request_", "code", "where"),
    BAD_INPUT,
    ids=[f"{method}-{where}-{index}" for index, (_, method, _, _, where) in enumerate(BAD_INPUT)],
)
async def test_bad_input_is_refused_with_its_place(
    api: Api, service: str, method: str, request_: Any, code: grpc.StatusCode, where: str
) -> None:
    before = (
        await api.Group.ListGroups(group.ListGroupsRequest()),
        await api.Policy.GetPolicy(policies.GetPolicyRequest()),
    )
    failure = await api.fails(service, method, request_)
    assert failure.code == code.name
    assert where in {failure.reason, *(field.path for field in failure.fields)}
    assert failure.message
    if code is INVALID:
        assert all(field.advice for field in failure.fields)
    after = (
        await api.Group.ListGroups(group.ListGroupsRequest()),
        await api.Policy.GetPolicy(policies.GetPolicyRequest()),
    )
    assert before == after


async def test_regions_are_registered_changed_and_removed(api: Api, name: str) -> None:
    made = await api.Region.RegisterRegion(
        region.RegisterRegionRequest(
            group=name, region=region_pb2.Region(name="eu", priority=200, capacity=50, endpoint="eu.example:443")
        )
    )
    assert (made.region.priority, made.region.capacity, made.region.endpoint) == (200, 50, "eu.example:443")
    assert made.region.status == region_pb2.REGION_STATUS_UNKNOWN
    failure = await api.fails("Region", "RegisterRegion", region.RegisterRegionRequest(group=name, region=made.region))
    assert failure.code == "ALREADY_EXISTS"
    changed = await api.Region.UpdateRegion(
        region.UpdateRegionRequest(
            group=name,
            region=region_pb2.Region(name="eu", capacity=75, etag=made.region.etag),
            update_mask=FieldMask(paths=["capacity", "endpoint"]),
        )
    )
    assert (changed.region.capacity, changed.region.endpoint, changed.region.priority) == (75, "", 200)
    assert changed.region.etag != made.region.etag
    stale = await api.fails(
        "Region",
        "UpdateRegion",
        region.UpdateRegionRequest(group=name, region=region_pb2.Region(name="eu", capacity=1, etag=made.region.etag)),
    )
    assert (stale.code, stale.reason) == ("ABORTED", "ETAG_MISMATCH")
    odd = await api.fails(
        "Region",
        "UpdateRegion",
        region.UpdateRegionRequest(group=name, region={"name": "eu"}, update_mask=FieldMask(paths=["status"])),
    )
    assert (odd.code, odd.fields[0].path) == ("INVALID_ARGUMENT", "updateMask")
    got = await api.Region.GetRegion(region.GetRegionRequest(group=name, name="eu"))
    assert got.region.capacity == 75
    dry = await api.Region.RegisterRegion(
        region.RegisterRegionRequest(group=name, region={"name": "us"}, validate_only=True)
    )
    assert dry.region.name == "us"
    for other in ("us", "ap"):
        await api.Region.RegisterRegion(region.RegisterRegionRequest(group=name, region={"name": other}))
    page = await api.Region.ListRegions(region.ListRegionsRequest(group=name, page_size=2))
    assert [each.name for each in page.regions] == ["ap", "eu"]
    rest = await api.Region.ListRegions(
        region.ListRegionsRequest(group=name, page_size=2, page_token=page.next_page_token)
    )
    assert [each.name for each in rest.regions] == ["us"]
    assert rest.next_page_token == ""
    crossed = await api.fails("Region", "ListRegions", region.ListRegionsRequest(page_token=page.next_page_token))
    assert crossed.fields[0].path == "pageToken"
    await api.Region.DeregisterRegion(region.DeregisterRegionRequest(group=name, name="us"))
    assert (await api.fails("Region", "GetRegion", region.GetRegionRequest(group=name, name="us"))).code == "NOT_FOUND"


async def test_a_region_with_live_agents_is_not_removed_by_mistake(
    coordinator: CoordinatorProcess, api: Api, name: str
) -> None:
    async with (
        HandAgent(coordinator.grpc, "eu", group=name) as eu,
        HandAgent(coordinator.grpc, "us", group=name, spec=RegionSpec(priority=1)) as us,
    ):
        await eu.join()
        await us.join()
        await active(api, name, "eu")
        refused = await api.fails("Region", "DeregisterRegion", region.DeregisterRegionRequest(group=name, name="eu"))
        assert refused.code == "FAILED_PRECONDITION"
        request = region.DeregisterRegionRequest(group=name, name="us")
        refused = await api.fails("Region", "DeregisterRegion", request)
        assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "LIVE_SESSIONS")
        request.override_rules.append("LIVE_SESSIONS")
        await api.Region.DeregisterRegion(request)
        assert (await us.wait_for_end()).code() is MISSING


async def active(api: Api, name: str, expected: str = "", epoch: int = 0) -> election.GetActiveRegionResponse:
    async def ask() -> election.GetActiveRegionResponse | None:
        reply = await api.Election.GetActiveRegion(election.GetActiveRegionRequest(group=name))
        fits = reply.region and expected in ("", reply.region) and reply.epoch >= epoch
        return reply if fits else None

    return await until(ask)


async def test_a_planned_failover_waits_for_its_end(coordinator: CoordinatorProcess, api: Api, name: str) -> None:
    async def obey(agent: HandAgent) -> None:
        freeze = await agent.wait_for(Freeze)
        await agent.send(Frozen(agent.incarnation, freeze.epoch, freeze.freeze_id))
        order = await agent.wait_for(Release)
        epoch, agent.epoch, agent.released = agent.epoch, 0, order.epoch
        assert epoch == order.epoch
        await agent.send(Released(agent.incarnation, order.epoch, "ordered"))

    async with (
        HandAgent(coordinator.grpc, "eu", group=name, spec=RegionSpec(priority=200)) as eu,
        HandAgent(coordinator.grpc, "us", group=name) as us,
    ):
        await eu.join()
        await us.join()
        first = await active(api, name, "eu")
        dry = await api.Election.Failover(election.FailoverRequest(group=name, target_region="us", validate_only=True))
        assert dry.failover.to_region == "us"
        assert dry.steps
        wrong = await api.fails("Election", "Failover", election.FailoverRequest(group=name, if_epoch=77))
        assert (wrong.code, wrong.reason) == ("FAILED_PRECONDITION", "EPOCH_MISMATCH")
        obeying = asyncio.create_task(obey(eu))
        request = election.FailoverRequest(
            group=name, target_region="us", reason="test", owner="me", if_epoch=first.epoch, wait=True
        )

        async def move() -> election.FailoverResponse | None:
            try:
                reply: election.FailoverResponse = await api.Election.Failover(request, timeout=20)
            except grpc.aio.AioRpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.FAILED_PRECONDITION):
                    raise
                return None  # Both must be healthy first.
            return reply

        done = await until(move, 30)
        await obeying
        assert done.failover.state == election_pb2.FAILOVER_STATE_SUCCEEDED
        assert done.failover.kind == election_pb2.FAILOVER_KIND_PLANNED
        assert (done.failover.from_region, done.failover.to_region) == ("eu", "us")
        assert (done.failover.reason, done.failover.owner) == ("test", "me")
        reply = await active(api, name, "us")
        assert reply.epoch == done.failover.epoch == first.epoch + 1
        got = await api.Election.GetFailover(election.GetFailoverRequest(group=name, id=done.failover.id))
        assert got.failover.phases
        page = await api.Election.ListFailovers(election.ListFailoversRequest(group=name, page_size=1))
        assert [each.id for each in page.failovers] == [done.failover.id]
        rest = await api.Election.ListFailovers(
            election.ListFailoversRequest(group=name, page_size=1, page_token=page.next_page_token)
        )
        assert [each.kind for each in rest.failovers] == [election_pb2.FAILOVER_KIND_INITIAL]
        past = await api.Election.ExplainElection(
            election.ExplainElectionRequest(group=name, failover_id=done.failover.id)
        )
        assert past.winner == "us"
        then = await api.Election.ExplainElection(election.ExplainElectionRequest(group=name, if_down="us"))
        assert (then.active_region, then.winner) == ("us", "eu")
        assert then.would_move


async def test_watches_send_the_full_value_first_then_changes(
    coordinator: CoordinatorProcess, api: Api, name: str
) -> None:
    actives = api.Election.WatchActiveRegion(election.WatchActiveRegionRequest(group=name))
    weights = api.Routing.WatchWeights(
        routing.WatchWeightsRequest(group=name, traffic_class=routing_pb2.TRAFFIC_CLASS_WRITE)
    )
    regions = api.Region.WatchRegions(region.WatchRegionsRequest(group=name))
    events = api.Status.WatchEvents(status.WatchEventsRequest(group=name))
    first = await actives.read()
    assert (first.group, first.region, first.epoch) == (name, "", 0)
    assert not first.HasField("expire_time")
    assert list((await weights.read()).rows) == []
    assert list((await regions.read()).regions) == []
    assert "policy-set" in {event.kind for event in (await events.read()).events}
    async with asyncio.timeout(20), HandAgent(coordinator.grpc, "eu", group=name) as eu:
        await eu.join()
        seen = [await actives.read()]
        while not seen[-1].region:
            seen.append(await actives.read())
        assert (seen[-1].region, seen[-1].epoch) == ("eu", 1)
        assert seen[-1].HasField("expire_time")
        while dict((await weights.read()).rows[0].weights) != {"eu": 1.0}:
            pass
        while True:
            shown = await regions.read()
            if shown.regions and shown.regions[0].active:
                break
        kinds: set[str] = set()
        while "lease-accepted" not in kinds and "failover-succeeded" not in kinds:
            batch = (await events.read()).events
            assert [event.sequence for event in batch] == sorted(event.sequence for event in batch)
            kinds |= {event.kind for event in batch}
    for call in (actives, weights, regions, events):
        call.cancel()


async def test_routes_follow_the_weights(coordinator: CoordinatorProcess, api: Api, name: str) -> None:
    nobody = await api.fails("Routing", "Route", routing.RouteRequest(group=name))
    assert nobody.code == "UNAVAILABLE"
    for place, latitude, longitude in (("eu", 50.1, 8.7), ("us", 39.0, -77.5)):
        await api.Region.RegisterRegion(
            region.RegisterRegionRequest(
                group=name,
                region=region_pb2.Region(
                    name=place,
                    endpoint=f"{place}.example:80",
                    location=region_pb2.Location(latitude=latitude, longitude=longitude),
                ),
            )
        )
    write = routing_pb2.TRAFFIC_CLASS_WRITE
    failure = await api.fails("Routing", "Route", routing.RouteRequest(group=name, traffic_class=write))
    assert (failure.code, failure.reason) == ("UNAVAILABLE", "NO_ACTIVE_REGION")
    assert failure.retry_delay_ns
    async with (
        HandAgent(coordinator.grpc, "eu", group=name) as eu,
        HandAgent(coordinator.grpc, "us", group=name, spec=RegionSpec(priority=1)) as us,
    ):
        await eu.join()
        await us.join()
        lease = await active(api, name, "eu")
        await eu.wait_for(WeightsUpdate, lambda update: dict(update.read) == {"eu": 0.5, "us": 0.5})
        written = await api.Routing.Route(routing.RouteRequest(group=name, client_region="us", traffic_class=write))
        assert (written.region, written.endpoint, written.epoch) == ("eu", "eu.example:80", lease.epoch)
        request = routing.RouteRequest(group=name, location={"latitude": 51.5, "longitude": 0})
        picked = {(await api.Routing.Route(request)).region for _ in range(60)}
        assert picked == {"eu", "us"}
        assert "eu" in (await api.Routing.Route(request)).reason
        request.affinity_key = "customer-7"
        assert len({(await api.Routing.Route(request)).region for _ in range(20)}) == 1
        shown = await api.Routing.GetWeights(routing.GetWeightsRequest(group=name, client_region="eu"))
        assert [(row.client_region, dict(row.weights)) for row in shown.rows] == [("eu", {"eu": 0.5, "us": 0.5})]
        assert shown.strategy == routing_pb2.ROUTING_STRATEGY_ROUND_ROBIN
        assert shown.reasons
        assert list((await api.Routing.Route(request)).alternatives) in (["eu"], ["us"])
        nowhere = region.UpdateRegionRequest(
            group=name, region=region_pb2.Region(name="us"), update_mask=FieldMask(paths=["endpoint"])
        )
        await api.Region.UpdateRegion(nowhere)
        request = routing.RouteRequest(group=name, client_region="us")
        found = [await api.Routing.Route(request) for _ in range(20)]
        assert {(each.region, each.endpoint, tuple(each.alternatives)) for each in found} == {
            ("eu", "eu.example:80", ())
        }
        assert "us passed over: it has no endpoint" in found[0].reason


async def test_routed_counts_flow_back(coordinator: CoordinatorProcess, api: Api, name: str) -> None:
    async with HandAgent(coordinator.grpc, "eu", group=name) as eu:
        await eu.connect()
        eu.routed = (RouteCount("eu", "eu", 1, 3, "ok", 42),)
        await eu.exchange()
        stats = await api.Routing.GetRoutingStats(routing.GetRoutingStatsRequest(group=name))
        assert [(each.agent, each.target_region, each.count) for each in stats.stats] == [("eu/one", "eu", 42)]
        none = await api.Routing.GetRoutingStats(routing.GetRoutingStatsRequest(group=name, client_region="us"))
        assert not none.stats


async def test_policies_are_compared_and_set(api: Api, name: str) -> None:
    got = (await api.Policy.GetPolicy(policies.GetPolicyRequest(group=name))).policy
    assert got.lease_ttl.seconds == 2
    got.panic_threshold = 0.25
    dry = await api.Policy.SetPolicy(policies.SetPolicyRequest(group=name, policy=got, validate_only=True))
    assert dry.policy.panic_threshold == 0.25
    assert (await api.Policy.GetPolicy(policies.GetPolicyRequest(group=name))).policy.panic_threshold == 0.5
    done = await api.Policy.SetPolicy(policies.SetPolicyRequest(group=name, policy=got, owner="me"))
    assert done.policy.etag != got.etag
    failure = await api.fails("Policy", "SetPolicy", policies.SetPolicyRequest(group=name, policy=got))
    assert (failure.code, failure.reason) == ("ABORTED", "ETAG_MISMATCH")


async def test_groups_come_and_go_and_keep_their_last_epoch(
    coordinator: CoordinatorProcess, api: Api, name: str
) -> None:
    listed = await api.Group.ListGroups(group.ListGroupsRequest())
    assert {"default", name} <= {each.name for each in listed.groups}
    async with HandAgent(coordinator.grpc, "eu", group=name) as eu:
        await eu.join()
        await active(api, name, "eu")
        shown = (await api.Group.GetGroup(group.GetGroupRequest(group=name))).group
        assert (shown.active_region, shown.epoch, shown.region_count, shown.in_doubt) == ("eu", 1, 1, False)
        held = await api.fails("Group", "DeleteGroup", group.DeleteGroupRequest(group=name))
        assert (held.code, held.reason) == ("FAILED_PRECONDITION", "LEASE_HELD")
        await eu.drop()

    async def gone() -> group.DeleteGroupResponse | None:
        try:
            reply: group.DeleteGroupResponse = await api.Group.DeleteGroup(group.DeleteGroupRequest(group=name))
        except grpc.aio.AioRpcError:
            return None
        return reply

    assert (await until(gone)).last_epoch >= 1
    assert (await api.fails("Group", "GetGroup", group.GetGroupRequest(group=name))).code == "NOT_FOUND"
    again = await api.Group.CreateGroup(group.CreateGroupRequest(group=name))
    assert again.group.epoch >= 1


async def test_status_is_the_whole_group_on_one_screen(coordinator: CoordinatorProcess, api: Api, name: str) -> None:
    async with HandAgent(coordinator.grpc, "eu", group=name) as eu:
        await eu.join()
        await active(api, name, "eu")
        shown = await api.Status.GetStatus(status.GetStatusRequest(group=name))
        assert (shown.group, shown.active_region, shown.epoch) == (name, "eu", 1)
        assert shown.lease.phase == election_pb2.LEASE_PHASE_ACCEPTED
        assert shown.regions[0].active
        assert shown.regions[0].agents[0].held_epoch == 1
        assert dict(shown.write_weights.rows[0].weights) == {"eu": 1.0}
        assert shown.policy.etag
        assert shown.coordinator.store_id
        assert "FENCE" in shown.coordinator.failsafe_note
        assert shown.events
        assert [event.sequence for event in shown.events] == sorted((e.sequence for e in shown.events), reverse=True)
        assert not shown.HasField("doubt")
    page = await api.Status.ListEvents(status.ListEventsRequest(group=name, page_size=2))
    rest = await api.Status.ListEvents(
        status.ListEventsRequest(group=name, page_size=2, page_token=page.next_page_token)
    )
    assert len(page.events) == len(rest.events) == 2
    assert rest.events[0].sequence < page.events[-1].sequence
    only = await api.Status.ListEvents(status.ListEventsRequest(group=name, kinds=["policy-set"]))
    assert {event.kind for event in only.events} == {"policy-set"}
    assert json.loads(only.events[0].inputs)


async def test_recovery_without_doubt_changes_nothing(api: Api, name: str) -> None:
    plan = (await api.Group.RecoverGroup(group.RecoverGroupRequest(group=name, validate_only=True))).plan
    assert not plan.needed


async def test_the_http_port(coordinator: CoordinatorProcess, api: Api, name: str) -> None:
    def get(path: str) -> tuple[int, str, str]:
        try:
            with urllib.request.urlopen(f"http://{coordinator.http}{path}", timeout=5) as reply:
                return reply.status, reply.headers["content-type"], reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, "", ""

    code, _, body = await asyncio.to_thread(get, "/healthz")
    assert (code, json.loads(body)) == (200, {"status": "ok", "warnings": []})
    code, kind, body = await asyncio.to_thread(get, "/")
    assert code == 200
    assert kind.startswith("text/html")
    assert "Primacy" in body
    assert (await asyncio.to_thread(get, "/absent"))[0] == 404
    async with HandAgent(coordinator.grpc, "eu", group=name) as eu:
        await eu.join()
        await active(api, name, "eu")
        code, kind, body = await asyncio.to_thread(get, "/metrics")
        assert code == 200
        assert kind.startswith("text/plain")
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }
    mine = ("group", name)
    assert samples["primacy_group_up", mine] == 1
    assert samples["primacy_group_epoch", mine] == 1
    assert samples["primacy_group_sessions", mine] == 1
    assert samples["primacy_region_active", mine, ("region", "eu")] == 1
    assert samples["primacy_group_persist_seconds_count", mine] > 0
    assert (
        samples[
            "primacy_region_weight", ("client_region", "eu"), mine, ("target_region", "eu"), ("traffic_class", "write")
        ]
        == 1
    )
    assert samples["process_resident_memory_bytes",] > 0

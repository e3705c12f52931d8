"""RoutingService."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from primacy.v1 import routing_pb2
from primacy.v1 import routing_service_pb2 as pb
from primacy.v1.routing_service_pb2_grpc import RoutingServiceServicer
from primacy_wire.choosing import alternatives, reachable_row
from primacy_wire.clock import read_now
from primacy_wire.errors import NotFound, Unavailable
from primacy_wire.instant import Now
from primacy_wire.picker import Picker

from primacy_coordinator.core.effects import Topic
from primacy_coordinator.core.events import PinWeights, UnpinWeights
from primacy_coordinator.core.geo import great_circle_km
from primacy_coordinator.core.group import Group
from primacy_coordinator.core.routing import SERVES
from primacy_coordinator.core.views import Causes, LeaseView, OverrideView, RegionView, RouteTotal, WeightsView
from primacy_coordinator.rpc.calls import Calls, Context
from primacy_coordinator.rpc.fields import Fields, group_name
from primacy_coordinator.rpc.regions import REGION_ADVICE
from primacy_coordinator.rpc.render_override import render_override

READ, WRITE = routing_pb2.TRAFFIC_CLASS_READ, routing_pb2.TRAFFIC_CLASS_WRITE
AFFINITY_LENGTH_MAX = 1024
COORDINATOR = "coordinator"
"""Who routed what the coordinator itself was asked for."""


class RoutingService(RoutingServiceServicer):
    def __init__(self, calls: Calls, draw: random.Random) -> None:
        """`draw` picks for requests without an affinity key."""
        self._calls = calls
        self._draw = draw

    async def GetWeights(self, request: pb.GetWeightsRequest, context: Context) -> pb.GetWeightsResponse:
        traffic_class, client = _asked(request.traffic_class, request.client_region)
        view = await self._calls.read(request.group, lambda machine, _: machine.weights_view())
        response = pb.GetWeightsResponse(
            group=group_name(request.group),
            version=view.version,
            traffic_class=traffic_class,
            rows=render_rows(view, traffic_class, client),
            panic=view.panic,
            reasons=dict(view.reasons),
        )
        if traffic_class == READ:
            response.strategy = routing_pb2.RoutingStrategy.ValueType(view.strategy)
        return response

    async def WatchWeights(
        self, request: pb.WatchWeightsRequest, context: Context
    ) -> AsyncIterator[pb.WatchWeightsResponse]:
        traffic_class, client = _asked(request.traffic_class, request.client_region)
        last: pb.WatchWeightsResponse | None = None
        views = self._calls.watch(request.group, frozenset({Topic.WEIGHTS}), lambda machine, _: machine.weights_view())
        async with aclosing(views):
            async for view in views:
                response = pb.WatchWeightsResponse(
                    group=group_name(request.group),
                    version=view.version,
                    traffic_class=traffic_class,
                    rows=render_rows(view, traffic_class, client),
                    panic=view.panic,
                    reasons=dict(view.reasons),
                )
                if traffic_class == READ:
                    response.strategy = routing_pb2.RoutingStrategy.ValueType(view.strategy)
                if response != last:
                    last = response
                    yield response

    async def Route(self, request: pb.RouteRequest, context: Context) -> pb.RouteResponse:
        fields = Fields()
        client = fields.optional_name("clientRegion", request.client_region)
        traffic_class = fields.known("trafficClass", request.traffic_class, routing_pb2.TrafficClass.values()) or READ
        location = fields.location("location", request.location) if request.HasField("location") else None
        if len(request.affinity_key) > AFFINITY_LENGTH_MAX:
            fields.add("affinityKey", "TOO_LONG", f"must be at most {AFFINITY_LENGTH_MAX} characters")
        fields.check()
        known = await self._calls.read(request.group, lambda machine, now: _routing(machine, now, client, location))
        routes = self._calls.runner(request.group).routes
        regions, lease, weights = known.regions, known.lease, known.weights
        if client and all(region.record.name != client for region in regions):
            raise NotFound("region", client, REGION_ADVICE)
        if not regions:
            raise Unavailable("no region is registered yet", "NO_REGION")
        endpoints = {region.record.name: region.record.endpoint for region in regions}
        if traffic_class == WRITE:
            if not lease.active_region:
                routes.add(client, "", WRITE, weights.strategy, "not_active")
                raise Unavailable("no region is active, so writes have nowhere to go: try again", "NO_ACTIVE_REGION")
            routes.add(client, lease.active_region, WRITE, weights.strategy, "ok")
            return pb.RouteResponse(
                region=lease.active_region,
                endpoint=endpoints.get(lease.active_region, ""),
                reason=f"{lease.active_region} holds the active lease at epoch {lease.epoch}",
                epoch=lease.epoch,
            )
        row_name, fallback = known.row, known.fallback
        row, passed = reachable_row(dict(weights.read)[row_name], endpoints, fallback)
        picker = Picker(row)
        if not picker:
            routes.add(row_name, "", READ, weights.strategy, "no_weight")
            raise Unavailable("every region's share of reads is 0: try again", "NO_WEIGHT")
        region = picker.pick_affine(request.affinity_key) if request.affinity_key else picker.pick(self._draw.random())
        routes.add(row_name, region, READ, weights.strategy, "ok")
        reason = f"{region} has {dict(row)[region]:.1%} of the reads of {row_name} ({known.why})"
        if passed:
            reason += f"; {', '.join(passed)} passed over: it has no endpoint"
        dead = {view.record.name for view in regions if view.verdict.status not in SERVES}
        return pb.RouteResponse(
            region=region,
            endpoint=endpoints.get(region, ""),
            reason=reason,
            alternatives=alternatives(picker, region, fallback, endpoints, dead),
        )

    async def PinWeights(self, request: pb.PinWeightsRequest, context: Context) -> pb.PinWeightsResponse:
        fields = Fields()
        client = fields.optional_name("clientRegion", request.client_region)
        shares = fields.shares("weights", request.weights)
        reason, owner, expire_wall_ns = fields.override(request, request.reason, request.owner)
        fields.check()
        view = await self._calls.command(
            request.group,
            lambda number: PinWeights(number, client, shares, reason, owner, expire_wall_ns, request.validate_only),
        )
        assert isinstance(view, OverrideView)
        return pb.PinWeightsResponse(pin=render_override(view))

    async def UnpinWeights(self, request: pb.UnpinWeightsRequest, context: Context) -> pb.UnpinWeightsResponse:
        fields = Fields()
        client = fields.optional_name("clientRegion", request.client_region)
        owner = fields.text("owner", request.owner)
        fields.check()
        view = await self._calls.command(request.group, lambda number: UnpinWeights(number, client, owner))
        assert isinstance(view, OverrideView)
        return pb.UnpinWeightsResponse(pin=render_override(view))

    async def GetRoutingStats(self, request: pb.GetRoutingStatsRequest, context: Context) -> pb.GetRoutingStatsResponse:
        fields = Fields()
        client = fields.optional_name("clientRegion", request.client_region)
        fields.check()
        totals = await self._calls.read(request.group, lambda machine, _: machine.routing_totals())
        own = self._calls.runner(request.group).routes.counts(read_now().mono_ns)
        return pb.GetRoutingStatsResponse(
            stats=[
                pb.RoutingStat(
                    agent=total.agent,
                    client_region=total.route.client_region,
                    target_region=total.route.target_region,
                    traffic_class=routing_pb2.TrafficClass.ValueType(total.route.traffic_class),
                    strategy=routing_pb2.RoutingStrategy.ValueType(total.route.strategy),
                    outcome=total.route.outcome,
                    count=total.route.count,
                    rate=total.route.rate,
                )
                for total in (*totals, *(RouteTotal(count, COORDINATOR) for count in own))
                if client in ("", total.route.client_region)
            ]
        )


def render_rows(view: WeightsView, traffic_class: int, client: str = "") -> list[routing_pb2.WeightsRow]:
    """The rows of one traffic class, or the one of a client region. Raises `NotFound` for one without a row."""
    rows = view.write if traffic_class == WRITE else view.read
    if client and all(name != client for name, _ in rows):
        raise NotFound("region", client, REGION_ADVICE)
    causes = {} if traffic_class == WRITE else {name: dict(regions) for name, regions in view.causes}
    return [
        routing_pb2.WeightsRow(
            client_region=name,
            weights=dict(shares),
            causes={region: _render_causes(parts) for region, parts in causes.get(name, {}).items()},
        )
        for name, shares in rows
        if client in ("", name)
    ]


def _render_causes(parts: Causes) -> routing_pb2.ShareCauses:
    return routing_pb2.ShareCauses(causes=[routing_pb2.Cause(name=name, share=share) for name, share in parts])


def _asked(traffic_class: int, client_region: str) -> tuple[routing_pb2.TrafficClass.ValueType, str]:
    fields = Fields()
    client = fields.optional_name("clientRegion", client_region)
    wanted = fields.known("trafficClass", traffic_class, routing_pb2.TrafficClass.values()) or READ
    fields.check()
    return routing_pb2.TrafficClass.ValueType(wanted), client


@dataclass(frozen=True, slots=True)
class _Known:
    """What picks rest on."""

    regions: tuple[RegionView, ...]
    lease: LeaseView
    weights: WeightsView
    row: str
    """Whose row counts."""
    why: str
    fallback: tuple[str, ...]
    """Of that row, the best first."""


def _routing(machine: Group, now: Now, client: str, location: tuple[float, float] | None) -> _Known:
    view = machine.view(now)
    row, why = _row(client, location, view.regions)
    return _Known(view.regions, view.lease, view.weights, row, why, machine.fallback(row))


def _row(client: str, location: tuple[float, float] | None, regions: tuple[RegionView, ...]) -> tuple[str, str]:
    """Whose row counts, and why."""
    if client or not regions:
        return client, "the client region"
    placed = [(where, region.record.name) for region in regions if (where := region.record.location) is not None]
    if location is not None and placed:
        _, nearest = min((great_circle_km(location, where), name) for where, name in placed)
        return nearest, "the registered region nearest to the location"
    return regions[0].record.name, "no client region and no usable location were given"

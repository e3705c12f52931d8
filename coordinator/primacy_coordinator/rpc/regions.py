"""RegionService."""

from __future__ import annotations

from collections.abc import AsyncIterator

from primacy.v1 import region_pb2
from primacy.v1 import region_service_pb2 as pb
from primacy.v1.region_service_pb2_grpc import RegionServiceServicer
from primacy_wire.errors import NotFound
from primacy_wire.instant import Now

from primacy_coordinator.core.effects import Topic
from primacy_coordinator.core.events import (
    CordonRegion,
    DeregisterRegion,
    DrainRegion,
    RegisterRegion,
    UncordonRegion,
    UndrainRegion,
    UpdateRegion,
)
from primacy_coordinator.core.group import Group
from primacy_coordinator.core.model import RegionRecord
from primacy_coordinator.core.views import DrainPlan, RegionView
from primacy_coordinator.rpc.calls import Calls, Context
from primacy_coordinator.rpc.fields import Fields, group_name
from primacy_coordinator.rpc.pages import Page
from primacy_coordinator.rpc.render_election import render_failover
from primacy_coordinator.rpc.render_region import render_record, render_region

REGION_ADVICE = "`primacy regions` shows the registered ones"
SETTABLE = ("location", "priority", "capacity", "endpoint", "labels")


class RegionService(RegionServiceServicer):
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def RegisterRegion(self, request: pb.RegisterRegionRequest, context: Context) -> pb.RegisterRegionResponse:
        fields = Fields()
        name = fields.name("region.name", request.region.name)
        settings = fields.region_settings("region", request.region)
        fields.check()
        view = await self._calls.command(
            request.group, lambda number: RegisterRegion(number, name, settings, request.validate_only)
        )
        if isinstance(view, RegionView):
            return pb.RegisterRegionResponse(region=render_region(view))
        return pb.RegisterRegionResponse(region=render_record(RegionRecord(name, 0, operated=settings)))

    async def GetRegion(self, request: pb.GetRegionRequest, context: Context) -> pb.GetRegionResponse:
        fields = Fields()
        name = fields.name("name", request.name)
        fields.check()
        view = await self._calls.read(request.group, lambda machine, now: machine.region_view(now, name))
        if view is None:
            raise NotFound("region", name, REGION_ADVICE)
        return pb.GetRegionResponse(region=render_region(view))

    async def ListRegions(self, request: pb.ListRegionsRequest, context: Context) -> pb.ListRegionsResponse:
        fields = Fields()
        page = Page(fields, request.page_size, request.page_token, "regions", group_name(request.group))
        fields.check()
        views = await self._calls.read(request.group, _region_views)
        shown, token = page.cut(views, lambda view: view.record.name)
        return pb.ListRegionsResponse(regions=[render_region(view) for view in shown], next_page_token=token)

    async def UpdateRegion(self, request: pb.UpdateRegionRequest, context: Context) -> pb.UpdateRegionResponse:
        fields = Fields()
        region = request.region
        name = fields.name("region.name", region.name)
        settings = fields.region_settings("region", region)
        fields.check()
        paths = tuple(dict.fromkeys(request.update_mask.paths)) or _set_paths(region)
        view = await self._calls.command(
            request.group,
            lambda number: UpdateRegion(number, name, settings, paths, region.etag, request.validate_only),
        )
        assert isinstance(view, RegionView)
        return pb.UpdateRegionResponse(region=render_region(view))

    async def DeregisterRegion(
        self, request: pb.DeregisterRegionRequest, context: Context
    ) -> pb.DeregisterRegionResponse:
        fields = Fields()
        name = fields.name("name", request.name)
        fields.check()
        await self._calls.command(
            request.group,
            lambda number: DeregisterRegion(
                number, name, request.etag, tuple(request.override_rules), request.validate_only
            ),
        )
        return pb.DeregisterRegionResponse()

    async def DrainRegion(self, request: pb.DrainRegionRequest, context: Context) -> pb.DrainRegionResponse:
        fields = Fields()
        name = fields.name("name", request.name)
        reason, owner, expire_wall_ns = fields.override(request, request.reason, request.owner)
        fields.check()
        plan = await self._calls.command(
            request.group,
            lambda number: DrainRegion(
                number, name, reason, owner, expire_wall_ns, tuple(request.override_rules), request.validate_only
            ),
        )
        assert isinstance(plan, DrainPlan)
        response = pb.DrainRegionResponse(region=await self._shown(request.group, name), steps=plan.steps)
        if plan.failover is not None:
            response.failover.CopyFrom(render_failover(plan.failover))
        return response

    async def UndrainRegion(self, request: pb.UndrainRegionRequest, context: Context) -> pb.UndrainRegionResponse:
        name, owner = _lifted(request)
        await self._calls.command(request.group, lambda number: UndrainRegion(number, name, owner))
        return pb.UndrainRegionResponse(region=await self._shown(request.group, name))

    async def CordonRegion(self, request: pb.CordonRegionRequest, context: Context) -> pb.CordonRegionResponse:
        fields = Fields()
        name = fields.name("name", request.name)
        reason, owner, expire_wall_ns = fields.override(request, request.reason, request.owner)
        fields.check()
        await self._calls.command(
            request.group,
            lambda number: CordonRegion(number, name, reason, owner, expire_wall_ns, request.validate_only),
        )
        return pb.CordonRegionResponse(region=await self._shown(request.group, name))

    async def UncordonRegion(self, request: pb.UncordonRegionRequest, context: Context) -> pb.UncordonRegionResponse:
        name, owner = _lifted(request)
        await self._calls.command(request.group, lambda number: UncordonRegion(number, name, owner))
        return pb.UncordonRegionResponse(region=await self._shown(request.group, name))

    async def _shown(self, group: str, name: str) -> region_pb2.Region:
        """The region after a command, once that is durable."""
        view = await self._calls.read(group, lambda machine, now: machine.region_view(now, name))
        if view is None:
            raise NotFound("region", name, REGION_ADVICE)
        return render_region(view)

    async def WatchRegions(
        self, request: pb.WatchRegionsRequest, context: Context
    ) -> AsyncIterator[pb.WatchRegionsResponse]:
        topics = frozenset({Topic.REGIONS, Topic.ACTIVE})
        async for views in self._calls.watch(request.group, topics, _region_views):
            yield pb.WatchRegionsResponse(regions=[render_region(view) for view in views])


def _lifted(request: pb.UndrainRegionRequest | pb.UncordonRegionRequest) -> tuple[str, str]:
    """(name, owner) of a word that ends an override."""
    fields = Fields()
    name = fields.name("name", request.name)
    owner = fields.text("owner", request.owner)
    fields.check()
    return name, owner


def _region_views(machine: Group, now: Now) -> tuple[RegionView, ...]:
    return machine.view(now).regions


def _set_paths(region: region_pb2.Region) -> tuple[str, ...]:
    """What an update without a mask sets."""
    present = {
        "location": region.HasField("location"),
        "priority": region.HasField("priority"),
        "capacity": region.HasField("capacity"),
        "endpoint": bool(region.endpoint),
        "labels": bool(region.labels),
    }
    return tuple(path for path in SETTABLE if present[path])

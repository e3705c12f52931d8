"""GroupService."""

from __future__ import annotations

from primacy.v1 import group_service_pb2 as pb
from primacy.v1.group_service_pb2_grpc import GroupServiceServicer
from primacy_wire.clock import read_now
from primacy_wire.errors import AlreadyExists
from primacy_wire.instant import Now

from primacy_coordinator.core.events import Recover
from primacy_coordinator.core.group import Group
from primacy_coordinator.core.model import Policy
from primacy_coordinator.core.views import LeaseView, RecoveryPlan
from primacy_coordinator.rpc.calls import Calls, Context
from primacy_coordinator.rpc.fields import Fields
from primacy_coordinator.rpc.lengths import render_instant
from primacy_coordinator.rpc.pages import Page
from primacy_coordinator.rpc.policies import parse_policy
from primacy_coordinator.rpc.refusals import shell_error
from primacy_coordinator.rpc.render_election import render_recovery
from primacy_coordinator.shell.failures import ShellError
from primacy_coordinator.shell.runner import Runner


class GroupService(GroupServiceServicer):
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def CreateGroup(self, request: pb.CreateGroupRequest, context: Context) -> pb.CreateGroupResponse:
        fields = Fields()
        name = fields.name("group", request.group)
        policy: Policy | None = None
        if request.HasField("policy"):
            policy = parse_policy(fields, "policy", request.policy)
        fields.check()
        coordinator = self._calls.coordinator
        if coordinator.runner(name) is not None:
            raise AlreadyExists("group", name)
        if request.validate_only:
            return pb.CreateGroupResponse(group=pb.Group(name=name, active_region="", epoch=0, region_count=0))
        try:
            runner = await coordinator.create(name, policy)
            return pb.CreateGroupResponse(group=await self._render(runner))
        except ShellError as error:
            raise shell_error(error) from error

    async def GetGroup(self, request: pb.GetGroupRequest, context: Context) -> pb.GetGroupResponse:
        return pb.GetGroupResponse(group=await self._render(self._calls.runner(request.group)))

    async def ListGroups(self, request: pb.ListGroupsRequest, context: Context) -> pb.ListGroupsResponse:
        fields = Fields()
        page = Page(fields, request.page_size, request.page_token, "groups")
        fields.check()
        runners = sorted(self._calls.coordinator.runners(), key=lambda runner: runner.name)
        shown, token = page.cut(runners, lambda runner: runner.name)
        return pb.ListGroupsResponse(groups=[await self._render(runner) for runner in shown], next_page_token=token)

    async def DeleteGroup(self, request: pb.DeleteGroupRequest, context: Context) -> pb.DeleteGroupResponse:
        fields = Fields()
        name = fields.name("group", request.group)
        fields.check()
        runner = self._calls.runner(name)
        try:
            epoch = await self._calls.coordinator.delete(runner, request.validate_only)
        except ShellError as error:
            raise shell_error(error) from error
        return pb.DeleteGroupResponse(last_epoch=epoch)

    async def RecoverGroup(self, request: pb.RecoverGroupRequest, context: Context) -> pb.RecoverGroupResponse:
        fields = Fields()
        owner = fields.text("owner", request.owner)
        fields.check()
        plan = await self._calls.command(
            request.group, lambda number: Recover(number, confirm=not request.validate_only, owner=owner)
        )
        assert isinstance(plan, RecoveryPlan)
        return pb.RecoverGroupResponse(plan=render_recovery(plan, read_now()))

    async def _render(self, runner: Runner) -> pb.Group:
        try:
            lease, doubt, region_count = await runner.read(_summary)
        except ShellError as error:
            raise shell_error(error) from error
        return pb.Group(
            name=runner.name,
            create_time=render_instant(runner.created_wall_ns),
            active_region=lease.active_region,
            epoch=lease.epoch,
            region_count=region_count,
            in_doubt=doubt,
        )


def _summary(machine: Group, now: Now) -> tuple[LeaseView, bool, int]:
    view = machine.view(now)
    return view.lease, view.doubt is not None, len(view.regions)

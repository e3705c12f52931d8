"""ElectionService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from primacy.v1 import election_pb2, policy_pb2
from primacy.v1 import election_service_pb2 as pb
from primacy.v1.election_service_pb2_grpc import ElectionServiceServicer
from primacy_wire.errors import NotFound
from primacy_wire.instant import Now

from primacy_coordinator.core.effects import Topic
from primacy_coordinator.core.events import (
    ApproveFailover,
    CancelFailover,
    MoveActive,
    PauseElection,
    ResumeElection,
)
from primacy_coordinator.core.group import Group
from primacy_coordinator.core.model import DONE_STATES, FailoverRecord
from primacy_coordinator.core.views import ExplanationView, LeaseView, MovePlan, OverrideView
from primacy_coordinator.rpc.calls import Calls, Context
from primacy_coordinator.rpc.fields import Fields, group_name
from primacy_coordinator.rpc.lengths import render_instant, render_length
from primacy_coordinator.rpc.pages import Page
from primacy_coordinator.rpc.regions import REGION_ADVICE
from primacy_coordinator.rpc.render_election import render_candidate, render_failover
from primacy_coordinator.rpc.render_override import render_override, render_price


class ElectionService(ElectionServiceServicer):
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def GetActiveRegion(self, request: pb.GetActiveRegionRequest, context: Context) -> pb.GetActiveRegionResponse:
        view, now = await self._calls.read(request.group, _lease)
        response = pb.GetActiveRegionResponse(
            group=group_name(request.group), region=view.active_region, epoch=view.epoch
        )
        if view.active_region:
            response.expire_time.CopyFrom(render_instant(now.wall_ns + view.remaining_ns))
            response.remaining.CopyFrom(render_length(view.remaining_ns))
        return response

    async def WatchActiveRegion(
        self, request: pb.WatchActiveRegionRequest, context: Context
    ) -> AsyncIterator[pb.WatchActiveRegionResponse]:
        last: tuple[str, int] | None = None
        async for view, now in self._calls.watch(request.group, frozenset({Topic.ACTIVE}), _lease):
            if (view.active_region, view.epoch) == last:
                continue
            last = view.active_region, view.epoch
            response = pb.WatchActiveRegionResponse(
                group=group_name(request.group), region=view.active_region, epoch=view.epoch
            )
            if view.active_region:
                response.expire_time.CopyFrom(render_instant(now.wall_ns + view.remaining_ns))
                response.remaining.CopyFrom(render_length(view.remaining_ns))
            yield response

    async def Failover(self, request: pb.FailoverRequest, context: Context) -> pb.FailoverResponse:
        fields = Fields()
        target = fields.optional_name("targetRegion", request.target_region)
        fenced = fields.optional_name("holderFenced", request.holder_fenced)
        reason = fields.text("reason", request.reason)
        owner = fields.text("owner", request.owner)
        mode = fields.known("mode", request.mode, election_pb2.FailoverMode.values())
        if request.HasField("if_epoch") and request.if_epoch < 0:
            fields.add("ifEpoch", "OUT_OF_RANGE", "must be 0 or more")
        fields.check()
        plan = await self._calls.command(
            request.group,
            lambda number: MoveActive(
                number,
                target=target,
                forced=mode == election_pb2.FAILOVER_MODE_FORCED,
                reason=reason,
                owner=owner,
                if_epoch=request.if_epoch if request.HasField("if_epoch") else None,
                override_rules=tuple(request.override_rules),
                holder_fenced=fenced,
                validate_only=request.validate_only,
            ),
        )
        assert isinstance(plan, MovePlan)
        record = plan.failover
        if request.wait and not request.validate_only:
            record = await self._ended(request.group, record)
        return pb.FailoverResponse(
            failover=render_failover(record),
            steps=plan.steps,
            longest_wait=render_length(plan.wait_ns),
            price=render_price(record.price) if record.price is not None else None,
        )

    async def _ended(self, group: str, begun: FailoverRecord) -> FailoverRecord:
        """The move once it is done."""
        moves = self._calls.watch(group, frozenset({Topic.FAILOVERS}), lambda machine, _: machine.failover(begun.id))
        async with aclosing(moves) as records:
            async for record in records:
                if record is None:
                    break
                if record.state in DONE_STATES:
                    return record
        raise NotFound("failover", begun.id, "it is not kept any more")

    async def ApproveFailover(self, request: pb.ApproveFailoverRequest, context: Context) -> pb.ApproveFailoverResponse:
        failover_id, reason, owner = _named(request)
        record = await self._calls.command(
            request.group, lambda number: ApproveFailover(number, failover_id, owner, reason)
        )
        assert isinstance(record, FailoverRecord)
        return pb.ApproveFailoverResponse(failover=render_failover(record))

    async def CancelFailover(self, request: pb.CancelFailoverRequest, context: Context) -> pb.CancelFailoverResponse:
        failover_id, reason, owner = _named(request)
        record = await self._calls.command(
            request.group, lambda number: CancelFailover(number, failover_id, owner, reason)
        )
        assert isinstance(record, FailoverRecord)
        return pb.CancelFailoverResponse(failover=render_failover(record))

    async def PauseElection(self, request: pb.PauseElectionRequest, context: Context) -> pb.PauseElectionResponse:
        fields = Fields()
        reason, owner, expire_wall_ns = fields.override(request, request.reason, request.owner)
        fields.check()
        view = await self._calls.command(
            request.group,
            lambda number: PauseElection(number, reason, owner, expire_wall_ns, request.validate_only),
        )
        assert isinstance(view, OverrideView)
        return pb.PauseElectionResponse(pause=render_override(view))

    async def ResumeElection(self, request: pb.ResumeElectionRequest, context: Context) -> pb.ResumeElectionResponse:
        fields = Fields()
        owner = fields.text("owner", request.owner)
        fields.check()
        view = await self._calls.command(request.group, lambda number: ResumeElection(number, owner))
        assert isinstance(view, OverrideView)
        return pb.ResumeElectionResponse(pause=render_override(view))

    async def GetFailover(self, request: pb.GetFailoverRequest, context: Context) -> pb.GetFailoverResponse:
        return pb.GetFailoverResponse(failover=render_failover(await self._failover(request.group, "id", request.id)))

    async def _failover(self, group: str, path: str, failover_id: str) -> FailoverRecord:
        fields = Fields()
        if not failover_id:
            fields.add(path, "REQUIRED", "must be the id of a failover, as `primacy history` shows it")
        fields.check()
        record = await self._calls.read(group, lambda machine, _: machine.failover(failover_id))
        if record is None:
            raise NotFound("failover", failover_id, "`primacy history` shows those that are kept")
        return record

    async def ListFailovers(self, request: pb.ListFailoversRequest, context: Context) -> pb.ListFailoversResponse:
        fields = Fields()
        page = Page(fields, request.page_size, request.page_token, "failovers", group_name(request.group))
        fields.check()
        records = await self._calls.read(request.group, lambda machine, now: machine.view(now).failovers)
        first = 0
        if page.after is not None:
            # Moves are only ever added in front; one that is not kept any more has no successors either.
            places = [place for place, record in enumerate(records) if record.id == page.after]
            first = places[0] + 1 if places else len(records)
        shown = records[first : first + page.size]
        return pb.ListFailoversResponse(
            failovers=[render_failover(record) for record in shown],
            next_page_token=page.token(shown[-1].id) if first + len(shown) < len(records) else "",
        )

    async def ExplainElection(self, request: pb.ExplainElectionRequest, context: Context) -> pb.ExplainElectionResponse:
        fields = Fields()
        if_down = fields.optional_name("ifDown", request.if_down)
        if request.if_down and request.failover_id:
            fields.add("failoverId", "EXCLUSIVE", "must be empty when `ifDown` is given")
        fields.check()
        if request.failover_id:
            return await self._explain_past(request.group, request.failover_id)
        view = await self._calls.read(request.group, lambda machine, now: _explain(machine, now, if_down))
        return pb.ExplainElectionResponse(
            strategy=policy_pb2.ElectionStrategy.ValueType(view.strategy),
            winner=view.winner,
            candidates=[render_candidate(candidate) for candidate in view.candidates],
            explanation=view.explanation,
            active_region=view.active_region,
            would_move=view.would_move,
        )

    async def _explain_past(self, group: str, failover_id: str) -> pb.ExplainElectionResponse:
        record = await self._failover(group, "failoverId", failover_id)
        return pb.ExplainElectionResponse(
            winner=record.to_region,
            candidates=[render_candidate(candidate) for candidate in record.candidates],
            explanation=record.explanation,
            active_region=record.from_region,
            would_move=True,
        )


def _named(request: pb.ApproveFailoverRequest | pb.CancelFailoverRequest) -> tuple[str, str, str]:
    """(id, reason, owner) of a word about one move."""
    fields = Fields()
    if not request.id:
        fields.add("id", "REQUIRED", "must be the id of a failover, as `primacy history` shows it")
    reason = fields.text("reason", request.reason)
    owner = fields.text("owner", request.owner)
    fields.check()
    return request.id, reason, owner


def _lease(machine: Group, now: Now) -> tuple[LeaseView, Now]:
    return machine.lease_view(now), now


def _explain(machine: Group, now: Now, if_down: str) -> ExplanationView:
    if if_down and machine.region_view(now, if_down) is None:
        raise NotFound("region", if_down, REGION_ADVICE)
    return machine.explain(now, if_down)

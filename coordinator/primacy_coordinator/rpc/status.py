"""StatusService: the whole group on one screen, and its journal."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from primacy.v1 import event_pb2, group_service_pb2, policy_pb2, routing_pb2
from primacy.v1 import status_service_pb2 as pb
from primacy_wire.errors import Unavailable
from primacy_wire.instant import Now

from primacy_coordinator.core.effects import Severity
from primacy_coordinator.core.group import Group
from primacy_coordinator.core.model import DoubtRecord, PolicyRecord
from primacy_coordinator.core.views import GroupView, SightView
from primacy_coordinator.rpc.calls import Calls, Context
from primacy_coordinator.rpc.fields import Fields, group_name
from primacy_coordinator.rpc.lengths import render_instant, render_length
from primacy_coordinator.rpc.monitoring import MonitoringMethods
from primacy_coordinator.rpc.pages import Page
from primacy_coordinator.rpc.policies import render_policy
from primacy_coordinator.rpc.render_election import render_failover, render_lease
from primacy_coordinator.rpc.render_override import render_override
from primacy_coordinator.rpc.render_region import render_region
from primacy_coordinator.rpc.routes import READ, WRITE, render_rows
from primacy_coordinator.store.api import EventFilter, StoredEvent

STATUS_EVENTS_COUNT = 20
FIRST_EVENTS_COUNT = 100
WATCH_EVENTS_COUNT_MAX = 1000
KINDS_COUNT_MAX = 100
JOURNAL_RETRY_SECONDS = 1
FAILSAFE_NOTE = (
    "FENCE: while the coordinator is away the active lease runs out after its TTL; reads go on by the last weights"
)


class StatusService(MonitoringMethods):
    def __init__(self, calls: Calls, version: str) -> None:
        super().__init__(calls)
        self._version = version

    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        response = await self.status(request.group)
        try:
            events = await self._calls.events(EventFilter(group_name(request.group)), STATUS_EVENTS_COUNT)
        except Unavailable:
            # The journal is in trouble, which `/healthz` says; the rest of the screen is needed the more.
            events = ()
        response.events.extend(_render_event(event) for event in events)
        return response

    async def status(self, group: str) -> pb.GetStatusResponse:
        """What GetStatus says, without events."""
        view, now = await self._calls.read(group, _view)
        response = pb.GetStatusResponse(
            group=view.group,
            active_region=view.lease.active_region,
            epoch=view.lease.epoch,
            lease=render_lease(view.lease, now),
            regions=[render_region(region) for region in view.regions],
            read_weights=routing_pb2.Weights(
                traffic_class=READ,
                strategy=routing_pb2.RoutingStrategy.ValueType(view.weights.strategy),
                rows=render_rows(view.weights, READ),
            ),
            write_weights=routing_pb2.Weights(traffic_class=WRITE, rows=render_rows(view.weights, WRITE)),
            weights_version=view.weights.version,
            panic=view.weights.panic,
            policy=render_policy(PolicyRecord(view.policy, view.policy_version)),
            coordinator=self._coordinator(view),
            sights=[_render_sight(sight) for sight in view.sights],
            overrides=[render_override(override) for override in view.overrides],
        )
        if view.failover is not None:
            response.failover.CopyFrom(render_failover(view.failover))
        if view.doubt is not None:
            response.doubt.CopyFrom(_render_doubt(view.doubt))
        if view.self_doubt is not None:
            response.self_doubt.name = view.self_doubt.name
            response.self_doubt.reason = view.self_doubt.reason
            response.self_doubt.remaining.CopyFrom(render_length(view.self_doubt.remaining_ns))
        return response

    async def ListOverrides(self, request: pb.ListOverridesRequest, context: Context) -> pb.ListOverridesResponse:
        view, _ = await self._calls.read(request.group, _view)
        return pb.ListOverridesResponse(
            group=view.group, overrides=[render_override(override) for override in view.overrides]
        )

    async def ListEvents(self, request: pb.ListEventsRequest, context: Context) -> pb.ListEventsResponse:
        fields = Fields()
        region = fields.optional_name("region", request.region)
        severity = fields.known("minSeverity", request.min_severity, Severity)
        failover_id = fields.text("failoverId", request.failover_id)
        kinds = tuple(sorted(set(request.kinds)))
        if len(kinds) > KINDS_COUNT_MAX:
            fields.add("kinds", "TOO_MANY", f"must be at most {KINDS_COUNT_MAX} kinds")
        query = ("events", group_name(request.group), region, failover_id, str(severity), *kinds)
        page = Page(fields, request.page_size, request.page_token, *query)
        before = page.number(fields)
        fields.check()
        wanted = EventFilter(
            group=group_name(request.group),
            kinds=kinds,
            region=region,
            failover_id=failover_id,
            severity_min=Severity(severity or Severity.INFO),
            before=before,
        )
        # One more than asked for tells whether there is another page.
        events = await self._calls.events(wanted, page.size + 1)
        shown = events[: page.size]
        return pb.ListEventsResponse(
            events=[_render_event(event) for event in shown],
            next_page_token=page.token(str(shown[-1].sequence)) if len(events) > len(shown) else "",
        )

    async def WatchEvents(
        self, request: pb.WatchEventsRequest, context: Context
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        fields = Fields()
        if request.after_sequence < 0:
            fields.add("afterSequence", "OUT_OF_RANGE", "must be 0 or more")
        fields.check()
        after = request.after_sequence if request.HasField("after_sequence") else None
        async with aclosing(self.events(request.group, after)) as batches:
            async for batch in batches:
                yield pb.WatchEventsResponse(events=batch)

    async def events(self, group: str, after: int | None) -> AsyncGenerator[Sequence[event_pb2.Event], None]:
        """Events after that number, oldest first, then new ones as they come; None: the latest ones first.

        The first piece may be empty.
        """
        group = group_name(group)
        if after is not None:
            last = after
            events = await self._calls.events(
                EventFilter(group, after=last), WATCH_EVENTS_COUNT_MAX, newest_first=False
            )
        else:
            last = 0
            events = (await self._calls.events(EventFilter(group), FIRST_EVENTS_COUNT))[::-1]
        yield [_render_event(event) for event in events]
        while True:
            last = max(last, *(event.sequence for event in events)) if events else last
            await self._calls.journal_beyond(group, last)
            events = await self._calls.events(
                EventFilter(group, after=last), WATCH_EVENTS_COUNT_MAX, newest_first=False
            )
            if events:
                yield [_render_event(event) for event in events]
            else:
                # The journal cannot be written now; it is tried again about as often.
                await asyncio.sleep(JOURNAL_RETRY_SECONDS)

    def _coordinator(self, view: GroupView) -> pb.CoordinatorInfo:
        return pb.CoordinatorInfo(
            version=self._version,
            start_time=render_instant(self._calls.coordinator.started_wall_ns),
            store_id=view.store_id,
            run_id=view.run_id,
            failsafe=policy_pb2.FailsafeMode.ValueType(view.policy.failsafe),
            failsafe_note=FAILSAFE_NOTE,
            host=socket.gethostname(),
        )


def _view(machine: Group, now: Now) -> tuple[GroupView, Now]:
    return machine.view(now), now


def _render_sight(view: SightView) -> pb.Sight:
    sight = pb.Sight(
        observer=view.observer,
        region=view.target_region,
        agent=view.target_agent,
        reachable=view.reachable,
        age=render_length(view.age_ns),
    )
    if view.rtt_ns >= 0:
        sight.rtt.CopyFrom(render_length(view.rtt_ns))
    return sight


def _render_doubt(record: DoubtRecord) -> group_service_pb2.Doubt:
    rendered = group_service_pb2.Doubt(
        reason=record.reason,
        heard_epoch=record.heard_epoch,
        operator_needed=record.operator_needed,
        confirmed=record.confirmed,
    )
    if record.since_wall_ns:
        rendered.since_time.CopyFrom(render_instant(record.since_wall_ns))
    return rendered


def _render_event(event: StoredEvent) -> event_pb2.Event:
    return event_pb2.Event(
        sequence=event.sequence,
        time=render_instant(event.wall_ns),
        kind=event.kind,
        severity=event_pb2.Severity.ValueType(event.severity),
        region=event.region,
        message=event.message,
        epoch=event.epoch,
        failover_id=event.failover_id,
        inputs=event.inputs,
    )

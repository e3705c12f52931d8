"""ReplicationService: the log of a group, its conflicts, and how far each region has come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from blake3 import blake3
from primacy.v1 import replication_pb2
from primacy.v1 import replication_service_pb2 as pb
from primacy.v1.replication_service_pb2_grpc import ReplicationServiceServicer
from primacy_wire.errors import NotFound
from primacy_wire.instant import Now
from primacy_wire.log_messages import EntryKind

from primacy_coordinator.core.effects import Topic
from primacy_coordinator.core.events import Append, ResolveConflict, RetryEntry
from primacy_coordinator.core.group import Group
from primacy_coordinator.core.log.conflicts import format_of
from primacy_coordinator.core.log.ledger import conflict_number
from primacy_coordinator.core.log_model import Appended, ConflictRecord, ConflictState, Draft, Durability
from primacy_coordinator.core.views import EntriesView, LogView, Retried
from primacy_coordinator.rpc.calls import Calls, Context
from primacy_coordinator.rpc.drafts import Documents, parse_draft
from primacy_coordinator.rpc.fields import Fields, group_name
from primacy_coordinator.rpc.pages import Page
from primacy_coordinator.rpc.render_log import render_appended, render_conflict, render_entry, render_status

PAGE_BYTES_MAX = 2 << 20
"""Documents of one page or one message: gRPC takes 4 MiB, and a single conflict may hold 3."""
WATCH_COUNT_MAX = 500
LOG = frozenset({Topic.LOG})
TAKES = {"take_current": "current", "take_incoming": "incoming", "content": "content"}


class ReplicationService(ReplicationServiceServicer):
    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._documents = Documents()

    async def Append(self, request: pb.AppendRequest, context: Context) -> pb.AppendResponse:
        fields = Fields()
        fields.required("entry", request, "entry")
        fields.check()
        durability = fields.known("durability", request.durability, Durability)
        if_version: int | None = None
        if request.HasField("if_version"):
            if_version = request.if_version
            if if_version < 0:
                fields.add("ifVersion", "OUT_OF_RANGE", "must be 0 or more")
        draft = await parse_draft(fields, request.entry, self._documents)
        wanted = Durability(durability) if durability else None
        appended = await self._calls.append(
            request.group, lambda number: Append(number, draft, wanted, if_version), _weight(draft)
        )
        assert isinstance(appended, Appended)
        return render_appended(appended)

    async def GetReplicationStatus(
        self, request: pb.GetReplicationStatusRequest, context: Context
    ) -> pb.GetReplicationStatusResponse:
        view = await self._calls.read(request.group, _log_view)
        return render_status(group_name(request.group), view)

    async def ListEntries(self, request: pb.ListEntriesRequest, context: Context) -> pb.ListEntriesResponse:
        fields = Fields()
        kind = fields.known("kind", request.kind, EntryKind)
        fields.text("key", request.key)
        query = ("entries", group_name(request.group), str(kind), request.key)
        page = Page(fields, request.page_size, request.page_token, *query)
        before = page.number(fields)
        fields.check()
        wanted = EntryKind(kind) if kind else None
        bytes_max = PAGE_BYTES_MAX if request.with_content else 0
        view = await self._calls.read(
            request.group, lambda machine, _: machine.entries_before(before, page.size, bytes_max, wanted, request.key)
        )
        return pb.ListEntriesResponse(
            entries=_render(view, request.with_content),
            next_page_token=page.token(str(view.entries[-1][0].sequence)) if view.more else "",
        )

    async def WatchEntries(
        self, request: pb.WatchEntriesRequest, context: Context
    ) -> AsyncIterator[pb.WatchEntriesResponse]:
        fields = Fields()
        if request.from_sequence < 0:
            fields.add("fromSequence", "OUT_OF_RANGE", "must be 0 or more")
        fields.text("key", request.key)
        fields.check()
        # The last number that was sent or passed over; -1: not known before the first look.
        after = request.from_sequence - 1
        bytes_max = PAGE_BYTES_MAX if request.with_content else 0

        def take(machine: Group, _: Now) -> EntriesView:
            if after < 0:
                return EntriesView((), False, machine.head)
            return machine.entries_beyond(after, WATCH_COUNT_MAX, bytes_max, request.key)

        first = True
        async with aclosing(self._calls.watch(request.group, LOG, take)) as views:
            async for changed in views:
                view = changed
                while True:
                    if view.entries or first:
                        first = False
                        yield pb.WatchEntriesResponse(
                            entries=[
                                render_entry(entry, safety, request.with_content) for entry, safety in view.entries
                            ],
                            head=view.head,
                        )
                    after = view.entries[-1][0].sequence if view.more else max(after, view.head)
                    if not view.more:
                        break
                    view = await self._calls.read(request.group, take)

    async def ListConflicts(self, request: pb.ListConflictsRequest, context: Context) -> pb.ListConflictsResponse:
        fields = Fields()
        state = fields.known("state", request.state, ConflictState)
        fields.text("key", request.key)
        fields.text("id", request.id)
        query = ("conflicts", group_name(request.group), str(state), request.key, request.id)
        page = Page(fields, request.page_size, request.page_token, *query)
        before = page.number(fields)
        fields.check()
        wanted = ConflictState(state) if state else None
        bytes_max = PAGE_BYTES_MAX if request.with_content else 0

        def take(machine: Group, _: Now) -> tuple[tuple[ConflictRecord, ...], bool]:
            if not request.id:
                return machine.conflicts_before(before, page.size, bytes_max, wanted, request.key)
            one = machine.conflict(request.id)
            fits = one is not None and (wanted or one.state) is one.state and request.key in ("", one.entry_key)
            return (one,) if one is not None and fits else (), False

        found, more = await self._calls.read(request.group, take)
        return pb.ListConflictsResponse(
            conflicts=[render_conflict(conflict, request.with_content) for conflict in found],
            next_page_token=page.token(str(conflict_number(found[-1].id))) if more else "",
        )

    async def ResolveConflict(self, request: pb.ResolveConflictRequest, context: Context) -> pb.ResolveConflictResponse:
        fields = Fields()
        if not request.id:
            fields.add("id", "REQUIRED", "must name a conflict: ListConflicts shows them")
        fields.text("id", request.id)
        owner = fields.text("owner", request.owner)
        reason = fields.text("reason", request.reason)
        if_version = request.if_version if request.HasField("if_version") else None
        if if_version is not None and if_version < 0:
            fields.add("ifVersion", "OUT_OF_RANGE", "must be 0 or more")
        decision = request.WhichOneof("decision")
        if decision is None:
            fields.add("decision", "REQUIRED", "must be one of takeCurrent, takeIncoming and content")
        elif decision != "content" and not getattr(request, decision):
            fields.add("take" + decision.partition("_")[2].capitalize(), "REQUIRED", "must be true, or not be set")
        fields.check()
        assert decision is not None
        content = request.content
        if decision == "content":
            await self._check_decision(fields, request)
        decided = await self._calls.command(
            request.group,
            lambda number: ResolveConflict(
                number,
                request.id,
                TAKES[decision],
                content,
                blake3(content).hexdigest() if decision == "content" else "",
                if_version,
                owner,
                reason,
            ),
        )
        assert isinstance(decided, ConflictRecord)
        return pb.ResolveConflictResponse(conflict=render_conflict(decided, True), sequence=decided.result)

    async def _check_decision(self, fields: Fields, request: pb.ResolveConflictRequest) -> None:
        """The document must be of the format in which the second write came."""
        conflict = await self._calls.read(request.group, lambda machine, _: machine.conflict(request.id))
        if conflict is None:
            raise NotFound("conflict", request.id, "ListConflicts shows those that are kept")
        if conflict.entry_kind is not EntryKind.CONFIG:
            fields.add("content", "NOT_ALLOWED", "must not be set: the conflict is about a model")
        else:
            await self._documents.check(fields, "content", request.content, format_of(conflict))
        fields.check()

    async def RetryEntry(self, request: pb.RetryEntryRequest, context: Context) -> pb.RetryEntryResponse:
        fields = Fields()
        if request.sequence < 0:
            fields.add("sequence", "OUT_OF_RANGE", "must be the number of an entry, or 0 for every parked one")
        region = fields.optional_name("region", request.region)
        fields.check()
        retried = await self._calls.command(request.group, lambda number: RetryEntry(number, request.sequence, region))
        assert isinstance(retried, Retried)
        return pb.RetryEntryResponse(regions=retried.regions, entries=retried.entries)


def _log_view(machine: Group, now: Now) -> LogView:
    return machine.log_view(now)


def _render(view: EntriesView, with_content: bool) -> list[replication_pb2.Entry]:
    return [render_entry(entry, safety, with_content) for entry, safety in view.entries]


def _weight(draft: Draft) -> int:
    """Bytes that the append holds while it waits."""
    return len(draft.content)

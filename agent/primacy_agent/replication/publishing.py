"""Versions of models that this agent makes: published from its disk, rolled back to, removed, pulled and verified."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import grpc.aio
from primacy.v1 import replication_pb2
from primacy.v1.replication_service_pb2 import AppendResponse, ListEntriesRequest
from primacy_wire.codec_parts import Checks
from primacy_wire.entries import entry_from_proto
from primacy_wire.errors import Exhausted, NotFound, PrimacyError, Stale, Unavailable
from primacy_wire.log_messages import Entry, EntryKind
from primacy_wire.rpc_errors import from_rpc_error

from primacy_agent.replication.appending import Appender, as_error
from primacy_agent.replication.journal import Journal
from primacy_agent.replication.models import Models
from primacy_agent.replication.outbox import EMPTY, Outbox
from primacy_agent.store import ChangedWhileRead, ContentStore, Ingested, StoreError, StoreFull
from primacy_agent.transfer import Fetcher, FetchFailed

LIST_S = 5.0


@dataclass(frozen=True, slots=True)
class Published:
    ingested: Ingested
    appended: AppendResponse


class Publishing:
    """Raises `primacy_wire.errors`."""

    def __init__(
        self,
        journal: Journal,
        models: Models,
        outbox: Outbox,
        appender: Appender,
        store: ContentStore,
        fetcher: Fetcher,
        group: str,
    ) -> None:
        self._journal = journal
        self._models = models
        self._outbox = outbox
        self._appender = appender
        self._store = store
        self._fetcher = fetcher
        self._group = group
        self._one = asyncio.Lock()
        """One reading of a disk at a time is the fastest."""

    async def ingest(self, path: Path, on_progress: Callable[[int, int, int], None]) -> Ingested:
        async with self._one:
            try:
                return await self._store.ingest(path, on_progress)
            except StoreError as error:
                raise as_refusal(error) from error

    async def append(
        self, name: str, ingested: Ingested, entry_id: str, durability: int, if_version: int | None, message: str
    ) -> AppendResponse:
        manifest = ingested.manifest
        with self._models.holding(manifest.digest):
            return await self._append(
                replace(self._draft(name, entry_id, message), digest=manifest.digest, size=manifest.size),
                durability,
                if_version,
            )

    def _draft(self, name: str, entry_id: str, message: str) -> Entry:
        current = self._journal.memory.current.get((EntryKind.MODEL, name))
        return replace(
            EMPTY,
            id=entry_id or secrets.token_hex(16),
            kind=EntryKind.MODEL,
            key=name,
            parent=current.sequence if current is not None else 0,
            message=message,
        )

    async def _append(self, entry: Entry, durability: int, if_version: int | None) -> AppendResponse:
        return await self._outbox.append(entry, durability, if_version)

    async def roll_back(self, name: str, version: int, message: str) -> AppendResponse:
        """A new version with the content of an earlier one."""
        found = await self.find(name, version)
        draft = self._draft(name, "", message or f"rollback to version {version}")
        return await self._append(replace(draft, digest=found.digest, size=found.size), 0, None)

    async def remove(self, name: str, message: str) -> AppendResponse:
        current = self._journal.memory.current.get((EntryKind.MODEL, name))
        if current is None or current.removed:
            raise NotFound("model", name, "`primacy model list` shows what there is")
        return await self._append(replace(self._draft(name, "", message), removed=True), 0, None)

    async def pull(self, name: str, version: int) -> Entry:
        """Fetch it, install it, and keep it."""
        found = await self.find(name, version)
        with self._models.holding(found.digest):
            try:
                await self._fetcher.fetch(found.digest, None, self._holders(found), lambda _done, _total: None)
                await self._models.install(found)
            except FetchFailed as error:
                raise Unavailable(str(error), "NO_HOLDER") from error
            except StoreError as error:
                raise as_refusal(error) from error
        await self._journal.pin(name, version, pinned=True)
        return found

    def _holders(self, entry: Entry) -> tuple[str, ...]:
        """Whom to ask without a plan: who wrote it, then everybody else."""
        return (entry.agent, *(key for key in self._fetcher.others() if key != entry.agent))

    async def find(self, name: str, version: int) -> Entry:
        """The entry of that version: from the journal, else from the coordinator's log."""
        kept = await self._journal.versions(EntryKind.MODEL, name)
        pending = [e for e in self._journal.memory.pending.values() if (e.kind, e.key) == (EntryKind.MODEL, name)]
        for entry in (*kept, *pending):
            if entry.version == version and not entry.removed:
                return entry
        try:
            async for entry in self._listed(name):
                if entry.version == version and not entry.removed:
                    return entry
        except grpc.aio.AioRpcError as error:
            failure = as_error(from_rpc_error(error))
            if not isinstance(failure, NotFound):
                raise failure from error
        if not kept and not pending:
            raise NotFound("model", name, "`primacy model list` shows what there is")
        raise NotFound("version", f"{name}/{version}", f"`primacy model show {name}` shows what is kept")

    async def _listed(self, name: str) -> AsyncIterator[Entry]:
        token = ""
        while True:
            request = ListEntriesRequest(
                group=self._group, key=name, kind=replication_pb2.ENTRY_KIND_MODEL, page_token=token, page_size=100
            )
            answer = await self._appender.stub().ListEntries(request, timeout=LIST_S)
            for each in answer.entries:
                checks = Checks("entry")
                entry = entry_from_proto(each, checks, "entry")
                if not checks.bad:
                    yield entry
            token = answer.next_page_token
            if not token:
                return

    async def mend(self, entry: Entry) -> None:
        """Fetch anew what was found damaged, and put it where it is installed."""
        with self._models.holding(entry.digest):
            try:
                await self._fetcher.fetch(entry.digest, None, self._holders(entry), lambda _done, _total: None)
                for name, version in self._models.installed_as(entry.digest):
                    await self._store.install(name, version, entry.digest)
            except FetchFailed as error:
                raise Unavailable(str(error), "NO_HOLDER") from error
            except StoreError as error:
                raise as_refusal(error) from error


def as_refusal(error: StoreError) -> PrimacyError:
    """What a caller is told of trouble with the store."""
    match error:
        case StoreFull():
            return Exhausted(str(error), "DISK_FULL", 10_000_000_000)
        case ChangedWhileRead():
            return Stale(str(error), "CHANGED_WHILE_READ")
        case _:
            return Unavailable(str(error), "STORE")

"""Configuration documents as messages: what LocalService answers about them, and the writes it takes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from blake3 import blake3
from primacy.agent.v1 import local_service_pb2 as pb
from primacy_wire import documents
from primacy_wire.errors import BadField, InvalidRequest, NotFound, Refused
from primacy_wire.log_messages import Entry, EntryKind
from primacy_wire.names import KEY_RULE, is_key

from primacy_agent.replication.configs import Document
from primacy_agent.replication.outbox import EMPTY
from primacy_agent.replication.parts import Replication

ID_LENGTH_MAX = 128
MESSAGE_LENGTH_MAX = 1024
AT_ONCE_BYTES_MAX = 2 * 1024
"""Larger documents are read by a thread."""


class Documents:
    """Raises `primacy_wire.errors`."""

    def __init__(self, replication: Replication) -> None:
        self._replication = replication
        self._configs = replication.configs

    async def put(self, request: pb.PutConfigRequest) -> pb.PutConfigResponse:
        entry = await self._draft(request)
        if_version = request.if_version if request.HasField("if_version") else None
        answer = await self._replication.outbox.put_document(entry, request.durability, if_version)
        if answer is None:
            found = self._configs.newest(entry.key)
            assert found is not None
            return pb.PutConfigResponse(config=_config(found), queued=True)
        found = self._configs.newest(entry.key)
        shown = _config(found) if found is not None else pb.Config(key=entry.key)
        return pb.PutConfigResponse(config=shown, appended=answer, queued=False)

    async def _draft(self, request: pb.PutConfigRequest) -> Entry:
        """Raises InvalidRequest with everything that is wrong."""
        bad = list(check_words(request.id, request.message))
        if not is_key(request.key):
            bad.append(BadField("key", KEY_RULE))
        form = request.format or documents.format_of(request.key)
        if form not in documents.FORMATS:
            bad.append(BadField("format", f"must be one of {', '.join(documents.FORMATS)}"))
        elif request.remove and request.content:
            bad.append(BadField("content", "must be empty when the key is removed"))
        elif not request.remove:
            try:
                if len(request.content) <= AT_ONCE_BYTES_MAX:
                    documents.read(request.content, form)
                else:
                    await asyncio.to_thread(documents.read, request.content, form)
            except documents.BadDocument as error:
                bad.append(BadField("content", str(error), "DOCUMENT_MALFORMED"))
        if bad:
            raise InvalidRequest(*bad)
        if request.remove and self._configs.get(request.key) is None:
            raise NotFound("config", request.key)
        if not request.remove and (other := self._configs.in_the_way(request.key)):
            raise Refused(
                "KEY_TAKEN",
                f"{request.key!r} cannot be a document beside {other!r}: each is a file below one folder. "
                "Remove that one first",
                {"other": other},
            )
        content = request.content
        return replace(
            EMPTY,
            id=request.id or secrets.token_hex(16),
            kind=EntryKind.CONFIG,
            key=request.key,
            digest="" if request.remove else blake3(content).hexdigest(),
            size=len(content),
            content=content,
            format="" if request.remove else form,
            removed=request.remove,
            message=request.message,
        )

    async def get(self, request: pb.GetConfigRequest) -> pb.GetConfigResponse:
        if not request.version:
            found = self._configs.get(request.key)
            if found is None:
                raise NotFound("config", request.key, "`primacy config list` shows what there is")
            return pb.GetConfigResponse(config=_config(found))
        for entry in await self._replication.journal.versions(EntryKind.CONFIG, request.key):
            if entry.version == request.version:
                return pb.GetConfigResponse(config=_config(Document(entry, queued=False)))
        raise NotFound(
            "version", f"{request.key}@{request.version}", "`primacy config history` shows what is kept here"
        )

    async def list_configs(self, request: pb.ListConfigsRequest) -> pb.ListConfigsResponse:
        if not request.key:
            found = [self._configs.get(key) for key in self._configs.all_keys()]
            return pb.ListConfigsResponse(configs=[_config(one, bare=True) for one in found if one is not None])
        newest = self._configs.newest(request.key)
        versions = await self._replication.journal.versions(EntryKind.CONFIG, request.key)
        if newest is None and not versions:
            raise NotFound("config", request.key, "`primacy config list` shows what there is")
        answer = pb.ListConfigsResponse()
        if newest is not None and newest.queued:
            answer.configs.append(_config(newest, bare=True))
        answer.configs.extend(_config(Document(entry, queued=False), bare=True) for entry in versions)
        return answer

    async def watch(self, request: pb.WatchConfigRequest) -> AsyncGenerator[pb.WatchConfigResponse, None]:
        """Each document that there is, then each that changes: removals too, once they were seen."""
        if request.key and not is_key(request.key):
            raise InvalidRequest(BadField("key", KEY_RULE))
        sent: dict[str, tuple[str, int, bool]] = {}
        async with aclosing(self._configs.changes()) as changes:
            async for _ in changes:
                for key in (request.key,) if request.key else self._configs.all_keys():
                    found = self._configs.newest(key)
                    if found is None or (found.entry.removed and key not in sent):
                        continue
                    mark = found.entry.id, found.entry.sequence, found.queued
                    if sent.get(key) != mark:
                        sent[key] = mark
                        yield pb.WatchConfigResponse(config=_config(found))

    async def wait_applied(self, sequence: int) -> pb.WaitAppliedResponse:
        """Until this region has settled the log up to there, or until the caller goes."""
        if sequence < 0:
            raise InvalidRequest(BadField("sequence", "must be 0 or more"))
        replicator = self._replication.replicator
        async with aclosing(replicator.moves()) as moves:
            async for _ in moves:
                progress = replicator.progress
                if progress.settled < sequence:
                    continue
                for note in progress.parked:
                    if note.sequence == sequence:
                        raise Refused("PARKED", f"entry {sequence} ({note.key}) is parked here: {note.reason}")
                return pb.WaitAppliedResponse(settled=progress.settled)
        raise AssertionError("changes never end")


def check_words(entry_id: str, message: str) -> list[BadField]:
    bad = []
    if len(entry_id) > ID_LENGTH_MAX or not (entry_id.isascii() and entry_id.isprintable() and " " not in entry_id):
        bad.append(BadField("id", f"must be at most {ID_LENGTH_MAX} printable ASCII characters without spaces"))
    if len(message) > MESSAGE_LENGTH_MAX:
        bad.append(BadField("message", f"must be at most {MESSAGE_LENGTH_MAX} characters"))
    return bad


def _config(document: Document, bare: bool = False) -> pb.Config:
    """`bare`: without the content."""
    entry = document.entry
    shown = pb.Config(
        key=entry.key,
        content=b"" if bare else entry.content,
        format=entry.format,
        version=0 if document.queued else entry.version,
        sequence=0 if document.queued else entry.sequence,
        digest=entry.digest,
        origin=entry.origin,
        agent=entry.agent,
        conflict_id=entry.conflict_id,
        queued=document.queued,
        removed=entry.removed,
        message=entry.message,
    )
    shown.write_time.FromNanoseconds(entry.time.wall_ns)
    return shown

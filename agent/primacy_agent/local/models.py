"""Models as messages: what LocalService answers about them, and what it does with them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from pathlib import Path

from primacy.agent.v1 import local_service_pb2 as pb
from primacy_wire.errors import BadField, InvalidRequest, NotFound, PrimacyError
from primacy_wire.log_messages import Entry, EntryKind
from primacy_wire.names import MODEL_NAME_RULE, is_model_name

from primacy_agent.local.documents import check_words
from primacy_agent.replication.parts import Replication
from primacy_agent.replication.publishing import as_refusal
from primacy_agent.store import CannotBeModel, StoreError

SHOWN_S = 0.2
"""Progress is told no more often."""


class ModelAnswers:
    """Raises `primacy_wire.errors`."""

    def __init__(self, replication: Replication) -> None:
        self._replication = replication
        self._memory = replication.journal.memory

    # ---- publishing

    async def publish(self, request: pb.PublishRequest) -> AsyncGenerator[pb.PublishResponse, None]:
        bad = [*check_words(request.id, request.message), *_bad_name(request.name)]
        if not os.path.isabs(request.path):
            bad.append(BadField("path", "must be absolute: it is on the agent's machine"))
        if bad:
            raise InvalidRequest(*bad)
        path = Path(request.path)
        if not await asyncio.to_thread(path.exists):
            raise NotFound("path", request.path, "the agent reads it on its own machine")
        publishing = self._replication.publishing
        seen = (0, 0, 0)

        def on_progress(done: int, total: int, new: int) -> None:
            nonlocal seen
            seen = done, total, new

        try:
            reading = asyncio.create_task(publishing.ingest(path, on_progress))
            try:
                while not reading.done():
                    await asyncio.wait((reading,), timeout=SHOWN_S)
                    yield pb.PublishResponse(
                        stage="reading", bytes_done=seen[0], bytes_total=seen[1], bytes_new=seen[2]
                    )
                ingested = reading.result()
            finally:
                reading.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await reading
        except PrimacyError as error:
            if isinstance(error.__cause__, CannotBeModel):
                raise InvalidRequest(BadField("path", str(error.__cause__))) from error
            raise
        manifest = ingested.manifest
        yield pb.PublishResponse(stage="appending", bytes_done=manifest.size, bytes_total=manifest.size)
        if_version = request.if_version if request.HasField("if_version") else None
        appended = await publishing.append(
            request.name, ingested, request.id, request.durability, if_version, request.message
        )
        yield pb.PublishResponse(
            stage="done",
            bytes_done=manifest.size,
            bytes_total=manifest.size,
            bytes_new=ingested.bytes_new,
            digest=manifest.digest,
            appended=appended,
        )

    # ---- what there is

    async def list_models(self, name: str) -> pb.ListModelsResponse:
        names = {entry.key for entry in self._known() if entry.kind is EntryKind.MODEL}
        names |= {one for one, _ in self._replication.store.installed()}
        if name and name not in names:
            raise NotFound("model", name, "`primacy model list` shows what there is")
        models = [await self.model(one) for one in sorted({name} if name else names)]
        store = self._replication.store
        return pb.ListModelsResponse(
            models=[one for one in models if name or one.versions],
            store_bytes=await asyncio.to_thread(store.used_bytes),
            free_bytes=store.free_bytes(),
        )

    def _known(self) -> Sequence[Entry]:
        return (*self._memory.current.values(), *self._memory.pending.values())

    async def model(self, name: str) -> pb.Model:
        entries = await self.versions(name)
        current = self._memory.current.get((EntryKind.MODEL, name))
        shown = pb.Model(
            name=name,
            newest=max((entry.version for entry in entries), default=0),
            current=self._replication.store.current(name) or 0,
        )
        for entry in entries:
            if not entry.removed:
                shown.versions.append(self._version(entry, current))
        return shown

    async def versions(self, name: str) -> list[Entry]:
        """What is kept, the newest first: applied ones, and those that still come."""
        kept = await self._replication.journal.versions(EntryKind.MODEL, name)
        known = {entry.id for entry in kept}
        coming = [e for e in self._memory.pending.values() if (e.kind, e.key) == (EntryKind.MODEL, name)]
        found = [*kept, *(entry for entry in coming if entry.id not in known)]
        return sorted(found, key=lambda entry: (entry.version, entry.sequence), reverse=True)

    def _version(self, entry: Entry, current: Entry | None) -> pb.ModelVersion:
        replication = self._replication
        store = replication.store
        manifest = store.manifest(entry.digest)
        installed = entry.version in {version for _, version in store.installed(entry.key)}
        fetching = replication.replicator.fetching.get(entry.sequence)
        here = entry.size if store.is_complete(entry.digest) else fetching[0] if fetching else 0
        note = self._memory.parked.get(entry.sequence)
        shown = pb.ModelVersion(
            version=entry.version,
            sequence=entry.sequence,
            digest=entry.digest,
            size=entry.size,
            bytes_here=here,
            current=installed and store.current(entry.key) == entry.version,
            pinned=(entry.key, entry.version) in replication.journal.pins,
            trouble=f"parked: {note.reason}" if note is not None else "",
            origin=entry.origin,
            message=entry.message,
            path=str(replication.config.models_dir / entry.key / "releases" / str(entry.version)) if installed else "",
        )
        if manifest is not None:
            shown.files = len(manifest.files)
        shown.write_time.FromNanoseconds(entry.time.wall_ns)
        return shown

    # ---- what is done with them

    async def manage(self, request: pb.ManageModelRequest) -> pb.ManageModelResponse:
        action = request.WhichOneof("action")
        bad = check_words("", request.message)
        if action is None:
            bad.append(BadField("action", "say what to do: pin, unpin, rollback, pull, collect or remove"))
        if action != "collect" or request.name:
            bad += _bad_name(request.name)
        if bad:
            raise InvalidRequest(*bad)
        if action == "collect":
            return await self._collect(request.name, request.validate_only)
        return await self._change(request, action or "")

    async def _change(self, request: pb.ManageModelRequest, action: str) -> pb.ManageModelResponse:
        replication = self._replication
        name, publishing = request.name, replication.publishing
        version = int(getattr(request, action))
        answer = pb.ManageModelResponse()
        if action != "remove":
            await publishing.find(name, version)
        elif name not in {entry.key for entry in self._known() if entry.kind is EntryKind.MODEL and not entry.removed}:
            raise NotFound("model", name, "`primacy model list` shows what there is")
        if not request.validate_only:
            if action == "pin":
                if (name, version) not in replication.store.installed(name):
                    raise NotFound(
                        "version", f"{name}/{version}", f"it is not here: `primacy model pull {name} {version}`"
                    )
                await replication.journal.pin(name, version, pinned=True)
            elif action == "unpin":
                await replication.journal.pin(name, version, pinned=False)
            elif action == "pull":
                await publishing.pull(name, version)
            elif action == "rollback":
                answer.appended.CopyFrom(await publishing.roll_back(name, version, request.message))
            else:
                answer.appended.CopyFrom(await publishing.remove(name, request.message))
        answer.model.CopyFrom(await self.model(name))
        return answer

    async def _collect(self, name: str, dry: bool) -> pb.ManageModelResponse:
        replication = self._replication
        models, store = replication.models, replication.store
        names = {name} if name else {one for one, _ in store.installed()}
        dropped = [(one, version) for one in sorted(names) for version in models.superfluous(one)]
        answer = pb.ManageModelResponse(dropped=[f"{one}/{version}" for one, version in dropped])
        try:
            if not dry:
                for one, version in dropped:
                    await store.uninstall(one, version)
            answer.freed_bytes = await store.collect(models.needed(without=dropped), dry=dry)
        except StoreError as error:
            raise as_refusal(error) from error
        return answer

    async def verify(self, name: str) -> AsyncGenerator[pb.VerifyModelsResponse, None]:
        """Read everything again; what is damaged is fetched anew before the last message."""
        names = {name} if name else {one for one, _ in self._replication.store.installed()}
        entries: dict[str, Entry] = {}
        for one in sorted(names):
            for entry in await self.versions(one):
                if not entry.removed and self._replication.store.is_complete(entry.digest):
                    entries.setdefault(entry.digest, entry)
        if name and not entries:
            raise NotFound("model", name, "`primacy model list` shows what is here")
        damaged: set[str] = set()
        done = total = 0
        async for found in self._replication.store.verify(list(entries)):
            done, total = found.bytes_done, found.bytes_total
            damaged |= {digest for digest, _ in found.damaged}
            shown = [f"{entries[digest].key}/{entries[digest].version}/{path}" for digest, path in found.damaged]
            yield pb.VerifyModelsResponse(bytes_done=done, bytes_total=total, damaged=shown, done=False)
        for digest in sorted(damaged):
            await self._replication.publishing.mend(entries[digest])
        yield pb.VerifyModelsResponse(bytes_done=done, bytes_total=total, done=True)


def _bad_name(name: str) -> list[BadField]:
    return [] if is_model_name(name) else [BadField("name", MODEL_NAME_RULE)]

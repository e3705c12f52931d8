"""Models at one agent: which versions are installed, which one is current, what is kept and what goes.

A version is installed when all of it is here and verified; `current` then changes in one step, and the hook is told.
A crash in between does the same again, which changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from primacy_wire.log_messages import Entry, EntryKind

from primacy_agent.config import ReplicationConfig
from primacy_agent.programs import How, NotStarted, run
from primacy_agent.replication.configs import NotApplied
from primacy_agent.replication.journal import Journal
from primacy_agent.store import ContentStore, StoreError

logger = logging.getLogger(__name__)

OUTPUT_SHOWN = 300
"""Characters of what a failed hook printed last."""


class Models:
    """Only one `apply` runs at a time."""

    def __init__(
        self, store: ContentStore, journal: Journal, config: ReplicationConfig, group: str, region: str
    ) -> None:
        self._store = store
        self._journal = journal
        self._config = config
        self._environ = {"PRIMACY_GROUP": group, "PRIMACY_REGION": region}
        self._digests: dict[tuple[str, int], str] = {}
        """Of every version that is installed, as far as the journal knows it."""
        self._busy: dict[str, int] = {}
        """Digests of what is being published, fetched or installed."""
        self._collecting: asyncio.Task[int] | None = None

    async def start(self) -> None:
        """Put right what a stop in between left: what is in force shall be installed and current."""
        for entry in await self._journal.all_versions(EntryKind.MODEL):
            self._digests[entry.key, entry.version] = entry.digest
        await self.agree(self._journal.memory.current.values())

    async def agree(self, current: Iterable[Entry]) -> None:
        """Make `current` of each model what the log says, where all of it is here."""
        for entry in current:
            if entry.kind is not EntryKind.MODEL:
                continue
            try:
                if entry.removed:
                    await self._store.switch(entry.key, None)
                elif self._store.current(entry.key) != entry.version and self._store.is_complete(entry.digest):
                    await self._put_in_force(entry)
            except (StoreError, OSError) as error:
                logger.warning("a model is not what it should be", extra={"model": entry.key, "reason": str(error)})

    # ---- what is needed

    @contextmanager
    def holding(self, digest: str) -> Iterator[None]:
        """What is being worked on is not collected."""
        self._busy[digest] = self._busy.get(digest, 0) + 1
        try:
            yield
        finally:
            self._busy[digest] -= 1
            if not self._busy[digest]:
                del self._busy[digest]

    def needed(self, without: Collection[tuple[str, int]] = ()) -> set[str]:
        """Digests of what is installed, comes, or is being worked on. `without`: (name, version) that shall go."""
        kept = [name for name in self._store.installed() if name not in without]
        installed = {self._digests[name] for name in kept if name in self._digests}
        pending = {entry.digest for entry in self._journal.memory.pending.values() if entry.kind is EntryKind.MODEL}
        current = {entry.digest for entry in self._journal.memory.current.values() if entry.kind is EntryKind.MODEL}
        return (installed | pending | current | self._busy.keys()) - {""}

    def installed_as(self, digest: str) -> list[tuple[str, int]]:
        """(name, version) of what is installed with that content."""
        return [name for name in self._store.installed() if self._digests.get(name) == digest]

    def superfluous(self, name: str) -> list[int]:
        """Installed versions that go: neither current, nor pinned, nor among the newest that are kept."""
        versions = sorted((version for _, version in self._store.installed(name)), reverse=True)
        kept = {self._store.current(name), *versions[: self._config.keep_versions]}
        return [one for one in versions if one not in kept and (name, one) not in self._journal.pins]

    # ---- putting into force

    async def apply(self, entry: Entry) -> None:
        """Raises NotApplied."""
        try:
            if entry.removed:
                await self._store.switch(entry.key, None)
            else:
                with self.holding(entry.digest):
                    await self._put_in_force(entry)
        except (StoreError, OSError) as error:
            raise NotApplied(entry.sequence, str(error)) from error
        if self._config.on_apply:
            await self._tell(entry)

    async def trim(self) -> None:
        """Let go of what no version that is kept needs. What fails is said, and tried again after the next version."""
        try:
            for name in sorted({name for name, _ in self._store.installed()}):
                entry = self._journal.memory.current.get((EntryKind.MODEL, name))
                gone = entry is not None and entry.removed
                for version in self._all_unpinned(name) if gone else self.superfluous(name):
                    await self._store.uninstall(name, version)
            await self._store.collect(self.needed())
        except (StoreError, OSError) as error:
            logger.warning("old versions of models cannot be dropped", extra={"reason": str(error)})

    def _all_unpinned(self, name: str) -> list[int]:
        return [one for _, one in self._store.installed(name) if (name, one) not in self._journal.pins]

    async def _put_in_force(self, entry: Entry) -> None:
        await self.install(entry)
        await self._store.switch(entry.key, entry.version)

    async def install(self, entry: Entry) -> Path:
        path = await self._store.install(entry.key, entry.version, entry.digest)
        self._digests[entry.key, entry.version] = entry.digest
        return path

    async def _tell(self, entry: Entry) -> None:
        """Run the hook. Raises NotApplied when it fails."""
        environ = self._environ | {
            "PRIMACY_MODEL": entry.key,
            "PRIMACY_VERSION": "" if entry.removed else str(entry.version),
            "PRIMACY_DIGEST": entry.digest,
            "PRIMACY_PATH": "" if entry.removed else str(self._config.models_dir / entry.key / "current"),
        }
        argv = self._config.on_apply
        try:
            ended = await run(argv, self._config.apply_timeout.seconds, environ)
        except NotStarted as error:
            raise NotApplied(entry.sequence, f"on_apply: {error}") from error
        if ended.how is How.EXITED and ended.exit_code == 0:
            return
        how = f"exit code {ended.exit_code}" if ended.how is How.EXITED else ended.how.value
        said = ended.output.decode(errors="replace").strip()[-OUTPUT_SHOWN:]
        raise NotApplied(entry.sequence, f"on_apply {argv[0]}: {how}" + (f": {said}" if said else ""))


def versions_of(entries: Sequence[Entry], version: int) -> Entry | None:
    """The entry of that version."""
    return next((entry for entry in entries if entry.version == version and not entry.removed), None)

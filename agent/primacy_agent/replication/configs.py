"""Configuration documents at one agent: what is in force, what was written here and waits, and the files of both.

A document is the file of its key's name below the folder, replaced as a whole. Files are only a picture: what counts is
the journal, and a start makes them agree with it again. A write that waits to be submitted is in force here at once,
above what the log says, until it was answered for and the log has brought what became of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from primacy_wire.daemon import write_file
from primacy_wire.log_messages import Entry, EntryKind

from primacy_agent.replication.journal import Queued


class NotApplied(Exception):
    """The document cannot be put into force. What came before it in the batch is."""

    def __init__(self, sequence: int, reason: str) -> None:
        super().__init__(reason)
        self.sequence = sequence
        self.reason = reason


@dataclass(slots=True)
class _Above:
    """A write of this agent that is shown instead of what the log says."""

    entry: Entry
    until: int = 0
    """Its number, once it was answered for: the log brings it. 0: it waits."""


@dataclass(frozen=True, slots=True)
class Document:
    """One key as this agent has it."""

    entry: Entry
    queued: bool
    """It waits to be submitted, and has no number yet."""


class Configs:
    """Only one `apply` runs at a time."""

    def __init__(self, folder: Path, current: Iterable[Entry], queued: Sequence[Queued]) -> None:
        self._folder = folder
        self._applied = {entry.key: entry for entry in current if entry.kind is EntryKind.CONFIG}
        self._above: dict[str, _Above] = {}
        for write in queued:
            if write.entry.kind is EntryKind.CONFIG:
                self._above[write.entry.key] = _Above(write.entry)
        self._written: dict[str, str] = {}
        """key -> id of the entry that its file shows."""
        self._locks: dict[str, asyncio.Lock] = {}
        self._changed = asyncio.Event()
        """Set at the next change; every change brings a new one."""
        self.trouble = ""
        """Why a file is not what it should be."""

    async def start(self) -> None:
        """Make the files agree with what is in force."""
        for key in sorted(self._applied.keys() | self._above.keys()):
            await self._show_quietly(key)

    # ---- reading

    def get(self, key: str) -> Document | None:
        """What is in force here; None: nothing is, or it was removed."""
        found = self.newest(key)
        return None if found is None or found.entry.removed else found

    def newest(self, key: str) -> Document | None:
        """As `get`, with removals."""
        above = self._above.get(key)
        if above is not None:
            return Document(above.entry, queued=not above.until)
        entry = self._applied.get(key)
        return Document(entry, queued=False) if entry is not None else None

    def all_keys(self) -> list[str]:
        """Every key that ever was, sorted."""
        return sorted(self._applied.keys() | self._above.keys())

    def in_the_way(self, key: str) -> str:
        """A document in force here because of which there can be none of this key; empty: none."""
        return next(
            (
                other
                for other in self.all_keys()
                if (other.startswith(f"{key}/") or key.startswith(f"{other}/")) and self.get(other) is not None
            ),
            "",
        )

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yields at once, and then after every change."""
        while True:
            changed = self._changed
            yield
            await changed.wait()

    # ---- writing

    async def apply(self, entries: Sequence[Entry]) -> None:
        """Put these into force, in order. Raises NotApplied for the first that cannot be."""
        for entry in entries:
            before = self._applied.get(entry.key)
            above = self._above.get(entry.key)
            over = above is not None and 0 < above.until <= entry.sequence
            self._applied[entry.key] = entry
            if over:
                del self._above[entry.key]
            try:
                await self._show(entry.key)
            except OSError as error:
                self._restore(entry.key, before, above if over else None)
                raise NotApplied(entry.sequence, self._why(entry.key, error)) from error
        self._notify()

    def _restore(self, key: str, before: Entry | None, above: _Above | None) -> None:
        if before is None:
            del self._applied[key]
        else:
            self._applied[key] = before
        if above is not None:
            self._above[key] = above

    async def put_above(self, entry: Entry) -> None:
        """A write of this agent that waits: in force here at once. Raises OSError, and then it is not."""
        before = self._above.get(entry.key)
        self._above[entry.key] = _Above(entry)
        try:
            await self._show(entry.key)
        except OSError as error:
            if before is None:
                del self._above[entry.key]
            else:
                self._above[entry.key] = before
            raise OSError(self._why(entry.key, error)) from error
        self._notify()

    async def answered(self, entry: Entry, sequence: int) -> None:
        """The write was submitted: it is `sequence`, or 0 when it did not come to be in force."""
        above = self._above.get(entry.key)
        if above is None or above.entry.id != entry.id:
            return  # A later write of the same key is above it.
        applied = self._applied.get(entry.key)
        if sequence and (applied is None or applied.sequence < sequence):
            above.until = sequence
        else:
            del self._above[entry.key]
            await self._show_quietly(entry.key)
        self._notify()

    async def _show_quietly(self, key: str) -> None:
        try:
            await self._show(key)
        except OSError as error:
            self.trouble = self._why(key, error)
        else:
            self.trouble = ""

    async def _show(self, key: str) -> None:
        """Make the file what is in force now. Raises OSError."""
        async with self._locks.setdefault(key, asyncio.Lock()):
            found = self.newest(key)
            if found is None:
                # There was only a write of this agent, and it was refused.
                if self._written.pop(key, None) is not None:
                    await asyncio.to_thread(_write, self._folder, key, None)
                return
            if self._written.get(key) == found.entry.id:
                return
            await asyncio.to_thread(_write, self._folder, key, None if found.entry.removed else found.entry.content)
            self._written[key] = found.entry.id

    def _why(self, key: str, error: OSError) -> str:
        if isinstance(error, NotADirectoryError | IsADirectoryError | FileExistsError):
            return f"{self._folder / key} cannot be a file: a key is the beginning of another one"
        return f"{self._folder / key}: {error.strerror or error}"

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _write(folder: Path, key: str, content: bytes | None) -> None:
    path = folder / key
    if content is None:
        _remove(folder, path)
        return
    with suppress(OSError):
        if path.read_bytes() == content:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, content)
    path.chmod(0o644)


def _remove(folder: Path, path: Path) -> None:
    """The file, and the folders that it leaves empty."""
    with suppress(NotADirectoryError):
        path.unlink(missing_ok=True)
    for parent in path.parents:
        if parent == folder:
            return
        try:
            parent.rmdir()
        except OSError:
            return

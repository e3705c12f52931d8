"""Fencing for sinks: whatever the active region writes to refuses a writer that was active once.

A lease tells a service whether it may act now. It cannot reach into a write that is already on its way, or into a
process that was frozen for a minute and goes on in the middle of a line. What can is the sink: every write names the
epoch under which it was made, the sink remembers the highest one that it has seen, on disk, and refuses lower ones
(I4). After the first write of a new epoch, nothing of an older one gets in any more.

    fence = Fence("/var/lib/orders/fence")
    ...
    with fence.admitted(epoch_from(request.headers)):   # raises StaleEpoch, MissingEpoch
        orders.insert(...)

`primacy_agent.fencing_grpc` has interceptors for gRPC servers. docs/fencing.md has the rule for other languages, and
for databases, where the fence is a row of the same transaction.
"""

from __future__ import annotations

import fcntl
import os
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

HEADER = "Primacy-Epoch"
"""Names the epoch of an HTTP request that writes."""
METADATA = "primacy-epoch"
"""The same for gRPC."""
EPOCH_MAX = (1 << 63) - 1


class FencingError(Exception):
    """A write was not admitted.

    FencingError
    +-- MissingEpoch   it names no epoch, or none that could be
    +-- StaleEpoch     its epoch is over
    `-- FenceBroken    the fence cannot be read or written, so nothing may be admitted
    """


class MissingEpoch(FencingError):
    pass


class StaleEpoch(FencingError):
    def __init__(self, epoch: int, highest: int) -> None:
        super().__init__(f"epoch {epoch} is over: epoch {highest} has written here")
        self.epoch = epoch
        self.highest = highest


class FenceBroken(FencingError):
    pass


def epoch_from(headers: Mapping[str, str]) -> int:
    """The epoch that a request names, whatever the case of the header. Raises MissingEpoch."""
    for name, value in headers.items():
        if name.lower() == METADATA:
            return parse_epoch(value)
    raise MissingEpoch(f"the write names no epoch: set {HEADER} to what the agent's GetActive returns")


def parse_epoch(text: str | bytes) -> int:
    """Raises MissingEpoch for what is no epoch."""
    word = text.decode("ascii", "replace") if isinstance(text, bytes) else text
    if word.isascii() and word.isdecimal() and len(word) <= len(str(EPOCH_MAX)):
        epoch = int(word)
        if 1 <= epoch <= EPOCH_MAX:
            return epoch
    raise MissingEpoch(f"{word[:40]!r} is no epoch: a whole number from 1 is expected")


class Fence:
    """The highest epoch that one sink has seen, on disk. For all threads of a process, and for several processes."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """`path` is a file of its own, made when it is missing; its folder must exist. Raises FenceBroken."""
        self._path = Path(path)
        self._mutex = threading.Lock()
        self._highest = 0
        with self._mutex, self._locked() as file:
            self._highest = _read(file, self._path)

    @property
    def highest(self) -> int:
        """The highest epoch that this process knows of; 0: none yet."""
        return self._highest

    def admit(self, epoch: int) -> None:
        """Let a write of this epoch in, or raise StaleEpoch. A higher epoch than ever is on disk before this returns.

        A write that takes long is to be done inside `admitted`, so that no higher epoch is let in meanwhile.
        """
        with self.admitted(epoch):
            pass

    @contextmanager
    def admitted(self, epoch: int) -> Iterator[None]:
        """Let a write in that ends with this context: what is of a higher epoch waits until then.

        Raises StaleEpoch, MissingEpoch for no epoch at all, FenceBroken.
        """
        if not 1 <= epoch <= EPOCH_MAX:
            raise MissingEpoch(f"{epoch} is no epoch")
        with self._mutex, self._locked() as file:
            highest = max(self._highest, _read(file, self._path))
            self._highest = highest
            if epoch < highest:
                raise StaleEpoch(epoch, highest)
            if epoch > highest:
                _write(file, self._path, epoch)
                self._highest = epoch
            yield

    @contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise FenceBroken(f"{self._path} cannot be opened: {error.strerror}") from error
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # Let go of when the file is closed.
            yield file


DIGITS = 20


def _line(epoch: int) -> bytes:
    """One copy, with a checksum: half of a new line over half of an old one would be a number as well."""
    digits = b"%0*d" % (DIGITS, epoch)
    return b"%s %08x\n" % (digits, zlib.crc32(digits))


def _read(file: BinaryIO, path: Path) -> int:
    try:
        file.seek(0)
        text = file.read(4 * DIGITS)
    except OSError as error:
        raise FenceBroken(f"{path} cannot be read: {error.strerror}") from error
    if not text:
        return 0
    # Two copies, written one after the other: a crash spoils at most one of them.
    numbers = [int(line[:DIGITS]) for line in text.splitlines() if line[:DIGITS].isdigit()]
    found = [epoch for epoch in numbers if _line(epoch) in text]
    if not found:
        raise FenceBroken(f"{path} is damaged: it holds no epoch. Move it away when no writer of an old epoch is left")
    return max(found)


def _write(file: BinaryIO, path: Path, epoch: int) -> None:
    line = _line(epoch)
    try:
        for offset in (0, len(line)):
            os.pwrite(file.fileno(), line, offset)
            os.fdatasync(file.fileno())
    except OSError as error:
        raise FenceBroken(f"{path} cannot be written: {error.strerror}") from error

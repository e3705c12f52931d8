"""The state of a group's alerts, and what sinks were told of them, as one JSON text."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from primacy_coordinator.core.monitor.alerts.book import Book
from primacy_coordinator.core.monitor.alerts.facts import Told
from primacy_coordinator.core.monitor.alerts.sending import Word
from primacy_coordinator.store.codec import BadRecord

VERSION = 1


@dataclass(frozen=True, slots=True)
class Kept:
    """What outlives the process."""

    book: Book = Book()
    told: dict[str, dict[str, Word]] = field(default_factory=dict)
    """Sink -> alert -> what it was told last."""
    notices: tuple[Told, ...] = ()
    """What agents told, as old as it was when it was kept."""
    version: int = VERSION


_DECODER = msgspec.json.Decoder(Kept)


def encode_book(kept: Kept) -> str:
    return msgspec.json.encode(kept).decode()


def decode_book(text: str) -> Kept:
    """An empty text is an empty book. Raises BadRecord."""
    if not text:
        return Kept()
    try:
        kept = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"the state of alerts cannot be read: {error}") from error
    if kept.version != VERSION:
        raise BadRecord(f"the state of alerts is of version {kept.version}; this one knows {VERSION}")
    return kept

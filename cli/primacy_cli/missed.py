"""Events that happened between two looks, and of which the second one saw the newest only."""

from __future__ import annotations

from collections.abc import Sequence

from primacy.v1.event_pb2 import Event

from primacy_cli.words import plural


def missed_text(fresh: Sequence[Event], known: int) -> str:
    """What to say of those between `known`, the newest that was told, and `fresh`, the newest first. Empty: none.

    A journal numbers its events without gaps.
    """
    count = fresh[-1].sequence - known - 1 if fresh and known > 0 else 0
    return f"… {plural(count, 'event')} in between: `primacy events -n {count + len(fresh)}`" if count > 0 else ""

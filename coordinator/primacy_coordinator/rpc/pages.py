"""Pages of a list: opaque tokens that belong to one list and one way of asking for it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from primacy_coordinator.rpc.fields import Fields

T = TypeVar("T")

SIZE_DEFAULT = 100
SIZE_MAX = 1000


class Page:
    """Which part of a list a request asks for: at most `size` items that come behind `after`."""

    def __init__(self, fields: Fields, size: int, token: str, *query: str) -> None:
        """`query` is everything else that the list depends on. Complains to `fields`."""
        self._digest = hashlib.sha256("\0".join(query).encode()).hexdigest()[:16]
        if size < 0:
            fields.add("pageSize", "OUT_OF_RANGE", f"must be 1 to {SIZE_MAX}, or 0 for {SIZE_DEFAULT}")
        self.size = min(size, SIZE_MAX) if size > 0 else SIZE_DEFAULT
        self.after: str | None = None
        """The key of the last item of the page before; None: from the beginning."""
        if token:
            self.after = self._parse(token)
            if self.after is None:
                fields.add(
                    "pageToken", "TOKEN_INVALID", "must be a `nextPageToken` of this list, asked for in the same way"
                )

    def number(self, fields: Fields) -> int:
        """The key of the last item of the page before, for lists whose keys are numbers; 0: from the beginning."""
        if self.after is None:
            return 0
        found = int(self.after) if self.after.isascii() and self.after.isdigit() and len(self.after) < 20 else 0
        if not 0 < found < 1 << 63:
            fields.add("pageToken", "TOKEN_INVALID", "must be a `nextPageToken` of this list")
        return found

    def token(self, key: str) -> str:
        """The token of the page that follows the item with this key."""
        raw = json.dumps([self._digest, key], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    def cut(self, items: Sequence[T], key: Callable[[T], str]) -> tuple[Sequence[T], str]:
        """The page out of items sorted by ascending key, and the next page's token (empty: this is the last)."""
        rest = [item for item in items if self.after is None or key(item) > self.after]
        page = rest[: self.size]
        return page, self.token(key(page[-1])) if len(rest) > len(page) else ""

    def _parse(self, token: str) -> str | None:
        try:
            raw = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
            found = json.loads(raw)
        except (binascii.Error, ValueError):  # Also what is neither ASCII, nor UTF-8, nor JSON.
            return None
        match found:
            case [str(digest), str(key)] if digest == self._digest:
                return key
            case _:
                return None

"""What the agent has to tell the coordinator's journal, kept until a session takes it."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass

from primacy_wire.clock import read_now
from primacy_wire.messages import Notice

logger = logging.getLogger(__name__)

KEPT_MAX = 100
"""The oldest go first: they are in the agent's own log, too."""


@dataclass(frozen=True, slots=True)
class _Kept:
    name: str
    text: str
    warning: bool
    at_ns: int


class Notices:
    """A bounded queue."""

    def __init__(self, incarnation: str) -> None:
        self._incarnation = incarnation
        self._kept: deque[_Kept] = deque(maxlen=KEPT_MAX)

    def tell(self, name: str, text: str, warning: bool = False) -> None:
        """Log it, and keep it for the coordinator."""
        logger.log(logging.WARNING if warning else logging.INFO, text, extra={"event": name})
        self._kept.append(_Kept(name, text, warning, read_now().mono_ns))

    def take(self) -> list[Notice]:
        """All that waits, the oldest first; they are the caller's now."""
        now_ns = read_now().mono_ns
        found = [
            Notice(self._incarnation, one.name, one.text, one.warning, max(0, now_ns - one.at_ns)) for one in self._kept
        ]
        self._kept.clear()
        return found

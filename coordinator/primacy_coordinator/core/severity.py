"""How much an event, or an alert, matters. Numbers are those of `primacy.v1.Severity`."""

from __future__ import annotations

from enum import IntEnum


class Severity(IntEnum):
    INFO = 1
    """Nothing to do."""
    WARNING = 2
    """Look at it soon."""
    CRITICAL = 3
    """Look at it now."""

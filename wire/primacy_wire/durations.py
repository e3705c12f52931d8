"""Lengths of time as people write them."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from primacy_wire.instant import MILLISECOND_NS, SECOND_NS

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "ms": MILLISECOND_NS,
    "s": SECOND_NS,
    "m": 60 * SECOND_NS,
    "h": 3600 * SECOND_NS,
    "d": 86_400 * SECOND_NS,
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|ms|s|m|h|d)")
_ADVICE = 'must be seconds, or a text like "2.5s", "500ms", "1m30s"'
_NS_MAX = 10_000 * 365 * 86_400 * SECOND_NS
"""As long as a protobuf Duration may be."""


class Duration(int):
    """A length of time in nanoseconds, 0 or more. In a settings file: seconds as a number, or `"500ms"`."""

    __slots__ = ()

    @classmethod
    def of(cls, value: object) -> Duration:
        """Read seconds (int or float) or a text. Raises ValueError that says what is allowed."""
        if isinstance(value, Duration):
            return value
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(_ADVICE)
        nanoseconds = _from_text(value) if isinstance(value, str) else _from_seconds(value)
        if not 0 <= nanoseconds <= _NS_MAX:
            raise ValueError(f"{_ADVICE}, 0 or more")
        return cls(nanoseconds)

    @property
    def seconds(self) -> float:
        return self / SECOND_NS

    def __str__(self) -> str:
        return seconds_text(self)

    def __repr__(self) -> str:
        return f"Duration({seconds_text(self)})"


def seconds_text(nanoseconds: int) -> str:
    """`2.5s`, as proto3 JSON has it, without needless zeros."""
    sign = "-" if nanoseconds < 0 else ""
    whole, rest = divmod(abs(nanoseconds), SECOND_NS)
    fraction = f".{rest:09}".rstrip("0") if rest else ""
    return f"{sign}{whole}{fraction}s"


def _from_seconds(value: float) -> int:
    if not math.isfinite(value):
        raise ValueError(_ADVICE)
    return round(Decimal(str(value)) * SECOND_NS)


def _from_text(text: str) -> int:
    total, end = Decimal(0), 0
    for part in _PART.finditer(text):
        if part.start() != end:
            break
        total += Decimal(part[1]) * _UNITS_NS[part[2]]
        end = part.end()
    if not text or end != len(text):
        raise ValueError(_ADVICE)
    return round(total)

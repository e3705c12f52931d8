"""Values of the contract as short words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from primacy_wire.instant import SECOND_NS

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp


def word(enum: Any, number: int) -> str:
    """`HEALTHY` for `REGION_STATUS_HEALTHY`; empty when not specified; the number when it is from a later one."""
    if number == 0:
        return ""
    prefix = enum.Name(0).removesuffix("UNSPECIFIED")
    try:
        return str(enum.Name(number)).removeprefix(prefix)
    except ValueError:
        return str(number)


def length(duration: Duration) -> str:
    return span(duration.ToNanoseconds())


def span(nanoseconds: int) -> str:
    """A length of time with about three digits: `850 µs`, `12 ms`, `2.5 s`, `3 min 20 s`, `2 h 5 min`, `15 min`."""
    seconds = abs(nanoseconds) / SECOND_NS
    # What would round up to the next unit is said in that one: no `1e+03 ms`.
    if seconds < 0.0009995:
        return f"{seconds * 1e6:.0f} µs" if seconds else "0 s"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 59.95:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return _two(minutes, "min", rest, "s")
    hours, minutes = divmod(minutes, 60)
    return _two(hours, "h", minutes, "min") if hours < 48 else _two(hours // 24, "d", hours % 24, "h")


def _two(many: int, unit: str, rest: int, smaller: str) -> str:
    return f"{many} {unit} {rest} {smaller}" if rest else f"{many} {unit}"


def clock(timestamp: Timestamp) -> str:
    """Local time of day with milliseconds, and the date unless it is today."""
    from datetime import UTC, datetime

    there = timestamp.ToDatetime(tzinfo=UTC).astimezone()
    today = datetime.now(UTC).astimezone().date()
    text = there.strftime("%H:%M:%S.") + f"{there.microsecond // 1000:03}"
    return text if there.date() == today else there.strftime("%Y-%m-%d ") + text


def share(value: float) -> str:
    """`33 %`; `-` for nothing."""
    if value == 0:
        return "-"
    return "<1 %" if value < 0.005 else f"{value * 100:.0f} %"


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def size(count: int) -> str:
    """Bytes with about three digits: `512 bytes`, `4.1 kB`, `2.5 GB`."""
    if count < 1000:
        return plural(count, "byte")
    value = float(count)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.5:  # What would round up to 1,000 is said in the next unit.
            return f"{value:.3g} {unit}"
    return f"{number(value / 1000)} TB"


def plural(count: int, noun: str) -> str:
    many = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    return f"{count} {noun}" if count == 1 else f"{count} {many}"

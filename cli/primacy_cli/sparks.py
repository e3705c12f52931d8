"""Figures of many kinds as few characters, and many of them as one line."""

from __future__ import annotations

from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60


def figure(value: float, unit: str) -> str:
    """A value with its unit, with about three digits."""
    from primacy_cli.words import number, size, span

    if unit == "seconds":
        return ("-" if value < 0 else "") + span(round(value * 1e9))
    if unit == "share":
        return percent(value)
    if unit == "bytes":
        return size(round(value))
    return f"{number(value)}/s" if unit == "per second" else number(value)


def percent(value: float) -> str:
    """A share so that what is lacking to the whole can be seen: `99.95 %`, `0.02 %`, `40 %`."""
    points = value * 100
    lacking = min(abs(points), abs(100 - points))
    digits = 0 if lacking == 0 or lacking >= 10 else 1 if lacking >= 1 else 2 if lacking >= 0.01 else 4
    text = f"{points:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + " %"


def spark(points: Sequence[tuple[int, float]], first: int, last: int, step: int) -> str:
    """The points from `first` to `last` (seconds) as bars; the mean where several fall into one, a blank where none.

    The lowest bar is the lowest value, or 0 where that is not far.
    """
    width = max(1, min(WIDTH, (last - first) // step))
    columns: list[list[float]] = [[] for _ in range(width)]
    for at, value in points:
        place = (at - first - 1) * width // max(1, last - first)
        columns[min(width - 1, max(0, place))].append(value)
    means = [sum(column) / len(column) if column else None for column in columns]
    known = [mean for mean in means if mean is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    if 0 < low < high / 2:
        low = 0.0
    return "".join(" " if mean is None else _bar(mean, low, high) for mean in means)


def _bar(value: float, low: float, high: float) -> str:
    if high <= low:
        return BARS[0] if high == 0 else BARS[3]
    return BARS[min(len(BARS) - 1, int((value - low) / (high - low) * len(BARS)))]

"""Lengths of time as options: `60s`, `500ms`, `2m`, or a number of seconds."""

from __future__ import annotations

from typing import Any

import click


class Span(click.ParamType[float]):
    """Seconds, as float."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from primacy_wire.durations import Duration

        text = str(value)
        try:
            return float(Duration.of(float(text) if text.replace(".", "", 1).isdigit() else text).seconds)
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is no time such as 30s, 500ms or 10m", param, ctx)

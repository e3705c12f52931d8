"""Texts with gaps: `{region} answers {value}`. Nothing but the known names can stand in the braces."""

from __future__ import annotations

import re
from collections.abc import Mapping

PLACEHOLDERS = ("region", "value", "threshold", "group", "series")
_GAP = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def faults(text: str) -> str:
    """What is wrong with a template, or nothing."""
    for found in _GAP.finditer(text):
        name = found[1]
        if found[0] in ("{{", "}}"):
            continue
        if name is None:
            return f"has a lone {found[0]!r}: write it twice to mean the brace itself"
        if name not in PLACEHOLDERS:
            known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
            return f"has an unknown placeholder {{{name}}}: known are {known}"
    return ""


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with its gaps filled, each once: what a value says is never read as a template."""

    def put(found: re.Match[str]) -> str:
        if found[0] in ("{{", "}}"):
            return found[0][0]
        return values.get(found[1] or "", found[0])

    return _GAP.sub(put, text)


def figure(value: float | None) -> str:
    """A figure with about four digits; empty for none."""
    return "" if value is None else f"{value:.4g}"

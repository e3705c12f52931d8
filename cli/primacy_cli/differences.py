"""What changed between two documents: lines for people, coloured on a terminal, and places for programs."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterator
from typing import Any

import click

COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def diff_lines(before: bytes, after: bytes, first: str, second: str) -> Iterator[str]:
    """A unified diff, without line ends. Nothing when both say the same, byte by byte."""
    return difflib.unified_diff(
        before.decode(errors="replace").splitlines(),
        after.decode(errors="replace").splitlines(),
        first,
        second,
        lineterm="",
    )


def print_diff(before: bytes, after: bytes, first: str, second: str, aside: bool = False) -> None:
    """`aside`: on standard error, where it is no part of the answer."""
    shown = list(diff_lines(before, after, first, second))
    if not shown:
        click.echo(f"{first} and {second} say the same", err=True)
    coloured = (sys.stderr if aside else sys.stdout).isatty()
    for line in shown:
        colour = COLOURS.get(line[:1]) if coloured and not line.startswith(("+++", "---")) else None
        click.echo(click.style(line, fg=colour) if colour else line, err=aside)


def places(before: bytes, after: bytes, forms: tuple[str, str]) -> list[dict[str, Any]] | None:
    """Every field that differs, by JSON pointer; a side that has it not has no such key. None: not documents."""
    from primacy_wire.merging import ABSENT, differences

    first, second = parsed(before, forms[0]), parsed(after, forms[1])
    if first is None or second is None:
        return None
    found = []
    for each in differences(first[0], second[0]):
        sides = {"before": each.before, "after": each.after}
        there = {side: value for side, value in sides.items() if value is not ABSENT}
        found.append({"pointer": each.pointer, **there})
    return found


def parsed(content: bytes, form: str) -> tuple[Any] | None:
    """What the document says; None: it is none."""
    from primacy_wire.documents import BadDocument, read

    try:
        return (read(content, form or "yaml"),)
    except BadDocument:
        return None


def value_text(value: Any, length_max: int = 0) -> str:
    """A value as compact JSON, cut when it is longer than `length_max` (0: never)."""
    text = json.dumps(value, ensure_ascii=False)
    return f"{text[: length_max - 1]}…" if length_max and len(text) > length_max else text

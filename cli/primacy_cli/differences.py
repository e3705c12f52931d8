"""What changed between two texts, coloured on a terminal."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator

import click

COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def diff_lines(before: bytes, after: bytes, first: str, second: str) -> Iterator[str]:
    """A unified diff, without line ends."""
    return difflib.unified_diff(
        before.decode(errors="replace").splitlines(),
        after.decode(errors="replace").splitlines(),
        first,
        second,
        lineterm="",
    )


def print_diff(before: bytes, after: bytes, first: str, second: str) -> None:
    shown = list(diff_lines(before, after, first, second))
    if not shown:
        click.echo(f"{first} and {second} say the same")
    for line in shown:
        colour = COLOURS.get(line[:1]) if sys.stdout.isatty() and not line.startswith(("+++", "---")) else None
        click.echo(click.style(line, fg=colour) if colour else line)

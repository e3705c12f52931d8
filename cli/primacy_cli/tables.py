"""Tables for people: coloured on a terminal, plain columns elsewhere.

Text from a server is never read as markup, and its control characters never reach the terminal: it may come from a
probe's output, and could hide what is wrong.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

Renderable: TypeAlias = RenderableType
Cell: TypeAlias = "str | Text"

_PLAIN_COLUMNS = 1_000
"""Wide enough that nothing is folded where no terminal says how wide it is."""


def table(heads: Sequence[str], rows: Iterable[Sequence[Cell]], right: Sequence[str] = ()) -> Table:
    """A table without lines; columns named in `right` are right-aligned, the last may fold."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head in heads:
        made.add_column(head, justify="right" if head in right else "left", no_wrap=head != heads[-1])
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return made


def facts(rows: Iterable[tuple[str, Cell]]) -> Table:
    """Names and values; those without a value are left out."""
    made = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    made.add_column(style="bold", no_wrap=True)
    made.add_column()
    for name, value in rows:
        if value:
            made.add_row(name, value if isinstance(value, Text) else Text(value))
    return made


def lines(texts: Iterable[Cell]) -> Group:
    return Group(*(text if isinstance(text, Text) else Text(text) for text in texts))


def stack(*parts: Renderable | None) -> Group:
    """Parts below each other, an empty line between them."""
    shown: list[Renderable] = []
    for part in parts:
        if part is None:
            continue
        if shown:
            shown.append(Text(""))
        shown.append(Text(part) if isinstance(part, str) else part)
    return Group(*shown)


CONTROLS = dict.fromkeys([*range(10), *range(11, 32), *range(127, 160)])
"""All but the end of a line."""


def safe_text(text: str) -> str:
    return text.translate(CONTROLS)


class Safe:
    """Content as it may be shown."""

    def __init__(self, content: Renderable) -> None:
        self._content = Text(content) if isinstance(content, str) else content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._content, options):
            yield segment if segment.control else Segment(safe_text(segment.text), segment.style)


def is_screen() -> bool:
    """Whether stdout is a terminal on which something can be drawn again: on a dumb one nothing would show."""
    return sys.stdout.isatty() and not Console().is_dumb_terminal


def print_tables(content: Renderable) -> None:
    if sys.stdout.isatty():
        Console(highlight=False).print(Safe(content))
        return
    buffer = io.StringIO()
    Console(file=buffer, width=_PLAIN_COLUMNS, color_system=None, highlight=False).print(Safe(content))
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines()))

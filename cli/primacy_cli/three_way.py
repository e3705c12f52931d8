"""Three versions of a document side by side: what both knew, what is in force, and what came second."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from primacy.v1 import replication_pb2
from primacy_wire.merging import ABSENT, escaped, same
from rich.text import Text

from primacy_cli.differences import diff_lines, parsed, value_text
from primacy_cli.tables import Renderable, lines, stack, table

CELL_LENGTH_MAX = 48
"""So much of a value is shown, unless all of it is asked for."""
STYLES = {"current": "green", "incoming": "cyan", "both": "bold red"}
LINE_STYLES = {"+": "green", "-": "red", "@": "cyan"}


@dataclass(frozen=True, slots=True)
class Field:
    """One place where the three are not the same."""

    pointer: str
    base: Any
    current: Any
    incoming: Any

    @property
    def changed_by(self) -> str:
        """`current`, `incoming`, `alike` (the same change twice), or `both`."""
        if same(self.current, self.incoming):
            return "alike"
        if same(self.base, self.current):
            return "incoming"
        return "current" if same(self.base, self.incoming) else "both"


def fields(base: Any, current: Any, incoming: Any, at: str = "") -> Iterator[Field]:
    """Every such place, as a merge sees them: objects field by field, lists and single values whole."""
    if same(base, current) and same(base, incoming):
        return
    made_alike = not isinstance(base, dict) and same(current, incoming)
    if isinstance(current, dict) and isinstance(incoming, dict) and not made_alike:
        known = base if isinstance(base, dict) else {}
        for key in dict.fromkeys([*known, *current, *incoming]):
            yield from fields(
                known.get(key, ABSENT), current.get(key, ABSENT), incoming.get(key, ABSENT), f"{at}/{escaped(key)}"
            )
        return
    yield Field(at, base, current, incoming)


def three_way(conflict: replication_pb2.Conflict, whole: bool) -> Renderable:
    """A table of fields where all are documents, else what each side did to the text. `whole`: cut nothing."""
    sides = [_said(conflict, name) for name in ("base", "current", "incoming")]
    if any(side is None for side in sides):
        return texts(conflict)
    rows = []
    for field in fields(*(side[0] for side in sides if side is not None)):
        style = STYLES.get(field.changed_by, "")
        rows.append(
            (
                field.pointer or "(all of it)",
                _cell(field.base, "", whole),
                _cell(field.current, style if field.changed_by in ("current", "both") else "", whole),
                _cell(field.incoming, style if field.changed_by in ("incoming", "both") else "", whole),
                Text(field.changed_by, style=style),
            )
        )
    if not rows:
        return "All three say the same."
    return table(("FIELD", "BASE", "CURRENT", "INCOMING", "CHANGED BY"), rows)


def _said(conflict: replication_pb2.Conflict, name: str) -> tuple[Any] | None:
    """What that version says; ABSENT: there is none, or it removes the key. None: it cannot be read."""
    entry = getattr(conflict, name)
    if not conflict.HasField(name) or entry.removed:  # type: ignore[arg-type]
        return (ABSENT,)
    return parsed(entry.content, entry.format)


def _cell(value: Any, style: str, whole: bool) -> Text:
    if value is ABSENT:
        return Text("-", style=style)
    return Text(value_text(value, 0 if whole else CELL_LENGTH_MAX), style=style)


def texts(conflict: replication_pb2.Conflict) -> Renderable:
    """What each side did to the base, as unified diffs below each other; where there is no base, one to the other."""
    pairs = [("base", "current"), ("base", "incoming")] if conflict.HasField("base") else [("current", "incoming")]
    return stack(*(_unified(conflict, first, second) for first, second in pairs))


def _unified(conflict: replication_pb2.Conflict, first: str, second: str) -> Renderable:
    before, after = getattr(conflict, first), getattr(conflict, second)
    shown = list(diff_lines(before.content, after.content, first, second))
    if after.removed:
        shown = [f"{second} removes {conflict.key}", *shown]
    if not shown:
        return f"{first} and {second} say the same."
    return lines(
        Text(line, style="" if line.startswith(("+++", "---")) else LINE_STYLES.get(line[:1], "")) for line in shown
    )

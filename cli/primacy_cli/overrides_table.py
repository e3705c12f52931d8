"""Overrides as a table, each with what is left of it."""

from __future__ import annotations

from collections.abc import Iterable

from primacy.v1 import override_pb2
from rich.text import Text

from primacy_cli.tables import Renderable, table
from primacy_cli.words import clock, share, span, word

WARNING_NS = 300_000_000_000
"""From here on the countdown stands out."""


def overrides_table(overrides: Iterable[override_pb2.Override], age_ns: int = 0, wide: bool = False) -> Renderable:
    """`age_ns`: how long ago this was so; countdowns go on meanwhile."""
    heads = ["OVERRIDE", "REGION", "ENDS IN", "OWNER"]
    if wide:
        heads += ["SET", "UNTIL"]
    rows = []
    for override in overrides:
        row: list[str | Text] = [
            word(override_pb2.OverrideKind, override.kind).lower(),
            override.region or "all",
            countdown(override, age_ns),
            override.owner,
        ]
        if wide:
            row += [clock(override.start_time), clock(override.expire_time)]
        note = override_note(override)
        rows.append([*row, f"{override.reason} ({note})" if note else override.reason])
    return table([*heads, "WHY"], rows, right=("ENDS IN",))


def countdown(override: override_pb2.Override, age_ns: int = 0) -> Text:
    left_ns = max(0, override.remaining.ToNanoseconds() - age_ns)
    # Whole seconds: a countdown that is drawn again and again should not flicker.
    text = span(left_ns // 1_000_000_000 * 1_000_000_000)
    return Text(text, style="yellow" if left_ns < WARNING_NS else "")


def override_note(override: override_pb2.Override) -> str:
    """How far it has come, and what it sets."""
    notes = []
    state = word(override_pb2.DrainState, override.drain_state)
    if state not in ("", "NONE"):
        notes.append(state.lower())
    if override.failover_id and state == "DRAINING":
        notes.append(f"the lease goes first, see `primacy history {override.failover_id}`")
    if override.traffic_only:
        notes.append("traffic only: the lease stays")
    if override.weights:
        pinned = sorted(override.weights.items(), key=lambda item: (-item[1], item[0]))
        notes.append(", ".join(f"{region} {share(value)}" for region, value in pinned))
    return "; ".join(notes)

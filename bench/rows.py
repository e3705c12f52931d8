"""What a benchmark found, as rows of one table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `budget` bounds `ratio` when there is a reference, else `value`. None: none."""

    name: str
    value: float
    unit: str
    reference: str = ""
    """What stands beside it in the same run: a floor or a peer."""
    reference_value: float | None = None
    budget: float | None = None
    at_least: bool = False
    """The budget is a lower bound."""

    @property
    def ratio(self) -> float | None:
        return self.value / self.reference_value if self.reference_value else None

    @property
    def holds(self) -> bool | None:
        if self.budget is None:
            return None
        measured = self.value if self.ratio is None else self.ratio
        return measured >= self.budget if self.at_least else measured <= self.budget


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed. Raises IndexError on an empty list."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def write(rows: Iterable[Row], path: Path) -> None:
    """The rows as JSON, for programs."""
    found = [{**asdict(row), "ratio": row.ratio, "holds": row.holds} for row in rows]
    for entry in found:
        del entry["at_least"]
    path.write_text(json.dumps(found, indent=2) + "\n")


def table(rows: Sequence[Row]) -> str:
    """The rows as text, for people."""
    lines = [("what", "value", "against", "ratio", "budget", "")]
    for row in rows:
        against = (
            f"{row.reference} {_number(row.reference_value)}" if row.reference_value is not None else row.reference
        )
        bound = "" if row.budget is None else f"{'>=' if row.at_least else '<='} {_number(row.budget)}"
        verdict = {None: "", True: "holds", False: "MISSED"}[row.holds]
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        lines.append((row.name, f"{_number(row.value)} {row.unit}", against, ratio, bound, verdict))
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"

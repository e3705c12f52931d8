"""What became of the demonstration's requests: written by its sender, read by the screen of `primacy up`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from primacy_wire.daemon import write_file

COUNTS_FILE = "counts.json"


@dataclass(slots=True)
class RegionCounts:
    """Of the requests that the clients of one region sent."""

    reads: int = 0
    """Answered, at the first try or the second."""
    retried: int = 0
    """Answered elsewhere, after the first region had failed."""
    failed: int = 0
    """Answered by nobody."""
    writes: int = 0
    """Kept."""
    refused: int = 0
    """Writes that were not: no region is active just now, or the fence knows a newer epoch."""
    skipped: int = 0
    """Never sent, since too many were under way."""
    rate: float = 0.0
    """Requests per second, over the last second."""
    trouble: str = ""
    """Why none can be sent now."""


@dataclass(slots=True)
class Counts:
    regions: dict[str, RegionCounts] = field(default_factory=dict)
    """By client region."""

    def write(self, folder: Path) -> None:
        """Raises OSError."""
        content = {name: asdict(counts) for name, counts in self.regions.items()}
        write_file(folder / COUNTS_FILE, json.dumps(content).encode())


def read_counts(folder: Path) -> Counts | None:
    """What was written last; None when there is nothing that can be read."""
    try:
        found = json.loads((folder / COUNTS_FILE).read_bytes())
        return Counts({name: RegionCounts(**counts) for name, counts in found.items()})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def counts_text(counts: Counts) -> str:
    """For one line of a screen: what is sent from where, and what went wrong so far."""
    regions = counts.regions.values()
    sent = ", ".join(f"{name} {one.rate:.0f}/s" for name, one in counts.regions.items())
    parts = [f"{sum(one.rate for one in regions):.0f} requests/s ({sent})"]
    notes = (
        (sum(one.retried for one in regions), "reads answered elsewhere"),
        (sum(one.failed for one in regions), "reads failed"),
        (sum(one.writes for one in regions), "writes kept"),
        (sum(one.refused for one in regions), "writes refused"),
        (sum(one.skipped for one in regions), "not sent"),
    )
    parts += [f"{count:,} {what}" for count, what in notes if count]
    parts += [f"{name}: {one.trouble}" for name, one in counts.regions.items() if one.trouble]
    return ", ".join(parts)

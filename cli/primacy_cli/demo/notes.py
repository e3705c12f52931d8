"""Lines of text that only the active region may add: what stands for a service's own data.

The fence is asked before each line is kept, so that a writer that was active once and does not know better gets nothing
in (I4), however late it comes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from primacy_agent.fencing import Fence, epoch_from

NOTES_FILE, FENCE_FILE = "notes.jsonl", "fence"


class Notes:
    """A file of lines, and the fence before it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NOTES_FILE
        self._fence = Fence(folder / FENCE_FILE)

    def add(self, text: str, headers: Mapping[str, str]) -> int:
        """The epoch that it was kept under. Raises FencingError, OSError."""
        epoch = epoch_from(headers)
        with self._fence.admitted(epoch), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": epoch, "text": text.strip()}) + "\n")
        return epoch

    def all(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        return [json.loads(line) for line in self._path.read_text(encoding="utf-8").splitlines()]

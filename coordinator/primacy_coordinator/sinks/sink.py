"""What every sink is, as the rest of the coordinator sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from primacy_coordinator.core.monitor.alerts.alert import Alert
from primacy_coordinator.core.monitor.alerts.sending import Word

Changed = Callable[[str], None]
"""Called with the name of a group of which a sink was told something: what it was told must be kept."""


@dataclass(slots=True)
class Figures:
    """What a sink did so far."""

    sent: int = 0
    """Messages that were taken."""
    failed: int = 0
    """Tries that failed."""
    trouble: str = ""
    """Why the last try failed; empty: it did not."""


class Sink(Protocol):
    """One way out. Everything happens on the event loop's thread; nothing here waits or raises, but `test` and `close`.

    `put` gives it the alerts of a group as they are now; it works off the difference in its own time.
    """

    name: str
    address: str
    """For people: without passwords."""
    figures: Figures

    @property
    def waiting(self) -> int:
        """Alerts that it has yet to be told of."""
        ...

    def start(self) -> None: ...

    def put(self, group: str, alerts: tuple[Alert, ...]) -> None: ...

    def forget(self, group: str) -> None:
        """The group is deleted."""
        ...

    def told(self, group: str) -> Mapping[str, Word]:
        """What it was told of the group, to be kept over a restart."""
        ...

    def restore(self, group: str, told: Mapping[str, Word]) -> None:
        """What an earlier life of this process told it. Before the first `put` of the group."""
        ...

    async def test(self, group: str) -> str:
        """Sends a test alert now. Why that failed; empty: it was taken."""
        ...

    async def close(self) -> None: ...

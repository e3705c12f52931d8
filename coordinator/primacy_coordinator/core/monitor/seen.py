"""What monitoring looks at: a copy of the group at one instant, without what is dear to copy."""

from __future__ import annotations

from dataclasses import dataclass

from primacy_coordinator.core.monitor.tiers import Measured
from primacy_coordinator.core.views import GroupView


@dataclass(frozen=True, slots=True)
class Seen:
    """One group at one instant."""

    view: GroupView
    """Without sights, and without the causes of weights."""
    measured: tuple[Measured, ...]
    """What agents measured and said since the last look."""
    round_trips: tuple[tuple[str, str, int], ...]
    """(from region, to region, ns) of the regions whose turn it is (see `Share`)."""
    routed: tuple[tuple[str, str, int], ...] | None
    """(client region, target region, requests so far), over all agents; None: it was not their turn."""


@dataclass(frozen=True, slots=True)
class Share:
    """Whose turn it is: what is between regions grows with the square of their number, so that in a large group a part
    of it is looked at in each second.
    """

    number: int
    """From 0, grows with every look."""
    parts: int = 1
    """In so many looks everything has had its turn."""

    def has(self, at: int) -> bool:
        """Whether it is the turn of the region at this place."""
        return at % self.parts == self.number % self.parts

    @property
    def first(self) -> bool:
        """Whether it is the turn of what cannot be shared out."""
        return self.number % self.parts == 0


SMALL = 12
"""Regions up to which everything is looked at every second."""
PARTS = 10


def share_of(number: int, regions: int) -> Share:
    """The share of the look with this number."""
    return Share(number, 1 if regions <= SMALL else PARTS)

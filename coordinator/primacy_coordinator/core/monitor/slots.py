"""A number for each series, and no more of them than there is room for.

What is built in always has its place. The operators' own names have one each, up to a bound for every region, so that
an agent that invents names costs its own region some of them, and nobody else anything. Who was left out is counted.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from primacy_wire.sketch import SERIES_MAX

from primacy_coordinator.core.monitor.series import BUILT_IN, Key

OWN_MAX = SERIES_MAX
"""The operators' own series of one region."""
SLOTS_MAX = 65_536
"""Of a group: 100 regions with all that is between them, and all their own series."""
IDLE_S = 600
"""A series that was not heard for so long makes room for a new one."""
TOLD_S = 300
"""Who was left out within so long is told."""


@dataclass(frozen=True, slots=True)
class Explosion:
    """Somebody measures more series than there is room for."""

    region: str
    agent: str
    """`REGION/AGENT`."""
    values: int
    """That were left out since the coordinator started."""
    series: str
    """One of those that were left out; empty: the agent left them out itself."""


class Slots:
    def __init__(self) -> None:
        self.keys: list[Key | None] = []
        self.born = array("q")
        """Second at which the slot was given to its key: what a row says of it before then is another's."""
        self.heard = array("q")
        """Second of the newest value."""
        self.dropped = 0
        """Values that were left out."""
        self._slots: dict[Key, int] = {}
        self._named: dict[str, dict[Key, int]] = {}
        self._free: list[int] = []
        self._fresh: set[int] = set()
        self._own: dict[str, dict[Key, int]] = {}
        """Region -> its own series."""
        self._full_until: dict[str, int] = {}
        """Region -> second before which none of its own series can be idle."""
        self._left_out: dict[tuple[str, str], tuple[int, int, str]] = {}
        """(region, agent) -> (values, second of the newest, one of the series)."""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def count(self) -> int:
        """Series that have a slot."""
        return len(self._slots)

    def find(self, key: Key) -> int | None:
        return self._slots.get(key)

    def named(self, name: str) -> Iterator[tuple[Key, int]]:
        """All series of that name."""
        return iter(self._named.get(name, {}).items())

    def names(self) -> Iterable[str]:
        return self._named

    def regions(self, *names: str) -> tuple[str, ...]:
        """Those that have any series of these names, sorted; also such as are in the group no more."""
        return tuple(sorted({key.region for name in names for key in self._named.get(name, ())}))

    def give(self, key: Key, second: int) -> int | None:
        """The slot of a series, a new one if need be. None: there is no room."""
        slot = self._slots.get(key)
        if slot is not None:
            self.heard[slot] = max(self.heard[slot], second)
            return slot
        own = key.name not in BUILT_IN
        if own and not self._make_room(key.region, second):
            return None
        if self._free:
            slot = self._free.pop()
            self.keys[slot], self.born[slot], self.heard[slot] = key, second, second
        elif len(self.keys) < SLOTS_MAX:
            slot = len(self.keys)
            self.keys.append(key)
            self.born.append(second)
            self.heard.append(second)
        else:
            return None
        self._slots[key] = slot
        self._named.setdefault(key.name, {})[key] = slot
        self._fresh.add(slot)
        if own:
            self._own.setdefault(key.region, {})[key] = slot
        return slot

    def is_fresh(self, slot: int) -> bool:
        """Whether it was given to its series just now: what is being collected under it is another's. Asked once."""
        if slot not in self._fresh:
            return False
        self._fresh.discard(slot)
        return True

    def leave_out(self, region: str, agent: str, values: int, second: int, series: str = "") -> None:
        """Count values that found no room."""
        self.dropped += values
        before, _, name = self._left_out.get((region, agent), (0, 0, ""))
        self._left_out[region, agent] = before + values, second, series or name

    def explosions(self, second: int) -> tuple[Explosion, ...]:
        """Who measured too many series lately, by region and agent."""
        return tuple(
            Explosion(region, agent, values, series)
            for (region, agent), (values, newest, series) in sorted(self._left_out.items())
            if second - newest < TOLD_S
        )

    def sweep(self, before: int, since: Callable[[Key], int]) -> None:
        """Forget series that were not heard `since` a second, and who was left out `before` one."""
        for key, slot in list(self._slots.items()):
            if self.heard[slot] < since(key):
                self._drop(key, slot)
        self._left_out = {who: what for who, what in self._left_out.items() if what[1] >= before}

    def rewind(self, second: int) -> None:
        """The clock was set back: nothing was heard, or born, later than this."""
        for slot, heard in enumerate(self.heard):
            self.heard[slot] = min(heard, second)
            self.born[slot] = min(self.born[slot], second)
        self._full_until.clear()
        self._left_out = {who: (n, min(at, second), name) for who, (n, at, name) in self._left_out.items()}

    def _make_room(self, region: str, second: int) -> bool:
        own = self._own.get(region)
        if own is None or len(own) < OWN_MAX:
            return True
        if second < self._full_until.get(region, 0):
            return False
        key, slot = min(own.items(), key=lambda one: (self.heard[one[1]], one[0]))
        if second - self.heard[slot] < IDLE_S:
            self._full_until[region] = self.heard[slot] + IDLE_S
            return False
        self._drop(key, slot)
        return True

    def _drop(self, key: Key, slot: int) -> None:
        del self._slots[key]
        named = self._named[key.name]
        del named[key]
        if not named:
            del self._named[key.name]
        own = self._own.get(key.region)
        if own is not None:
            own.pop(key, None)
            if not own:
                del self._own[key.region]
        self.keys[slot] = None
        self._free.append(slot)

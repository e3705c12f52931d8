"""The newest snapshot of every agent and region, whoever brought it: latest wins.

The coordinator sends one merged snapshot for each region (`agent` is empty); other agents hand on their own and those
that they have. So every agent can tell how the whole group is, also while no coordinator is heard.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from primacy_wire.instant import SECOND_NS
from primacy_wire.log_messages import MetricsSnapshot
from primacy_wire.sketch import merged

FORGOTTEN_NS = 3600 * SECOND_NS
"""What was not renewed for so long is dropped."""
SNAPSHOTS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Kept:
    snapshot: MetricsSnapshot
    came_ns: int
    """When it came here, by this machine's clock."""


class GroupMetricsView:
    """What is known of the group."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Kept] = {}

    def take(self, snapshots: Iterable[MetricsSnapshot], now_ns: int) -> list[MetricsSnapshot]:
        """Keep what is newer than what is here, and return it."""
        news = []
        for snapshot in snapshots:
            key = snapshot.region, snapshot.agent
            before = self._kept.get(key)
            if before is not None and not _is_newer(snapshot, before.snapshot):
                continue
            if before is None and len(self._kept) >= SNAPSHOTS_MAX:
                self.forget(now_ns)
                if len(self._kept) >= SNAPSHOTS_MAX:
                    continue
            self._kept[key] = Kept(snapshot, now_ns)
            news.append(snapshot)
        return news

    def forget(self, now_ns: int) -> None:
        self._kept = {key: kept for key, kept in self._kept.items() if now_ns - kept.came_ns < FORGOTTEN_NS}

    def of_agents(self) -> list[MetricsSnapshot]:
        """What agents measured themselves, for others."""
        return [kept.snapshot for (_, agent), kept in sorted(self._kept.items()) if agent]

    def newer_than(self, known: Iterable[MetricsSnapshot]) -> list[MetricsSnapshot]:
        """What somebody who knows `known` lacks."""
        theirs = {(one.region, one.agent): one for one in known}
        return [
            mine
            for mine in self.of_agents()
            if (other := theirs.get((mine.region, mine.agent))) is None or _is_newer(mine, other)
        ]

    def regions(self) -> list[Kept]:
        """One for each region, sorted: the coordinator's, unless the agents' own words are newer."""
        found: list[Kept] = []
        for region in sorted({region for region, _ in self._kept}):
            told = self._kept.get((region, ""))
            own = [kept for (name, agent), kept in sorted(self._kept.items()) if name == region and agent]
            newest_ns = max((kept.snapshot.wall_ns for kept in own), default=-1)
            if told is not None and (not own or told.snapshot.wall_ns >= newest_ns):
                found.append(told)
            else:
                found.append(_together(region, own))
        return found


def _is_newer(one: MetricsSnapshot, other: MetricsSnapshot) -> bool:
    """Versions count within one life of an agent; between lives, and for merged ones, the end of the window does."""
    if one.incarnation and one.incarnation == other.incarnation:
        return one.version > other.version
    return (one.wall_ns, one.incarnation) > (other.wall_ns, other.incarnation)


def _together(region: str, own: list[Kept]) -> Kept:
    """The agents of a region as one."""
    if len(own) == 1:
        return own[0]
    snapshots = [kept.snapshot for kept in own]
    merged_series = merged(series for snapshot in snapshots for series in snapshot.series)
    window_ns = max(snapshot.window_ns for snapshot in snapshots)
    wall_ns = max(snapshot.wall_ns for snapshot in snapshots)
    return Kept(
        MetricsSnapshot(region, "", "", 0, window_ns, wall_ns, merged_series), max(kept.came_ns for kept in own)
    )

"""The newest snapshot of every agent and region, whoever brought it: latest wins.

The coordinator sends one merged snapshot for each region (`agent` is empty); agents tell each other what each measured
itself. So every agent can tell how the whole group is, also while no coordinator is heard.

Two agents compare by headers: snapshots without series, which only say which version somebody has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from primacy_wire.instant import SECOND_NS, Now
from primacy_wire.log_messages import MetricsSnapshot
from primacy_wire.sketch import fitting, merged

FORGOTTEN_NS = 3600 * SECOND_NS
"""What was not renewed for so long is dropped, and not taken from others who still have it."""
STALE_NS = 60 * SECOND_NS
"""Of the agents of a region, those whose word is so much older than the newest are left out. And while a coordinator is
heard, its word of a region stands unless the agents' is so much newer."""
SNAPSHOTS_MAX = 4096
"""Of agents, its own included."""


@dataclass(frozen=True, slots=True)
class Kept:
    snapshot: MetricsSnapshot
    came_ns: int
    """When it came here, by this machine's clock."""


class GroupMetricsView:
    """What is known of the group. `own` is this agent (`REGION/AGENT`): of itself it believes nobody else."""

    def __init__(self, own: str = "") -> None:
        self._own = own
        self._told: dict[str, Kept] = {}
        """By region."""
        self._agents: dict[str, Kept] = {}
        self._gone: dict[str, int] = {}
        """Agents that left the group -> when that was heard: others may still hand them on."""
        self._members: frozenset[str] = frozenset()
        self._together: dict[str, Kept] = {}
        """What the agents of a region say together, until one of them says something new."""

    # ---- what comes

    def measured(self, snapshot: MetricsSnapshot, now: Now) -> None:
        """This agent's own."""
        self._keep(snapshot, now)

    def tell(self, snapshots: Iterable[MetricsSnapshot], now: Now) -> None:
        """The coordinator's word of regions: what it says last is the newest."""
        for snapshot in snapshots:
            if snapshot.agent == "":
                self._told[snapshot.region] = Kept(snapshot, now.mono_ns)

    def take(self, snapshots: Iterable[MetricsSnapshot], now: Now) -> list[MetricsSnapshot]:
        """Other agents' words: keep what is newer than what is here, and return it."""
        news = []
        for snapshot in snapshots:
            agent = snapshot.agent
            if not snapshot.series or agent in ("", self._own) or agent in self._gone:
                continue
            if abs(now.wall_ns - snapshot.wall_ns) >= FORGOTTEN_NS:
                continue  # Else agents that forget at different times would hand it to each other for ever.
            before = self._agents.get(agent)
            if before is not None and not _is_newer(snapshot, before.snapshot):
                continue
            if before is None and len(self._agents) >= SNAPSHOTS_MAX - 1:
                continue
            news.append(self._keep(replace(snapshot, series=fitting(snapshot.series)), now))
        return news

    def _keep(self, snapshot: MetricsSnapshot, now: Now) -> MetricsSnapshot:
        self._agents[snapshot.agent] = Kept(snapshot, now.mono_ns)
        self._together.pop(snapshot.region, None)
        return snapshot

    # ---- what goes

    def follow(self, members: Collection[str], now: Now) -> None:
        """The agents of the group, as a coordinator names them: who was one and is none any more is forgotten."""
        newest = frozenset(members)
        for agent in self._members - newest:
            self._gone[agent] = now.mono_ns
        for agent in newest & self._gone.keys():
            del self._gone[agent]
        self._members = newest
        self._drop({agent for agent in self._agents if agent in self._gone})
        regions = {agent.partition("/")[0] for agent in newest}
        self._told = {region: kept for region, kept in self._told.items() if region in regions}

    def forget(self, now: Now) -> None:
        """What nobody renewed."""
        limit_ns = now.mono_ns - FORGOTTEN_NS
        self._told = {region: kept for region, kept in self._told.items() if kept.came_ns > limit_ns}
        self._gone = {agent: since_ns for agent, since_ns in self._gone.items() if since_ns > limit_ns - FORGOTTEN_NS}
        self._drop(
            {
                agent
                for agent, kept in self._agents.items()
                if kept.came_ns <= limit_ns
                or (agent != self._own and abs(now.wall_ns - kept.snapshot.wall_ns) >= FORGOTTEN_NS)
            }
        )

    def _drop(self, agents: Iterable[str]) -> None:
        for agent in agents:
            self._together.pop(self._agents.pop(agent).snapshot.region, None)

    # ---- what others are told

    def of_agents(self) -> list[MetricsSnapshot]:
        """What agents measured themselves, sorted."""
        return [kept.snapshot for _, kept in sorted(self._agents.items())]

    def offer(self) -> list[MetricsSnapshot]:
        """What this agent says to another first: its own in full, of the others the headers."""
        return [one if one.agent == self._own else replace(one, series=()) for one in self.of_agents()]

    def newer_than(self, known: Iterable[MetricsSnapshot]) -> list[MetricsSnapshot]:
        """What somebody who knows `known` lacks."""
        theirs = {one.agent: one for one in known}
        return [
            mine for mine in self.of_agents() if (other := theirs.get(mine.agent)) is None or _is_newer(mine, other)
        ]

    # ---- the view

    def regions(self, heard: bool) -> list[Kept]:
        """One for each region, sorted. `heard`: a coordinator is, and knows more agents than this one may."""
        own: dict[str, list[Kept]] = {}
        for kept in self._agents.values():
            own.setdefault(kept.snapshot.region, []).append(kept)
        found: list[Kept] = []
        for region in sorted(self._told.keys() | own.keys()):
            told, words = self._told.get(region), own.get(region, [])
            newest_ns = max((kept.came_ns for kept in words), default=0)
            if told is not None and (not words or newest_ns - told.came_ns <= (STALE_NS if heard else 0)):
                found.append(told)
                continue
            if region not in self._together:
                self._together[region] = _together([kept for kept in words if newest_ns - kept.came_ns <= STALE_NS])
            found.append(self._together[region])
        return found


def _is_newer(one: MetricsSnapshot, other: MetricsSnapshot) -> bool:
    """Versions count within one life of an agent; between lives the end of the window does."""
    if one.incarnation == other.incarnation:
        return one.version > other.version
    return (one.wall_ns, one.incarnation) > (other.wall_ns, other.incarnation)


def _together(words: list[Kept]) -> Kept:
    """The agents of a region as one."""
    if len(words) == 1:
        return words[0]
    snapshots = [kept.snapshot for kept in sorted(words, key=lambda kept: kept.snapshot.agent)]
    whole = MetricsSnapshot(
        snapshots[0].region,
        "",
        "",
        0,
        max(snapshot.window_ns for snapshot in snapshots),
        max(snapshot.wall_ns for snapshot in snapshots),
        merged(series for snapshot in snapshots for series in snapshot.series),
    )
    return Kept(whole, max(kept.came_ns for kept in words))

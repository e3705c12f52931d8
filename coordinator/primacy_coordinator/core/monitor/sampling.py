"""From a copy of the group to the figures of one second."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from primacy_wire.instant import SECOND_NS

from primacy_coordinator.core.model import RegionStatus
from primacy_coordinator.core.monitor.seen import Seen, Share
from primacy_coordinator.core.monitor.series import Key
from primacy_coordinator.core.views import RegionView

SERVING = frozenset({RegionStatus.HEALTHY, RegionStatus.DEGRADED, RegionStatus.RECOVERING, RegionStatus.SUSPECT})
NOT_KNOWN = frozenset({RegionStatus.UNKNOWN, RegionStatus.JOINING})
"""Whether such a region serves was not measured."""


class _Counted(NamedTuple):
    """What had been routed at one instant."""

    at_ns: int
    requests: dict[str, dict[str, int]]
    """Client region -> target region -> ..."""


class Sampler:
    """Remembers what counters said, and which shares there were, to tell what has become of them."""

    def __init__(self) -> None:
        self._routed = self._routed_before = _Counted(0, {})
        self._weighed: set[tuple[str, str]] = set()

    def sample(self, seen: Seen, share: Share, now_ns: int) -> list[tuple[Key, float]]:
        """The gauges of this look. Figures that are not known are left out."""
        found: list[tuple[Key, float]] = []
        active = seen.view.lease.active_region
        for region in seen.view.regions:
            found += _of_region(region, active)
        found += self._weights(seen, share)
        found += [(Key("rtt_seconds", one, other), ns / SECOND_NS) for one, other, ns in seen.round_trips]
        if seen.routed is not None:
            self._count(seen.routed, now_ns)
        for at, region in enumerate(seen.view.regions):
            if share.has(at):
                found += self._rates(region.record.name)
        return found

    def _weights(self, seen: Seen, share: Share) -> Iterator[tuple[Key, float]]:
        """Shares that are, or were, above nothing: most of a large matrix never is."""
        names = {region.record.name: at for at, region in enumerate(seen.view.regions)}
        for client, shares in seen.view.weights.read:
            if not share.has(names.get(client, 0)):
                continue
            for target, value in shares:
                if value > 0:
                    self._weighed.add((client, target))
                elif (client, target) not in self._weighed:
                    continue
                yield Key("weight", client, target), value
        if len(self._weighed) > len(names) ** 2:
            self._weighed = {pair for pair in self._weighed if pair[0] in names and pair[1] in names}

    def _count(self, routed: tuple[tuple[str, str, int], ...], now_ns: int) -> None:
        requests: dict[str, dict[str, int]] = defaultdict(dict)
        for client, target, count in routed:
            requests[client][target] = count
        self._routed_before, self._routed = self._routed, _Counted(now_ns, requests)

    def _rates(self, client: str) -> Iterator[tuple[Key, float]]:
        """Requests per second between the last two counts. A count that fell begins anew: then nothing is known."""
        length_ns = self._routed.at_ns - self._routed_before.at_ns
        before = self._routed_before.requests.get(client)
        if before is None or length_ns <= 0:
            return
        for target, count in self._routed.requests.get(client, {}).items():
            last = before.get(target)
            if last is not None and last <= count:
                yield Key("routed_rate", client, target), (count - last) * SECOND_NS / length_ns


def _of_region(region: RegionView, active: str) -> Iterator[tuple[Key, float]]:
    name = region.record.name
    load, lag, status = region.load, region.lag, region.verdict.status
    if status not in NOT_KNOWN:
        yield Key("serving", name), float(status in SERVING)
    yield Key("active", name), float(active == name)
    connected = [agent for agent in region.agents if agent.connected]
    yield Key("agents", name), float(len(connected))
    total = sum(agent.total for agent in region.agents)
    if total:
        yield Key("healthy_share", name), sum(agent.healthy for agent in connected) / total
    capacity = region.record.capacity or load.capacity
    for series, value in (
        ("request_rate", load.request_rate),
        ("error_rate", load.error_rate),
        ("utilisation", load.utilisation),
        ("capacity", capacity),
        ("in_flight", load.in_flight),
        ("lag_seconds", lag.age_ns / SECOND_NS),
        ("lag_entries", float(lag.entries)),
        ("lag_bytes", float(lag.bytes)),
    ):
        if value >= 0 and math.isfinite(value) and (series != "capacity" or value > 0):
            yield Key(series, name), value
    if load.request_rate >= 0 and load.error_rate >= 0:
        yield Key("failed_rate", name), load.request_rate * load.error_rate
    if load.utilisation >= 0 and capacity > 0:
        yield Key("used", name), load.utilisation * capacity

"""What this agent measures, rolled up, and what it knows of all regions: by the coordinator, and by other agents.

While a coordinator is heard, its merged word of each region is the view, and one other agent a round is asked for what
agents measured: enough that everybody knows the newest of all within a few windows, which the view then rests on when
the coordinator is gone. Then every round asks several, all of them where they are few.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import grpc.aio
from primacy.agent.v1 import peer_service_pb2 as pb
from primacy.v1 import agent_pb2
from primacy_wire.clock import read_now
from primacy_wire.codec_log import metrics_to_proto, shared_from_proto
from primacy_wire.errors import BadField, InvalidRequest
from primacy_wire.instant import SECOND_NS, Now
from primacy_wire.log_messages import GroupMetrics, MetricsSnapshot
from primacy_wire.messages import Membership, RouteCount
from primacy_wire.sketch import series_bytes

from primacy_agent.core.measuring import Readings
from primacy_agent.core.rollup import WINDOW_NS, Rollup, RoutedRates
from primacy_agent.core.sharing import SNAPSHOTS_MAX, GroupMetricsView, Kept
from primacy_agent.replication.appending import Link
from primacy_agent.transfer.sources import Links, SourceFailed

if TYPE_CHECKING:
    from primacy.agent.v1.peer_service_pb2_grpc import PeerServiceAsyncStub

SAMPLE_S = 1.0
CALL_S = 2.0
ASKED_MAX = 8
"""Agents that are asked in one round while no coordinator is heard."""
ANSWER_BYTES_MAX = 2 * 1024 * 1024
"""Of one answer: what did not fit comes with the next."""


class Measured(Protocol):
    """Where the readings come from: `probes.running.Probes`."""

    @property
    def readings(self) -> Readings: ...

    def series(self) -> Sequence[agent_pb2.Series]: ...


class MetricsShare:
    """Everything runs on the event loop's thread."""

    def __init__(
        self,
        group: str,
        region: str,
        key: str,
        incarnation: str,
        link: Link,
        links: Links,
        window_ns: int = WINDOW_NS,
    ) -> None:
        """A round of sharing is as long as a window."""
        self._group = group
        self._key = key
        self._link = link
        self._links = links
        self._rollup = Rollup(region, key, incarnation, read_now(), window_ns)
        self._round_s = window_ns / SECOND_NS
        self._sample_s = min(SAMPLE_S, self._round_s / 2)
        self._view = GroupMetricsView(key)
        self._unsent: MetricsSnapshot | None = None
        self._measured: Measured | None = None
        self._routed: Callable[[int], Sequence[RouteCount]] = lambda _: ()
        self._rates = RoutedRates(read_now())
        self._draw = random.Random()

    # ---- the own region

    def read_from(self, measured: Measured, routed: Callable[[int], Sequence[RouteCount]] = lambda _: ()) -> None:
        """Sample these every second from now on, whether a coordinator is heard or not. `routed`: the counts at an
        instant of the mono clock."""
        self._measured = measured
        self._routed = routed

    def observe(self, values: Mapping[str, float]) -> None:
        """What the probes read just now, by name. Not needed where `read_from` was called."""
        self._rollup.sample(read_now(), values)

    def due(self, now: Now) -> MetricsSnapshot | None:
        """The newest window that has ended and was not handed out yet, for the coordinator."""
        self._close(now)
        unsent, self._unsent = self._unsent, None
        return unsent

    def _close(self, now: Now) -> None:
        snapshot = self._rollup.close(now)
        if snapshot is not None:
            self._view.measured(snapshot, now)
            self._unsent = snapshot

    def _sample(self, now: Now) -> None:
        for name, rate in self._rates.sample(now, self._routed(now.mono_ns)).items():
            self._rollup.observe(name, rate)
        if self._measured is None:
            return
        self._rollup.sample(now, self._measured.readings.values)
        for one in self._measured.series():
            if one.labels:  # The operator's own; the others are the readings.
                self._rollup.observe(one.name, one.value)

    # ---- the others

    def heard(self, metrics: GroupMetrics) -> None:
        """From the coordinator."""
        self._view.tell(metrics.snapshots, read_now())

    def follow(self, membership: Membership) -> None:
        """Who is in the group, from the coordinator: others are forgotten."""
        self._view.follow(membership.agents, read_now())

    def share(self, request: pb.ShareMetricsRequest) -> pb.ShareMetricsResponse:
        """The body of `PeerService.ShareMetrics`: take what another agent has, answer what is newer here.

        Raises InvalidRequest; then nothing was taken.
        """
        if len(request.snapshots) > SNAPSHOTS_MAX:
            raise InvalidRequest(BadField("snapshots", f"must be at most {SNAPSHOTS_MAX}"))
        theirs = shared_from_proto(request.snapshots)
        answer = self._view.newer_than(theirs)
        self._view.take(theirs, read_now())
        self._draw.shuffle(answer)  # Where not all fits, no agent is left out again and again.
        return pb.ShareMetricsResponse(snapshots=[metrics_to_proto(one) for one in _first_of(answer)])

    def regions(self) -> list[Kept]:
        """One for each region, sorted."""
        return self._view.regions(self._link.connected)

    async def run(self) -> None:
        """Measure, and share with others. Never returns."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._measure())
            group.create_task(self._exchange())

    async def _measure(self) -> None:
        while True:
            now = read_now()
            self._sample(now)
            self._close(now)
            await asyncio.sleep(self._sample_s)

    async def _exchange(self) -> None:
        while True:
            await asyncio.sleep(self._round_s * self._draw.uniform(0.8, 1.2))
            await self.share_round()
            self._view.forget(read_now())

    async def share_round(self) -> None:
        """Ask one other agent at random, several while no coordinator is heard. Who cannot be reached is passed by.

        One after the other: what one has told the next need not say again.
        """
        others = sorted(self._links.addresses().keys() - {self._key})
        count = 1 if self._link.connected else ASKED_MAX
        for agent in self._draw.sample(others, min(count, len(others))):
            await self._share_with(agent)

    async def _share_with(self, agent: str) -> None:
        request = pb.ShareMetricsRequest(
            group=self._group,
            from_agent=self._key,
            snapshots=[metrics_to_proto(one) for one in self._view.offer()[:SNAPSHOTS_MAX]],
        )
        try:
            stub: PeerServiceAsyncStub = self._links.stub(agent)
            answer = await stub.ShareMetrics(request, timeout=CALL_S)
            self._view.take(shared_from_proto(answer.snapshots[:SNAPSHOTS_MAX]), read_now())
        except (SourceFailed, OSError, grpc.aio.AioRpcError, InvalidRequest):
            return  # Who cannot be reached now is asked another time.


def _first_of(snapshots: Sequence[MetricsSnapshot]) -> list[MetricsSnapshot]:
    """As many as fit an answer."""
    found = []
    left = ANSWER_BYTES_MAX
    for snapshot in snapshots:
        left -= sum(series_bytes(one) for one in snapshot.series)
        if left < 0:
            break
        found.append(snapshot)
    return found

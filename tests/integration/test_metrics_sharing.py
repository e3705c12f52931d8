"""What agents measured, from agent to agent over real servers, and from real processes to every agent of the group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import grpc.aio
import pytest
from primacy.agent.v1 import local_service_pb2, peer_service_pb2
from primacy.agent.v1.peer_service_pb2_grpc import PeerServiceServicer, add_PeerServiceServicer_to_server
from primacy.v1 import agent_pb2, agent_service_pb2
from primacy_agent.core.measuring import Readings
from primacy_agent.core.rollup import WINDOW_NS
from primacy_agent.core.sharing import SNAPSHOTS_MAX
from primacy_agent.replication import metrics
from primacy_agent.replication.metrics import MetricsShare
from primacy_agent.transfer.sources import Links
from primacy_wire.channel import MESSAGE_BYTES_MAX
from primacy_wire.clock import read_now
from primacy_wire.codec_log import metrics_to_proto
from primacy_wire.instant import MILLISECOND_NS
from primacy_wire.log_messages import GroupMetrics, MetricsSnapshot
from primacy_wire.rpc_errors import from_rpc_error
from primacy_wire.server import make_server
from primacy_wire.sketch import Sketch

from tests.integration.clusters import AgentProcess, until
from tests.integration.coordinators import CoordinatorProcess, free_port

pytestmark = pytest.mark.integration

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


@dataclass
class Coordination:
    """Whether an agent hears a coordinator."""

    connected: bool = False
    coordinator: str = ""


@dataclass
class Service:
    """What the probes of an agent read."""

    readings: Readings = field(default_factory=lambda: Readings({"request_rate": 50.0, "latency_seconds": 0.2}))

    def series(self) -> Sequence[agent_pb2.Series]:
        shown = [agent_pb2.Series(name=name, value=value) for name, value in self.readings.values.items()]
        return [*shown, agent_pb2.Series(name="queue_depth", labels={"probe": "page"}, value=7.0)]


class Peer(PeerServiceServicer):
    """A server whose one method is the real one; it counts who asks, and how much it says."""

    def __init__(self, key: str, addresses: dict[str, str], window_ns: int = WINDOW_NS) -> None:
        self.key = key
        self.link = Coordination()
        self.links = Links("default", key, lambda: addresses, None)
        self.share = MetricsShare("default", key.partition("/")[0], key, "life", self.link, self.links, window_ns)
        self.now = read_now()
        self.asked_by: list[str] = []
        self.longest = 0

    async def ShareMetrics(
        self, request: peer_service_pb2.ShareMetricsRequest, context: Context
    ) -> peer_service_pb2.ShareMetricsResponse:
        self.asked_by.append(request.from_agent)
        answer = self.share.share(request)
        self.longest = max(self.longest, request.ByteSize(), answer.ByteSize())
        return answer

    def measure(self, **values: float) -> MetricsSnapshot:
        """A whole window, in which these were read once."""
        self.share.observe(values)
        self.now = self.now.plus(WINDOW_NS)
        found = self.share.due(self.now)
        assert found is not None
        return found

    def seen(self) -> dict[str, dict[str, int]]:
        """Region -> how many values of each series."""
        return {
            kept.snapshot.region: {one.name: one.count for one in kept.snapshot.series} for kept in self.share.regions()
        }


Make = Callable[..., Awaitable[Peer]]


@pytest.fixture
async def addresses() -> dict[str, str]:
    return {}


@pytest.fixture
async def make(addresses: dict[str, str]) -> AsyncIterator[Make]:
    async with AsyncExitStack() as stack:

        async def start(key: str, window_ns: int = WINDOW_NS) -> Peer:
            peer = Peer(key, addresses, window_ns)  # type: ignore[abstract]
            server = make_server()
            add_PeerServiceServicer_to_server(peer, server)
            addresses[key] = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            await server.start()
            stack.push_async_callback(server.stop, None)
            stack.push_async_callback(peer.links.close)
            return peer

        yield start


def known(count: int, series_count: int = 1) -> list[MetricsSnapshot]:
    """What so many other agents measured."""
    sketch = Sketch()
    for value in range(1, 200):
        sketch.add(1.1**value)
    series = tuple(sketch.to_series(f"s{number}") for number in range(series_count))
    now_ns = read_now().wall_ns
    return [
        MetricsSnapshot(f"r{number % 40}", f"r{number % 40}/a{number}", "life", 3, WINDOW_NS, now_ns, series)
        for number in range(count)
    ]


async def test_two_agents_tell_each_other_what_they_measured_in_one_call(make: Make) -> None:
    eu, us = await make("eu/a"), await make("us/a")
    eu.measure(utilisation=0.5)
    us.measure(utilisation=0.7, in_flight=3.0)
    await eu.share.share_round()
    assert us.asked_by == ["eu/a"] and eu.asked_by == []
    assert eu.seen() == us.seen() == {"eu": {"utilisation": 1}, "us": {"in_flight": 1, "utilisation": 1}}
    us.measure(utilisation=0.9)
    await eu.share.share_round()
    assert eu.seen()["us"] == {"utilisation": 1}, "the newest window, and nothing added up"


async def test_what_one_has_heard_of_others_is_handed_on(make: Make) -> None:
    eu, us, ap = await make("eu/a"), await make("us/a"), await make("ap/a")
    ap.measure(utilisation=0.1)
    await us.share.share_round()
    asked = len(ap.asked_by)
    await eu.share._share_with("us/a")
    assert len(ap.asked_by) == asked and set(eu.seen()) == {"ap"}


async def test_one_is_asked_while_a_coordinator_is_heard_and_each_when_none_is(make: Make) -> None:
    peers = [await make(f"{region}/a") for region in ("eu", "us", "ap", "sa")]
    peers[0].link.connected = True
    await peers[0].share.share_round()
    assert sum(len(peer.asked_by) for peer in peers) == 1
    peers[0].link.connected = False
    await peers[0].share.share_round()
    assert sorted(len(peer.asked_by) for peer in peers)[1:] in ([1, 1, 2],) and peers[0].asked_by == []


async def test_no_more_are_asked_in_a_round_than_can_be(make: Make) -> None:
    peers = [await make(f"r{number}/a") for number in range(metrics.ASKED_MAX + 4)]
    await peers[0].share.share_round()
    assert sum(len(peer.asked_by) for peer in peers) == metrics.ASKED_MAX


async def test_who_cannot_be_reached_is_passed_by(make: Make, addresses: dict[str, str]) -> None:
    eu, us = await make("eu/a"), await make("us/a")
    us.measure(utilisation=0.7)
    for number in range(4):
        addresses[f"sa/{number}"] = f"127.0.0.1:{free_port()}"
    await eu.share.share_round()
    assert set(eu.seen()) == {"us"}


async def test_who_answers_nonsense_is_passed_by_and_nothing_of_it_kept(make: Make, addresses: dict[str, str]) -> None:
    class Liar(Peer):
        async def ShareMetrics(
            self, request: peer_service_pb2.ShareMetricsRequest, context: Context
        ) -> peer_service_pb2.ShareMetricsResponse:
            good = [metrics_to_proto(one) for one in known(2)]
            good[1].series[0].count += 1
            return peer_service_pb2.ShareMetricsResponse(snapshots=good)

    eu, us = await make("eu/a"), await make("us/a")
    us.measure(utilisation=0.7)
    liar, server = Liar("ap/a", addresses), make_server()  # type: ignore[abstract]
    add_PeerServiceServicer_to_server(liar, server)
    addresses["ap/a"] = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        await eu.share.share_round()
    finally:
        await server.stop(None)
        await liar.links.close()
    assert set(eu.seen()) == {"us"}


async def test_a_call_that_cannot_be_is_refused_by_field_and_nothing_of_it_taken(make: Make) -> None:
    eu, us = await make("eu/a"), await make("us/a")
    stub = us.links.stub("eu/a")
    good, bad = map(metrics_to_proto, known(2))
    bad.agent = "nowhere"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ShareMetrics(peer_service_pb2.ShareMetricsRequest(snapshots=[good, bad]))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert {field.path for field in from_rpc_error(caught.value).fields} == {"snapshots[1].agent"}
    many = [agent_service_pb2.MetricsSnapshot()] * (SNAPSHOTS_MAX + 1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ShareMetrics(peer_service_pb2.ShareMetricsRequest(snapshots=many))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT and eu.seen() == {}


async def test_more_than_fits_one_answer_comes_with_the_next(make: Make) -> None:
    eu, us = await make("eu/a"), await make("us/a")
    us.share._view.take(known(1_500, 12), read_now())
    rounds = 0
    while len(eu.share._view.of_agents()) < 1_500:
        await eu.share.share_round()
        rounds += 1
        assert rounds < 50
    assert rounds > 1 and us.longest < MESSAGE_BYTES_MAX
    asked = us.longest
    us.longest = 0
    await eu.share.share_round()
    assert us.longest < asked / 10, "who knows it all is told nothing again"


async def test_agents_that_hear_no_coordinator_go_on_measuring_and_sharing(make: Make) -> None:
    peers = [await make(f"{region}/a", 200 * MILLISECOND_NS) for region in ("eu", "us", "ap")]
    for peer in peers:
        peer.share.read_from(Service())
    running = [asyncio.create_task(peer.share.run()) for peer in peers]
    try:
        async with asyncio.timeout(30):
            wanted = {"request_rate", "latency_seconds", "queue_depth"}
            while not all(
                set(peer.seen()) == {"ap", "eu", "us"} and all(wanted <= set(of) for of in peer.seen().values())
                for peer in peers
            ):
                assert not any(task.done() for task in running)
                await asyncio.sleep(0.01)
            versions = [one.version for one in peers[0].share._view.of_agents()]
            while any(
                one.version <= before for one, before in zip(peers[0].share._view.of_agents(), versions, strict=True)
            ):  # And they keep it up to date.
                await asyncio.sleep(0.01)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def test_the_coordinators_word_is_the_view_while_it_is_heard(make: Make) -> None:
    eu, us = await make("eu/a"), await make("us/a")
    sketch = Sketch()
    sketch.add(0.5, 40)
    now = read_now()
    told = MetricsSnapshot("us", "", "run", 1, WINDOW_NS, now.wall_ns, (sketch.to_series("utilisation"),))
    eu.share.heard(GroupMetrics((told,)))
    us.measure(utilisation=0.7)
    await eu.share.share_round()
    eu.link.connected = True
    assert eu.seen()["us"] == {"utilisation": 40}
    eu.link.connected = False
    assert eu.seen()["us"] == {"utilisation": 1}, "newer than what anybody said before it was gone"


def test_a_window_that_nobody_took_is_given_once(tmp_path: Path) -> None:
    async def run() -> None:
        peer = Peer("eu/a", {})  # type: ignore[abstract]
        peer.share.observe({"utilisation": 0.5})
        later = read_now().plus(WINDOW_NS)
        peer.share._close(later)  # As while no coordinator is heard.
        found = peer.share.due(later)
        assert found is not None and found.version == 1
        assert peer.share.due(later) is None
        assert set(peer.seen()) == {"eu"}

    asyncio.run(run())


# ---- real processes

PAGE = """requests_total {requests}
queue_depth {depth}
utilisation 0.5
"""


def view_of(agent: AgentProcess) -> dict[str, local_service_pb2.RegionMetrics]:
    answer = agent.local.GetStatus(local_service_pb2.GetStatusRequest(), timeout=5)
    return {one.snapshot.region: one for one in answer.group_metrics}


def test_every_agent_answers_the_whole_view_also_when_the_coordinator_is_gone(tmp_path: Path) -> None:
    coordinator = CoordinatorProcess(tmp_path / "coordinator")
    agents = []
    for region, depth in (("eu-west", 5), ("us-east", 9)):
        page = tmp_path / f"{region}.page"
        page.write_text(PAGE.format(requests=1, depth=depth))
        probe = {
            "name": "page", "kind": "exec", "argv": ["cat", str(page)], "interval": "0.5s", "timeout": "5s",
            "series": {"utilisation": "utilisation", "depth": "queue_depth"},
        }  # fmt: skip
        config = {"coordinators": [coordinator.grpc], "probes": [probe], "peerInterval": "0.5s"}
        agents.append(AgentProcess(tmp_path / region, region, "one", config))
    try:
        coordinator.start()
        for agent in agents:
            agent.start()

        def whole(agent: AgentProcess) -> bool:
            """It has the coordinator's merged word of both regions."""
            view = view_of(agent)
            return set(view) == {"eu-west", "us-east"} and not any(one.snapshot.agent for one in view.values())

        for agent in agents:
            until(lambda agent=agent: whole(agent), f"the whole view at {agent.name}", 90)  # type: ignore[misc]
            series = {one.name: one for one in view_of(agent)["us-east"].snapshot.series}
            assert series["utilisation"].min == series["utilisation"].max == 0.5 and series["utilisation"].count > 1
        assert all(agent.process is not None and agent.process.poll() is None for agent in agents)
        coordinator.kill()
        before = {agent.name: view_of(agent)["us-east"].age.ToNanoseconds() for agent in agents}
        for agent in agents:
            assert set(view_of(agent)) == {"eu-west", "us-east"}
            until(
                lambda agent=agent: view_of(agent)["us-east"].age.ToNanoseconds() > before[agent.name],  # type: ignore[misc]
                "an age that tells how old it is",
            )
    finally:
        for agent in agents:
            agent.close()
        coordinator.close()

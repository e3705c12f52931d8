"""The agent's session over real gRPC, against a coordinator whose every word the test decides. [I1, I7]"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
import pytest
from primacy.v1 import agent_service_pb2 as pb
from primacy.v1.agent_service_pb2_grpc import AgentServiceServicer, add_AgentServiceServicer_to_server
from primacy_agent.config import AgentConfig
from primacy_agent.local.answers import Answers
from primacy_agent.node import Node
from primacy_agent.probe_config import ProcessProbe
from primacy_agent.state import AgentState
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.messages import (
    Accept,
    Answer,
    FromAgent,
    Hello,
    Lineage,
    Membership,
    Offer,
    Phase,
    Release,
    Released,
    Report,
    ServiceState,
    ToAgent,
    Welcome,
)
from primacy_wire.server import listen, make_server
from primacy_wire.session_codec import from_agent_from_proto, to_agent_to_proto

from tests.integration.coordinators import free_port

pytestmark = pytest.mark.integration

M = TypeVar("M")
LINEAGE = Lineage("store-1", "run-1", 1)
MEMBERS = Membership(1, ("us/one",))
INTERVAL_NS = 100 * MILLISECOND_NS
TTL_NS = 2 * SECOND_NS


@dataclass
class Desk(AgentServiceServicer):
    """Answers reports as told, and keeps everything it heard."""

    lineage: Lineage = LINEAGE
    interval_ns: int = INTERVAL_NS
    answering: bool = True
    welcoming: bool = True
    epoch: int = 0
    refusal: tuple[grpc.StatusCode, str] | None = None
    offer_at_report: int = 0
    heard: list[FromAgent] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    sessions: int = 0
    say: asyncio.Queue[pb.SessionResponse | grpc.StatusCode] = field(default_factory=asyncio.Queue)
    on_accept: Callable[[], None] = lambda: None
    speaking: asyncio.Task[None] | None = None
    one: asyncio.Lock = field(default_factory=asyncio.Lock)
    """gRPC takes one message after the other."""

    async def Session(  # type: ignore[override]  # answers are written, not yielded
        self, requests: AsyncIterator[pb.SessionRequest], context: Any
    ) -> None:
        self.sessions += 1
        if self.refusal is not None:
            await context.abort(*self.refusal)
        if self.speaking is not None:
            self.speaking.cancel()  # the word is for the newest session, even before the end of the old is seen
        self.speaking = speaking = asyncio.create_task(self._speak(context))
        try:
            async for request in requests:
                message = from_agent_from_proto(request)
                self.heard.append(message)
                self.at.append(time.monotonic())
                for answer in self._answers(message):
                    async with self.one:
                        await context.write(to_agent_to_proto(answer))
        finally:
            speaking.cancel()

    async def _speak(self, context: Any) -> None:
        while True:
            word = await self.say.get()
            if isinstance(word, pb.SessionResponse):
                async with self.one:
                    await context.write(word)
            else:
                await context.abort(word, "as the test wants it")

    def _answers(self, message: FromAgent) -> list[ToAgent]:
        match message:
            case Hello() if self.welcoming:
                return [Welcome(self.lineage, False, self.epoch, self.interval_ns, MEMBERS)]
            case Report() if self.answering:
                answer = Answer(
                    message.incarnation, message.number, self.lineage, self.epoch, message.epoch == self.epoch > 0,
                    TTL_NS, 10_000, 1, self.interval_ns,
                )  # fmt: skip
                if message.number != self.offer_at_report:
                    return [answer]
                self.epoch += 1
                offer = Offer(
                    message.incarnation, message.number, self.lineage, self.epoch, TTL_NS, 10_000, MEMBERS, "", "first"
                )
                return [offer]
            case Accept():
                self.on_accept()
            case _:
                pass
        return []

    def all(self, kind: type[M]) -> list[M]:
        return [message for message in self.heard if isinstance(message, kind)]


@asynccontextmanager
async def coordinating(desk: Desk, address: str) -> AsyncIterator[Desk]:
    server = make_server()
    add_AgentServiceServicer_to_server(desk, server)
    listen(server, address)
    await server.start()
    try:
        yield desk
    finally:
        await server.stop(0)


@asynccontextmanager
async def agent(folder: Path, *coordinators: str, **config: Any) -> AsyncIterator[Node]:
    state = AgentState(folder, "default", "us", "one")
    node = Node(AgentConfig(region="us", name="one", coordinators=list(coordinators), **config), state)
    await node.start()
    failing = asyncio.create_task(node.failed())
    try:
        yield node
        assert not failing.done(), failing
    finally:
        failing.cancel()
        await node.stop(release=False)
        state.close()


async def until(fact: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.005)


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{free_port()}"


async def test_it_says_hello_reports_at_the_asked_pace_and_numbers_what_it_sends(tmp_path: Path, address: str) -> None:
    async with coordinating(Desk(), address) as desk, agent(tmp_path, address) as node:
        began = time.monotonic()
        await until(lambda: len(desk.all(Report)) >= 8, "eight reports")
        took = time.monotonic() - began
        (hello,) = desk.all(Hello)
        assert (hello.group, hello.region, hello.agent, hello.heard_epoch) == ("default", "us", "one", 0)
        assert hello.peer_address == "127.0.0.1:7410"
        assert [report.number for report in desk.all(Report)] == list(range(1, len(desk.all(Report)) + 1))
        assert {report.incarnation for report in desk.all(Report)} == {hello.incarnation}
        # The first two come at once (at the start, and after the welcome), six more one interval apart.
        assert 0.4 < took < 10
        assert node.session.connected


async def test_an_accepted_epoch_is_on_disk_before_anybody_hears_of_it(tmp_path: Path, address: str) -> None:
    on_disk: list[int] = []

    def read() -> None:
        on_disk.append(json.loads((tmp_path / "memory.json").read_text())["memory"]["accepted_epoch"])

    async with coordinating(Desk(offer_at_report=3, on_accept=read), address), agent(tmp_path, address) as node:
        await until(lambda: node.active().active, "active")
        await until(lambda: on_disk, "accepted")
        assert on_disk == [1]
        view = node.active()
        assert (view.phase, view.epoch, view.region) == (Phase.ACTIVE, 1, "us")
        assert view.remaining_ns <= TTL_NS * 99 // 100


async def test_nothing_is_accepted_while_the_disk_refuses(tmp_path: Path, address: str) -> None:
    folder = tmp_path / "state"
    async with coordinating(Desk(), address) as desk, agent(folder, address) as node:
        await until(lambda: desk.all(Report), "a report")
        while folder.exists():
            shutil.rmtree(folder, ignore_errors=True)  # Something may be written there at this moment.
        desk.offer_at_report = node.session.reported_number + 2
        await until(lambda: node.session.reported_number > desk.offer_at_report + 3, "reports go on")
        assert desk.epoch == 1
        assert not desk.all(Accept)
        assert not node.active().active
        folder.mkdir()
        await until(lambda: desk.all(Accept), "accepted once it is durable")
        assert json.loads((folder / "memory.json").read_text())["memory"]["accepted_epoch"] == 1


async def test_what_is_said_behind_a_memory_waits_for_the_disk(tmp_path: Path, address: str) -> None:
    folder = tmp_path / "state"
    async with coordinating(Desk(), address) as desk, agent(folder, address) as node:
        await until(lambda: node.holder.answered, "an answer")
        while folder.exists():
            shutil.rmtree(folder, ignore_errors=True)  # Something may be written there at this moment.
        desk.epoch = 3  # To be remembered.
        await until(lambda: node.holder.memory.heard_epoch == 3, "heard")
        order = Release(node.incarnation, 3, LINEAGE.store_id, "", "the test wants it")
        desk.say.put_nowait(to_agent_to_proto(order))
        await until(lambda: node.holder.released_epoch == 3, "released")
        number = node.session.reported_number
        await until(lambda: desk.all(Report)[-1].number > number + 3, "reports go on")
        assert not desk.all(Released)
        folder.mkdir()
        await until(lambda: desk.all(Released), "it says so once it is durable")
        assert json.loads((folder / "memory.json").read_text())["memory"]["heard_epoch"] == 3


async def test_the_state_file_and_the_watch_follow_renewals_that_nobody_asked_for(tmp_path: Path, address: str) -> None:
    async with coordinating(Desk(offer_at_report=2), address), agent(tmp_path, address) as node:
        await until(lambda: node.active().active, "active")
        first = json.loads((tmp_path / "active.json").read_text())
        written = set[int]()

        def look() -> bool:
            shown = json.loads((tmp_path / "active.json").read_text())
            assert shown["active"] is True
            written.add(shown["deadline_boottime_ns"])
            return int(shown["deadline_boottime_ns"]) - int(first["deadline_boottime_ns"]) > TTL_NS

        renewals = 0

        async def count() -> None:
            nonlocal renewals
            async for _ in node.changes():
                renewals += 1

        counting = asyncio.create_task(count())
        await until(look, "the shown deadline moves beyond the first TTL")
        counting.cancel()
        assert renewals >= 15
        # Twenty renewals of 100 ms at a TTL of 2 s: the file follows at most every quarter of it.
        assert len(written) <= 9


async def test_a_silent_coordinator_is_left_and_the_next_one_kept(tmp_path: Path) -> None:
    one, two = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    async with (
        coordinating(Desk(), one) as first,
        coordinating(Desk(), two) as second,
        agent(tmp_path, one, two) as node,
    ):
        await until(lambda: node.holder.answered >= 3, "the first one answers")
        first.answering = first.welcoming = False
        # It did answer in this session, so it is tried once more before the next one is.
        await until(lambda: second.all(Report), "the second one is found")
        assert node.session.coordinator == two
        first.answering = first.welcoming = True
        sessions = first.sessions
        await until(lambda: second.all(Report)[-1].answered > 0, "it answers")
        second.say.put_nowait(grpc.StatusCode.UNAVAILABLE)
        await until(lambda: len(second.all(Hello)) == 2, "it comes back to the one that worked")
        await until(lambda: node.session.connected, "connected")
        assert first.sessions == sessions


async def test_a_dead_address_is_passed_by(tmp_path: Path, address: str) -> None:
    async with coordinating(Desk(), address) as desk, agent(tmp_path, f"127.0.0.1:{free_port()}", address):
        await until(lambda: desk.all(Report), "the second address is found")


async def test_a_newer_life_ends_this_one_for_good_and_what_it_holds_runs_out(tmp_path: Path, address: str) -> None:
    why = "a newer life of us/one runs on host-2; this one on host-1"
    async with coordinating(Desk(offer_at_report=2), address) as desk, agent(tmp_path, address) as node:
        await until(lambda: node.active().active, "active")
        desk.refusal = (grpc.StatusCode.ALREADY_EXISTS, why)
        desk.say.put_nowait(grpc.StatusCode.UNAVAILABLE)
        await until(lambda: node.holder.superseded, "it hears of it")
        assert node.active().active, "what its service was told stands until it runs out"
        sessions = desk.sessions
        await until(lambda: not node.active().active, "the lease runs out")
        assert desk.sessions == sessions, "it never calls again"
        status = Answers(node).status()
        assert status.session.superseded == why
        assert status.active.reason == why
        assert not status.session.connected


async def test_what_is_no_message_ends_the_session_and_not_the_agent(tmp_path: Path, address: str) -> None:
    async with coordinating(Desk(), address) as desk, agent(tmp_path, address) as node:
        await until(lambda: desk.all(Report), "a report")
        desk.say.put_nowait(pb.SessionResponse())
        await until(lambda: len(desk.all(Hello)) >= 2 and node.session.connected, "it calls again")
        desk.say.put_nowait(grpc.StatusCode.INTERNAL)
        await until(lambda: "INTERNAL" in node.session.last_error, "it heard why")
        await until(lambda: len(desk.all(Hello)) >= 3 and node.session.connected, "and again")


async def test_a_coordinator_of_another_store_is_reported_to_but_not_followed(tmp_path: Path, address: str) -> None:
    async with coordinating(Desk(epoch=4), address), agent(tmp_path, address) as node:
        await until(lambda: node.holder.memory.heard_epoch == 4, "it follows the store")
    stranger = Desk(lineage=Lineage("store-2", "run-9", 1), epoch=9, interval_ns=250 * MILLISECOND_NS)
    async with coordinating(stranger, address) as desk, agent(tmp_path, address) as node:
        # More than twice as long as silence is borne.
        await until(lambda: len(desk.all(Report)) >= 12, "it reports")
        assert desk.all(Report)[-1].heard_epoch == 4
        assert node.holder.memory.lineage.store_id == "store-1"
        assert desk.sessions == 1, "though none of its answers counts, they are answers"
        assert desk.all(Report)[-1].answered > 0, "and it says that they arrive"


async def test_a_release_is_heard_before_the_agent_is_gone(tmp_path: Path, address: str) -> None:
    async with coordinating(Desk(offer_at_report=2), address) as desk, agent(tmp_path, address) as node:
        await until(lambda: node.active().active, "active")
        began = time.monotonic()
        await node.stop(release=True)
        assert time.monotonic() - began < 5
        (released,) = desk.all(Released)
        assert released.epoch == 1
        assert isinstance(desk.heard[-1], Report)
        assert desk.heard[-1].released_epoch == 1
        assert not node.active().active


async def test_a_plain_stop_releases_nothing(tmp_path: Path, address: str) -> None:
    async with coordinating(Desk(offer_at_report=2), address) as desk, agent(tmp_path, address) as node:
        await until(lambda: node.active().active, "active")
        await node.stop(release=False)
        await asyncio.sleep(0)
        assert not desk.all(Released)
        assert node.active().active


async def test_a_death_is_reported_at_once_whatever_the_interval(tmp_path: Path, address: str) -> None:
    service = subprocess.Popen(["sleep", "600"])
    pid_file = tmp_path / "pid"
    pid_file.write_text(str(service.pid))
    probe = ProcessProbe(name="proc", pid_file=str(pid_file), rise=1)
    try:
        async with (
            coordinating(Desk(interval_ns=20 * SECOND_NS), address) as desk,
            agent(tmp_path / "state", address, probes=[probe]),
        ):
            await until(lambda: any(r.health.state is ServiceState.UP for r in desk.all(Report)), "up")
            await asyncio.sleep(0)
            killed = time.monotonic()
            service.kill()
            await until(lambda: desk.all(Report)[-1].health.state is ServiceState.DOWN, "reported")
            assert desk.at[-1] - killed < 10
    finally:
        service.kill()
        service.wait()

"""A runner on the real machine and a real SQLite store, with the commits in the test's hand."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType

from primacy_coordinator.core.effects import CloseSession
from primacy_coordinator.core.events import SetPolicy
from primacy_coordinator.core.model import Loaded, Policy
from primacy_coordinator.shell.runner import Runner
from primacy_coordinator.shell.sessions import Session
from primacy_coordinator.shell.stalls import Stalls
from primacy_coordinator.store.api import GroupRow, Settled, StoreError, StoreRefused, Write
from primacy_coordinator.store.history import SqliteHistory
from primacy_coordinator.store.sqlite import SqliteStore
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.messages import (
    PROTOCOL_VERSION,
    Accept,
    Answer,
    Hello,
    Lineage,
    Membership,
    Offer,
    Phase,
    Report,
    ServiceHealth,
    ServiceState,
    ToAgent,
    Welcome,
)

QUICK = Policy(
    lease_ttl_ns=2 * SECOND_NS,
    report_interval_ns=250 * MILLISECOND_NS,
    grace_ns=250 * MILLISECOND_NS,
    first_wait_ns=100 * MILLISECOND_NS,
)


class HeldStore:
    """A real store behind a gate: batches wait while it is shut, and are refused while `refuse` is set."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.refuse = ""
        self.load_count = 0
        self.submit_count = 0
        self._shut = False
        self._waiting: deque[Callable[[], None]] = deque()

    @property
    def store_id(self) -> str:
        return self.store.store_id

    @property
    def run_id(self) -> str:
        return self.store.run_id

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    def shut(self) -> None:
        self._shut = True

    def open(self) -> None:
        self._shut = False
        while self._waiting:
            self._waiting.popleft()()

    async def groups(self) -> tuple[GroupRow, ...]:
        return await self.store.groups()

    async def create_group(self, name: str, created_wall_ns: int) -> GroupRow:
        return await self.store.create_group(name, created_wall_ns)

    async def delete_group(self, name: str, deleted_wall_ns: int, last_epoch: int) -> None:
        await self.store.delete_group(name, deleted_wall_ns, last_epoch)

    async def load(self, group: str) -> Loaded:
        self.load_count += 1
        return await self.store.load(group)

    def submit(self, group: str, writes: Sequence[Write], settled: Settled) -> None:
        self.submit_count += 1
        refuse = self.refuse

        def go() -> None:
            if refuse:
                error: StoreError = StoreRefused(refuse)
                asyncio.get_running_loop().call_soon(settled, error)
            else:
                self.store.submit(group, writes, settled)

        if self._shut:
            self._waiting.append(go)
        else:
            go()

    async def close(self) -> None:
        await self.store.close()


class ListStream:
    """A transport that remembers. While `gate` is clear, a write waits as behind flow control."""

    def __init__(self) -> None:
        self.written: list[ToAgent] = []
        self.aborted: CloseSession | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.changed = asyncio.Event()

    async def write(self, message: ToAgent) -> None:
        await self.gate.wait()
        self.written.append(message)
        self.changed.set()

    async def abort(self, close: CloseSession) -> None:
        self.aborted = close
        self.changed.set()


class Shell:
    """`async with Shell(folder)`: a runner of the group `default` with `QUICK` in force."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = AsyncExitStack()
        self.store: HeldStore
        self.history: SqliteHistory
        self.stalls: Stalls
        self.runner: Runner

    async def __aenter__(self) -> Shell:
        self.store = HeldStore(await SqliteStore.open(self._folder / "store.db"))
        self._stack.push_async_callback(self.store.close)
        self.history = SqliteHistory(self._folder / "journal.db")
        self._stack.push_async_callback(self.history.close)
        self.stalls = Stalls(lambda: (self.runner,))
        self.runner = Runner(await self.store.create_group("default", 1), self.store, self.history, self.stalls)
        self._stack.callback(self.runner.stop)
        await self.runner.start()
        self.stalls.start()
        self._stack.callback(self.stalls.stop)
        await self.runner.command(lambda number: SetPolicy(number, QUICK))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()


class Life:
    """One life of an agent, spoken straight into the runner."""

    def __init__(self, shell: Shell, region: str, incarnation: str = "life-1") -> None:
        self.runner = shell.runner
        self.stream = ListStream()
        self.incarnation = incarnation
        self.number = 0
        self.epoch = 0
        self.answered = 0
        self.lineage = Lineage()
        self.hello = Hello(
            "default", region, "one", incarnation, "host-1", PROTOCOL_VERSION, Lineage(), 0, Membership(), ""
        )
        self.session: Session

    async def open(self) -> Life:
        self.session = self.runner.open_session(self.hello, self.stream)
        await self.session.end_inline()
        return self

    async def join(self) -> Life:
        await self.open()
        await self.until(Welcome)
        return self

    async def become_active(self) -> Life:
        """Joins, reports until it is offered the lease, accepts, and sees it renewed."""
        await self.join()
        while True:
            await self.report()
            offers = [message for message in self.stream.written if isinstance(message, Offer)]
            if offers:
                break
            await asyncio.sleep(0.02)
        self.epoch = offers[-1].epoch
        self.runner.hear(self.session, Accept(self.incarnation, self.epoch))
        await self.session.end_inline()
        async with asyncio.timeout(5):
            while not (await self.report()).renews:
                await asyncio.sleep(0.02)
        return self

    async def report(self) -> Answer:
        """Reports, and returns the answer: written at once, but behind what is being written just then."""
        self.number += 1
        report = Report(
            incarnation=self.incarnation,
            number=self.number,
            epoch=self.epoch,
            valid=self.epoch > 0,
            phase=Phase.ACTIVE if self.epoch else Phase.STANDBY,
            heard_epoch=self.epoch,
            lineage=self.lineage,
            membership_version=0,
            released_epoch=0,
            answered=self.answered,
            freeze_id="",
            health=ServiceHealth(ServiceState.UP, 1, 1),
        )
        self.runner.hear(self.session, report)
        await self.session.end_inline()
        async with asyncio.timeout(5):
            while (answer := self._newest_answer()) is None or answer.report != self.number:
                await asyncio.sleep(0.01)
        self.answered, self.lineage = self.number, answer.lineage
        return answer

    def _newest_answer(self) -> Answer | None:
        return next((m for m in reversed(self.stream.written) if isinstance(m, Answer)), None)

    async def until(self, kind: type[ToAgent], seconds: float = 5.0) -> None:
        """Waits until a message of that kind was written."""
        async with asyncio.timeout(seconds):
            while not any(isinstance(message, kind) for message in self.stream.written):
                self.stream.changed.clear()
                await self.stream.changed.wait()

    def got(self, kind: type[ToAgent]) -> int:
        """How many messages of that kind were written."""
        return sum(isinstance(message, kind) for message in self.stream.written)

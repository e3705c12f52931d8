"""Looks at every group once a second, and keeps what it saw. It may be late; it never makes others late.

1. A look is one copy of what the machine believes, taken at once. No machine (it is being loaded anew), or a store in
   trouble, is a gap in the figures and nothing else.
2. What is dear is done in bits of well under a millisecond, with the loop in between, for no longer than `WORK_NS_MAX`
   in a second, unless much has piled up.
3. Reading what the disk has from an earlier life comes first, piece by piece in other threads, bounded in time: what
   does not fit in it is the oldest, which is read from disk when it is asked for. Without it memory begins empty.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeVar

from primacy_wire.clock import read_now
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS, Now

from primacy_coordinator.core.glance import Looks
from primacy_coordinator.core.group import Group
from primacy_coordinator.core.monitor.monitor import Monitor
from primacy_coordinator.core.monitor.queries import Answer, Old, Query, answer
from primacy_coordinator.core.monitor.seen import Seen
from primacy_coordinator.core.monitor.series import BUILT_IN
from primacy_coordinator.core.monitor.tiers import HOUR_S, HOURS_KEPT_S, MINUTE_S, MINUTES_KEPT_S, Block, Limits
from primacy_coordinator.core.views import ExplanationView, LogView
from primacy_coordinator.shell.coordinator import Coordinator
from primacy_coordinator.shell.latency import Latency
from primacy_coordinator.shell.runner import Runner
from primacy_coordinator.store.api import StoreError
from primacy_coordinator.store.metrics import KEPT, MetricsStore

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_NS = SECOND_NS
WORK_NS_MAX = 20 * MILLISECOND_NS
"""In a second, all groups together,"""
PILE = 500
PILED_UP_FACTOR = 10
"""or so many times that when more than `PILE` pieces wait in a group;"""
BIT_NS_MAX = 2 * MILLISECOND_NS
"""and so long at once."""
LOAD_S_MAX = 10.0
PIECE_S = 10 * MINUTE_S
"""Of the past, that is in memory twice while it is loaded."""
DISK_S_MAX = 5.0
DEAR_SHARE = 200
"""What may wait a little (prospects, the log) is looked at again no sooner than after so many times what it took."""
ANSWERS_MAX = 2
"""Answers that are made at once."""
MEMORY_MIN = 16 << 20


class Evaluation(Protocol):
    """What is done with every look: alerts."""

    def begin(self, runner: Runner) -> None:
        """Called for each group before anything is heard of it."""
        ...

    def look(self, watched: Watched, now: Now, seen: Seen | None) -> None:
        """Called once a second for each group, after its monitor has taken in the look; quick.

        `seen` None: the group could not be looked at. What it raises is logged.
        """
        ...

    def forget(self, group: str) -> None:
        """The group is deleted."""
        ...


@dataclass(slots=True)
class Watched:
    """One group and what is known of it."""

    runner: Runner
    monitor: Monitor
    looks: Looks = field(default_factory=Looks)
    ready: bool = False
    """What the disk has was loaded, or could not be."""
    loading: asyncio.Task[None] | None = None
    log: LogView | None = None
    """As of some seconds ago; None: not looked at yet."""
    log_due_ns: int = 0
    prospect_due_ns: int = 0
    prospect_at: int = 0
    """Number of the region whose prospect comes next."""

    @property
    def group(self) -> str:
        return self.runner.name


class Monitoring:
    """All groups. Everything here runs on the event loop's thread."""

    def __init__(
        self,
        coordinator: Coordinator,
        store: MetricsStore,
        memory_max: int = 512 << 20,
        minutes_kept_s: int = KEPT.minutes_s,
    ) -> None:
        """`memory_max`: bytes of figures in memory, all groups together. `minutes_kept_s`: so long on disk."""
        self.store = store
        self.minutes_kept_s = minutes_kept_s
        self.evaluation: Evaluation | None = None
        self.latency = Latency()
        """How long a look at one group took, with what it led to."""
        self._coordinator = coordinator
        self._memory_max = memory_max
        coordinator.troubles["metrics"] = lambda: store.trouble
        coordinator.on_deleted.append(self._forget)
        self._watched: dict[str, Watched] = {}
        self._task: asyncio.Task[None] | None = None
        self._answers = asyncio.Semaphore(ANSWERS_MAX)

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        tasks = [self._task, *(watched.loading for watched in self._watched.values())]
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)

    def monitor(self, group: str) -> Monitor | None:
        """What is known of a group. None: it is not watched yet."""
        watched = self._watched.get(group)
        return watched.monitor if watched is not None else None

    def watched(self, group: str) -> Watched | None:
        return self._watched.get(group)

    def all(self) -> tuple[Watched, ...]:
        """Every group that is watched."""
        return tuple(self._watched.values())

    @property
    def trouble(self) -> str:
        """Why figures are being lost, or empty."""
        return self.store.trouble

    # ---- answers

    async def query(self, group: str, query: Query) -> tuple[Answer, int]:
        """(what was measured of a series, length of the steps in seconds) of a group that is watched.

        What memory has not any more is read from disk, and left out when that cannot be read.
        """
        monitor = self._watched[group].monitor
        if query.first < monitor.second - self.minutes_kept_s:
            # Of that time only hours are kept.
            query = replace(query, step=max(query.step, HOUR_S))
        found = monitor.extract(query)
        if found.begin > query.first:
            span = HOUR_S if found.query.step >= HOUR_S else MINUTE_S
            names = (query.series, *sorted(found.slots.keys() - {query.series}))
            found.add_old(await self._old(group, names, query.first, found.begin, span))
        return await self.apart(partial(answer, found)), found.query.step

    async def apart(self, work: Callable[[], T]) -> T:
        """Makes an answer in a thread, few at once: the loop goes on meanwhile."""
        async with self._answers:
            return await asyncio.to_thread(work)

    async def _old(self, group: str, names: tuple[str, ...], first: int, last: int, span: int) -> tuple[Old, ...]:
        try:
            async with asyncio.timeout(DISK_S_MAX):
                return await self.store.steps(group, names, first, last, span)
        except (StoreError, TimeoutError) as error:
            logger.warning("older metrics cannot be read", extra={"group": group, "error": str(error)})
            return ()

    async def names(self, group: str) -> tuple[str, ...]:
        """Series that memory or disk have, and those that are built in, sorted."""
        monitor = self._watched[group].monitor
        try:
            async with asyncio.timeout(DISK_S_MAX):
                kept = await self.store.names(group)
        except (StoreError, TimeoutError):
            kept = ()
        return tuple(sorted({*BUILT_IN, *kept, *monitor.names()}))

    # ---- looking

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        # In the midst of seconds: a look that comes a little early, or late, is still that of its own second.
        due = loop.time() + (LOOK_NS // 2 - read_now().wall_ns) % LOOK_NS / SECOND_NS
        while True:
            try:
                await self._round()
            except Exception:
                # Whatever it was, the next look is not lost.
                logger.exception("a round of monitoring failed")
            await asyncio.sleep(max(0.0, due - loop.time()))
            # Looks that were missed are left out.
            due += (1 + max(0.0, loop.time() - due) // (LOOK_NS / SECOND_NS)) * LOOK_NS / SECOND_NS

    async def _round(self) -> None:
        runners = {runner.name: runner for runner in self._coordinator.runners()}
        for name in self._watched.keys() - runners.keys():
            del self._watched[name]  # It is not deleted: then it was forgotten. It may come back.
        for name, runner in runners.items():
            if self._coordinator.runner(name) is not runner:
                continue  # It was deleted meanwhile.
            watched = self._watched.get(name)
            if watched is None or watched.runner is not runner:
                watched = self._watch(runner)
            if watched.ready:
                self._look(watched)
                await asyncio.sleep(0)
                self._look_farther(watched)
                await asyncio.sleep(0)
        await self._work()
        self._share_memory()

    def _forget(self, group: str) -> None:
        """The group is deleted: another one of that name begins with nothing of it."""
        watched = self._watched.pop(group, None)
        if watched is not None and watched.loading is not None:
            watched.loading.cancel()
        self.store.rewind(group, 0)
        if self.evaluation is not None:
            self.evaluation.forget(group)

    def _watch(self, runner: Runner) -> Watched:
        watched = self._watched[runner.name] = Watched(runner, Monitor(read_now()))
        watched.loading = asyncio.get_running_loop().create_task(self._load(watched))
        if self.evaluation is not None:
            self.evaluation.begin(runner)
        return watched

    async def _load(self, watched: Watched) -> None:
        try:
            await self._load_pieces(watched, read_now().wall_ns // SECOND_NS)
        except (StoreError, TimeoutError) as error:
            logger.warning(
                "metrics of earlier cannot be loaded; they begin anew",
                extra={"group": watched.group, "error": str(error)},
            )
        except Exception:
            logger.exception("metrics of earlier cannot be loaded; they begin anew", extra={"group": watched.group})
        finally:
            watched.ready = True

    async def _load_pieces(self, watched: Watched, second: int) -> None:
        """Hours, then minutes: as many pieces of them as there is time for, the newest of all."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + LOAD_S_MAX

        async def read(span: int, first: int, last: int) -> tuple[Block, ...]:
            async with asyncio.timeout_at(deadline):
                return await self.store.load(watched.group, span, first, last)

        # Whatever is done in the thread is awaited: nobody else looks at the monitor until it is ready.
        hours = await read(HOUR_S, second - HOURS_KEPT_S, second - HOUR_S + 1)
        await asyncio.to_thread(watched.monitor.load, hours)
        end = second - MINUTE_S + 1
        began = clock()
        newest = await read(MINUTE_S, end - PIECE_S, end)
        piece_s = 2 * (clock() - began)
        # To put it into memory takes about as long as to read it.
        pieces = MINUTES_KEPT_S // PIECE_S - 1
        fitting = min(pieces, int((deadline - clock()) / piece_s) - 1) if piece_s > 0 else pieces
        try:
            for number in range(fitting, 0, -1):
                first = end - (number + 1) * PIECE_S
                await asyncio.to_thread(watched.monitor.load, await read(MINUTE_S, first, first + PIECE_S))
        except TimeoutError:
            fitting = 0
        await asyncio.to_thread(watched.monitor.load, newest)
        if fitting < pieces:
            logger.warning("not all metrics of the last hours were loaded in time", extra={"group": watched.group})

    def _look(self, watched: Watched) -> None:
        began_ns = read_now().mono_ns
        try:
            seen = watched.runner.glance(lambda machine, now: machine.glance(now, watched.looks))
            now = read_now()
            watched.monitor.look(now, seen)
            if watched.monitor.rewound is not None:
                logger.warning(
                    "the wall clock was set back: what was measured beyond it is forgotten",
                    extra={"group": watched.group},
                )
                self.store.rewind(watched.group, watched.monitor.rewound)
                watched.monitor.rewound = None
            if self.evaluation is not None:
                self.evaluation.look(watched, now, seen)
        except Exception:
            logger.exception("a look at a group failed", extra={"group": watched.group})
        for block in watched.monitor.take_blocks():
            self.store.put(watched.group, block)
        self.latency.observe(read_now().mono_ns - began_ns)

    def _look_farther(self, watched: Watched) -> None:
        """At the log, and at what would be if a region died: dear in large groups, so that it is seldom then."""
        now = read_now()
        if now.mono_ns >= watched.log_due_ns:
            watched.log = self._timed(watched, lambda machine, at: machine.log_view(at)) or watched.log
            watched.log_due_ns = self._next(now)
        seen = watched.monitor.seen
        regions = seen.view.regions if seen is not None else ()
        if not regions or now.mono_ns < watched.prospect_due_ns:
            return
        for _ in range(len(regions)):
            watched.prospect_at = (watched.prospect_at + 1) % len(regions)
            region = regions[watched.prospect_at].record.name
            found = self._timed(watched, partial(_explain, region))
            if found is not None:
                watched.monitor.prospects[region] = found
            if read_now().mono_ns - now.mono_ns > BIT_NS_MAX:
                break
        watched.prospect_due_ns = self._next(now)

    def _timed(self, watched: Watched, take: Callable[[Group, Now], T]) -> T | None:
        try:
            return watched.runner.glance(take)
        except Exception:
            logger.exception("a look at a group failed", extra={"group": watched.group})
            return None

    def _next(self, began: Now) -> int:
        took_ns = read_now().mono_ns - began.mono_ns
        # A little less than the time between two looks, so that a look that comes early is not missed.
        return began.mono_ns + max(LOOK_NS * 9 // 10, DEAR_SHARE * took_ns)

    async def _work(self) -> None:
        """Bits of work, the groups in turn, with the loop in between."""
        busy = [watched.monitor for watched in self._watched.values() if watched.ready]
        piled_up = any(monitor.waiting > PILE for monitor in busy)
        left_ns = WORK_NS_MAX * (PILED_UP_FACTOR if piled_up else 1)
        while busy and left_ns > 0:
            began_ns = now_ns = read_now().mono_ns
            while busy and now_ns - began_ns < BIT_NS_MAX:
                busy = [monitor for monitor in busy if monitor.work()]
                now_ns = read_now().mono_ns
            left_ns -= now_ns - began_ns
            await asyncio.sleep(0)

    def _share_memory(self) -> None:
        limit = max(MEMORY_MIN, self._memory_max // max(1, len(self._watched)))
        limits = Limits.of(limit)
        for watched in self._watched.values():
            watched.monitor.tiers.limit(limits)


def _explain(region: str, machine: Group, now: Now) -> ExplanationView:
    return machine.explain(now, region)

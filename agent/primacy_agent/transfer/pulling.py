"""Brings one content here: from the holders what this agent owns, from the others that fetch it what they own.

1. A piece is asked of one source at a time. Only who sits idle takes over what another one was asked for and is quiet
   about; whoever brings it first, the other is told to stop.
2. A request is for as many pieces as a source lately sent in `REQUEST_S`, and for fewer towards the end (guided
   self-scheduling: Polychronopoulos and Kuck, 1987), so a fast source far away is kept busy and a slow one holds up
   little.
3. Only the owner of a piece asks a holder for it, so that the holders send each byte about once (see
   `primacy_wire.stripes`). What an owner does not bring forward is shared out among the others; if nothing comes at
   all, everybody asks for everything. How long is too long goes by how long this agent's own requests take: a thin
   line is no stall.
4. What comes is verified and on disk before the next frame of its request is read.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from primacy_wire.log_messages import TransferPlan
from primacy_wire.stripes import share_out_again

from primacy_agent.store import BadChunk, ContentStore, Manifest
from primacy_agent.transfer.bandwidth import Limiter, Meter
from primacy_agent.transfer.pieces import cut_pieces
from primacy_agent.transfer.serving import PieceServer
from primacy_agent.transfer.sources import HasNone, Links, Source, SourceFailed, SourceLied
from primacy_agent.transfer.work import Work

logger = logging.getLogger(__name__)

REQUESTS_PER_SOURCE = 2
"""One is on its way while the other one is served."""
REQUESTS_MAX = 16
REQUEST_S = 0.5
REQUEST_PIECES_MAX = 16
"""Their chunks are no more than `serving.DIGESTS_MAX`."""
TICK_S = 0.25
QUIET_S = 2.0
"""A request that brought nothing for so long may be taken over by who is idle."""
STALL_S = 5.0
"""An owner that says nothing for so long is taken for away, and holders are asked for anything if nothing comes."""
STALL_S_MAX = 60.0
NOTHING_S = 30.0
"""If nobody is asked, and nothing comes for so long, the fetch has failed."""
LAST_PIECES = 0.02
"""For this share of the pieces nobody waits long: they hold up everything."""
LAST_S = 1.0
UNHEARD_MAX = 2
"""Who could not be watched so often in a row is away."""


class FetchFailed(Exception):
    """It could not be fetched; the message says why, for people. `final`: no other try can help."""

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


@dataclass
class Job:
    """One content that is wanted."""

    digest: str
    plan: TransferPlan | None
    fallback: tuple[str, ...]
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    """A plan, a piece or a source has changed."""
    reasons: dict[str, str] = field(default_factory=dict)
    """agent -> why it failed last."""
    liars: set[str] = field(default_factory=set)

    def holders(self, key: str) -> list[str]:
        """Agents other than `key` that should have all of it, the best first."""
        found = self.plan.holders if self.plan is not None and self.plan.holders else self.fallback
        return [agent for agent in dict.fromkeys(found) if agent != key]

    def peers(self, key: str) -> list[str]:
        """Agents other than `key` that fetch it, too."""
        holders = set(self.holders(key))
        shares = self.plan.shares if self.plan is not None else ()
        return [agent for agent, _ in shares if agent != key and agent not in holders]

    def shares(self, key: str) -> Sequence[tuple[str, int]]:
        """Among whom the pieces are shared out: alone it is always `key`."""
        shares = self.plan.shares if self.plan is not None else ()
        return shares if any(agent == key for agent, _ in shares) else ((key, 1),)

    def nobody(self) -> str:
        if not self.reasons:
            return "no agent that has it is known"
        return "no agent gave it: " + "; ".join(f"{agent}: {why}" for agent, why in sorted(self.reasons.items()))


@dataclass(eq=False)
class _Request:
    """Pieces that one source was asked for."""

    source: Source
    pieces: list[int]
    """Those that have not come."""
    began: float = field(default_factory=time.monotonic)
    heard_at: float = field(default_factory=time.monotonic)
    task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()


class Pull:
    """Pulls what is missing of one content. Its `go` is called once."""

    def __init__(
        self,
        key: str,
        job: Job,
        store: ContentStore,
        links: Links,
        limiter: Limiter,
        meter: Meter,
        server: PieceServer,
        manifest: Manifest,
        missing: set[int],
        on_progress: Callable[[int, int], None],
    ) -> None:
        self._key, self._job = key, job
        self._store, self._links, self._limiter, self._meter, self._server = store, links, limiter, meter, server
        self._manifest = manifest
        self._on_progress = on_progress
        self._draw = random.Random()
        self._pieces = cut_pieces([chunk.length for chunk in manifest.chunks])
        todo = [n for n, piece in enumerate(self._pieces) if any(index in missing for index in piece)]
        self._work = Work(key, todo, self._draw)
        self._bytes_here = manifest.size - sum(manifest.chunks[index].length for index in missing)
        self._sources: dict[str, Source] = {}
        self._requests: set[_Request] = set()
        self._met = False
        self._planned: TransferPlan | None = None
        self._away: frozenset[str] = frozenset()
        self._looked_at = 0.0
        """When owners were last looked at."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._moved_at = time.monotonic()
        """When the newest piece came."""
        self._request_s = 0.0
        """How long a request to a holder takes, lately."""
        self._failure: BaseException | None = None

    async def go(self) -> None:
        """Raises FetchFailed, StoreError."""
        self._server.begins(self._job.digest, [n for n in range(len(self._pieces)) if n not in self._work.todo])
        try:
            while self._work.todo:
                self._job.moved.clear()
                self._follow_plan()
                self._hand_out()
                if self._failure is not None:
                    raise self._failure
                if not self._work.todo:
                    break
                if not self._requests and not self._can_come():
                    raise FetchFailed(self._job.nobody())
                try:
                    async with asyncio.timeout(TICK_S):
                        await self._job.moved.wait()
                except TimeoutError:
                    continue  # Time alone may allow more.
        finally:
            await self._stop()

    async def _stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _can_come(self) -> bool:
        """Whether anybody has, or may get, something of what is missing."""
        sources = self._sources.values()
        if any(source.live and source.complete and self._work.todo - source.lacks for source in sources):
            return True
        hope = any(source.watching is not None and not source.watching.done() for source in sources)
        return hope and time.monotonic() - self._moved_at <= NOTHING_S

    # ---- who has what, and who owns what

    def _follow_plan(self) -> None:
        job = self._job
        if not self._met or job.plan is not self._planned:
            self._met, self._planned = True, job.plan
            self._meet(job.holders(self._key), job.peers(self._key))
            self._own()
        now = time.monotonic()
        if now - self._looked_at >= TICK_S:
            self._looked_at = now
            away = self._find_away(now)
            if away != self._away:
                self._away = away
                self._own()

    def _meet(self, holders: Sequence[str], peers: Sequence[str]) -> None:
        for left in self._sources.keys() - {*holders, *peers}:
            source = self._sources.pop(left)
            if source.watching is not None:
                source.watching.cancel()
            for request in self._requests:
                if request.source is source:
                    request.cancel()
        for agent in (*holders, *peers):
            known = self._sources.get(agent)
            if known is None:
                near = _region(agent) == _region(self._key)
                known = self._sources[agent] = Source(agent, agent in holders, near, liar=agent in self._job.liars)
            known.holder = agent in holders
            known.complete = known.complete or known.holder
            if not known.complete and known.watching is None:
                known.watching = self._start(self._watch(known))
        order = {agent: number for number, agent in enumerate((*holders, *peers))}
        self._sources = dict(sorted(self._sources.items(), key=lambda one: (not one[1].near, order[one[0]])))

    def _own(self) -> None:
        self._work.own(share_out_again(range(len(self._pieces)), self._job.shares(self._key), self._away))

    def _find_away(self, now: float) -> frozenset[str]:
        """Owners that bring nothing forward. Who is away owns nothing any more, and is back when it says something."""
        patience_s = self._patience_s()
        owing = set()
        for piece in self._work.todo:
            source = self._sources.get(self._work.owner(piece))
            if source is not None and piece not in source.has:
                owing.add(source.agent)
        return frozenset(
            source.agent
            for source in self._sources.values()
            if not (source.holder or source.complete)
            and (
                source.liar
                or source.unheard >= UNHEARD_MAX
                or (now - source.news_at > patience_s and (source.agent in owing or source.agent in self._away))
            )
        )

    def _patience_s(self) -> float:
        now = time.monotonic()
        ages = [now - request.began for request in self._requests if request.source.holder]
        return min(max(STALL_S, 3 * max([self._request_s, *ages])), STALL_S_MAX)

    async def _watch(self, source: Source) -> None:
        """Hear what another one gets that fetches the same. It may not have begun yet."""
        while True:
            try:
                async with aclosing(self._links.pieces(source.agent, self._job.digest)) as told:
                    async for found in told:
                        self._hear(source, found.pieces, found.complete)
                reason = "it ended its word"
            except SourceFailed as error:
                reason = str(error)
            if source.complete:
                return
            self._job.reasons[source.agent] = reason
            source.unheard += 1
            self._job.moved.set()
            await asyncio.sleep(self._draw.uniform(0.1, min(0.5 * 2 ** min(source.unheard, 4), 5.0)))

    def _hear(self, source: Source, pieces: Sequence[int], complete: bool) -> None:
        source.unheard = 0
        source.news_at = time.monotonic()
        self._work.heard(source, pieces, complete)
        self._job.moved.set()

    # ---- who is asked for what

    def _hand_out(self) -> None:
        """Give every source that has time something to do, the nearest first."""
        anything = self._may_ask_anything()
        far = anything or not any(source.holder and source.near and source.live for source in self._sources.values())
        for source in list(self._sources.values()):
            if not source.live or (source.holder and not source.near and not far):
                continue
            while source.requests < REQUESTS_PER_SOURCE and len(self._requests) < REQUESTS_MAX:
                pieces = self._take(source, anything)
                if not pieces:
                    break
                self._ask(source, pieces)

    def _may_ask_anything(self) -> bool:
        """Whether holders are asked for what others own."""
        idle_s = time.monotonic() - self._moved_at
        last = len(self._work.todo) <= LAST_PIECES * len(self._pieces)
        return idle_s > (max(LAST_S, self._request_s) if last else self._patience_s())

    def _take(self, source: Source, anything: bool) -> list[int]:
        """Pieces to ask of it, marked as asked for."""
        peers = [other for other in self._sources.values() if not other.holder]
        wanted = self._how_many(source)
        found: list[int] = []
        while len(found) < wanted and (piece := self._work.next_for(source, peers, anything)) is not None:
            self._work.asked(piece)
            found.append(piece)
        if not found and (quiet := self._find_quiet(source, anything)) is not None:
            self._work.asked(quiet)
            found.append(quiet)
        return found

    def _how_many(self, source: Source) -> int:
        lately = int(source.bytes_per_s * REQUEST_S * len(self._pieces) / max(1, self._manifest.size))
        helpers = sum(other.live for other in self._sources.values())
        fair = len(self._work.todo) // (2 * REQUESTS_PER_SOURCE * max(1, helpers))
        return max(1, min(lately, fair, REQUEST_PIECES_MAX))

    def _find_quiet(self, source: Source, anything: bool) -> int | None:
        """A piece that another source was asked for and is quiet about."""
        now = time.monotonic()
        for request in self._requests:
            if request.source is not source and now - request.heard_at >= QUIET_S:
                for piece in reversed(request.pieces):
                    if self._work.may_take_over(source, piece, anything):
                        return piece
        return None

    # ---- asking

    def _ask(self, source: Source, pieces: list[int]) -> None:
        here = self._store.here(self._job.digest)
        request = _Request(source, pieces)
        self._requests.add(request)
        source.requests += 1
        wanted: dict[bytes, int] = {}
        for piece in pieces:
            for index in self._pieces[piece]:
                if index not in here:
                    wanted.setdefault(self._manifest.chunks[index].digest, index)
        request.task = self._start(self._get(request, wanted))
        request.task.add_done_callback(lambda _: self._close(request))

    def _close(self, request: _Request) -> None:
        """However it ended, even before it began."""
        self._requests.discard(request)
        request.source.requests -= 1
        for piece in request.pieces:
            self._work.returned(piece, self._sources.values())
        self._job.moved.set()

    async def _get(self, request: _Request, wanted: dict[bytes, int]) -> None:
        """Raises StoreError."""
        source, digests, indexes = request.source, list(wanted), list(wanted.values())
        size = 0
        self._check_off(request)  # Twins of other chunks may be here.
        try:
            if request.pieces and digests:
                async with aclosing(self._links.chunks(source.agent, digests)) as batches:
                    async for batch in batches:
                        request.heard_at = time.monotonic()
                        size += await self._keep([(indexes[at], data) for at, data in batch])
                        self._check_off(request)
        except HasNone as error:
            source.lacks.update(request.pieces)
            self._give_up(source, error)
            return
        except SourceFailed as error:
            self._give_up(source, error)
            return
        except BadChunk as error:
            self._give_up(source, SourceLied(f"it sent what it should not: {error}"))
            return
        source.lacks.update(request.pieces)
        took_s = time.monotonic() - request.began
        if size:
            source.gave(size, took_s)
        if source.holder:
            self._request_s = took_s if not self._request_s else 0.5 * self._request_s + 0.5 * took_s

    async def _keep(self, chunks: list[tuple[int, memoryview]]) -> int:
        """Verified and stored; how many bytes. Raises StoreError."""
        size = sum(len(data) for _, data in chunks)
        await self._limiter.spend(size)
        here = self._store.here(self._job.digest)
        new = sum(len(data) for index, data in chunks if index not in here)
        await self._store.put_chunks(self._job.digest, chunks)
        self._meter.add(size)
        self._bytes_here += new
        self._on_progress(min(self._bytes_here, self._manifest.size), self._manifest.size)
        return size

    def _check_off(self, request: _Request) -> None:
        """What of the request is here now is not waited for any more, by no request."""
        here = self._store.here(self._job.digest)
        for piece in [one for one in request.pieces if all(index in here for index in self._pieces[one])]:
            self._work.came(piece)
            self._moved_at = time.monotonic()
            self._server.got(self._job.digest, piece)
            self._job.moved.set()
            for other in [one for one in self._requests if piece in one.pieces]:
                other.pieces.remove(piece)
                self._work.returned(piece, ())
                if not other.pieces and other is not request:
                    other.cancel()

    def _give_up(self, source: Source, error: SourceFailed) -> None:
        lied = isinstance(error, SourceLied)
        if source.live:
            logger.warning(
                "a source of a model is given up",
                extra={"agent": source.agent, "content": self._job.digest[:12], "reason": str(error)},
            )
        source.failed(str(error), lied)
        self._job.reasons[source.agent] = str(error)
        if lied:
            self._job.liars.add(source.agent)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()
        self._job.moved.set()


def _region(agent: str) -> str:
    return agent.partition("/")[0]

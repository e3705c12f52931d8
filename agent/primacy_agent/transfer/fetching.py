"""Fetches contents from several agents at once, and shares the work with those that fetch the same.

Every piece has one owner among the agents that fetch (see `pieces.share_out`). The owner pulls it from an agent that
has the whole content; everybody else gets it from whoever has it by then. So the origin sends each byte about once. A
piece whose owner does not bring it forward in time is pulled from a holder all the same.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from primacy_wire.log_messages import TransferPlan

from primacy_agent.store import BadChunk, BadManifest, ContentStore, Manifest
from primacy_agent.transfer.bandwidth import Limiter, Meter
from primacy_agent.transfer.pieces import cut_pieces, share_out
from primacy_agent.transfer.serving import PieceServer
from primacy_agent.transfer.sources import Links, Source, SourceFailed

logger = logging.getLogger(__name__)

INFLIGHT_MAX = 2
"""Pieces that are asked of one source at once: more make the end longer."""
INFLIGHT_TOTAL_MAX = 16
STALL_S = 5.0
"""Without a new piece for so long, what others own is pulled from the holders, too."""
NOTHING_S = 30.0
"""Without a new piece for so long, the fetch has failed."""
WATCHES_MAX = 8
"""An agent that does not answer so many times in a row has failed."""
LAST_PIECES = 0.02
"""At the end holders are asked for what others own: this share of the pieces."""


class FetchFailed(Exception):
    """It could not be fetched; the message says why, for people. `final`: no other try can help."""

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


@dataclass
class _Job:
    """One content that is being fetched."""

    digest: str
    plan: TransferPlan | None
    fallback: Sequence[str]
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    """A plan, a piece or a source has changed."""
    sources: dict[str, Source] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    """agent -> why it failed."""


class Fetcher:
    """All that one agent fetches."""

    def __init__(self, store: ContentStore, key: str, links: Links, limiter: Limiter, server: PieceServer) -> None:
        self.store = store
        self._key = key
        self.links = links
        self.limiter = limiter
        self.server = server
        self._jobs: dict[str, _Job] = {}
        self.meter = Meter()
        self.draw = random.Random()

    @property
    def receiving(self) -> int:
        """Bytes per second that come now."""
        return self.meter.rate

    @property
    def uplink(self) -> int:
        return self.server.uplink.rate

    def others(self) -> list[str]:
        """Every other agent whose address is known."""
        return sorted(self.links.addresses())

    def replan(self, digest: str, plan: TransferPlan) -> None:
        job = self._jobs.get(digest)
        if job is not None and job.plan != plan:
            job.plan = plan
            job.moved.set()

    async def fetch(
        self, digest: str, plan: TransferPlan | None, fallback: Sequence[str], on_progress: Callable[[int, int], None]
    ) -> None:
        """Until all of it is in the store. `fallback`: agents to ask while there is no plan.

        Raises FetchFailed, StoreError. Cancelled, what came stays.
        """
        job = self._jobs.get(digest)
        if job is None:
            job = self._jobs[digest] = _Job(digest, plan, fallback)
        elif plan is not None:
            self.replan(digest, plan)
        job.users += 1
        try:
            async with job.lock:
                if not self.store.is_complete(digest):
                    await self._fetch(job, on_progress)
        finally:
            job.users -= 1
            if not job.users:
                del self._jobs[digest]

    async def _fetch(self, job: _Job, on_progress: Callable[[int, int], None]) -> None:
        manifest = self.store.manifest(job.digest) or await self._get_manifest(job)
        missing = await self.store.fill(job.digest, on_progress)
        self.server.changed(job.digest)
        if missing:
            run = _Run(self, job, manifest, missing, on_progress)
            try:
                await run.go()
            finally:
                await run.stop()
        await self.store.finish(job.digest)
        self.server.changed(job.digest)

    async def _get_manifest(self, job: _Job) -> Manifest:
        lies = ""
        for agent in [*self.holders(job), *self.peers(job)]:
            try:
                content = await self.links.manifest(agent, job.digest)
                return await self.store.put_manifest(job.digest, content)
            except SourceFailed as error:
                job.reasons[agent] = str(error)
            except BadManifest as error:
                lies = str(error)
                job.reasons[agent] = lies
        raise FetchFailed(self.nobody(job), final=bool(lies) and "digest" not in lies)

    def holders(self, job: _Job) -> list[str]:
        """Agents that should have all of it, the best first."""
        found = job.plan.holders if job.plan is not None and job.plan.holders else job.fallback
        return [agent for agent in dict.fromkeys(found) if agent != self._key]

    def peers(self, job: _Job) -> list[str]:
        """Agents that fetch it, too."""
        holders = set(self.holders(job))
        shares = job.plan.shares if job.plan is not None else ()
        return [agent for agent, _ in shares if agent != self._key and agent not in holders]

    def nobody(self, job: _Job) -> str:
        if not job.reasons:
            return "no agent that has it is known"
        return "no agent gave it: " + "; ".join(f"{agent}: {why}" for agent, why in sorted(job.reasons.items()))

    def owners(self, job: _Job, count: int) -> list[str]:
        """Who pulls each piece from a holder; alone it is always this agent."""
        plan = job.plan
        if plan is None or len(plan.shares) < 2 or self._key not in {agent for agent, _ in plan.shares}:
            return [self._key] * count
        return share_out(count, plan.shares)


class _Run:
    """Fetches what is missing of one content."""

    def __init__(
        self,
        fetcher: Fetcher,
        job: _Job,
        manifest: Manifest,
        missing: set[int],
        on_progress: Callable[[int, int], None],
    ) -> None:
        self._fetcher = fetcher
        self._store, self._links = fetcher.store, fetcher.links
        self._job = job
        self._manifest = manifest
        self._on_progress = on_progress
        self._pieces = cut_pieces([chunk.length for chunk in manifest.chunks])
        self._todo = {n for n, piece in enumerate(self._pieces) if any(index in missing for index in piece)}
        self._asked: set[int] = set()
        self._owners: list[str] = []
        self._planned: TransferPlan | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._moved_at = time.monotonic()
        self._bytes_here = manifest.size - sum(manifest.chunks[index].length for index in missing)
        self._failure: BaseException | None = None

    async def go(self) -> None:
        """Raises FetchFailed, StoreError."""
        while self._todo:
            self._job.moved.clear()
            self._follow_plan()
            self._ask()
            if self._failure is not None:
                raise self._failure
            if not self._todo:
                break
            nothing = time.monotonic() - self._moved_at > NOTHING_S
            if nothing or (not self._asked and not self._can_come()):
                raise FetchFailed(self._fetcher.nobody(self._job))
            try:
                async with asyncio.timeout(STALL_S / 2):
                    await self._job.moved.wait()
            except TimeoutError:
                continue

    async def stop(self) -> None:
        for source in self._job.sources.values():
            if source.watching is not None:
                source.watching.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._job.sources.clear()

    # ---- who is asked

    def _follow_plan(self) -> None:
        job = self._job
        if self._owners and job.plan is self._planned:
            return
        self._planned = job.plan
        self._owners = self._fetcher.owners(job, len(self._pieces))
        holders, peers = self._fetcher.holders(job), self._fetcher.peers(job)
        for agent in list(job.sources):
            if agent not in holders and agent not in peers:
                self._drop(agent)
        for agent in (*holders, *peers):
            source = job.sources.get(agent)
            if source is None:
                source = job.sources[agent] = Source(agent, complete=agent in holders)
                if not source.complete:
                    source.watching = self._start(self._watch(source))
            elif agent in holders and not source.complete:
                source.complete = True

    def _drop(self, agent: str) -> None:
        source = self._job.sources.pop(agent)
        source.failed = source.failed or "it is not in the plan any more"
        if source.watching is not None:
            source.watching.cancel()

    def _can_come(self) -> bool:
        """Whether anybody has, or may get, something of what is missing."""
        live = [source for source in self._job.sources.values() if not source.failed]
        return any(source.watching is not None and not source.watching.done() for source in live) or any(
            source.gives(piece) for source in live for piece in self._todo
        )

    def _ask(self) -> None:
        """Give every source that has time something to do, holders in the order of the plan."""
        stalled = time.monotonic() - self._moved_at > STALL_S
        last = len(self._todo) <= max(1, int(LAST_PIECES * len(self._pieces)))
        peers = {agent for agent, source in self._job.sources.items() if not source.complete and not source.failed}
        for source in list(self._job.sources.values()):
            while not source.failed and source.inflight < INFLIGHT_MAX and len(self._asked) < INFLIGHT_TOTAL_MAX:
                piece = self._choose(source, peers, stalled or last)
                if piece is None:
                    break
                self._asked.add(piece)
                source.inflight += 1
                self._start(self._get(source, piece))

    def _choose(self, source: Source, peers: set[str], anything: bool) -> int | None:
        """What to ask of it: of a holder first what this agent owns, of a peer anything that it has, at random."""
        open_pieces = [piece for piece in self._todo - self._asked if source.gives(piece)]
        if not open_pieces:
            return None
        if not source.complete:
            return self._fetcher.draw.choice(open_pieces)
        own = [piece for piece in open_pieces if anything or self._owners[piece] not in peers]
        return self._fetcher.draw.choice(own) if own else None

    def _start(self, work: object) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()
        self._job.moved.set()

    # ---- what is asked

    async def _get(self, source: Source, number: int) -> None:
        """One piece from one source. Raises StoreError."""
        here = self._store.here(self._job.digest)
        wanted = [index for index in self._pieces[number] if index not in here]
        chunks = self._manifest.chunks
        try:
            async for batch in self._links.chunks(source.agent, [chunks[index].digest for index in wanted]):
                size = sum(len(data) for _, data in batch)
                await self._fetcher.limiter.spend(size)
                await self._store.put_chunks(self._job.digest, [(wanted[at], data) for at, data in batch])
                self._fetcher.meter.add(size)
                self._bytes_here += size
                self._on_progress(min(self._bytes_here, self._manifest.size), self._manifest.size)
        except SourceFailed as error:
            if "NOT_FOUND" in str(error):
                source.lacks.add(number)
            else:
                self._give_up(source, str(error))
        except BadChunk as error:
            self._give_up(source, f"it sent what it should not: {error}")
        finally:
            source.inflight -= 1
            self._asked.discard(number)
        if all(index in self._store.here(self._job.digest) for index in self._pieces[number]):
            self._todo.discard(number)
            self._moved_at = time.monotonic()
            self._fetcher.server.changed(self._job.digest)
        elif not source.failed:
            source.lacks.add(number)

    def _give_up(self, source: Source, reason: str) -> None:
        if not source.failed:
            logger.warning(
                "a source of a model is given up",
                extra={"agent": source.agent, "content": self._job.digest[:12], "reason": reason},
            )
        source.failed = reason
        self._job.reasons[source.agent] = reason

    async def _watch(self, source: Source) -> None:
        """Hear what another one gets that fetches the same. It may not have begun yet."""
        vain = 0
        while not source.failed:
            try:
                vain += 1
                async for found in self._links.pieces(source.agent, self._job.digest):
                    vain = 0
                    source.complete = source.complete or found.complete
                    source.has.update(found.pieces)
                    source.lacks.difference_update(found.pieces)
                    self._job.moved.set()
            except SourceFailed as error:
                self._job.reasons[source.agent] = str(error)
                if vain >= WATCHES_MAX:
                    self._give_up(source, str(error))
            if source.complete:
                return
            await asyncio.sleep(self._fetcher.draw.uniform(0.1, 1.0))

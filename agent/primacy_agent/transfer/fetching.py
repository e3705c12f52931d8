"""Fetches contents from several agents at once, and shares the work with those that fetch the same (see `pulling`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from primacy_wire.log_messages import TransferPlan

from primacy_agent.store import BadManifest, ContentStore, Manifest
from primacy_agent.transfer.bandwidth import Limiter, Meter
from primacy_agent.transfer.pulling import FetchFailed, Job, Pull
from primacy_agent.transfer.serving import PieceServer
from primacy_agent.transfer.sources import Links, SourceFailed, SourceLied


class Fetcher:
    """All that one agent fetches. What is fetched is served to others meanwhile."""

    def __init__(self, store: ContentStore, key: str, links: Links, limiter: Limiter, server: PieceServer) -> None:
        """`key`: the agent, `REGION/AGENT`."""
        self._store = store
        self._key = key
        self._links = links
        self._limiter = limiter
        self._server = server
        self._jobs: dict[str, Job] = {}
        self._meter = Meter()

    @property
    def receiving(self) -> int:
        """Bytes per second that come now."""
        return self._meter.rate

    @property
    def bytes_received(self) -> int:
        """Of contents, since this process began."""
        return self._meter.bytes_ever

    @property
    def uplink(self) -> int:
        """Bytes per second that this agent could send lately; 0: not measured."""
        return self._server.uplink.rate

    def others(self) -> list[str]:
        """Every other agent whose address is known."""
        return sorted(self._links.addresses().keys() - {self._key})

    def replan(self, digest: str, plan: TransferPlan) -> None:
        job = self._jobs.get(digest)
        if job is not None and job.plan != plan:
            job.plan = plan
            job.moved.set()

    async def fetch(
        self, digest: str, plan: TransferPlan | None, fallback: Sequence[str], on_progress: Callable[[int, int], None]
    ) -> None:
        """Until all of it is in the store. `fallback`: agents to ask while there is no plan; `on_progress(here, total)`
        in bytes.

        Raises FetchFailed, StoreError. Cancelled, what came stays.
        """
        job = self._jobs.get(digest)
        if job is None:
            job = self._jobs[digest] = Job(digest, plan, tuple(fallback))
        else:
            job.fallback = tuple(dict.fromkeys((*job.fallback, *fallback)))
            if plan is not None:
                self.replan(digest, plan)
        job.users += 1
        try:
            async with job.lock:
                if not self._store.is_complete(digest):
                    await self._fetch(job, on_progress)
        finally:
            job.users -= 1
            if not job.users:
                del self._jobs[digest]

    async def _fetch(self, job: Job, on_progress: Callable[[int, int], None]) -> None:
        job.reasons.clear()
        manifest = self._store.manifest(job.digest) or await self._get_manifest(job)
        missing = await self._store.fill(job.digest, on_progress)
        try:
            if missing:
                pull = Pull(
                    self._key, job, self._store, self._links, self._limiter, self._meter, self._server,
                    manifest, missing, on_progress,
                )  # fmt: skip
                await pull.go()
            await self._store.finish(job.digest)
        finally:
            self._server.ends(job.digest)
        on_progress(manifest.size, manifest.size)

    async def _get_manifest(self, job: Job) -> Manifest:
        """Raises FetchFailed, final for a manifest that is what its digest says and cannot be one; StoreError."""
        for agent in [*job.holders(self._key), *job.peers(self._key)]:
            if agent in job.liars:
                continue
            try:
                content = await self._links.manifest(agent, job.digest)
            except SourceFailed as error:
                job.reasons[agent] = str(error)
                if isinstance(error, SourceLied):
                    job.liars.add(agent)
                continue
            try:
                return await self._store.put_manifest(job.digest, content)
            except BadManifest as error:
                raise FetchFailed(str(error), final=True) from error
        raise FetchFailed(job.nobody())

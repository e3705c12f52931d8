"""One running agent: its lease holder, probes, peers and counters, and what the outside may ask of them."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncGenerator
from importlib.metadata import version

from primacy.v1 import agent_pb2
from primacy_wire.clock import read_now
from primacy_wire.instant import SECOND_NS, Now
from primacy_wire.messages import Load, Report, agent_key
from primacy_wire.picker import Picker

from primacy_agent.config import LOAD_NAMES, AgentConfig
from primacy_agent.core.lease import ActiveView, LeaseHolder, ReleaseNow
from primacy_agent.core.routes import RouteCounter
from primacy_agent.probes.peers import Peers
from primacy_agent.probes.running import Probes
from primacy_agent.probes.service_metrics import ServiceMetrics
from primacy_agent.session import Session
from primacy_agent.state import AgentState

logger = logging.getLogger(__name__)

RELEASE_SENT_S = 2.0
METRICS_TIMEOUT_S = 0.5
SHOWN_NS_MIN = 250_000_000
"""The state file follows a renewed deadline no faster."""


class Node:
    """The agent's parts, wired together. Everything runs on the event loop's thread."""

    def __init__(self, config: AgentConfig, state: AgentState) -> None:
        draw = random.Random()
        self.config = config
        self.started = read_now()
        self.version = version("primacy")
        self.key = agent_key(config.region, config.name)
        self.incarnation = secrets.token_hex(8)
        self.holder = LeaseHolder(config.region, config.name, self.incarnation, state.memory)
        self.routes = RouteCounter()
        self.read_picker = Picker(())
        self._state = state
        self._changed = asyncio.Condition()
        self._change_count = 0
        self._shown_ns = 0
        self.probes = Probes(config.probes, self._health_changed, draw)
        self.peers = Peers(
            config.group,
            self.key,
            config.peer_interval.seconds,
            config.peer_timeout.seconds,
            config.client_tls(),
            self._sight_changed,
            draw,
        )
        self.metrics = (
            ServiceMetrics(config.metrics_url, LOAD_NAMES | config.metrics_names) if config.metrics_url else None
        )
        self.session = Session(config, self.holder, state.keep, self)
        self._tasks: list[asyncio.Task[None]] = []

    # ---- life

    def start(self) -> None:
        self._show()
        self.probes.start()
        self._tasks = [asyncio.create_task(self.session.run(), name="session")]
        if self.metrics is not None:
            self._tasks.append(asyncio.create_task(self._read_metrics(self.metrics), name="metrics"))

    async def stop(self, release: bool) -> None:
        """Stop; without `release` what is held stays held until it runs out or the next life renews it."""
        if release:
            self.session.post(ReleaseNow("the agent was stopped with releaseOnStop"))
            await self.session.drain(RELEASE_SENT_S)
        self.session.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.peers.stop()
        await self.probes.stop()

    async def failed(self) -> None:
        """Returns only if a part that should never end did: raises what it raised."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        await asyncio.Event().wait()  # Superseded: the session ended for good, and the rest goes on.

    async def _read_metrics(self, metrics: ServiceMetrics) -> None:
        while True:
            await metrics.read(METRICS_TIMEOUT_S)
            await asyncio.sleep(self.holder.report_interval_ns / SECOND_NS)

    # ---- what the session asks and tells

    def build_report(self, now: Now) -> Report:
        health = self.probes.health
        return self.holder.report(now, health, self.load, self.peers.sights(), self.routes.counts(), self.detail())

    def authority_changed(self) -> None:
        self._notify()
        self._show()
        view = self.active()
        logger.info(
            "authority",
            extra={"active": view.active, "phase": view.phase.name, "epoch": view.epoch, "why": view.reason},
        )

    def rows_changed(self) -> None:
        rows = self.holder.rows
        if rows is not None:
            self.read_picker = Picker(rows.read)
        self._notify()

    def directory_changed(self) -> None:
        if self.holder.directory is not None:
            self.peers.follow(self.holder.directory)

    def _health_changed(self) -> None:
        self.session.report_soon()

    def _sight_changed(self) -> None:
        self.session.report_soon()

    # ---- what others ask

    @property
    def load(self) -> Load:
        return self.metrics.load if self.metrics is not None else Load()

    def active(self) -> ActiveView:
        """Computed from the clocks at this ask."""
        view = self.holder.active(read_now())
        if view.active and view.deadline_mono_ns and self._due(view):
            self._show()
        return view

    def _due(self, view: ActiveView) -> bool:
        return read_now().mono_ns - self._shown_ns >= max(SHOWN_NS_MIN, view.remaining_ns // 4)

    def detail(self) -> agent_pb2.ReportDetail:
        """Probe results and what was measured, for readers of reports."""
        load = self.load
        series = [
            agent_pb2.Series(name=name, value=value)
            for name, value in (
                ("requests_per_second", load.request_rate),
                ("error_rate", load.error_rate),
                ("latency_seconds", load.latency_ns / SECOND_NS if load.latency_ns >= 0 else -1.0),
                ("utilisation", load.utilisation),
                ("capacity_requests_per_second", load.capacity),
            )
            if value >= 0
        ]
        return agent_pb2.ReportDetail(probes=self.probes.results(), series=series)

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yields at once, and then after every change of authority or weights."""
        while True:
            seen = self._change_count
            yield
            async with self._changed:
                while self._change_count == seen:
                    await self._changed.wait()

    def _notify(self) -> None:
        self._change_count += 1
        asyncio.get_running_loop().create_task(self._wake())

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _show(self) -> None:
        self._shown_ns = read_now().mono_ns
        try:
            self._state.show(self.holder.active(read_now()))
        except OSError as error:
            logger.warning("the state file cannot be written", extra={"reason": str(error)})
